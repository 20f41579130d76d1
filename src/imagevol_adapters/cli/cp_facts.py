"""What `imagevol cp` and the workers that copy for it know: the stores, the facts, and how copies are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.cli.services import Services
from imagevol_core import StoreCatalogue

if TYPE_CHECKING:
    from imagevol_adapters.store_copies.reading import VolumeReader

__all__ = ["copy_catalogue", "copy_reader"]


def copy_catalogue(app: Services, config_files: Sequence[Path] | None) -> StoreCatalogue:
    """Give the stores that images are copied between.

    Args:
        app: the services.
        config_files: Glance's configuration; Glance itself is asked if there is none.

    Raises:
        ImagevolError: the stores cannot be told from it, or a service does not answer.
    """
    from imagevol_adapters.gathering import Stores, gather_catalogue

    stores: Stores = app.images
    if config_files:
        from imagevol_adapters.configuration.stores import load
        from imagevol_adapters.gathering.configured_stores import ConfiguredStores

        stores = ConfiguredStores(load(config_files))

    def default_type() -> str | None:
        return app.volumes.default_volume_type()  # where it is needed, so that no other command signs in

    return gather_catalogue(stores, default_type=default_type)


def copy_reader(app: Services, *, trust_recorded: bool) -> VolumeReader:
    """Give what reads copies on this host.

    Args:
        app: the services.
        trust_recorded: whether a BLAKE3 that is believed counts in place of Glance's digest.
    """
    from imagevol_adapters.store_copies.reading import VolumeReader

    return VolumeReader(
        volumes=app.volumes, attacher=lambda: app.attacher, limits=app.limits(), trust_recorded=trust_recorded
    )
