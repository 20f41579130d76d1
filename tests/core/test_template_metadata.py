"""What a template says of itself, both ways."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    TEMPLATE_KEY,
    CacheEntry,
    Digest,
    InvalidMetadata,
    TemplateMetadata,
    Volume,
    is_proven_template,
    is_template,
    template_name,
    template_proof,
)

NOON = datetime(2025, 6, 1, 12, 0, 0, 1, tzinfo=UTC)
FULL = TemplateMetadata(
    image_id="i", image_updated_at=NOON, digest=Digest("sha512", "ab"), last_used=NOON, exhausted=True, stalled=True
)


class TestTemplateMetadata:
    def test_all_that_is_known_of_a_template_is_written(self) -> None:
        assert FULL.to_volume() == {
            "imagevol_template": "i",
            "imagevol_image_updated_at": "2025-06-01T12:00:00.000001+00:00",
            "os_hash_algo": "sha512",
            "os_hash_value": "ab",
            "imagevol_last_used": "2025-06-01T12:00:00.000001+00:00",
            "imagevol_exhausted": "True",
            "imagevol_stalled": "True",
        }
        assert TemplateMetadata(image_id="i").to_volume() == {TEMPLATE_KEY: "i"}

    def test_other_metadata_stays_and_a_value_that_is_no_longer_known_goes(self) -> None:
        before = {"lun": "7", TEMPLATE_KEY: "h", "os_hash_algo": "sha512", "imagevol_last_used": "yesterday"}
        assert TemplateMetadata(image_id="i").to_volume(before) == {"lun": "7", TEMPLATE_KEY: "i"}

    @pytest.mark.parametrize("metadata", [{}, {"image_id": "i"}, {TEMPLATE_KEY: ""}])
    def test_a_volume_that_names_no_image_is_no_template(self, metadata: dict[str, str]) -> None:
        assert TemplateMetadata.from_volume(metadata) is None

    @pytest.mark.parametrize(
        "key, value, reason",
        [
            ("imagevol_image_updated_at", "noon" * 11, "it is not an instant"),
            ("imagevol_last_used", "2025-06-01T12:00:00." + "0" * 22, "it has no time zone"),
            ("os_hash_value", "z" * 41, f"{'z' * 41!r} is not hexadecimal"),
        ],
    )
    def test_metadata_that_makes_no_sense_is_refused(self, key: str, value: str, reason: str) -> None:
        metadata = {TEMPLATE_KEY: "i", "os_hash_algo": "sha512", "os_hash_value": "ab", key: value}
        with pytest.raises(InvalidMetadata) as caught:
            TemplateMetadata.from_volume(metadata)
        assert (caught.value.key, caught.value.value, caught.value.reason) == (key, value[:40], reason)

    @pytest.mark.parametrize("missing", ["os_hash_algo", "os_hash_value"])
    def test_half_of_a_digest_is_no_digest(self, missing: str) -> None:
        metadata = {key: value for key, value in FULL.to_volume().items() if key != missing}
        found = TemplateMetadata.from_volume(metadata)
        assert found is not None
        assert found.digest is None

    @pytest.mark.parametrize("in_use, said", [(True, {"in_use": True}), (False, {"in_use": False}), (False, {})])
    def test_the_metadata_of_a_template_gives_its_entry(self, in_use: bool, said: dict[str, bool]) -> None:
        assert FULL.entry(volume_id="v", size_gib=3, **said) == CacheEntry(
            volume_id="v",
            image_id="i",
            size_gib=3,
            image_updated_at=NOON,
            digest=Digest("sha512", "ab"),
            last_used=NOON,
            in_use=in_use,
        )


@given(
    image_id=st.text(min_size=1),
    instants=st.lists(
        st.none() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))])), min_size=2, max_size=2
    ),
    digest=st.none() | st.just(Digest("sha512", "ab")),
    exhausted=st.booleans(),
)
def test_the_metadata_of_a_template_is_read_as_it_was_written(
    image_id: str, instants: list[datetime | None], digest: Digest | None, exhausted: bool
) -> None:
    written = TemplateMetadata(
        image_id=image_id, image_updated_at=instants[0], digest=digest, last_used=instants[1], exhausted=exhausted
    )
    assert TemplateMetadata.from_volume(written.to_volume()) == written
    assert TemplateMetadata.from_volume(FULL.to_volume()) == FULL


class TestIsTemplate:
    """What Cinder's API shows of a volume of the internal tenant."""

    TEMPLATE = Volume(id="t", name="template-i", size_gib=1, metadata={TEMPLATE_KEY: "i"})

    def test_a_volume_with_the_name_and_the_metadata_of_a_template_is_one(self) -> None:
        assert is_template(self.TEMPLATE)
        assert is_template(replace(self.TEMPLATE, name=template_name("i")))

    @pytest.mark.parametrize(
        "other",
        [
            {"source_volume_id": "v"},
            {"metadata": {TEMPLATE_KEY: ""}},
            {"metadata": {TEMPLATE_KEY: ""}, "name": "template-"},
            {"metadata": {"image_id": "i"}},
            {"metadata": {TEMPLATE_KEY: "j"}},
            {"name": "image-i"},
            {"name": "TEMPLATE-i"},
            {"name": None},
        ],
        ids=str,
    )
    def test_a_volume_is_no_template_if_it_is_a_clone_or_lacks_the_name_or_the_metadata(
        self, other: dict[str, Any]
    ) -> None:
        assert not is_template(replace(self.TEMPLATE, **other))


class TestProof:
    """The driver's record proves one volume to be the template of one image."""

    MADE = Volume(id="t", size_gib=1, metadata={TEMPLATE_KEY: "i"})
    PROOF = template_proof(volume_id="t", image_id="i")

    def test_a_template_of_the_driver_is_proven_whatever_else_is_recorded(self) -> None:
        assert is_proven_template(self.MADE, admin_metadata={"readonly": "True", **self.PROOF})
        assert is_proven_template(self.MADE, admin_metadata=self.PROOF)

    @pytest.mark.parametrize(
        "volume, admin_metadata",
        [
            (MADE, {}),
            (MADE, {"readonly": "True"}),
            (MADE, dict.fromkeys(PROOF, "True")),
            (replace(MADE, id="clone"), PROOF),
            (replace(MADE, metadata={TEMPLATE_KEY: "another"}), PROOF),
            (replace(MADE, metadata={}), PROOF),
            (replace(MADE, source_volume_id="v"), PROOF),
            (replace(MADE, metadata={TEMPLATE_KEY: "i", **PROOF}), {}),
        ],
    )
    def test_no_other_volume_is_proven(self, volume: Volume, admin_metadata: dict[str, str]) -> None:
        assert not is_proven_template(volume, admin_metadata=admin_metadata)


def test_a_template_keeps_the_blake3_of_its_image() -> None:
    metadata = TemplateMetadata(image_id="i", blake3=Digest("blake3", "0b" * 32))
    assert metadata.to_volume()["imagevol_blake3"] == "0b" * 32
    assert TemplateMetadata.from_volume(metadata.to_volume()) == metadata
    assert "imagevol_blake3" not in TemplateMetadata(image_id="i").to_volume()
