"""What decisions are made from: nothing changes it, and nothing in it is impossible."""

from __future__ import annotations

import copy
import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing import strategies
from imagevol_core import Digest, Image, ImageLocation, InvalidFact, InvalidSize, Requester, Volume, VolumeType
from imagevol_core.facts import needs_conversion, refuse_text

NAIVE = datetime(2025, 6, 1)  # noqa: DTZ001 - it is to be refused
NOT_NEGATIVE = "give a size of 0 or more, or None where it is not known"


class TestCopies:
    """Mappings are copied on the way in, so that a later change does not reach a decision."""

    @pytest.mark.parametrize(
        "kind, field, others",
        [
            (ImageLocation, "metadata", {"url": "cinder://x"}),
            (Image, "properties", {"id": "i"}),
            (Volume, "metadata", {"id": "v", "size_gib": 1}),
            (VolumeType, "extra_specs", {"name": "t"}),
        ],
    )
    def test_a_change_to_the_callers_dict_does_not_reach_the_fact(
        self, kind: Any, field: str, others: dict[str, Any]
    ) -> None:
        given_by_caller = {"a": "b"}
        fact = kind(**others, **{field: given_by_caller})
        given_by_caller["a"] = "c"
        assert getattr(fact, field) == {"a": "b"}

    def test_the_locations_of_an_image_are_copied(self) -> None:
        locations = [ImageLocation("cinder://x")]
        image = Image(id="i", locations=locations)  # type: ignore[arg-type]  # as a caller without types would
        locations.clear()
        assert image.locations == (ImageLocation("cinder://x"),)

    @pytest.mark.parametrize(
        "fact", [Image(id="i"), Volume(id="v", size_gib=1), ImageLocation("u"), VolumeType(name="t"), Requester()]
    )
    def test_no_fact_can_be_changed_and_each_can_be_kept_in_a_set(self, fact: Any) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(fact, dataclasses.fields(fact)[0].name, "x")
        assert {fact, copy.copy(fact)} == {fact}


class TestRefusals:
    """A negative size and a time without a zone are refused, and say what to give instead."""

    @pytest.mark.parametrize("name", ["size_bytes", "virtual_size_bytes", "min_disk_gib"])
    def test_no_image_has_a_negative_size(self, name: str) -> None:
        with pytest.raises(InvalidSize, match=rf"^Image.{name} is -1: {NOT_NEGATIVE}$"):
            Image(id="i", **{name: -1})  # type: ignore[arg-type]
        assert getattr(Image(id="i", **{name: 0}), name) == 0  # type: ignore[arg-type]

    def test_no_volume_has_a_negative_size(self) -> None:
        with pytest.raises(InvalidSize, match=rf"^Volume.size_gib is -1: {NOT_NEGATIVE}$"):
            Volume(id="v", size_gib=-1)

    def test_a_time_without_a_zone_is_refused(self) -> None:
        with pytest.raises(InvalidFact, match=r"^Image.updated_at: 2025-06-01T00:00:00 has no time zone"):
            Image(id="i", updated_at=NAIVE)
        with pytest.raises(InvalidFact, match=r"^Image.created_at: 2025-06-01T00:00:00 has no time zone"):
            Image(id="i", created_at=NAIVE)
        with pytest.raises(InvalidFact, match=r"^Volume.created_at: 2025-06-01T00:00:00 has no time zone"):
            Volume(id="v", size_gib=1, created_at=NAIVE)
        with pytest.raises(InvalidFact, match=r"^Volume.updated_at: 2025-06-01T00:00:00 has no time zone"):
            Volume(id="v", size_gib=1, updated_at=NAIVE)
        assert Image(id="i", updated_at=NAIVE.replace(tzinfo=UTC)).updated_at is not None


class TestDigest:
    """Both parts are compared in lower case: hex is hex."""

    @given(strategies.digests())
    def test_digests_in_upper_and_lower_case_are_the_same(self, digest: Digest) -> None:
        assert Digest(digest.algorithm.upper(), digest.value.upper()) == digest
        assert str(digest) == str(digest).lower()

    @given(st.text(), st.text())
    def test_any_two_texts_are_a_digest_or_refused(self, algorithm: str, value: str) -> None:
        try:
            digest = Digest(algorithm, value)
        except InvalidFact:
            return
        assert digest.algorithm
        assert int(digest.value, 16) >= 0
        assert Digest(digest.algorithm, digest.value) == digest

    @pytest.mark.parametrize("value", ["", "0x1f", "1_0", " 1f", "1f\n", "-1", "\u0661", "xyz", "X"])
    def test_a_value_is_hexadecimal_digits_and_nothing_else(self, value: str) -> None:
        with pytest.raises(InvalidFact, match=r"^Digest.value: .* is not hexadecimal$"):
            Digest("sha512", value)

    def test_a_value_may_hold_every_digit_in_both_cases(self) -> None:
        assert Digest("sha512", "0123456789abcdefABCDEF").value == "0123456789abcdefabcdef"

    def test_an_algorithm_has_a_name(self) -> None:
        with pytest.raises(InvalidFact, match=r"^Digest.algorithm: is empty"):
            Digest("", "0f")


def test_a_text_that_is_given_for_several_is_refused_and_shown_by_its_first_40_characters() -> None:
    with pytest.raises(InvalidFact) as refused:
        refuse_text("A.b", "x" * 40 + "y")
    assert str(refused.value) == f"A.b: it is the text '{'x' * 40}'; give a collection of texts"
    refuse_text("A.b", ("x",))


@pytest.mark.parametrize(
    "disk_format, needed", [("raw", False), ("iso", False), ("qcow2", True), ("vmdk", True), (None, True)]
)
def test_an_image_is_converted_unless_its_data_is_a_disk(disk_format: str | None, needed: bool) -> None:
    assert needs_conversion(disk_format) is needed
