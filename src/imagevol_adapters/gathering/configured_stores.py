"""The stores that a Glance is configured with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import attrs
from oslo_config import cfg

from imagevol_adapters.configuration.stores import load, read_catalogue
from imagevol_core import StoreCatalogue

__all__ = ["ConfiguredStores"]


@attrs.frozen
class ConfiguredStores:
    """The stores that a configuration names.

    Args:
        conf: what `configuration.load` gives, or the configuration of a Glance that runs.
    """

    conf: cfg.ConfigOpts

    @classmethod
    def read(cls, files: Sequence[Path]) -> Self:
        """Read configuration files as Glance would.

        Raises:
            InvalidConfiguration: a file cannot be read, or is malformed.
        """
        return cls(load(files))

    def catalogue(self) -> StoreCatalogue:
        """Give all configured stores.

        Raises:
            InvalidConfiguration: a value is malformed.
        """
        return read_catalogue(self.conf)
