"""What the mixin needs beside the driver: the operator's locks, and a converter."""

from __future__ import annotations

import functools

import attrs
from oslo_config import cfg

from imagevol_adapters.coordination import ToozLocks, from_conf
from imagevol_adapters.ports import Converter, Locks

__all__ = ["Services", "locks_of_cinder"]


@attrs.frozen(kw_only=True)
class Services:
    """What a driver with the mixin uses that is not the driver's own.

    Args:
        locks: of the operator's lock service.
        converter: for images that are not raw.
    """

    locks: Locks
    converter: Converter


@functools.cache
def locks_of_cinder() -> ToozLocks:
    """Give the locks of the operator's own lock service: one member of it for all backends of a process."""
    return from_conf(cfg.CONF)
