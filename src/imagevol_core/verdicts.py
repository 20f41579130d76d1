"""The two kinds of rules, and how a table of them is walked and explains itself.

A table of `Requirement` says what must hold: each is asked, also after one has failed, so that an explanation names
everything that stands in the way and not just the first.  A table of `Choice` says what may follow: the first that
applies decides, and its outcome is on the row.  The same tables make the reference page and drive the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from imagevol_core.errors import UnknownRelease

__all__ = [
    "Choice",
    "Policy",
    "Requirement",
    "Result",
    "RuleTable",
    "Verdict",
    "evaluate",
    "every_match",
    "failed",
    "first_match",
]

Facts = TypeVar("Facts")
T = TypeVar("T")
Outcome = TypeVar("Outcome")
Outcome_co = TypeVar("Outcome_co", covariant=True)


class Policy(Enum):
    """Whose rules decide.

    `STRICT` is what the specifications say, made safe.  `UPSTREAM` gives the answer that Cinder 29.0.0, Glance 33.0.0
    and glance_store 5.7.0 give to the same facts, defects included: what a cloud *will* do, not what it should.

    `CINDER_28` gives the answer of Cinder 28.0.0 where that is another one, and the answer of `UPSTREAM` otherwise.
    """

    STRICT = "strict"
    UPSTREAM = "upstream"
    CINDER_28 = "cinder-28"

    __hash__ = (
        object.__hash__
    )  # each table is found by its policy, and the hash of an enumeration takes a third of that

    @classmethod
    def upstream(cls, *, cinder: int) -> Policy:
        """Give the policy that answers as this release of Cinder; `UPSTREAM` for the newest one that is known.

        Args:
            cinder: the first number of its version.

        Raises:
            UnknownRelease: this release is not known.

        >>> Policy.upstream(cinder=28), Policy.upstream(cinder=29)
        (<Policy.CINDER_28: 'cinder-28'>, <Policy.UPSTREAM: 'upstream'>)
        """
        if cinder not in _OF_CINDER:
            raise UnknownRelease("cinder", cinder, known=tuple(_OF_CINDER))
        return _OF_CINDER[cinder]


_OF_CINDER = {28: Policy.CINDER_28, 29: Policy.UPSTREAM}
_NEXT = {Policy.CINDER_28: Policy.UPSTREAM}  # the release after it: what an earlier one has no table for did not change


def table_of(tables: Mapping[Policy, T], policy: Policy) -> T:
    """Give what a policy has: of an earlier release without an entry, that of the next release which has one.

    >>> table_of({Policy.STRICT: "anywhere", Policy.UPSTREAM: "nowhere"}, Policy.CINDER_28)
    'nowhere'
    """
    table = tables.get(policy)
    return table_of(tables, _NEXT[policy]) if table is None else table


class Result(Enum):
    """What a rule says of its subject.

    A requirement `HOLDS` or `FAILS`; one that is only worth telling `WARNS` where it does not hold.  A choice `APPLIES`
    or `DOES_NOT_APPLY`, and neither is good or bad.
    """

    HOLDS = "holds"
    FAILS = "fails"
    WARNS = "warns"
    APPLIES = "applies"
    DOES_NOT_APPLY = "does-not-apply"


class Verdict(NamedTuple):
    """What one rule says of one subject; a decision makes many, and a tuple is made in a third of a dataclass's time.

    Attributes:
        rule: the id of the rule.
        result: what it says.
        subject: what was looked at, where a decision looks at several: a volume id, a store, a URL.
        text: the facts that decided, as a sentence.

    >>> print(Verdict("volume-found", Result.FAILS, "7ad3", "there is no such volume"))
    fails volume-found (7ad3): there is no such volume
    """

    rule: str
    result: Result
    subject: str | None
    text: str

    @property
    def ok(self) -> bool:
        """Whether it stands in the way of nothing; only a requirement that fails does."""
        return self.result is not Result.FAILS

    @property
    def applies(self) -> bool:
        """Whether it is of a choice that applies."""
        return self.result is Result.APPLIES

    @property
    def faults(self) -> bool:
        """Whether it is of a requirement that does not hold, which fails or warns."""
        return self.result in (Result.FAILS, Result.WARNS)

    def as_dict(self) -> dict[str, str | None]:
        """Give it as JSON has it.

        >>> Verdict("volume-found", Result.HOLDS, "7ad3", "it is there").as_dict()
        {'rule': 'volume-found', 'result': 'holds', 'subject': '7ad3', 'text': 'it is there'}
        """
        return {"rule": self.rule, "result": self.result.value, "subject": self.subject, "text": self.text}

    def __str__(self) -> str:
        """The verdict as one line for a person."""
        about = f" ({self.subject})" if self.subject else ""
        return f"{self.result.value} {self.rule}{about}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement(Generic[Facts]):
    """A rule that must hold.

    Attributes:
        id: its stable name: printed, documented, tested.
        text: what must hold, in one line.
        source: where it comes from: a specification as `[clone]`, or the upstream function.
        holds: takes the facts, gives whether it holds and the sentence that says why.
        gate: whether the rules after it make no sense where it does not hold, and are then not asked.
        raises: whether the service fails with an error where it does not hold, and tries nothing else.
        warning: whether it is worth telling that it does not hold, and no more.
    """

    id: str
    text: str
    source: str
    holds: Callable[[Facts], tuple[bool, str]]
    gate: bool = False
    raises: bool = False
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Generic[Facts, Outcome_co]):
    """A rule that decides where it applies.

    Attributes:
        id: its stable name: printed, documented, tested.
        text: when it applies and what follows, in one line.
        source: where it comes from: a specification as `[clone]`, or the upstream function.
        applies: takes the facts, gives whether it applies and the sentence that says why.
        outcome: what follows if it applies; in some tables a function of the facts.
        final: whether nothing after it is looked at where it applies, in a table of which every match counts.
    """

    id: str
    text: str
    source: str
    applies: Callable[[Facts], tuple[bool, str]]
    outcome: Outcome_co
    final: bool = False


Rule = Requirement[Any] | Choice[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTable:
    """A named table, for the pages and tests that walk all of them.

    Attributes:
        name: what it decides.
        policy: whose rules these are.
        rules: the rows, in the order in which they are looked at; all of one kind.
    """

    name: str
    policy: Policy
    rules: tuple[Rule, ...]


_HOLDS, _FAILS, _WARNS = Result.HOLDS, Result.FAILS, Result.WARNS
_APPLIES, _DOES_NOT_APPLY = Result.APPLIES, Result.DOES_NOT_APPLY


def evaluate(
    requirements: Iterable[Requirement[Facts]], facts: Facts, *, subject: str | None = None
) -> tuple[Verdict, ...]:
    """Ask every requirement about `facts`, in order, also after one has failed; only a gate that fails ends the walk.

    Args:
        requirements: the table.
        facts: what its rules take.
        subject: what the verdicts are about, where there are several such things.

    Returns:
        A verdict per rule asked, in the order of the table.

    >>> even = Requirement(id="even", text="the number is even", source="arithmetic",
    ...                    holds=lambda n: (n % 2 == 0, f"{n} modulo 2 is {n % 2}"))
    >>> [str(verdict) for verdict in evaluate([even], 3)]
    ['fails even: 3 modulo 2 is 1']
    """
    verdicts = []
    for rule in requirements:
        holds, text = rule.holds(facts)
        verdicts.append(Verdict(rule.id, _HOLDS if holds else _WARNS if rule.warning else _FAILS, subject, text))
        if rule.gate and not holds:
            break
    return tuple(verdicts)


def failed(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Give the verdicts that stand in the way, in order; a warning does not.

    >>> failed([Verdict("a", Result.HOLDS, None, "fine"), Verdict("b", Result.FAILS, None, "not fine")])
    (Verdict(rule='b', result=<Result.FAILS: 'fails'>, subject=None, text='not fine'),)
    """
    return tuple(verdict for verdict in verdicts if verdict.result is _FAILS)


def joined(verdicts: Iterable[Verdict]) -> str:
    """Give the texts of several verdicts as one line, with their subjects.

    >>> joined([Verdict("a", Result.FAILS, None, "not fine"), Verdict("b", Result.FAILS, "7ad3", "too large")])
    'not fine; 7ad3: too large'
    """
    return "; ".join(f"{each.subject}: {each.text}" if each.subject else each.text for each in verdicts)


def first_match(
    choices: Sequence[Choice[Facts, Outcome]], facts: Facts, *, subject: str | None = None
) -> tuple[Outcome, tuple[Verdict, ...]]:
    """Walk a table of which the first choice that applies decides; its last one applies to everything.

    Args:
        choices: the table.
        facts: what its rules take.
        subject: what the verdicts are about, where there are several such things.

    Returns:
        The outcome of the choice that applies, and a verdict on each one up to it.

    >>> named = Choice(id="named", text="the one that is named", source="", outcome="named",
    ...                applies=lambda n: (bool(n), f"{n!r}"))
    >>> other = Choice(id="default", text="the default", source="", outcome="default",
    ...                applies=lambda n: (True, "none is named"))
    >>> first_match([named, other], "")[0]
    'default'
    """
    verdicts = []
    for choice in choices[:-1]:
        applies, text = choice.applies(facts)
        verdicts.append(Verdict(choice.id, _APPLIES if applies else _DOES_NOT_APPLY, subject, text))
        if applies:
            return choice.outcome, tuple(verdicts)
    last = choices[-1]
    return last.outcome, (*verdicts, Verdict(last.id, _APPLIES, subject, last.applies(facts)[1]))


def every_match(
    choices: Iterable[Choice[Facts, Outcome]], facts: Facts, *, subject: str | None = None
) -> tuple[tuple[Outcome, ...], tuple[Verdict, ...]]:
    """Walk a table of which every choice that applies counts, in order; a final one that applies ends the walk.

    Args:
        choices: the table.
        facts: what its rules take.
        subject: what the verdicts are about, where there are several such things.

    Returns:
        The outcomes of the choices that apply, and a verdict on each one looked at.

    >>> small = Choice(id="small", text="it fits a byte", source="", outcome=1, applies=lambda n: (n < 256, f"{n}"))
    >>> large = Choice(id="large", text="it fits a word", source="", outcome=2, applies=lambda n: (n < 65536, f"{n}"))
    >>> every_match([small, large], 7)[0], every_match([small, large], 300)[0]
    ((1, 2), (2,))
    """
    outcomes, verdicts = [], []
    for choice in choices:
        applies, text = choice.applies(facts)
        verdicts.append(Verdict(choice.id, _APPLIES if applies else _DOES_NOT_APPLY, subject, text))
        if applies:
            outcomes.append(choice.outcome)
            if choice.final:
                break
    return tuple(outcomes), tuple(verdicts)
