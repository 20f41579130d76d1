"""`plan_creation` under UPSTREAM goes the ways that Cinder goes, in its order, and falls from one to the next alike.

Any of the steps may be made to fail.  Cinder's flow, its cache and its queries are asked; the worker says what is not.
Whether a volume is created from Nova's snapshot instead is decided before, by Cinder's API: it is asked on its own.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import example, given
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
from imagevol_core.boot_mapping import boot_mapping
from tests.core.cases import GOOD
from tests.upstream.asking import Worker
from tests.upstream.cinder_words import case_for_cinder, entry_for_cinder, raised
from tests.upstream.examples import EXAMPLES

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
ANSWERS = {TemplateAction.COPY: "declines", TemplateAction.FAIL: "raises"}


class TestCinder:
    """The same steps are tried until one succeeds, the same volumes go, and the request ends alike."""

    def test_the_same_ways_are_gone(self, cinder_ways: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @example(UNREAD, set())
        @given(creation_cases(), st.sets(st.sampled_from(["driver", "image-volume", "cached", "copy"])))
        def the_answers_agree(case: CreationCase, fails: set[str]) -> None:
            case = as_cinder_has_it(case)
            plan = case.decide(Policy.UPSTREAM)
            theirs = cinder_ways.ask("create", **creation_for_cinder(case, plan, fails))
            tried, succeeded = walk(plan, fails)
            assert [note for note in theirs["notes"] if note[0] != "delete"] == notes(plan, tried, succeeded)
            assert (theirs["raises"] is None) is succeeded
            if succeeded or (tried and tried[-1].way in (Way.COPY, Way.CREATE_CACHED)):
                assert deleted(theirs) == goes(case, tried, succeeded)
            if not succeeded and not tried:
                refusals = failed(verdict for verdict in plan.verdicts if verdict.rule not in WAYS)
                assert raised(refusals[0].text if refusals else plan.refused or "", theirs["raises"])
            kinds[tried[-1].way.value if succeeded else f"not {tried[-1].way.value}" if tried else "refused"] += 1

        the_answers_agree()
        assert {way.value for way in KINDS} | {"refused", "not copy", "not create-cached"} <= set(kinds)


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

    @EXAMPLES
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


def as_cinder_has_it(case: CreationCase) -> CreationCase:
    """The case with a host, with one entry an image, and without a snapshot of Nova's.

    Of several entries Cinder looks at more than one, by what time it is.  From a snapshot the API creates the volume.
    """
    target = replace(case.clone.target, host=case.clone.target.host or "node@fast#one")
    entries: dict[str, CacheEntry] = {}
    for at, entry in enumerate(case.cache.entries):
        image_id = entry.image_id if entry.image_id not in entries else f"{entry.image_id[:-1]}{at}"
        entries[image_id] = replace(entry, image_id=image_id)
    cache = replace(case.cache, entries=tuple(entries.values()))
    properties = {key: text for key, text in case.clone.image.properties.items() if key != "block_device_mapping"}
    image = replace(case.clone.image, properties=properties)
    return replace(case, clone=replace(case.clone, image=image, target=target), cache=cache)


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
    failures = [verdict.rule for verdict in plan.verdicts if not verdict.passed]
    return failures == ["driver-answers"]


def goes(case: CreationCase, tried: list[CreationStep], succeeded: bool) -> list[str]:
    """What goes first: what is stale; and for a new entry others, once it is there to be kept."""
    last = tried[-1]
    stale = {entry.volume_id for entry in case.cache.entries if entry.image_id == case.clone.image.id}
    if last.way not in (Way.CREATE_CACHED, Way.COPY):
        return []
    return [volume_id for volume_id in last.remove_first if succeeded or volume_id in stale]


def deleted(theirs: dict[str, Any]) -> list[str]:
    return [note[1] for note in theirs["notes"] if note[0] == "delete"]
