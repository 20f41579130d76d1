"""A volume that os-brick fails to disconnect: Cinder keeps the attachment as long as the host may have the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from os_brick.initiator.connector import InitiatorConnector
from os_brick.initiator.connectors.iscsi import ISCSIConnector
from oslo_concurrency import processutils

from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.brick_opening import open_device
from imagevol_adapters.cleanup import leftovers
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine.watching import bounded
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.testing.memory import MemoryVolumes
from imagevol_adapters.transfers import attached
from imagevol_adapters.waiting import wait_until
from imagevol_core import AttachFailed, DeviceFailed, DeviceStalled, ImagevolError
from tests.adapters.hanging import PATIENCE_SECONDS
from tests.adapters.unpatched import threading

SIZE_BYTES = 1 << 20
NO_LSSCSI = FileNotFoundError(2, "No such file or directory", "lsscsi")
LEFT = Attachment(id="a", volume_id="7", connection={"driver_volume_type": "iscsi"})
FAULTS = [
    OSError(5, "Input/output error"),
    processutils.ProcessExecutionError(exit_code=1, cmd="blockdev --flushbufs /dev/sdb"),
]


class Connector:
    """os-brick's, which fails to flush, and removes the device or does not."""

    def __init__(self, path: Path, fault: Exception | None, *, removes: bool = False, finds: bool = True) -> None:
        self.path = path
        self.fault = fault
        self.removes = removes
        self.finds = finds
        self.hangs: Any = None

    def connect_volume(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "block", "path": str(self.path)}

    def disconnect_volume(self, *_: Any, force: bool) -> None:
        assert force
        if self.hangs:
            assert self.hangs.wait(PATIENCE_SECONDS)
        if self.removes:
            self.path.unlink(missing_ok=True)
        if self.fault:
            raise self.fault

    def get_volume_paths(self, _: Mapping[str, Any]) -> list[str]:
        if not self.finds:
            raise ValueError("no target")
        return [str(self.path)]

    def extend_volume(self, _: Mapping[str, Any]) -> None:
        raise NO_LSSCSI


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(bytes(SIZE_BYTES))
    return path


@pytest.fixture
def host(tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make an attacher, with the os-brick that it uses."""
    become_privileged(tmp_path / "locks")

    def using(fault: Exception | None = None, *, stall_seconds: float = 60, **more: Any) -> tuple[BrickAttacher, Any]:
        connector = Connector(device, fault, **more)
        monkeypatch.setattr(InitiatorConnector, "factory", lambda *_, **__: connector)
        return BrickAttacher(root_helper="", stall_seconds=stall_seconds, size_seconds=0), connector

    return using


@pytest.fixture
def volumes() -> MemoryVolumes:
    return MemoryVolumes()


def error_of(volumes: MemoryVolumes, attacher: BrickAttacher) -> tuple[str, ImagevolError]:
    """Attach a new volume, whose disconnecting fails; give its ID and the error."""
    volume_id = volumes.wait(volumes.create(size_gib=1, name="volume").id).id
    with (
        pytest.raises(AttachFailed) as caught,
        attached(volume_id, mode=AccessMode.READ, volumes=volumes, attacher=attacher),
    ):
        pass
    return volume_id, caught.value


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("finds", [True, False])
def test_a_device_that_stays_keeps_its_attachment_and_both_are_named(
    host: Any, volumes: MemoryVolumes, device: Path, fault: Exception, finds: bool
) -> None:
    attacher, _ = host(fault, finds=finds)
    volume_id, error = error_of(volumes, attacher)
    (kept,) = volumes.attachments.values()
    assert attacher.is_left(kept)
    named = [left.split(" (")[0] for left in error.leftovers]
    assert named[0].startswith(f"device {device} on ")
    assert named[1:] == [f"attachment {kept.id} of volume {volume_id}"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_device_that_is_gone_keeps_no_attachment_whatever_failed(
    host: Any, volumes: MemoryVolumes, fault: Exception
) -> None:
    _, error = error_of(volumes, host(fault, removes=True)[0])
    assert not volumes.attachments
    assert error.leftovers == (), "nothing is left to look for"


def test_a_transfer_that_fails_does_not_name_a_device_that_is_gone(
    host: Any, volumes: MemoryVolumes, caplog: pytest.LogCaptureFixture
) -> None:
    volume_id = volumes.wait(volumes.create(size_gib=1, name="volume").id).id
    with (
        pytest.raises(DeviceFailed) as caught,
        attached(volume_id, mode=AccessMode.READ, volumes=volumes, attacher=host(FAULTS[0], removes=True)[0]),
    ):
        raise DeviceFailed("the target is gone")
    assert caught.value.leftovers == ()
    assert "Input/output error" in caplog.text


def test_an_interrupt_once_it_is_connected_does_not_name_a_device_that_is_gone(
    host: Any, volumes: MemoryVolumes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    volume_id = volumes.wait(volumes.create(size_gib=1, name="volume").id).id
    attacher, _ = host(FAULTS[0], removes=True)
    bounded = BrickAttacher._bounded

    def interrupted(self: BrickAttacher, work: Any, *, doing: str, **which: Any) -> None:
        bounded(self, work, doing=doing, **which)
        if doing == "connecting":
            raise KeyboardInterrupt

    monkeypatch.setattr(BrickAttacher, "_bounded", interrupted)
    with (
        pytest.raises(KeyboardInterrupt) as caught,
        attached(volume_id, mode=AccessMode.READ, volumes=volumes, attacher=attacher),
    ):
        pass
    assert (leftovers(caught.value), volumes.attachments) == ((), {})
    assert "Input/output error" in caplog.text


def test_an_interrupt_while_it_is_opened_does_not_wait_for_a_close_that_hangs(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, go = PathDevice.close, threading.Event()

    def interrupted(work: Any, *, doing: str, **more: Any) -> Any:
        done = bounded(work, doing=doing, **more)
        if doing == "opening":
            raise KeyboardInterrupt
        return done

    def hanging(opened: PathDevice) -> None:
        assert go.wait(PATIENCE_SECONDS), "it was waited for"
        close(opened)

    monkeypatch.setattr("imagevol_adapters.brick_opening.bounded", interrupted)
    monkeypatch.setattr(PathDevice, "close", hanging)
    with pytest.raises(KeyboardInterrupt) as caught, open_device(str(device), writable=False, name="7", seconds=0.05):
        pass
    go.set()
    (named,) = leftovers(caught.value)
    assert named.startswith(f"volume 7 at {device} (")
    assert "closing" in named


def test_an_attachment_is_kept_if_os_brick_cannot_say_whether_the_device_is_gone(
    host: Any, volumes: MemoryVolumes
) -> None:
    error_of(volumes, host(FAULTS[0], removes=True, finds=False)[0])
    assert len(volumes.attachments) == 1


def test_another_device_that_has_come_to_the_path_keeps_no_attachment(
    host: Any, volumes: MemoryVolumes, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacher, connector = host(FAULTS[0])

    def exchanged(*_: Any, **__: Any) -> None:
        device.rename(device.with_name("removed"))
        device.touch()
        raise FAULTS[0]

    monkeypatch.setattr(connector, "disconnect_volume", exchanged)
    monkeypatch.setattr(connector, "get_volume_paths", lambda _: [])
    error_of(volumes, attacher)
    assert not volumes.attachments


@pytest.fixture
def iscsi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk of a host whose os-brick finds no session, as if `iscsiadm` were missing."""
    become_privileged(tmp_path / "locks")
    disk = tmp_path / "ip-192.0.2.10:3260-iscsi-iqn.7-lun-1"
    disk.touch()
    monkeypatch.setattr(ISCSIConnector, "_get_iscsi_sessions_full", lambda _: [])
    monkeypatch.setattr(ISCSIConnector, "_get_iscsi_nodes", lambda _: [])
    monkeypatch.setattr(ISCSIConnector, "_get_device_path", lambda *_: [str(disk)])
    return disk


def test_a_disk_that_os_brick_overlooks_is_still_connected(iscsi: Path) -> None:
    connection = {
        "driver_volume_type": "iscsi",
        "target_portal": "192.0.2.10:3260",
        "target_iqn": "iqn.7",
        "target_lun": 1,
    }
    left, attacher = attrs.evolve(LEFT, connection=connection), BrickAttacher(root_helper="")
    with pytest.raises(AttachFailed, match=r"still has .*-iscsi-iqn\.7-lun-1"):
        attacher.disconnect(left)
    iscsi.unlink()
    attacher.disconnect(left)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_dead_process_left_is_not_taken_back_while_it_is_there(host: Any, fault: Exception) -> None:
    attacher, connector = host(fault)
    with pytest.raises(AttachFailed, match=r"volume 7 .* cannot be disconnected"):
        attacher.disconnect(LEFT)
    connector.removes = True
    attacher.disconnect(LEFT)


def test_taking_back_what_hangs_ends_at_the_deadline_and_can_be_tried_again(host: Any) -> None:
    attacher, connector = host(stall_seconds=0.05)
    hangs = connector.hangs = threading.Event()
    with pytest.raises(DeviceStalled, match="disconnecting"):
        attacher.disconnect(LEFT)
    with pytest.raises(AttachFailed, match="has not returned"):
        attacher.disconnect(LEFT)
    assert attacher.is_left(LEFT)
    hangs.set()
    wait_until(lambda: attacher.is_left(LEFT), lambda left: not left, what="it hangs", seconds=PATIENCE_SECONDS)
    attacher.disconnect(LEFT)


def test_a_device_that_does_not_grow_says_why_its_size_cannot_be_asked_for(host: Any) -> None:
    larger = Attachment(id="a", volume_id="7", connection={"driver_volume_type": "iscsi"}, size_bytes=2 * SIZE_BYTES)
    with (
        pytest.raises(DeviceFailed, match=f"has {SIZE_BYTES} bytes .*lsscsi"),
        host()[0].open(larger, mode=AccessMode.READ),
    ):
        pass
