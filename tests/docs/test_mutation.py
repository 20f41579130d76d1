"""The list of the mutants that may survive fits the code, and what a run found is kept for the next one."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation import kept, mutating, survivors
from tests.mutation.survivors import Mutant

CORE = Path(__file__).parents[2] / "src" / "imagevol_core"
LISTED = survivors.read()


@pytest.mark.parametrize("mutant", LISTED, ids=lambda mutant: f"{mutant.module}:{mutant.function}")
def test_a_listed_mutant_is_of_a_function_that_has_these_lines(mutant: Mutant) -> None:
    source = (CORE / f"{mutant.module.replace('.', '/')}.py").read_text()
    body: list[ast.stmt] = ast.parse(source).body
    for name in mutant.function.split("."):
        found = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name][-1]
        body = found.body
    lines = {line.strip() for line in source.splitlines()[found.lineno - 1 : found.end_lineno]}
    assert set(mutant.before.splitlines()) <= lines


@pytest.mark.parametrize("module", mutating.modules())
def test_each_module_has_tests_that_its_mutants_run(module: str) -> None:
    assert [name for name in mutating.tests_of(module) if not (mutating.ROOT / name).exists()] == []


def test_what_the_tests_of_the_core_import_is_copied_too() -> None:
    imported = {
        str(node.module).replace(".", "/")
        for path in (mutating.ROOT / "tests" / "core").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tests.")
    }
    assert {f"{name}.py" for name in imported if not name.startswith("tests/core")} <= set(mutating.COPIED)


@pytest.mark.parametrize("why", sorted(set(LISTED.values())))
def test_a_listed_mutant_is_equivalent_or_accepted(why: str) -> None:
    assert why.startswith(("equivalent: ", "accepted: "))


def test_what_a_run_found_is_used_again_until_something_changes(tmp_path: Path) -> None:
    alive = {Mutant("sizing", "gib_for", "return 1", "return 2"): "survived"}
    found = kept.Tried(Counter(killed=7, survived=1), alive, 0.5)
    assert kept.read(tmp_path / "found", "sizing", digest="one") is None
    kept.keep(tmp_path / "found", "sizing", found, digest="one")
    assert kept.read(tmp_path / "found", "sizing", digest="one") == found
    assert kept.read(tmp_path / "found", "sizing", digest="another") is None


def test_what_a_run_found_depends_on_each_helper_that_the_tests_import() -> None:
    files = {
        path.relative_to(mutating.ROOT).as_posix() for path in mutating.read_by(mutating.tests_of("auditing.evidence"))
    }
    own = {"tests/core/test_audit_evidence.py", "tests/conftest.py"}
    assert files == own | {"tests/core/test_auditing.py", "tests/cloud/faults.py"}
    assert mutating.ROOT / "tests/core/cases.py" in mutating.read_by(mutating.tests_of("stores"))
