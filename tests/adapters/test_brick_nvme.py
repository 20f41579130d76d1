"""A volume of NVMe-TCP that a dead process left connected, on a host whose kernel is files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from os_brick.initiator import linuxscsi
from os_brick.initiator.connectors import nvmeof

from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.ports import Attachment

UUID = "77f0d3c1-6f5a-4f0e-9c0b-3e439b390f5b"
OTHER = "0f5b0b8f-4d11-4e43-9b39-6f5a1f0e3c0b"
NQN = f"nqn.2014-08.org.nvmexpress:uuid:{UUID}"
CONNECTION = {
    "driver_volume_type": "nvmeof",
    "target_nqn": NQN,
    "vol_uuid": UUID,
    "portals": [("192.0.2.10", 4420, "tcp")],
    "ns_id": 1,
    "volume_nguid": None,
}


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A controller with the volume, which `nvme disconnect` removes."""
    become_privileged(tmp_path / "locks")
    made = tmp_path / "ctl" / "nvme0"
    values = {"subsysnqn": NQN, "transport": "tcp", "address": "traddr=192.0.2.10,trsvcid=4420", "state": "connecting"}
    for name, value in {**values, "nvme0n1/uuid": UUID}.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"{value}\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvme0n1").touch()
    monkeypatch.setattr(nvmeof, "NVME_CTRL_SYSFS_PATH", f"{tmp_path}/ctl/")
    monkeypatch.setattr(nvmeof, "DEV_SEARCH_PATH", f"{tmp_path}/dev/")

    def execute(_: object, *command: str, **__: Any) -> tuple[str, str]:
        if command[:3] == ("nvme", "disconnect", "-d"):
            shutil.rmtree(tmp_path / "ctl" / Path(command[3]).name)
        return "", ""

    monkeypatch.setattr(nvmeof.NVMeOFConnector, "_execute", execute)
    monkeypatch.setattr(linuxscsi.LinuxSCSI, "_execute", execute)
    return made


def test_a_volume_that_a_dead_process_left_is_disconnected(controller: Path) -> None:
    BrickAttacher(root_helper="").disconnect(Attachment(id="a", volume_id=UUID, connection=CONNECTION))
    assert not controller.exists()


def test_a_controller_that_has_another_volume_too_stays(controller: Path) -> None:
    (controller / "nvme0n2").mkdir()
    (controller / "nvme0n2" / "uuid").write_text(f"{OTHER}\n")
    BrickAttacher(root_helper="").disconnect(Attachment(id="a", volume_id=UUID, connection=CONNECTION))
    assert controller.exists()


def test_a_volume_that_is_not_connected_is_as_wanted(controller: Path) -> None:
    shutil.rmtree(controller)
    BrickAttacher(root_helper="").disconnect(Attachment(id="a", volume_id=UUID, connection=CONNECTION))


def test_a_controller_whose_volume_the_target_has_withdrawn_goes(controller: Path, tmp_path: Path) -> None:
    shutil.rmtree(controller / "nvme0n1")
    (tmp_path / "dev" / "nvme0n1").unlink()
    BrickAttacher(root_helper="").disconnect(Attachment(id="a", volume_id=UUID, connection=CONNECTION))
    assert not controller.exists()
