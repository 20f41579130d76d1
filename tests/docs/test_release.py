"""`nox -s release` looks at each extra and each plug-in, and notices what does not load."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from tests.release import installed
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
