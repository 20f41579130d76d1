"""How far a command is: a bar on a terminal, lines of JSON with `--progress json`, and a line on SIGUSR1."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from imagevol_adapters.cli.asking import quiet
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.engine import TransferProgress

__all__ = ["PROGRESS", "Progress", "begin", "counted", "moved", "phase"]

T = TypeVar("T")

PROGRESS = ("json",)
"""What `--progress` takes."""

_EVERY_SECONDS = 1.0
_STANDARD_ERROR = 2


@attrs.define(kw_only=True)
class Progress:
    """How far one command is.

    Args:
        as_json: whether each step is a line of JSON.
        clock: counts seconds.

    Attributes:
        operation: an id of this run of the command.
    """

    as_json: bool = False
    clock: Callable[[], float] = time.monotonic
    operation: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    _phase: str | None = attrs.field(default=None, init=False)
    _done: int = attrs.field(default=0, init=False)
    _total: int | None = attrs.field(default=None, init=False)
    _unit: str = attrs.field(default="", init=False)
    _begun: float = attrs.field(default=0.0, init=False)
    _told: float = attrs.field(default=0.0, init=False)

    @contextmanager
    def doing(self, phase: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        """Tell how far a phase is while the context lasts; what it gives takes how much is done by now.

        Args:
            phase: its name.
            total: how much there is to do; None if that is not known.
            unit: what is counted.
        """
        self._phase, self._done, self._total, self._unit = phase, 0, total, unit
        self._begun = self._told = self.clock()
        self._tell(finished=False)
        with self._bar() as bar:

            def advance(done: int) -> None:
                self._done = done
                if bar is not None:
                    bar.update(done - bar.n)
                if self.clock() - self._told >= _EVERY_SECONDS:
                    self._tell(finished=False)

            yield advance
        self._tell(finished=True)

    def line(self) -> str:
        """Say in one line how far it is, for a person or as JSON."""
        if self.as_json:
            return json.dumps(self._values(finished=False))
        if self._phase is None:
            return "Nothing is counted yet."
        of = "" if self._total is None else f" of {self._total}"
        rate = self._rate()
        speed = "" if rate is None else f", {rate:.3g} a second"
        return f"{said(self._phase)}: {self._done}{of} {self._unit}{speed}"

    def _values(self, *, finished: bool) -> dict[str, object]:
        return {
            "operation": self.operation,
            "phase": self._phase,
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "rate": self._rate(),
            "finished": finished,
        }

    def _rate(self) -> float | None:
        seconds = self.clock() - self._begun
        return self._done / seconds if self._done and seconds > 0 else None

    def _tell(self, *, finished: bool) -> None:
        self._told = self.clock()
        if self.as_json:
            with suppress(OSError, ValueError):  # a line that only informs ends no command
                print(json.dumps(self._values(finished=finished)), file=sys.stderr, flush=True)

    @contextmanager
    def _bar(self) -> Iterator[Any]:
        if self.as_json or quiet() or self._unit == "steps":
            yield None
            return
        from tqdm import tqdm

        of_bytes: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
        shape = of_bytes if self._unit == "bytes" else {"unit": f" {self._unit}"}
        with tqdm(total=self._total, desc=self._phase, file=sys.stderr, leave=self._total is not None, **shape) as bar:
            yield bar


_current = Progress()


def begin(progress: str | None) -> None:
    """Begin a command; from now on SIGUSR1 tells how far it is.

    Args:
        progress: what `--progress` says; None if it was not given.
    """
    global _current  # noqa: PLW0603 - a process runs one command
    _current = Progress(as_json=progress == "json")
    with suppress(ValueError):  # not in the first thread, where no signal arrives
        signal.signal(signal.SIGUSR1, _answer)


def counted(things: Iterable[T], *, phase: str, total: int | None = None, unit: str) -> Generator[T, None, None]:
    """Give what there is, and tell how many that were.

    Args:
        things: what is counted.
        phase: the name of the phase.
        total: how many there are; None if that is not known.
        unit: what is counted, in the plural.
    """
    with _current.doing(phase, total, unit) as advance:
        for number, thing in enumerate(things, 1):
            yield thing
            advance(number)


@contextmanager
def moved(phase: str, total_bytes: int | None) -> Iterator[Callable[[TransferProgress], None]]:
    """Tell how many bytes were moved while the context lasts.

    Args:
        phase: the name of the phase.
        total_bytes: how many there are; None if that is not known.
    """
    with _current.doing(phase, total_bytes, "bytes") as advance:
        yield lambda progress: advance(progress.done_bytes)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Tell of a phase in which nothing is counted."""
    with _current.doing(name, 1, "steps") as advance:
        yield
        advance(1)


def _answer(*_: object) -> None:
    """Write past Python's buffers, in which the signal may have arrived."""
    with suppress(OSError):
        os.write(_STANDARD_ERROR, f"{_current.line()}\n".encode())
