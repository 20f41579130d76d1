"""A language for faults: how calls of ports go wrong, which calls, composed, and drawn from a seed.

A *fault* says how a call goes wrong: `fails`, `stalls`, `loses_answer`, `twice`, `late`, `old`, `dies`, `dies_after`.
`composed` puts one around another.  A *plan* says which calls go wrong and how: `at`, `on`, `seeded`, `first_of`.

The answer to the creation of a volume is lost, and the procedure must not leave that volume:

>>> from imagevol_adapters.testing.fault_language import Faults, composed, on, seeded
>>> from imagevol_adapters.testing.fault_language import fails, loses_answer, old, stalls, twice
>>> from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
>>> from imagevol_adapters.transfers import store_image
>>> volumes = MemoryVolumes()
>>> faults = Faults(on("volumes.create", loses_answer()))
>>> watched = {"volumes": faults.volumes(volumes), "attacher": faults.attacher(MemoryAttacher(volumes=volumes))}
>>> store_image(iter([b"data"]), image_id="i", image_owner="p", size_bytes=4, **watched)
Traceback (most recent call last):
imagevol_core.errors.ServiceUnreachable: the connection was closed before the answer to volumes.create came
>>> faults.brought, volumes.volumes
([('volumes.create', 'loses_answer')], {})

Twenty bad days, each of which its seed brings about again.  What fails leaves no volume, or names it:

>>> from imagevol_core import ImagevolError
>>> for seed in range(20):
...     volumes = MemoryVolumes()
...     faults = Faults(seeded(seed, [fails(), stalls(), composed(twice(), loses_answer()), old()], rate=0.2))
...     watched = {"volumes": faults.volumes(volumes), "attacher": faults.attacher(MemoryAttacher(volumes=volumes))}
...     try:
...         _ = store_image(iter([b"data"]), image_id="i", image_owner="p", size_bytes=4, **watched)
...     except ImagevolError as error:
...         assert error.leftovers or not volumes.volumes, seed

A worker that `dies` makes no call any more, also not one that would clean up, as a process that was killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from random import Random
from typing import Any

import attrs

from imagevol_adapters.testing.watching import Watching
from imagevol_core import DeadlineExceeded, ServiceFailed, ServiceUnreachable

__all__ = [
    "READING",
    "Call",
    "Fault",
    "Faults",
    "Killed",
    "Plan",
    "at",
    "composed",
    "dies",
    "dies_after",
    "fails",
    "first_of",
    "late",
    "loses_answer",
    "old",
    "on",
    "seeded",
    "stalls",
    "twice",
]

READING = frozenset(
    {
        "all_attachments",
        "all_volumes",
        "attachment",
        "attachment_now",
        "base_image_id",
        "changed",
        "find",
        "get",
        "holders",
        "listed",
        "named",
        "placed",
        "recording",
        "reservations",
        "shares_host",
        "stores_of",
        "types_of",
        "with_metadata",
        "with_properties",
    }
)
"""The methods that change nothing, and whose answers may be old."""


class Killed(BaseException):
    """The process of the worker was killed here."""


@attrs.frozen(kw_only=True)
class Call:
    """One call of a port.

    Attributes:
        name: the port and the method, such as `volumes.create`.
        number: how many calls were made before it.
        nth: how many of them had the same name.
        arguments: what it was given.
        do: carries it out, and gives the answer.
        answers: earlier answers to the same question, the oldest first; none if it is not one of `READING`.
    """

    name: str
    number: int
    nth: int
    arguments: tuple[object, ...]
    do: Callable[[], Any]
    answers: Sequence[Any] = ()

    @property
    def method(self) -> str:
        """The name without the port."""
        return self.name.rpartition(".")[2]


@attrs.frozen
class Fault:
    """How a call goes wrong.

    Attributes:
        name: what it is called in `Faults.brought`.
        act: given the call, carries it out, or does not, and gives an answer or raises an error.
    """

    name: str
    act: Callable[[Call], Any]


Plan = Callable[[Call], Fault | None]
"""Says how a call goes wrong; None if it does not."""


@attrs.define
class Faults(Watching):
    """Wraps ports, whose calls go wrong as a plan says.

    Args:
        plan: which calls go wrong, and how.
        before: called before each call, such as to let another worker go first.

    Attributes:
        calls: the names of the calls in order.
        brought: which faults were brought about, each as the name of the call and of the fault.
        dead: whether the worker was killed: then each call raises `Killed`.
    """

    plan: Plan
    before: Callable[[Call], object] | None = None
    calls: list[str] = attrs.field(factory=list, init=False)
    brought: list[tuple[str, str]] = attrs.field(factory=list, init=False)
    dead: bool = attrs.field(default=False, init=False)
    _counts: Counter[str] = attrs.field(factory=Counter, init=False, repr=False)
    _answers: dict[tuple[str, str], list[Any]] = attrs.field(factory=dict, init=False, repr=False)

    def call(self, name: str, do: Callable[[], Any], arguments: tuple[object, ...]) -> Any:
        """Carry a call out as the plan says."""
        self._expect_alive()
        answers = self._answers.setdefault((name, repr(arguments)), []) if _reads(name) else []
        call = Call(
            name=name, number=len(self.calls), nth=self._counts[name], arguments=arguments, do=do, answers=answers
        )
        self.calls.append(name)
        self._counts[name] += 1
        if self.before:
            self.before(call)
            self._expect_alive()
        fault = self.plan(call)
        if fault:
            self.brought.append((name, fault.name))
        try:
            answer = fault.act(call) if fault else call.do()
        except Killed:
            self.dead = True
            raise
        if _reads(name):
            if isinstance(answer, Iterator) and not fault:
                answer = tuple(answer)
                answers.append(answer)
                return iter(answer)
            if not fault:
                answers.append(answer)
        return answer

    def _expect_alive(self) -> None:
        if self.dead:
            raise Killed("the process was killed before")


def _reads(name: str) -> bool:
    return name.rpartition(".")[2] in READING


# How a call goes wrong.


def fails(error: Callable[[str], BaseException] = ServiceFailed) -> Fault:
    """Fail before anything is done.

    Args:
        error: makes the error, given a sentence.
    """

    def act(call: Call) -> Any:
        raise error(f"{call.name} failed on purpose")

    return Fault("fails", act)


def stalls(wait: Callable[[], object] | None = None) -> Fault:
    """Do nothing until the deadline has passed.

    Args:
        wait: what passes the time, such as letting other workers go on.
    """

    def act(call: Call) -> Any:
        if wait:
            wait()
        raise DeadlineExceeded(f"{call.name} stalled on purpose", seconds=0)

    return Fault("stalls", act)


def loses_answer(error: Callable[[str], BaseException] = ServiceUnreachable) -> Fault:
    """Do it, and lose the answer; an answer in parts breaks off after the first part.

    Args:
        error: makes the error, given a sentence.
    """

    def act(call: Call) -> Any:
        answer = call.do()
        lost = error(f"the connection was closed before the answer to {call.name} came")
        if isinstance(answer, Iterator):
            return _broken_off(answer, lost)
        raise lost

    return Fault("loses_answer", act)


def twice() -> Fault:
    """Do it twice, as a proxy or a client does that repeats a request; the answer is that of the second time.

    What was given in parts, which can be read only once, is done once, and so is what this host does to a device.
    """

    def act(call: Call) -> Any:
        local = call.name.startswith(("attacher.", "device."))
        if not local and not any(isinstance(value, Iterator) for value in _values(call.arguments)):
            call.do()
        return call.do()

    return Fault("twice", act)


def late(wait: Callable[[], object]) -> Fault:
    """Do it, and answer late.

    Args:
        wait: what passes the time, such as letting other workers go on.
    """

    def act(call: Call) -> Any:
        answer = call.do()
        wait()
        return answer

    return Fault("late", act)


def old() -> Fault:
    """Answer as things were: by the oldest answer to the same question, as an eventually consistent service does.

    A list that was not asked for before is empty.  A call that changes something is as usual.
    """

    def act(call: Call) -> Any:
        if call.method not in READING:
            return call.do()
        if call.answers:
            first = call.answers[0]
            return iter(first) if call.method in _IN_PARTS else first
        answer = call.do()
        if isinstance(answer, Iterator):
            return iter(())
        return () if isinstance(answer, tuple) else answer

    return Fault("old", act)


def dies() -> Fault:
    """Kill the process before anything is done."""

    def act(call: Call) -> Any:
        raise Killed(f"killed before {call.name}")

    return Fault("dies", act)


def dies_after() -> Fault:
    """Do it, and kill the process before the answer comes."""

    def act(call: Call) -> Any:
        call.do()
        raise Killed(f"killed after {call.name}")

    return Fault("dies_after", act)


def composed(outer: Fault, inner: Fault) -> Fault:
    """Give a fault in which the outer one does what the inner one makes of the call.

    >>> composed(twice(), loses_answer()).name
    'twice, loses_answer'
    """

    def act(call: Call) -> Any:
        return outer.act(attrs.evolve(call, do=lambda: inner.act(call)))

    return Fault(f"{outer.name}, {inner.name}", act)


# Which calls go wrong.


def at(number: int, fault: Fault) -> Plan:
    """Let the call of this number go wrong, from 0 on."""
    return lambda call: fault if call.number == number else None


def on(pattern: str, fault: Fault, *, nth: int | None = None) -> Plan:
    """Let the calls of a name go wrong.

    Args:
        pattern: the name, such as `volumes.create`, or a pattern of names, such as `volumes.*`.
        fault: how.
        nth: which of the calls of the same name, from 0 on; None for all of them.
    """
    return lambda call: fault if fnmatchcase(call.name, pattern) and nth in (None, call.nth) else None


def seeded(seed: int, faults: Sequence[Fault], *, rate: float) -> Plan:
    """Let calls go wrong at random.

    Args:
        seed: the same calls in the same order go wrong in the same way if the seed is the same.
        faults: of which one is drawn.
        rate: how many of the calls go wrong, from 0 to 1.
    """
    random = Random(seed)  # noqa: S311 - not for cryptography
    return lambda _: random.choice(faults) if random.random() < rate else None


def first_of(*plans: Plan) -> Plan:
    """Let calls go wrong as the first of the plans says that says anything."""
    return lambda call: next((fault for plan in plans if (fault := plan(call))), None)


_IN_PARTS = frozenset({"all_attachments", "all_volumes", "changed", "listed", "placed"})


def _broken_off(answer: Iterator[Any], lost: BaseException) -> Iterator[Any]:
    yield from islice(answer, 1)
    raise lost


def _values(arguments: tuple[object, ...]) -> Iterator[object]:
    """The values of arguments, of those that have a name too."""
    for argument in arguments:
        yield argument[1] if isinstance(argument, tuple) and len(argument) == 2 else argument
