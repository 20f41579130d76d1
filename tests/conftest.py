"""What holds for every test: how many examples a law is tried on, and that no group goes missing.

A group is a directory of `tests`.  A test that cannot run here is skipped and names what it misses
(no root, no package).  Where `CI` is set nothing may be missing: a group of which every test was
skipped fails the run.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter

import hypothesis
import pytest

# No deadline anywhere: a busy machine is not a defect.
hypothesis.settings.register_profile("dev", deadline=None, max_examples=30)
# In CI the same examples each time: what fails there fails for everybody, and new ones are for developers to find.
CI = bool(os.environ.get("CI"))
hypothesis.settings.register_profile("ci", deadline=None, max_examples=30, print_blob=True, derandomize=True)
hypothesis.settings.register_profile("few", deadline=None, print_blob=True, derandomize=CI, max_examples=20)
hypothesis.settings.register_profile("property", deadline=None, print_blob=True, max_examples=500)
hypothesis.settings.register_profile("sweep", deadline=None, print_blob=True, max_examples=4000)
# For a mutant: the same few examples each time, and none of them made smaller, since nobody looks at it.
hypothesis.settings.register_profile(
    "mutation",
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=50,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("ci" if CI else "dev")


@pytest.fixture(autouse=True, scope="session")
def _threads_without_a_tracer() -> None:
    """Let no new thread be traced for its coverage.

    Two threads that begin at the same moment cannot both be in Python 3.11: one ends with "Cannot install a trace
    function while another trace function is being installed", before it has done anything.  What needs it then fails.
    """
    threading.settrace(None)  # as threading begins


class NoGroupMissing:
    """Counts, group by group, what ran and what was skipped; at the end it judges."""

    def __init__(self) -> None:
        self.ran = Counter[str]()
        self.skipped = Counter[str]()

    @property
    def missing(self) -> list[str]:
        """The groups of which nothing ran."""
        return sorted(self.skipped.keys() - self.ran.keys())

    def count(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Take note of one outcome; an expected failure is a test that ran."""
        group = report.nodeid.removeprefix("tests/").partition("/")[0]
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped[group] += 1
        elif report.when == "call":
            self.ran[group] += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.count(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.count(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.missing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for group in self.missing:
            terminalreporter.line(f"FAILED {group}: every test was skipped, and in CI none may miss", red=True)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was collected, which lives as long as the run."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    if CI and not hasattr(config, "workerinput"):  # who shares the tests out sees every outcome
        config.pluginmanager.register(NoGroupMissing())
