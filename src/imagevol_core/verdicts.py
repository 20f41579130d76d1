"""How a table of rules is walked, and how it explains itself.

A decision is an ordered tuple of `Rule`; `evaluate` looks at every one, also after one has failed, so that an
explanation names everything that stands in the way and not just the first.  The same tuple makes the reference page and
drives the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

__all__ = ["Policy", "Rule", "RuleTable", "Verdict", "evaluate", "failed", "first_match"]

Facts = TypeVar("Facts")


class Policy(Enum):
    """Whose rules decide.

    `STRICT` is what the specifications say, made safe.  `UPSTREAM` gives the answer that Cinder 29.0.0, Glance 33.0.0
    and glance_store 5.7.0 give to the same facts, defects included: what a cloud *will* do, not what it should.
    """

    STRICT = "strict"
    UPSTREAM = "upstream"


class Verdict(NamedTuple):
    """What one rule says of one subject; a decision makes many, and a tuple is made in a third of a dataclass's time.

    Attributes:
        rule: the id of the rule.
        passed: whether it lets the subject through.
        subject: what was looked at, where a decision looks at several: a volume id, a store, a URL.
        text: the facts that decided, as a sentence.
        warning: whether a failure is to be told, and stands in the way of nothing.

    >>> print(Verdict("volume-found", False, "7ad3", "there is no such volume"))
    failed volume-found (7ad3): there is no such volume
    """

    rule: str
    passed: bool
    subject: str | None
    text: str
    warning: bool = False

    def __str__(self) -> str:
        """The verdict as one line for a person."""
        outcome = "passed" if self.passed else "warning" if self.warning else "failed"
        about = f" ({self.subject})" if self.subject else ""
        return f"{outcome} {self.rule}{about}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[Facts]):
    """One row of a table.

    Attributes:
        id: its stable name: printed, documented, tested.
        text: what must hold, in one line.
        source: where it comes from: a specification as `[clone]`, or the upstream function.
        predicate: takes the facts, gives whether the rule holds and the sentence that says why.
        gate: whether the rules after it make no sense where it does not hold, and are then not asked.
        final: whether the rules after it make no sense where it holds, and are then not asked.
        warning: whether it is worth telling that it does not hold, and no more.
    """

    id: str
    text: str
    source: str
    predicate: Callable[[Facts], tuple[bool, str]]
    gate: bool = False
    final: bool = False
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTable:
    """A named table, for the pages and tests that walk all of them.

    Attributes:
        name: what it decides.
        policy: whose rules these are.
        rules: the rows, in the order in which they are looked at.
    """

    name: str
    policy: Policy
    rules: tuple[Rule[Any], ...]


def evaluate(rules: Iterable[Rule[Facts]], facts: Facts, *, subject: str | None = None) -> tuple[Verdict, ...]:
    """Ask every rule about `facts`, in order, also after one has failed.

    Only a gate that fails, or a final rule that holds, ends the walk.

    Args:
        rules: the table.
        facts: what its predicates take.
        subject: what the verdicts are about, where there are several such things.

    Returns:
        A verdict per rule asked, in the order of the table.

    >>> even = Rule(id="even", text="the number is even", source="arithmetic",
    ...             predicate=lambda n: (n % 2 == 0, f"{n} modulo 2 is {n % 2}"))
    >>> [str(verdict) for verdict in evaluate([even], 3)]
    ['failed even: 3 modulo 2 is 1']
    """
    verdicts = []
    for rule in rules:
        passed, text = rule.predicate(facts)
        verdicts.append(Verdict(rule.id, passed, subject, text, rule.warning))
        if rule.final if passed else rule.gate:
            break
    return tuple(verdicts)


def failed(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Give the verdicts that stand in the way, in order; a warning does not.

    >>> failed([Verdict("a", True, None, "fine"), Verdict("b", False, None, "not fine")])
    (Verdict(rule='b', passed=False, subject=None, text='not fine', warning=False),)
    """
    return tuple(verdict for verdict in verdicts if not verdict.passed and not verdict.warning)


def joined(verdicts: Iterable[Verdict]) -> str:
    """Give the texts of several verdicts as one line, with their subjects.

    >>> joined([Verdict("a", False, None, "not fine"), Verdict("b", False, "7ad3", "too large")])
    'not fine; 7ad3: too large'
    """
    return "; ".join(f"{each.subject}: {each.text}" if each.subject else each.text for each in verdicts)


def first_match(
    rules: Sequence[Rule[Facts]], facts: Facts, *, subject: str | None = None
) -> tuple[Rule[Facts], tuple[Verdict, ...]]:
    """Walk a table of which the first rule that applies decides; its last rule applies to everything.

    Args:
        rules: the table.
        facts: what its predicates take; here they say whether a rule applies.
        subject: what the verdicts are about, where there are several such things.

    Returns:
        The rule that applies, and a verdict on each rule up to it, passed for the one that applies.

    >>> named = Rule(id="named", text="the one that is named", source="", predicate=lambda n: (bool(n), f"{n!r}"))
    >>> other = Rule(id="default", text="the default", source="", predicate=lambda n: (True, "none is named"))
    >>> first_match([named, other], "")[0].id
    'default'
    """
    verdicts = []
    for rule in rules[:-1]:
        applies, text = rule.predicate(facts)
        verdicts.append(Verdict(rule.id, applies, subject, text))
        if applies:
            return rule, tuple(verdicts)
    last = rules[-1]
    return last, (*verdicts, Verdict(last.id, True, subject, last.predicate(facts)[1]))
