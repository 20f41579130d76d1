"""The chart of the page: a bar for each place, as long as its images are many, in parts by the kind of way."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from imagevol_adapters.reporting.contents import Kind
from imagevol_adapters.reporting.packing import PlaceSums

__all__ = ["Bar", "Part", "chart_bars"]

WIDTH = 600
MOST_BARS = 40


@attrs.frozen(kw_only=True)
class Part:
    """One part of a bar, in the units of the drawing."""

    kind: Kind
    count: int
    x: float
    width: float


@attrs.frozen(kw_only=True)
class Bar:
    """One bar.

    Attributes:
        name: of the place.
        parts: none if there is no image.
    """

    name: str
    parts: tuple[Part, ...]


def chart_bars(sums: Sequence[PlaceSums]) -> list[Bar]:
    """Give the bars in the order of the places, at most 40.

    Args:
        sums: of each place.
    """
    most = max((sum(each.ways.values()) for each in sums), default=0)
    return [Bar(name=each.place.name, parts=_parts(each, most)) for each in sums[:MOST_BARS]]


def _parts(sums: PlaceSums, most: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    x = 0.0
    for kind in Kind:
        if count := sums.of_kind(kind):
            width = WIDTH * count / most
            parts.append(Part(kind=kind, count=count, x=round(x, 2), width=round(width, 2)))
            x += width
    return tuple(parts)
