"""A Ceph, and a cloud that keeps its volumes there: one of each for all tests of a run, ended with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud import prerequisites
from tests.cloud.bringup import running as cloud_running
from tests.cloud.record import Cloud
from tests.cloud.settings import Sections, Settings
from tests.faults.recorded import Tally, record
from tests.rbd.ceph import POOLS, problem, running

BACKENDS_STALL_SECONDS = 15  # after which a backend gives up what does not move


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
def tally(pytestconfig: pytest.Config) -> Iterator[Tally]:
    """Counts what came of each fault."""
    tally = Tally()
    yield tally
    if pytestconfig.getoption("--record-faults"):
        record("rbd", tally.rows())


@pytest.fixture(scope="session")
def rbd_cloud(ceph: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running cloud whose backends are pools of that Ceph, with our mixin, and whose Glance has our store driver."""
    if problems := prerequisites.problems():
        pytest.skip("; ".join(problems))
    backends = {pool: _backend(ceph, pool) for pool in POOLS}
    cinder: Sections = {**backends, "DEFAULT": {"allowed_direct_url_schemes": None}}
    settings = Settings(store_driver="imagevol", overrides={"cinder/cinder.conf": cinder})
    with cloud_running(tmp_path_factory.mktemp("cloud"), settings, keep_logs=True) as cloud:
        yield cloud


def _backend(configuration: Path, pool: str) -> dict[str, str | None]:
    return {
        "volume_driver": "tests.rbd.volume_driver.CloningRBDDriver",
        "rbd_pool": pool,
        "rbd_ceph_conf": str(configuration),
        "rbd_exclusive_cinder_pool": "true",
        "image_clone_direct_url_schemes": "cinder",
        "image_template_enabled": "true",
        "image_volume_cache_enabled": "false",
        "image_clone_stall_seconds": str(BACKENDS_STALL_SECONDS),
        "reflinkfile_directory": None,
        "reflinkfile_capacity_gb": None,
    }
