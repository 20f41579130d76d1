"""Runs unit tests that a service comes with, and tells how each ended and whose code it came to."""

from __future__ import annotations

import sys
import traceback
import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

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
    """Give `passed`, or `skipped`, or the facts of the error that ended it: see `facts`."""
    reached = Reached(watch)
    setattr(test, test._testMethodName, reached.during(getattr(test, test._testMethodName)))
    raised: list[BaseException] = []
    test.addOnException(lambda info: raised.append(info[1]))
    result = unittest.TestResult()
    with comparisons(test) as compared:
        test.run(result)
    if result.skipped:
        ended: Any = "skipped"
    elif raised:
        ended = facts(raised[0], package) | compared(raised[0])
    else:
        ended = "passed" if result.wasSuccessful() else "failed"
    return {"ended": ended, **{name: name in reached.names for name in watch}}


def facts(error: BaseException, package: str) -> dict[str, Any]:
    """Give the line of the suite where a test ended, the class of its error, and what the error says.

    The words of Python, of a mock or of a matcher differ from release to release: compare only words of our own.
    If an assertion failed because of another error, the other error's class and words are given too.
    """
    over = error.__context__ if isinstance(error, AssertionError) else None
    kinds = [name_of(each) for each in (error, over) if each]
    return {"at": line_of_suite(error, package), "errors": kinds, "says": str(over or error)}


def name_of(error: BaseException) -> str:
    """Give an error's class; what a library has made of AssertionError is that."""
    return AssertionError.__name__ if isinstance(error, AssertionError) else type(error).__name__


@contextmanager
def comparisons(test: Any) -> Iterator[Callable[[BaseException], dict[str, Any]]]:
    """Note what failed comparisons compared: two values, or the call that a mock should have had and those that it had.

    The block gets a function that takes an error and gives what it compared, which is nothing if it compared nothing.
    """
    noted: dict[int, dict[str, Any]] = {}
    equal, called = test.assertEqual, mock.NonCallableMock.assert_called_with

    def assert_equal(expected: Any, observed: Any, *message: Any) -> None:
        try:
            equal(expected, observed, *message)
        except AssertionError as error:
            noted[id(error)] = {"expected": plain(expected), "observed": plain(observed)}
            raise

    def assert_called_with(self: Any, /, *args: Any, **kwargs: Any) -> None:
        try:
            called(self, *args, **kwargs)
        except AssertionError as error:
            noted[id(error)] = {"expected": plain(mock.call(*args, **kwargs)), "observed": plain(self.call_args_list)}
            raise

    test.assertEqual = assert_equal  # for good: a test is run once, and some clear their attributes at their end
    with mock.patch.object(mock.NonCallableMock, "assert_called_with", assert_called_with):
        yield lambda error: noted.get(id(error), {})


def plain(value: Any) -> Any:
    """Give a value as JSON has it: a mock and what JSON does not know by the class, a kind of text also by its text."""
    if isinstance(value, type(mock.call)):
        return {"args": plain(value.args), "kwargs": plain(value.kwargs)}
    if isinstance(value, mock.NonCallableMock):
        return {"class": "Mock"}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return {"class": type(value).__name__} | ({"text": str(value)} if isinstance(value, str) else {})


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
