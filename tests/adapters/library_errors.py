"""Every class of errors that a library defines, found in the library itself, and an instance of each."""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import inspect
import io
import pkgutil
import warnings
from collections.abc import Iterator
from types import ModuleType

TEXT = "first line &amp; more\n\n   second line"
_NOT_LIBRARIES = ("tests", "test", "cmd", "fixture", "__main__", "example", "example2", "emscripten")
_OF_A_LIST = ("ConfigFilesNotFoundError", "ConfigFilesPermissionDeniedError")
_NOT_RAISED = (BaseExceptionGroup, StopIteration, StopAsyncIteration)  # it holds others; they end a generator


def modules(package: str) -> Iterator[ModuleType]:
    """The modules of a package that can be imported here."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{package}.", onerror=lambda _: None):
        if not set(found.name.split(".")).isdisjoint(_NOT_LIBRARIES):
            continue
        with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
            yield importlib.import_module(found.name)


@functools.cache
def errors_of(package: str) -> tuple[type[Exception], ...]:
    """The errors that a package defines; `builtins` are Python's own."""
    if package == "builtins":
        values = {value for value in vars(builtins).values() if inspect.isclass(value)}
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = {value for module in modules(package) for value in vars(module).values() if inspect.isclass(value)}
    root = package.partition(".")[0]
    found = [
        value
        for value in values
        if issubclass(value, Exception)
        and not issubclass(value, _NOT_RAISED)
        and value.__module__.partition(".")[0] == root
    ]
    return tuple(sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__)))


def instance(kind: type[Exception], text: str = TEXT) -> Exception:
    """An error of that kind, whatever its own constructor asks for."""
    for arguments in (([text],) if kind.__name__ in _OF_A_LIST else (text,), (), (text, text), (499,)):
        with contextlib.suppress(Exception):
            error = kind(*arguments)
            str(error), repr(error)
            return error
    error = kind.__new__(kind, text)
    error.args = (text,)
    for name, value in {"message": text, "details": text, "code": 499, "request_id": None}.items():
        with contextlib.suppress(Exception):
            setattr(error, name, value)
    return error
