"""The core decides anywhere: it needs the standard library only, and nothing that reaches outside.

Shown twice.  In a fresh interpreter that finds nothing but the standard library and the core, and
refuses what reaches outside, every decision is made.  And the text of each module is read, because
a decision takes only one of the ways through it.
"""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import imagevol_core

CORE = Path(imagevol_core.__file__).parent
MODULES = sorted(CORE.glob("*.py"))

BARRED = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "sys",
}
BARRED |= {"tempfile", "threading", "time"}
BARRED_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}

FAST = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
DECISIONS = {
    "parse_location": f"parse_location('cinder://fast/{FAST}')",
    "is_store_name": "is_store_name('fast')",
    "gib_for": "gib_for(2**30 + 1)",
    "image_fits": "image_fits(Image(id='i', size_bytes=5), size_gib=1)",
    "next_size_gib": "next_size_gib(2**40, current_gib=1)",
    "decide_clone": f"""decide_clone(
        Image(
            id='i', status='active', owner='p', disk_format='raw', container_format='bare',
            size_bytes=5, locations=(ImageLocation('cinder://fast/{FAST}'),),
        ),
        target=Volume(id='t', project_id='p', host='h@fast#fast', size_gib=1, encrypted=False),
        volumes=[Volume(
            id='{FAST}', project_id='p', host='h@fast#fast', size_gib=1, status='available',
            encrypted=False, metadata={{'image_id': 'i', 'image_size': '5'}},
        )],
        backend=Backend(),
        settings=CloneSettings(allowed_direct_url_schemes=('cinder',)),
    )""",
    "evaluate": "evaluate([], None)",
    "first_match": """first_match(
        [Rule(id='a', text='b', source='c', predicate=lambda facts: (True, 'd'))], None
    )[1]""",
    "failed": "failed([Verdict('a', False, None, 'no')])",
    "rule_tables": "[rule.id for table in rule_tables() for rule in table.rules]",
    "ImageVolumeMetadata": """ImageVolumeMetadata.from_volume(ImageVolumeMetadata(
        image_id='i', image_owner='p', size_bytes=5, digest=Digest('sha512', '0f'),
    ).to_volume())""",
}

FRESH_INTERPRETER = """
import importlib, pkgutil, sys

# Innocent, but they import some of what is barred for themselves: so they come first.
import collections.abc, dataclasses, datetime, enum, functools, inspect, math, os, re, typing
import urllib.parse

class Environment:
    def __getattribute__(self, name):
        raise AssertionError("the environment was asked")
    __getitem__ = __contains__ = __iter__ = __getattribute__

os.environ = os.environb = os.getenv = Environment()

class Bar:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in BARRED or root not in {*sys.stdlib_module_names, "imagevol_core"}:
            raise ImportError(f"{name} is barred")

def refuse_outside(event, arguments):
    if event == "open" or event.partition(".")[0] in BARRED:
        raise AssertionError(f"a decision reached outside: {event} {arguments}")

for name in [name for name in sys.modules if name.partition(".")[0] in BARRED - {"sys"}]:
    del sys.modules[name]
sys.meta_path.insert(0, Bar())
sys.path.append(SITE)
import imagevol_core
for module in pkgutil.iter_modules(imagevol_core.__path__, "imagevol_core."):
    importlib.import_module(module.name)

sys.addaudithook(refuse_outside)
print([repr(eval(decision, vars(imagevol_core).copy())) for decision in DECISIONS])
"""


def in_fresh_interpreter(*decisions: str) -> subprocess.CompletedProcess[str]:
    """Make the decisions where nothing outside can be reached, and print them."""
    given = f"SITE = {str(CORE.parent)!r}\nBARRED = {BARRED!r}\nDECISIONS = {decisions!r}\n"
    command = [sys.executable, "-I", "-S", "-B", "-c", given + FRESH_INTERPRETER]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_decision_is_the_same_where_nothing_outside_can_be_reached() -> None:
    done = in_fresh_interpreter(*DECISIONS.values())
    assert done.stderr == ""
    assert ast.literal_eval(done.stdout) == [repr(eval(d, vars(imagevol_core).copy())) for d in DECISIONS.values()]


@pytest.mark.parametrize(
    "outside",
    [
        "__import__('attrs')",
        "__import__('socket')",
        "__import__('subprocess')",
        "__import__('time')",
        "__import__('random')",
        "__import__('logging')",
        "__import__('importlib').import_module('os')",
        "__import__('inspect').os.environ['HOME']",
        "__import__('inspect').os.listdir('/')",
        "open('/dev/null')",
    ],
)
def test_what_reaches_outside_is_refused_there(outside: str) -> None:
    done = in_fresh_interpreter(outside)
    assert done.returncode == 1
    assert ("barred" in done.stderr) or ("outside" in done.stderr) or ("environment" in done.stderr)


def test_every_function_of_the_core_is_among_the_decisions() -> None:
    public = vars(imagevol_core)
    functions = {name for name in imagevol_core.__all__ if inspect.isfunction(public[name])}
    assert functions <= DECISIONS.keys()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_of_the_core_names_nothing_that_reaches_outside(module: Path) -> None:
    tree = ast.parse(module.read_text())
    named = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                named |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=origin, level=level):
                named.add("imagevol_core" if level else str(origin).partition(".")[0])
            case ast.Name(id=name) if name in BARRED_BUILTINS:
                named.add(name)
    assert named <= {*sys.stdlib_module_names, "imagevol_core"} - BARRED


@pytest.mark.skipif("IMAGEVOL_TESTS_THE_WHEEL" not in os.environ, reason="not run by nox: any installation will do")
def test_what_is_tested_is_what_the_wheel_installed() -> None:
    assert CORE.parent == Path(sysconfig.get_path("purelib"))
