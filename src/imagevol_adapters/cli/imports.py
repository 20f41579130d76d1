"""Parts of libraries that no command needs, left out of what is imported: they take a third of a command's CPU time.

`import openstack.config` first runs the package's `__init__`, which imports every service that openstacksdk knows.
Here that is put off until something asks for what only `__init__` gives.

oslo.privsep imports eventlet, which imports a resolver of its own for green threads.  eventlet has a switch for that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

__all__ = ["put_off_services", "without_green_resolver"]

_PACKAGE = "openstack"
_SWITCH = "EVENTLET_NO_GREENDNS"
_OF_INIT = frozenset({"__all__", "connect", "enable_logging"})


class _Package(ModuleType):
    """The package before its `__init__` has run; its modules can be imported."""

    def __getattr__(self, name: str) -> Any:
        spec: ModuleSpec | None = self.__spec__
        if name not in _OF_INIT or spec is None or spec.loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        return getattr(self, name)


def put_off_services() -> None:
    """Let `openstack.config` be imported without the services; no change if openstacksdk is imported already.

    >>> put_off_services()
    >>> import openstack.config
    >>> openstack.config.OpenStackConfig.__name__
    'OpenStackConfig'
    """
    if _PACKAGE in sys.modules or (spec := find_spec(_PACKAGE)) is None:
        return
    package = module_from_spec(spec)
    package.__class__ = _Package
    sys.modules[_PACKAGE] = package


@contextmanager
def without_green_resolver() -> Iterator[None]:
    """Let eventlet be imported without its resolver, unless the environment says what is wanted."""
    if _SWITCH in os.environ:
        yield
        return
    os.environ[_SWITCH] = "yes"
    try:
        yield
    finally:
        del os.environ[_SWITCH]
