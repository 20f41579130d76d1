"""The locations of a store, as glance_store makes and reads them."""

from __future__ import annotations

from typing import Self

from glance_store import exceptions
from glance_store import location as glance_location

from imagevol_core import CinderLocation, Dialect, InvalidLocation, parse_location

__all__ = ["StoreLocation", "StorePrefix"]


class StorePrefix(str):
    """What the locations of a store begin with, such that Glance tells `fast` from `fast2`.

    Glance looks for the store of a location by whether its URL begins with this, for which the slash must be there; and
    it makes a URL of this, a slash and a volume's id, for which the slash must not be there.

    >>> prefix = StorePrefix("fast")
    >>> "cinder://fast2/7ad3".startswith(prefix), "cinder://fast/7ad3".startswith(prefix), "%s/%s" % (prefix, "7ad3")
    (False, True, 'cinder://fast/7ad3')
    """

    __slots__ = ()

    def __new__(cls, store: str) -> Self:
        """Take the store's name."""
        return super().__new__(cls, f"cinder://{store}/")

    def __str__(self) -> str:
        """Give it as it is put in front of a volume's id."""
        return self[:-1]

    __repr__ = __str__


class StoreLocation(glance_location.StoreLocation):
    """What a location names, read as glance_store's own cinder driver reads it."""

    def process_specs(self) -> None:
        """Take what the location was made of."""
        self.scheme = self.specs.get("scheme", "cinder")
        self.volume_id: str = self.specs.get("volume_id", "")

    def get_uri(self) -> str:
        """Give the location in this store."""
        return str(CinderLocation(store=self.backend_group, volume_id=self.volume_id))

    def parse_uri(self, uri: str) -> None:
        """Take the volume's id out of a URL.

        Raises:
            exceptions.BadStoreUri: it names none.
        """
        try:
            self.volume_id = parse_location(uri, dialect=Dialect.GLANCE_STORE).volume_id
        except InvalidLocation as error:
            raise exceptions.BadStoreUri(str(error)) from error
        self.scheme = "cinder"
