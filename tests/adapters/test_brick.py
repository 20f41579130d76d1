"""os-brick on this machine: plain files, a loop device where there can be one, and a wrapper as Ceph's."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from os_brick import exception as brick_errors
from os_brick.initiator.connector import InitiatorConnector
from oslo_concurrency import lockutils, processutils

from imagevol_adapters import attaching_records, brick
from imagevol_adapters.addresses import own_address
from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.devices.ceph import connection_with_deadline
from imagevol_adapters.engine import read_device, write_stream
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_core import AttachFailed, DeviceFailed, DeviceStalled, ServiceUnreachable, ZeroHandling
from tests.adapters.conftest import Clock
from tests.adapters.rbd_like import RbdError, RbdLike
from tests.adapters.reading import read

linuxrbd = import_module("os_brick.initiator.linuxrbd")  # of which there are no stubs

SIZE_BYTES = 1 << 20
SECRET = "auth-password-of-a-target"


def attachment(path: Path | str, *, size_bytes: int | None = None, **more: Any) -> Attachment:
    """What Cinder tells of a volume of os-brick's LOCAL protocol."""
    connection = {"driver_volume_type": "local", "device_path": str(path), "auth_password": SECRET, **more}
    return Attachment(id="a", volume_id="7", connection=connection, size_bytes=size_bytes)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.write_bytes(bytes(SIZE_BYTES))
    return path


@pytest.fixture
def attacher(tmp_path: Path) -> BrickAttacher:
    become_privileged(tmp_path / "locks")
    return BrickAttacher()


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: a loop device needs it")
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices on this machine")


@pytest.fixture
def loop_device(root: None, volume: Path) -> Iterator[Path]:
    command = ["losetup", "--find", "--show", str(volume)]
    path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(path)
    finally:
        subprocess.run(["losetup", "--detach", path], check=True)


def open_files() -> dict[str, str]:
    """What this process has open."""
    # The descriptor of the listing itself is gone when it is looked at.
    return {fd.name: str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}


class TestPaths:
    def test_what_is_written_is_in_the_file_and_nothing_stays_open(self, attacher: BrickAttacher, volume: Path) -> None:
        before = open_files()
        with attacher.open(attachment(volume), mode=AccessMode.WRITE) as device:
            assert device.size_bytes == SIZE_BYTES
            report = write_stream([b"by", b"tes"], device, size_bytes=5)
            assert read(device, 0, 9) == b"bytes" + bytes(4)
        assert report.size_bytes == 5
        assert open_files() == before
        assert volume.read_bytes() == b"bytes" + bytes(SIZE_BYTES - 5)

    def test_a_device_opened_to_be_read_refuses_to_write(self, attacher: BrickAttacher, volume: Path) -> None:
        with (
            attacher.open(attachment(volume), mode=AccessMode.READ) as device,
            pytest.raises(DeviceFailed, match=r"^volume 7 at .*: writing at byte 3 failed"),
        ):
            device.write(3, memoryview(b"bytes"))
        assert volume.read_bytes() == bytes(SIZE_BYTES)

    def test_opening_never_shortens_what_is_there(self, attacher: BrickAttacher, volume: Path) -> None:
        for mode in AccessMode:
            with attacher.open(attachment(volume), mode=mode):
                pass
        assert volume.stat().st_size == SIZE_BYTES

    def test_a_loop_device_is_a_device(self, attacher: BrickAttacher, loop_device: Path) -> None:
        with attacher.open(attachment(loop_device), mode=AccessMode.WRITE) as device:
            assert device.size_bytes == SIZE_BYTES
            write_stream([b"x" * SIZE_BYTES], device, size_bytes=SIZE_BYTES)
            with pytest.raises(
                DeviceFailed, match=f"writing at byte {SIZE_BYTES} failed: .*{os.strerror(errno.ENOSPC)}"
            ):
                device.write(SIZE_BYTES, memoryview(b"y"))
        with attacher.open(attachment(loop_device), mode=AccessMode.READ) as device:
            assert b"".join(read_device(device, length=SIZE_BYTES)) == b"x" * SIZE_BYTES
            with pytest.raises(DeviceFailed, match="ends at byte"):
                b"".join(read_device(device, length=SIZE_BYTES + 1))


class Growing:
    """Looks at a size that is old for the first of them, as of a device that was just extended or connected."""

    def __init__(self, *, old_looks: int, path: Path) -> None:
        self.old_looks = old_looks
        self.path = path

    def look(self, *_: object) -> None:
        self.old_looks -= 1
        if self.old_looks == 0:
            os.truncate(self.path, 2 * SIZE_BYTES)


class Connector:
    """os-brick's, as far as it is used, and failing where it is told to."""

    def __init__(
        self,
        path: object,
        *,
        connect: Exception | None = None,
        disconnect: Exception | None = None,
        extend: Exception | None = None,
        growing: Growing | None = None,
    ) -> None:
        self.path = path
        self.faults = {"connect": connect, "disconnect": disconnect, "extend": extend}
        self.growing = growing
        self.calls: list[str] = []

    def connect_volume(self, connection: Mapping[str, Any]) -> dict[str, Any]:
        self._call("connect")
        return {"type": "block", "path": self.path}

    def disconnect_volume(self, connection: Mapping[str, Any], info: Mapping[str, Any], *, force: bool) -> None:
        assert force
        assert info["path"] is self.path
        self._call("disconnect")

    def extend_volume(self, connection: Mapping[str, Any]) -> None:
        if self.growing:
            self.growing.look()
        self._call("extend")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if fault := self.faults[name]:
            raise fault


@pytest.fixture
def using(monkeypatch: pytest.MonkeyPatch) -> Callable[[Connector], BrickAttacher]:
    """An attacher whose os-brick is this connector."""

    def use(connector: Connector) -> BrickAttacher:
        monkeypatch.setattr(InitiatorConnector, "factory", lambda *_, **__: connector)
        return BrickAttacher()

    return use


Using = Callable[[Connector], BrickAttacher]
BRICK_FAULTS = [
    brick_errors.VolumeDeviceNotFound("no device /dev/sdz"),
    brick_errors.BrickException("the target\ndoes not answer"),
    processutils.ProcessExecutionError(exit_code=5, cmd=f"iscsiadm -v {SECRET}", stderr=SECRET, stdout=SECRET),
    OSError(5, "Input/output error"),
    ValueError("no target"),
    KeyError("target_iqn"),
]


class TestLettingGo:
    @pytest.mark.parametrize("error", [DeviceFailed("x"), ZeroDivisionError("x"), KeyboardInterrupt(), SystemExit()])
    def test_a_volume_is_disconnected_whatever_happens(self, using: Using, volume: Path, error: BaseException) -> None:
        connector = Connector(str(volume))
        with (
            pytest.raises(type(error)) as caught,
            using(connector).open(attachment(volume), mode=AccessMode.WRITE),
        ):
            raise error
        assert caught.value is error
        assert connector.calls == ["connect", "disconnect"]

    def test_the_device_is_closed_before_the_volume_is_disconnected(self, using: Using, volume: Path) -> None:
        before = open_files()

        class Watching(Connector):
            def disconnect_volume(self, *arguments: Any, **options: Any) -> None:
                super().disconnect_volume(*arguments, **options)
                assert open_files() == before

        connector = Watching(str(volume))
        with using(connector).open(attachment(volume), mode=AccessMode.WRITE):
            assert open_files() != before
        assert connector.calls == ["connect", "disconnect"]

    @pytest.mark.parametrize("kept, calls", [(True, ["connect"]), (False, ["connect", "disconnect"])])
    def test_a_volume_that_the_host_still_uses_stays_connected(
        self, using: Using, volume: Path, kept: bool, calls: list[str]
    ) -> None:
        connector = Connector(str(volume))
        with using(connector).open(attachment(volume), mode=AccessMode.READ, keep=lambda: kept):
            pass
        assert connector.calls == calls

    def test_a_volume_whose_use_is_not_known_is_named_in_the_error(self, using: Using, volume: Path) -> None:
        def unknown() -> bool:
            raise ServiceUnreachable("Cinder does not answer")

        connector = Connector(str(volume))
        with (
            pytest.raises(ServiceUnreachable, match=f"left behind: device {volume} on"),
            using(connector).open(attachment(volume), mode=AccessMode.READ, keep=unknown),
        ):
            pass
        assert connector.calls == ["connect"]

    def test_two_attachments_of_a_volume_are_disconnected_one_after_the_other(self, attacher: BrickAttacher) -> None:
        order = []

        def leave() -> None:
            with attacher.leaving("7"):
                order.append("second")

        with attacher.leaving("7"), attacher.leaving("8"):
            second = threading.Thread(target=leave)
            second.start()
            second.join(0.2)
            order.append("first")
        second.join()
        assert order == ["first", "second"]

    def test_a_volume_whose_device_cannot_be_opened_is_disconnected(self, using: Using, tmp_path: Path) -> None:
        connector = Connector(str(tmp_path / "none"))
        attacher = using(connector)
        with (
            pytest.raises(AttachFailed, match=r"volume 7 .*is connected and cannot be opened: .*run as root"),
            attacher.open(attachment("none"), mode=AccessMode.READ),
        ):
            pass
        assert connector.calls == ["connect", "disconnect"]

    @pytest.mark.parametrize("fault", BRICK_FAULTS)
    def test_a_volume_that_cannot_be_connected_is_an_error_without_secrets(
        self, using: Using, volume: Path, fault: Exception
    ) -> None:
        connector = Connector(str(volume), connect=fault)
        with (
            pytest.raises(AttachFailed, match=r"volume 7 \(local\) cannot be connected to this host") as caught,
            using(connector).open(attachment(volume), mode=AccessMode.READ),
        ):
            pass
        assert connector.calls == ["connect"]
        assert caught.value.__cause__ is fault
        assert SECRET not in str(caught.value)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("fault", BRICK_FAULTS)
    def test_a_volume_that_cannot_be_disconnected_is_an_error_that_names_it(
        self, using: Using, volume: Path, fault: Exception
    ) -> None:
        connector = Connector(str(volume), disconnect=fault)
        with (
            pytest.raises(AttachFailed, match=r"volume 7 \(local\) cannot be disconnected") as caught,
            using(connector).open(attachment(volume), mode=AccessMode.READ),
        ):
            pass
        assert len(caught.value.leftovers) == 1
        assert caught.value.leftovers[0].startswith(f"device {volume} on ")
        assert SECRET not in str(caught.value)

    def test_the_first_error_is_raised_and_names_the_volume_that_cannot_be_disconnected(
        self, using: Using, volume: Path
    ) -> None:
        connector = Connector(str(volume), disconnect=OSError("stuck"))
        with (
            pytest.raises(DeviceFailed, match=rf"bad sector; left behind: device {volume}.*stuck"),
            using(connector).open(attachment(volume), mode=AccessMode.READ),
        ):
            raise DeviceFailed("bad sector")

    @pytest.mark.parametrize("connection", [{}, {"driver_volume_type": "carrier-pigeon"}, {"driver_volume_type": None}])
    def test_an_unknown_protocol_is_an_error(self, attacher: BrickAttacher, connection: dict[str, Any]) -> None:
        unknown = Attachment(id="a", volume_id="7", connection=connection)
        with pytest.raises(AttachFailed, match="volume 7"), attacher.open(unknown, mode=AccessMode.READ):
            pass

    def test_a_connection_without_its_device_is_an_error(self, attacher: BrickAttacher) -> None:
        broken = Attachment(id="a", volume_id="7", connection={"driver_volume_type": "local"})
        with pytest.raises(AttachFailed, match="volume 7"), attacher.open(broken, mode=AccessMode.READ):
            pass

    def test_the_connection_that_cinder_told_is_not_altered(self, attacher: BrickAttacher, volume: Path) -> None:
        told = attachment(volume)
        before = dict(told.connection)
        with attacher.open(told, mode=AccessMode.READ):
            pass
        assert told.connection == before
        assert SECRET not in repr(told)


class TestSize:
    """A device may show its size a while after it was extended or connected."""

    @pytest.mark.parametrize("protocol", ["iscsi", "fibre_channel", "nvmeof", "scaleio", "local", "nfs", "storpool"])
    @pytest.mark.parametrize("mode", AccessMode)
    def test_a_device_that_shows_an_old_size_is_waited_for_whatever_its_protocol(
        self, using: Using, volume: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, protocol: str, mode: AccessMode
    ) -> None:
        growing, sleep = Growing(old_looks=4, path=volume), clock.sleep

        def pause(seconds: float) -> None:
            sleep(seconds)
            growing.look()

        monkeypatch.setattr("time.sleep", pause)
        told = attachment(volume, size_bytes=2 * SIZE_BYTES, driver_volume_type=protocol)
        connector = Connector(str(volume), extend=NotImplementedError())
        with using(connector).open(told, mode=mode) as device:
            assert device.size_bytes == 2 * SIZE_BYTES
        assert connector.calls[0] == "connect"
        assert connector.calls[-1] == "disconnect"

    def test_the_size_of_a_grown_volume_is_asked_of_its_target_again(
        self, using: Using, volume: Path, clock: Clock
    ) -> None:
        """A kernel keeps what it was told of a size when it connected."""
        connector = Connector(str(volume), growing=Growing(old_looks=2, path=volume))
        with using(connector).open(attachment(volume, size_bytes=2 * SIZE_BYTES), mode=AccessMode.READ) as device:
            assert device.size_bytes == 2 * SIZE_BYTES
        assert connector.calls == ["connect", "extend", "extend", "disconnect"]

    def test_an_image_of_ceph_is_waited_for_and_not_opened_again(self, using: Using, clock: Clock) -> None:
        image, looks = RbdLike(SIZE_BYTES), 0

        def size() -> int:
            nonlocal looks
            looks += 1
            return 2 * SIZE_BYTES if looks > 3 else SIZE_BYTES

        image.size = size  # type: ignore[method-assign]
        connector = Connector(image.handle)
        with using(connector).open(attachment("none", size_bytes=2 * SIZE_BYTES), mode=AccessMode.READ) as device:
            assert device.size_bytes == 2 * SIZE_BYTES
        assert connector.calls == ["connect", "disconnect"]

    @pytest.mark.parametrize("fault", [None, *BRICK_FAULTS])
    def test_a_device_that_does_not_grow_is_an_error_with_both_sizes(
        self, using: Using, volume: Path, clock: Clock, fault: Exception | None
    ) -> None:
        connector = Connector(str(volume), extend=fault)
        with (
            pytest.raises(
                DeviceFailed, match=rf"{volume} on .* has {SIZE_BYTES} bytes .*{2 * SIZE_BYTES} are"
            ) as caught,
            using(connector).open(attachment(volume, size_bytes=2 * SIZE_BYTES), mode=AccessMode.READ),
        ):
            pass
        assert caught.value.leftovers == ()
        assert SECRET not in str(caught.value)
        assert connector.calls[-1] == "disconnect"

    def test_a_device_that_is_large_enough_is_looked_at_once(self, using: Using, volume: Path) -> None:
        connector = Connector(str(volume))
        for size_bytes in (None, 0, SIZE_BYTES - 1, SIZE_BYTES):
            with using(connector).open(attachment(volume, size_bytes=size_bytes), mode=AccessMode.READ):
                pass
        assert "extend" not in connector.calls

    def test_a_size_that_cannot_be_read_is_an_error_and_the_volume_is_let_go(
        self, using: Using, tmp_path: Path
    ) -> None:
        connector = Connector(str(tmp_path / "none"))
        with (
            pytest.raises(AttachFailed, match="the size of its device cannot be read"),
            using(connector).open(attachment("none", size_bytes=1), mode=AccessMode.READ),
        ):
            pass
        assert connector.calls == ["connect", "disconnect"]


ON_CEPH = {
    "driver_volume_type": "rbd",
    "name": "pool/volume-7",
    "hosts": ["127.0.0.1"],
    "ports": ["3300"],
    "cluster_name": "ceph",
    "auth_username": None,
}


@pytest.fixture
def ceph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RbdLike:
    """The image of a Ceph whose pool is full: to open an image to be written is a write, which waits for space."""
    image = RbdLike(100)
    image.content[:5] = b"image"

    def opened(_ioctx: object, _name: str, *, snapshot: None, read_only: bool) -> RbdLike:
        assert snapshot is None
        if not read_only:
            raise OSError(errno.ETIMEDOUT, "a write that waits for space")
        return image

    client = SimpleNamespace(
        connect=lambda: None, open_ioctx=lambda _: SimpleNamespace(close=lambda: None), shutdown=lambda: None
    )
    client.conf_set = image.options.__setitem__
    monkeypatch.setattr(linuxrbd, "rados", SimpleNamespace(Rados=lambda **_: client, Error=RbdError))
    monkeypatch.setattr(linuxrbd, "rbd", SimpleNamespace(Image=opened, Error=OSError, InvalidArgument=RbdError))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return image


def files_of_brick() -> set[str]:
    """What os-brick keeps while an image is open."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("brickrbd_*")}


class TestCeph:
    def test_an_image_of_librbd_is_a_device_and_os_brick_closes_it(self, using: Using) -> None:
        image = RbdLike(100)
        connector = Connector(image.handle)
        with using(connector).open(attachment("none"), mode=AccessMode.WRITE) as device:
            assert (device.size_bytes, device.path, device.guarantee) == (100, "/7", "rbd")
            report = write_stream([b"by", b"tes"], device, size_bytes=5, zeros=ZeroHandling.SKIP)
            assert b"".join(read_device(device, offset=1, length=3)) == b"yte"
        assert (report.size_bytes, report.written_bytes, report.skipped_bytes) == (5, 5, 95)
        assert bytes(image.content) == b"bytes" + bytes(95)
        assert image.flushed == 1
        assert connector.calls == ["connect", "disconnect"]

    def test_ceph_that_does_not_answer_while_it_is_connected_is_a_stall_and_nothing_is_left(self, using: Using) -> None:
        silent = brick_errors.BrickException(message="Error connecting to ceph cluster.")
        silent.__context__ = OSError(errno.ETIMEDOUT, "connection timed out")
        attacher, cinders = using(Connector(None, connect=silent)), attachment("none")
        with (
            pytest.raises(DeviceStalled, match=r"volume 7 .*stalled: connecting .*ceph health") as stalled,
            attacher.open(cinders, mode=AccessMode.WRITE),
        ):
            pass
        assert stalled.value.leftovers == ()
        assert not attacher.is_left(cinders)

    @pytest.mark.parametrize("mode", AccessMode)
    def test_an_image_in_a_full_pool_is_read_because_it_is_not_opened_to_be_written(
        self, attacher: BrickAttacher, ceph: RbdLike, mode: AccessMode
    ) -> None:
        cinders = Attachment(id="a", volume_id="7", connection=ON_CEPH)
        if mode is AccessMode.WRITE:
            expected: Any = pytest.raises(DeviceStalled, match=r"volume 7 .*stalled: connecting .*ceph health")
        else:
            expected = nullcontext()
        with expected, attacher.open(cinders, mode=mode) as device:
            assert read(device, 0, 5) == b"image"
        assert ceph.closed is (mode is AccessMode.READ)
        assert not attacher.is_left(cinders)
        assert files_of_brick() == set()

    @pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EIO])
    def test_an_image_that_os_brick_cannot_flush_is_closed_all_the_same(self, using: Using, number: int) -> None:
        image = RbdLike(100)
        attacher = using(Connector(image.handle, disconnect=OSError(number, "cannot be flushed")))
        expected = (
            nullcontext() if number == errno.ETIMEDOUT else pytest.raises(AttachFailed, match="cannot be flushed")
        )
        with expected, attacher.open(attachment("none"), mode=AccessMode.READ):
            pass
        assert image.closed

    def test_os_brick_writes_the_deadline_and_the_place_of_the_key_and_no_key_for_librados(self) -> None:
        cinders = {"driver_volume_type": "rbd", "auth_username": "cinder", "cluster_name": "ceph"}
        lines = connection_with_deadline(cinders, 300)["keyring"].splitlines()
        assert "rados_osd_op_timeout = 297" in lines
        assert lines[-1] == "keyring = /etc/ceph/ceph.client.cinder.keyring"
        for other in ({**cinders, "do_local_attach": True}, {"driver_volume_type": "iscsi"}):
            assert connection_with_deadline(other, 300) == other


class TestThisHost:
    def test_this_host_tells_cinder_its_name_and_address(self, attacher: BrickAttacher) -> None:
        told = attacher.connector()
        assert told["host"] == os.uname().nodename
        assert told["ip"] == own_address(os.uname().nodename)

    def test_this_host_tells_cinder_the_address_and_multipath_that_it_was_given(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given: list[object] = []

        def properties(_helper: str, *told: object, **_: object) -> dict[str, object]:
            given.extend(told)
            return {}

        monkeypatch.setattr(brick, "get_connector_properties", properties)
        BrickAttacher(ip="192.0.2.7", multipath=True, enforce_multipath=True).connector()
        assert given == ["192.0.2.7", True, True]

    @pytest.mark.parametrize("fault", BRICK_FAULTS)
    def test_a_host_whose_properties_cannot_be_found_out_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, fault: Exception
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise fault

        monkeypatch.setattr(brick, "get_connector_properties", broken)
        with pytest.raises(AttachFailed, match="this host's initiators cannot be read") as caught:
            BrickAttacher().connector()
        assert SECRET not in str(caught.value)


class TestRoot:
    """What needs root is done by root itself, and by sudo or privsep's helper for any other user."""

    @pytest.fixture
    def fresh(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """A process that has not become privileged, on a host without sudo."""
        for context in brick._CONTEXTS:
            monkeypatch.setattr(context, "client_mode", True)
        monkeypatch.setattr(brick, "_privileged", False)
        monkeypatch.setattr(attaching_records, "LOCK_PATH", tmp_path / "locks")
        (option,) = [option for option in lockutils._opts if option.dest == "lock_path"]
        monkeypatch.setattr(option, "default", None)
        monkeypatch.setenv("PATH", str(tmp_path))
        return tmp_path

    def test_a_program_of_root_needs_no_sudo(self, fresh: Path, volume: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("not root")
        attacher = BrickAttacher()
        assert attacher.connector()["host"]
        with attacher.open(attachment(volume), mode=AccessMode.READ) as device:
            assert device.size_bytes == SIZE_BYTES
        with attacher.leaving("7"):
            assert (fresh / "locks").stat().st_mode & 0o777 == 0o700
        assert not any(context.client_mode for context in brick._CONTEXTS)

    def test_a_program_of_root_needs_no_sudo_whatever_it_does_first(self, fresh: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("not root")
        with BrickAttacher().leaving("7"):
            assert (fresh / "locks").is_dir()

    def test_a_program_that_has_chosen_its_lock_directory_keeps_it(self, fresh: Path) -> None:
        become_privileged(fresh / "chosen")
        BrickAttacher().set_up()
        assert not (fresh / "locks").exists()

    def test_any_other_user_without_sudo_is_told_what_to_do(self, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(AttachFailed, match="run as root, pass a root_helper, or set helper_command"):
            BrickAttacher().connector()
        assert all(context.client_mode for context in brick._CONTEXTS)

    def test_a_helper_that_was_named_is_used_by_root_too(self, fresh: Path) -> None:
        BrickAttacher(root_helper="doas").set_up()
        assert all(context.client_mode for context in brick._CONTEXTS)
