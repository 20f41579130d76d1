"""What a killed procedure leaves is found, and deleted if its process is certainly dead."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.processes import origin, this_process
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import (
    delete_image_volume,
    delete_remains,
    reclaim,
    register_clone,
    register_image,
    store_image,
    unfinished_images,
    unfinished_volumes,
)
from imagevol_adapters.transfers.reclaiming import named
from imagevol_core import (
    AccessDenied,
    HolderState,
    Image,
    InUse,
    ProcessRecord,
    RemainsAction,
    RequestRefused,
    ServiceFailed,
    VolumeOrigin,
)
from tests.adapters.commands import Run

IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"


class Killed(BaseException):
    """The process ends here: nothing after it is done, in the tests by a service that is gone for good."""


class World:
    """A Cinder and a host in memory."""

    def __init__(self) -> None:
        self.volumes = MemoryVolumes(project_id="service")
        self.images = MemoryImages(volumes=self.volumes)
        self.attacher = MemoryAttacher(volumes=self.volumes)

    def left(self, process: ProcessRecord | None, *, attached: str | None = None, **metadata: str) -> str:
        """Let a process create a volume and vanish: before it is attached, or `reserved`, or `attached`."""
        made_by = VolumeOrigin(procedure="add", image_id=IMAGE_ID, host="node1", process=process)
        created = self.volumes.create(size_gib=1, name="image", metadata={**made_by.to_volume(), **metadata})
        volume_id = self.volumes.wait(created.id).id
        if attached:
            place = process.to_text("glance_store") if process else ""
            connector = {"host": "memory", "mountpoint": place}
            attachment = self.volumes.attach(volume_id, connector=connector, mode=AccessMode.WRITE)
            self.attacher.connected[attachment.id] = volume_id
            if attached == "attached":
                self.volumes.complete(attachment)
        return volume_id

    def delete_remains(self) -> None:
        delete_remains(volumes=self.volumes, attacher=self.attacher)

    def remove(self, volume_id: str) -> None:
        def free(volume_id: str) -> Any:
            return reclaim(volume_id, volumes=self.volumes, attacher=self.attacher)

        delete_image_volume(volume_id, volumes=self.volumes, images=self.images, free=free)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def here() -> ProcessRecord:
    record = this_process()
    assert record is not None
    return record


@pytest.fixture(scope="module")
def dead(here: ProcessRecord) -> ProcessRecord:
    """A process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    return replace(here, pid=ended.pid, started=here.started + 1)


class TestFirstMoment:
    """What a procedure creates says what it is, whatever the step at which the process is killed."""

    def killed_at(self, number: int, world: World) -> bool:
        """Whether the procedure was killed, or has fewer steps."""
        steps = Steps(fail_at=number, fault=Killed, lasting=True)
        try:
            store_image(
                [b"data"],
                image_id=IMAGE_ID,
                image_owner="p",
                size_bytes=4,
                volumes=steps.volumes(world.volumes),
                attacher=steps.attacher(world.attacher),
            )
        except Killed:
            return True
        return False

    def test_every_step_of_storing_leaves_a_volume_that_says_so(self, here: ProcessRecord) -> None:
        number, world, seen = 0, World(), 0
        while self.killed_at(number, world):
            for volume in world.volumes.volumes.values():
                made_by = VolumeOrigin.from_volume(volume.metadata)
                assert made_by is not None
                assert (made_by.procedure, made_by.image_id, made_by.process) == ("put", IMAGE_ID, here)
                finished = "image_id" in volume.metadata
                assert made_by.finished is finished
                assert [left.id for left, _ in unfinished_volumes(world.volumes)] == ([] if finished else [volume.id])
                seen += not finished
            number, world = number + 1, World()
        assert seen > 8
        assert list(unfinished_volumes(world.volumes)) == []

    def registering_killed_at(self, number: int, world: World) -> bool:
        """Whether the registration was killed, or has fewer steps."""
        steps = Steps(fail_at=number, fault=Killed, lasting=True)
        try:
            register_image(
                [b"data"],
                name="disk",
                size_bytes=4,
                images=steps.images(world.images),
                volumes=steps.volumes(world.volumes),
                attacher=steps.attacher(world.attacher),
            )
        except Killed:
            return True
        return False

    def test_every_step_of_registering_leaves_an_image_that_is_listed_or_has_its_data(self) -> None:
        number, world, seen = 0, World(), {"alone": 0, "with a volume": 0}
        while self.registering_killed_at(number, world):
            for image in world.images.images.values():
                listed = {each.image.id: each for each in unfinished_images(world.images, world.volumes)}
                assert set(listed) == ({image.id} if image.status == "queued" else set())
                if image.id in listed:
                    unfinished = listed[image.id]
                    finished = {each.id for each in world.volumes.with_metadata({"image_id": image.id})}
                    assert {unfinished.volume.id} if unfinished.volume else set() == finished
                    assert (unfinished.state, unfinished.origin.procedure) == (HolderState.ALIVE, "register")
                    seen["with a volume" if unfinished.volume else "alone"] += 1
            number, world = number + 1, World()
        assert all(seen.values())
        (image,) = world.images.images.values()
        assert (image.status, image.properties) == ("active", {})
        assert list(unfinished_images(world.images, world.volumes)) == []

    def test_an_image_is_registered_where_glance_takes_no_properties_of_ours(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = world.images.create

        def protected(*, attributes: ImageAttributes, **wishes: Any) -> Image:
            if set(attributes.properties) - {"os_distro"}:
                raise AccessDenied("Property 'imagevol_state' is protected")
            return create(attributes=attributes, **wishes)

        monkeypatch.setattr(MemoryImages, "create", lambda _, **wishes: protected(**wishes))
        attributes = ImageAttributes(properties={"os_distro": "debian"})
        ports: dict[str, Any] = {"images": world.images, "volumes": world.volumes, "attacher": world.attacher}
        image, _ = register_image([b"data"], name="disk", size_bytes=4, attributes=attributes, **ports)
        assert (image.status, image.properties) == ("active", {"os_distro": "debian"})

    def test_a_registered_clone_is_finished(self, world: World) -> None:
        volume = world.volumes.wait(world.volumes.create(size_gib=1, name="disk").id)
        image = world.images.create(name="of the disk", disk_format="raw")
        ports: dict[str, Any] = {"images": world.images, "volumes": world.volumes, "attacher": world.attacher}
        done = register_clone(volume.id, image_id=image.id, **ports)
        assert done.image_volume is not None
        made_by = VolumeOrigin.from_volume(world.volumes.get(done.image_volume.id).metadata)
        assert made_by == replace(origin("upload", image.id), finished=True)


class TestDeletion:
    @pytest.mark.parametrize("attached", [None, "reserved", "attached"])
    def test_what_a_dead_process_left_goes_with_its_attachment_and_device(
        self, world: World, dead: ProcessRecord, attached: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        volume_id = world.left(dead, attached=attached)
        with caplog.at_level(logging.WARNING):
            world.delete_remains()
        assert (world.volumes.volumes, world.volumes.attachments, world.attacher.connected) == ({}, {}, {})
        (line,) = [text for text in caplog.messages if text.startswith("Deleted")]
        assert line == (
            f"Deleted what a killed process left, volume {volume_id} (procedure add, image {IMAGE_ID}): its process "
            f"{dead.pid} on this host has ended"
        )

    def test_what_a_process_that_runs_is_making_stays(self, world: World, here: ProcessRecord) -> None:
        for attached in (None, "reserved", "attached"):
            world.left(here, attached=attached)
        world.left(replace(here, namespaces="1.2"))
        world.left(None)
        world.delete_remains()
        assert len(world.volumes.volumes) == 5
        assert len(world.volumes.attachments) == 2

    def test_a_volume_of_another_project_stays(self, world: World, dead: ProcessRecord) -> None:
        volume_id = world.left(dead)
        world.volumes._change(volume_id, project_id="a-users")
        world.delete_remains()
        assert volume_id in world.volumes.volumes

    def test_what_cannot_be_told_is_named_with_the_command(
        self, world: World, dead: ProcessRecord, caplog: pytest.LogCaptureFixture
    ) -> None:
        volume_id = world.left(dead, image_id=IMAGE_ID)
        world.delete_remains()
        assert volume_id in world.volumes.volumes
        (line,) = caplog.messages
        assert line.startswith(f"Left behind: volume {volume_id} ")
        assert line.endswith(f"; delete it with `imagevol rm {volume_id}`")

    def test_a_fault_at_any_step_is_logged_and_raises_nothing(
        self, dead: ProcessRecord, caplog: pytest.LogCaptureFixture
    ) -> None:
        counting, world = Steps(), World()
        world.left(dead, attached="attached")
        delete_remains(volumes=counting.volumes(world.volumes), attacher=counting.attacher(world.attacher))
        for number in range(len(counting.taken)):
            world, steps = World(), Steps(fail_at=number, fault=lambda: ServiceFailed("Cinder is away"))
            volume_id = world.left(dead, attached="attached")
            caplog.clear()
            delete_remains(volumes=steps.volumes(world.volumes), attacher=steps.attacher(world.attacher))
            if world.volumes.volumes:
                assert any("Cinder is away" in line for line in caplog.messages), counting.taken[number]
                assert counting.taken[number] == "volumes.with_metadata" or volume_id in caplog.text

    def test_what_another_process_deleted_meanwhile_is_no_error(
        self, world: World, dead: ProcessRecord, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volume = world.volumes.get(world.left(dead))
        world.volumes.delete(volume.id)
        monkeypatch.setattr(MemoryVolumes, "with_metadata", lambda *_: (volume,))
        world.delete_remains()
        assert not [record for record in caplog.records if "Left behind" in record.getMessage()]


class TestNamed:
    """An operator names a volume, by `imagevol rm`."""

    @pytest.mark.parametrize("attached", [None, "reserved", "attached"])
    def test_what_a_dead_process_left_is_deleted(self, world: World, dead: ProcessRecord, attached: str | None) -> None:
        world.remove(world.left(dead, attached=attached))
        assert (world.volumes.volumes, world.volumes.attachments, world.attacher.connected) == ({}, {}, {})

    def test_an_image_that_it_was_for_and_that_has_no_data_is_named(
        self, world: World, dead: ProcessRecord, caplog: pytest.LogCaptureFixture
    ) -> None:
        image = world.images.create(name="of the disk", disk_format="raw")
        world.remove(world.left(dead, imagevol_image=image.id))
        assert any(f"`openstack image delete {image.id}`" in line for line in caplog.messages)
        assert image.id in world.images.images

    def test_what_a_process_that_runs_is_making_is_refused(self, world: World, here: ProcessRecord) -> None:
        volume_id = world.left(here)
        with pytest.raises(InUse, match=rf"this process, {here.pid}, has it: wait until it has finished"):
            world.remove(volume_id)

    def test_what_cannot_be_told_is_refused_with_the_commands(self, world: World, here: ProcessRecord) -> None:
        volume_id = world.left(replace(here, namespaces="1.2"))
        with pytest.raises(InUse, match=f"if that process is gone, .*`openstack volume delete {volume_id}`"):
            world.remove(volume_id)

    def test_a_volume_with_other_data_is_refused(self, world: World) -> None:
        created = world.volumes.create(size_gib=1, name="disk", metadata={"imagevol_procedure": "put"})
        with pytest.raises(RequestRefused, match="holds no image"):
            world.remove(created.id)

    def test_the_refusal_of_an_attached_volume_names_what_has_it(self, world: World, here: ProcessRecord) -> None:
        volume_id = world.volumes.wait(world.volumes.create(size_gib=1, name="disk").id).id
        connector = {"host": "memory", "mountpoint": here.to_text()}
        world.volumes.complete(world.volumes.attach(volume_id, connector=connector, mode=AccessMode.READ))
        (attachment,) = world.volumes.holders(volume_id)
        with pytest.raises(InUse, match=rf"detach it, and then .*; attachment {attachment.id}: this process"):
            world.remove(volume_id)
        assert world.volumes.attachments

    def test_a_copy_in_cinders_image_cache_is_told_as_that(self, world: World) -> None:
        image = world.images.create(name="of the disk", disk_format="raw")
        created = world.volumes.create(size_gib=1, name="disk")
        world.volumes.base_images[created.id] = image.id
        world.volumes._change(created.id, readonly=True, source_volume_id="0c1d", status="available")
        with pytest.raises(RequestRefused, match=rf"of image {image.id}, .*`openstack volume delete {created.id}`"):
            world.remove(created.id)

    def test_the_list_says_whose_it_is(self, world: World, dead: ProcessRecord, here: ProcessRecord) -> None:
        volume_ids = {world.left(dead): HolderState.DEAD, world.left(here): HolderState.ALIVE}
        world.volumes.wait(world.volumes.create(size_gib=1, name="disk").id)
        assert {volume.id: decision.state for volume, decision in unfinished_volumes(world.volumes)} == volume_ids

    def test_the_command_that_lists_has_status_3_if_a_process_is_dead(
        self, world: World, dead: ProcessRecord, here: ProcessRecord, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Imagevol, "volumes", world.volumes)
        monkeypatch.setattr(Imagevol, "images", world.images)
        assert run("unfinished").status == 0
        alive = world.left(here)
        listed = run("unfinished", "-f", "json")
        assert (listed.status, [row["volume_id"] for row in listed.json]) == (0, [alive])
        world.left(dead)
        assert run("unfinished").status == 3

    @pytest.mark.parametrize("key", ["imagevol_procedure", "imagevol_host", "imagevol_process", "imagevol_image"])
    def test_what_users_write_into_metadata_reaches_no_terminal_raw(
        self, world: World, run: Run, monkeypatch: pytest.MonkeyPatch, key: str
    ) -> None:
        monkeypatch.setattr(Imagevol, "volumes", world.volumes)
        monkeypatch.setattr(Imagevol, "images", world.images)
        metadata = {"imagevol_state": "unfinished", "imagevol_procedure": "put", key: "\x1b[31m\u202e"}
        world.volumes.wait(world.volumes.create(size_gib=1, name="x", metadata=metadata).id)
        for kind in ("table", "csv", "value"):
            ran = run("unfinished", "-f", kind)
            assert not {"\x1b", "\u202e"}.intersection(ran.out + ran.err)
        assert len(run("unfinished", "-f", "json").json) == 1

    @pytest.mark.parametrize("stored", [False, True])
    def test_the_command_lists_an_image_that_a_dead_process_left_and_says_how_it_is_deleted(
        self, world: World, dead: ProcessRecord, run: Run, monkeypatch: pytest.MonkeyPatch, stored: bool
    ) -> None:
        monkeypatch.setattr(Imagevol, "volumes", world.volumes)
        monkeypatch.setattr(Imagevol, "images", world.images)
        properties = VolumeOrigin(procedure="register", host="node1", process=dead).to_volume()
        image = world.images.create(name="disk", disk_format="raw", attributes=ImageAttributes(properties=properties))
        volume_id = None
        if stored:
            metadata = {"image_id": image.id, "image_owner": "service", "image_size": "4"}
            volume_id = world.volumes.wait(world.volumes.create(size_gib=1, name="image", metadata=metadata).id).id
        listed = run("unfinished", "-f", "json")
        (row,) = listed.json
        told = ("volume_id", "procedure", "host", "process", "image_id", "image_status")
        assert [row[key] for key in told] == [volume_id, "register", "node1", "dead", image.id, "queued"]
        assert listed.status == 3
        assert f"`openstack image delete {image.id}`" in row["reason"]
        assert (f"`imagevol rm {volume_id}`" in row["reason"]) is stored
        world.images.delete(image.id)
        if volume_id:
            world.remove(volume_id)
        assert (run("unfinished").status, world.volumes.volumes) == (0, {})

    def test_an_image_is_listed_once_with_its_volume(
        self, world: World, dead: ProcessRecord, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Imagevol, "volumes", world.volumes)
        monkeypatch.setattr(Imagevol, "images", world.images)
        properties = VolumeOrigin(procedure="register", process=dead).to_volume()
        image = world.images.create(name="disk", disk_format="raw", attributes=ImageAttributes(properties=properties))
        volume_id = world.left(dead, imagevol_image=image.id)
        assert [row["volume_id"] for row in run("unfinished", "-f", "json").json] == [volume_id]

    @pytest.mark.parametrize("procedure", ["upload", "warm"])
    def test_the_list_calls_no_clone_the_remains_of_the_process_that_its_copied_metadata_name(
        self, world: World, dead: ProcessRecord, procedure: str
    ) -> None:
        volume_id = world.left(dead)
        metadata = {**world.volumes.get(volume_id).metadata, "imagevol_procedure": procedure}
        world.volumes._change(volume_id, source_volume_id="0c1d", metadata=metadata)
        ((_, decision),) = unfinished_volumes(world.volumes)
        assert decision.action is not RemainsAction.DELETE
        assert "cloned from volume 0c1d" in decision.reason


def test_an_attachment_is_named_as_its_volume_is(here: ProcessRecord) -> None:
    """So that both are known as one process's."""
    made_by = VolumeOrigin.from_volume(origin("put", IMAGE_ID).to_volume())
    assert made_by is not None
    assert ProcessRecord.from_text(named({"mountpoint": "x"})["mountpoint"]) == made_by.process == here
