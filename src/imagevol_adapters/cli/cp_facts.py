"""What `imagevol cp` and the workers that copy for it know: the stores, the facts, and how copies are read."""

from __future__ import annotations

from collections.abc import Sequence
from http.client import INTERNAL_SERVER_ERROR
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.cli.services import Services
from imagevol_core import ServiceFailed, StoreCatalogue

if TYPE_CHECKING:
    from imagevol_adapters.store_copies.reading import VolumeReader

__all__ = ["copy_catalogue", "copy_reader"]


def copy_catalogue(
    app: Services, config_files: Sequence[Path] | None, *, option: str = "--config-file"
) -> StoreCatalogue:
    """Give the stores that images are copied between.

    Args:
        app: the services.
        config_files: Glance's configuration; Glance itself is asked if there is none.
        option: takes a file of that configuration.

    Raises:
        ImagevolError: the stores cannot be told from it, or a service does not answer.
    """
    from imagevol_adapters.gathering.catalogue import with_default_type

    if config_files:
        from imagevol_adapters.configuration.stores import load
        from imagevol_adapters.gathering.configured_stores import ConfiguredStores

        catalogue = ConfiguredStores(load(config_files)).catalogue()
    else:
        catalogue = _told_by_glance(app, option)

    def default_type() -> str | None:
        return app.volumes.default_volume_type()  # where it is needed, so that no other command signs in

    return with_default_type(catalogue, default_type)


def _told_by_glance(app: Services, option: str) -> StoreCatalogue:
    try:
        return app.images.catalogue()
    except ServiceFailed as error:
        if getattr(error.__cause__, "code", None) != INTERNAL_SERVER_ERROR:  # as of a CA file that is not there
            raise
        raise ServiceFailed(
            f"{error}; if a store has the driver imagevol, Glance needs the filter of imagevol to tell its stores: add "
            f"it, or pass Glance's configuration with {option}"
        ) from error


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
