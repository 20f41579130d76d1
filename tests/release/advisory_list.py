"""`python -m tests.release.advisory_list PYPA OSSA`: write `advisories.toml` anew, from two public databases.

PYPA is a clone of github.com/pypa/advisory-database, OSSA one of github.com/openstack/ossa.  What is taken of them are
the advisories on the projects that are pinned.  `read` stays as it is: these are newer, and a person has read each.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tests.release.advisories import CONSTRAINTS, LIST, pins

Row = tuple[str, str]

_IN_WORDS = 2015  # until then
_YEAR = re.compile(r"=?20[01]\d\.")  # of the versions before 2016, which are larger than those of today

_HEAD = """\
# Public advisories on what is pinned in constraints.txt, for hosts from which no service of advisories can be reached.
#
# `nox -s advisories` asks pip-audit where the network allows it. Where it does not, the pinned versions are compared
# with this list, and a test compares them in every run.
#
# `python -m tests.release.advisory_list PYPA OSSA` writes `sources` and `affected` from clones of the two databases.
# Add to `read` what is newer than `sources`: name, versions, and the page where it was read.
"""


def of_pypa(advisory: Mapping[str, Any]) -> Iterator[tuple[str, Row]]:
    """Give each project and the versions that an advisory of PyPA's database is on."""
    if "withdrawn" in advisory:
        return
    name = next((each for each in advisory.get("aliases", ()) if each.startswith("CVE-")), advisory["id"])
    for affected in advisory["affected"]:
        project = canonicalize_name(affected["package"]["name"])
        for each in affected.get("ranges", ()):
            if each["type"] == "ECOSYSTEM":
                newest = max(_versions(affected.get("versions", ())), default=None)
                yield from ((project, (name, versions)) for versions in _between(each["events"], newest))


def _versions(names: Iterable[object]) -> Iterator[Version]:
    for name in names:
        with suppress(InvalidVersion):
            yield Version(str(name))


def _between(events: Iterable[Mapping[str, Any]], newest: Version | None) -> Iterator[str]:
    since: str | None = None
    for event in events:
        if "introduced" in event:
            since = str(event["introduced"])
        else:
            until = f"<{event['fixed']}" if "fixed" in event else f"<={event['last_affected']}"
            yield until if since in (None, "0") else f">={since},{until}"
            since = None
    if since is not None:  # no release is known that mends it: the newest one that was looked at is the last
        yield f">={since}" if newest is None else f">={since},<={newest}"


def of_ossa(advisory: Mapping[str, Any]) -> Iterator[tuple[str, Row]]:
    """Give each project and the versions that an advisory of OpenStack is on.

    Raises:
        ValueError: the versions are told in words, as until 2015.
    """
    name = next((each["cve-id"] for each in advisory.get("vulnerabilities", ())), advisory["id"])
    for affected in advisory["affected-products"]:
        products = [each.strip() for each in str(affected["product"]).split(",")]
        parts = [each.strip() for each in str(affected["version"]).split(";")]
        for part in parts:
            product, versions = (products[0], part) if len(products) == 1 else part.split(maxsplit=1)
            for each in versions.split(","):
                spec = re.sub(r"([<>=])\s+", r"\1", each.strip())
                spec = re.sub(r"(?<=\d)\s*(?=[<>=])", ",", spec)
                try:
                    SpecifierSet(spec)
                except InvalidSpecifier as error:
                    raise ValueError(f"{advisory['id']}: {each!r} are no versions") from error
                if not _YEAR.search(spec):
                    yield canonicalize_name(product), (name, spec)


def written(known: Mapping[str, Iterable[Row]], sources: Mapping[str, str], read: Iterable[Mapping[str, str]]) -> str:
    """Give the list as a file."""
    lines = [_HEAD, "[sources]", *(f'"{name}" = "{of}"' for name, of in sources.items()), "", "[affected]"]
    for project, rows in sorted(known.items()):
        lines += [f'"{project}" = [', *(f'    ["{name}", "{versions}"],' for name, versions in sorted(set(rows))), "]"]
    for row in read:
        lines += ["", "[[read]]", *(f'{key} = "{value}"' for key, value in row.items())]
    return "\n".join(lines) + "\n"


def _git(clone: Path, *arguments: str) -> str:
    command = ["git", "-C", str(clone), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _files(clone: Path, folder: str) -> Iterator[Mapping[str, Any]]:
    safe_load = import_module("yaml").safe_load
    for name in _git(clone, "ls-tree", "-r", "--name-only", "HEAD", folder).splitlines():
        if name.endswith(".yaml"):
            yield safe_load(_git(clone, "show", f"HEAD:{name}"))


def main(pypa: Path, ossa: Path) -> None:
    """Write the list, and say what cannot be read of the databases."""
    pinned = pins(CONSTRAINTS.read_text().splitlines())
    rows: dict[str, list[Row]] = {}
    names = _git(pypa, "ls-tree", "--name-only", "HEAD:vulns").split()
    folders: dict[str, str] = {canonicalize_name(each): each for each in names}
    for project in pinned.keys() & folders.keys():
        for advisory in _files(pypa, f"vulns/{folders[project]}"):
            for about, row in of_pypa(advisory):
                rows.setdefault(about, []).append(row)
    for advisory in _files(ossa, "ossa"):
        try:
            for about, row in of_ossa(advisory):
                rows.setdefault(about, []).append(row)
        except ValueError as error:
            if int(advisory["id"].split("-")[1]) > _IN_WORDS:
                print(f"left out: {error}")
    sources = {
        name: _git(clone, "log", "-1", "--format=%cs %H").strip()
        for name, clone in (("pypa/advisory-database", pypa), ("openstack/ossa", ossa))
    }
    before = tomllib.loads(LIST.read_text()).get("read", [])
    known = {project: found for project, found in rows.items() if project in pinned}
    LIST.write_text(written(known, sources, before))
    print(f"{sum(map(len, known.values()))} rows on {len(known)} of {len(pinned)} pinned projects are written.")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
