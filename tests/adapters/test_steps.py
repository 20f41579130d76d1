"""A stream is told how far it is on the storage, while it goes on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from imagevol_adapters.engine import Hole, StreamWriter
from imagevol_adapters.engine.sources import CallersOwn
from imagevol_adapters.engine.steps import Steps
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_core import DeviceFailed, Digest, ServiceFailed, SourceFailed, ZeroHandling

KIB = 1 << 10
STEP = 64 * KIB
PIECES: list[bytes | Hole] = [
    random.Random(9).randbytes(100 * KIB),
    Hole(500 * KIB),
    random.Random(8).randbytes(99 * KIB),
]
CONTENT = b"".join(bytes(each.length) if isinstance(each, Hole) else each for each in PIECES)
Reading = Callable[[Any], Any]
READINGS: dict[str, Reading] = {
    "a thread reads": lambda data: data,
    "the caller reads": lambda data: CallersOwn(data, None),
}


class Flushed(MemoryDevice):
    """A device that knows what was on it when it was flushed."""

    def __init__(self, size_bytes: int, *, fails_at: int | None = None) -> None:
        super().__init__(size_bytes)
        self.stored = b""
        self.flushes = 0
        self.fails_at = fails_at

    def flush(self) -> None:
        self.flushes += 1
        if self.flushes == self.fails_at:
            raise DeviceFailed("the path to the volume is gone")
        super().flush()
        self.stored = self.read(0, self.size_bytes)


def broken(data: list[bytes | Hole]) -> Iterator[bytes | Hole]:
    yield from data
    raise OSError("the connection broke")


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
class TestSteps:
    def test_each_step_is_on_the_storage_and_has_the_digests_of_all_before_it(self, reading: Reading) -> None:
        device, kept = Flushed(len(CONTENT)), []

        def keep(position: int, digests: Mapping[str, Digest]) -> None:
            assert device.stored[:position] == CONTENT[:position]
            expected = {name: hashlib.new(name, CONTENT[:position]).hexdigest() for name in ("md5", "sha512")}
            assert {name: digest.value for name, digest in digests.items()} == expected
            kept.append(position)

        with StreamWriter(reading(PIECES), size_bytes=len(CONTENT)) as writer:
            assert writer.write(device, zeros=ZeroHandling.PUNCH, steps=Steps(STEP, keep))
        assert kept[:2] == [STEP, 628 * KIB]
        assert device.stored == CONTENT

    def test_what_keeps_a_step_can_end_the_transfer(self, reading: Reading) -> None:
        def keep(*_: object) -> None:
            raise ServiceFailed("the disk of the journal is full")

        with (
            StreamWriter(reading(PIECES), size_bytes=len(CONTENT)) as writer,
            pytest.raises(ServiceFailed, match="the disk of the journal is full"),
        ):
            writer.write(MemoryDevice(len(CONTENT)), steps=Steps(STEP, keep))

    def test_a_step_that_is_not_on_the_storage_is_not_kept(self, reading: Reading) -> None:
        kept: list[int] = []
        with (
            StreamWriter(reading(PIECES), size_bytes=len(CONTENT)) as writer,
            pytest.raises(DeviceFailed, match="the path to the volume is gone"),
        ):
            writer.write(Flushed(len(CONTENT), fails_at=2), steps=Steps(STEP, lambda at, _: kept.append(at)))
        assert kept in ([], [STEP])

    def test_what_came_before_the_source_broke_off_is_kept(self, reading: Reading) -> None:
        kept: list[int] = []
        with (
            StreamWriter(reading(broken(PIECES[:2])), size_bytes=len(CONTENT)) as writer,
            pytest.raises(SourceFailed, match="the connection broke"),
        ):
            writer.write(Flushed(len(CONTENT)), steps=Steps(STEP, lambda at, _: kept.append(at)))
        assert kept == [STEP, 600 * KIB]
