"""What is written to volumes to try them, and what is read back."""

from __future__ import annotations

import mmap
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import attrs

from imagevol_adapters.closing import closing
from imagevol_adapters.ports import Device
from imagevol_core import GIB, DeviceFailed

__all__ = ["PART_BYTES", "PLACES", "Contents", "every_zero", "read", "write"]

PART_BYTES = 1 << 16
# The beginning, where the pieces of 1 MiB, 4 MiB and 64 MiB meet that backends cut volumes into, the middle, the end.
PLACES = (
    0,
    (1 << 20) - PART_BYTES // 2,
    (4 << 20) - PART_BYTES // 2,
    (64 << 20) - PART_BYTES // 2,
    GIB // 2 - PART_BYTES // 2,
    GIB - PART_BYTES,
)
_SCAN_BYTES = 4 << 20
_SCAN_ZEROS = bytes(_SCAN_BYTES)


@attrs.define
class Contents:
    """Data that is different in each place, each volume and each time that it is written.

    Args:
        label: names the volume.

    Attributes:
        generation: how often it was written.
    """

    label: str
    generation: int = 0

    def at(self, place: int, generation: int | None = None) -> bytes:
        """Give what is in a place.

        Args:
            place: one of `PLACES`.
            generation: of which time; the last one when None.
        """
        seed = f"{self.label} {self.generation if generation is None else generation} {place}"
        return _data(seed)

    def write(self, device: Device, places: tuple[int, ...] = PLACES) -> int:
        """Write new data to each place, and give how many bytes that were."""
        self.generation += 1
        for place in places:
            write(device, place, self.at(place))
        return PART_BYTES * len(places)

    def wrong(self, device: Device, what: str, *, others: tuple[Contents, ...] = ()) -> str | None:
        """Read each place, and say what is wrong with the first that is; None if nothing is.

        Args:
            device: what is read.
            what: names the device in the sentence.
            others: whose data must not be there.
        """
        for place in PLACES:
            found, expected = read(device, place, PART_BYTES), self.at(place)
            if found == expected:
                continue
            if len(found) < PART_BYTES:
                return f"{what} ends at byte {place + len(found)}"
            at = next(number for number in range(PART_BYTES) if found[number] != expected[number])
            return f"byte {place + at} of {what} is not what was written: {self._of(found, place, others)}"
        return None

    def _of(self, found: bytes, place: int, others: tuple[Contents, ...]) -> str:
        """Say what was found."""
        if not any(found):
            return "there are zeros"
        for other in (self, *others):
            for generation in range(1, other.generation + 1):
                if found == other.at(place, generation):
                    return "there is older data" if other is self else "there is the data of another volume"
        return "there is other data"


@lru_cache(maxsize=256)  # each is made once and compared many times
def _data(seed: str) -> bytes:
    return random.Random(seed).randbytes(PART_BYTES)  # noqa: S311 - it is no secret


def every_zero(device: Device, start: int, what: str) -> tuple[str | None, int]:
    """Read a device to its end, and say where the first byte is that is not zero.

    What the device says is a hole is read in some places only.

    Args:
        device: what is read.
        start: the first byte.
        what: names it in the sentence.

    Returns:
        The sentence, or None if all are zeros; and how many bytes are known to be zeros.
    """
    end = device.size_bytes
    with _aligned(_SCAN_BYTES) as buffer:
        extents = device.extents(start, end - start)
        with closing(extents):
            ranges = [(first, last) for first, last, data in extents if data]
        ranges += [(place, place + PART_BYTES) for place in PLACES if start <= place < end - PART_BYTES]
        for first, last in ranges:
            for offset in range(first, last, _SCAN_BYTES):
                wanted = min(_SCAN_BYTES, last - offset)
                _fill(device, offset, buffer, wanted)
                if (data := buffer[:wanted]) != _SCAN_ZEROS[:wanted]:
                    at = offset + wanted - len(data.lstrip(bytes(1)))
                    return f"byte {at} of {what} is not zero", 0
    return None, end - start


def read(device: Device, offset: int, length: int) -> bytes:
    """Read a range, or as much of it as there is before the device ends."""
    with _aligned(length) as buffer:
        done = _fill(device, offset, buffer, length, short=True)
        return buffer[:done]


def write(device: Device, offset: int, data: bytes) -> None:
    """Write all of it, however many steps that takes."""
    with _aligned(len(data)) as buffer:
        buffer[: len(data)] = data
        done = 0
        with memoryview(buffer) as view:
            while done < len(data):
                with view[done : len(data)] as rest:
                    count = device.write(offset + done, rest)
                if not count:
                    raise DeviceFailed(f"the device takes nothing at byte {offset + done}")
                done += count


@contextmanager
def _aligned(length: int) -> Iterator[mmap.mmap]:
    """Memory that direct I/O takes."""
    with mmap.mmap(-1, max(length, 1)) as buffer:
        yield buffer


def _fill(device: Device, offset: int, buffer: mmap.mmap, length: int, *, short: bool = False) -> int:
    done = 0
    with memoryview(buffer) as view:
        while done < length:
            with view[done:length] as rest:
                count = device.readinto(offset + done, rest)
            if not count:
                if short:
                    break
                raise DeviceFailed(f"the device ended at byte {offset + done}")
            done += count
    return done
