"""The stores of a Glance, from its configuration, from the service that runs, or from its API."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from imagevol_core import ImagevolError, StoreCatalogue

__all__ = ["Stores", "gather_catalogue", "with_default_type"]

_LOG = logging.getLogger(__name__)


class Stores(Protocol):
    """A Glance that tells its stores.

    `ConfiguredStores` reads them from its configuration.  `RunningGlance` also asks the drivers of the service that
    runs.  `GlanceImages` asks its API.
    """

    def catalogue(self) -> StoreCatalogue:
        """Give the stores; Cinder's default type is not among what Glance knows."""


def gather_catalogue(
    stores: Stores, *, default_type: Callable[[], str | None] | None = None, required: bool = True
) -> StoreCatalogue:
    """Collect the stores of a Glance, and Cinder's default type if one of them depends on it.

    Args:
        stores: where they come from.
        default_type: asks Cinder for its default type; None if it must not be asked.
        required: whether it is an error if Cinder does not answer. If not, the default type is None, and the log says
            why.

    Raises:
        ImagevolError: what `stores` and `default_type` raise.

    >>> from imagevol_core import Store
    >>> from imagevol_adapters.testing.memory import MemoryImages, MemoryVolumes
    >>> images = MemoryImages(volumes=MemoryVolumes(), stores=("fast", "slow"))
    >>> gather_catalogue(images, default_type=lambda: "ssd").default_volume_type
    'ssd'
    """
    return with_default_type(stores.catalogue(), default_type, required=required)


def with_default_type(
    catalogue: StoreCatalogue, default_type: Callable[[], str | None] | None, *, required: bool = True
) -> StoreCatalogue:
    """Add Cinder's default type to a catalogue, if a cinder store in it names no type.

    Args:
        catalogue: of a Glance.
        default_type: as for `gather_catalogue`.
        required: as for `gather_catalogue`.
    """
    if default_type is None or all(store.volume_type for store in catalogue.stores if store.is_cinder):
        return catalogue
    try:
        return replace(catalogue, default_volume_type=default_type())
    except ImagevolError as error:
        if required:
            raise
        _LOG.warning("The volume type of stores that name none is not known: %s", error)
        return catalogue
