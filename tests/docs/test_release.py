"""`nox -s release` looks at each extra and each plug-in, and notices what does not load."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from tests.release import advisories, advisory_list, installed
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
    known = advisories.rows(advisories.LIST.read_text())
    pinned = advisories.pins(advisories.CONSTRAINTS.read_text().splitlines())
    assert known.keys() <= pinned.keys()
    assert list(advisories.listed(known, pinned)) == []


def test_the_versions_of_an_advisory_are_those_of_the_public_databases() -> None:
    events = [{"introduced": "0"}, {"fixed": "1.26.17"}, {"introduced": "2.0.0"}, {"fixed": "2.0.6"}]
    affected = {"package": {"name": "URLlib3"}, "ranges": [{"type": "ECOSYSTEM", "events": events}, {"type": "GIT"}]}
    advisory = {"id": "PYSEC-1", "aliases": ["GHSA-1", "CVE-1"], "affected": [affected]}
    found = [("urllib3", ("CVE-1", "<1.26.17")), ("urllib3", ("CVE-1", ">=2.0.0,<2.0.6"))]
    assert list(advisory_list.of_pypa(advisory)) == found
    never = {"package": {"name": "a"}, "ranges": [{"type": "ECOSYSTEM", "events": events[:1]}], "versions": ["9", "10"]}
    assert list(advisory_list.of_pypa({"id": "PYSEC-2", "affected": [never]})) == [("a", ("PYSEC-2", ">=0,<=10"))]
    assert list(advisory_list.of_pypa({**advisory, "withdrawn": "2024-01-01"})) == []
    both = {"product": "Cinder, Glance", "version": "Cinder <22.1.3, >=23.0.0 <23.1.1; Glance ==27.0.0"}
    told = {"id": "OSSA-2024-001", "vulnerabilities": [{"cve-id": "CVE-2"}], "affected-products": [both]}
    versions = [("cinder", "<22.1.3"), ("cinder", ">=23.0.0,<23.1.1"), ("glance", "==27.0.0")]
    assert [(project, spec) for project, (_, spec) in advisory_list.of_ossa(told)] == versions
    with pytest.raises(ValueError, match="are no versions"):
        list(advisory_list.of_ossa({**told, "affected-products": [{"product": "glance", "version": "up to 2014.1.3"}]}))


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
