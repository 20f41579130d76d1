"""Every example in the pages and in the docstrings is run, so none can go stale.

In Markdown, a `python` block holds `>>>` examples, which share one namespace per page, and a
`console` block holds `$` commands, each followed by what it prints; `...` stands for anything.
An example that cannot run here is preceded by a comment that says why:
`<!--- skip: next "it needs a cloud" -->`.
"""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ["imagevol_core", "imagevol_adapters"]
NEED_CINDER = ("imagevol_adapters.driver", "imagevol_adapters.testing.conformance.driver")
FLAGS = doctest.ELLIPSIS


def run_console(example: Example, *, exact: bool = True) -> str | None:
    """Run the commands of a block one by one, in one directory; say where the output differs.

    Args:
        example: the block.
        exact: whether the width and the order of a table's rows count, which can depend on ids.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for block in ("\n" + example.parsed).split("\n$ ")[1:]:
        command, _, wanted = block.partition("\n")
        done = subprocess.run(
            command,
            shell=True,
            check=False,
            text=True,
            env=os.environ | {"PATH": path, "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        shown, said = (text.rstrip() + "\n" if exact else compared(text) for text in (wanted, done.stdout))
        if not doctest.OutputChecker().check_output(shown, said, FLAGS):
            return f"$ {command}\nshould print\n{wanted}\nand printed\n{done.stdout}"
    return None


def compared(text: str) -> str:
    """Give a text without what depends on ids: how wide a table is, and in which order its rows are."""
    lines = [re.sub(r"-{3,}", "--", re.sub(r" {2,}", " ", line)).rstrip() for line in text.rstrip().splitlines()]
    parts = groupby(lines, key=lambda line: line.startswith("|"))
    return "\n".join(line for is_table, part in parts for line in (sorted(part) if is_table else part)) + "\n"


def modules() -> Iterator[str]:
    """Name every module of the distribution, but for those that import Cinder."""
    for package in PACKAGES:
        yield package
        path = importlib.import_module(package).__path__
        found = pkgutil.walk_packages(path, f"{package}.", onerror=lambda _: None)
        yield from (module.name for module in found if not module.name.startswith(NEED_CINDER))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_of_a_page_does_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parsers = (
        PythonCodeBlockParser(doctest_optionflags=FLAGS),
        CodeBlockParser("console", run_console),
        SkipParser(),
    )
    for example in Document.parse(str(page), *parsers):
        with suppress(SkipTest):
            example.evaluate()


@pytest.mark.parametrize("name", list(modules()))
def test_every_example_of_a_docstring_does_what_it_says(name: str) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder().find(importlib.import_module(name), name):
        runner.run(test, out=report.append)
    assert "".join(report) == ""


def test_every_module_of_the_core_has_its_page() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs/reference/core").glob("*.md"))
    written = set(re.findall(r"automodule:: ([\w.]+)", pages))
    assert written == {name for name in modules() if name.startswith("imagevol_core.")}
