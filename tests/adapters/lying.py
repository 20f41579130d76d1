"""Backends that lie: each has one defect, and the id of the rule that must find it. `honest` ones have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import attrs

from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryDevice, MemoryVolumes
from imagevol_core import GIB, InUse, Volume, VolumeFailed


class Backend(MemoryVolumes):
    """Volumes whose devices are of a kind."""

    rule: ClassVar[str] = ""
    device: ClassVar[type[MemoryDevice]] = MemoryDevice

    def create(self, **wishes: Any) -> Volume:
        volume = MemoryVolumes.create(self, **wishes)
        self.contents[volume.id] = self.device(volume.size_gib * GIB)
        return volume


class Multiattach(Backend):
    """Volumes that may have two attachments; an honest backend."""

    def create(self, **wishes: Any) -> Volume:
        volume = Backend.create(self, **wishes)
        return self._change(volume.id, multiattach=True)

    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        if self.get(volume_id).status == "in-use":
            self._change(volume_id, status="available")
        return MemoryVolumes.reserve(self, volume_id, mode=mode)

    def detach(self, attachment: Attachment) -> None:
        MemoryVolumes.detach(self, attachment)
        if self._of(attachment.volume_id):
            self._change(attachment.volume_id, status="in-use")


class CannotClear(MemoryDevice):
    def clear(self, offset: int, length: int) -> bool:
        return False

    @property
    def can_clear(self) -> bool:
        return False

    @can_clear.setter
    def can_clear(self, value: bool) -> None: ...


class NoClears(Backend):
    """Devices that cannot clear; an honest backend."""

    device = CannotClear


class RefusesAttached(Backend):
    """Attached volumes are not cloned, and sources of clones not deleted; an honest backend."""

    def clone(
        self, volume_id: str, *, name: str, metadata: Mapping[str, str], volume_type: str | None = None
    ) -> Volume:
        if self.get(volume_id).status == "in-use":
            raise InUse(f"volume {volume_id} is in use")
        return MemoryVolumes.clone(self, volume_id, name=name, metadata=metadata, volume_type=volume_type)

    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        if any(each.source_volume_id == volume_id for each in self.volumes.values()):
            raise InUse(f"volume {volume_id} has clones")
        MemoryVolumes.delete(self, volume_id, wait=wait)


HONEST = (Backend, Multiattach, NoClears, RefusesAttached)


# Devices


class Ends(MemoryDevice):
    def readinto(self, offset: int, buffer: memoryview) -> int:
        return 0 if offset >= GIB // 2 else MemoryDevice.readinto(self, offset, buffer)


class HalfReads(MemoryDevice):
    def readinto(self, offset: int, buffer: memoryview) -> int:
        MemoryDevice.readinto(self, offset, buffer[: (len(buffer) + 1) // 2])
        return len(buffer)


class Wraps(MemoryDevice):
    def write(self, offset: int, data: memoryview) -> int:
        return MemoryDevice.write(self, offset % (GIB // 2), data)


class FirstWriteStays(MemoryDevice):
    def write(self, offset: int, data: memoryview) -> int:
        if any(self.read(offset, len(data))):
            return len(data)
        return MemoryDevice.write(self, offset, data)


class DropsTheEnd(MemoryDevice):
    def write(self, offset: int, data: memoryview) -> int:
        if offset == self.size_bytes - 512:
            return MemoryDevice.write(self, offset, memoryview(bytes(len(data))))
        return MemoryDevice.write(self, offset, data)


class TakesBeyondTheEnd(MemoryDevice):
    def write(self, offset: int, data: memoryview) -> int:
        return len(data) if offset >= self.size_bytes else MemoryDevice.write(self, offset, data)


class RoundsWrites(MemoryDevice):
    def write(self, offset: int, data: memoryview) -> int:
        if offset % 512:
            MemoryDevice.write(self, offset // 512 * 512, memoryview(bytes(512)))
        return MemoryDevice.write(self, offset, data)


class RoundsReads(MemoryDevice):
    def readinto(self, offset: int, buffer: memoryview) -> int:
        return MemoryDevice.readinto(self, offset // 512 * 512, buffer)


class ClearsNothing(MemoryDevice):
    def clear(self, offset: int, length: int) -> bool:
        return True


class ClearsMore(MemoryDevice):
    def clear(self, offset: int, length: int) -> bool:
        return MemoryDevice.clear(self, offset - 4096, length + 8192)


DEVICES: Mapping[type[MemoryDevice], str] = {
    Ends: "read-back",
    HalfReads: "read-back",
    Wraps: "read-back",
    FirstWriteStays: "rewritten",
    DropsTheEnd: "device-end",
    TakesBeyondTheEnd: "device-end",
    RoundsWrites: "neighbors",
    RoundsReads: "ranges",
    ClearsNothing: "cleared",
    ClearsMore: "cleared",
}


# Volumes


class GivesOldData(Backend):
    rule = "fresh-zeros"
    deleted: MemoryDevice | None = None

    def create(self, **wishes: Any) -> Volume:
        volume = Backend.create(self, **wishes)
        self.contents[volume.id] = self.deleted or self.contents[volume.id]
        return volume

    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        there = self.contents[self.get(volume_id).id].copy()
        MemoryVolumes.delete(self, volume_id, wait=wait)
        self.deleted = there


class HasARestSomewhere(Backend):
    rule = "fresh-zeros"

    def create(self, **wishes: Any) -> Volume:
        volume = Backend.create(self, **wishes)
        self.contents[volume.id].write(700 << 20, memoryview(b"x"))
        return volume


class GivesLess(Backend):
    rule = "device-size"

    def create(self, **wishes: Any) -> Volume:
        volume = Backend.create(self, **wishes)
        self.contents[volume.id].size_bytes -= 1 << 20
        return volume


class LosesWhatWasFlushed(Backend):
    rule = "flushed"
    before: ClassVar[dict[str, MemoryDevice]] = {}

    def attach(self, volume_id: str, **asked: Any) -> Attachment:
        attachment = MemoryVolumes.attach(self, volume_id, **asked)
        self.before[attachment.id] = self.contents[volume_id].copy()
        return attachment

    def detach(self, attachment: Attachment) -> None:
        if attachment.id in self.before and attachment.volume_id in self.contents:
            self.contents[attachment.volume_id] = self.before.pop(attachment.id)
        MemoryVolumes.detach(self, attachment)


class ShowsTheFirstAttachment(Backend):
    rule = "reattached"
    first: ClassVar[dict[str, MemoryDevice]] = {}

    def attach(self, volume_id: str, **asked: Any) -> Attachment:
        attachment = MemoryVolumes.attach(self, volume_id, **asked)
        if volume_id in self.first:
            self.contents[volume_id] = self.first[volume_id].copy()
        return attachment

    def detach(self, attachment: Attachment) -> None:
        if attachment.volume_id in self.contents:
            self.first.setdefault(attachment.volume_id, self.contents[attachment.volume_id].copy())
        MemoryVolumes.detach(self, attachment)


class ExtendsToNothing(Backend):
    rule = "extend-kept"

    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        self.contents[volume_id] = MemoryDevice(size_gib * GIB)
        return MemoryVolumes.extend(self, volume_id, size_gib=size_gib)


class ExtendsTheRecord(Backend):
    rule = "extend-size"

    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        before = self.contents[volume_id].size_bytes
        volume = MemoryVolumes.extend(self, volume_id, size_gib=size_gib)
        self.contents[volume_id].size_bytes = before
        return volume


class ExtendsWithOldData(Backend):
    rule = "extend-zeros"

    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        volume = MemoryVolumes.extend(self, volume_id, size_gib=size_gib)
        self.contents[volume_id].write(GIB + (300 << 20), memoryview(b"old"))
        return volume


class KeepsWhatIsDeleted(Backend):
    rule = "deleted"
    kept = 0

    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        if self.kept:
            MemoryVolumes.delete(self, volume_id, wait=wait)
        elif self.get(volume_id).status == "in-use":
            raise InUse("it is attached")
        else:
            self.kept += 1


# Clones


class Cloning(Backend):
    def clone(
        self, volume_id: str, *, name: str, metadata: Mapping[str, str], volume_type: str | None = None
    ) -> Volume:
        volume = MemoryVolumes.clone(self, volume_id, name=name, metadata=metadata, volume_type=volume_type)
        self.lie(volume, self.contents[volume_id])
        return volume

    def lie(self, clone: Volume, source: MemoryDevice) -> None: ...


class ClonesNothing(Cloning):
    rule = "clone-same"

    def lie(self, clone: Volume, source: MemoryDevice) -> None:
        self.contents[clone.id] = MemoryDevice(GIB)


class ClonesThePast(Cloning):
    rule = "clone-same"
    past: ClassVar[dict[str, MemoryDevice]] = {}

    def attach(self, volume_id: str, **asked: Any) -> Attachment:
        if asked["mode"] is AccessMode.WRITE:
            self.past[volume_id] = self.contents[volume_id].copy()
        return MemoryVolumes.attach(self, volume_id, **asked)

    def lie(self, clone: Volume, source: MemoryDevice) -> None:
        self.contents[clone.id] = self.past[str(clone.source_volume_id)].copy()


class SharesItsBlocks(Cloning):
    rule = "clone-independent"

    def lie(self, clone: Volume, source: MemoryDevice) -> None:
        self.contents[clone.id] = source


class ClonesNothingLater(Cloning):
    rule = "clone-count"

    def lie(self, clone: Volume, source: MemoryDevice) -> None:
        if sum(each.source_volume_id == clone.source_volume_id for each in self.volumes.values()) > 2:
            self.contents[clone.id] = MemoryDevice(GIB)


class TearsClonesOfAttached(Cloning):
    rule = "clone-attached"

    def lie(self, clone: Volume, source: MemoryDevice) -> None:
        if self.get(str(clone.source_volume_id)).status == "in-use":
            self.contents[clone.id].write(GIB // 2, memoryview(bytes(4096)))


class HasFewClones(Cloning):
    rule = "clone-count"

    def clone(
        self, volume_id: str, *, name: str, metadata: Mapping[str, str], volume_type: str | None = None
    ) -> Volume:
        if sum(each.source_volume_id == volume_id for each in self.volumes.values()) > 2:
            raise VolumeFailed("x", status="error", wanted="available", reason="too many clones")
        return MemoryVolumes.clone(self, volume_id, name=name, metadata=metadata, volume_type=volume_type)


class ClonesDieWithTheirSource(Backend):
    rule = "clone-outlives"

    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        MemoryVolumes.delete(self, volume_id, wait=wait)
        for clone in self.volumes.values():
            if clone.source_volume_id == volume_id:
                self.contents[clone.id] = MemoryDevice(clone.size_gib * GIB)


# Attachments


class WritesWhatIsRead(Backend):
    rule = "read-only"

    def attach(self, volume_id: str, **asked: Any) -> Attachment:
        attachment = MemoryVolumes.attach(self, volume_id, **asked)
        return attrs.evolve(attachment, connection={**attachment.connection, "access_mode": "rw"})


class AttachesTwice(Backend):
    rule = "attached-once"

    def attach(self, volume_id: str, **asked: Any) -> Attachment:
        if self.get(volume_id).status == "in-use":
            return Attachment(id="second", volume_id=volume_id, connection={})
        return MemoryVolumes.attach(self, volume_id, **asked)


class DeletesWhatIsAttached(Backend):
    rule = "attached-kept"

    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        if self.get(volume_id).status == "in-use":
            self._change(volume_id, status="available")
        MemoryVolumes.delete(self, volume_id, wait=wait)

    def detach(self, attachment: Attachment) -> None:
        if attachment.volume_id in self.volumes:
            MemoryVolumes.detach(self, attachment)


class MixesVolumes(Backend):
    rule = "attached-apart"

    def attach(self, volume_id: str, **asked: Any) -> Attachment:
        others = {each.volume_id for each in self.attachments.values()} - {volume_id}
        attachment = MemoryVolumes.attach(self, volume_id, **asked)
        return attrs.evolve(attachment, connection={**attachment.connection, "other": next(iter(others), None)})


class ShowsTheSecondTheOld(Multiattach):
    rule = "attached-together"

    def attach(self, volume_id: str, **asked: Any) -> Attachment:
        attachment = MemoryVolumes.attach(self, volume_id, **asked)
        old = self.contents[volume_id].copy() if len(self._of(volume_id)) > 1 else None
        return attrs.evolve(attachment, connection={**attachment.connection, "old": old})


VOLUMES: tuple[type[Backend], ...] = (
    *(GivesOldData, HasARestSomewhere, GivesLess, LosesWhatWasFlushed, ShowsTheFirstAttachment),
    *(ExtendsToNothing, ExtendsTheRecord, ExtendsWithOldData, KeepsWhatIsDeleted, ClonesNothing, ClonesThePast),
    *(SharesItsBlocks, ClonesNothingLater, TearsClonesOfAttached, HasFewClones, ClonesDieWithTheirSource),
    *(WritesWhatIsRead, AttachesTwice, DeletesWhatIsAttached, MixesVolumes, ShowsTheSecondTheOld),
)


def backend(of_devices: type[MemoryDevice]) -> type[Backend]:
    """A backend with devices of this kind."""
    return type(of_devices.__name__, (Backend,), {"device": of_devices, "rule": DEVICES[of_devices]})


DEFECTS = (*VOLUMES, *map(backend, DEVICES))


@attrs.define
class Host(MemoryAttacher):
    """A host that connects what the lies above say."""

    @contextmanager
    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> Iterator[Device]:
        other, old = (attachment.connection.get(each) for each in ("other", "old"))
        mode = AccessMode.WRITE if isinstance(self.volumes, WritesWhatIsRead) else mode
        with MemoryAttacher.open(self, attachment, mode=mode, keep=keep) as device:
            if shown := self.volumes.contents.get(str(other)) or old:
                device._device = shown  # type: ignore[attr-defined]
            yield device


__all__ = ["DEFECTS", "HONEST", "Backend", "Host"]
