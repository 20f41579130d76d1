"""How the core is built: a package per decision, facts below rules below the decision, and no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import imagevol_core

CORE = Path(imagevol_core.__file__).parent
MODULES = {".".join(path.relative_to(CORE.parent).with_suffix("").parts): path for path in CORE.rglob("*.py")}
PACKAGES = sorted(name.removesuffix(".__init__") for name in MODULES if name.endswith(".__init__"))[1:]

# What a module of a package may import of its own package: what stands before it.
ORDER = (
    *("boot_mapping", "cache_lookup", "partitions", "facts", "evidence", "ledger", "headers", "commands", "steps"),
    *("leaving_rules", "rules", "location_rules", "volume_rules", "file_rules", "route_rules", "host_rules"),
    *("settings_rules", "kept_rules", "upstream", "decision"),
)

# Packages and modules, each of which may import what stands before it, and of its own line.
LEVELS = (
    {
        "errors",
        "facts",
        "verdicts",
        "checks",
        "sentences",
        "locations",
        "sizing",
        "checksums",
        "secret_text",
        "collation",
        "stalls",
    },
    {
        "stores",
        "cloning",
        "caching",
        "copying",
        "safety",
        "custody",
        "recorded",
        "doctor",
        "marks",
        "attaching",
        "remains",
        "resuming",
        "placement",
        "validating",
        "sharding",
    },
    {"templates", "uploading", "migration"},
    {"creation", "auditing", "store_copies"},
    {"tables"},
)


def imported(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give each module of the core that a module imports, with the names that it takes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("imagevol_core"):
            yield str(node.module), tuple(alias.name for alias in node.names)


def package_of(module: str) -> str:
    """Give the package or the single module right under the core that a module belongs to."""
    return ".".join(module.split(".")[:2])


INSIDE = sorted(name for name in MODULES if name.count(".") == 2 and not name.endswith("__init__"))


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"imagevol_core.__init__"}))
def test_a_module_takes_only_what_another_package_exports(module: str) -> None:
    for origin, names in imported(MODULES[module]):
        if package_of(origin) == package_of(module):
            continue
        assert origin == package_of(origin), f"{module} reaches into {origin}"
        if origin in PACKAGES:
            exported = ast.parse(MODULES[f"{origin}.__init__"].read_text())
            (listed,) = (node.value for node in exported.body if isinstance(node, ast.Assign))
            assert set(names) <= set(ast.literal_eval(listed))


def rank(module: str) -> int:
    """Give how high a module of a package stands; what is in no order stands above the decision."""
    name = module.rpartition(".")[2]
    return ORDER.index(name) if name in ORDER else len(ORDER)


@pytest.mark.parametrize("module", INSIDE)
def test_in_a_package_facts_stand_below_rules_and_rules_below_the_decision(module: str) -> None:
    for origin, _ in imported(MODULES[module]):
        if package_of(origin) == package_of(module) and rank(module) < len(ORDER):
            assert rank(origin) < rank(module), f"{module} imports {origin}"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"imagevol_core.__init__"}))
def test_a_package_takes_nothing_of_the_levels_above_it(module: str) -> None:
    level = {f"imagevol_core.{name}": at for at, names in enumerate(LEVELS) for name in names}
    for origin, _ in imported(MODULES[module]):
        assert level[package_of(origin)] <= level[package_of(module)], f"{module} imports {origin}"


def test_every_package_has_its_level() -> None:
    named = {name for names in LEVELS for name in names}
    assert {package_of(name).partition(".")[2] for name in MODULES} - {"__init__"} == named


def test_no_module_imports_itself_by_a_circle() -> None:
    graph = {name.removesuffix(".__init__"): {origin for origin, _ in imported(path)} for name, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises a CycleError that names the circle


def test_no_package_needs_itself_by_a_circle_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if name != "imagevol_core.__init__":
            own = package_of(name)
            graph.setdefault(own, set()).update({package_of(origin) for origin, _ in imported(path)} - {own})
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_is_read_in_one_sitting(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= 450


def test_every_public_name_is_of_one_thing() -> None:
    assert len(imagevol_core.__all__) == len(set(imagevol_core.__all__))
    assert not [name for name in imagevol_core.__all__ if name.endswith("_RULES")]
    classes: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(name)
    assert {name: places for name, places in classes.items() if len(places) > 1} == {}


FUNCTIONS = {
    node.name
    for path in MODULES.values()
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_function_of_the_core_runs_at_import_where_no_mutant_of_it_is_switched_on(module: str) -> None:
    at_import: list[ast.expr] = []
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.FunctionDef):
            at_import += node.decorator_list
    for statement in ast.parse(MODULES[module].read_text()).body:
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            at_import += [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    assert not {ast.unparse(each) for each in at_import} & FUNCTIONS
