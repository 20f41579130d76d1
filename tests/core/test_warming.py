"""Which templates can be created ahead, and why not the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    GIB,
    CacheEntry,
    CacheLimits,
    CloneSettings,
    ConversionSettings,
    Digest,
    Image,
    ImageLocation,
    ImageVolumeMetadata,
    Template,
    TemplateSettings,
    Volume,
    VolumeType,
    WarmOutcome,
    WarmPool,
    WarmWish,
    may_serve,
    plan_warming,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHA = Digest("sha512", "ab")
VOLUME_ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
ENABLED = TemplateSettings(enabled=True, trusted_projects=frozenset({"internal"}))
POOL = WarmPool(name="node@fast#one", template_settings=ENABLED)
TARGET = Volume(id="the new volume", project_id="ours", size_gib=1, encrypted=False)


def image(image_id: str = "i", **facts: Any) -> Image:
    known: dict[str, Any] = {
        "status": "active",
        "owner": "ours",
        "visibility": "private",
        "disk_format": "raw",
        "container_format": "bare",
        "size_bytes": GIB,
        "updated_at": NOON,
        "digest": SHA,
    }
    return Image(id=image_id, **known | facts)


def wish(one: Image | None = None, *pools: WarmPool, **facts: Any) -> WarmWish:
    return WarmWish(image=one or image(), target=TARGET, pools=pools or (POOL,), **facts)


def template(volume_id: str, image_id: str = "i", **facts: Any) -> Template:
    entry: dict[str, Any] = {
        "digest": SHA,
        "image_updated_at": NOON,
        "last_used": NOON,
        "host": "node@fast#one",
        "size_gib": 1,
    } | facts
    return Template(
        entry=CacheEntry(volume_id=volume_id, image_id=image_id, **entry),
        status="available",
        project_id="internal",
        readonly=True,
        encrypted=False,
    )


def limited(**limits: int) -> WarmPool:
    return replace(POOL, template_settings=replace(ENABLED, limits=CacheLimits(**limits)))


def said(wishes: list[WarmWish], *templates: Template) -> list[str]:
    return [plan.outcome.value for plan in plan_warming(wishes, templates=templates)]


def test_an_image_without_a_template_is_planned_and_one_that_has_it_is_ready() -> None:
    missing, there = plan_warming([wish(), wish(image("j"))], templates=[template("t", "j")])
    assert (missing.outcome, missing.rule, missing.template) == (WarmOutcome.PLANNED, "possible", None)
    assert missing.because == "there is no template of the image on this backend"
    assert (there.outcome, there.rule, there.template) == (WarmOutcome.READY, "ready", "t")
    assert {missing.pool, there.pool} == {POOL.name}


def test_a_template_that_is_planned_is_ready_for_the_next_volume_type_on_the_same_pool() -> None:
    first, second = plan_warming([wish(), wish()], templates=())
    assert [each.outcome for each in (first, second)] == [WarmOutcome.PLANNED, WarmOutcome.READY]
    assert second.template == "the template of image i on node@fast#one"
    for one in (image(digest=None), image(updated_at=None)):
        assert said([wish(one), wish(one)]) == ["planned", "ready"]
    assert said([wish(), wish(image(), replace(POOL, name="node@slow#one"))]) == ["planned", "planned"]
    nothing = "there is no template of the image on this backend"
    assert [(verdict.text, verdict.applies) for verdict in first.verdicts] == [
        ("the volume may be created on node@fast#one", False),
        ("the volume can be created", False),
        ("Cinder does not create the volume from a snapshot", False),
        ("no image volume can be cloned there", False),
        (nothing, False),
        (nothing, False),
        ("no template of these images is evicted for it", False),
        (nothing, True),
    ]


def test_a_template_is_planned_if_no_project_is_trusted() -> None:
    assert said([wish(image(), replace(POOL, template_settings=TemplateSettings(enabled=True)))]) == ["planned"]


def test_an_image_that_cannot_be_converted_on_the_backend_is_refused() -> None:
    forbidding = replace(POOL, conversion=ConversionSettings(allowed=False))
    one = image(disk_format="qcow2", virtual_size_bytes=GIB)
    assert [*said([wish(one)]), *said([wish(one, forbidding)])] == ["planned", "refused"]


def test_templates_of_other_pools_do_not_count_and_those_of_a_cluster_do() -> None:
    assert said([wish()], template("t", host="node@slow#one")) == ["planned"]
    assert said([wish()], template("t", host="one@fast#one", cluster_name="node@fast#one")) == ["ready"]


def test_a_stale_template_does_not_hide_the_newer_one_that_is_ready() -> None:
    stale = template("old", digest=Digest("sha512", "cd"))
    assert said([wish()], template("new"), stale) == ["ready"]
    assert said([wish()], stale) == ["planned"]


@pytest.mark.parametrize(
    "facts, pool, because",
    [
        (
            {},
            replace(POOL, template_settings=TemplateSettings()),
            "templates are not enabled: set image_template_enabled in the backend's section of cinder.conf",
        ),
        (
            {"properties": {"img_signature": "c2ln"}},
            replace(POOL, template_settings=replace(ENABLED, enforce_signatures=True)),
            "signatures are enforced, and of theirs the image has 'img_signature'",
        ),
        ({"size_bytes": 3 * GIB}, limited(max_gib=2), "it and what is in use have 3 GiB and the limit is 2"),
        ({"status": "queued"}, POOL, "the image's status is queued"),
    ],
)
def test_a_template_that_the_driver_would_not_create_is_refused(
    facts: dict[str, Any], pool: WarmPool, because: str
) -> None:
    asked = wish(image(**facts), pool)
    (plan,) = plan_warming([replace(asked, target=replace(TARGET, size_gib=3))], templates=())
    assert (plan.outcome, plan.because) == (WarmOutcome.REFUSED, because)


def test_an_encrypted_type_is_refused() -> None:
    (plan,) = plan_warming([replace(wish(), target=replace(TARGET, encrypted=True))], templates=())
    assert (plan.outcome, plan.rule) == (WarmOutcome.REFUSED, "no-template")


@pytest.mark.parametrize(
    "specs, serves",
    [
        ({}, True),
        ({"volume_backend_name": "fast"}, True),
        ({"volume_backend_name": "slow"}, False),
        ({"capabilities:volume_backend_name": "slow"}, False),
        ({"volume_backend_name": "s== slow"}, True),
        ({"volume_backend_name": ""}, False),
        ({"multiattach": "<is> True"}, True),
    ],
)
def test_a_type_has_the_pools_of_the_backend_that_it_names(specs: dict[str, str], serves: bool) -> None:
    assert may_serve(VolumeType(name="type", extra_specs=specs), backend_name="fast") is serves
    assert may_serve(None, backend_name="fast")


def test_a_type_without_a_pool_is_refused() -> None:
    (plan,) = plan_warming([WarmWish(image=image(), target=TARGET, pools=())], templates=())
    assert (plan.outcome, plan.pool, plan.because) == (
        WarmOutcome.REFUSED,
        None,
        "Cinder has no pool for volumes of this type",
    )


@pytest.mark.parametrize("where", [{"host": POOL.name}, {"host": "one@fast#one", "cluster_name": POOL.name}])
def test_no_template_is_needed_if_the_backend_clones_an_image_volume(where: dict[str, Any]) -> None:
    one = image(locations=(ImageLocation(f"cinder://fast/{VOLUME_ID}"),))
    holds = Volume(
        id=VOLUME_ID,
        project_id="stores",
        size_gib=1,
        status="available",
        encrypted=False,
        readonly=True,
        metadata=ImageVolumeMetadata(image_id="i", image_owner="ours", size_bytes=GIB).to_volume(),
        **where,
    )
    settings = CloneSettings(allowed_direct_url_schemes=("cinder",), trusted_projects=frozenset({"stores"}))
    pool = replace(POOL, clone_settings=settings)
    (plan,) = plan_warming([wish(one, pool, volumes=(holds,))], templates=())
    assert (plan.outcome, plan.because) == (
        WarmOutcome.NOT_NEEDED,
        f"the backend clones the image volume {VOLUME_ID}",
    )
    assert said([wish(one, replace(pool, name="node@slow#one"), volumes=(holds,))]) == ["planned"]

    elsewhere = replace(TARGET, host="node@slow#one", cluster_name="other@fast#one")
    (plan,) = plan_warming([replace(wish(one, pool, volumes=(holds,)), target=elsewhere)], templates=())
    assert plan.outcome is WarmOutcome.NOT_NEEDED, "only the pools say where the volume is created"


def test_no_template_is_needed_of_an_image_that_is_a_snapshot() -> None:
    mapping = '[{"boot_index": 0, "source_type": "snapshot", "snapshot_id": "s"}]'
    (plan,) = plan_warming([wish(image(size_bytes=0, properties={"block_device_mapping": mapping}))], templates=())
    assert (plan.outcome, plan.because) == (WarmOutcome.NOT_NEEDED, "Cinder creates the volume from a snapshot")


def test_glance_is_to_be_asked_for_the_data_of_another_projects_image() -> None:
    shared = image(owner="theirs", visibility="shared")
    plans = [plan_warming([wish(shared, requester_reads=answer)], templates=())[0] for answer in (None, False, True)]
    assert [(plan.outcome.value, plan.needs_read) for plan in plans] == [
        ("refused", True),
        ("refused", False),
        ("planned", False),
    ]


def test_glance_is_to_be_asked_if_the_answer_matters_on_any_pool() -> None:
    shared = image(owner="theirs", visibility="shared")
    off = replace(POOL, name="node@slow#one", template_settings=TemplateSettings())
    (plan,) = plan_warming([wish(shared, off, POOL)], templates=())
    assert (plan.pool, plan.needs_read) == ("node@slow#one", True)


def test_a_limit_is_kept_by_all_wishes_together() -> None:
    pool = limited(max_count=3)
    plans = plan_warming([wish(image(str(number)), pool) for number in range(10)], templates=())
    assert [plan.outcome.value for plan in plans] == ["planned"] * 3 + ["refused"] * 7
    assert plans[3].because == (
        "its driver would evict the template of image 0, which was also asked for: raise the limits of the backend"
    )


def test_templates_that_were_not_asked_for_make_room_the_least_recently_used_first() -> None:
    pool = limited(max_count=2)
    present = [template("old", "x", last_used=NOON - HOUR), template("new", "y")]
    plans = plan_warming([wish(image(str(number)), pool) for number in range(3)], templates=present)
    assert [(plan.outcome.value, plan.because.rpartition("; ")[2]) for plan in plans[:2]] == [
        ("planned", "template old makes room"),
        ("planned", "template new makes room"),
    ]
    assert plans[2].rule == "evicts-wanted"
    (plan,) = plan_warming([wish(image(), limited(max_count=1))], templates=present)
    assert plan.because.endswith("; template old makes room; template new makes room")


def test_a_template_that_is_ready_is_not_evicted_for_another_that_is_asked_for() -> None:
    pool = limited(max_count=1)
    assert said([wish(image("new"), pool), wish(image("there"), pool)], template("t", "there")) == ["refused", "ready"]


def test_each_pool_of_a_type_that_has_room_counts() -> None:
    pools = (limited(max_count=1), replace(limited(max_count=1), name="node@slow#one"))
    plans = plan_warming([wish(image(str(number)), *pools) for number in range(3)], templates=())
    assert [(plan.outcome.value, plan.pool) for plan in plans] == [
        ("planned", "node@fast#one"),
        ("planned", "node@slow#one"),
        ("refused", "node@fast#one"),
    ]


def test_a_template_in_the_making_is_awaited_and_counts_once() -> None:
    making = replace(template("t"), status="creating", being_made_for=HOUR / 60)
    (plan,) = plan_warming([wish()], templates=[making])
    assert (plan.outcome, plan.rule) == (WarmOutcome.PLANNED, "possible")
    assert said([wish(image(), limited(max_count=1)), wish(image("j"), limited(max_count=1))], making) == [
        "planned",
        "refused",
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 3)), min_size=1, max_size=8),
    st.lists(st.tuples(st.sampled_from("abcdefxyz"), st.integers(1, 3), st.integers(0, 9)), max_size=6),
    st.integers(0, 4),
    st.integers(0, 6),
)
def test_templates_that_are_planned_and_ready_keep_to_the_limits_together(
    asked: list[tuple[str, int]], there: list[tuple[str, int, int]], max_count: int, max_gib: int
) -> None:
    pool = limited(max_count=max_count, max_gib=max_gib)
    wishes = [
        replace(wish(image(name, size_bytes=size * GIB), pool), target=replace(TARGET, size_gib=size))
        for name, size in dict(asked).items()
    ]
    sizes = {each.image.id: each.target.size_gib for each in wishes}
    present = [
        template(f"{name}-{index}", name, size_gib=sizes.get(name, size), last_used=NOON - index * HOUR)
        for name, (size, index) in {name: (size, index) for name, size, index in there}.items()
    ]
    limits = pool.template_settings.limits
    if not limits.hold(size_gib=sum(each.entry.size_gib for each in present), count=len(present)):
        return
    plans = plan_warming(wishes, templates=present)
    lasting = [sizes[p.wish.image.id] for p in plans if p.outcome in (WarmOutcome.PLANNED, WarmOutcome.READY)]
    assert limits.hold(size_gib=sum(lasting), count=len(lasting))
    ready = {each.entry.image_id for each in present} & sizes.keys()
    assert {plan.wish.image.id for plan in plans if plan.outcome is WarmOutcome.READY} == ready
