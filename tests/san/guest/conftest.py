"""What every test in the machine starts from: the kernel's modules, a pool of thin volumes, an attacher."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.brick import BrickAttacher, become_privileged
from tests.san.guest.breaking import restore_packets
from tests.san.guest.faulty import SEED
from tests.san.guest.san_cinder import SanVolumes
from tests.san.guest.storage import DISK, EXPORTS, GROUP, INITIATOR, MIB, TARGETS, Volume, command

MODULES = ("dm_thin_pool", "iscsi_tcp", "iscsi_target_mod", "target_core_iblock", "nvme_tcp", "nvmet", "nvmet_tcp")
BREAKING = ("dm_flakey", "dm_multipath", "sch_prio", "sch_netem", "cls_u32")
HOST_ID = "6f5a1f0e-3c0b-4e43-9b39-0f5b0b8f4d12"
NUMBERS = count()
CONFIGURED = Path("/etc/iscsi/iscsid.conf")


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


@pytest.fixture
def breakable(attacher: BrickAttacher) -> None:
    """What breaks the storage, and an iSCSI that waits as long as Debian configures."""
    subprocess.run(["modprobe", "--all", *BREAKING], check=True)
    timeout(120)
    print(f"seed {SEED}", flush=True)


def timeout(seconds: int) -> None:
    """Let an iSCSI session that is made from now on fail what waits after so many seconds."""
    name = "node.session.timeo.replacement_timeout"
    kept = [line for line in CONFIGURED.read_text().splitlines() if not line.startswith(name)]
    CONFIGURED.write_text("\n".join([*kept, f"{name} = {seconds}", ""]))


@pytest.fixture
def other(pool: None) -> Iterator[Volume]:
    """Another volume, whose data must stay."""
    made = Volume(f"other-{next(NUMBERS)}", 8 * MIB)
    made.fill(b"o")
    before = list(made.parts())
    yield made
    try:
        assert list(made.parts()) == before
    finally:
        made.remove()


@pytest.fixture(params=TARGETS)
def volumes(request: pytest.FixtureRequest, other: Volume) -> Iterator[SanVolumes]:
    """A Cinder with volumes of one protocol."""
    made = SanVolumes(protocol=request.param)
    try:
        yield made
    finally:
        restore_packets()
        made.close()
