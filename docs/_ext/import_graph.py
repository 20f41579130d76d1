"""Which part of a package imports which, read from its sources: nothing is imported."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"
EVERYWHERE = frozenset({"attr", "attrs", "imagevol_core", "imagevol_adapters"})  # which tell nothing of a part
# What is a part of a library's name, if its distribution has many import packages.
FAMILIES = {
    "oslo_config": "oslo.config",
    "oslo_utils": "oslo.utils",
    "oslo_concurrency": "oslo.concurrency",
    "oslo_privsep": "oslo.privsep",
    "oslo_db": "oslo.db",
}


@dataclass(frozen=True)
class Part:
    """A module or a package directly below a package."""

    name: str
    is_package: bool
    text: str
    imports: frozenset[str]
    libraries: frozenset[str]


@functools.cache
def parts(package: str, root: Path = SOURCES) -> dict[str, Part]:
    """Give the parts of a package by name, in alphabetical order."""
    directory = root / package
    names = sorted(
        path.stem
        for path in directory.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    )
    return {name: _part(package, directory, name, frozenset(names)) for name in names}


def _part(package: str, directory: Path, name: str, names: AbstractSet[str]) -> Part:
    is_package = (directory / name).is_dir()
    files = sorted((directory / name).rglob("*.py")) if is_package else [directory / f"{name}.py"]
    trees = [ast.parse(file.read_text()) for file in files]
    described = ast.parse((directory / name / "__init__.py").read_text()) if is_package else trees[0]
    imported = {module for tree in trees for module in _imported(tree)}
    inside = {dotted.split(".")[1] for dotted in imported if dotted.startswith(f"{package}.")}
    outside = {dotted.partition(".")[0] for dotted in imported} - sys.stdlib_module_names - EVERYWHERE
    return Part(
        name=name,
        is_package=is_package,
        text=(ast.get_docstring(described) or "").partition("\n\n")[0].replace("\n", " "),
        imports=frozenset(inside & names) - {name},
        libraries=frozenset(FAMILIES.get(each, each) for each in outside),
    )


def _imported(tree: ast.AST) -> Iterator[str]:
    """Give the dotted names that are imported, also inside of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def edges(found: Mapping[str, Part], shown: Iterable[str]) -> dict[str, set[str]]:
    """Give what each part that is shown imports of those, itself or through one that is not shown."""
    kept = set(shown)
    direct: dict[str, set[str]] = {}
    for name in kept:
        pending, seen = list(found[name].imports), set[str]()
        while pending:
            if (each := pending.pop()) not in seen:
                seen.add(each)
                if each not in kept:
                    pending += found[each].imports
        direct[name] = (seen & kept) - {name}
    return direct


def reduced(graph: Mapping[str, AbstractSet[str]]) -> dict[str, set[str]]:
    """Leave out each edge that a longer way tells already."""
    below = {name: _reached(graph, name) for name in graph}
    return {
        name: {each for each in direct if not any(each in below[other] for other in direct if other != each)}
        for name, direct in graph.items()
    }


def _reached(graph: Mapping[str, AbstractSet[str]], name: str) -> set[str]:
    pending, seen = list(graph[name]), set[str]()
    while pending:
        if (each := pending.pop()) not in seen:
            seen.add(each)
            pending += graph[each]
    return seen


def layers(graph: Mapping[str, AbstractSet[str]]) -> list[list[str]]:
    """Give the parts in layers: each imports only from layers before its own.

    Raises:
        ValueError: two parts import each other.
    """
    rest = dict(graph)
    done: set[str] = set()
    found: list[list[str]] = []
    while rest:
        if not (ready := sorted(name for name, direct in rest.items() if direct <= done)):
            raise ValueError(f"these import each other: {', '.join(sorted(rest))}")
        found.append(ready)
        done |= set(ready)
        rest = {name: direct for name, direct in rest.items() if name not in done}
    return found
