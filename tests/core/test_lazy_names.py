"""The public names of the core are imported when they are first used, and are the same for a type checker."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import imagevol_core


def loaded(program: str) -> set[str]:
    """The modules of the core that a program has imported at its end."""
    program = f"{program}\nimport sys\nprint(*[name for name in sys.modules if name.startswith('imagevol_core')])"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_the_core_imports_no_decision_until_one_is_used() -> None:
    assert loaded("import imagevol_core") == {"imagevol_core"}


def test_a_name_imports_what_it_needs_and_no_more() -> None:
    modules = loaded("from imagevol_core import Volume")
    assert "imagevol_core.facts" in modules
    assert "imagevol_core.auditing" not in modules


def test_a_type_checker_sees_the_names_that_a_program_does() -> None:
    tree = ast.parse(Path(imagevol_core.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    seen = {
        (node.module, alias.name) for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    names = imagevol_core._NAMES
    assert seen == {(f"imagevol_core.{module}", name) for module, found in names.items() for name in found}
    assert sorted(imagevol_core.__all__) == sorted(name for _, name in seen)


@pytest.mark.parametrize("name", imagevol_core.__all__)
def test_each_name_is_one_of_its_module(name: str) -> None:
    module = imagevol_core._MODULE_OF[name]
    assert getattr(imagevol_core, name) is getattr(getattr(imagevol_core, module), name)


def test_the_names_are_told_before_they_are_imported() -> None:
    program = "import imagevol_core as core; assert set(core.__all__) <= set(dir(core)), dir(core)"
    assert loaded(program) == {"imagevol_core"}
    assert set(imagevol_core.__all__) <= set(dir(imagevol_core))


def test_a_name_that_there_is_not_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'imagevol_core' has no attribute 'nosuch'"):
        getattr(imagevol_core, "nosuch")  # noqa: B009 - the type checker knows that it is an error
