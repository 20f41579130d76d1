"""Trials of one volume: its device, its data, its zeros, its end."""

from __future__ import annotations

from imagevol_adapters.ports import AccessMode, Device
from imagevol_adapters.validating.bench import Bench
from imagevol_adapters.validating.contents import PART_BYTES, PLACES, Contents, every_zero, read, write
from imagevol_core import GIB, CallerError, DeviceFailed, InUse, Volume
from imagevol_core.sentences import amount

__all__ = ["VOLUME_TRIALS", "try_new_volume", "try_volume_data"]

VOLUME_TRIALS = (
    *("device-size", "read-back", "rewritten", "ranges", "neighbors", "device-end", "cleared"),
    *("attached-once", "attached-kept", "flushed", "read-only", "reattached", "deleted"),
)
_CLEAR_AT = 16 << 20
_CLEAR_BYTES = 1 << 20
_EDGE = 4096
_ATTACHMENTS = 3


def try_volume_data(bench: Bench) -> None:
    """Write a volume, read it back through several attachments, and delete it."""
    with bench.trying("volume", *VOLUME_TRIALS):
        volume_id = None
        with bench.created() as volume:
            volume_id, contents = volume.id, Contents("first")
            with bench.attached(volume, AccessMode.WRITE) as device:
                _try_device(bench, device, contents)
                _try_busy(bench, volume)
            with bench.attached(volume, AccessMode.READ) as device:
                bench.saw(
                    "flushed", contents.wrong(device, "the volume, attached again,"), count=PART_BYTES * len(PLACES)
                )
                _try_writing(bench, device, contents)
            for _ in range(_ATTACHMENTS):
                with bench.attached(volume, AccessMode.WRITE) as device:
                    bench.saw("reattached", contents.wrong(device, "the volume, attached again,"), count=_ATTACHMENTS)
                    contents.write(device)
                    device.flush()
            with bench.attached(volume, AccessMode.READ) as device:
                bench.saw("reattached", contents.wrong(device, "the volume, attached again,"), count=_ATTACHMENTS)
        there = bench.volumes.find([volume_id])
        bench.saw("deleted", f"volume {volume_id} was deleted, and is still there" if there else None)


def try_new_volume(bench: Bench, volume: Volume) -> None:
    """Read a volume that is new, whole.

    Args:
        bench: where it is tried.
        volume: the first that is created after another one, which held data, was deleted.
    """
    with bench.trying("zeros", "fresh-zeros"), bench.attached(volume, AccessMode.READ) as device:
        wrong, count = every_zero(device, 0, "a new volume")
        bench.saw("fresh-zeros", wrong, count=count)


def _try_device(bench: Bench, device: Device, contents: Contents) -> None:
    size = device.size_bytes
    bench.saw("device-size", f"the device of a volume of {GIB} bytes has {size}" if size < GIB else None, count=size)
    written = contents.write(device)
    device.flush()
    bench.saw("read-back", contents.wrong(device, "the volume"), count=written)
    contents.write(device)
    device.flush()
    bench.saw("rewritten", contents.wrong(device, "the volume"), count=written)
    _try_ranges(bench, device, contents)
    _try_end(bench, device, contents)
    _try_clearing(bench, device)
    contents.write(device)
    device.flush()


def _try_ranges(bench: Bench, device: Device, contents: Contents) -> None:
    """Read ranges that are not aligned, and write one."""
    ranges = ((0, 1), (1, 511), (511, 4097), (4095, 2), (PART_BYTES - 513, 513))
    wrong = None
    for place in PLACES:
        for start, length in ranges:
            found, expected = read(device, place + start, length), contents.at(place)[start : start + length]
            if found != expected:
                wrong = (
                    wrong or f"the range of {amount(length, 'byte')} from byte {place + start} on is not read as it is"
                )
    bench.saw("ranges", wrong, count=len(ranges) * len(PLACES))
    place, wrong = PLACES[2], None
    before = read(device, place, PART_BYTES)
    write(device, place + 1001, bytes(1234))
    device.flush()
    if read(device, place, PART_BYTES) != before[:1001] + bytes(1234) + before[2235:]:
        wrong = f"a write of 1234 bytes at byte {place + 1001} changed other bytes, or not its own"
    bench.saw("neighbors", wrong, count=PART_BYTES - 1234)
    contents.write(device)


def _try_end(bench: Bench, device: Device, contents: Contents) -> None:
    size, wrong = device.size_bytes, None
    last = contents.at(PLACES[-1])[-512:]
    write(device, size - 512, last)
    if read(device, size - 512, 1024) != last:
        wrong = f"the last 512 bytes, from byte {size - 512} on, are not read as they were written"
    try:
        device.write(size, memoryview(bytes(512)))
        wrong = wrong or f"a write at byte {size}, after the end of the device, was not refused"
    except DeviceFailed:
        pass
    bench.saw("device-end", wrong)


def _try_clearing(bench: Bench, device: Device) -> None:
    if not device.can_clear:
        return bench.missed("cleared", "the device has no way to clear a range")
    data = Contents("cleared").at(0) * (_CLEAR_BYTES // PART_BYTES)
    write(device, _CLEAR_AT, data)
    device.flush()
    length = _CLEAR_BYTES - 2 * _EDGE
    while not device.clear(_CLEAR_AT + _EDGE, length):
        if not device.can_clear:
            return bench.missed("cleared", "the device has no way to clear a range")
    device.flush()
    found, wrong = read(device, _CLEAR_AT, _CLEAR_BYTES), None
    if any(found[_EDGE:-_EDGE]):
        wrong = f"a range that was cleared, from byte {_CLEAR_AT + _EDGE} on, is not zero"
    elif (found[:_EDGE], found[-_EDGE:]) != (data[:_EDGE], data[-_EDGE:]):
        wrong = f"clearing {length} bytes from byte {_CLEAR_AT + _EDGE} on changed bytes beside them"
    return bench.saw("cleared", wrong, count=length)


def _try_busy(bench: Bench, volume: Volume) -> None:
    """Ask for what an attached volume must refuse."""
    if volume.multiattach:
        bench.missed("attached-once", "the volume type allows several attachments")
    else:
        try:
            second = bench.volumes.attach(volume.id, connector=bench.attacher.connector(), mode=AccessMode.READ)
        except InUse:  # also VolumeBusy
            bench.saw("attached-once")
        else:
            bench.volumes.detach(second)
            bench.saw("attached-once", f"volume {volume.id} was attached twice, and its type does not allow that")
    try:
        bench.volumes.delete(volume.id, wait=False)
    except CallerError:
        bench.saw("attached-kept")
    else:
        bench.saw("attached-kept", f"volume {volume.id} was deleted while it was attached")


def _try_writing(bench: Bench, device: Device, contents: Contents) -> None:
    """Write to what is attached for reading."""
    try:
        device.write(PLACES[0], memoryview(bytes(512)))
    except DeviceFailed:
        bench.saw("read-only")
        return
    changed = "; it changed the data" if contents.wrong(device, "the volume") else ""
    write(device, PLACES[0], contents.at(PLACES[0]))  # so that the trials after it see what was written
    bench.saw("read-only", f"a write to a volume that is attached for reading was not refused{changed}")
