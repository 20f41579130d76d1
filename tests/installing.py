"""On which Pythons nox's sessions run, and the wheel that they install."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path


def candidates(version: str) -> Iterator[str]:
    """Give what may be this Python: the one asked for, the system's, the first on the PATH, nox's own, those of pyenv.

    The system's comes before a newer one because it is what users have: that of Debian 12 is 3.11.2.
    """
    if asked := os.environ.get("IMAGEVOL_PYTHON"):
        yield asked
    yield f"/usr/bin/python{version}"
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    yield sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))


def identity(python: str) -> str:
    """Give version and installation; nothing if it does not start: a shim of pyenv may be there and refuse to run."""
    command = [python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.base_prefix)"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def runs(python: str, version: str) -> bool:
    """Whether it starts and is that version."""
    return identity(python).startswith(f"{version}.")


def find_pythons(versions: Sequence[str]) -> dict[str, str]:
    """Give those of these Python versions that run here, and put each on the PATH, where nox looks."""
    found = {}
    for version in versions:
        if python := next((each for each in candidates(version) if runs(each, version)), None):
            found[version] = python
            os.environ["PATH"] = os.pathsep.join([str(Path(python).parent), os.environ["PATH"]])
        else:
            print(f"Python {version} is not found here: left out.", file=sys.stderr)
    return found


@functools.cache
def wheel(root: Path, directory: Path) -> Path:
    """Build the wheel of a tree if what it is made of has changed."""
    sources = [root / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    sources += sorted(path for path in (root / "src").rglob("*") if path.is_file() and path.suffix != ".pyc")
    content = b"".join(b"%a %d\n%b" % (str(path), path.stat().st_size, path.read_bytes()) for path in sources)
    built_in = directory / hashlib.sha256(content).hexdigest()[:16]
    if not list(built_in.glob("*.whl")):
        shutil.rmtree(directory, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
        subprocess.run([*command, str(built_in), str(root)], check=True)
    (built,) = built_in.glob("*.whl")
    return built


def has_wheel(python: Path, wheel: Path) -> bool:
    """Whether a wheel's files are in an environment, and no others in its packages."""
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith(".dist-info/RECORD")}
    if not all((site / name).is_file() and (site / name).read_bytes() == data for name, data in files.items()):
        return False
    packages = {name.partition("/")[0] for name in files if ".dist-info/" not in name}
    there = (path for package in packages for path in (site / package).rglob("*"))
    return all(path.is_dir() or path.suffix == ".pyc" or str(path.relative_to(site)) in files for path in there)
