"""One worker a service, for all tests; without the service the tests are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest

from tests.upstream import mariadb
from tests.upstream.asking import CINDER_28, SOLIDFIRE, Worker

# By hand, before a release: `nox -s upstream -- --hypothesis-profile=thorough`.
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=25_000)


def worker(
    service: str, asks: str | None = None, database: str | None = None, *, earlier: Path | None = None
) -> Iterator[Worker]:
    if find_spec(service) is None:
        pytest.skip(f"{service} is not installed; `nox -s upstream` installs it")
    if earlier and not earlier.exists():
        pytest.skip(f"{earlier.name} is not unpacked; `nox -s upstream` unpacks it")
    with Worker(asks or service, database, earlier=earlier) as started:
        yield started


@pytest.fixture(scope="session")
def cinder() -> Iterator[Worker]:
    yield from worker("cinder")


@pytest.fixture(scope="session")
def cinder_cache() -> Iterator[Worker]:
    yield from worker("cinder", "cinder_cache")


@pytest.fixture(scope="session")
def cinder_cache_of_28() -> Iterator[Worker]:
    yield from worker("cinder", "cinder_cache", earlier=CINDER_28)


@pytest.fixture(scope="session")
def cinder_ways_of_28() -> Iterator[Worker]:
    yield from worker("cinder", "cinder_ways", earlier=CINDER_28)


@pytest.fixture(scope="session")
def cinder_ways() -> Iterator[Worker]:
    yield from worker("cinder", "cinder_ways")


@pytest.fixture(scope="session")
def cinder_ways_on_mariadb() -> Iterator[Worker]:
    if mariadb.program() is None:
        pytest.skip(f"mariadbd is not installed; `apt-get install {mariadb.PACKAGE}` installs it")
    with TemporaryDirectory(prefix="mariadb-") as directory, mariadb.running(Path(directory)) as database:
        yield from worker("cinder", "cinder_ways", database)


@pytest.fixture(scope="session")
def cinder_copy() -> Iterator[Worker]:
    yield from worker("cinder", "cinder_copy")


@pytest.fixture(scope="session")
def glance_store() -> Iterator[Worker]:
    yield from worker("glance_store")


@pytest.fixture(scope="session")
def suite_on_theirs() -> Iterator[Worker]:
    yield from worker("glance_store", "glance_store_suite")


@pytest.fixture(scope="session")
def suite_on_ours() -> Iterator[Worker]:
    yield from worker("glance_store", "glance_store_suite")


@pytest.fixture(scope="session")
def glance() -> Iterator[Worker]:
    yield from worker("glance")


@pytest.fixture(scope="session")
def cinder_suite_on_theirs() -> Iterator[Worker]:
    yield from worker("cinder", "cinder_suite")


@pytest.fixture(scope="session")
def cinder_suite_on_ours() -> Iterator[Worker]:
    yield from worker("cinder", "cinder_suite")


@pytest.fixture(scope="session")
def cinder_suite_with_all_on() -> Iterator[Worker]:
    yield from worker("cinder", "cinder_suite")


@pytest.fixture(scope="session")
def driver_suite() -> Iterator[Worker]:
    yield from worker("cinder", "driver_suite")


@pytest.fixture(scope="session")
def solidfire() -> Iterator[Worker]:
    if not SOLIDFIRE.exists():
        pytest.skip("cinder 13.0.9 is not unpacked; `nox -s upstream` unpacks it")
    yield from worker("cinder", "solidfire")
