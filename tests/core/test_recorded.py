"""Whose word the digests in the metadata of a volume are, and whether they are still those of its data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imagevol_core import Digest, Image, InvalidFact, Result, TemplateMetadata, Volume
from imagevol_core.recorded import JudgedBy, decide_judge, decide_recorded
from imagevol_core.remains import UNFINISHED

SHA512, BLAKE3 = Digest("sha512", "0a" * 64), Digest("blake3", "0b" * 32)
RECORD = {
    "image_id": "i",
    "image_size": "5",
    "os_hash_algo": "sha512",
    "os_hash_value": SHA512.value,
    "imagevol_blake3": BLAKE3.value,
    "imagevol_state": "finished",
}
STORED = Volume(id="v", size_gib=1, project_id="service", readonly=True, metadata=RECORD)
IMAGE = Image(id="i", size_bytes=5, digest=SHA512)


def with_record(**changes: str | None) -> Volume:
    record = {key: value for key, value in {**RECORD, **changes}.items() if value is not None}
    return replace(STORED, metadata=record)


@pytest.mark.parametrize("image", [IMAGE, Image(id="i"), None])
def test_the_record_of_a_volume_in_a_trusted_project_is_believed(image: Image | None) -> None:
    decision = decide_recorded(STORED, trusted_projects={"service", "cinder"}, image=image)
    assert (decision.believed, decision.blake3, decision.reasons) == (True, BLAKE3, ())


@pytest.mark.parametrize(
    "volume, rule",
    [
        (replace(STORED, project_id="theirs"), "record-in-trusted-project"),
        (replace(STORED, project_id=None), "record-in-trusted-project"),
        (replace(STORED, source_volume_id="theirs"), "record-not-copied"),
        (with_record(imagevol_state="unfinished"), "record-finished"),
        (replace(STORED, readonly=False), "record-read-only"),
        (replace(STORED, readonly=None), "record-read-only"),
        (with_record(image_id="another"), "record-of-this-image"),
        (with_record(image_id=None), "record-of-this-image"),
        (with_record(image_size="6"), "record-agrees"),
        (with_record(os_hash_value="0c" * 64), "record-agrees"),
        (with_record(os_hash_algo="sha256"), "record-agrees"),
        (with_record(os_hash_algo=None), "record-agrees"),
        (with_record(imagevol_blake3="0b"), "record-readable"),
        (with_record(image_size="lots"), "record-readable"),
    ],
)
def test_a_record_that_a_user_may_have_written_or_that_is_of_other_data_is_not_believed(
    volume: Volume, rule: str
) -> None:
    decision = decide_recorded(volume, trusted_projects={"service"}, image=IMAGE)
    assert (decision.believed, decision.blake3) == (False, None)
    assert [verdict.rule for verdict in decision.verdicts if not verdict.ok] == [rule]
    assert decision.reasons


def test_without_an_image_the_record_must_name_one() -> None:
    assert not decide_recorded(with_record(image_id=None), trusted_projects={"service"}).believed


def test_a_volume_without_any_digest_may_get_one() -> None:
    bare = with_record(os_hash_algo=None, os_hash_value=None, imagevol_blake3=None)
    decision = decide_recorded(bare, trusted_projects={"service"}, image=IMAGE)
    assert (decision.believed, decision.blake3) == (True, None)


def test_a_text_is_no_collection_of_projects() -> None:
    with pytest.raises(InvalidFact, match=r"\Atrusted_projects: "):
        decide_recorded(STORED, trusted_projects="service")


def test_a_volume_that_says_only_that_it_is_unfinished_is_unfinished() -> None:
    decision = decide_recorded(replace(STORED, metadata=UNFINISHED), trusted_projects={"service"})
    assert "record-finished" in [verdict.rule for verdict in decision.verdicts if not verdict.ok]


def test_a_template_records_its_blake3_too() -> None:
    written = TemplateMetadata(image_id="i", blake3=BLAKE3).to_volume()
    assert written == {"imagevol_template": "i", "imagevol_blake3": BLAKE3.value}
    assert TemplateMetadata.from_volume(written) == TemplateMetadata(image_id="i", blake3=BLAKE3)


@pytest.mark.parametrize(
    "volume, image, texts",
    [
        (
            STORED,
            IMAGE,
            [
                "its record can be read",
                "the volume lives in project service, in which no user can write its metadata",
                "it was not cloned from another volume",
                "it is finished",
                "it is read-only",
                "its record names image i; this is image i",
                "it records sha512:0a0a0a0a0a0a... and the image has sha512:0a0a0a0a0a0a...",
            ],
        ),
        (
            replace(
                with_record(imagevol_state="unfinished", image_id="another", image_size="6"),
                project_id=None,
                source_volume_id="theirs",
                readonly=False,
            ),
            IMAGE,
            [
                "its record can be read",
                "the volume lives in project not known, in which users can write its metadata",
                "it was cloned from volume theirs, whose metadata Cinder may have copied",
                "it is unfinished",
                "it is not read-only, so its data may have changed",
                "its record names image another; this is image i",
                "it records 6 bytes and the image has 5",
            ],
        ),
        (STORED, None, ["its record names image i", "no image is compared with its record"]),
        (STORED, replace(IMAGE, digest=None), ["Glance has no multihash of the image to compare with its record"]),
        (
            with_record(os_hash_algo=None, os_hash_value=None, imagevol_blake3=None),
            IMAGE,
            ["it records no digest"],
        ),
        (
            with_record(os_hash_algo=None, os_hash_value=None, image_size=None),
            IMAGE,
            ["it records no multihash and the image has sha512:0a0a0a0a0a0a..."],
        ),
        (with_record(image_size="lots"), None, ["volume metadata image_size='lots': it is not a number of bytes"]),
    ],
)
def test_each_rule_says_what_it_has_seen(volume: Volume, image: Image | None, texts: list[str]) -> None:
    verdicts = decide_recorded(volume, trusted_projects={"service"}, image=image).verdicts
    assert [verdict.text for verdict in verdicts][-len(texts) :] == texts
    assert {verdict.subject for verdict in verdicts} == {"v"}


GIVEN, OTHER = Digest("sha512", "0d" * 64), Digest("sha256", "0e" * 32)


@pytest.mark.parametrize(
    "digests, by, digest",
    [
        ({"given": GIVEN, "glance": SHA512, "blake3": BLAKE3, "trust_recorded": True}, JudgedBy.CALLER, GIVEN),
        ({"glance": SHA512, "blake3": BLAKE3, "multihash": OTHER}, JudgedBy.GLANCE, SHA512),
        ({"glance": SHA512, "blake3": BLAKE3, "trust_recorded": True}, JudgedBy.BLAKE3, BLAKE3),
        ({"glance": SHA512, "multihash": OTHER, "trust_recorded": True}, JudgedBy.GLANCE, SHA512),
        ({"blake3": BLAKE3, "multihash": OTHER}, JudgedBy.BLAKE3, BLAKE3),
        ({"multihash": OTHER}, JudgedBy.MULTIHASH, OTHER),
        ({}, JudgedBy.NOTHING, None),
    ],
)
def test_data_is_judged_by_the_digest_of_glance_unless_the_operator_relies_on_the_record(
    digests: dict[str, Any], by: JudgedBy, digest: Digest | None
) -> None:
    decision = decide_judge(**digests)
    assert (decision.by, decision.digest) == (by, digest)
    assert decision.from_record == (by in (JudgedBy.BLAKE3, JudgedBy.MULTIHASH))


def test_each_choice_of_a_digest_says_what_it_has_seen() -> None:
    assert [verdict.text for verdict in decide_judge(multihash=OTHER).verdicts] == [
        "the digest that was given is not known",
        "the operator does not rely on the record, whose BLAKE3 is not known",
        "the digest of the image in Glance is not known",
        "the BLAKE3 that the volume records is not known",
        "the multihash that the volume records is sha256:0e0e0e0e0e0e...",
    ]
    relied = decide_judge(trust_recorded=True).verdicts
    assert relied[1].text == "the operator relies on the record, whose BLAKE3 is not known"
    assert (relied[-1].text, relied[-1].result) == ("there is no digest to compare with", Result.APPLIES)


@pytest.mark.parametrize(
    "digests, text",
    [
        ({"given": OTHER}, f"the digest that was given is {OTHER.short}"),
        ({"glance": OTHER}, f"the digest of the image in Glance is {OTHER.short}"),
        ({"blake3": BLAKE3}, f"the BLAKE3 that the volume records is {BLAKE3.short}"),
        (
            {"blake3": BLAKE3, "trust_recorded": True},
            f"the operator relies on the record, whose BLAKE3 is {BLAKE3.short}",
        ),
    ],
)
def test_the_choice_of_a_digest_names_it(digests: dict[str, Any], text: str) -> None:
    assert decide_judge(**digests).verdicts[-1].text == text
