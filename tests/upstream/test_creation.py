"""`plan_creation` under UPSTREAM goes the ways that Cinder goes, in its order, and falls from one to the next alike.

Any of the steps may be made to fail.  Cinder's flow, its cache and its queries are asked; the worker says what is not.
Whether a volume is created from Nova's snapshot instead is decided before, by Cinder's API: it is asked on its own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagevol_adapters.testing.way_strategies import CreationCase, creation_cases
from imagevol_core import (
    CacheEntry,
    ConversionSettings,
    CreationPlan,
    CreationStep,
    ImageCache,
    ImageLocation,
    Policy,
    TemplateAction,
    TemplateSettings,
    Way,
    failed,
)
from imagevol_core.creation import boot_mapping
from tests.core.cases import GOOD
from tests.upstream.asking import Worker
from tests.upstream.cinder_words import case_for_cinder, entry_for_cinder, raised
from tests.upstream.examples import EXAMPLES, FEWER

KINDS = {
    Way.CLONE_TEMPLATE: "driver",
    Way.CREATE_TEMPLATE: "driver",
    Way.CLONE_IMAGE_VOLUME: "image-volume",
    Way.CLONE_CACHED: "cached",
    Way.CREATE_CACHED: "copy",
    Way.COPY: "copy",
}
# An image of which no location names a volume, and one cannot be read: seldom drawn.
UNREAD = CreationCase(
    clone=replace(GOOD, image=replace(GOOD.image, locations=(ImageLocation("http://["),))),
    cache=ImageCache(),
    template=None,
    template_settings=TemplateSettings(),
    conversion=ConversionSettings(),
)
WAYS = {way.value for way in Way}
LATE = "Cinder fails with an AttributeError"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ANSWERS = {TemplateAction.COPY: "declines", TemplateAction.FAIL: "raises"}


SPELLED = ["entries", "locations", "host"]
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
DATES = {"fresh": NOON, "stale": NOON - timedelta(days=1), "undated": None}


def cached(*dates: str) -> CreationCase:
    """A case with several cached volumes of its image, most recently used first: seldom drawn."""
    entries = tuple(
        CacheEntry(
            volume_id=f"{number:08}-0000-4000-8000-00000000000c",
            image_id=GOOD.image.id,
            size_gib=1,
            image_updated_at=DATES[date],
            host=GOOD.target.host,
        )
        for number, date in enumerate(dates)
    )
    clone = replace(GOOD, image=replace(GOOD.image, updated_at=NOON), volumes=())
    return replace(UNREAD, clone=clone, cache=ImageCache(enabled=True, internal_tenant=True, entries=entries))


def agree(
    cinder: Worker, examples: settings, *, policy: Policy = Policy.UPSTREAM, whole_seconds: bool = False
) -> Counter[str]:
    """Compare, and give how often each way was the last.

    Args:
        cinder: of which database.
        examples: how many.
        policy: whose release that Cinder is.
        whole_seconds: whether the database keeps no more of a time, as Glance and Cinder's API give no more of it.
    """
    kinds = Counter[str]()

    @examples
    @example(UNREAD, set(), set())
    @example(cached("stale", "fresh"), set(), {"entries"})
    @example(cached("stale", "fresh"), {"cached"}, set())
    @example(cached("stale", "stale", "fresh"), set(), set())
    @example(cached("stale", "stale", "stale", "fresh"), set(), set())
    @example(cached("stale", "stale", "undated"), set(), set())
    @example(cached("stale", "stale"), {"copy"}, set())
    @given(
        creation_cases(),
        st.sets(st.sampled_from(["driver", "image-volume", "cached", "copy"])),
        st.sets(st.sampled_from(SPELLED)),
    )
    def the_answers_agree(case: CreationCase, fails: set[str], spelled: set[str]) -> None:
        case = as_cinder_has_it(case, spelled)
        if whole_seconds:
            case = in_whole_seconds(case)
        plan = case.decide(policy)
        theirs = cinder.ask("create", **creation_for_cinder(case, plan, fails))
        tried, succeeded = walk(plan, fails)
        expected = notes(plan, tried, succeeded)
        if late := failed_late(plan, tried):
            expected += [["copy"]]  # and it fails then, whatever comes of it
        assert [note for note in theirs["notes"] if note[0] != "delete"] == expected
        assert (theirs["raises"] is None) is succeeded
        if succeeded or (tried and tried[-1].way in (Way.COPY, Way.CREATE_CACHED)):
            assert deleted(theirs) == goes(tried, succeeded)
        if not succeeded and not tried and not (late and "copy" in fails):
            refusals = failed(verdict for verdict in plan.verdicts if verdict.rule not in WAYS)
            assert raised(refusals[0].text if refusals else plan.refused or "", theirs["raises"])
        kinds[tried[-1].way.value if succeeded else f"not {tried[-1].way.value}" if tried else "refused"] += 1
        kinds["two stale" if any(len(step.remove_first) > 1 for step in tried) else "one stale"] += 1
        kinds["stale, then cloned"] += any(step.remove_first and step.way is Way.CLONE_CACHED for step in tried)

    the_answers_agree()
    assert {way.value for way in KINDS} | {"refused", "not copy", "not create-cached"} <= set(kinds)
    assert kinds["two stale"]
    assert kinds["stale, then cloned"]
    return kinds


class TestCinder:
    """The same steps are tried until one succeeds, the same volumes go, and the request ends alike."""

    def test_the_same_ways_are_gone(self, cinder_ways: Worker) -> None:
        agree(cinder_ways, EXAMPLES)

    def test_the_same_ways_are_gone_as_in_the_release_before(self, cinder_ways_of_28: Worker) -> None:
        examples = settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 2)
        agree(cinder_ways_of_28, examples, policy=Policy.CINDER_28)

    def test_the_same_ways_are_gone_on_mariadb(self, cinder_ways_on_mariadb: Worker) -> None:
        """What SQLite is told to do as MariaDB is what MariaDB does."""
        examples = settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 4)
        agree(cinder_ways_on_mariadb, examples, whole_seconds=True)


SNAPSHOT_ID = "2f1c7a0e-5b3d-4c8f-9e6a-7d0b1c2e3f4a"
_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, False, 1, 0.0, "", "0", "snapshot", "volume", SNAPSHOT_ID, "5f0a", [], {}]
)
DEVICES = st.fixed_dictionaries(
    {
        "source_type": st.just("snapshot") | _VALUES,
        "boot_index": st.just(0) | _VALUES,
        "snapshot_id": st.just(SNAPSHOT_ID) | _VALUES,
    }
) | st.dictionaries(st.sampled_from(["source_type", "boot_index", "snapshot_id"]), _VALUES)
MAPPINGS = (
    st.none()
    | st.text(max_size=5)
    | (st.lists(DEVICES | _VALUES, max_size=3) | st.lists(DEVICES, min_size=1, max_size=2) | _VALUES).map(json.dumps)
)


def test_a_volume_is_created_from_the_same_snapshot(cinder_ways: Worker) -> None:
    kinds = Counter[str]()

    @FEWER
    @given(MAPPINGS)
    def the_answers_agree(mapping: str | None) -> None:
        properties = {} if mapping is None else {"block_device_mapping": mapping}
        ours = boot_mapping(replace(GOOD.image, properties=properties))
        theirs = cinder_ways.ask("source", mapping=mapping, image_id=GOOD.image.id)
        if ours.fault:
            kinds["refused"] += 1
            assert "raises" in theirs
            assert (theirs["raises"] == "HTTPNotFound") is ("answers 404" in ours.fault)
        elif ours.snapshot_id is None:
            kinds["image"] += 1
            assert theirs == {"snapshot": None, "image": GOOD.image.id}
        elif ours.snapshot_id == SNAPSHOT_ID:
            kinds["snapshot"] += 1
            assert theirs == {"snapshot": SNAPSHOT_ID, "image": None}
        else:
            kinds["no such snapshot"] += 1
            assert theirs == {"raises": "HTTPNotFound"}

    the_answers_agree()
    assert set(kinds) == {"refused", "image", "snapshot", "no such snapshot"}


def as_cinder_has_it(case: CreationCase, spelled: set[str]) -> CreationCase:
    """The case with a host, and without a snapshot of Nova's: from one the API creates the volume.

    Some ids and names are in capital letters, which the database does not tell from small ones.
    """
    host = case.clone.target.host or "node@fast#one"
    target = replace(case.clone.target, host=host.upper() if "host" in spelled else host)
    properties = {key: text for key, text in case.clone.image.properties.items() if key != "block_device_mapping"}
    locations = case.clone.image.locations
    if "locations" in spelled:
        locations = tuple(replace(each, url=_ID.sub(lambda found: found[0].upper(), each.url)) for each in locations)
    image = replace(case.clone.image, properties=properties, locations=locations)
    entries = case.cache.entries
    if "entries" in spelled:
        entries = tuple(replace(entry, image_id=entry.image_id.upper()) for entry in entries)
    cache = replace(case.cache, entries=entries)
    return replace(case, clone=replace(case.clone, image=image, target=target), cache=cache)


def in_whole_seconds(case: CreationCase) -> CreationCase:
    """The case with times as Glance and Cinder's database have them."""

    def whole(time: datetime | None) -> datetime | None:
        return time and time.replace(microsecond=0)

    image = replace(case.clone.image, updated_at=whole(case.clone.image.updated_at))
    volumes = tuple(replace(each, created_at=whole(each.created_at)) for each in case.clone.volumes)
    entries = tuple(replace(each, image_updated_at=whole(each.image_updated_at)) for each in case.cache.entries)
    clone = replace(case.clone, image=image, volumes=volumes)
    return replace(case, clone=clone, cache=replace(case.cache, entries=entries))


def creation_for_cinder(case: CreationCase, plan: CreationPlan, fails: set[str]) -> dict[str, Any]:
    """What the worker's `create` takes."""
    cache, updated_at = case.cache, case.clone.image.updated_at
    cached = {
        "entries": [entry_for_cinder(entry) for entry in cache.entries],
        "max_gib": cache.limits.max_gib,
        "max_count": cache.limits.max_count,
    }
    return {
        "clone": case_for_cinder(case.clone),
        "updated_at": updated_at.isoformat() if updated_at else None,
        "cached": cached if cache.enabled else None,
        "internal_tenant": cache.internal_tenant is True,
        "conversion_allowed": case.conversion.allowed,
        "free_bytes": case.conversion.free_bytes,
        "clone_image": ANSWERS.get(plan.template.action, "clones"),
        "fails": sorted(fails),
    }


def walk(plan: CreationPlan, fails: set[str]) -> tuple[list[CreationStep], bool]:
    """The steps that are tried, and whether the last one succeeds."""
    tried = []
    for step in plan.steps:
        tried.append(step)
        if KINDS[step.way] not in fails:
            return tried, True
        if not step.falls_to_next:
            break
    return tried, False


def notes(plan: CreationPlan, tried: list[CreationStep], succeeded: bool) -> list[list[str]]:
    """What Cinder is seen to do for these steps, but for what it deletes."""
    said = [
        ["clone", step.source or ""] if step.way in (Way.CLONE_IMAGE_VOLUME, Way.CLONE_CACHED) else [KINDS[step.way]]
        for step in tried
    ]
    if succeeded and tried[-1].way is Way.CREATE_CACHED:
        said.append(["cache"])
    if plan.template.action is TemplateAction.FAIL and failed_in_the_driver(plan):
        said.append(["driver"])
    return said


def failed_in_the_driver(plan: CreationPlan) -> bool:
    failures = [verdict.rule for verdict in plan.verdicts if verdict.faults]
    return failures == ["driver-answers"]


def failed_late(plan: CreationPlan, tried: list[CreationStep]) -> bool:
    """Whether Cinder copies the image, and then fails over a date in its cache."""
    copies = [verdict.text for verdict in plan.verdicts if verdict.rule == Way.COPY.value and not verdict.applies]
    reached = plan.accepted and all(step.falls_to_next for step in tried)
    return reached and copies == [LATE] and not any(verdict.text == LATE for verdict in plan.cache)


def goes(tried: list[CreationStep], succeeded: bool) -> list[str]:
    """What is stale goes first; what makes room for a new entry goes when there is something to be kept."""
    before = [volume_id for step in tried for volume_id in step.remove_first if KINDS[step.way] != "driver"]
    return before + list(tried[-1].remove_after if succeeded and KINDS[tried[-1].way] != "driver" else ())


def deleted(theirs: dict[str, Any]) -> list[str]:
    return [note[1] for note in theirs["notes"] if note[0] == "delete"]
