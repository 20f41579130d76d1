"""The stores of the Glance that this runs in, as they work now."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import attrs
import glance_store
from glance_store.capabilities import BitMasks, StoreCapability
from oslo_config import cfg

from imagevol_adapters.configuration.stores import read_catalogue
from imagevol_adapters.error_text import one_line
from imagevol_core import StoreCatalogue

__all__ = ["RunningGlance", "can_add"]

_LOG = logging.getLogger(__name__)


@attrs.frozen
class RunningGlance:
    """The Glance that this code runs in, with its stores as they work now.

    Args:
        conf: its configuration.
    """

    conf: cfg.ConfigOpts

    def catalogue(self) -> StoreCatalogue:
        """Give the configured stores, and whether each can take images at the moment.

        Raises:
            InvalidConfiguration: a value is malformed.
        """
        catalogue = read_catalogue(self.conf)
        if not catalogue.multi:  # there is no choice, and glance_store finds no store by its name
            return catalogue
        stores = tuple(replace(store, can_add=can_add(store.name)) for store in catalogue.stores)
        return replace(catalogue, stores=stores)


def can_add(
    name: str, *, find: Callable[[str], StoreCapability] = glance_store.get_store_from_store_identifier
) -> bool:
    """Whether the driver of a store takes images now: one that finds itself misconfigured gives up the right to write.

    Args:
        name: the store's.
        find: gives a store's driver; by default, Glance's.
    """
    try:
        return find(name).is_capable(BitMasks.WRITE_ACCESS)
    except Exception as error:  # noqa: BLE001 - one that is not loaded, or cannot be made anew, as some are each time
        _LOG.warning("Store %s cannot take images: %s: %s", name, type(error).__name__, one_line(error))
        return False
