"""A location of an image as a command shows it, without what can be a credential."""

from __future__ import annotations

from typing import Any

import attrs
from cliff.columns import FormattableColumn

from imagevol_core import CinderLocation, ImageLocation, InvalidLocation, parse_location

__all__ = ["LocationColumn", "location_text"]


@attrs.frozen
class _Located:
    """A location as it may be printed: what could be a credential in its URL is left out."""

    url: str
    store: str | None

    @classmethod
    def of(cls, location: ImageLocation) -> _Located:
        named: CinderLocation | InvalidLocation
        try:
            named = parse_location(location.url)
        except InvalidLocation as error:
            named = error
        url = str(named) if isinstance(named, CinderLocation) else named.shown
        return cls(url, location.metadata.get("store"))


class LocationColumn(FormattableColumn[Any]):
    """A location: a line for a person, URL and store for a program."""

    def human_readable(self) -> str:
        """Give the URL, and the store where it says another."""
        return location_text(self._value)

    def machine_readable(self) -> dict[str, str | None]:
        """Give both."""
        return attrs.asdict(_Located.of(self._value))


def location_text(location: ImageLocation) -> str:
    """Give the URL of a location, and the store that its metadata names, for a person."""
    located = _Located.of(location)
    return f"{located.url} in store {located.store}" if located.store else f"{located.url} in no store"
