"""What a `VolumeService` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from imagevol_adapters.ports import AccessMode, Attachment, VolumeService
from imagevol_adapters.testing.conformance.fixtures import NAME, NOBODY, NewVolume, WithVolumes
from imagevol_core import (
    CallerError,
    DeadlineExceeded,
    InUse,
    ProcessRecord,
    RequestRefused,
    ResourceNotFound,
    VolumeBusy,
    VolumeFailed,
)

__all__ = ["VolumeServiceConformance"]


class VolumeServiceConformance(WithVolumes):
    """A `VolumeService`.

    Attributes:
        volume_type: one that there is, and that is not encrypted.
        too_large_gib: a size that the service takes, and that the backend then has no room for.
    """

    volume_type: ClassVar[str]
    too_large_gib: ClassVar[int] = 10_000

    @pytest.fixture
    def impatient(self, volumes: VolumeService) -> VolumeService:
        """The same service, that waits but a second."""
        return volumes

    def test_a_new_volume_is_available_once_it_was_waited_for(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume(size_gib=2, volume_type=self.volume_type)
        assert volume == volumes.get(volume.id)
        assert (volume.status, volume.size_gib, volume.volume_type) == ("available", 2, self.volume_type)
        assert (volume.readonly, volume.encrypted, volume.metadata) == (False, False, {})
        assert volume.project_id
        assert volume.created_at

    def test_a_volume_has_a_type_also_if_none_was_asked_for(self, new_volume: NewVolume) -> None:
        assert new_volume().volume_type

    @pytest.mark.parametrize(
        "wish", [{"volume_type": "no-such-type"}, {"size_gib": 0}, {"size_gib": -1}, {"image_id": NOBODY}]
    )
    def test_a_volume_that_cannot_be_created_as_asked_is_refused(
        self, new_volume: NewVolume, wish: dict[str, Any]
    ) -> None:
        with pytest.raises(RequestRefused):
            new_volume(**wish)

    def test_a_volume_that_finds_no_room_fails_and_can_be_deleted(self, volumes: VolumeService) -> None:
        created = volumes.create(size_gib=self.too_large_gib, name=NAME)
        try:
            with pytest.raises(VolumeFailed) as caught:
                volumes.wait(created.id)
            assert (caught.value.volume_id, caught.value.status) == (created.id, "error")
            assert caught.value.reason
            with pytest.raises(InUse):
                volumes.attach(created.id, connector={"host": NAME}, mode=AccessMode.READ)
        finally:
            volumes.delete(created.id)
        assert volumes.find([created.id]) == ()

    def test_a_volume_that_does_not_exist_is_not_found(
        self, volumes: VolumeService, connector: Mapping[str, Any]
    ) -> None:
        for ask in (
            lambda: volumes.get(NOBODY),
            lambda: volumes.get("no-id-at-all"),
            lambda: volumes.wait(NOBODY),
            lambda: volumes.clone(NOBODY, name=NAME, metadata={}),
            lambda: volumes.base_image_id(NOBODY),
            lambda: volumes.volume_type("no-such-type"),
            lambda: volumes.set_readonly(NOBODY, readonly=True),
            lambda: volumes.set_metadata(NOBODY, {"key": "value"}),
            lambda: volumes.delete(NOBODY),
            lambda: volumes.attach(NOBODY, connector=connector, mode=AccessMode.READ),
            lambda: volumes.complete(Attachment(id=NOBODY, volume_id=NOBODY, connection={})),
        ):
            with pytest.raises(ResourceNotFound):
                ask()

    def test_a_volume_grows_and_keeps_what_it_has(self, volumes: VolumeService, new_volume: NewVolume) -> None:
        volume_id = new_volume().id
        volumes.wait(volume_id)
        volumes.set_metadata(volume_id, {"key": "kept"})
        grown = volumes.extend(volume_id, size_gib=3)
        assert (grown.size_gib, grown.status, grown.metadata) == (3, "available", {"key": "kept"})
        assert volumes.get(volume_id) == grown
        with pytest.raises(CallerError):
            volumes.extend(volume_id, size_gib=2)
        assert volumes.get(volume_id).size_gib == 3

    def test_a_volume_that_finds_no_room_to_grow_fails_as_large_as_it_was(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume_id = new_volume().id
        volumes.wait(volume_id)
        with pytest.raises(VolumeFailed):
            volumes.extend(volume_id, size_gib=self.too_large_gib)
        assert volumes.get(volume_id).size_gib == 1

    def test_an_attached_volume_does_not_grow(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume_id = new_volume().id
        volumes.wait(volume_id)
        attachment = volumes.attach(volume_id, connector=connector, mode=AccessMode.WRITE)
        with pytest.raises(InUse):
            volumes.extend(volume_id, size_gib=2)
        volumes.detach(attachment)
        assert volumes.wait(volume_id).size_gib == 1

    def test_a_clone_has_its_metadata_from_the_beginning_and_is_otherwise_like_the_volume(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        source = new_volume(size_gib=2, volume_type=self.volume_type)
        volumes.set_metadata(source.id, {"of": "the source"})
        created = volumes.clone(source.id, name=f"{NAME}-clone", metadata={"of": "the clone"})
        try:
            assert created.metadata == {"of": "the clone"}
            assert volumes.get(created.id).metadata == {"of": "the clone"}
            clone = volumes.wait(created.id)
            assert (clone.id != source.id, clone.source_volume_id, source.source_volume_id) == (True, source.id, None)
            assert (clone.status, clone.size_gib, clone.volume_type) == ("available", 2, self.volume_type)
            assert (clone.encrypted, clone.readonly, clone.host) == (False, False, source.host)
            assert clone.project_id == source.project_id == volumes.project_id
            assert volumes.named(f"{NAME}-clone") == (clone,)
        finally:
            volumes.delete(created.id)
        assert volumes.named(f"{NAME}-clone") == ()
        assert volumes.get(source.id).status == "available"

    def test_a_volume_that_is_just_being_attached_is_not_cloned(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        attachment = volumes.attach(volume.id, connector=connector, mode=AccessMode.WRITE)
        try:
            with pytest.raises(InUse):
                volumes.clone(volume.id, name=NAME, metadata={})
        finally:
            volumes.detach(attachment)

    def test_a_volume_has_its_metadata_from_the_beginning_and_is_found_by_it(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        mine, other = f"{NAME}-{uuid.uuid4()}", f"{NAME}-{uuid.uuid4()}"
        created = volumes.create(size_gib=1, name=NAME, metadata={mine: "yes", other: "yes"})
        try:
            assert created.metadata == {mine: "yes", other: "yes"}
            made = volumes.wait(created.id)
            assert made.metadata == created.metadata
            new_volume(metadata={mine: "no", other: "yes"})
            assert list(volumes.with_metadata({mine: "yes"})) == [made]
            assert list(volumes.with_metadata({mine: "yes", other: "no"})) == []
            volumes.set_metadata(created.id, {mine: "no more"})
            assert list(volumes.with_metadata({mine: "yes"})) == []
        finally:
            volumes.delete(created.id)

    def test_a_deletion_that_is_not_waited_for_has_begun(self, volumes: VolumeService, new_volume: NewVolume) -> None:
        volume = new_volume()
        volumes.delete(volume.id, wait=False)
        assert all(each.status == "deleting" for each in volumes.find([volume.id]))

    def test_all_volumes_of_a_name_are_found_and_no_others(self, volumes: VolumeService, new_volume: NewVolume) -> None:
        name = f"{NAME}-twin"
        twins = {new_volume(name=name).id, new_volume(name=name).id}
        new_volume(name=f"{name}-not")
        assert {volume.id for volume in volumes.named(name)} == twins

    def test_an_empty_volume_was_made_from_no_image(self, volumes: VolumeService, new_volume: NewVolume) -> None:
        assert volumes.base_image_id(new_volume().id) is None

    def test_a_volume_type_says_what_it_says(self, volumes: VolumeService) -> None:
        volume_type = volumes.volume_type(self.volume_type)
        assert volume_type is not None
        assert (volume_type.name, "image_service:store_id" in volume_type.extra_specs) == (self.volume_type, False)

    def test_the_volumes_that_exist_are_found_in_the_order_asked_for(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        first, second = new_volume(), new_volume()
        found = volumes.find([second.id, NOBODY, first.id])  # Cinder may have changed their records since
        assert [(each.id, each.name) for each in found] == [(each.id, each.name) for each in (second, first)]
        assert volumes.find([]) == ()

    def test_new_metadata_is_added_to_what_is_there(self, volumes: VolumeService, new_volume: NewVolume) -> None:
        volume = new_volume()
        volumes.set_metadata(volume.id, {"one": "1", "two": ""})
        volumes.set_metadata(volume.id, {"one": "other", "three": "x" * 255})
        assert volumes.get(volume.id).metadata == {"one": "other", "two": "", "three": "x" * 255}
        with pytest.raises(RequestRefused):
            volumes.set_metadata(volume.id, {"one": "x" * 256})

    def test_the_read_only_mark_is_set_and_taken_away_and_is_no_metadata(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        for readonly in (True, False):
            volumes.set_readonly(volume.id, readonly=readonly)
            marked = volumes.get(volume.id)
            assert (marked.readonly, marked.metadata) == (readonly, {})

    def test_a_deleted_volume_is_gone_and_is_not_deleted_twice(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        volumes.delete(volume.id)
        assert volumes.find([volume.id]) == ()
        with pytest.raises(ResourceNotFound):
            volumes.delete(volume.id)

    def test_a_volume_that_is_being_made_can_be_deleted(self, volumes: VolumeService) -> None:
        created = volumes.create(size_gib=1, name=NAME)
        volumes.delete(created.id)
        assert volumes.find([created.id]) == ()

    @pytest.mark.parametrize("mode", AccessMode)
    def test_an_attached_volume_is_in_use_until_it_is_detached(
        self,
        volumes: VolumeService,
        impatient: VolumeService,
        new_volume: NewVolume,
        connector: Mapping[str, Any],
        mode: AccessMode,
    ) -> None:
        volume = new_volume()
        attachment = volumes.attach(volume.id, connector=connector, mode=mode)
        try:
            assert attachment.volume_id == volume.id
            for status in ("attaching", "in-use"):
                assert volumes.get(volume.id).status == status
                with pytest.raises(InUse):
                    volumes.delete(volume.id)
                with pytest.raises(VolumeBusy) as busy:
                    volumes.attach(volume.id, connector=connector, mode=mode)
                assert (busy.value.volume_id, busy.value.status) == (volume.id, status)
                with pytest.raises(RequestRefused):
                    volumes.set_readonly(volume.id, readonly=True)
                volumes.set_metadata(volume.id, {"while": status})
                volumes.complete(attachment)
            with pytest.raises(DeadlineExceeded):
                impatient.wait(volume.id)
        finally:
            volumes.detach(attachment)
        assert volumes.wait(volume.id).status == "available"

    def test_a_complete_attachment_shows_which_process_has_it(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        assert volumes.holders(volume.id) == ()
        process = ProcessRecord(host="0" * 16, boot_id="0" * 36, namespaces="1.2", pid=4_194_304, started=2**63)
        place = process.to_text("x" * 64)
        attachment = volumes.attach(volume.id, connector={**connector, "mountpoint": place}, mode=AccessMode.READ)
        try:
            for status in ("attaching", "attached"):
                (holder,) = volumes.holders(volume.id)
                assert (holder.id, holder.status, holder.instance_id) == (attachment.id, status, None)
                assert holder.process == (process if status == "attached" else None)
                volumes.complete(attachment)
            assert volumes.attachment(attachment.id).connection.items() >= attachment.connection.items()
        finally:
            volumes.detach(attachment)
        assert volumes.holders(volume.id) == ()
        with pytest.raises(ResourceNotFound):
            volumes.attachment(attachment.id)

    def test_a_busy_volume_is_attached_when_it_was_freed(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        holding = volumes.attach(volume.id, connector=connector, mode=AccessMode.READ)

        def free() -> bool:
            volumes.detach(holding)
            return True

        attachment = volumes.attach(volume.id, connector=connector, mode=AccessMode.READ, when_busy=free)
        assert [holder.id for holder in volumes.holders(volume.id)] == [attachment.id]
        volumes.detach(attachment)

    def test_the_only_attachment_shares_its_host_with_none(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        attachment = volumes.attach(volume.id, connector=connector, mode=AccessMode.READ)
        try:
            assert not volumes.shares_host(attachment, host=connector["host"])
        finally:
            volumes.detach(attachment)
        assert volume.multiattach is False

    def test_an_attachment_that_is_gone_can_be_detached_again_but_not_completed(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        attachment = volumes.attach(volume.id, connector=connector, mode=AccessMode.READ)
        volumes.detach(attachment)
        volumes.detach(attachment)
        with pytest.raises(ResourceNotFound):
            volumes.complete(attachment)

    def test_a_read_only_volume_is_attached_to_be_read_only(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        volumes.set_readonly(volume.id, readonly=True)
        with pytest.raises(InUse) as refused:
            volumes.attach(volume.id, connector=connector, mode=AccessMode.WRITE)
        assert not isinstance(refused.value, VolumeBusy)  # no waiting takes the mark away
        assert volumes.wait(volume.id).status == "available"
        volumes.detach(volumes.attach(volume.id, connector=connector, mode=AccessMode.READ))

    def test_an_attachment_does_not_show_what_it_connects_by(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        attachment = volumes.attach(new_volume().id, connector=connector, mode=AccessMode.READ)
        volumes.detach(attachment)
        assert "connection" not in repr(attachment)
