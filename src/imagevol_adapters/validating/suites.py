"""The conformance suites, run against a backend by pytest in this process, without a word of pytest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from imagevol_adapters.ports import Attacher
from imagevol_adapters.validating.bench import Bench, OutOfTime
from imagevol_adapters.validating.marked_volumes import MarkedVolumes
from imagevol_core import NotSeen, Seen
from imagevol_core.sentences import amount

if TYPE_CHECKING:
    import pytest

__all__ = ["SUITES", "run_suites"]

SUITES = ("suite-volumes", "suite-attacher")
_FILE = Path(__file__).with_name("suite.py")
_QUIET = ("-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:logging", "--noconftest", "-s", "-W", "ignore")
_SWITCH = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
# What a backend with room for everything, or a type with a store of its own, need not do.
_OF_SMALL_BACKENDS = "finds_no_room", "says_what_it_says"
_OF_SINGLE_ATTACHMENTS = "is_in_use_until", "shares_its_host", "is_asked_for_again"


def run_suites(bench: Bench, *, volume_type: str, multiattach: bool) -> None:
    """Run the conformance suites of volumes and of the attacher.

    Args:
        bench: where they run.
        volume_type: of the volumes, by its name.
        multiattach: whether the volumes may have several attachments; what is only for others is left out.
    """
    try:
        import pytest  # noqa: PLC0415 - of an extra that few need
    except ModuleNotFoundError:
        for suite in SUITES:
            bench.missed(suite, "pytest is not installed")
        return
    bench.told("the conformance suites")
    left_out = _OF_SMALL_BACKENDS + (_OF_SINGLE_ATTACHMENTS if multiattach else ())
    impatient: Any = bench.volumes
    if attrs.has(type(impatient)) and hasattr(impatient, "wait_seconds"):
        impatient = attrs.evolve(impatient, wait_seconds=1)
    mark = bench.trial.metadata
    ports = _Ports(
        volumes=MarkedVolumes(bench.volumes, mark, bench.in_time),
        impatient=MarkedVolumes(impatient, mark, bench.in_time),
        attacher=bench.attacher,
        volume_type=volume_type,
    )
    plugin = _Plugin(ports=ports, left_out=left_out)
    with _without_plugins():
        status = pytest.main(["-c", os.devnull, "--rootdir", str(_FILE.parent), *_QUIET, str(_FILE)], [plugin])
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    for suite in SUITES:
        bench.seen[suite] = plugin.seen(suite)


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Let pytest load no plugin that happens to be installed."""
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = before


@attrs.frozen(kw_only=True)
class _Ports:
    """What the suites are run with."""

    volumes: Any
    impatient: Any
    attacher: Attacher
    volume_type: str


@attrs.define(kw_only=True)
class _Plugin:
    """Gives the suites their ports, and keeps what became of each test."""

    ports: _Ports
    left_out: tuple[str, ...]
    held: dict[str, int] = attrs.field(factory=dict)
    failed: dict[str, list[str]] = attrs.field(factory=dict)
    late: dict[str, int] = attrs.field(factory=dict)

    def pytest_configure(self, config: pytest.Config) -> None:
        """Give the suites their ports."""
        config.pluginmanager.register(self.ports, "imagevol-ports")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what does not concern this backend."""
        items[:] = [item for item in items if not any(part in item.name for part in self.left_out)]

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Keep what became of a test."""
        suite = "suite-volumes" if "Volumes" in item.nodeid else "suite-attacher"
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, OutOfTime):
            self.late[suite] = self.late.get(suite, 0) + 1
        elif error is not None:
            name = item.name.removeprefix("test_").replace("_", " ")
            self.failed.setdefault(suite, [])
            if name not in self.failed[suite]:
                self.failed[suite].append(name)
        elif call.when == "call":
            self.held[suite] = self.held.get(suite, 0) + 1

    def seen(self, suite: str) -> Seen | NotSeen:
        """Say what a suite has shown."""
        held, failed, late = self.held.get(suite, 0), self.failed.get(suite, []), self.late.get(suite, 0)
        if failed:
            return Seen(wrong=f"{len(failed)} of {amount(held + len(failed), 'test')} do not hold: {'; '.join(failed)}")
        if late or not held:
            return NotSeen(
                reason=f"{amount(held, 'test')} of the suite passed, and there was no time left for {late or 'any'}"
            )
        return Seen(count=held)
