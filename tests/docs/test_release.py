"""`nox -s release` looks at each extra and each plug-in, and notices what does not load."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from tests.release import advisories, installed
from tests.release.building import ReleaseError

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_the_release_is_installed_with_each_extra_alone() -> None:
    assert set(installed.EXTRAS) == {"", *PROJECT["optional-dependencies"]}


def test_every_plug_in_is_loaded_with_an_extra() -> None:
    loaded = {group for groups in installed.GROUPS.values() for group in groups}
    assert loaded == set(PROJECT["entry-points"])


def test_a_module_that_is_not_there_ends_the_release() -> None:
    with pytest.raises(ReleaseError, match=r"^imagevol_core\.nosuch does not load"):
        installed.probe(Path(sys.prefix), ["imagevol_core", "imagevol_core.nosuch"], [])


def test_a_plug_in_that_is_not_there_ends_the_release() -> None:
    with pytest.raises(ReleaseError, match=r"^glance_store\.nosuch does not load"):
        installed.probe(Path(sys.prefix), [], ["glance_store.nosuch"])


def test_the_modules_that_are_there_are_found() -> None:
    installed.probe(Path(sys.prefix), installed.MODULES["store"], installed.GROUPS["store"])


def test_no_pinned_release_has_a_known_vulnerability() -> None:
    known = tomllib.loads(advisories.LIST.read_text())["affected"]
    pinned = advisories.pins(advisories.CONSTRAINTS.read_text().splitlines())
    assert known.keys() <= pinned.keys()
    assert list(advisories.listed(known, pinned)) == []


def test_a_release_with_a_known_vulnerability_is_named() -> None:
    pinned = advisories.pins(["# pins", "Jinja2==3.1.5 ; python_full_version < '3.12'", "PyYAML==6.0.3"])
    assert pinned == {"jinja2": "3.1.5", "pyyaml": "6.0.3"}
    known = {"jinja2": [["CVE-2025-27516", "<3.1.6"]], "pyyaml": [["CVE-2020-14343", "<5.4"]]}
    assert list(advisories.listed(known, pinned)) == ["jinja2 3.1.5: CVE-2025-27516 (<3.1.6)"]


def test_a_release_that_no_service_knows_is_not_taken_for_safe() -> None:
    vulnerable = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    skipped = {"name": "b", "skip_reason": "not found"}
    assert advisories.audited({"dependencies": [vulnerable, skipped]}) == (["a 1: CVE-1, mended in 2"], 1)
    assert advisories.audited({"dependencies": [skipped, skipped]}) == ([], 0)
