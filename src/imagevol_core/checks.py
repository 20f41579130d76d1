"""Requirements that tell an operator what to do next: the rows of `diagnose` and `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate

__all__ = ["Check", "CheckLine", "checked"]

Facts = TypeVar("Facts")


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Requirement[Facts], Generic[Facts]):
    """A requirement, and what an operator does if it does not hold.

    Attributes:
        next: the next step, as an imperative.
        looked: takes the facts, gives whether they say anything of it; if not, it was not looked at.
        look: what to do so that it is looked at, as an imperative.
        then: what follows if it holds, as an imperative; empty if nothing does.
    """

    next: str
    looked: Callable[[Facts], bool] = _always
    look: str = ""
    then: str = ""


class CheckLine(NamedTuple):
    """What one check says.

    Attributes:
        verdict: its rule, subject, result and why.
        next: what to do; None if there is nothing to do.
        looked: whether it was looked at.  If it was not, its verdict holds, and says why it was not.
    """

    verdict: Verdict
    next: str | None
    looked: bool


def checked(rules: Mapping[Policy, Iterable[Check[Facts]]], facts: Facts, *, subject: str) -> Iterator[CheckLine]:
    """Ask each check of a table, in order; only a gate that fails ends the walk.

    Args:
        rules: the table.
        facts: what its checks take.
        subject: what the lines are about.

    >>> even = Check(id="even", text="the number is even", source="arithmetic", next="Add 1.",
    ...              holds=lambda n: (n % 2 == 0, f"{n} modulo 2 is {n % 2}"))
    >>> [(line.verdict.text, line.next) for line in checked({Policy.STRICT: [even]}, 3, subject="3")]
    [('3 modulo 2 is 1', 'Add 1.')]
    """
    checks = {check.id: check for check in rules[Policy.STRICT]}
    for verdict in evaluate(checks.values(), facts, subject=subject):
        check = checks[verdict.rule]
        looked = verdict.faults or check.looked(facts)
        step = check.next if verdict.faults else check.then if looked else check.look
        yield CheckLine(verdict, step or None, looked)
