"""Runs suites of drivers in a process that has Cinder, and gives how each test ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.upstream.asking import ROOT, serve

HERE = Path(__file__).parent


class Outcomes:
    """How each test ended: `passed`, `skipped` and why, or what failed."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        if isinstance(report.longrepr, tuple):
            self.of[name] = report.longrepr[-1]
        elif not report.passed:
            self.of[name] = report.longreprtext
        elif report.when == "call":
            self.of[name] = "passed"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.of[report.nodeid] = report.longreprtext


def run(suite: str, names: list[str]) -> dict[str, str]:
    """Run a suite, or a class of it, or those of its tests that are named; beside it may be what it imports."""
    path = HERE / suite  # or elsewhere
    tests = [f"{path}::{name}" for name in names] or [str(path)]
    outcomes = Outcomes()
    # Without the project's configuration: what Cinder warns about when it is imported is Cinder's.
    plain = ["-c", os.devnull, f"--rootdir={ROOT}", "--import-mode=importlib", "-W=ignore", "-pno:cacheprovider"]
    plain += ["-o", f"pythonpath={path.parent}"]
    pytest.main([*plain, "--quiet", "--no-header", "--no-summary", *tests], [outcomes])
    return outcomes.of


if __name__ == "__main__":
    serve({"run": run})
