"""A Ceph, and a cloud that keeps its volumes there: one of each for all tests of a run, ended with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cloud import prerequisites
from tests.cloud.bringup import running as cloud_running
from tests.cloud.ports import PATIENCE_SECONDS, inventory
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import Sections, Settings, with_filter
from tests.faults.recorded import Tally, record
from tests.rbd.ceph import POOLS, Osd, problem, running
from tests.rbd.faults import files, watched
from tests.rbd.moving import DATA

SERVICES_STALL_SECONDS = 30  # after which cinder-volume and glance-api give up what does not move

Tried = Callable[[str, str, str], None]
"""Notes the fault, what it happened to and the outcome."""


class Recorded(Tally):
    """Records each try at once: a run takes long, and may be ended before its last one."""

    def add(self, fault: str, what: str, outcome: str, *, left_behind: int = 0) -> None:
        """Count one try."""
        super().add(fault, what, outcome, left_behind=left_behind)
        record("rbd", self.rows())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-faults", action="store_true", help="write what came of each fault for the page of faults"
    )


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a running Ceph."""
    if reason := problem():
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("ceph")) as configuration:
        yield configuration


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    """Counts what came of each fault."""
    return Recorded() if pytestconfig.getoption("--record-faults") else Tally()


@pytest.fixture(scope="session")
def rbd_cloud(ceph: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running cloud whose backends are pools of that Ceph, with our mixin, and whose Glance has our store driver."""
    if problems := prerequisites.problems():
        pytest.skip("; ".join(problems))
    backends = {pool: _backend(ceph, pool) for pool in POOLS}
    cinder: Sections = {**backends, "DEFAULT": {"allowed_direct_url_schemes": None}}
    glance: Sections = {pool: {"image_clone_stall_seconds": str(SERVICES_STALL_SECONDS)} for pool in POOLS}
    overrides = {
        "cinder/cinder.conf": cinder,
        "glance/glance-api.conf": glance,
        "glance/glance-api-paste.ini": with_filter(),
    }
    settings = Settings(store_driver="imagevol", overrides=overrides)
    with cloud_running(tmp_path_factory.mktemp("cloud"), settings, keep_logs=True) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image file."""
    path = tmp_path_factory.mktemp("image") / "disk.raw"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def osd(ceph: Path) -> Iterator[Osd]:
    """The OSD, which runs again after the test."""
    osd = Osd(ceph)
    yield osd
    osd.resume()


@pytest.fixture
def tried(rbd_cloud: Cloud, ceph: Path, osd: Osd, tally: Tally) -> Iterator[Tried]:
    """Note what came of a fault; once Ceph is back, nothing may be left anywhere."""
    noted: list[tuple[str, str, str]] = []
    in_cloud, on_host = inventory(rbd_cloud), files()
    yield lambda *each: noted.append(each)
    osd.resume()
    for _ in ticks(PATIENCE_SECONDS):  # Ceph forgets a client that is dead after half a minute
        left = [*(inventory(rbd_cloud) - in_cloud), *(files() - on_host), *watched(ceph)]
        if not left:
            break
    for each in noted:
        tally.add(*each, left_behind=len(left))
    assert left == []


def _backend(configuration: Path, pool: str) -> dict[str, str | None]:
    return {
        "volume_driver": "tests.rbd.volume_driver.CloningRBDDriver",
        "rbd_pool": pool,
        "rbd_ceph_conf": str(configuration),
        "rbd_exclusive_cinder_pool": "true",
        "image_clone_direct_url_schemes": "cinder",
        "image_template_enabled": "true",
        "image_volume_cache_enabled": "false",
        "image_clone_stall_seconds": str(SERVICES_STALL_SECONDS),
        "reflinkfile_directory": None,
        "reflinkfile_capacity_gb": None,
    }
