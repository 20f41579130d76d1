"""The fixture `ceph`: one for all tests of a run, ended with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rbd.ceph import problem, running


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a running Ceph."""
    if reason := problem():
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("ceph")) as configuration:
        yield configuration
