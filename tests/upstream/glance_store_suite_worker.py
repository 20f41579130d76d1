"""Runs glance_store's own unit tests of its cinder driver: on that driver, or with ours in its place.

A process can do one of both, once: the tests replace a module of glance_store's when they are imported.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import traceback
import unittest
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from oslo_concurrency import lockutils

import imagevol_adapters
from tests.upstream.asking import serve

OURS = str(Path(imagevol_adapters.__file__).parent)
SUITES = ("test_cinder_store", "test_multistore_cinder")
PACKAGE = "glance_store.tests.unit.cinder"


def run(ours: bool) -> dict[str, Any]:
    """Run both suites: give by the test's name how it ended, and whether it came to a function of ours."""
    if ours:
        import_module("tests.upstream.glance_store_stand_in")
    suites = [import_module(f"{PACKAGE}.{suite}") for suite in SUITES]
    outcomes: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as locks:
        lockutils.set_defaults(locks)
        for suite in suites:
            for test in tests_in(unittest.defaultTestLoader.loadTestsFromModule(suite)):
                outcomes[test.id().removeprefix(f"{PACKAGE}.")] = outcome(test)
    return outcomes


def tests_in(suite: Any) -> list[Any]:
    return [test for each in suite for test in tests_in(each)] if isinstance(suite, unittest.TestSuite) else [suite]


def outcome(test: Any) -> dict[str, Any]:
    """Give `passed`, or `skipped`, or the error and the line of the suite where it ended."""
    reached = Reached()
    setattr(test, test._testMethodName, reached.during(getattr(test, test._testMethodName)))
    raised: list[BaseException] = []
    test.addOnException(lambda info: raised.append(info[1]))
    result = unittest.TestResult()
    test.run(result)
    if result.skipped:
        ended: Any = "skipped"
    elif raised:
        ended = [line_of_suite(raised[0]), f"{type(raised[0]).__name__}: {raised[0]}"]
    else:
        ended = "passed" if result.wasSuccessful() else "failed"
    return {"ended": ended, "ours": reached.ours}


def line_of_suite(error: BaseException) -> str | None:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.line for frame in frames if "/glance_store/tests/" in frame.filename]
    return lines[-1] if lines else None


class Reached:
    """Whether a function of ours was called while a test ran; its `setUp` is not looked at."""

    def __init__(self) -> None:
        self.ours = False

    def during(self, method: Any) -> Any:
        def watched() -> Any:
            sys.setprofile(self._called)
            try:
                return method()
            finally:
                sys.setprofile(None)

        return watched

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            self.ours = True


if __name__ == "__main__":
    logging.disable()
    serve({"run": run})
