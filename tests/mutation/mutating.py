"""mutmut, run on a copy of the core and of its tests.

mutmut changes one expression of one function at a time and runs the tests that call the function.  It works on a copy,
made anew each time: it keeps its results beside the sources and does not notice that a test has changed.

A change is switched on when the tests have been imported: what one of their modules works out outside of a test never
sees it, and proves nothing.  For the same reason no function of the core may make another one at import, as a decorator
does; a row of a table takes `functools.partial` instead.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tests.mutation.kept import Tried
from tests.mutation.survivors import Mutant

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src" / "imagevol_core"
COPIED = (
    *("src", "tests/core", "tests/__init__.py", "tests/conftest.py"),
    *("tests/cloud/__init__.py", "tests/cloud/faults.py"),  # of which the tests of the audit take their faults
)

# A module answers to its own tests and to no others: what is killed only by chance, three decisions further on, is not
# held by anything, and a module takes minutes.  These are packages, and modules whose tests have other names.
TESTS = {
    "auditing": ["auditing"],
    "auditing.decision": ["auditing", "audit_evidence"],
    "auditing.file_rules": ["auditing", "audited_volumes"],
    "auditing.evidence": ["audit_evidence"],
    "auditing.location_rules": ["auditing", "audit_evidence"],
    "auditing.rules": ["auditing", "audit_evidence"],
    "auditing.volume_rules": ["auditing", "audit_evidence", "audited_volumes"],
    "auditing.ledger": ["audit_ledger", "auditing"],
    "auditing.repair_attachments": ["repair_reasons", "repairs"],
    "auditing.repair_clones": ["repair_reasons", "repairs"],
    "auditing.repair_ends": ["repair_reasons", "repairs"],
    "auditing.repair_facts": ["repair_reasons", "repairs"],
    "auditing.repair_guards": ["repair_reasons", "repairs"],
    "auditing.repair_rules": ["repair_reasons", "repairs"],
    "auditing.repair_steps": ["repair_reasons", "repairs"],
    "auditing.repairs": ["repair_reasons", "repairs"],
    "caching": ["caching"],
    "caching.upstream": ["caching", "releases"],
    "checks": ["doctor", "validating"],
    "cloning": ["clone_rules", "cloning"],
    "copying": ["copying"],
    "creation": ["creation"],
    "creation.boot_mapping": ["boot_mapping"],
    "creation.cost": ["outlook"],
    "creation.outlook": ["outlook"],
    "creation.warming": ["warming"],
    "marks.image": ["metadata"],
    "marks.template": ["template_metadata"],
    "doctor": ["doctor"],
    "migration": ["migration", "migration_rules"],
    "migration.route": ["relocation"],
    "migration.route_rules": ["relocation"],
    "placement": ["validating"],
    "remains.attachments": ["reclaiming"],
    "remains.lost": ["lost_attachments"],
    "remains.removal": ["removal"],
    "remains.volumes": ["remains"],
    "resuming": ["resuming", "resuming_reasons"],
    "resuming.finished": ["finished"],
    "resuming.repeating": ["repeating"],
    "safety": ["safety"],
    "safety.partitions": ["partitions"],
    "sharding": ["sharding"],
    "sharding.limiting": ["limiting"],
    "store_copies": ["store_copies", "store_copy_reasons"],
    "store_copies.decision": ["store_copies", "store_copy_reasons", "store_copy_steps"],
    "stores": ["stores"],
    "stores.check": ["stores", "store_trials"],
    "stores.put": ["put_rules"],
    "stores.selection": ["selection"],
    "stores.trials": ["store_trials"],
    "stores.upgrade": ["upgrade"],
    "templates": ["templates"],
    "templates.pruning": ["pruning"],
    "uploading": ["uploading"],
    "validating": ["validating"],
}

# What pytest has for people and for other runs; every mutant would pay for it.
NOT_NEEDED = (
    *("cov", "doctest", "faulthandler", "junitxml", "logging"),
    *("threadexception", "unraisableexception", "xdist"),
)
ARGUMENTS = ["--hypothesis-profile=mutation", *(f"-pno:{name}" for name in NOT_NEEDED)]

CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/imagevol_core/{module}.py"]
pytest_add_cli_args = {arguments}
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
timeout_multiplier = 5
timeout_constant = 3
"""


class Result(NamedTuple):
    """What became of one mutant.  `status` is mutmut's word: killed, survived, timeout, no tests, …"""

    module: str
    name: str
    status: str


def modules() -> list[str]:
    """Give the modules of the core that have something to change, as `cloning.rules`."""
    found = (path.relative_to(CORE).with_suffix("") for path in CORE.rglob("*.py") if path.stem != "__init__")
    return sorted(".".join(path.parts) for path in found)


def size(module: str) -> int:
    """Give the bytes of a module: about how long its mutants take."""
    return _path(module).stat().st_size


def tests_of(module: str) -> list[str]:
    """Give the files of tests to which a module answers."""
    named = TESTS.get(module) or TESTS.get(module.partition(".")[0], [module])
    return [f"tests/core/test_{name}.py" for name in named]


def configuration(module: str) -> str:
    """Give what mutmut is told."""
    return CONFIGURATION.format(module=module.replace(".", "/"), tests=tests_of(module), arguments=ARGUMENTS)


def digest(module: str) -> str:
    """Give a text that changes with the module, its tests, the helpers that these import, and mutmut.

    The rest of the sources does not count, although a change to it may let a mutant live: `--again` tries all of them.
    """
    hashed = hashlib.sha256(f"{version('mutmut')} {configuration(module)}".encode())
    for path in [_path(module), *read_by(tests_of(module))]:
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def _path(module: str) -> Path:
    return CORE / f"{module.replace('.', '/')}.py"


def read_by(tests: Iterable[str]) -> list[Path]:
    """Give these files of tests, what holds for every test, and each file of ours that they import, in order."""
    found, waiting = set[Path](), [ROOT / name for name in ("tests/conftest.py", *tests)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "tests":
                module = ROOT.joinpath(*str(node.module).split("."))
                named = [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]
                waiting.extend(each for each in named if each.exists() and _is_copied(each))
    return sorted(found)


def _is_copied(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / name) for name in COPIED)


def attempt(directory: Path, module: str, *, processes: int) -> Tried:
    """Try every mutant of a module in a directory of its own, and say what became of them.

    Raises:
        RuntimeError: mutmut could not begin, most likely because a test fails also where nothing is changed.
    """
    began = time.monotonic()
    lay_out(directory, module)
    try:
        found = run(directory, processes=processes)
        alive = {describe(directory, each): each.status for each in found if each.status != "killed"}
    finally:
        shutil.rmtree(directory)
    return Tried(Counter(each.status for each in found), alive, (time.monotonic() - began) / 60)


def lay_out(directory: Path, module: str) -> None:
    """Put into the directory what mutmut works on: a copy of the sources and tests, and its configuration."""
    shutil.rmtree(directory, ignore_errors=True)
    for name in COPIED:
        source, copy = ROOT / name, directory / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy)
    (directory / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + configuration(module))


def run(directory: Path, *, processes: int) -> list[Result]:
    """Try every mutant; a module without a function that mutmut changes has none.

    Raises:
        RuntimeError: mutmut could not begin, most likely because a test fails also where nothing is changed.
    """
    try:
        _mutmut(directory, "run", f"--max-children={processes}")
    except RuntimeError:
        if _has_mutants(directory):
            raise
        return []
    lines = _mutmut(directory, "results", "--all=true").splitlines()
    results = (line.strip().rpartition(": ") for line in lines if line.strip())
    return [Result(".".join(name.split(".")[1:-1]), name, status) for name, _, status in results]


def _has_mutants(directory: Path) -> bool:
    """Whether mutmut found something to change before it gave up."""
    changed = list((directory / "mutants").glob("src/imagevol_core/**/*.py.meta"))
    return not changed or any("__mutmut_" in meta.read_text() for meta in changed)


def describe(directory: Path, result: Result) -> Mutant:
    """Read what the mutant changes out of the difference that mutmut shows."""
    lines = _mutmut(directory, "show", result.name).splitlines()
    changes = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    before, after = ("\n".join(line[1:].strip() for line in changes if line[:1] == sign) for sign in "-+")
    return Mutant(result.module, _function(result.name), before, after)


def _function(name: str) -> str:
    """`imagevol_core.sizing.x_gib_for__mutmut_3` is of `gib_for`, `….xǁGrowthǁ__post_init____mutmut_3` of a method."""
    mangled = re.sub(r"__mutmut_\d+$", "", name.rpartition(".")[2])
    return mangled.removeprefix("xǁ").replace("ǁ", ".") if mangled.startswith("xǁ") else mangled.removeprefix("x_")


def _mutmut(directory: Path, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    environment = {**os.environ, "CI": "", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=directory, env=environment, check=False, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"mutmut {arguments[0]}:\n{done.stdout[-5000:]}\n{done.stderr[-2000:]}")
    return done.stdout
