"""What a process counts while it runs: in memory, written to a file of its own by a thread of its own.

Counting never waits for the disk and never raises.  If the file cannot be written, the log says so once, and counting
goes on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from imagevol_adapters.engine.threads import Signal, background, lock
from imagevol_adapters.forking import begun_anew_when_forked
from imagevol_adapters.metrics.opentelemetry import Instruments
from imagevol_adapters.metrics.series import Kind, Sample, Series
from imagevol_adapters.metrics.textfile import write_textfile

__all__ = ["Recorder", "recorder"]

LOG = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0  # between two writes
_MOST_WORKERS = 256
_Labels = tuple[tuple[str, str], ...]

_recorders: dict[str | None, Recorder] = {}


def recorder(file: str | None) -> Recorder:
    """Give the recorder of this process for a file: all stores and backends with that file share it.

    Args:
        file: as the operator has configured it; None to hand what is counted to OpenTelemetry only.
    """
    return _recorders.get(file) or _recorders.setdefault(file, Recorder(file))


class Recorder:
    """Counts, and writes what was counted.

    Each process writes a file of its own, `NAME-0.prom`, `NAME-1.prom` and so on, and has the number as its label
    `worker`.  It holds a lock on the number while it runs, so that the process that is started in its place takes the
    same number, and no file of a dead process stays.
    """

    def __init__(self, file: str | None, *, pause_seconds: float = _PAUSE_SECONDS) -> None:
        """Begin with nothing.

        Args:
            file: as the operator has configured it; None for no file.
            pause_seconds: at least so long after a write there is no other one.
        """
        self._file = Path(file) if file else None
        self._pause_seconds = pause_seconds
        self._slot: int | None = None  # the descriptor of the lock
        begun_anew_when_forked(self._begin)

    def _begin(self) -> None:
        """Have counted nothing in this process; the number is the parent's, and its lock too."""
        if self._slot is not None:
            os.close(self._slot)
        self._slot = None
        self._number: int | None = None
        self._values: dict[tuple[str, _Labels], float] = {}
        self._series: dict[str, Series] = {}
        self._lock = lock()
        self._changed = Signal()
        self._writes = False
        self._changes, self._written = 0, 0
        self._failure: str | None = None
        self._told = False
        self._instruments = Instruments()

    def add(self, series: Series, value: float = 1, /, **labels: str) -> None:
        """Count.

        Args:
            series: a counter; of a gauge, the value is set.
            value: how much more.
            labels: a value for each label.
        """
        try:
            self._add(series, value, labels)
        except Exception:
            if not self._told:
                self._told = True
                LOG.warning("Metrics are not counted", exc_info=True)

    def now(self, series: Series, /, **labels: str) -> None:
        """Set a gauge to the time."""
        self.add(series, time.time(), **labels)

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until what was counted is in the file, for so long at most, and tell whether it is."""
        wanted, until = self._changes, time.monotonic() + seconds
        while self._written < wanted and time.monotonic() < until:
            self._changed.set()
            Signal().wait(0.01)
        return self._written >= wanted

    def _add(self, series: Series, value: float, labels: Mapping[str, str]) -> None:
        key = (series.name, tuple(sorted(labels.items())))
        with self._lock:
            self._series[series.name] = series
            self._values[key] = value if series.kind is Kind.GAUGE else self._values.get(key, 0) + value
            self._changes += 1
            starts = self._file is not None and not self._writes
            self._writes = self._writes or starts
        if starts:
            try:
                background(self._write_always, name="imagevol-metrics")
            except BaseException:
                self._writes = False  # the next value starts it
                raise
        self._changed.set()
        if self._failure is not None and not self._told:  # the thread that writes may not log
            self._told = True
            LOG.warning("Metrics cannot be written, and the work goes on without them: %s", self._failure)
        self._instruments.record(series, value, labels)

    def _write_always(self) -> None:
        """Write when something has changed; the thread ends with the process."""
        while True:
            self._changed.wait()
            self._changed.clear()
            try:
                self._write()
            except Exception as error:  # noqa: BLE001 - tried again with the next value
                self._failure = str(error)
            Signal().wait(self._pause_seconds)

    def _write(self) -> None:
        if self._file is None:
            return
        if self._number is None:
            self._number = self._numbered(self._file)
        with self._lock:
            changes = self._changes
            samples = [
                Sample(series=self._series[name], labels=dict(labels), value=value)
                for (name, labels), value in self._values.items()
            ]
        path = self._file.with_name(f"{self._file.stem}-{self._number}{self._file.suffix or '.prom'}")
        write_textfile(path, samples, more={"worker": str(self._number)})
        self._written = changes

    def _numbered(self, file: Path) -> int:
        """Take the lowest number that no other process has."""
        failure: OSError | None = None
        for number in range(_MOST_WORKERS):
            name = file.with_name(f".{file.stem}-{number}.lock")
            try:
                descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            except PermissionError as error:  # of another service's, or nothing here may be written
                failure = error
                if not name.exists():
                    break
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                failure = error
                continue
            self._slot = descriptor
            return number
        raise failure or OSError("too many processes write metrics")

    def close(self) -> None:
        """Give the number back, for a test."""
        with suppress(OSError):
            if self._slot is not None:
                os.close(self._slot)
        self._slot, self._number = None, None
