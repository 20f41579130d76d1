"""What an operator deletes as an image volume is one, or a killed process left it; all else comes with what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from imagevol_core import (
    FINISHED,
    Policy,
    RemovalDecision,
    RunningProcess,
    Volume,
    VolumeOrigin,
    decide_remains,
    decide_removal,
)
from tests.core.test_reclaiming import GONE, HERE, NO_PROCESS

DISK = Volume(id="7ad3", size_gib=1, status="available", readonly=False)
LEFT = replace(DISK, metadata=VolumeOrigin(procedure="put", image_id="e38f", process=GONE).to_volume())


def decide(volume: Volume, running: RunningProcess | None = NO_PROCESS, **facts: object) -> RemovalDecision:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    remains = decide_remains(volume, here=HERE, running=running, named=True, now=now)
    return decide_removal(volume, remains=remains, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "decided, allowed, in_use, rule, said",
    [
        (
            lambda: decide(DISK, image_id="e38f", lives=True),
            *(False, True, "data-of-an-image", "`openstack image delete e38f`"),
        ),
        (
            lambda: decide(DISK, image_id="e38f", sees_all=True),
            *(True, False, "of-no-image-now", "image e38f, which has no data here"),
        ),
        (
            lambda: decide(DISK, image_id="e38f", shown=True),  # it has its data elsewhere
            *(True, False, "of-no-image-now", "image e38f, which has no data here"),
        ),
        (
            lambda: decide(DISK, image_id="e38f", image_owner="p", project_id="p"),
            *(True, False, "of-no-image-now", "image e38f, which has no data here"),
        ),
        (
            lambda: decide(DISK, image_id="e38f", image_owner="p", project_id="q"),
            *(False, False, "image-may-be-hidden", "with the credentials of an administrator"),
        ),
        (
            lambda: decide(DISK, image_id="e38f"),
            *(False, False, "image-may-be-hidden", "with the credentials of an administrator"),
        ),
        (lambda: decide(LEFT), True, False, "left-by-the-dead", "process 7 on this host has ended"),
        (
            lambda: decide(LEFT, RunningProcess(exists=True)),
            *(False, True, "being-created", "wait until it has finished"),
        ),
        (
            lambda: decide(replace(LEFT, metadata=VolumeOrigin(procedure="put").to_volume())),
            *(False, True, "may-be-left", "`openstack volume delete 7ad3`"),
        ),
        (
            lambda: decide(replace(DISK, readonly=True, source_volume_id="0c1d"), base_image_id="e38f"),
            *(False, False, "made-by-cinder", "clone of volume 0c1d, of image e38f"),
        ),
        (
            lambda: decide(replace(DISK, readonly=True, source_volume_id="0c1d")),
            *(False, False, "made-by-cinder", "clone of volume 0c1d, such as Cinder creates for its image cache"),
        ),
        (lambda: decide(replace(DISK, status="in-use")), False, True, "other-data-attached", "detach it, and then run"),
        (lambda: decide(DISK), False, False, "other-data", "run `openstack volume delete 7ad3`"),
        (
            lambda: decide(replace(LEFT, metadata={**LEFT.metadata, **FINISHED})),
            False,
            False,
            "other-data",
            "holds no image",
        ),
        (
            lambda: decide(replace(DISK, readonly=True), base_image_id="e38f"),
            False,
            False,
            "other-data",
            "holds no image",
        ),
        (lambda: decide(DISK, policy=Policy.UPSTREAM), True, False, "as-asked", "status available"),
    ],
)
def test_a_refused_removal_says_why_and_what_to_do(
    decided: Callable[[], RemovalDecision], allowed: bool, in_use: bool, rule: str, said: str
) -> None:
    decision = decided()
    assert (decision.allowed, decision.in_use, decision.verdicts[-1].rule) == (allowed, in_use, rule)
    assert said in decision.reason
    assert decision.volume_id == "7ad3"


@pytest.mark.parametrize("status", ["in-use", "attaching", "reserved"])
def test_other_data_that_is_attached_is_in_use(status: str) -> None:
    assert decide(replace(DISK, status=status)).in_use


def test_every_rule_that_was_looked_at_says_what_it_saw() -> None:
    verdicts = decide(DISK).verdicts
    assert {verdict.subject for verdict in verdicts} == {"7ad3"}
    assert [verdict.text for verdict in verdicts[1:3]] == [
        "Glance hides no image that it names from these credentials",
        "its metadata names no image",
    ]


@pytest.mark.parametrize("lives, shown", [(True, True), (False, False)])
def test_a_refused_removal_names_the_image(lives: bool, shown: bool) -> None:
    assert " image e38f" in decide(DISK, image_id="e38f", lives=lives, shown=shown).reason
