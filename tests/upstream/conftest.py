"""One worker a service, for all tests; without the service the tests are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import hypothesis
import pytest

from tests.upstream.asking import Worker

# By hand, before a release: `nox -s upstream -- --hypothesis-profile=thorough`.
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=100_000)


def worker(service: str) -> Iterator[Worker]:
    if find_spec(service) is None:
        pytest.skip(f"{service} is not installed; `nox -s upstream` installs it")
    with Worker(service) as started:
        yield started


@pytest.fixture(scope="session")
def cinder() -> Iterator[Worker]:
    yield from worker("cinder")


@pytest.fixture(scope="session")
def glance_store() -> Iterator[Worker]:
    yield from worker("glance_store")
