"""The multipath map of a volume goes before its disks, so that the disks name it until it is gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from os_brick.initiator.connector import InitiatorConnector

from imagevol_adapters import brick_disconnecting
from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.devices.multipath import maps_over
from imagevol_adapters.ports import Attachment
from imagevol_core import AttachFailed

NAME = "36001405d2766b8a299a56458559d3d3e"
NULL = "/dev/null"  # a device whose number every host has
LEFT = Attachment(id="a", volume_id="7", connection={"driver_volume_type": "iscsi"})


def device(sysfs: Path, kernel_name: str, *, uuid: str = "", name: str = NAME) -> Path:
    """Make a block device's directory in sysfs."""
    made = sysfs / "devices" / kernel_name
    (made / "holders").mkdir(parents=True)
    if uuid:
        (made / "dm").mkdir()
        (made / "dm" / "uuid").write_text(f"{uuid}\n")
        (made / "dm" / "name").write_text(f"{name}\n")
    return made


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk, which has the number of `/dev/null`, below one map of multipath and one of LVM."""
    made = device(tmp_path, "sda")
    number = Path(NULL).stat().st_rdev
    (tmp_path / f"{os.major(number)}:{os.minor(number)}").symlink_to(made)
    for kernel_name, uuid in {"dm-7": f"mpath-{NAME}", "dm-8": "LVM-1"}.items():
        (made / "holders" / kernel_name).symlink_to(device(tmp_path, kernel_name, uuid=uuid))
    return made


def test_the_map_over_a_disk_is_found_and_no_other_holder_of_it(tmp_path: Path, disk: Path) -> None:
    (found,) = maps_over([NULL, "/nowhere", str(tmp_path)], sysfs=tmp_path)
    assert found.name == NAME
    assert found.exists()
    uuid = disk / "holders" / "dm-7" / "dm" / "uuid"
    uuid.write_text("mpath-another\n")
    assert not found.exists(), "another map has come to the number"
    uuid.unlink()
    assert not found.exists()


def test_a_path_that_is_a_map_itself_is_found(tmp_path: Path) -> None:
    number = Path(NULL).stat().st_rdev
    (tmp_path / f"{os.major(number)}:{os.minor(number)}").symlink_to(device(tmp_path, "dm-7", uuid=f"mpath-{NAME}"))
    assert [each.name for each in maps_over([NULL], sysfs=tmp_path)] == [NAME]


@pytest.fixture
def disconnected(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Path], object]], list[str]]:
    """Disconnect a volume over `disk`; what is passed does what `multipath -f` does to the map's directory."""
    become_privileged(tmp_path / "locks")
    monkeypatch.setattr(
        brick_disconnecting, "maps_over", lambda paths: maps_over([NULL] if NULL in paths else [], sysfs=tmp_path)
    )
    monkeypatch.setattr(brick_disconnecting, "_disks", lambda *_: [NULL] if disk.exists() else [])

    def disconnect(flush: Callable[[Path], object]) -> list[str]:
        did = list[str]()

        def flush_multipath_device(name: str) -> None:
            did.append(f"multipath -f {name}")
            flush(disk / "holders" / "dm-7" / "dm" / "uuid")

        def disconnect_volume(*_: Any, **__: Any) -> None:
            did.append("disconnect")
            disk.rename(disk.with_name("gone"))

        def get_volume_paths(_: Mapping[str, Any]) -> list[str]:
            return []

        connector = SimpleNamespace(
            _linuxscsi=SimpleNamespace(flush_multipath_device=flush_multipath_device),
            disconnect_volume=disconnect_volume,
            get_volume_paths=get_volume_paths,
        )
        monkeypatch.setattr(InitiatorConnector, "factory", lambda *_, **__: connector)
        try:
            BrickAttacher(root_helper="").disconnect(LEFT)
        except AttachFailed as error:
            did.append(str(error))
        return did

    return disconnect


def test_the_map_is_removed_before_the_disks(disconnected: Any) -> None:
    assert disconnected(Path.unlink) == [f"multipath -f {NAME}", "disconnect"]


def test_nothing_is_disconnected_while_the_map_is_in_use_and_it_can_be_tried_again(disconnected: Any) -> None:
    def busy(_: Path) -> None:
        raise OSError("multipath failed with exit status 1")

    flushed, error = disconnected(busy)
    assert flushed == f"multipath -f {NAME}"
    assert f"its multipath map {NAME} cannot be removed: " in error
    assert f"multipath failed with exit status 1; look at `dmsetup info {NAME}` and " in error
    assert "volume 7" in error
    assert disconnected(Path.unlink)[-1] == "disconnect"


def test_a_map_that_is_gone_although_the_command_failed_is_no_hindrance(disconnected: Any) -> None:
    def late(uuid: Path) -> None:
        uuid.unlink()
        raise OSError("multipath was killed")

    assert disconnected(late)[-1] == "disconnect"
