"""Ports with one defect each, under their suites; `test_defects.py` runs these, and pytest alone does not find them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

import pytest

from imagevol_adapters.devices import PlainDevice
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.relocating import LocationService, VolumeHolder
from imagevol_adapters.testing.conformance import (
    DeviceConformance,
    LocationServiceConformance,
    RepairImagesConformance,
    TemplateVolumesConformance,
    VolumeHolderConformance,
)
from imagevol_adapters.testing.conformance.devices import OpenDevice
from imagevol_adapters.testing.conformance.template_volumes import ListedVolumes
from imagevol_adapters.testing.conformance.volume_holder import HeldVolumes
from imagevol_adapters.testing.memory import MemoryLocations, MemoryVolumes
from imagevol_core import (
    AccessDenied,
    DeviceFailed,
    Image,
    ImageLocation,
    ImagevolError,
    InUse,
    NoAnswer,
    RequestRefused,
    ResourceNotFound,
    Store,
    Volume,
    VolumeAnswer,
    VolumeBusy,
)
from tests.conformance.histories import glance_of, make, new_image

# Holders


class OmitsMissing(MemoryVolumes):
    def types_of(self, volume_ids: Sequence[str]) -> Mapping[str, VolumeAnswer]:
        return {volume.id: volume.volume_type for volume in self.find(volume_ids)}


class CannotTellMissing(MemoryVolumes):
    def types_of(self, volume_ids: Sequence[str]) -> Mapping[str, VolumeAnswer]:
        known = {volume.id: volume.volume_type for volume in self.find(volume_ids)}
        return {volume_id: known.get(volume_id, NoAnswer("404")) for volume_id in volume_ids}


class FindsInItsOwnOrder(MemoryVolumes):
    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        wanted = set(volume_ids)
        return tuple(volume for volume in self.volumes.values() if volume.id in wanted)


class ReplacesMetadata(MemoryVolumes):
    def unset_metadata(self, volume_id: str, keys: Sequence[str]) -> None:
        self._change(volume_id, metadata={})


class RefusesMissingKeys(MemoryVolumes):
    def unset_metadata(self, volume_id: str, keys: Sequence[str]) -> None:
        if not {*keys} <= self.get(volume_id).metadata.keys():
            raise ResourceNotFound("metadata", str(keys))
        MemoryVolumes.unset_metadata(self, volume_id, keys)


class ReservesNothing(MemoryVolumes):
    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        reserved = MemoryVolumes.reserve(self, volume_id, mode=mode)
        self._change(volume_id, status="available")
        return reserved


class DeletesWhatIsReserved(MemoryVolumes):
    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        if self.get(volume_id).status == "reserved":
            self._change(volume_id, status="available")
        MemoryVolumes.delete(self, volume_id, wait=wait)


class CountsAttachments(MemoryVolumes):
    def reservations(self, volume_id: str) -> tuple[Attachment, ...]:
        return tuple(self._of(volume_id))


class CountsOthers(MemoryVolumes):
    def reservations(self, volume_id: str) -> tuple[Attachment, ...]:
        return tuple(each for each in self.attachments.values() if each.id not in self._connectors)


class GivesBackOnce(MemoryVolumes):
    def detach(self, attachment: Attachment) -> None:
        if attachment.id not in self.attachments:
            raise ResourceNotFound("attachment", attachment.id)
        MemoryVolumes.detach(self, attachment)


class GivesBackByVolume(MemoryVolumes):
    def detach(self, attachment: Attachment) -> None:
        for each in self._of(attachment.volume_id):
            MemoryVolumes.detach(self, each)


class CallsErrorsBusy(MemoryVolumes):
    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        try:
            return MemoryVolumes.reserve(self, volume_id, mode=mode)
        except InUse as error:
            raise VolumeBusy(volume_id, status=self.get(volume_id).status) from error


class CallsBusyErrors(MemoryVolumes):
    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        try:
            return MemoryVolumes.reserve(self, volume_id, mode=mode)
        except VolumeBusy as error:
            raise InUse(str(error)) from error


class SparesReadOnly(MemoryVolumes):
    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        if self.get(volume_id).readonly and mode is AccessMode.WRITE:
            raise InUse("it is read-only")
        return MemoryVolumes.reserve(self, volume_id, mode=mode)


class LocksReserved(MemoryVolumes):
    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        if self.get(volume_id).status == "reserved":
            raise InUse("it is reserved")
        MemoryVolumes.set_metadata(self, volume_id, metadata)


class Holding(VolumeHolderConformance):
    volume_types: ClassVar[tuple[str, str]] = ("memory", "encrypted")
    kind: ClassVar[type[MemoryVolumes]]

    @pytest.fixture
    def volumes(self) -> HeldVolumes:
        return self.kind()


# Volumes of templates


class ListsAll(MemoryVolumes):
    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        return (volume for volume in list(self.volumes.values()) if self.administrator)


class ListsItsOwn(MemoryVolumes):
    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        return MemoryVolumes.listed(self, project_id=self.project_id, metadata=metadata)


class AnyMetadata(MemoryVolumes):
    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        for volume in MemoryVolumes.listed(self, project_id=project_id):
            if not metadata or metadata.items() & volume.metadata.items():
                yield volume


class KeysOnly(MemoryVolumes):
    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        for volume in MemoryVolumes.listed(self, project_id=project_id):
            if {*(metadata or ())} <= volume.metadata.keys():
                yield volume


class HidesHosts(MemoryVolumes):
    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        for volume in MemoryVolumes.listed(self, project_id=project_id, metadata=metadata):
            yield replace(volume, host=None)


class OnlyAvailable(MemoryVolumes):
    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        for volume in MemoryVolumes.listed(self, project_id=project_id, metadata=metadata):
            if volume.status == "available":
                yield volume


class GivesUsersNothing(MemoryVolumes):
    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        if self.administrator:
            yield from MemoryVolumes.listed(self, project_id=project_id, metadata=metadata)


class ShowsUsersAll(MemoryVolumes):
    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        return tuple(self.volumes[each] for each in volume_ids if each in self.volumes)


class Templating(TemplateVolumesConformance):
    kind: ClassVar[type[MemoryVolumes]]

    @pytest.fixture
    def volumes(self) -> ListedVolumes:
        return self.kind()

    @pytest.fixture
    def users(self, volumes: MemoryVolumes) -> ListedVolumes:
        return volumes.of_project("demo")


# Locations


class ListsMigrated(MemoryLocations):
    def listed(
        self, image_ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
    ) -> Iterator[Image]:
        return (self.get(image.id) for image in MemoryLocations.listed(self, image_ids, changed_since=changed_since))


class NeverMigrates(MemoryLocations):
    def _as_shown(self, location: ImageLocation) -> tuple[ImageLocation, bool]:
        return location, False


class ShowsAndForgets(MemoryLocations):
    def get(self, image_id: str) -> Image:
        before = self._saved(image_id)
        shown = MemoryLocations.get(self, image_id)
        self.images[image_id] = before
        return shown


class RepairsAll(MemoryLocations):
    def _as_shown(self, location: ImageLocation) -> tuple[ImageLocation, bool]:
        return MemoryLocations._as_shown(self, ImageLocation(location.url, {}))


class KeepsTheDate(MemoryLocations):
    def _save(self, image: Image) -> Image:
        self.images[image.id] = image
        return image


class PrefersTheUrl(MemoryLocations):
    def _is_of(self, store: Store, volume_id: str) -> bool:
        return False


class IgnoresIds(MemoryLocations):
    def listed(
        self, image_ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
    ) -> Iterator[Image]:
        return MemoryLocations.listed(self, image_ids or None, changed_since=changed_since)


class TakesAsSent(MemoryLocations):
    def _as_added(self, value: Any) -> ImageLocation:
        return ImageLocation(value["url"], value["metadata"])


class LosesMetadata(MemoryLocations):
    def _as_added(self, value: Any) -> ImageLocation:
        location = MemoryLocations._as_added(self, value)
        return ImageLocation(location.url, {"store": location.metadata.get("store", "")})


class RemembersPositions(MemoryLocations):
    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        before = self.get(image_id).locations
        MemoryLocations.change_locations(self, image_id, operations)
        if operations[0]["path"] == "/locations/0" and operations[0]["op"] == "add":
            added = self.images[image_id].locations[-1]
            self.images[image_id] = replace(self.images[image_id], locations=(added, *before))


class TakesWhatIsNotThere(MemoryLocations):
    def _size_bytes(self, location: ImageLocation) -> int:
        return 1 << 30


class LeavesQueued(MemoryLocations):
    def _save(self, image: Image) -> Image:
        return MemoryLocations._save(self, replace(image, status=self._saved(image.id).status))


class DeletesNothing(MemoryLocations):
    def _delete(self, location: ImageLocation) -> None:
        """The volume stays."""


class RemovesTheLast(MemoryLocations):
    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        image = self.get(image_id)
        if [each["op"] for each in operations] == ["remove"] and len(image.locations) == 1:
            self._save(replace(image, locations=()))
        else:
            MemoryLocations.change_locations(self, image_id, operations)


class ForgetsWhatItCannotDelete(MemoryLocations):
    def _delete(self, location: ImageLocation) -> None:
        try:
            MemoryLocations._delete(self, location)
        except ImagevolError:
            return


class DeletesWhatIsHeld(MemoryLocations):
    def _delete(self, location: ImageLocation) -> None:
        self.volumes.delete(location.url[-36:])


class ShowsAnyway(MemoryLocations):
    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        shows, self.shows_locations = self.shows_locations, True
        try:
            MemoryLocations.change_locations(self, image_id, operations)
        finally:
            self.shows_locations = shows


class InventsImages(MemoryLocations):
    def get(self, image_id: str) -> Image:
        try:
            return MemoryLocations.get(self, image_id)
        except ResourceNotFound as error:
            raise RequestRefused(str(error)) from error


class Locating(LocationServiceConformance):
    kind: ClassVar[type[MemoryLocations]]
    wait_seconds: ClassVar[float] = 0  # in memory nothing is done later

    @pytest.fixture
    def volumes(self) -> VolumeHolder:
        return MemoryVolumes()

    @pytest.fixture
    def locations(self, volumes: MemoryVolumes) -> MemoryLocations:
        return glance_of(volumes, self.driver, self.kind)

    @pytest.fixture
    def image_ids(self, locations: MemoryLocations, volumes: MemoryVolumes) -> Mapping[str, str]:
        return make(self.images_needed, locations, volumes)

    @pytest.fixture
    def hiding(self, locations: MemoryLocations) -> LocationService:
        locations.shows_locations = False
        return locations


# Images that are repaired


class RepairedLocations(MemoryLocations):
    """Not defective itself."""


class StaysActive(RepairedLocations):
    def deactivate(self, image_id: str) -> None:
        self._saved(image_id)


class DeactivatesOnce(RepairedLocations):
    def deactivate(self, image_id: str) -> None:
        if self._saved(image_id).status == "deactivated":
            raise AccessDenied("it is deactivated")
        RepairedLocations.deactivate(self, image_id)


class DeactivatesQueued(RepairedLocations):
    def deactivate(self, image_id: str) -> None:
        self._save(replace(self._saved(image_id), status="deactivated"))


class StaysListed(RepairedLocations):
    def delete(self, image_id: str) -> None:
        self._saved(image_id)


class DeletesAnything(RepairedLocations):
    def delete(self, image_id: str) -> None:
        self.images.pop(image_id, None)


class ListsAllTimes(RepairedLocations):
    def listed(
        self, image_ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
    ) -> Iterator[Image]:
        return RepairedLocations.listed(self, image_ids)


class ListsNoChange(RepairedLocations):
    def listed(
        self, image_ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
    ) -> Iterator[Image]:
        return iter(()) if changed_since else RepairedLocations.listed(self, image_ids)


class Repairing(RepairImagesConformance):
    kind: ClassVar[type[MemoryLocations]]

    @pytest.fixture
    def images(self) -> MemoryLocations:
        return glance_of(MemoryVolumes(), "imagevol", self.kind)

    @pytest.fixture
    def new_image(self, images: MemoryLocations) -> Callable[[str], str]:
        return partial(new_image, images)


# Devices


class Bytes(PlainDevice):
    """A device on bytes in memory."""

    def __init__(self, kept: bytearray, *, writable: bool) -> None:
        self.kept, self.writable = kept, writable

    @property
    def size_bytes(self) -> int:
        return len(self.kept)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        data = self.kept[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    def write(self, offset: int, data: memoryview) -> int:
        room = self.size_bytes - offset
        if not self.writable or room <= 0:
            raise DeviceFailed("it is read-only, or ends here")
        self.kept[offset : offset + min(room, len(data))] = data[:room]
        return min(room, len(data))

    def flush(self) -> None:
        """All is there."""


class WritesWhenReading(Bytes):
    def write(self, offset: int, data: memoryview) -> int:
        self.writable = True
        return Bytes.write(self, offset, data)


class TakesNothingAtItsEnd(Bytes):
    def write(self, offset: int, data: memoryview) -> int:
        return Bytes.write(self, offset, data) if offset < self.size_bytes else 0


class MovesData(Bytes):
    def write(self, offset: int, data: memoryview) -> int:
        return Bytes.write(self, offset // 512 * 512, data)


class ReadsAfterItsEnd(Bytes):
    def readinto(self, offset: int, buffer: memoryview) -> int:
        return Bytes.readinto(self, offset, buffer) or len(buffer)


class ClearsNothing(Bytes):
    can_clear = True

    def clear(self, offset: int, length: int) -> bool:
        return self.writable and length > 0

    def distrust(self) -> None:
        self.can_clear = False


class IsAlwaysTrusted(Bytes):
    can_clear = True

    def clear(self, offset: int, length: int) -> bool:
        self.kept[offset : offset + length] = bytes(length)
        return True


class HasNoData(Bytes):
    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        yield offset, offset + length, False


class ForgetsTheRest(Bytes):
    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        yield offset, offset + length // 2, True


class ClearsLittle(Bytes):
    clear_bytes = 4096


class BelongsToAThread(Bytes):
    def __init__(self, kept: bytearray, *, writable: bool) -> None:
        super().__init__(kept, writable=writable)
        self.owner = threading.get_ident()

    def flush(self) -> None:
        if threading.get_ident() != self.owner:
            raise DeviceFailed("another thread opened it")


class Using(DeviceConformance):
    kind: ClassVar[type[Bytes]]

    @pytest.fixture
    def opening(self) -> OpenDevice:
        kept = bytearray(1 << 20)
        return lambda writable: nullcontext(self.kind(kept, writable=writable))


# A class of tests for each: pytest finds them by these names.
for suite, base in (
    (Holding, MemoryVolumes),
    (Templating, MemoryVolumes),
    (Locating, MemoryLocations),
    (Repairing, RepairedLocations),
    (Using, Bytes),
):
    for kind in base.__subclasses__():
        if kind is RepairedLocations:
            continue
        globals()[f"{suite.__name__}{kind.__name__}"] = type(
            f"{suite.__name__}{kind.__name__}", (suite,), {"kind": kind}
        )
