"""What a seed draws: the transfers with their kinds and sizes, their data, and when a worker is killed."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence

import attrs

__all__ = ["KINDS", "Data", "Job", "Source", "drawn", "kills", "sources"]

KINDS: Mapping[str, str] = {
    "put": "`register_image`",
    "upload": "an upload through Glance and the store",
    "get": "`open_image_volume`",
    "download": "a download through Glance",
    "volume": "a volume from an image, read back",
    "clone": "`register_clone` of a volume",
    "cp": "`register_image` and `cp` to the other store",
}
"""Each kind of transfer, and what the page calls it."""

_READS = ("get", "download", "volume", "clone")  # which begin with an image that is there
_PIECE = 1 << 20
_HOLES = 0.25  # of the pieces are zeros
_TRANSFERS_A_KILL = 25


@attrs.frozen
class Data:
    """The bytes of an image, which its seed makes again wherever they are needed."""

    seed: str
    size_bytes: int

    def pieces(self) -> Iterator[bytes]:
        """Give them; some pieces are zeros."""
        for start in range(0, self.size_bytes, _PIECE):
            dice, length = random.Random(f"{self.seed} {start}"), min(_PIECE, self.size_bytes - start)
            yield bytes(length) if dice.random() < _HOLES else dice.randbytes(length)

    def sha512(self) -> str:
        """Give their digest."""
        made = hashlib.sha512()
        for piece in self.pieces():
            made.update(piece)
        return made.hexdigest()


@attrs.frozen
class Source:
    """An image that transfers read."""

    image_id: str
    volume_id: str
    data: Data


@attrs.frozen
class Job:
    """One transfer.

    Attributes:
        number: of the transfer.
        kind: one of `KINDS`.
        data: what it writes; of a transfer that reads, it is that of its source.
        source: the number of the image that it reads; None if it makes its own.
    """

    number: int
    kind: str
    data: Data
    source: int | None = None


def sources(seed: int, count: int, *, least: int, most: int) -> list[Data]:
    """Draw the images that are there from the start, from the smallest to the largest."""
    dice = random.Random(f"{seed} sources")
    return [Data(f"{seed} source {number}", _size(dice, least, most)) for number in range(count)]


def drawn(seed: int, count: int, held: Sequence[Data], *, least: int, most: int) -> list[Job]:
    """Draw the transfers, of each kind about as many."""
    dice = random.Random(f"{seed} transfers")
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(count)]
    dice.shuffle(kinds)
    jobs = []
    for number, kind in enumerate(kinds):
        if kind in _READS:
            source = dice.randrange(len(held))
            jobs.append(Job(number, kind, held[source], source))
        else:
            jobs.append(Job(number, kind, Data(f"{seed} transfer {number}", _size(dice, least, most))))
    return jobs


def kills(seed: int, count: int, *, within_seconds: float) -> dict[int, float]:
    """Draw at which tries a worker is killed, and how many seconds after the try has begun."""
    dice = random.Random(f"{seed} kills")
    chosen = dice.sample(range(count), max(1, count // _TRANSFERS_A_KILL))
    return {number: dice.uniform(0, within_seconds) for number in sorted(chosen)}


def _size(dice: random.Random, least: int, most: int) -> int:
    """As many sizes between 1 and 2 MiB as between 64 and 128, and seldom a whole number of sectors."""
    return int(math.exp(dice.uniform(math.log(least), math.log(most))))
