"""How large the runs are, by which seed, and the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coordination.services import Service, running


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="of the run, as an earlier one has printed it")
    parser.addoption("--workers", type=int, default=3, help="how many worker processes there are")
    parser.addoption("--shards", type=int, default=150, help="how many shards the job has")
    parser.addoption("--locations", type=int, default=300_000, help="how many locations the job of locations has")
    parser.addoption("--stopped-seconds", type=float, default=7.5, help="for how long the lock service stands still")
    parser.addoption("--kill-seconds", type=float, default=3.0, help="a worker is killed each time after so long")
    parser.addoption("--seconds", type=float, default=8.0, help="how long the workers use what is limited")


@pytest.fixture(params=["redis", "etcd"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "service").mkdir()
    with running(request.param, tmp_path / "service") as service:
        yield service
