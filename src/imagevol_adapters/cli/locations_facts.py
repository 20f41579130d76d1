"""What the commands for locations and their workers know: Glance's configuration, and its stores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.cli.services import Services
from imagevol_adapters.file_deadline import written_in_time
from imagevol_core import RequestRefused, StoreCatalogue

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ["GLANCE_API_CONF", "catalogue_of", "glance_configuration"]

GLANCE_API_CONF = Path("/etc/glance/glance-api.conf")


def glance_configuration(files: Sequence[Path] | None, *, option: str = "--config-file") -> cfg.ConfigOpts:
    """Read what Glance is configured with.

    Args:
        files: a later one overrules an earlier one; None for `GLANCE_API_CONF`.
        option: takes a file.

    Raises:
        RequestRefused: no file is given, and `GLANCE_API_CONF` is not there.
        InvalidConfiguration: a file cannot be read, or an option in it has no valid value.
    """
    from oslo_config import cfg

    from imagevol_adapters.configuration.stores import load

    if not files and _is_missing(GLANCE_API_CONF):
        raise RequestRefused(f"{GLANCE_API_CONF} is not on this host: pass Glance's configuration with {option}")
    configuration = load(files or [GLANCE_API_CONF])
    configuration.register_opt(cfg.BoolOpt("delayed_delete", default=False))
    return configuration


def _is_missing(path: Path) -> bool:
    """Tell whether there is no such file; of one in a directory that may not be looked into, reading it says so."""
    try:
        written_in_time(lambda: os.lstat(path), path)
    except OSError as error:
        return isinstance(error, (FileNotFoundError, NotADirectoryError))
    return False


def catalogue_of(app: Services, configuration: cfg.ConfigOpts) -> StoreCatalogue:
    """Give the stores, with Cinder's default type where one of them is of that.

    Args:
        app: the services.
        configuration: of Glance.

    Raises:
        ImagevolError: the stores cannot be told from it, or Cinder does not answer.
    """
    from imagevol_adapters.gathering import gather_catalogue
    from imagevol_adapters.gathering.configured_stores import ConfiguredStores

    def default_type() -> str | None:
        return app.volumes.default_volume_type()  # where it is needed, so that no other command signs in

    return gather_catalogue(ConfiguredStores(configuration), default_type=default_type)
