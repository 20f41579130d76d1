"""A device as a stream, read ahead of its reader, and verified on the way."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from functools import partial

from imagevol_adapters.engine.digests import Digests, compare
from imagevol_adapters.engine.limits import Limits, Throttle
from imagevol_adapters.engine.parts import PART_BYTES, ZEROS, Crew, Job, Part
from imagevol_adapters.engine.watching import watched_device
from imagevol_adapters.ports import Device
from imagevol_core import DeviceFailed, Digest

__all__ = ["digest_device", "read_device", "verify_device"]

_DEVICE = "the device"
_READ_BYTES = 4 * PART_BYTES  # of which the kernel makes several requests, so that the device is never idle
_LONGEST_HOLE = 64 * PART_BYTES  # so that to read holes can be cancelled too


def read_device(
    device: Device,
    *,
    offset: int = 0,
    length: int,
    digest: Digest | None = None,
    what: str = _DEVICE,
    limits: Limits | None = None,
    made: Digests | None = None,
) -> Generator[bytes, None, None]:
    """Give `length` bytes of a device from `offset` on: all of them, or an error.

    A thread reads ahead, and another one digests, while the caller uses what it was given; both end when the iteration
    does, or when it is closed.

    Args:
        device: where from.
        offset: of the first byte.
        length: how many bytes.
        digest: what they must have; when None nothing is checked.
        what: whose data these are, for the error.
        limits: how fast it may go, and what ends it; time that the caller takes does not count.
        made: digests to make of the data; they are complete when the iteration has ended.

    Raises:
        DeviceFailed: they could not be read, or the device ends before.
        DeviceStalled: the device has not answered in time.  A thread may still use it: do not close it.
        ContentMismatch: they are not those of the digest; raised after the last byte.
        InvalidFact: the digest's algorithm is not known here.
        TransferCancelled: it was.
    """
    digests = Digests([digest.algorithm] if digest else [])
    return _read(device, offset, length, digests, digest, what, limits or Limits(), made.jobs() if made else [])


def digest_device(
    device: Device,
    *,
    offset: int = 0,
    length: int,
    made: Digests,
    limits: Limits | None = None,
) -> None:
    """Make digests of `length` bytes of a device from `offset` on: of all of them, or an error.

    Nothing is copied for a reader, so that BLAKE3 runs at the speed of the device.

    Args:
        device: where from.
        offset: of the first byte.
        length: how many bytes.
        made: what is made of them; it is whole once this has returned.
        limits: how fast it may go, and what ends it.

    Raises:
        DeviceFailed: they could not be read, or the device ends before.
        DeviceStalled: the device has not answered in time.  A thread may still use it: do not close it.
        TransferCancelled: it was.
    """
    for _ in _parts(device, offset, length, made.jobs(), limits or Limits()):
        pass


def verify_device(device: Device, *, length: int, digest: Digest, what: str, limits: Limits | None = None) -> None:
    """Return if the first `length` bytes of a device are those of a digest.

    Args:
        device: where from.
        length: how many bytes.
        digest: what they must have.
        what: whose data these are, for the error.
        limits: how fast it may go, and what ends it.

    Raises:
        ContentMismatch: they are not those of the digest.
        DeviceFailed: they could not be read, or the device ends before.
        DeviceStalled: the device has not answered in time.  A thread may still use it: do not close it.
        InvalidFact: the digest's algorithm is not known here.
        TransferCancelled: it was.
    """
    made = Digests([digest.algorithm])
    digest_device(device, length=length, made=made, limits=limits)
    compare(made, digest, what)


def _read(
    device: Device,
    offset: int,
    length: int,
    digests: Digests,
    digest: Digest | None,
    what: str,
    limits: Limits,
    jobs: list[Job],
) -> Generator[bytes, None, None]:
    with closing(_parts(device, offset, length, [*digests.jobs(), *jobs], limits)) as parts:
        for part in parts:
            for at in range(0, part.length, PART_BYTES):
                end = min(part.length, at + PART_BYTES)
                yield ZEROS[: end - at] if part.data is None else bytes(part.data[at:end])
    if digest is not None:
        compare(digests, digest, what)


def _parts(
    device: Device, offset: int, length: int, jobs: Iterable[Job], limits: Limits
) -> Generator[Part, None, None]:
    """Read ahead, do the jobs with each part in threads of their own, and give each part to the caller's."""
    part_bytes = limits.part_bytes(_READ_BYTES)
    throttle = Throttle(limits)
    watch = limits.device_watch(device)
    watched = watched_device(device, watch)
    feeder = partial(_ahead, device=watched, offset=offset, end=offset + length, throttle=throttle)
    crew = Crew(jobs, part_bytes=part_bytes, feeder=feeder, patience=watch.patience)
    try:
        crew.start()
        yield from crew.parts()
    except BaseException:
        crew.stop()
        raise
    finally:
        try:
            crew.end()
        except BaseException:  # also an interrupt right as it is called, before it can wait
            crew.stop()
            crew.end()
            raise
    if crew.error is not None:
        raise crew.error


def _ahead(crew: Crew, *, device: Device, offset: int, end: int, throttle: Throttle) -> None:
    """Read the device into the memory of the crew, part by part."""
    at, pace = offset, throttle.until(lambda: crew.over)
    for start, stop, is_data in device.extents(offset, end - offset) if offset < end else ():
        if start != at:
            raise DeviceFailed(f"{device.what} does not say what is at byte {at}")
        while at < min(stop, end):
            memory = crew.memory()
            # Up to the next multiple of a part's length: from there on the reads are aligned.
            most = len(memory) - at % len(memory) if is_data else _LONGEST_HOLE
            wanted = min(most, min(stop, end) - at)
            pace(wanted if is_data else 0)
            count = device.readinto(at, memory[:wanted]) if is_data else wanted
            if count <= 0:
                break
            crew.hand_on(Part(at, count, memory[:count] if is_data else None, memory))
            at += count
        if at < min(stop, end):
            break
    if at < end:
        raise DeviceFailed(f"{device.what} ends at byte {at}, and must be read up to byte {end}")
