"""How the store driver opens volumes: the protocols that this machine has not, and whose the device is."""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from glance_store.common import fs_mount
from oslo_concurrency import processutils
from oslo_config import cfg
from oslo_privsep.daemon import FailedToDropPrivileges

from imagevol_adapters import brick
from imagevol_adapters.brick import become_privileged
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.store import Store
from imagevol_adapters.store.attaching import StoreAttacher
from imagevol_adapters.store.attaching import attacher as configured_attacher
from imagevol_core import GIB, AttachFailed, DeviceStalled, RequestRefused, Volume
from tests.adapters.conftest import Clock
from tests.adapters.hanging import PATIENCE_SECONDS
from tests.adapters.unpatched import threading

SECRET = "a-password-that-nobody-may-see"


@attrs.frozen
class Told:
    """A Cinder that tells what it is told."""

    volume: Volume
    connection: dict[str, Any]

    def get(self, _: str) -> Volume:
        return self.volume

    def attachment(self, attachment_id: str) -> Attachment:
        return Attachment(id=attachment_id, volume_id="7", connection=self.connection)


def attacher(volumes: Any = None, *, mounts: Path = Path("/none"), root_helper: str = "env") -> StoreAttacher:
    return StoreAttacher(root_helper=root_helper, volumes=volumes, mounts=mounts, mountpoint="glance_store")


class TestNfs:
    """A share is mounted as glance_store's own driver mounts it."""

    CONNECTION: ClassVar[dict[str, Any]] = {
        "driver_volume_type": "nfs",
        "export": "host:/share",
        "name": "volume-7",
        "options": "-o vers=4",
    }

    @pytest.fixture
    def mounted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        """What was mounted and not unmounted; the share has the volume in it."""
        mounts: list[tuple[Any, ...]] = []

        def mount(*what: Any) -> None:
            mounts.append(what)
            Path(what[3]).mkdir(parents=True, exist_ok=True)
            Path(what[3], what[2]).write_bytes(bytes(4096))

        monkeypatch.setattr(fs_mount, "mount", mount)
        monkeypatch.setattr(fs_mount, "umount", lambda name, where, *_: mounts.pop())
        return mounts

    def open(
        self, tmp_path: Path, *, encrypted: bool = False, form: str = "raw", size_bytes: int | None = None
    ) -> AbstractContextManager[Any]:
        told = Told(Volume(id="7", size_gib=1, encrypted=encrypted), {"format": form})
        here = attacher(told, mounts=tmp_path)
        attachment = Attachment(id="a", volume_id="7", connection=self.CONNECTION, size_bytes=size_bytes)
        return here.open(attachment, mode=AccessMode.WRITE)

    def test_a_file_on_a_share_is_waited_for_until_it_has_its_size(
        self, tmp_path: Path, mounted: list[Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sleep = clock.sleep

        def grow(seconds: float) -> None:
            sleep(seconds)
            if len(clock.slept) == 3:
                os.truncate(Path(mounted[0][3], mounted[0][2]), GIB)

        monkeypatch.setattr("time.sleep", grow)
        with self.open(tmp_path, size_bytes=GIB) as device:
            assert device.size_bytes == GIB
        assert mounted == []

    def test_an_nfs_share_is_mounted_while_it_is_used(self, tmp_path: Path, mounted: list[Any]) -> None:
        name = hashlib.sha256(b"host:/share").hexdigest()
        with self.open(tmp_path) as device:
            ((kind, export, file, where, *_, options),) = mounted
            assert (kind, export, file, where, options) == (
                "nfs",
                "host:/share",
                "volume-7",
                str(tmp_path / name),
                "-o vers=4",
            )
            device.write(0, memoryview(b"bytes"))
        assert mounted == []
        assert (tmp_path / name / "volume-7").read_bytes()[:5] == b"bytes"

    @pytest.mark.parametrize("wrong, said", [({"encrypted": True}, "encrypted"), ({"form": "qcow2"}, "a qcow2 file")])
    def test_an_nfs_volume_in_another_format_than_raw_is_refused(
        self, tmp_path: Path, mounted: list[Any], wrong: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(RequestRefused, match=f"volume 7 on NFS is {said}"), self.open(tmp_path, **wrong):
            pass
        assert mounted == []

    def test_a_share_that_cannot_be_mounted_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise processutils.ProcessExecutionError(cmd=SECRET, exit_code=32)

        monkeypatch.setattr(fs_mount, "mount", refuse)
        with pytest.raises(AttachFailed, match="host:/share cannot be mounted") as caught, self.open(tmp_path):
            pass
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("call, doing", [("mount", "mounting"), ("umount", "unmounting")])
    def test_a_server_that_does_not_answer_ends_at_the_deadline_and_the_volume_counts_as_connected(
        self, tmp_path: Path, mounted: list[Any], monkeypatch: pytest.MonkeyPatch, call: str, doing: str
    ) -> None:
        answers = threading.Event()
        monkeypatch.setattr(fs_mount, call, lambda *_: answers.wait(PATIENCE_SECONDS))
        told = Told(Volume(id="7", size_gib=1), {"format": "raw"})
        here = attrs.evolve(attacher(told, mounts=tmp_path), stall_seconds=0.05)
        attachment = Attachment(id="a", volume_id="7", connection=self.CONNECTION)
        try:
            with (
                pytest.raises(DeviceStalled, match=rf"volume 7 \(nfs\) stalled: {doing} host:/share"),
                here.open(attachment, mode=AccessMode.WRITE),
            ):
                pass
            assert here.is_left(attachment)
            other = attrs.evolve(attachment, id="b")
            if call == "umount":
                with pytest.raises(DeviceStalled):
                    here.disconnect(other)
        finally:
            answers.set()


@pytest.fixture
def foreign_device(tmp_path: Path) -> Path:
    """A device that belongs to nobody; a service that is not root finds each one so."""
    if os.geteuid() != 0:
        pytest.skip("not root: a file cannot be given away")
    path = tmp_path / "device"
    path.write_bytes(bytes(4096))
    os.chown(path, 65534, 65534)
    return path


class TestOwner:
    """A device belongs to the service's user for as long as it is open."""

    def attachment(self, path: Path, protocol: str = "local") -> Attachment:
        return Attachment(id="a", volume_id="7", connection={"driver_volume_type": protocol, "device_path": str(path)})

    def test_the_owner_of_a_device_is_restored(self, foreign_device: Path) -> None:
        with attacher().open(self.attachment(foreign_device), mode=AccessMode.WRITE):
            assert foreign_device.stat().st_uid == 0
        assert foreign_device.stat().st_uid == 65534

    def test_a_root_helper_that_fails_is_an_error(self, foreign_device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise processutils.ProcessExecutionError(exit_code=99)

        monkeypatch.setattr(processutils, "execute", refuse)
        with (
            pytest.raises(AttachFailed, match=f"{foreign_device} cannot be given to user 0: .*look at rootwrap_config"),
            attacher().open(self.attachment(foreign_device), mode=AccessMode.WRITE),
        ):
            pass

    def test_a_device_whose_owner_cannot_be_restored_is_named(
        self, foreign_device: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, calls = processutils.execute, []

        def once(*command: Any, **more: Any) -> Any:
            calls.append(command)
            if len(calls) > 1:
                raise processutils.ProcessExecutionError(exit_code=1)
            return real(*command, **more)

        monkeypatch.setattr(processutils, "execute", once)
        with (
            pytest.raises(AttachFailed, match=f"left behind: owner 0 of {foreign_device}"),
            attacher().open(self.attachment(foreign_device), mode=AccessMode.WRITE),
        ):
            pass


def test_cinder_is_told_of_this_host_and_where_the_volume_is(tmp_path: Path) -> None:
    become_privileged(tmp_path / "locks")
    assert attacher().connector()["mountpoint"] == "glance_store"


def test_a_host_that_may_not_become_root_is_told_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise FailedToDropPrivileges("privsep helper command exited non-zero (1)")

    monkeypatch.setattr(brick, "get_connector_properties", refuse)
    with pytest.raises(AttachFailed, match=r"initiators cannot be read: .*privsep does not run: .*helper_command"):
        attacher().connector()


def test_only_attaching_takes_an_address_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(socket, "gethostname", lambda: "nowhere")
    options = cfg.ConfigOpts()
    options([], default_config_files=[], default_config_dirs=[])
    host = configured_attacher(Store(options, backend="fast").store_conf, None)  # type: ignore[arg-type]
    with pytest.raises(AttachFailed, match=r"name, nowhere, has no address: .*add it to /etc/hosts"):
        host.connector()


@pytest.mark.parametrize(
    "address, warnings", [("127.0.1.1", 1), ("::1", 1), ("192.0.2.7", 0), ("2001:db8::7", 0), (None, 1)]
)
def test_a_name_that_no_other_host_reaches_is_in_the_log_when_glance_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str | None, warnings: int
) -> None:
    def resolved(_: str) -> str:
        if address is None:
            raise socket.gaierror(-2, "Name or service not known")
        return address

    monkeypatch.setattr("imagevol_adapters.store_trials.address_of", resolved)
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    options = cfg.ConfigOpts()
    options([], default_config_files=[], default_config_dirs=[])
    Store(options, backend="fast").configure_add()
    told = [record.getMessage() for record in caplog.records if "this host's name here" in record.getMessage()]
    says = "has no address" if address is None else f"resolves to {address}, "
    assert [f"Store fast: this host's name here {says}" in each for each in told] == [True] * warnings
