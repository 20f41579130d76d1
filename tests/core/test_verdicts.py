"""How a table is walked and explains itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import Rule, Verdict, evaluate, failed, first_match

Names = frozenset[str]


def rule(name: str, *, gate: bool = False, warning: bool = False) -> Rule[Names]:
    """A rule that does not hold where its name is among the facts."""
    return Rule(
        id=name,
        text="",
        source="",
        gate=gate,
        warning=warning,
        predicate=lambda facts: (name not in facts, f"of {name}"),
    )


UNASKED: Rule[Names] = Rule(id="unasked", text="", source="", predicate=lambda _: (1 // 0 == 0, ""))

names = st.frozensets(st.sampled_from("012345"))
booleans = st.lists(st.booleans(), max_size=6)


class TestEvaluate:
    """Every rule is asked, in order, also after one has failed; only a failed gate ends the walk."""

    @given(booleans, names)
    def test_the_walk_ends_behind_the_first_gate_that_failed_and_nowhere_else(
        self, gates: list[bool], failing: Names
    ) -> None:
        rules = [rule(str(at), gate=is_gate) for at, is_gate in enumerate(gates)]
        closed = [at for at, is_gate in enumerate(gates) if is_gate and str(at) in failing]
        asked = rules[: closed[0] + 1] if closed else rules
        assert evaluate(rules, failing, subject="v") == tuple(
            Verdict(each.id, each.id not in failing, "v", f"of {each.id}") for each in asked
        )

    def test_without_a_subject_the_verdicts_have_none(self) -> None:
        assert evaluate([rule("a")], frozenset()) == (Verdict("a", True, None, "of a"),)

    def test_a_rule_behind_a_closed_gate_is_not_even_called(self) -> None:
        assert len(evaluate([rule("a", gate=True), UNASKED], frozenset("a"))) == 1

    def test_a_verdict_on_a_rule_that_only_warns_says_so(self) -> None:
        assert evaluate([rule("a", warning=True)], frozenset("a")) == (Verdict("a", False, None, "of a", True),)


class TestFailed:
    """The verdicts that stand in the way, in order; a warning does not."""

    @given(st.lists(st.builds(Verdict, st.text(), st.booleans(), st.none(), st.text(), st.booleans())))
    def test_it_keeps_those_that_did_not_pass_and_do_more_than_warn(self, verdicts: list[Verdict]) -> None:
        kept = [verdict for verdict in verdicts if (verdict.passed, verdict.warning) == (False, False)]
        assert failed(iter(verdicts)) == tuple(kept)


class TestFirstMatch:
    """The first rule that applies decides; the last one applies to everything."""

    @given(st.integers(1, 6), names)
    def test_the_walk_ends_at_the_first_rule_that_applies_or_at_the_last(self, count: int, failing: Names) -> None:
        rules = [rule(str(at)) for at in range(count)]
        at = min((at for at in range(count) if str(at) not in failing), default=count - 1)
        passed_over = tuple(Verdict(str(each), False, "v", f"of {each}") for each in range(at))
        decided = Verdict(str(at), True, "v", f"of {at}")
        assert first_match(rules, failing, subject="v") == (rules[at], (*passed_over, decided))

    def test_a_rule_behind_the_one_that_applies_is_not_even_called(self) -> None:
        assert first_match([rule("a"), UNASKED, rule("b")], frozenset())[0].id == "a"


class TestVerdict:
    """A verdict is one line for a person."""

    def test_it_names_the_rule_and_what_it_looked_at(self) -> None:
        assert str(Verdict("volume-fits", True, "7ad3", "it does")) == "passed volume-fits (7ad3): it does"
        assert str(Verdict("image-raw", False, None, "it is not")) == "failed image-raw: it is not"

    def test_a_failure_that_stands_in_the_way_of_nothing_is_a_warning(self) -> None:
        assert str(Verdict("a", False, None, "so", warning=True)) == "warning a: so"
        assert str(Verdict("a", True, None, "so", warning=True)) == "passed a: so"
