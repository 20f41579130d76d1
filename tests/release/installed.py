"""What an installed release must be able to do: with each extra, from git, and beside distribution packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.release.building import ReleaseError, run

# With each extra these modules can be imported, and the plug-ins of these groups load.
MODULES: Mapping[str, tuple[str, ...]] = {
    "": ("imagevol_core", "imagevol_adapters"),
    "cinder": ("imagevol_adapters.cinder.volumes",),
    "glance": ("imagevol_adapters.glance.images",),
    "brick": ("imagevol_adapters.brick",),
    "qemu": ("imagevol_adapters.qemu.converter", "imagevol_adapters.inspection.inspector"),
    "store": ("imagevol_adapters.store",),
    "middleware": ("imagevol_adapters.middleware",),
    "driver": ("imagevol_adapters.configuration.backend_options", "imagevol_adapters.driver"),
    "coordination": ("imagevol_adapters.coordination",),
    "cli": ("imagevol_adapters.cli.app",),
    "blake3": ("imagevol_adapters.engine", "blake3"),
    "opentelemetry": ("imagevol_adapters.metrics", "opentelemetry.metrics"),
    "report": ("imagevol_adapters.reporting", "jinja2"),
    "testing": (
        "imagevol_adapters.testing.memory",
        "imagevol_adapters.testing.faults",
        "imagevol_adapters.testing.strategies",
        "imagevol_adapters.testing.conformance.volumes",
    ),
}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "cli": (
        "imagevol.commands",
        "imagevol.formatter.explanation",
        "imagevol.formatter.verdicts",
        "openstack.cli.extension",
        "openstack.imagevol.v1",
        "oslo.config.opts",
    ),
    "store": ("glance_store.drivers", "oslo.config.opts"),
    "middleware": ("paste.filter_factory", "oslo.config.opts"),
    "driver": ("oslo.config.opts",),
}
EXTRAS = (*MODULES, "all")
FROM_GIT = "git"
BESIDE = "beside"
NAMES = (*(extra or "nothing" for extra in EXTRAS), FROM_GIT, BESIDE)

# Runs in the environment: only what is installed there is seen.
PROBE = """
import importlib, json, sys
from importlib.metadata import distribution
modules, groups = json.loads(sys.argv[1])
failed = {}
for name in modules:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
for point in distribution("imagevol").entry_points:
    if point.group == "console_scripts" or point.group in groups:
        try:
            point.load()
        except Exception as error:
            failed[f"{point.group}: {point.name}"] = repr(error)
found = {point.group for point in distribution("imagevol").entry_points}
failed.update((group, "no such plug-in") for group in set(groups) - found)
print("\\n" + json.dumps(failed))
"""


def check(checkout: Path, wheel: Path, name: str, environment: Path) -> None:
    """Install the release into an empty environment, and look at what it can do; delete the environment."""
    shutil.rmtree(environment, ignore_errors=True)
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=checkout)
    try:
        if name == FROM_GIT:
            # In two steps: pip before 24.1 takes `NAME @ git+file:` for no URL.
            commit = run("git", "-c", "safe.directory=*", "rev-parse", "HEAD", cwd=checkout).strip()
            install(checkout, environment, f"git+file://{checkout}@{commit}")
            install(checkout, environment, "imagevol[cli]")
            look(environment, "cli")
        elif name == BESIDE:
            beside(checkout, wheel, environment)
        else:
            extra = "" if name == "nothing" else name
            install(checkout, environment, f"imagevol{f'[{extra}]' if extra else ''} @ {wheel.as_uri()}")
            look(environment, extra)
    finally:
        shutil.rmtree(environment, ignore_errors=True)


def install(checkout: Path, environment: Path, *arguments: str | Path) -> None:
    """Install by pip, as a user does, with the versions that the tests are run with."""
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    constraints = ("--constraint", checkout / "constraints.txt")
    run(*pip, "install", "--quiet", *constraints, *arguments, cwd=checkout, PIP_DISABLE_PIP_VERSION_CHECK="1")
    run(*pip, "check", cwd=checkout)


def beside(checkout: Path, wheel: Path, environment: Path) -> None:
    """Do as `docs/production/install.md` says: the libraries are there, imagevol is in a directory of its own."""
    install(checkout, environment, f"imagevol[store] @ {wheel.as_uri()}")
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    run(*pip, "uninstall", "--quiet", "--yes", "imagevol", cwd=checkout)
    own = environment / "opt"
    run(*pip, "install", "--quiet", "--no-deps", "--target", own, wheel, cwd=checkout)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "imagevol.pth").write_text(f"{own}\n")
    probe(environment, MODULES["store"], GROUPS["store"])


def look(environment: Path, extra: str) -> None:
    """Import what the extra is for, load its plug-ins, and ask the command for its version."""
    extras = list(MODULES) if extra == "all" else ["", extra]
    modules = [module for each in extras for module in MODULES[each]]
    probe(environment, modules, [group for each in extras for group in GROUPS.get(each, ())])
    command = [str(environment / "bin" / "imagevol"), "--version"]
    done = subprocess.run(command, env=alone(), capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    if "cli" in extras:
        right = done.returncode == 0 and len(lines) == 1 and lines[0].startswith("imagevol ")
    else:
        right = done.returncode == 1 and len(lines) == 1 and "imagevol[cli]" in lines[0]
    if not right:
        raise ReleaseError(f"With extra {extra or '(none)'}, `imagevol --version` printed: {' / '.join(lines)}")


def probe(environment: Path, modules: list[str] | tuple[str, ...], groups: list[str] | tuple[str, ...]) -> None:
    """Import modules and load plug-ins in an environment."""
    asked = json.dumps([modules, groups])
    python = str(environment / "bin" / "python")
    done = subprocess.run([python, "-I", "-c", PROBE, asked], env=alone(), capture_output=True, text=True, check=True)
    failed = json.loads(done.stdout.strip().splitlines()[-1])
    if failed:
        raise ReleaseError("\n".join(f"{name} does not load: {error}" for name, error in failed.items()))


def alone() -> dict[str, str]:
    """Give the environment of a process that must not find another installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "OS_"))}
