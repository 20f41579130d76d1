"""The pages on architecture and threats show what is in the code."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs/_ext"))
import_graph = pytest.importorskip("import_graph")
rule_texts = pytest.importorskip("rule_texts")

PACKAGES = ["imagevol_core", "imagevol_adapters"]
THREATS: list[dict[str, Any]] = tomllib.loads((ROOT / "docs/_data/threats.toml").read_text())["threat"]


def made(root: Path, files: dict[str, str]) -> dict[str, Any]:
    """The parts of a package `p` with these files."""
    for name, text in files.items():
        file = root / "p" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found: dict[str, Any] = import_graph.parts("p", root)
    return found


def test_a_part_imports_what_any_of_its_files_imports_anywhere(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        {
            "low": '"""What it is.\n\nMore."""\nimport attrs, json, oslo_config.cfg',
            "high/__init__": '"""Above."""',
            "high/inner": "def f():\n    from p.low import x\n    from p import middle",
            "middle": "import p.low",
        },
    )
    assert {name: set(part.imports) for name, part in found.items()} == {
        "low": set(),
        "middle": {"low"},
        "high": {"low", "middle"},
    }
    assert (found["low"].text, found["low"].libraries, found["high"].is_package) == (
        "What it is.",
        frozenset({"oslo.config"}),
        True,
    )


def test_an_import_that_another_one_implies_is_not_drawn(tmp_path: Path) -> None:
    found = made(tmp_path, {"low": "", "middle": "import p.low", "high": "import p.low, p.middle"})
    graph = import_graph.edges(found, found)
    assert import_graph.reduced(graph) == {"low": set(), "middle": {"low"}, "high": {"middle"}}
    assert import_graph.layers(graph) == [["low"], ["middle"], ["high"]]


def test_an_import_by_way_of_a_part_that_is_not_drawn_is_drawn(tmp_path: Path) -> None:
    found = made(tmp_path, {"low": "", "middle": "import p.low", "high": "import p.middle"})
    assert import_graph.edges(found, ["low", "high"]) == {"low": set(), "high": {"low"}}


def test_parts_that_import_each_other_cannot_be_drawn(tmp_path: Path) -> None:
    found = made(tmp_path, {"one": "import p.other", "other": "import p.one"})
    with pytest.raises(ValueError, match="import each other: one, other"):
        import_graph.layers(import_graph.edges(found, found))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_parts_of_a_package_import_each_other(package: str) -> None:
    found = import_graph.parts(package)
    drawn = [name for layer in import_graph.layers(import_graph.edges(found, found)) for name in layer]
    assert sorted(drawn) == sorted(found)
    assert len(drawn) > 10


@pytest.mark.parametrize("package", PACKAGES)
def test_each_part_says_what_it_is(package: str) -> None:
    assert [name for name, part in import_graph.parts(package).items() if not part.text] == []


def test_the_core_needs_no_library() -> None:
    assert {library for part in import_graph.parts("imagevol_core").values() for library in part.libraries} == set()


@functools.cache
def functions(file: Path) -> set[str]:
    """The names of the functions in a file."""
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


@functools.cache
def with_imported_tests(file: Path) -> str:
    """A file, with what it imports of the tests, where the cases of its tests are named."""
    text = file.read_text()
    modules = re.findall(r"^from (tests\.[\w.]+) import", text, re.MULTILINE)
    return "\n".join([text, *((ROOT / f"{module.replace('.', '/')}.py").read_text() for module in modules)])


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: str(threat["attack"]))
def test_what_stops_an_attack_is_a_rule_or_a_test_that_there_is(threat: dict[str, Any]) -> None:
    needed = {"group", "attack", "check", "parts", "stop", "tests"}
    assert needed <= set(threat) <= needed | {"rules", "like", "driver", "suite", "trials"}
    assert threat["parts"]
    assert set(threat["parts"]) <= {"mixin", "store", "filter", "command line"}
    assert set(threat.get("rules", ())) <= set(rule_texts.texts())
    assert threat["tests"]
    for test in (*threat["tests"], *threat.get("suite", ())):
        file, _, called = test.partition("::")
        name, _, case = called.partition("[")
        assert name in functions(ROOT / file), test
        assert not case or f'"{case[:-1]}"' in with_imported_tests(ROOT / file), test


def test_each_check_is_named_once_so_that_a_table_can_link_to_it() -> None:
    checks = [threat["check"] for threat in THREATS]
    assert sorted(set(checks)) == sorted(checks)
    assert [check for check in checks if not check.endswith(".")] == []


@pytest.mark.parametrize(
    "threat", [threat for threat in THREATS if "driver" in threat], ids=lambda threat: str(threat["check"])
)
def test_if_an_attack_depends_on_the_driver_a_driver_author_can_try_it(threat: dict[str, Any]) -> None:
    """By the conformance suite of drivers, or by `imagevol validate` on the backend."""
    assert "mixin" in threat["parts"]
    assert threat["trials"]
    assert set(threat["trials"]) <= set(rule_texts.texts())
    assert all(test.startswith("src/imagevol_adapters/testing/conformance/driver/") for test in threat.get("suite", ()))


def test_each_public_attack_on_images_and_volumes_is_tried() -> None:
    """Those of Cinder, Glance and Nova that are about the data of images, locations and attachments."""
    known = {
        *("CVE-2014-9493", "CVE-2015-1195", "CVE-2015-1851", "CVE-2015-5162", "CVE-2015-5163", "CVE-2016-0757"),
        *("CVE-2022-47951", "CVE-2023-2088", "CVE-2024-32498", "CVE-2024-40767", "CVE-2026-24708", "CVE-2026-34881"),
        *("OSSN-0065", "OSSN-0090"),
    }
    assert {name for threat in THREATS for name in threat.get("like", ())} >= known


def test_each_advisory_is_named_in_the_way_that_its_link_needs() -> None:
    named = [name for threat in THREATS for name in threat.get("like", ())]
    assert named
    assert [name for name in named if not re.fullmatch(r"CVE-\d{4}-\d+|OSSN-\d{4}", name)] == []
