"""Every option that the services read, for `oslo-config-generator --namespace imagevol`.

The volume driver, the store and the filter have their options in different files. The sample has all of them, in three
sections, and says above each section which file it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from operator import attrgetter

from oslo_config import cfg

__all__ = ["list_opts"]

_PARTS = (
    (
        "imagevol_adapters.configuration.backend_options:OPTIONS",
        "backend_defaults",
        (
            "cinder.conf: the options of a volume driver that inherits ImageCloneMixin. Set them in the section of a "
            "backend, or here for all backends."
        ),
    ),
    (
        "imagevol_adapters.store:Store.OPTIONS",
        "store",
        (
            "glance-api.conf: the options of a store of kind imagevol. The section has the name of the store, as in "
            "enabled_backends. They are the options of glance_store's own cinder driver, and image_clone_metrics_file "
            "and image_clone_stall_seconds."
        ),
    ),
    (
        "imagevol_adapters.middleware:OPTIONS",
        "filter:imagevol",
        "glance-api-paste.ini: the options of the filter.",
    ),
)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Give the options of each part whose libraries are installed, by section.

    >>> [group.name for group, options in list_opts()]
    ['backend_defaults', 'store', 'filter:imagevol']
    """
    parts: list[tuple[cfg.OptGroup, list[cfg.Opt]]] = []
    for source, section, text in _PARTS:
        try:
            options = _found(source)
        except ModuleNotFoundError:  # a Cinder host has no glance_store, and a Glance host needs no driver
            continue
        parts.append((cfg.OptGroup(section, help=text), list(options)))
    return parts


def _found(source: str) -> Iterable[cfg.Opt]:
    module, _, path = source.partition(":")
    options: Iterable[cfg.Opt] = attrgetter(path)(import_module(module))
    return options
