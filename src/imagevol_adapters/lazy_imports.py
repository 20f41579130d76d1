"""Packages whose modules are imported when a name of theirs is first used (PEP 562).

A command then pays for what it does: to read a volume back takes none of the libraries that look into images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: str, modules: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Give the `__getattr__` and the `__dir__` of a package: its public names are told before they are imported.

    Args:
        package: the full name of the package.
        modules: the public names of each of its modules.

    >>> getattr_, dir_ = lazy_names("imagevol_adapters.transfers", {"attaching": ["attached"]})
    >>> getattr_("attached").__name__
    'attached'
    >>> getattr_("nothing")
    Traceback (most recent call last):
    AttributeError: module 'imagevol_adapters.transfers' has no attribute 'nothing'
    >>> "attached" in dir_()
    True
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:  # noqa: N807 - it becomes the package's
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807 - likewise
        return sorted({*vars(sys.modules[package]), *module_of})

    return __getattr__, __dir__
