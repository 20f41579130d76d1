"""Which templates are kept, and which go when an operator tidies up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    CacheEntry,
    CacheLimits,
    Digest,
    Image,
    InvalidFact,
    NoAnswer,
    NotFound,
    Policy,
    PruningOutcome,
    Template,
    TemplateStanding,
    plan_pruning,
)
from imagevol_core.templates import PRUNING_RULES
from imagevol_core.templates.pruning import _Kept
from imagevol_core.verdicts import first_match

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHA = Digest("sha512", "ab")
IMAGE = Image(id="i", digest=SHA, updated_at=NOON)


def template(volume_id: str = "v", *, status: str = "available", readonly: bool = True, **entry: Any) -> Template:
    known: dict[str, Any] = {
        "image_id": "i",
        "size_gib": 1,
        "digest": SHA,
        "last_used": NOON - HOUR,
        "host": "node@fast#pool",
    }
    return Template(entry=CacheEntry(volume_id=volume_id, **known | entry), status=status, readonly=readonly)


def standing(one: Template, image: Image | NotFound | NoAnswer = IMAGE, **how: Any) -> tuple[str, bool, str]:
    (found,) = plan_pruning([one], images={"i": image}, now=NOON, **{"only_glance": True, **how})
    assert found.template is one
    return found.rule, found.goes, found.because


def gone(templates: list[Template], limits: CacheLimits, **how: Any) -> list[str]:
    planned = plan_pruning(templates, images={"i": IMAGE}, now=NOON, limits=limits, **how)
    return [each.template.entry.volume_id for each in planned if each.goes]


@pytest.mark.parametrize(
    "one, image, rule, goes, because",
    [
        (template(), IMAGE, "ready", False, "the image's multihash is still sha512:ab"),
        (template(), NotFound(), "image-gone", True, "Glance has no image i"),
        (
            template(),
            NoAnswer("it is down"),
            "no-answer",
            False,
            "what its image is now is not known: it is down",
        ),
        (
            template(digest=Digest("sha512", "cd")),
            IMAGE,
            "stale",
            True,
            "the image's multihash is sha512:ab, and was sha512:cd",
        ),
        (
            template(digest=None, image_updated_at=NOON - HOUR),
            IMAGE,
            "stale",
            True,
            "the image's updated_at is 2026-06-01 12:00:00+00:00, and was 2026-06-01 11:00:00+00:00",
        ),
        (template(in_use=True), NotFound(), "in-use", False, "it is being cloned"),
        (
            replace(template(status="creating"), being_made_for=HOUR),
            NotFound(),
            "being-made",
            False,
            "it has been in the making for 1 hour",
        ),
        (template(status="backing-up"), NotFound(), "busy", False, "its status is backing-up"),
        (template(status="error"), IMAGE, "broken", True, "its status is error, and it is read-only"),
        *(
            (template(status=status), IMAGE, "broken", True, f"its status is {status}, and it is read-only")
            for status in ("error_deleting", "error_extending", "error_managing", "error_restoring")
        ),
        (
            replace(template(), exhausted=True),
            IMAGE,
            "exhausted",
            True,
            "the storage allows no more clones of it",
        ),
        (template(readonly=False), IMAGE, "broken", True, "its status is available, and it is not read-only"),
    ],
)
def test_the_first_rule_of_pruning_that_applies_decides(
    one: Template, image: Image | NotFound | NoAnswer, rule: str, goes: bool, because: str
) -> None:
    assert standing(one, image) == (rule, goes, because)


def test_if_all_go_only_those_stay_that_are_in_use_or_of_which_nothing_is_known() -> None:
    assert standing(template(), all_go=True) == ("all-go", True, "it can be cloned, and all templates are deleted")
    assert standing(template(status="error"), all_go=True)[:2] == ("broken", True)
    assert standing(template(in_use=True), all_go=True)[:2] == ("in-use", False)
    assert standing(template(), NoAnswer("it is down"), all_go=True)[:2] == ("no-answer", False)


def test_every_rule_says_why_a_template_that_stays_does_not_go() -> None:
    kept = _Kept(template=template(), image=IMAGE, idle=timedelta(0), now=NOON, only_glance=False)
    _, verdicts = first_match(PRUNING_RULES[Policy.STRICT], kept)
    assert [(verdict.rule, verdict.applies, verdict.text) for verdict in verdicts] == [
        ("in-use", False, "it was last used at 2026-06-01 11:00:00+00:00, and counts as in use for 0 seconds after"),
        ("being-made", False, "no process is creating it"),
        ("busy", False, "its status is available"),
        ("no-answer", False, "Glance has answered"),
        ("image-elsewhere", False, "Glance has an image i"),
        ("image-gone", False, "Glance has an image i"),
        ("stale", False, "the image's multihash is still sha512:ab"),
        ("broken", False, "its status is available, and it is read-only"),
        ("exhausted", False, "the storage allows more clones of it"),
        ("ready", True, "the image's multihash is still sha512:ab"),
    ]


@pytest.mark.parametrize("all_go", [False, True])
def test_a_template_whose_image_another_glance_may_have_stays(all_go: bool) -> None:
    because = "Glance has no image i, and another Glance may have it: if there is none, pass --only-glance"
    assert standing(template(), NotFound(), only_glance=False, all_go=all_go) == ("image-elsewhere", False, because)
    (found,) = plan_pruning([template()], images={"i": NotFound()}, now=NOON)
    assert found.outcome is PruningOutcome.ELSEWHERE
    kept = _Kept(template=template(), image=NotFound(), idle=timedelta(0), now=NOON, only_glance=True)
    _, verdicts = first_match(PRUNING_RULES[Policy.STRICT], kept)
    assert verdicts[-2].text == "no other Glance has templates here"


def test_a_template_that_was_used_just_now_stays_whatever_its_state() -> None:
    assert standing(template(), NotFound(), idle=HOUR)[0] == "image-gone"
    assert standing(template(), NotFound(), idle=2 * HOUR) == (
        "in-use",
        False,
        "it was last used at 2026-06-01 11:00:00+00:00, and counts as in use for 2 hours after",
    )
    assert standing(template(last_used=None), NotFound(), idle=HOUR)[0] == "image-gone"


def test_above_the_limits_the_least_recently_used_go() -> None:
    day = [template(f"day {n}", last_used=NOON - timedelta(days=n), size_gib=n) for n in (1, 3, 2)]
    assert gone(day, CacheLimits(max_count=1)) == ["day 3", "day 2"]
    assert gone(day, CacheLimits(max_gib=3)) == ["day 3"]
    assert gone(day, CacheLimits()) == []
    found = plan_pruning(day, images={"i": IMAGE}, now=NOON, limits=CacheLimits(max_count=2))
    assert found[1] == TemplateStanding(
        template=day[1],
        outcome=PruningOutcome.GOES,
        rule="above-limits",
        because="node@fast#pool has 3 templates with 6 GiB, and the limit is 2 templates",
    )


@pytest.mark.parametrize(
    "limits, allowed",
    [
        (CacheLimits(max_count=1), "the limit is 1 template"),
        (CacheLimits(max_gib=3), "the limit is 3 GiB"),
        (CacheLimits(max_count=2, max_gib=3), "the limit is 2 templates and 3 GiB"),
    ],
)
def test_a_reason_names_only_the_limit_that_is_set(limits: CacheLimits, allowed: str) -> None:
    day = [template(f"day {n}", last_used=NOON - timedelta(days=n), size_gib=n) for n in (1, 3, 2)]
    reasons = {each.because for each in plan_pruning(day, images={"i": IMAGE}, now=NOON, limits=limits) if each.goes}
    assert all(reason.endswith(f", and {allowed}") for reason in reasons)
    assert reasons


def test_limits_are_of_each_backend_or_its_cluster() -> None:
    elsewhere = [template("w", host="node@slow#pool"), template("x", cluster_name="c@fast#pool", host="one@fast#pool")]
    assert gone([template(), *elsewhere], CacheLimits(max_count=1)) == []
    same = template("y", cluster_name="c@fast#pool", host="two@fast#pool", last_used=None)
    assert gone([*elsewhere, same], CacheLimits(max_count=1)) == ["y"]


def test_templates_of_unknown_backends_count_towards_no_limit() -> None:
    nowhere = [template("one", host=None), template("two", host=None, last_used=None)]
    assert gone([*nowhere, template()], CacheLimits(max_count=1, max_gib=1)) == []
    assert gone([template("bad", host=None, digest=Digest("sha512", "cd"))], CacheLimits()) == ["bad"]


def test_a_template_of_an_image_that_nothing_is_known_of_stays() -> None:
    (found,) = plan_pruning([template()], images={}, now=NOON)
    assert (found.rule, found.goes) == ("no-answer", False)
    assert found.because == "what its image is now is not known: Glance was not asked for it"


def test_templates_that_stay_count_towards_a_limit_and_those_that_go_do_not() -> None:
    used = template("used", in_use=True, last_used=NOON - 9 * HOUR)
    assert gone([used, template()], CacheLimits(max_count=1)) == ["v"]
    assert gone([template("bad", status="error"), template()], CacheLimits(max_count=1)) == ["bad"]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidFact, match=r"^now: .* has no time zone; give one$"):
        plan_pruning([], images={}, now=NOON.replace(tzinfo=None))


templates = st.builds(
    template,
    status=st.sampled_from(["available", "error", "deleting", "in-use"]),
    readonly=st.booleans(),
    in_use=st.booleans(),
    size_gib=st.integers(1, 9),
    digest=st.sampled_from([SHA, None]),
    last_used=st.sampled_from([None, NOON, NOON - HOUR]),
    host=st.sampled_from(["node@fast#pool", "node@slow#pool"]),
)


class TestLaws:
    @given(st.lists(templates, max_size=6), st.integers(0, 4), st.integers(0, 20))
    def test_after_pruning_the_limits_hold_or_no_other_template_can_go(
        self, listed: list[Template], max_count: int, max_gib: int
    ) -> None:
        listed = [replace(each, entry=replace(each.entry, volume_id=f"v{n}")) for n, each in enumerate(listed)]
        limits = CacheLimits(max_count=max_count, max_gib=max_gib)
        planned = plan_pruning(listed, images={"i": IMAGE}, now=NOON, limits=limits)
        assert [each.template for each in planned] == listed
        for host in ("node@fast#pool", "node@slow#pool"):
            staying = [each for each in planned if each.template.entry.host == host and not each.goes]
            size_gib = sum(each.template.entry.size_gib for each in staying)
            assert limits.hold(size_gib=size_gib, count=len(staying)) or all(each.rule != "ready" for each in staying)

    @given(templates, st.sampled_from([IMAGE, NotFound(), NoAnswer("why")]))
    def test_a_template_in_use_and_one_that_is_not_known_never_go(
        self, one: Template, image: Image | NotFound | NoAnswer
    ) -> None:
        found = standing(one, image, limits=CacheLimits(max_count=1, max_gib=1))
        assert not (found[1] and (one.entry.in_use or image == NoAnswer("why") or one.status in ("deleting", "in-use")))
