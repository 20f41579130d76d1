"""A volume that a dead process has left attached is taken back; one that anything else has is not, and is named."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import attrs
import pytest

from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.processes import running, this_process
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_adapters.transfers import attached, delete_image_volume
from imagevol_adapters.transfers.reclaiming import named, reclaim
from imagevol_core import (
    AttachFailed,
    AttachmentFacts,
    ImagevolError,
    InUse,
    ProcessRecord,
    ServiceFailed,
    Volume,
    VolumeBusy,
)

IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
COMMAND = "volume attachment delete"


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


@pytest.fixture
def alive(here: ProcessRecord) -> Iterator[ProcessRecord]:
    """Another process that runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        started = running(other.pid).started
        assert started is not None
        yield replace(here, pid=other.pid, started=started)
        other.kill()


@attrs.define
class Recording(MemoryAttacher):
    """A host in memory that says what it disconnected, and fails where it is told to."""

    calls: list[str] = attrs.field(factory=list, init=False)
    fault: ImagevolError | None = attrs.field(default=None, init=False)
    lock: Callable[[], AbstractContextManager[object]] = attrs.field(default=nullcontext, init=False)

    def disconnect(self, attachment: Attachment) -> None:
        assert attachment.id in self.volumes.attachments, "Cinder must not forget it before it is disconnected"
        if self.fault:
            raise self.fault
        self.calls.append(attachment.id)
        super().disconnect(attachment)

    def is_left(self, attachment: Attachment) -> bool:
        return False

    def leaving(self, volume_id: str) -> AbstractContextManager[object]:
        return self.lock()


def know(monkeypatch: pytest.MonkeyPatch, process: ProcessRecord) -> None:
    """Let this host know whose an attachment is that is not complete."""
    real = MemoryVolumes.holders

    def holders(volumes: MemoryVolumes, volume_id: str) -> tuple[AttachmentFacts, ...]:
        found = real(volumes, volume_id)
        return tuple(replace(facts, device=facts.device or process.to_text()) for facts in found)

    monkeypatch.setattr(MemoryVolumes, "holders", holders)


class World:
    """A volume with an image in it, and a host."""

    def __init__(self) -> None:
        self.volumes = MemoryVolumes()
        self.attacher = Recording(volumes=self.volumes)
        self.volume_id = self.volumes.wait(self.volumes.create(size_gib=1, name="image").id).id
        self.volumes.set_metadata(self.volume_id, {"image_id": IMAGE_ID})

    @property
    def ports(self) -> dict[str, Any]:
        return {"volumes": self.volumes, "attacher": self.attacher}

    def left(self, process: ProcessRecord | None, *, label: str = "glance_store", complete: bool = True) -> str:
        """Let a process attach the volume and vanish."""
        place = label if process is None else process.to_text(label)
        connector = {"host": "memory", "mountpoint": place}
        attachment = self.volumes.attach(self.volume_id, connector=connector, mode=AccessMode.READ)
        if complete:
            self.volumes.complete(attachment)
        self.attacher.connected[attachment.id] = self.volume_id
        return attachment.id

    def attached(self, **other: Any) -> AbstractContextManager[Device]:
        return attached(self.volume_id, mode=AccessMode.READ, **{**self.ports, **other})

    def assert_attached_in_vain(self, *said: str) -> VolumeBusy:
        with pytest.raises(VolumeBusy) as caught, self.attached():
            pass
        for each in said:
            assert each in str(caught.value)
        assert self.attacher.calls == []
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


class TestAttaching:
    def test_a_volume_of_a_dead_process_is_taken_back_and_attached(
        self, world: World, dead: ProcessRecord, caplog: pytest.LogCaptureFixture
    ) -> None:
        old = world.left(dead)
        with caplog.at_level(logging.WARNING), world.attached() as device:
            assert device.size_bytes
            assert old not in world.volumes.attachments
            assert world.attacher.calls == [old]
        assert [record.getMessage() for record in caplog.records] == [
            f"Volume {world.volume_id}: attachment {old} was taken back: its process {dead.pid} on this host has ended"
        ]
        assert world.volumes.get(world.volume_id).status == "available"
        assert not world.attacher.connected

    def test_a_volume_from_before_a_restart_of_the_host_is_taken_back(self, world: World, here: ProcessRecord) -> None:
        if here.host is None:
            pytest.skip("this host has no network card by which it is known after a restart")
        world.left(replace(here, boot_id="00000000-0000-4000-8000-000000000000"))
        with world.attached():
            pass

    def test_what_a_process_that_runs_has_is_left_and_named(self, world: World, alive: ProcessRecord) -> None:
        old = world.left(alive)
        busy = world.assert_attached_in_vain(f"attachment {old}: process {alive.pid} on this host has it")
        assert COMMAND not in str(busy)
        assert old in world.volumes.attachments

    def test_an_attachment_of_this_process_is_left(self, world: World) -> None:
        with world.attached():
            world.assert_attached_in_vain(f"this process, {os.getpid()}, has it")

    @pytest.mark.parametrize("change", [{"namespaces": "1.2"}, {"boot_id": "0" * 36, "host": "0" * 16}])
    def test_what_a_process_has_that_cannot_be_looked_for_here_is_left_with_the_command_that_frees_it(
        self, world: World, dead: ProcessRecord, change: dict[str, str]
    ) -> None:
        old = world.left(replace(dead, **change))  # type: ignore[arg-type]
        world.assert_attached_in_vain(f"{COMMAND} {old}")
        assert old in world.volumes.attachments

    @pytest.mark.parametrize("label", ["glance_store", "/dev/vdb", "", "na"])
    def test_what_another_program_has_is_left_with_the_command_that_frees_it(self, world: World, label: str) -> None:
        old = world.left(None, label=label)
        world.assert_attached_in_vain(f"{COMMAND} {old}")
        assert old in world.volumes.attachments

    def test_what_is_not_attached_yet_is_left(self, world: World, dead: ProcessRecord) -> None:
        """Cinder does not show whose it is."""
        old = world.left(dead, complete=False)
        world.assert_attached_in_vain(f"{COMMAND} {old}", "status attaching")

    def test_what_is_not_attached_yet_is_taken_back_on_the_host_that_knows_its_process(
        self, world: World, dead: ProcessRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = world.left(dead, complete=False)
        know(monkeypatch, dead)
        with world.attached():
            assert world.attacher.calls == [old]
        assert world.volumes.attachments == {}

    def test_what_is_only_reserved_was_never_connected(
        self, world: World, dead: ProcessRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.volumes.reserve(world.volume_id, mode=AccessMode.READ)
        world.attacher.fault = AttachFailed("os-brick knows no connector for it")
        know(monkeypatch, dead)
        with world.attached():
            pass
        assert world.attacher.calls == []
        assert world.volumes.attachments == {}

    def test_an_instance_keeps_its_attachment_whatever_it_says(
        self, world: World, dead: ProcessRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = world.left(dead)
        real = world.volumes.holders

        def of_an_instance(_: object, volume_id: str) -> tuple[AttachmentFacts, ...]:
            return tuple(replace(facts, instance_id="d2f7") for facts in real(volume_id))

        monkeypatch.setattr(MemoryVolumes, "holders", of_an_instance)
        busy = world.assert_attached_in_vain(f"attachment {old}: it is of instance d2f7")
        assert COMMAND not in str(busy)
        assert old in world.volumes.attachments

    def test_what_cannot_be_disconnected_stays_and_is_named(self, world: World, dead: ProcessRecord) -> None:
        """Once Cinder had forgotten it, its device could come to be another volume."""
        old = world.left(dead)
        world.attacher.fault = AttachFailed("the device is stuck")
        world.assert_attached_in_vain(old, "cannot be taken back: the device is stuck")
        assert old in world.volumes.attachments

    def test_what_another_took_back_meanwhile_is_not_disconnected_again(
        self, world: World, dead: ProcessRecord, alive: ProcessRecord
    ) -> None:
        """The device may be that of its own attachment by then."""
        old = world.left(dead)

        @contextmanager
        def taken_by_another() -> Iterator[None]:
            world.volumes.detach(world.volumes.attachments[old])
            world.left(alive)
            yield

        world.attacher.lock = taken_by_another
        world.assert_attached_in_vain(f"process {alive.pid} on this host has it")

    def test_a_host_without_locks_takes_nothing_back_and_says_why(self, world: World, dead: ProcessRecord) -> None:
        old = world.left(dead)

        def no_lock() -> AbstractContextManager[object]:
            raise AttachFailed("set lock_path")

        world.attacher.lock = no_lock
        world.assert_attached_in_vain("cannot be found out or taken back: set lock_path")
        assert old in world.volumes.attachments

    def test_a_fault_at_any_step_leaves_no_volume_that_cannot_be_attached_again(self, dead: ProcessRecord) -> None:
        def ends(world: World, steps: Steps) -> None:
            ports = {"volumes": steps.volumes(world.volumes), "attacher": steps.attacher(world.attacher)}
            with world.attached(**ports):
                pass

        counting, world = Steps(), World()
        world.left(dead)
        ends(world, counting)
        assert {"volumes.holders", "attacher.disconnect", "volumes.detach"} <= set(counting.taken)
        for number in range(len(counting.taken)):
            world = World()
            world.left(dead)
            with pytest.raises(ImagevolError):
                ends(world, Steps(fail_at=number))
            ours = [each for each in world.volumes.holders(world.volume_id) if each.process == this_process()]
            for each in ours:  # named in the error, as it could not be detached
                world.volumes.detach(world.volumes.attachment(each.id))
            with world.attached():
                pass


@attrs.define
class Multiattach(MemoryVolumes):
    """A Cinder whose volumes may be attached several times."""

    hosts: dict[str, str | None] = attrs.field(factory=dict, init=False)

    def get(self, volume_id: str) -> Volume:
        return replace(super().get(volume_id), multiattach=True)

    def attach(self, volume_id: str, **options: Any) -> Attachment:
        self._change(volume_id, status="available")
        attachment = super().attach(volume_id, **options)
        self._change(volume_id, status="in-use")
        return attachment

    def detach(self, attachment: Attachment) -> None:
        super().detach(attachment)
        if any(each.volume_id == attachment.volume_id for each in self.attachments.values()):
            self._change(attachment.volume_id, status="in-use")

    def shares_host(self, attachment: Attachment, *, host: str) -> bool:
        return any(each.id != attachment.id and each.host == host for each in self.holders(attachment.volume_id))


class TestSeveralAttachments:
    """Attachments of one volume to one host share their device."""

    @pytest.fixture
    def world(self) -> World:
        world = World()
        world.volumes = Multiattach()
        world.attacher = Recording(volumes=world.volumes)
        world.volume_id = world.volumes.wait(world.volumes.create(size_gib=1, name="image").id).id
        world.volumes.set_metadata(world.volume_id, {"image_id": IMAGE_ID})
        return world

    def test_the_last_reader_disconnects_though_a_dead_process_shared_it(
        self, world: World, dead: ProcessRecord
    ) -> None:
        world.left(dead)
        kept: list[bool] = []
        real = world.attacher.open

        @contextmanager
        def opened(
            attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
        ) -> Iterator[Device]:
            with real(attachment, mode=mode) as device:
                yield device
            assert keep is not None
            kept.append(keep())

        watched: Any = _Forwarding(world.attacher, open=opened)
        with world.attached(attacher=watched, multiattach=True):
            assert len(world.volumes.attachments) == 2
        assert kept == [False]
        assert not world.volumes.attachments
        assert world.attacher.calls == []  # it is the reader's own device

    def test_a_dead_one_is_not_disconnected_while_another_may_use_its_device(
        self, world: World, dead: ProcessRecord, alive: ProcessRecord
    ) -> None:
        old, other = world.left(dead), world.left(alive)
        found = reclaim(world.volume_id, **world.ports)
        assert found.attachment_ids == (old,)
        assert other in found.holders[0]
        assert world.attacher.calls == []
        assert list(world.volumes.attachments) == [other]

    def test_the_last_of_several_dead_attachments_is_disconnected(self, world: World, dead: ProcessRecord) -> None:
        old = [world.left(replace(dead, started=dead.started + number)) for number in range(3)]
        assert reclaim(world.volume_id, **world.ports).attachment_ids == tuple(old)
        assert world.attacher.calls == old[-1:]


@attrs.frozen
class _Forwarding:
    """A port with something else in the place of one method."""

    port: Any
    open: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


class Images:
    """A Glance without the image."""

    sees_all = True

    def get(self, image_id: str) -> Any:
        from imagevol_core import ResourceNotFound  # noqa: PLC0415

        raise ResourceNotFound("image", image_id)


class TestDeleting:
    def delete(self, world: World) -> None:
        images: Any = Images()
        free = partial(reclaim, **world.ports)
        delete_image_volume(world.volume_id, volumes=world.volumes, images=images, free=free)

    def test_a_volume_of_a_dead_process_is_deleted(self, world: World, dead: ProcessRecord) -> None:
        world.left(dead)
        self.delete(world)
        assert not world.volumes.volumes
        assert not world.attacher.connected

    def test_a_volume_that_is_in_use_stays_and_what_has_it_is_named(self, world: World, alive: ProcessRecord) -> None:
        old = world.left(alive)
        with pytest.raises(InUse, match=f"attachment {old}: process {alive.pid} on this host has it"):
            self.delete(world)
        assert world.volume_id in world.volumes.volumes

    def test_a_holder_that_is_not_known_is_reported(
        self, world: World, dead: ProcessRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(*_: object) -> Any:
            raise ServiceFailed("Cinder is away")

        world.left(dead)
        monkeypatch.setattr(MemoryVolumes, "holders", unknown)
        with pytest.raises(InUse, match="is attached; what has it cannot be found out or taken back: Cinder is away"):
            self.delete(world)

    def test_an_error_that_no_attachment_explains_stays_as_it_is(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refusal = InUse("it has snapshots")

        def refuse(*_: object, **__: object) -> None:
            raise refusal

        monkeypatch.setattr(MemoryVolumes, "delete", refuse)
        with pytest.raises(InUse) as caught:
            self.delete(world)
        assert caught.value is refusal


class TestRecord:
    def test_an_attachment_names_its_process_and_who_it_is_for(self, world: World) -> None:
        with world.attached():
            (facts,) = world.volumes.holders(world.volume_id)
        assert facts.process == this_process()

    def test_a_label_stays_and_a_connector_is_not_altered(self, here: ProcessRecord) -> None:
        connector: Mapping[str, Any] = {"host": "h", "mountpoint": "glance_store"}
        told = named(connector)
        assert told == {"host": "h", "mountpoint": here.to_text("glance_store")}
        assert connector == {"host": "h", "mountpoint": "glance_store"}

    def test_a_host_that_does_not_tell_attaches_without_a_record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("imagevol_adapters.transfers.reclaiming.this_process", lambda: None)
        connector = {"host": "h"}
        assert named(connector) == connector
        world = World()
        with world.attached():
            (facts,) = world.volumes.holders(world.volume_id)
            assert facts.process is None
