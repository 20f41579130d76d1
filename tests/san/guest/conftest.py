"""What every test in the machine starts from: the kernel's modules, a pool of thin volumes, an attacher."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.brick import BrickAttacher, become_privileged
from tests.san.guest.storage import DISK, EXPORTS, GROUP, INITIATOR, MIB, Volume, command

MODULES = ("dm_thin_pool", "iscsi_tcp", "iscsi_target_mod", "target_core_iblock", "nvme_tcp", "nvmet", "nvmet_tcp")
HOST_ID = "6f5a1f0e-3c0b-4e43-9b39-0f5b0b8f4d12"
NUMBERS = count()


@pytest.fixture(scope="session")
def attacher() -> BrickAttacher:
    """Ours, over os-brick as it is: initiators that have names, and a running iscsid."""
    subprocess.run(["modprobe", "--all", *MODULES], check=True)
    Path("/etc/iscsi/initiatorname.iscsi").write_text(f"InitiatorName={INITIATOR}\n")
    Path("/etc/nvme").mkdir(exist_ok=True)
    Path("/etc/nvme/hostid").write_text(f"{HOST_ID}\n")
    Path("/etc/nvme/hostnqn").write_text(f"nqn.2014-08.org.nvmexpress:uuid:{HOST_ID}\n")
    Path("/run/lock/iscsi").mkdir(exist_ok=True)
    subprocess.run(["iscsid"], check=True)
    become_privileged(Path("/run/imagevol"))
    return BrickAttacher(root_helper="")


@pytest.fixture(scope="session")
def pool() -> None:
    """A thin pool for the volumes, on the disk that is for them."""
    subprocess.run(["modprobe", "--all", *MODULES], check=True)
    command("pvcreate", "--quiet", DISK)
    command("vgcreate", "--quiet", GROUP, DISK)
    command("lvcreate", "--quiet", "--yes", "-L", "6G", "-T", f"{GROUP}/pool")


@pytest.fixture
def volume(pool: None) -> Iterator[Volume]:
    """A thin volume of 400 MiB."""
    made = Volume(f"volume-{next(NUMBERS)}", 400 * MIB)
    yield made
    made.remove()


@pytest.fixture(params=EXPORTS)
def connection(request: pytest.FixtureRequest, volume: Volume) -> Iterator[Mapping[str, Any]]:
    """What Cinder tells of the volume, by each protocol."""
    with EXPORTS[request.param](volume) as information:
        yield information
