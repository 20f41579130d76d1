"""How large the runs are, and by which seed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="of the run, as an earlier one has printed it")
    parser.addoption("--workers", type=int, default=3, help="how many worker processes there are")
    parser.addoption("--shards", type=int, default=150, help="how many shards the job has")
    parser.addoption("--kill-seconds", type=float, default=3.0, help="a worker is killed each time after so long")
