"""A volume with two paths by multipath: one path is enough, and what is left after both were lost is taken back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagevol_core import StorageError
from tests.san.guest.breaking import connections, drop_packets, restore_packets, waited
from tests.san.guest.conftest import timeout
from tests.san.guest.faulty import STALL_SECONDS, attacher, digest_of, draws, get, image, put, recovered, trying
from tests.san.guest.san_cinder import SanVolumes
from tests.san.guest.storage import Volume

CONFIGURED = Path("/etc/multipath.conf")
LOG = Path("/tmp/multipathd.log")
RECOVERY_SECONDS = 5

pytestmark = pytest.mark.usefixtures("breakable")


@pytest.fixture(scope="module")
def multipathd() -> Iterator[None]:
    """A multipathd, configured as for hosts of OpenStack, that waits for no path that does not come back."""
    subprocess.run(["modprobe", "--all", "dm_multipath", "dm_round_robin"], check=True)
    CONFIGURED.write_text("defaults {\n user_friendly_names no\n find_multipaths no\n no_path_retry fail\n}\n")
    with LOG.open("wb") as log, subprocess.Popen(["multipathd", "-d"], stdout=log, stderr=log) as process:
        try:
            assert waited(answers), f"multipathd does not answer; it ended with {process.poll()}: {LOG.read_text()}"
            yield
        finally:
            process.terminate()


@pytest.fixture
def volumes(multipathd: None, breakable: None, other: Volume) -> Iterator[SanVolumes]:
    """A Cinder whose volumes have two portals."""
    timeout(RECOVERY_SECONDS)
    made = SanVolumes(protocol="iscsi", paths=2)
    try:
        yield made
    finally:
        restore_packets()
        made.close()


def answers() -> bool:
    """Tell whether multipathd answers."""
    asked = subprocess.run(["multipathd", "show", "status"], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and "path checker" in asked.stdout


def uses_multipath() -> bool:
    """Tell whether a volume is connected by multipath."""
    return any(each.startswith("map ") for each in connections())


@pytest.mark.parametrize("what", ["put", "get"])
def test_one_of_two_paths_can_be_dropped_and_come_back(volumes: SanVolumes, what: str) -> None:
    draw, host = draws(f"paths {what}"), attacher(stall_seconds=100, multipath=True)
    pieces, at, used = image(draw), draw.randrange(2, 20), []
    with trying("one of two paths dropped and restored", f"{what} by iSCSI, multipath") as tried:

        def drop() -> None:
            used.append(uses_multipath())
            drop_packets(volumes.last.addresses[draw.randrange(2)])
            time.sleep(RECOVERY_SECONDS)
            restore_packets()

        volume_id = put(volumes, pieces, host=host, at=at if what == "put" else -1, then=drop)
        read = get(volumes, volume_id, host=host, at=at if what == "get" else -1, then=drop)
        assert read == digest_of(pieces)
        assert used == [True]
        tried.outcome = "whole"


def test_a_target_that_is_killed_on_both_paths_ends_in_an_error(volumes: SanVolumes) -> None:
    draw, host = draws("both paths"), attacher(stall_seconds=100, multipath=True)
    pieces, killed = image(draw), []
    with trying("target killed", "put by iSCSI, multipath") as tried:

        def kill() -> None:
            assert uses_multipath()
            killed.append(volumes.last_id)
            tried.broken()
            volumes.last.export.kill()

        with pytest.raises(StorageError) as caught:
            put(volumes, pieces, host=host, at=draw.randrange(2, 20), then=kill)
        tried.failed(caught.value, names=killed[0])
        if volumes.real:
            volumes.last.export.restore()
            time.sleep(STALL_SECONDS)
            recovered(volumes, killed[0], multipath=True)
