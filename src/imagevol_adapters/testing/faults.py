"""Faults on purpose: every step of a procedure can be made to fail, and every read and write of a device.

A procedure is run once to count its steps, and then once for each of them to see it fail there::

    steps = Steps()
    procedure(volumes=steps.volumes(volumes), attacher=steps.attacher(attacher))
    for number in range(len(steps.taken)):
        failing = Steps(fail_at=number)
        with pytest.raises(ServiceFailed) as raised:
            procedure(volumes=failing.volumes(volumes), attacher=failing.attacher(attacher))
        assert raised.value.leftovers or not volumes.volumes  # if the deletion fails too, the error names what is left

`fault_language` has other ways in which calls go wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from imagevol_adapters.ports import Device
from imagevol_adapters.testing.watching import Watching
from imagevol_core import ServiceFailed

__all__ = ["FaultyDevice", "Steps"]


def _fault() -> BaseException:
    return ServiceFailed("failed on purpose")


@attrs.define(kw_only=True)
class Steps(Watching):
    """Counts the calls to the ports that it wraps, and lets one of them fail before it has done anything.

    Args:
        fail_at: the number of the call that fails, from 0 on; None to let none fail.
        fault: makes the error that is raised.
        lasting: whether every later call fails too, as if the service were gone for good.

    Attributes:
        taken: the names of the calls in order, such as `volumes.create`.  The end of the context that `Attacher.open`
            gives is `attacher.close`.
    """

    fail_at: int | None = None
    fault: Callable[[], BaseException] = _fault
    lasting: bool = False
    taken: list[str] = attrs.field(factory=list, init=False)

    def take(self, name: str) -> None:
        """Count one step, and fail if it is the one."""
        number = len(self.taken)
        self.taken.append(name)
        if self.fail_at is not None and (number == self.fail_at or (self.lasting and number > self.fail_at)):
            raise self.fault()

    def call(self, name: str, do: Callable[[], Any], arguments: tuple[object, ...]) -> Any:  # noqa: ARG002
        """Count a call as a step, and carry it out if it does not fail."""
        self.take(name)
        return do()


def _script(words: Iterable[int | BaseException]) -> Iterator[int | BaseException]:
    return iter(words)


def _answers(words: Iterable[bool]) -> Iterator[bool]:
    return iter(words)


def _all(_number: int, length: int) -> int:
    return length


def _flushes(words: Iterable[BaseException | None]) -> Iterator[BaseException | None]:
    return iter(words)


@attrs.define
class FaultyDevice:
    """A `Device` that wraps another one, and takes, gives and clears less than that one, or fails, by a script.

    When a script ends, all later calls do what the wrapped device does.

    Args:
        device: the wrapped device.
        writes: for each call of `write`, how many bytes it takes at most, or the error that it raises.
        reads: the same for `readinto`.
        clears: for each call of `clear`, False to clear nothing and to say so.
        zeroed: called with the number of a call of `clear`, from 0 on, and its length; gives how many bytes of the
            range are cleared.  `clear` answers that all are.
        flushes: for each call of `flush`, the error that it raises, or None.

    Attributes:
        cleared: the ranges that it was asked to clear, as offsets and lengths.

    >>> from imagevol_adapters.testing.memory import MemoryDevice
    >>> FaultyDevice(MemoryDevice(16), writes=[3]).write(0, memoryview(b"bytes"))
    3
    """

    device: Device
    writes: Iterator[int | BaseException] = attrs.field(default=(), converter=_script, kw_only=True)
    reads: Iterator[int | BaseException] = attrs.field(default=(), converter=_script, kw_only=True)
    clears: Iterator[bool] = attrs.field(default=(), converter=_answers, kw_only=True)
    zeroed: Callable[[int, int], int] = attrs.field(default=_all, kw_only=True)
    flushes: Iterator[BaseException | None] = attrs.field(default=(), converter=_flushes, kw_only=True)
    cleared: list[tuple[int, int]] = attrs.field(factory=list, init=False, repr=False)

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return self.device.size_bytes

    @property
    def what(self) -> str:
        """How an error names it."""
        return self.device.what

    @property
    def look_at(self) -> str:
        """What the operator looks at if it does not answer."""
        return self.device.look_at

    @property
    def path(self) -> str:
        """What it is on this host."""
        return self.device.path

    @property
    def block_device(self) -> bool | None:
        """Whether it is one; None where no other program could open it."""
        return self.device.block_device

    @property
    def direct_io(self) -> bool:
        """Whether it goes past the page cache."""
        return self.device.direct_io

    @property
    def can_clear(self) -> bool:
        """Whether it may be worth calling `clear`."""
        return self.device.can_clear

    @property
    def clear_bytes(self) -> int:
        """The most that one call of `clear` can take."""
        return self.device.clear_bytes

    @property
    def guarantee(self) -> str | None:
        """Who promises that it was zero when it was made."""
        return self.device.guarantee

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Give as much as the script says."""
        return self.device.readinto(offset, buffer[: _scripted(self.reads, len(buffer))])

    def write(self, offset: int, data: memoryview) -> int:
        """Write as much as the script says."""
        return self.device.write(offset, data[: _scripted(self.writes, len(data))])

    def clear(self, offset: int, length: int) -> bool:
        """Let a range read as zeros, if the script does not forbid it."""
        zeroed = self.zeroed(len(self.cleared), length)
        self.cleared.append((offset, length))
        return next(self.clears, True) and (not zeroed or self.device.clear(offset, zeroed))

    def distrust(self) -> None:
        """Let the device behind it do so."""
        self.device.distrust()

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield where data and holes are."""
        return self.device.extents(offset, length)

    def flush(self) -> None:
        """Fail if the script says so."""
        fault = next(self.flushes, None)
        if fault is not None:
            raise fault
        self.device.flush()

    def leave_open(self) -> None:
        """Let the device behind it do so."""
        self.device.leave_open()


def _scripted(script: Iterator[int | BaseException], length: int) -> int:
    """The script's next word about a call that would move so many bytes."""
    word = next(script, length)
    if isinstance(word, BaseException):
        raise word
    return min(word, length)
