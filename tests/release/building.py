"""The files of a release: source distribution, wheel and notes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path


class ReleaseError(Exception):
    """What keeps the tree from being released, in a sentence."""


@dataclass(frozen=True)
class Built:
    """The two files of a release."""

    sdist: Path
    wheel: Path


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command and give what it prints.

    Raises:
        subprocess.CalledProcessError: it failed; the error has all of its output.
    """
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    return done.stdout


def changes(checkout: Path) -> str:
    """Give what differs from the last commit: the names of the files, and the changes of those that git knows."""
    git = ("git", "-c", "safe.directory=*")
    return run(*git, "status", "--porcelain", cwd=checkout) + run(
        *git, "diff", "HEAD", "--raw", "--abbrev=40", cwd=checkout
    )


def gather(checkout: Path, version: str, directory: Path) -> Path:
    """Write the notes of the release beside it, and leave the fragments where they are."""
    text = run(sys.executable, "-m", "towncrier", "build", "--draft", "--version", version, cwd=checkout)
    _, found, notes = text.partition(f"## {version} ")
    if not found or "No significant changes" in notes:
        raise ReleaseError(f"The changelog of {version} is empty: add a fragment to changelog.d for each change.")
    directory.mkdir(parents=True, exist_ok=True)
    written = directory / "NOTES.md"
    written.write_text(found + notes)
    return written


def write_changelog(checkout: Path, version: str) -> None:
    """Move the fragments into CHANGELOG.md."""
    run(sys.executable, "-m", "towncrier", "build", "--yes", "--version", version, cwd=checkout)


def build(checkout: Path, version: str, directory: Path) -> Built:
    """Build the source distribution of the tree, and the wheel out of that and not of the tree."""
    shutil.rmtree(directory, ignore_errors=True)
    committed = run("git", "-c", "safe.directory=*", "log", "-1", "--format=%ct", cwd=checkout).strip()
    run(
        *(sys.executable, "-m", "build", "--outdir", directory, checkout),
        cwd=checkout,
        PIP_CONSTRAINT=str(checkout / "constraints.txt"),
        SOURCE_DATE_EPOCH=committed,  # so that the same commit gives the same files
    )
    built = Built(directory / f"imagevol-{version}.tar.gz", directory / f"imagevol-{version}-py3-none-any.whl")
    if {built.sdist, built.wheel} != set(directory.iterdir()):
        raise ReleaseError(f"The build made other files than {built.sdist.name} and {built.wheel.name}.")
    return built


def check(checkout: Path, built: Built) -> None:
    """Check what an index and an installer would look at."""
    run(sys.executable, "-m", "twine", "check", "--strict", built.sdist, built.wheel, cwd=checkout)
    packages = (argument for name in ("core", "adapters") for argument in ("--package", f"src/imagevol_{name}"))
    run(sys.executable, "-m", "check_wheel_contents", *packages, built.wheel, cwd=checkout)
    with tarfile.open(built.sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    tracked = run("git", "-c", "safe.directory=*", "ls-files", cwd=checkout).split("\n")
    left_out = (".ci/", ".gitignore")
    missing = [name for name in tracked if name and not name.startswith(left_out) and name not in packed]
    if missing:
        raise ReleaseError(f"The source distribution lacks {', '.join(missing)}.")
