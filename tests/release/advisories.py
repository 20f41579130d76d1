"""`python -m tests.release.advisories`: has a release that is pinned in constraints.txt a known vulnerability?

pip-audit is asked. Where it reaches no service that knows the releases, the list beside this file is asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
LIST = Path(__file__).with_name("advisories.toml")
_MINUTES = 10


def pins(lines: Iterable[str]) -> Mapping[str, str]:
    """Give the version of each project that is pinned."""
    plain = (line.partition("#")[0].strip() for line in lines)
    found = [Requirement(line) for line in plain if line]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in found}


def rows(text: str) -> dict[str, list[list[str]]]:
    """Give what the list knows of each project: of the public databases, and what was read beside them."""
    told = tomllib.loads(text)
    known: dict[str, list[list[str]]] = {name: list(found) for name, found in told["affected"].items()}
    for each in told["read"]:
        known.setdefault(each["project"], []).append([each["advisory"], each["versions"]])
    return known


def listed(known: Mapping[str, Sequence[Sequence[str]]], pinned: Mapping[str, str]) -> Iterator[str]:
    """Give a line for each pinned release that the list knows a vulnerability of."""
    for name, version in pinned.items():
        for advisory, affected in known.get(name, ()):
            if SpecifierSet(affected).contains(version, prereleases=True):
                yield f"{name} {version}: {advisory} ({affected})"


def audited(report: Mapping[str, Any]) -> tuple[list[str], int]:
    """Give a line for each vulnerability in a report of pip-audit, and how many releases its service knows."""
    found = report["dependencies"]
    lines = [
        f"{each['name']} {each['version']}: {vulnerability['id']}, mended in {', '.join(vulnerability['fix_versions'])}"
        for each in found
        for vulnerability in each.get("vulns", ())
    ]
    return lines, sum("skip_reason" not in each for each in found)


def asked(pinned: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Ask pip-audit; None if it reaches no service."""
    with tempfile.TemporaryDirectory(prefix="imagevol-advisories-") as directory:
        wanted, report = Path(directory, "requirements.txt"), Path(directory, "report.json")
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in pinned.items()))
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(wanted), "--no-deps", "--disable-pip"]
        command += ["--format=json", f"--output={report}", "--progress-spinner=off", "--timeout=20"]
        try:
            subprocess.run(command, check=False, capture_output=True, timeout=60 * _MINUTES)
            told: Mapping[str, Any] = json.loads(report.read_text())
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        return told


def main() -> int:
    """Give 1 if a pinned release has a known vulnerability."""
    pinned = pins(CONSTRAINTS.read_text().splitlines())
    text = LIST.read_text()
    report = asked(pinned)
    found, count = audited(report) if report else ([], 0)
    if count:
        print(f"pip-audit: its service knows {count} of {len(pinned)} pinned releases.")
    else:
        sources = tomllib.loads(text)["sources"].items()
        of = ", ".join(f"{name} of {commit.split()[0]}" for name, commit in sources)
        print(f"No service of advisories is reached: compared with the list in the tree, from {of}.")
    found = [*found, *listed(rows(text), pinned)]
    for line in found:
        print(line)
    print(f"{len(found)} vulnerabilities are known.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
