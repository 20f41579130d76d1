"""Runs unit tests that a service comes with, and tells how each ended and whose code it came to."""

from __future__ import annotations

import sys
import traceback
import unittest
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import imagevol_adapters

OURS = str(Path(imagevol_adapters.__file__).parent)


def run_suites(package: str, suites: tuple[str, ...], *, watch: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Give by each test's name how it ended, and whether it came to the code that is watched for.

    Args:
        package: of the suites.
        suites: modules.
        watch: how the name of a code's file begins, and the function's name or nothing, by what it is called here.
    """
    modules = [import_module(f"{package}.{suite}") for suite in suites]
    tests = (test for module in modules for test in tests_in(unittest.defaultTestLoader.loadTestsFromModule(module)))
    return {test.id().removeprefix(f"{package}."): outcome(test, package, watch) for test in tests}


def tests_in(suite: Any) -> Iterator[Any]:
    if isinstance(suite, unittest.TestSuite):
        for each in suite:
            yield from tests_in(each)
    else:
        yield suite


def outcome(test: Any, package: str, watch: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Give `passed`, or `skipped`, or the error and the line of the suite where it ended."""
    reached = Reached(watch)
    setattr(test, test._testMethodName, reached.during(getattr(test, test._testMethodName)))
    raised: list[BaseException] = []
    test.addOnException(lambda info: raised.append(info[1]))
    result = unittest.TestResult()
    test.run(result)
    if result.skipped:
        ended: Any = "skipped"
    elif raised:
        ended = [line_of_suite(raised[0], package), f"{type(raised[0]).__name__}: {raised[0]}"]
    else:
        ended = "passed" if result.wasSuccessful() else "failed"
    return {"ended": ended, **{name: name in reached.names for name in watch}}


def line_of_suite(error: BaseException, package: str) -> str | None:
    within = f"/{package.partition('.')[0]}/tests/"
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if within in frame.filename]
    return lines[-1] if lines else None


class Reached:
    """Which watched functions were called while a test ran; its `setUp` is not looked at."""

    def __init__(self, watch: Mapping[str, tuple[str, str]]) -> None:
        self.watch = watch
        self.names: set[str] = set()

    def during(self, method: Any) -> Any:
        def watched() -> Any:
            sys.setprofile(self._called)
            try:
                return method()
            finally:
                sys.setprofile(None)

        return watched

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        for name, (file, function) in self.watch.items():
            if function in ("", frame.f_code.co_name) and frame.f_code.co_filename.startswith(file):
                self.names.add(name)
