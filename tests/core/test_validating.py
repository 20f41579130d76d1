"""What a backend can be trusted with: each rule with what shows it, refutes it or leaves it open; the settings."""

from __future__ import annotations

from typing import Any

import pytest

from imagevol_core import (
    CheckLine,
    NotSeen,
    PlacedType,
    Result,
    Seen,
    ValidationFacts,
    choose_volume_type,
    rule_tables,
    validate,
)

TABLES = {table.name: table.rules for table in rule_tables() if table.name.startswith("Validating: ")}
SETTINGS = [rule.id for rule in TABLES["Validating: the settings that follow"]]
RUN = ("on-the-backend", "not-encrypted", "cleaned-up")
TRIALS = [
    rule.id
    for name, rules in TABLES.items()
    if "type" not in name
    for rule in rules
    if rule.id not in (*SETTINGS, *RUN)
]
SEEN = {rule: Seen(count=3 << 20) for rule in TRIALS}
SOUND = {"name": "fast", "volume_type": "fast", "pools": ("node@fast#a",), "backend": "fast", "encrypted": False}


def lines(**changes: Any) -> dict[str, CheckLine]:
    facts: dict[str, Any] = {**SOUND, "seen": SEEN, **changes}
    return {line.verdict.rule: line for line in validate(ValidationFacts(**facts)).lines}


def test_a_backend_that_does_all_is_trusted_with_all() -> None:
    assert validate(ValidationFacts(**SOUND, seen=SEEN)).trusted  # type: ignore[arg-type]
    for rule, line in lines().items():
        assert (line.verdict.result, line.looked) == (Result.HOLDS, True)
        assert bool(line.next) is (rule in SETTINGS)


def test_a_line_says_what_part_of_the_backend_it_is_about() -> None:
    subjects = [line.verdict.subject for line in lines().values()]
    assert list(dict.fromkeys(subjects)) == ["run", "volume", "clone", "attachment", "setting"]


def test_each_trial_has_its_rule() -> None:
    assert set(lines()) == {*RUN, *TRIALS, *SETTINGS}
    assert len(TRIALS) > 20


@pytest.mark.parametrize("rule", TRIALS)
class TestTrials:
    def test_what_is_wrong_is_said_with_a_next_step(self, rule: str) -> None:
        line = lines(seen={**SEEN, rule: Seen(wrong="it was\nodd.")})[rule]
        assert (line.verdict.result, line.verdict.text) == (Result.FAILS, "it was\\nodd")
        assert line.next
        assert line.next.endswith(".")

    def test_an_error_is_a_fault_too(self, rule: str) -> None:
        line = lines(seen={**SEEN, rule: NotSeen(reason="no valid host.", failed=True)})[rule]
        assert (line.verdict.result, line.verdict.text) == (Result.FAILS, "no valid host")

    def test_what_was_not_tried_is_no_fault_and_not_trusted(self, rule: str) -> None:
        for seen, text in (
            ({**SEEN, rule: NotSeen(reason="it is refused")}, "it is refused"),
            ({each: SEEN[each] for each in SEEN if each != rule}, "it was not tried"),
        ):
            line = lines(seen=seen)[rule]
            assert (line.verdict.result, line.verdict.text, line.looked) == (Result.HOLDS, text, False)
            assert line.next


@pytest.mark.parametrize(
    "rule, seen, text",
    [
        ("read-back", Seen(count=393216), "384 KiB were written in several places and read back"),
        ("fresh-zeros", Seen(count=1 << 30), "1024 MiB of a new volume were read, and all are zeros"),
        ("fresh-zeros", Seen(count=1 << 20), "1 MiB of a new volume were read, and all are zeros"),
        ("clone-count", Seen(count=4), "one volume had 4 clones at the same time"),
        ("suite-volumes", Seen(count=28), "28 tests hold"),
        ("device-end", Seen(), "the device ends where it must"),
    ],
)
def test_what_was_seen_is_said(rule: str, seen: Seen, text: str) -> None:
    assert lines(seen={**SEEN, rule: seen})[rule].verdict.text == text


@pytest.mark.parametrize(
    "rule, changes, result, looked, text",
    [
        ("on-the-backend", {}, Result.HOLDS, True, "the volumes were in node@fast#a"),
        ("on-the-backend", {"backend": None}, Result.HOLDS, True, "the volumes were in node@fast#a"),
        (
            "on-the-backend",
            {"pools": ()},
            Result.HOLDS,
            False,
            "Cinder does not tell these credentials where volumes are",
        ),
        (
            "on-the-backend",
            {"pools": ("node@fast#a", "node@slow#b")},
            Result.FAILS,
            True,
            "volumes of type fast were in node@slow#b, and not in fast",
        ),
        (
            "on-the-backend",
            {"pools": ("no@de@fast#a#1", "node@fast#b")},
            Result.HOLDS,
            True,
            "the volumes were in no@de@fast#a#1, node@fast#b",
        ),
        (
            "on-the-backend",
            {"pools": ("node@slow#a", "node@other#b")},
            Result.FAILS,
            True,
            "volumes of type fast were in node@slow#a, node@other#b, and not in fast",
        ),
        ("not-encrypted", {}, Result.HOLDS, True, "volumes of type fast are not encrypted"),
        ("not-encrypted", {"encrypted": None}, Result.HOLDS, False, "no volume was created"),
        (
            "not-encrypted",
            {"encrypted": True},
            Result.FAILS,
            True,
            "volumes of type fast are encrypted, and no image can be kept in one",
        ),
        ("cleaned-up", {}, Result.HOLDS, True, "every volume that was created is deleted"),
        ("cleaned-up", {"left": ("volume a", "volume b")}, Result.FAILS, True, "left behind: volume a, volume b"),
    ],
)
def test_the_run_itself_is_looked_at(
    rule: str, changes: dict[str, Any], result: Result, looked: bool, text: str
) -> None:
    line = lines(**changes)[rule]
    assert (line.verdict.result, line.looked, line.verdict.text) == (result, looked, text)


NEEDS = {
    "setting-store": ("flushed", "clone-same"),
    "setting-thin": ("fresh-zeros", "extend-zeros"),
    "setting-thin-stream": ("extend-zeros", "clone-same"),
    "setting-unknown-size": ("extend-kept", "extend-zeros"),
    "setting-clone": ("clone-independent", "clone-count"),
    "setting-templates": ("clone-outlives", "clone-attached"),
    "setting-upload": ("clone-same", "clone-attached"),
    "setting-upload-attached": ("clone-attached", "clone-count"),
    "setting-multiattach": ("attached-together", "clone-same"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_follows_from_what_it_needs_and_from_nothing_else(setting: str) -> None:
    needed, other = NEEDS[setting]
    safe = lines()[setting].next
    wrong = lines(seen={**SEEN, needed: Seen(wrong="no")})[setting]
    assert (wrong.verdict.result, wrong.verdict.text) == (Result.WARNS, f"these do not hold: {needed}")
    assert wrong.next not in (None, safe)
    unknown = lines(seen={**SEEN, needed: NotSeen(reason="no time")})[setting]
    assert (unknown.looked, unknown.verdict.text) == (False, f"these were not tried: {needed}")
    assert unknown.next == "Look at what was not tried, and leave the setting as it is."
    assert lines(seen={**SEEN, other: Seen(wrong="no")})[setting].next == safe


def test_a_setting_names_each_trial_that_it_follows_from() -> None:
    needs = ("clone-same", "clone-independent")
    assert lines()["setting-upload"].verdict.text == "these hold: clone-same, clone-independent"
    for seen, text in (
        (Seen(wrong="no"), "these do not hold: clone-same, clone-independent"),
        (NotSeen(reason="no time"), "these were not tried: clone-same, clone-independent"),
    ):
        assert lines(seen={**SEEN, **dict.fromkeys(needs, seen)})["setting-upload"].verdict.text == text


def test_a_setting_that_is_not_safe_is_no_fault_of_its_own() -> None:
    found = lines(seen={**SEEN, "fresh-zeros": Seen(wrong="no")})
    assert [rule for rule, line in found.items() if not line.verdict.ok] == ["fresh-zeros"]


POOLS = {"node@fast#a": "FAST", "node@slow#a": "SLOW", "node@other#a": "SLOW", "node@fast#b": "QUICK"}


@pytest.mark.parametrize(
    "kind, backend, rule, text",
    [
        (
            PlacedType(name="t", backend_name="FAST", encrypted=True),
            "fast",
            "type-encrypted",
            "volumes of type t are encrypted",
        ),
        (
            PlacedType(name="t", backend_name="SLOW"),
            "fast",
            "type-elsewhere",
            "volume_backend_name is SLOW, which backend fast does not report",
        ),
        (
            PlacedType(name="t", backend_name="SLOW"),
            "slow",
            "type-anywhere",
            "volume_backend_name is SLOW, which another backend reports too",
        ),
        (PlacedType(name="t"), "fast", "type-anywhere", "type t names no backend, and there are others"),
        (
            PlacedType(name="t", backend_name="QUICK"),
            "fast",
            "type-of-the-backend",
            "volumes of type t are only on backend fast",
        ),
    ],
)
def test_a_volume_type_is_used_only_if_all_of_its_volumes_are_there(
    kind: PlacedType, backend: str, rule: str, text: str
) -> None:
    choice = choose_volume_type(backend, [kind], pools=POOLS)
    assert choice.volume_type == ("t" if rule == "type-of-the-backend" else None)
    assert [(verdict.rule, verdict.subject, verdict.text) for verdict in choice.verdicts] == [(rule, "t", text)]


def test_the_default_volume_type_is_preferred_and_else_the_first() -> None:
    types = [PlacedType(name="a", backend_name="FAST"), PlacedType(name="b", backend_name="FAST")]
    assert choose_volume_type("fast", types, pools=POOLS).volume_type == "a"
    assert choose_volume_type("fast", types, pools=POOLS, default="b").volume_type == "b"
    assert choose_volume_type("fast", types, pools=POOLS, default="c").volume_type == "a"
    assert choose_volume_type("fast", [PlacedType(name="x")], pools={"n@fast#a": None}).volume_type == "x"
    assert choose_volume_type("fast", [], pools=POOLS).volume_type is None


def test_the_backend_of_a_pool_is_before_its_first_number_sign_and_after_the_last_at_sign_there() -> None:
    types = [PlacedType(name="a", backend_name="FAST")]
    assert choose_volume_type("fast", types, pools={"no@de@fast#a#1": "FAST"}).volume_type == "a"
