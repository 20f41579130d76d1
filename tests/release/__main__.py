"""`python -m tests.release`: build the release of this tree, check it, and install it as users do.

Changes nothing in the tree unless --write is given. Then it moves the fragments of the changelog into CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.release import building, installed

CHECKOUT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    parser.add_argument("directory", type=Path, help="Write the release and the environments into DIRECTORY")
    parser.add_argument("--write", action="store_true", help="Move the fragments of the changelog into CHANGELOG.md")
    parser.add_argument(
        "--install",
        action="append",
        metavar="NAME",
        choices=installed.NAMES,
        help=f"Install only NAME; repeat it for several: {', '.join(installed.NAMES)} (default: all)",
    )
    arguments = parser.parse_args()
    before = building.changes(CHECKOUT)
    try:
        release(arguments.directory.resolve(), arguments.install or installed.NAMES)
        if (after := building.changes(CHECKOUT)) != before:
            raise building.ReleaseError(f"The build changed the tree. Before:\n{before}\nNow:\n{after}")
        if arguments.write:
            with step("Move the fragments into CHANGELOG.md"):
                building.write_changelog(CHECKOUT, version())
            print("Commit the change, and tag the commit. docs/production/release.md says how to go on.")
    except building.ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: no release was made.", file=sys.stderr)
        return 130
    return 0


def release(directory: Path, names: tuple[str, ...] | list[str]) -> None:
    """Do all of it but the change of the tree."""
    with step("Gather the changelog"):
        notes = building.gather(CHECKOUT, version(), directory)
    with step("Build the source distribution, and from it the wheel"):
        built = building.build(CHECKOUT, version(), directory / "dist")
    with step("Check both: contents, metadata, the text for the index"):
        building.check(CHECKOUT, built)
    for name in names:
        with step(f"Install into an empty environment: {name}"):
            installed.check(CHECKOUT, built.wheel, name, directory / "environment")
    print(f"The release is in {built.wheel.parent}, its notes are in {notes}.")


def version() -> str:
    """Give the version of this tree."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and how long it took; a command that fails is an error of this step."""
    print(f"{what} …", flush=True)
    started = time.monotonic()
    try:
        yield
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        raise building.ReleaseError(f"{what}: `{command}` failed:\n{error.stdout or ''}{error.stderr or ''}") from error
    print(f"  {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
