"""What the audit says of image volumes and temporary files, also where a rule holds, and why it is only likely."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from imagevol_core import HOLD, ImageLocation, Policy, VolumeOrigin, evaluate
from imagevol_core.auditing import IMAGE_VOLUME_RULES
from imagevol_core.auditing.facts import ImageVolume
from imagevol_core.auditing.file_rules import FILE_RULES, KeptFile
from tests.core import test_auditing
from tests.core.test_auditing import (
    NOW,
    RUNS,
    SETTINGS,
    UNSAID,
    Cloud,
    half_stored,
    image,
    one,
    uuid,
    volume,
)

HELD = replace(test_auditing.TestSentences.ANYBODYS, recorded="image-0")
WHOLE = VolumeOrigin(procedure="put", image_id="image-0", finished=True).to_volume()


@pytest.mark.parametrize(
    "rule, held, text",
    [
        ("image-volume-without-image", replace(HELD, volume=volume(status="deleting")), "Cinder is deleting it"),
        (
            "image-volume-without-image",
            replace(HELD, importing=True, volume=volume(created_at=None)),
            "Glance is copying image 'image-0'",
        ),
        (
            "image-volume-without-image",
            replace(HELD, volume=volume(says={**WHOLE})),
            "`imagevol put` made it of a file, and no image was asked for",
        ),
        (
            "image-volume-without-image",
            replace(HELD, image_known=True),
            "it names image 'image-0', whose locations are known and are others",
        ),
        (
            "left-unfinished",
            replace(HELD, claimed=True, volume=half_stored()),
            "an image's location names it, so that it is whole",
        ),
        ("left-unfinished", replace(HELD, volume=half_stored(status="deleting")), "no procedure is creating it"),
        (
            "left-unfinished",
            replace(HELD, volume=half_stored(created_at=NOW - timedelta(hours=1))),
            "procedure add has not finished 1 hour after it began",
        ),
        (
            "hold-left",
            replace(HELD, volume=volume(says={HOLD: "a-journal"}, updated_at=NOW)),
            "journal a-journal holds it, and Cinder changed it 0 seconds before the audit",
        ),
        (
            "hold-left",
            replace(HELD, volume=volume(says={HOLD: "a-journal"}, created_at=NOW)),
            "journal a-journal holds it, and Cinder changed it 0 seconds before the audit",
        ),
        ("hold-left", replace(HELD, volume=volume(says={HOLD: ""})), "no operation holds it"),
    ],
)
def test_a_rule_that_holds_says_what_it_has_seen(rule: str, held: ImageVolume, text: str) -> None:
    verdicts = {verdict.rule: verdict for verdict in evaluate(IMAGE_VOLUME_RULES[Policy.STRICT], held)}
    assert (verdicts[rule].ok, verdicts[rule].text) == (True, text)


@pytest.mark.parametrize(
    "cloud, why",
    [
        (
            Cloud(images=(image(9, locations=(ImageLocation("CINDER:?"),)),), volumes=(volume(),)),
            "a location of an image could not be read, and may name it",
        ),
        (
            Cloud(volumes=(volume(),), settings=replace(SETTINGS, delayed_delete=True)),
            "with delayed_delete, Glance can give the image back for a time",
        ),
        (one(held=volume(readonly=None)), "Cinder does not tell"),
        (
            Cloud(volumes=(half_stored(),), settings=replace(SETTINGS, only_glance=True)),
            RUNS,
        ),
    ],
)
def test_a_finding_that_is_only_likely_says_why(cloud: Cloud, why: str) -> None:
    found = [each for each in cloud.audit() if uuid(0) in {about.id for about in each.subjects}]
    assert [each.text.partition("; only likely, because ")[2] for each in found] == [why]


def test_a_volume_that_says_nothing_and_is_named_by_nothing_has_no_finding() -> None:
    assert Cloud(volumes=(volume(says=UNSAID),)).audit() == []


def test_a_volume_that_is_held_since_a_time_that_is_not_known_is_likely_left() -> None:
    (found,) = one(held=volume(says={HOLD: "a-journal"}, created_at=None)).audit()
    assert found.text == (
        f"journal a-journal holds it, and it is not known since when; only likely, because {test_auditing.JOURNAL}"
    )


@pytest.mark.parametrize(
    "in_use, ok, text",
    [
        (True, True, "a process uses it"),
        (None, False, "it is not known whether a process uses it; it was written 9 days before the audit"),
        (False, False, "no process uses it; it was written 9 days before the audit"),
    ],
)
def test_the_rule_of_a_temporary_file_says_what_it_has_seen(in_use: bool | None, ok: bool, text: str) -> None:
    kept = KeptFile(file=replace(test_auditing.FILE, in_use=in_use), settings=SETTINGS)
    (verdict,) = evaluate(FILE_RULES[Policy.STRICT], kept)
    assert (verdict.ok, verdict.text) == (ok, text)


def test_a_temporary_file_is_likely_left_where_the_host_cannot_tell_what_uses_it() -> None:
    (found,) = Cloud(files=(replace(test_auditing.FILE, in_use=None),)).audit()
    assert found.text.endswith("; only likely, because this host cannot tell whether a process uses it")
