"""What a `VolumeHolder` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import pytest

from imagevol_adapters.ports import AccessMode, Attachment, VolumeService
from imagevol_adapters.relocating import VolumeHolder
from imagevol_adapters.testing.conformance.fixtures import NAME, NOBODY, NewVolume, WithVolumes
from imagevol_core import InUse, NotFound, ResourceNotFound, VolumeBusy, VolumeFailed

__all__ = ["HeldVolumes", "VolumeHolderConformance"]

_ODD = ("no-id-at-all", "..", "", "'", f"{NOBODY}?x=1", f"{NOBODY}/metadata")


class HeldVolumes(VolumeService, VolumeHolder, Protocol):
    """A `VolumeHolder` that can also make the volumes of the tests."""


class VolumeHolderConformance(WithVolumes):
    """A `VolumeHolder` that is a `VolumeService` too.

    Attributes:
        volume_types: two that there are.
        too_large_gib: a size that the service takes, and that the backend then has no room for.

    An example::

        class TestMyHolder(VolumeHolderConformance):
            volume_types = ("thin", "thick")

            @pytest.fixture
            def volumes(self) -> HeldVolumes:
                return MyVolumes()
    """

    volume_types: ClassVar[tuple[str, str]]
    too_large_gib: ClassVar[int] = 10_000

    @pytest.fixture
    def volumes(self) -> HeldVolumes:
        raise NotImplementedError("override this fixture")

    def test_each_volume_that_is_asked_about_has_an_answer(self, volumes: HeldVolumes, new_volume: NewVolume) -> None:
        first, second = (new_volume(volume_type=name).id for name in self.volume_types)
        answers = volumes.types_of([first, NOBODY, second, first])
        assert answers == {first: self.volume_types[0], NOBODY: NotFound(), second: self.volume_types[1]}
        assert volumes.types_of([second]) == {second: self.volume_types[1]}
        assert volumes.types_of([]) == {}

    def test_a_text_that_cannot_be_the_id_of_a_volume_is_not_found(
        self, volumes: HeldVolumes, new_volume: NewVolume
    ) -> None:
        volume_id = new_volume(volume_type=self.volume_types[0]).id
        odd = [*_ODD, f"{volume_id}?x=1", f"{volume_id}/"]
        assert volumes.types_of([*odd, volume_id]) == {
            **dict.fromkeys(odd, NotFound()),
            volume_id: self.volume_types[0],
        }
        assert volumes.find(odd) == ()

    def test_the_volumes_that_exist_are_found_in_the_order_asked_for(
        self, volumes: HeldVolumes, new_volume: NewVolume
    ) -> None:
        first, second = new_volume(), new_volume()
        assert volumes.find([second.id, NOBODY, first.id]) == (second, first)
        assert volumes.find([]) == ()

    def test_metadata_is_taken_away_and_the_rest_stays(self, volumes: HeldVolumes, new_volume: NewVolume) -> None:
        volume = new_volume(metadata={"one": "1", "two": "2", "three": "3"})
        volumes.unset_metadata(volume.id, ["one", "three", "never there"])
        assert volumes.get(volume.id).metadata == {"two": "2"}
        volumes.unset_metadata(volume.id, ["one"])
        volumes.unset_metadata(volume.id, [])
        assert volumes.get(volume.id).metadata == {"two": "2"}

    def test_a_volume_that_does_not_exist_is_not_found(self, volumes: HeldVolumes) -> None:
        for ask in (
            lambda: volumes.set_metadata(NOBODY, {"key": "value"}),
            lambda: volumes.unset_metadata(NOBODY, ["key"]),
            lambda: volumes.reserve(NOBODY, mode=AccessMode.READ),
        ):
            with pytest.raises(ResourceNotFound):
                ask()
        assert volumes.reservations(NOBODY) == ()

    @pytest.mark.parametrize("mode", AccessMode)
    def test_a_reserved_volume_is_neither_deleted_nor_attached(
        self, volumes: HeldVolumes, new_volume: NewVolume, connector: Mapping[str, Any], mode: AccessMode
    ) -> None:
        volume = new_volume()
        reservation = volumes.reserve(volume.id, mode=mode)
        try:
            assert (reservation.volume_id, reservation.connection) == (volume.id, {})
            assert volumes.get(volume.id).status == "reserved"
            with pytest.raises(InUse):
                volumes.delete(volume.id)
            with pytest.raises(VolumeBusy) as busy:
                volumes.attach(volume.id, connector=connector, mode=mode)
            assert (busy.value.volume_id, busy.value.status) == (volume.id, "reserved")
            with pytest.raises(VolumeBusy):
                volumes.reserve(volume.id, mode=mode)
            with pytest.raises(InUse):
                volumes.extend(volume.id, size_gib=2)
            assert [each.id for each in volumes.reservations(volume.id)] == [reservation.id]
        finally:
            volumes.detach(reservation)
        assert volumes.wait(volume.id).status == "available"
        assert volumes.reservations(volume.id) == ()

    def test_the_metadata_of_a_reserved_volume_can_be_changed(
        self, volumes: HeldVolumes, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        reservation = volumes.reserve(volume.id, mode=AccessMode.READ)
        try:
            volumes.set_metadata(volume.id, {"one": "1", "two": "2"})
            volumes.unset_metadata(volume.id, ["one"])
            assert volumes.get(volume.id).metadata == {"two": "2"}
        finally:
            volumes.detach(reservation)

    def test_a_reservation_is_given_back_by_its_id_alone_and_more_than_once(
        self, volumes: HeldVolumes, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        written_down = volumes.reserve(volume.id, mode=AccessMode.READ).id
        reservation = Attachment(id=written_down, volume_id=volume.id, connection={})
        volumes.detach(reservation)
        volumes.detach(reservation)
        attachment = volumes.attach(volume.id, connector=connector, mode=AccessMode.READ)
        volumes.detach(reservation)
        assert volumes.get(volume.id).status == "attaching"
        volumes.detach(attachment)
        assert volumes.wait(volume.id).status == "available"

    def test_an_attachment_is_no_reservation_and_keeps_one_from_being_made(
        self, volumes: HeldVolumes, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume, other = new_volume(), new_volume()
        attachment = volumes.attach(volume.id, connector=connector, mode=AccessMode.READ)
        reservation = volumes.reserve(other.id, mode=AccessMode.READ)
        try:
            for status in ("attaching", "in-use"):
                assert volumes.reservations(volume.id) == ()
                with pytest.raises(VolumeBusy) as busy:
                    volumes.reserve(volume.id, mode=AccessMode.READ)
                assert busy.value.status == status
                volumes.complete(attachment)
            assert [each.id for each in volumes.reservations(other.id)] == [reservation.id]
        finally:
            volumes.detach(attachment)
            volumes.detach(reservation)

    def test_a_reservation_is_among_the_holders_of_its_volume(
        self, volumes: HeldVolumes, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        reservation = volumes.reserve(volume.id, mode=AccessMode.READ)
        try:
            (holder,) = volumes.holders(volume.id)
            assert (holder.id, holder.status, holder.instance_id) == (reservation.id, "reserved", None)
            assert (holder.volume_id, holder.host, holder.device) == (volume.id, None, None)
        finally:
            volumes.detach(reservation)

    def test_a_volume_that_has_failed_is_not_reserved_however_long_it_is_asked_for(self, volumes: HeldVolumes) -> None:
        created = volumes.create(size_gib=self.too_large_gib, name=NAME)
        try:
            with pytest.raises(VolumeFailed):
                volumes.wait(created.id)
            with pytest.raises(InUse) as refused:
                volumes.reserve(created.id, mode=AccessMode.READ)
            assert not isinstance(refused.value, VolumeBusy)
        finally:
            volumes.delete(created.id)

    def test_a_read_only_volume_is_reserved_as_any_other(self, volumes: HeldVolumes, new_volume: NewVolume) -> None:
        volume = new_volume()
        volumes.set_readonly(volume.id, readonly=True)
        for mode in AccessMode:
            volumes.detach(volumes.reserve(volume.id, mode=mode))
            assert volumes.wait(volume.id).status == "available"
