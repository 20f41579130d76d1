"""How a table of each kind is walked and explains itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    Choice,
    Policy,
    Requirement,
    Result,
    UnknownRelease,
    Verdict,
    evaluate,
    every_match,
    failed,
    first_match,
)
from imagevol_core.verdicts import joined, table_of

Names = frozenset[str]


def requirement(name: str, *, gate: bool = False, warning: bool = False) -> Requirement[Names]:
    """A requirement that does not hold where its name is among the facts."""
    return Requirement(
        id=name,
        text="",
        source="",
        gate=gate,
        warning=warning,
        holds=lambda facts: (name not in facts, f"of {name}"),
    )


def choice(name: str, *, final: bool = False) -> Choice[Names, str]:
    """A choice that does not apply where its name is among the facts, and whose outcome is its name."""
    return Choice(
        id=name,
        text="",
        source="",
        final=final,
        applies=lambda facts: (name not in facts, f"of {name}"),
        outcome=name,
    )


UNASKED: Requirement[Names] = Requirement(id="unasked", text="", source="", holds=lambda _: (1 // 0 == 0, ""))
UNASKED_CHOICE: Choice[Names, str] = Choice(
    id="unasked", text="", source="", applies=lambda _: (1 // 0 == 0, ""), outcome="unasked"
)

names = st.frozensets(st.sampled_from("012345"))
booleans = st.lists(st.booleans(), max_size=6)


class TestEvaluate:
    """Every requirement is asked, in order, also after one has failed; only a failed gate ends the walk."""

    @given(booleans, names)
    def test_the_walk_ends_at_the_first_gate_that_failed_and_nowhere_else(
        self, gates: list[bool], failing: Names
    ) -> None:
        rules = [requirement(str(at), gate=is_gate) for at, is_gate in enumerate(gates)]
        closed = [at for at, is_gate in enumerate(gates) if is_gate and str(at) in failing]
        asked = rules[: closed[0] + 1] if closed else rules
        assert evaluate(rules, failing, subject="v") == tuple(
            Verdict(each.id, Result.FAILS if each.id in failing else Result.HOLDS, "v", f"of {each.id}")
            for each in asked
        )

    def test_without_a_subject_the_verdicts_have_none(self) -> None:
        assert evaluate([requirement("a")], frozenset()) == (Verdict("a", Result.HOLDS, None, "of a"),)

    def test_a_rule_after_a_closed_gate_is_not_even_called(self) -> None:
        assert len(evaluate([requirement("a", gate=True), UNASKED], frozenset("a"))) == 1

    def test_a_requirement_that_is_only_worth_telling_warns_where_it_does_not_hold(self) -> None:
        warns = requirement("a", warning=True)
        assert evaluate([warns], frozenset("a")) == (Verdict("a", Result.WARNS, None, "of a"),)
        assert evaluate([warns], frozenset()) == (Verdict("a", Result.HOLDS, None, "of a"),)


class TestFailed:
    """The verdicts that stand in the way, in order; a warning does not."""

    @given(st.lists(st.builds(Verdict, st.text(), st.sampled_from(Result), st.none(), st.text())))
    def test_only_the_verdicts_that_fail_are_kept(self, verdicts: list[Verdict]) -> None:
        assert failed(iter(verdicts)) == tuple(verdict for verdict in verdicts if verdict.result is Result.FAILS)
        assert failed(verdicts) == tuple(verdict for verdict in verdicts if not verdict.ok)


class TestFirstMatch:
    """The first choice that applies decides; the last one applies to everything."""

    @given(st.integers(1, 6), names)
    def test_the_walk_ends_at_the_first_choice_that_applies_or_at_the_last(self, count: int, failing: Names) -> None:
        choices = [choice(str(at)) for at in range(count)]
        at = min((at for at in range(count) if str(at) not in failing), default=count - 1)
        before = tuple(Verdict(str(each), Result.DOES_NOT_APPLY, "v", f"of {each}") for each in range(at))
        decided = Verdict(str(at), Result.APPLIES, "v", f"of {at}")
        assert first_match(choices, failing, subject="v") == (str(at), (*before, decided))

    def test_a_choice_after_the_one_that_applies_is_not_even_called(self) -> None:
        assert first_match([choice("a"), UNASKED_CHOICE, choice("b")], frozenset())[0] == "a"


class TestEveryMatch:
    """Every choice that applies counts, in order; only a final one that applies ends the walk."""

    @given(booleans, names)
    def test_the_outcomes_are_those_of_the_choices_that_apply_up_to_the_first_final_one(
        self, finals: list[bool], failing: Names
    ) -> None:
        choices = [choice(str(at), final=is_final) for at, is_final in enumerate(finals)]
        ends = [at for at, is_final in enumerate(finals) if is_final and str(at) not in failing]
        asked = choices[: ends[0] + 1] if ends else choices
        outcomes, verdicts = every_match(choices, failing, subject="v")
        assert outcomes == tuple(each.id for each in asked if each.id not in failing)
        assert verdicts == tuple(
            Verdict(each.id, Result.DOES_NOT_APPLY if each.id in failing else Result.APPLIES, "v", f"of {each.id}")
            for each in asked
        )

    def test_a_choice_after_a_final_one_is_not_even_called(self) -> None:
        assert every_match([choice("a", final=True), UNASKED_CHOICE], frozenset())[0] == ("a",)

    def test_without_a_subject_the_verdicts_have_none(self) -> None:
        assert every_match([choice("a")], frozenset())[1] == (Verdict("a", Result.APPLIES, None, "of a"),)


class TestVerdict:
    """A verdict is one line for a person, and says in a word what its rule says."""

    @pytest.mark.parametrize(
        "result, word, ok, applies, faults",
        [
            (Result.HOLDS, "holds", True, False, False),
            (Result.FAILS, "fails", False, False, True),
            (Result.WARNS, "warns", True, False, True),
            (Result.APPLIES, "applies", True, True, False),
            (Result.DOES_NOT_APPLY, "does-not-apply", True, False, False),
        ],
    )
    def test_each_result_has_its_word_and_its_meaning(
        self, result: Result, word: str, ok: bool, applies: bool, faults: bool
    ) -> None:
        verdict = Verdict("volume-fits", result, "7ad3", "it has 1 GiB")
        assert str(verdict) == f"{word} volume-fits (7ad3): it has 1 GiB"
        assert (verdict.ok, verdict.applies, verdict.faults) == (ok, applies, faults)
        assert verdict.as_dict() == {
            "rule": "volume-fits",
            "result": word,
            "subject": "7ad3",
            "text": "it has 1 GiB",
        }

    def test_a_verdict_without_a_subject_names_the_rule_alone(self) -> None:
        assert str(Verdict("image-raw", Result.FAILS, None, "it is not")) == "fails image-raw: it is not"

    def test_several_verdicts_are_one_line_with_their_subjects(self) -> None:
        verdicts = (
            Verdict("image-raw", Result.FAILS, None, "it is not"),
            Verdict("volume-fits", Result.FAILS, "7ad3", "it has 1 GiB"),
            Verdict("volume-fits", Result.FAILS, "9ab1", "it has 2 GiB"),
        )
        assert joined(verdicts) == "it is not; 7ad3: it has 1 GiB; 9ab1: it has 2 GiB"


class TestPolicies:
    """A policy is of one release of Cinder, and has the tables of the next release if it has none of its own."""

    def test_a_release_of_cinder_has_its_policy(self) -> None:
        assert [Policy.upstream(cinder=release) for release in (28, 29)] == [Policy.CINDER_28, Policy.UPSTREAM]

    def test_a_release_that_is_not_known_is_refused_with_those_that_are(self) -> None:
        with pytest.raises(UnknownRelease) as refused:
            Policy.upstream(cinder=27)
        assert (refused.value.service, refused.value.release, refused.value.known) == ("cinder", 27, (28, 29))

    def test_an_earlier_release_has_its_own_table_or_that_of_the_next(self) -> None:
        tables = {Policy.STRICT: "strict", Policy.UPSTREAM: "29"}
        assert [table_of(tables, policy) for policy in Policy] == ["strict", "29", "29"]
        assert table_of({**tables, Policy.CINDER_28: "28"}, Policy.CINDER_28) == "28"
