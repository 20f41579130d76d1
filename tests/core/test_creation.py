"""The whole way from an image to a volume: every way that can be gone, in order, and why not the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.way_strategies import CreationCase, creation_cases
from imagevol_core import (
    GIB,
    CacheEntry,
    CacheLimits,
    ConversionSettings,
    CreationPlan,
    CreationStep,
    Digest,
    ImageCache,
    ImageLocation,
    InvalidSize,
    Policy,
    Result,
    Template,
    TemplateSettings,
    Way,
    evaluate,
    failed,
    plan_creation,
)
from imagevol_core.creation import CACHE_RULES, CREATION_RULES, STOP_RULES, WAY_RULES, BootMapping, Creation, Lookup
from tests.core import cases
from tests.core.cases import BOTH_POLICIES

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
HERE = "node@fast#one"
CACHED = CacheEntry(
    volume_id="cached", image_id=cases.IMAGE_ID, size_gib=1, image_updated_at=NOON, last_used=NOON, host=HERE
)
STALE = replace(CACHED, volume_id="stale", image_updated_at=NOON - timedelta(days=1))
OTHER = replace(CACHED, volume_id="other", image_id="other")
TEMPLATE = Template(
    entry=replace(CACHED, volume_id="template"),
    status="available",
    project_id="templates",
    readonly=True,
    encrypted=False,
)
ENABLED = TemplateSettings(enabled=True, trusted_projects=frozenset({"templates"}))
MAKING = timedelta(minutes=1)

# Every way of making it is open, but for making what there already is.
GOOD = CreationCase(
    clone=replace(
        cases.GOOD,
        image=replace(cases.GOOD.image, updated_at=NOON, virtual_size_bytes=GIB, visibility="public"),
    ),
    cache=ImageCache(enabled=True, internal_tenant=True, entries=(CACHED, OTHER)),
    template=TEMPLATE,
    template_settings=ENABLED,
    conversion=ConversionSettings(free_bytes=GIB + 1),
)
TWIN_ID = "9a1b6b0c-93e4-4a3c-a2a5-000000000000"
TWO_VOLUMES = replace(
    GOOD,
    clone=replace(
        GOOD.clone,
        image=replace(
            GOOD.clone.image,
            locations=(*GOOD.clone.image.locations, ImageLocation(f"cinder://fast/{TWIN_ID}")),
        ),
        volumes=(*GOOD.clone.volumes, replace(GOOD.clone.volumes[0], id=TWIN_ID)),
    ),
)
UNCLONED = replace(GOOD, clone=replace(GOOD.clone, volumes=()))
BARE = replace(UNCLONED, template=None, template_settings=TemplateSettings(), cache=ImageCache())


SNAPSHOT_ID = "2f1c7a0e-5b3d-4c8f-9e6a-7d0b1c2e3f4a"
OF_NOVA = f'[{{"source_type": "snapshot", "boot_index": 0, "snapshot_id": "{SNAPSHOT_ID}"}}]'


def image(case: CreationCase = GOOD, **changes: object) -> CreationCase:
    """The case with another image."""
    return replace(case, clone=replace(case.clone, image=replace(case.clone.image, **changes)))  # type: ignore[arg-type]


def target(case: CreationCase = GOOD, **changes: object) -> CreationCase:
    """The case with another new volume."""
    return replace(case, clone=replace(case.clone, target=replace(case.clone.target, **changes)))  # type: ignore[arg-type]


def cache(case: CreationCase = BARE, **changes: object) -> CreationCase:
    """The case with a cache, of which something else is known."""
    return replace(case, cache=replace(ImageCache(enabled=True, internal_tenant=True), **changes))  # type: ignore[arg-type]


def templated(template: Template | None, case: CreationCase = BARE) -> CreationCase:
    """The case with templates."""
    return replace(case, template=template, template_settings=ENABLED)


def ways(plan: CreationPlan) -> list[str]:
    return [step.way.value for step in plan.steps]


def said(plan: CreationPlan, rule: str) -> tuple[bool, str]:
    """Whether a way can be gone, and why."""
    (verdict,) = (verdict for verdict in plan.verdicts if verdict.rule == rule)
    return verdict.result in (Result.HOLDS, Result.APPLIES), verdict.text


# For each way, a case in which it can be gone, and one in which it cannot.  A new way is a new row here.
SNAPSHOT = (image(properties={"block_device_mapping": OF_NOVA}), BARE)
OPEN = {
    Policy.STRICT: {
        "from-snapshot": SNAPSHOT,
        "clone-image-volume": (GOOD, BARE),
        "clone-template": (templated(TEMPLATE), BARE),
        "clone-cached": (cache(entries=(CACHED,)), BARE),
        "create-template": (templated(None), BARE),
        "await-template": (templated(replace(TEMPLATE, being_made_for=MAKING)), BARE),
        "create-cached": (cache(), BARE),
        "copy": (BARE, replace(image(BARE, disk_format="qcow2"), conversion=ConversionSettings(allowed=False))),
    },
    Policy.UPSTREAM: {
        "from-snapshot": SNAPSHOT,
        "clone-template": (templated(TEMPLATE), BARE),
        "create-template": (templated(None), BARE),
        "clone-image-volume": (GOOD, BARE),
        "clone-cached": (cache(entries=(CACHED,)), BARE),
        "create-cached": (cache(), BARE),
        "copy": (BARE, replace(image(BARE, disk_format="qcow2"), conversion=ConversionSettings(allowed=False))),
    },
}


class TestWays:
    """The plan holds all that apply, in order, and for each that does not, why."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_each_way_is_possible_in_one_example_and_not_in_another(self, policy: Policy) -> None:
        assert list(OPEN[policy]) == [rule.id for rule in WAY_RULES[policy]]
        for way, (is_open, is_not) in OPEN[policy].items():
            assert way in ways(is_open.decide(policy))
            assert way not in ways(is_not.decide(policy))
            assert said(is_open.decide(policy), way)[0]
            assert not said(is_not.decide(policy), way)[0]

    def test_the_ways_are_tried_from_the_fastest_to_the_slowest(self) -> None:
        stale = replace(GOOD, cache=replace(GOOD.cache, entries=(STALE,)))
        assert ways(GOOD.decide()) == ["clone-image-volume", "clone-template", "clone-cached", "copy"]
        assert ways(replace(stale, template=None).decide()) == [
            "clone-image-volume",
            "create-template",
            "create-cached",
            "copy",
        ]
        awaited = replace(TEMPLATE, being_made_for=MAKING)
        assert ways(replace(stale, template=awaited).decide()) == [
            "clone-image-volume",
            "await-template",
            "create-cached",
            "copy",
        ]

    def test_cinder_tries_the_ways_in_its_own_order(self) -> None:
        assert ways(GOOD.decide(Policy.UPSTREAM)) == ["clone-template", "clone-image-volume", "clone-cached", "copy"]
        stale = replace(GOOD, template=None, cache=replace(GOOD.cache, entries=(STALE,)))
        assert ways(stale.decide(Policy.UPSTREAM)) == ["create-template", "clone-image-volume", "create-cached"]

    @given(creation_cases(), st.sampled_from(BOTH_POLICIES))
    def test_a_way_has_steps_if_and_only_if_it_is_possible(self, case: CreationCase, policy: Policy) -> None:
        plan = case.decide(policy)
        can_be_gone = [verdict.rule for verdict in plan.verdicts if verdict.rule in OPEN[policy] and verdict.applies]
        assert list(dict.fromkeys(ways(plan))) == can_be_gone
        assert (plan.refused is None) is bool(plan.steps)
        assert plan.policy is policy

    @given(creation_cases(), st.sampled_from(BOTH_POLICIES))
    def test_each_way_has_a_verdict_that_says_why(self, case: CreationCase, policy: Policy) -> None:
        plan = case.decide(policy)
        in_the_way = failed(verdict for verdict in plan.verdicts if verdict.rule not in OPEN[policy])
        rules = [rule.id for rule in CREATION_RULES[policy]] + ([] if in_the_way else list(OPEN[policy]))
        asked = [verdict.rule for verdict in plan.verdicts]
        if ways(plan) == ["from-snapshot"]:
            rules = rules[: rules.index("from-snapshot") + 1]
        assert asked == (rules[:1] if in_the_way and in_the_way[0].rule == rules[0] else rules)
        assert all(verdict.text for verdict in plan.verdicts)
        assert not in_the_way or plan.refused == "; ".join(verdict.text for verdict in in_the_way)

    @pytest.mark.parametrize(
        "case, way, text",
        [
            (GOOD, "clone-image-volume", f"it can be cloned from volume {cases.VOLUME_ID}"),
            (
                BARE,
                "clone-image-volume",
                f"{cases.VOLUME_ID}: Cinder knows no such volume, or does not show it to these credentials",
            ),
            (TWO_VOLUMES, "clone-image-volume", f"it can be cloned from volume {cases.VOLUME_ID}, or else {TWIN_ID}"),
            (GOOD, "clone-template", "volume template is the image"),
            (
                BARE,
                "clone-template",
                "templates are not enabled: set image_template_enabled in the backend's section of cinder.conf",
            ),
            (GOOD, "clone-cached", "the cache has volume cached"),
            (
                cache(entries=(CACHED, replace(CACHED, volume_id="twin"))),
                "clone-cached",
                "the cache has volume twin, cached",
            ),
            (
                BARE,
                "clone-cached",
                ("the cache is not enabled; it is not known whether Cinder's internal tenant is configured"),
            ),
            (cache(), "clone-cached", "the cache has no volume of this image where it could be cloned"),
            (
                cache(entries=(STALE,)),
                "clone-cached",
                ("stale: the image's updated_at is 2025-06-01 12:00:00+00:00, and was 2025-05-31 12:00:00+00:00"),
            ),
            (
                cache(entries=(replace(CACHED, size_gib=3),)),
                "clone-cached",
                "cached: it has 3 GiB and the new volume 2 GiB",
            ),
            (GOOD, "create-template", "volume template is the image"),
            (templated(None), "create-template", "there is no template of the image on this backend"),
            (
                templated(replace(TEMPLATE, being_made_for=MAKING)),
                "await-template",
                "it has been in the making for 1 minute; it is not known whether its creator runs",
            ),
            (GOOD, "create-cached", "the cache already has volume cached"),
            (cache(), "create-cached", "the cache has room for 1 GiB"),
            (
                cache(limits=CacheLimits(max_gib=1), entries=(replace(OTHER, in_use=True),)),
                "create-cached",
                "it and what is in use have 2 GiB and the limit is 1",
            ),
            (BARE, "copy", "the image's disk_format is raw; images are converted"),
            (
                image(BARE, disk_format=None),
                "copy",
                "the image's disk_format is not known; images are converted",
            ),
            (
                image(BARE, disk_format="\n"),
                "copy",
                "the image's disk_format is \\n; images are converted",
            ),
        ],
    )
    def test_the_verdict_on_each_way_says_what_decided(self, case: CreationCase, way: str, text: str) -> None:
        assert said(case.decide(), way)[1] == text

    @pytest.mark.parametrize("way", ["create-template", "create-cached", "copy"])
    def test_what_writes_the_image_must_be_allowed_to_convert_it(self, way: str) -> None:
        case = image(templated(None, cache()), disk_format="qcow2")
        assert said(case.decide(), way)[0]
        forbidden = replace(case, conversion=ConversionSettings(allowed=False)).decide()
        assert said(forbidden, way) == (False, "the image's disk_format is qcow2; images are not converted")
        assert forbidden.refused == "the image's disk_format is qcow2; images are not converted"
        assert said(
            replace(image(case, disk_format="raw"), conversion=ConversionSettings(allowed=False)).decide(), way
        )[0]

    def test_an_iso_becomes_a_template_where_nothing_may_be_converted_and_cinder_does_not_copy_it(self) -> None:
        case = image(templated(None, cache()), disk_format="iso")
        forbidden = replace(case, conversion=ConversionSettings(allowed=False)).decide()
        assert said(forbidden, "create-template")[0]
        assert not said(forbidden, "create-cached")[0]
        assert not said(forbidden, "copy")[0]

    def test_that_glance_gave_the_requester_the_image_is_told_to_the_templates(self) -> None:
        case = image(templated(None, BARE), owner="another", visibility="shared")
        planned = [replace(case, requester_reads=answer).decide() for answer in (None, False, True)]
        assert [plan.template.needs_read for plan in planned] == [True, False, False]
        assert [said(plan, "create-template")[0] for plan in planned] == [False, False, True]

    def test_a_plan_has_the_decisions_that_it_is_made_of(self) -> None:
        plan = GOOD.decide()
        assert plan.clone == GOOD.clone.decide()
        assert plan.template.source == "template"
        assert [(verdict.rule, verdict.subject, verdict.ok) for verdict in plan.cache] == [
            ("cache-enabled", None, True),
            ("internal-tenant-known", None, True),
            ("target-not-encrypted", None, True),
            ("cached-fresh", "cached", True),
            ("cached-fits", "cached", True),
            ("fits-max-gib", None, True),
            ("fits-max-count", None, True),
        ]


class TestNovasSnapshotImages:
    """Cinder creates the volume from the snapshot at boot index 0, whatever else is known of the image."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    @pytest.mark.parametrize(
        "case",
        [GOOD, image(size_bytes=0), image(status="queued"), image(min_disk_gib=99), target(encrypted=True)],
        ids=["cloneable", "empty", "queued", "too large", "encrypted"],
    )
    def test_for_a_snapshot_image_no_other_way_is_tried(self, case: CreationCase, policy: Policy) -> None:
        plan = image(case, properties={"block_device_mapping": OF_NOVA}).decide(policy)
        assert plan.steps == (
            CreationStep(way=Way.FROM_SNAPSHOT, source=SNAPSHOT_ID, extend_to_gib=2, falls_to_next=False),
        )
        assert plan.refused is None
        assert plan.verdicts[-1].rule == "from-snapshot"
        assert plan.verdicts[-1].text == f"block_device_mapping has snapshot {SNAPSHOT_ID} at boot index 0"
        of_its_data = {verdict.text for verdict in plan.verdicts[1:-1]}
        assert of_its_data == {"the volume is not created from the image's data"}

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    @pytest.mark.parametrize(
        "mapping, refused",
        [
            ("lots", "Cinder answers 500: the property block_device_mapping is not JSON"),
            ("[7]", "Cinder answers 500: the property block_device_mapping is not a list of objects"),
            (
                OF_NOVA.replace(SNAPSHOT_ID, ""),
                "Cinder answers 404: the property block_device_mapping has a snapshot without an id at boot index 0",
            ),
        ],
    )
    def test_a_boot_mapping_that_cinder_cannot_read_is_refused(
        self, mapping: str, refused: str, policy: Policy
    ) -> None:
        plan = image(properties={"block_device_mapping": mapping}).decide(policy)
        assert (plan.steps, plan.refused) == ((), refused)

    def test_an_image_without_a_boot_mapping_is_created_from_its_data(self) -> None:
        plan = image(properties={"block_device_mapping": OF_NOVA.replace("0,", "1,")}).decide()
        assert ways(plan) == ways(GOOD.decide())
        assert said(plan, "from-snapshot") == (False, "block_device_mapping has no snapshot at boot index 0")


class TestFalling:
    """A failed step falls to the next one; only a failed copy fails the request."""

    @given(creation_cases())
    def test_every_way_but_the_copy_has_another_one_after_it(self, case: CreationCase) -> None:
        for step in case.decide().steps:
            assert step.falls_to_next is (step.way not in (Way.COPY, Way.FROM_SNAPSHOT))

    @given(creation_cases())
    def test_the_copy_comes_last_and_once(self, case: CreationCase) -> None:
        assert Way.COPY not in [step.way for step in case.decide().steps[:-1]]

    def test_a_request_to_cinder_also_fails_with_the_driver_and_with_the_copy_for_the_cache(self) -> None:
        steps = GOOD.decide(Policy.UPSTREAM).steps
        assert [(step.way.value, step.falls_to_next) for step in steps] == [
            ("clone-template", False),
            ("clone-image-volume", True),
            ("clone-cached", True),
            ("copy", False),
        ]
        (created,) = cache().decide(Policy.UPSTREAM).steps
        assert not created.falls_to_next


class TestEncryption:
    """An encrypted target is never cloned from or added to a cache."""

    @given(creation_cases(), st.sampled_from([True, None]))
    def test_an_encrypted_volume_is_copied_whatever_else_is_in_order(
        self, case: CreationCase, encrypted: bool | None
    ) -> None:
        assert set(ways(target(case, encrypted=encrypted).decide())) <= {"copy", "from-snapshot"}

    @given(creation_cases())
    def test_cinder_copies_an_encrypted_volume_if_it_knows_that_it_is_encrypted(self, case: CreationCase) -> None:
        assert set(ways(target(case, encrypted=True).decide(Policy.UPSTREAM))) <= {"copy", "from-snapshot"}

    def test_cinder_takes_a_volume_for_plain_if_it_does_not_know(self) -> None:
        assert ways(target(GOOD, encrypted=None).decide(Policy.UPSTREAM)) == ways(GOOD.decide(Policy.UPSTREAM))
        encrypted = target(GOOD, encrypted=True).decide(Policy.UPSTREAM)
        asked = "Cinder does not ask the driver where the new volume is encrypted"
        assert said(encrypted, "clone-template") == said(encrypted, "create-template") == (False, asked)


class TestSteps:
    """What each step is told."""

    def test_each_way_has_the_steps_that_it_needs(self) -> None:
        entries = (STALE, OTHER)
        limits = CacheLimits(max_count=1)
        full = replace(GOOD, template=None, cache=replace(GOOD.cache, entries=entries, limits=limits))
        assert full.decide().steps == (
            CreationStep(way=Way.CLONE_IMAGE_VOLUME, source=cases.VOLUME_ID, extend_to_gib=2),
            CreationStep(way=Way.CREATE_TEMPLATE, size_gib=1, extend_to_gib=2),
            CreationStep(
                way=Way.CREATE_CACHED, size_gib=1, extend_to_gib=2, remove_first=("other",), remove_after=("stale",)
            ),
            CreationStep(
                way=Way.COPY,
                extend_to_gib=2,
                remove_after=("stale",),
                falls_to_next=False,
            ),
        )

    def test_each_way_of_cinder_has_the_steps_that_it_needs(self) -> None:
        limits = CacheLimits(max_count=1)
        (created,) = cache(entries=(STALE, OTHER), limits=limits).decide(Policy.UPSTREAM).steps
        assert created == CreationStep(
            way=Way.CREATE_CACHED,
            size_gib=1,
            extend_to_gib=2,
            remove_first=("stale",),
            remove_after=("other",),
            falls_to_next=False,
        )
        # The new one alone is too large: what is stale goes nevertheless.
        large = image(cache(entries=(STALE,), limits=CacheLimits(max_gib=1)), virtual_size_bytes=2 * GIB)
        (copied,) = large.decide(Policy.UPSTREAM).steps
        assert copied == CreationStep(way=Way.COPY, extend_to_gib=2, remove_first=("stale",), falls_to_next=False)

    def test_a_template_is_made_with_its_size_and_after_room_is_made_for_it(self) -> None:
        old = replace(TEMPLATE, status="error")
        awaited = replace(TEMPLATE, being_made_for=MAKING)
        for template, expected in {
            TEMPLATE: CreationStep(way=Way.CLONE_TEMPLATE, source="template", extend_to_gib=2),
            old: CreationStep(way=Way.CREATE_TEMPLATE, size_gib=1, extend_to_gib=2, remove_after=("template",)),
            awaited: CreationStep(way=Way.AWAIT_TEMPLATE, wait=timedelta(minutes=29), extend_to_gib=2),
        }.items():
            assert templated(template).decide().steps[0] == expected

    def test_older_templates_of_the_image_go_when_the_volume_is_cloned_or_a_newer_one_is_made(self) -> None:
        older = replace(TEMPLATE.entry, volume_id="older")
        for template, going in ((TEMPLATE, ("older",)), (replace(TEMPLATE, status="error"), ("template", "older"))):
            case = replace(templated(template), other_templates=(older,))
            assert case.decide().steps[0].remove_after == going

    def test_a_replaced_template_is_deleted_after_the_new_one_is_ready(self) -> None:
        old = replace(TEMPLATE, entry=replace(TEMPLATE.entry, image_updated_at=NOON - MAKING))
        assert templated(old).decide(Policy.UPSTREAM).steps[0] == CreationStep(
            way=Way.CREATE_TEMPLATE, size_gib=1, extend_to_gib=2, remove_first=("template",), falls_to_next=False
        )

    def test_other_templates_count_towards_the_limits(self) -> None:
        limited = replace(templated(None), template_settings=replace(ENABLED, limits=CacheLimits(max_count=1)))
        assert limited.decide().steps[0].remove_first == ()
        assert replace(limited, other_templates=(OTHER,)).decide().steps[0].remove_first == ("other",)

    def test_templates_that_were_left_half_made_go_first(self) -> None:
        case = templated(None)
        plan = plan_creation(
            case.clone.image,
            target=case.clone.target,
            volumes=(),
            backend=case.clone.backend,
            clone_settings=case.clone.settings,
            template_settings=ENABLED,
            abandoned_templates=(OTHER,),
        )
        assert (plan.steps[0].way, plan.steps[0].remove_first) == (Way.CREATE_TEMPLATE, ("other",))

    def test_the_cached_volumes_are_tried_the_best_first(self) -> None:
        entries = (
            replace(CACHED, volume_id="old", last_used=None),
            replace(CACHED, volume_id="away", host="node@fast#two", last_used=NOON + MAKING),
            replace(CACHED, volume_id="new", last_used=NOON + MAKING),
            CACHED,
            replace(CACHED, volume_id="far", host="node@slow#one"),
            replace(CACHED, volume_id="large", size_gib=3),
        )
        case = cache(entries=entries)
        across = replace(case, clone=replace(case.clone, backend=replace(case.clone.backend, clone_across_pools=True)))
        assert [step.source for step in across.decide().steps] == ["new", "cached", "old", "away", None]
        assert [step.source for step in case.decide().steps] == ["new", "cached", "old", None]
        assert [step.source for step in across.decide(Policy.UPSTREAM).steps] == ["old", None]

    def test_a_cached_volume_may_be_as_large_as_the_new_one(self) -> None:
        assert ways(cache(entries=(replace(CACHED, size_gib=2),)).decide()) == ["clone-cached", "copy"]

    def test_cinder_looks_at_the_cached_volume_that_its_database_lists_first(self) -> None:
        plan = cache(entries=(CACHED, STALE)).decide(Policy.UPSTREAM)
        assert ways(plan) == ["clone-cached", "copy"]
        assert said(plan, "create-cached") == (False, "the cache already has volume cached")
        assert {verdict.subject for verdict in plan.cache} == {None, CACHED.volume_id}
        assert all(step.remove_first == step.remove_after == () for step in plan.steps)

    def test_cinder_looks_again_and_clones_the_second_if_the_first_is_stale(self) -> None:
        plan = cache(entries=(STALE, CACHED)).decide(Policy.UPSTREAM)
        assert [(step.way.value, step.source, step.remove_first) for step in plan.steps] == [
            ("clone-cached", CACHED.volume_id, (STALE.volume_id,)),
            ("copy", None, ()),
        ]
        assert said(plan, "create-cached") == (False, "the cache already has volume cached")
        twin = replace(CACHED, volume_id="twin")
        assert said(cache(entries=(CACHED, twin)).decide(Policy.UPSTREAM), "create-cached")[1].endswith("volume cached")

    @pytest.mark.parametrize(
        "ages, looked_at",
        [
            ("fresh fresh", "0"),
            ("stale", "0"),
            ("stale fresh", "01"),
            ("stale fresh fresh", "01"),
            ("stale stale fresh fresh", "012"),
            ("stale stale stale stale", "012"),
            ("stale stale undated", "01"),  # the request fails over it, and says so
        ],
    )
    def test_each_cached_volume_that_cinder_looks_at_has_one_verdict(self, ages: str, looked_at: str) -> None:
        ages_known = {"fresh": CACHED, "stale": STALE, "undated": replace(CACHED, image_updated_at=None)}
        entries = tuple(replace(ages_known[age], volume_id=str(number)) for number, age in enumerate(ages.split()))
        verdicts = cache(entries=entries).decide(Policy.UPSTREAM).cache
        assert "".join(verdict.subject or "" for verdict in verdicts) == looked_at

    def test_cinder_deletes_what_is_stale_once_and_adds_a_volume_here_beside_one_of_another_array(
        self,
    ) -> None:
        far = replace(CACHED, volume_id="far", host="node@slow#one")
        case = cache(entries=(STALE, far))
        across = replace(case, clone=replace(case.clone, backend=replace(case.clone.backend, clone_across_pools=True)))
        steps = across.decide(Policy.UPSTREAM).steps
        assert [(step.way.value, step.source, step.remove_first, step.remove_after) for step in steps] == [
            ("clone-cached", "far", ("stale",), ()),
            ("create-cached", None, (), ()),
        ]

    def test_cinder_deletes_two_that_are_stale_and_a_third_when_it_has_copied(self) -> None:
        stale = tuple(replace(STALE, volume_id=f"stale {number}") for number in range(4))
        (created,) = cache(entries=stale, limits=CacheLimits(max_count=1)).decide(Policy.UPSTREAM).steps
        assert (created.way, created.remove_first) == (Way.CREATE_CACHED, ("stale 0", "stale 1"))
        assert created.remove_after == ("stale 2", "stale 3")  # the last makes room
        large = cache(entries=stale, limits=CacheLimits(max_gib=1))
        (copied,) = image(large, virtual_size_bytes=2 * GIB).decide(Policy.UPSTREAM).steps
        assert (copied.way, copied.remove_first, copied.remove_after) == (
            Way.COPY,
            ("stale 0", "stale 1"),
            ("stale 2",),
        )

    def test_cinder_adds_nothing_beside_a_third_that_is_fresh(self) -> None:
        stale = tuple(replace(STALE, volume_id=f"stale {number}") for number in range(2))
        (copied,) = cache(entries=(*stale, CACHED)).decide(Policy.UPSTREAM).steps
        assert (copied.way, copied.remove_first, copied.remove_after) == (Way.COPY, ("stale 0", "stale 1"), ())

    def test_cinder_fails_over_a_date_that_it_looks_at_when_it_has_copied(self) -> None:
        stale = tuple(replace(STALE, volume_id=f"stale {number}") for number in range(2))
        undated = replace(CACHED, image_updated_at=None)
        plan = cache(entries=(*stale, undated)).decide(Policy.UPSTREAM)
        assert (plan.steps, plan.refused) == ((), "Cinder fails with an AttributeError")

    def test_cinders_database_does_not_tell_the_case_of_an_image_id(self) -> None:
        case = cache(entries=(replace(CACHED, image_id=CACHED.image_id.upper()),))
        assert [ways(case.decide(policy))[0] for policy in BOTH_POLICIES] == ["create-cached", "clone-cached"]
        assert all(step.remove_first == step.remove_after == () for step in case.decide().steps)

    def test_cinders_database_does_not_tell_the_case_of_a_volume_id(self) -> None:
        case = image(GOOD, locations=(ImageLocation(f"cinder://fast/{cases.VOLUME_ID.upper()}"),))
        assert [Way.CLONE_IMAGE_VOLUME.value in ways(case.decide(policy)) for policy in BOTH_POLICIES] == [False, True]

    def test_cinder_sizes_an_entry_by_what_it_measures(self) -> None:
        for size_bytes, size_gib in ((5, 1), (GIB, 1), (GIB + 1, 2), (2 * GIB - 511, 2)):
            case = image(cache(), size_bytes=size_bytes, virtual_size_bytes=None)
            case = replace(case, conversion=ConversionSettings())
            assert case.decide(Policy.UPSTREAM).steps[0].size_gib == size_gib

    def test_cinder_measures_whole_blocks_so_that_a_byte_too_many_is_not_lost_in_a_float(self) -> None:
        case = target(image(cache(), size_bytes=2**53 + 1, virtual_size_bytes=None), size_gib=2**24)
        case = replace(case, conversion=ConversionSettings())
        assert case.decide(Policy.UPSTREAM).steps[0].size_gib == 2**23 + 1

    def test_cinder_evicts_what_its_database_lists_last_also_where_it_is_in_use(self) -> None:
        entries = (OTHER, replace(OTHER, volume_id="last", in_use=True))
        case = cache(entries=entries, limits=CacheLimits(max_count=2))
        assert case.decide().steps[0].remove_first == ("other",)
        assert case.decide(Policy.UPSTREAM).steps[0].remove_after == ("last",)

    def test_cinder_finds_a_cached_volume_of_another_array_and_does_not_count_it(self) -> None:
        far = replace(CACHED, volume_id="far", host="node@slow#one")
        case = cache(entries=(far,), limits=CacheLimits(max_count=1))
        across = replace(case, clone=replace(case.clone, backend=replace(case.clone.backend, clone_across_pools=True)))
        assert across.decide(Policy.UPSTREAM).steps[0].source == "far"
        assert ways(across.decide(Policy.UPSTREAM)) == ["clone-cached", "copy"]
        (created, _) = across.decide().steps
        assert (created.way, created.remove_first) == (Way.CREATE_CACHED, ("far",))
        other = replace(across, cache=replace(across.cache, entries=(replace(OTHER, host=far.host),)))
        assert other.decide(Policy.UPSTREAM).steps[0].remove_after == ()

    def test_cinder_counts_all_cached_volumes_where_the_new_one_has_no_place_yet(self) -> None:
        case = target(cache(entries=(OTHER,), limits=CacheLimits(max_count=1)), host=None)
        assert case.decide(Policy.UPSTREAM).steps[0].remove_after == ("other",)

    @pytest.mark.parametrize(
        "disk_format, virtual_size_bytes, size_bytes, size_gib, upstream",
        [
            ("qcow2", None, 5, 2, 2),
            ("qcow2", 0, 5, 2, 2),
            ("raw", None, 5, 1, 1),
            ("raw", 0, 5, 1, 2),
            ("raw", 0, GIB + 1, 2, 2),
            ("raw", GIB, 5, 1, 1),
            ("raw", 5, GIB + 1, 2, 1),
            ("raw", GIB + 1, 5, 2, 2),
        ],
    )
    def test_a_cached_volume_is_as_small_as_is_known_to_hold_the_image(
        self, disk_format: str, virtual_size_bytes: int | None, size_bytes: int, size_gib: int, upstream: int
    ) -> None:
        roomy = replace(cache(), conversion=ConversionSettings())
        sizes = {"virtual_size_bytes": virtual_size_bytes, "size_bytes": size_bytes}
        case = image(roomy, disk_format=disk_format, **sizes)
        assert [case.decide(policy).steps[0].size_gib for policy in BOTH_POLICIES] == [size_gib, upstream]

    @given(creation_cases())
    def test_no_fresh_cached_volume_and_none_in_use_is_deleted_for_another(self, case: CreationCase) -> None:
        plan = case.decide()
        in_use = {entry.volume_id for entry in case.cache.entries if entry.in_use}
        for step in plan.steps:
            assert not in_use & set(step.remove_first)
            assert step.source not in (*step.remove_first, *step.remove_after)

    @given(creation_cases())
    def test_no_step_makes_a_volume_larger_than_the_one_asked_for(self, case: CreationCase) -> None:
        for step in case.decide().steps:
            assert step.size_gib is None or step.size_gib <= case.clone.target.size_gib
            assert step.extend_to_gib == case.clone.target.size_gib

    @given(creation_cases())
    def test_a_stale_volume_is_never_cloned(self, case: CreationCase) -> None:
        """Nothing stale is served."""
        cache = case.decide().cache
        fresh = {verdict.subject for verdict in cache if verdict.rule == "cached-fresh" and verdict.ok}
        assert {step.source for step in case.decide().steps if step.way is Way.CLONE_CACHED} <= fresh


BREAKS_REQUEST = {
    Policy.STRICT: {
        "mapping-readable": image(properties={"block_device_mapping": "lots"}),
        "image-active": image(status="queued"),
        "image-fits": image(virtual_size_bytes=2 * GIB + 1),
    },
    Policy.UPSTREAM: {
        "mapping-readable": image(properties={"block_device_mapping": "lots"}),
        "image-active": image(status="queued"),
        "image-fits": image(min_disk_gib=None),
        "driver-answers": templated(replace(TEMPLATE, entry=replace(TEMPLATE.entry, image_updated_at=None))),
    },
}
BREAKS_CACHE = {
    Policy.STRICT: {
        "cache-enabled": cache(enabled=False),
        "internal-tenant-known": cache(internal_tenant=None),
        "target-not-encrypted": target(cache(), encrypted=None),
    },
    Policy.UPSTREAM: {
        "cache-enabled": cache(enabled=False),
        "target-not-encrypted": target(cache(), encrypted=True),
        "internal-tenant-known": cache(internal_tenant=False),
    },
}
UNREAD = image(BARE, locations=(ImageLocation("http://["),))
STOPS = {
    "locations-are-urls": UNREAD,
    "times-known": cache(entries=(replace(CACHED, image_updated_at=None),)),
    "room-to-convert": replace(BARE, conversion=ConversionSettings(free_bytes=GIB)),
}


class TestRequest:
    """What stands in the way of every way, of the cache, and of Cinder in the middle of its ways."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_each_rule_about_the_request_refuses_alone(self, policy: Policy) -> None:
        assert list(BREAKS_REQUEST[policy]) == [rule.id for rule in CREATION_RULES[policy]]
        for rule, case in BREAKS_REQUEST[policy].items():
            plan = case.decide(policy)
            assert [verdict.rule for verdict in failed(plan.verdicts)] == [rule]
            assert (plan.steps, plan.accepted, plan.refused) == ((), False, failed(plan.verdicts)[0].text)

    def test_two_rules_that_refuse_a_request_are_both_named(self) -> None:
        assert image(status="queued", virtual_size_bytes=2 * GIB + 1).decide().refused == (
            "the image's status is queued; "
            "the image needs 3 GiB (virtual size 2147483649 bytes) and the volume has 2 GiB"
        )
        assert BREAKS_REQUEST[Policy.UPSTREAM]["driver-answers"].decide(Policy.UPSTREAM).refused == (
            "the driver fails with a KeyError"
        )
        assert said(GOOD.decide(Policy.UPSTREAM), "driver-answers") == (True, "the driver does not fail")

    def test_a_driver_that_is_not_asked_does_not_fail(self) -> None:
        case = target(BREAKS_REQUEST[Policy.UPSTREAM]["driver-answers"], encrypted=True)
        assert ways(case.decide(Policy.UPSTREAM)) == ["copy"]

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_each_rule_about_the_cache_alone_keeps_it_from_being_used(self, policy: Policy) -> None:
        assert list(BREAKS_CACHE[policy]) == [rule.id for rule in CACHE_RULES[policy]]
        for rule, case in BREAKS_CACHE[policy].items():
            plan = case.decide(policy)
            assert [verdict.rule for verdict in failed(plan.cache)] == [rule]
            assert ways(plan) == ["copy"]
            text = failed(plan.cache)[0].text
            assert said(plan, "clone-cached") == said(plan, "create-cached") == (False, text)

    @pytest.mark.parametrize(
        "rule, text",
        [
            ("cache-enabled", "the cache is not enabled"),
            ("internal-tenant-known", "it is not known whether Cinder's internal tenant is configured"),
            ("target-not-encrypted", "it is not known whether the new volume is encrypted"),
        ],
    )
    def test_the_verdict_on_the_cache_says_why(self, rule: str, text: str) -> None:
        assert failed(BREAKS_CACHE[Policy.STRICT][rule].decide().cache)[0].text == text
        assert [verdict.text for verdict in cache().decide().cache[:3]] == [
            "the cache is enabled",
            "Cinder's internal tenant is configured",
            "the new volume is not encrypted",
        ]
        without = failed(cache(internal_tenant=False).decide().cache)
        assert [verdict.text for verdict in without] == ["Cinder's internal tenant is not configured"]

    @pytest.mark.parametrize("size", [2**1024 - 1, 2**1024, 10**400], ids=["largest", "larger", "much larger"])
    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_virtual_size_that_no_float_holds_is_refused(self, policy: Policy, size: int) -> None:
        plan = image(cache(), virtual_size_bytes=size).decide(policy)
        assert not plan.steps
        assert plan.refused

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    @pytest.mark.parametrize(
        "encrypted, answer",
        [
            (True, "the new volume is encrypted"),
            (False, "the new volume is not encrypted"),
            (None, "it is not known whether the new volume is encrypted"),
        ],
    )
    def test_the_verdict_on_the_cache_says_if_the_new_volume_is_encrypted(
        self, policy: Policy, encrypted: bool | None, answer: str
    ) -> None:
        plan = target(cache(), encrypted=encrypted).decide(policy)
        (verdict,) = (verdict for verdict in plan.cache if verdict.rule == "target-not-encrypted")
        assert verdict.text == answer

    def test_each_stop_ends_the_request_with_an_error_of_cinders(self) -> None:
        assert list(STOPS) == [rule.id for rule in STOP_RULES[Policy.UPSTREAM]]
        texts = {
            "locations-are-urls": "Cinder fails with a ValueError: location http://[: it is not a URL",
            "times-known": "Cinder fails with an AttributeError",
            "room-to-convert": "Cinder fails with an ImageTooBig: 1073741824 bytes are free to convert 1073741824",
        }
        for rule, case in STOPS.items():
            plan = case.decide(Policy.UPSTREAM)
            assert (plan.steps, plan.accepted, plan.refused) == ((), True, texts[rule])
            for way in ("clone-cached", "create-cached", "copy"):
                assert said(plan, way) == (False, plan.refused)
            assert case.decide().steps, "and not with an error of ours"

    @pytest.mark.parametrize("size_bytes", [GIB, None])
    def test_a_stop_that_does_not_end_the_request_says_so(self, size_bytes: int | None) -> None:
        clone = replace(GOOD.clone, image=replace(GOOD.clone.image, size_bytes=size_bytes))
        creation = Creation(
            image=clone.image,
            target=clone.target,
            boot=BootMapping(text=""),
            found=Lookup(),
            clone=clone.decide(Policy.UPSTREAM),
            template=GOOD.decide().template,
            conversion=ConversionSettings(free_bytes=(size_bytes or 0) + 1),
        )
        verdicts = evaluate(STOP_RULES[Policy.UPSTREAM], creation)
        assert [(verdict.ok, verdict.text) for verdict in verdicts] == [
            (True, "Cinder does not fail over a location"),
            (True, "Cinder does not fail over a time"),
            (True, "Cinder finds room to convert the image, whether it converts it or not"),
        ]

    def test_a_stop_is_not_reached_where_an_image_volume_is_cloned(self) -> None:
        cloned = replace(
            GOOD, template=None, template_settings=TemplateSettings(), conversion=ConversionSettings(free_bytes=0)
        )
        assert ways(cloned.decide(Policy.UPSTREAM)) == ["clone-image-volume"]

    def test_cinder_does_not_read_the_locations_of_an_image_that_it_would_not_clone(self) -> None:
        assert ways(image(UNREAD, disk_format="qcow2").decide(Policy.UPSTREAM)) == ["copy"]

    def test_a_copy_by_cinder_fails_if_its_format_is_not_converted(self) -> None:
        _, case = OPEN[Policy.UPSTREAM]["copy"]
        assert case.decide(Policy.UPSTREAM).refused == (
            "Cinder fails with an ImageConversionNotAllowed: the image's disk_format is qcow2; images are not converted"
        )

    def test_cinder_creates_the_cached_volume_by_a_copy(self) -> None:
        plan = cache().decide(Policy.UPSTREAM)
        assert said(plan, "copy") == (False, "Cinder's copy is what creates the cached volume")
        assert said(plan, "create-cached") == (True, "the cache has room for 1 GiB")
        assert said(BARE.decide(Policy.UPSTREAM), "copy")[1] == said(BARE.decide(), "copy")[1]
        assert said(GOOD.decide(Policy.UPSTREAM), "clone-cached") == (True, "the cache has volume cached")

    def test_the_verdict_of_cinder_on_the_cache_says_what_it_has_not(self) -> None:
        nothing = "the cache has no volume of this image where it could be cloned"
        assert said(cache().decide(Policy.UPSTREAM), "clone-cached") == (False, nothing)
        stale = cache(entries=(STALE,), limits=CacheLimits(max_gib=1)).decide(Policy.UPSTREAM)
        dates = "the image's updated_at is 2025-06-01 12:00:00+00:00, and was 2025-05-31 12:00:00+00:00"
        assert said(stale, "clone-cached") == (False, f"stale: {dates}")
        large = image(cache(limits=CacheLimits(max_gib=1)), virtual_size_bytes=2 * GIB).decide(Policy.UPSTREAM)
        assert said(large, "create-cached") == (False, "it and what is in use have 2 GiB and the limit is 1")

    def test_cinder_does_not_look_at_the_multihash(self) -> None:
        digest = Digest("sha512", "0a")
        edited = image(cache(entries=(replace(STALE, digest=digest),)), digest=digest)
        assert ways(edited.decide()) == ["clone-cached", "copy"]
        assert ways(edited.decide(Policy.UPSTREAM)) == ["create-cached"]

    def test_a_negative_amount_of_free_space_is_refused(self) -> None:
        with pytest.raises(InvalidSize) as raised:
            ConversionSettings(free_bytes=-1)
        assert str(raised.value) == "ConversionSettings.free_bytes is -1: give 0 or more, or None"
        assert ConversionSettings(free_bytes=0).free_bytes == 0
