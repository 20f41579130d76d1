"""Bytes and GiB: exact, answered also where a size is not known, and grown in few steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagevol_adapters.testing import strategies
from imagevol_core import (
    GIB,
    Growth,
    Image,
    InvalidSize,
    Policy,
    gib_for,
    image_fits,
    least_size_bytes,
    least_volume_gib,
    next_size_gib,
    virtual_size_bytes,
)
from tests.core.cases import BOTH_POLICIES

growths = st.builds(Growth, percent=st.integers(0, 300), least_gib=st.integers(1, 64))


class TestGibFor:
    """Exact integer ceiling, no float.  Least volume: 1 GiB."""

    @given(strategies.sizes_bytes())
    @example((1 << 53) - 1)
    @example(1 << 53)
    @example((1 << 53) + 1)
    def test_the_size_is_the_smallest_volume_that_holds_the_bytes(self, size_bytes: int) -> None:
        size_gib = gib_for(size_bytes)
        assert size_bytes <= size_gib * GIB
        assert size_gib == 1 or (size_gib - 1) * GIB < size_bytes

    @pytest.mark.parametrize(
        "size_bytes, size_gib",
        [
            *((0, 1), (1, 1), (GIB - 1, 1), (GIB, 1), (GIB + 1, 2), (2 * GIB, 2)),
            *(((1 << 53) - 1, 1 << 23), (1 << 53, 1 << 23), ((1 << 53) + 1, (1 << 23) + 1)),
        ],
    )
    def test_the_size_is_exact_at_whole_gib(self, size_bytes: int, size_gib: int) -> None:
        assert gib_for(size_bytes) == size_gib

    def test_a_negative_number_of_bytes_is_refused(self) -> None:
        with pytest.raises(InvalidSize, match=r"^size_bytes is -1: give a size of 0 or more$"):
            gib_for(-1)


RAW: dict[str, Any] = {"disk_format": "raw", "container_format": "bare"}


class TestLeastSize:
    """The larger of stored and virtual size; of a raw image they are the same, unless more is said."""

    @pytest.mark.parametrize(
        "recorded, claimed, virtual_size",
        [
            (5, "7", 5),
            (None, "7", 7),
            (0, "7", 7),
            (0, None, None),
            (None, "0", None),
            (None, "", None),
            (None, "-7", None),
            (None, "7.0", None),
            (None, "\N{ARABIC-INDIC DIGIT SEVEN}", None),
            (None, "9" * 20, int("9" * 20)),
            (None, "9" * 21, None),
        ],
    )
    def test_the_records_virtual_size_counts_before_the_propertys(
        self, recorded: int | None, claimed: str | None, virtual_size: int | None
    ) -> None:
        properties = {} if claimed is None else {"virtual_size": claimed}
        image = Image(id="i", disk_format="qcow2", virtual_size_bytes=recorded, size_bytes=1, properties=properties)
        assert virtual_size_bytes(image) == virtual_size
        assert least_size_bytes(image) == max(virtual_size or 0, 1)
        assert least_size_bytes(replace(image, size_bytes=None)) == virtual_size

    @pytest.mark.parametrize(
        "changes, virtual_size",
        [
            (RAW, 512),
            (RAW | {"virtual_size_bytes": 0}, 512),
            (RAW | {"virtual_size_bytes": 700}, 700),
            (RAW | {"properties": {"virtual_size": "lots"}}, 512),
            (RAW | {"size_bytes": 0}, None),
            (RAW | {"size_bytes": None}, None),
            (RAW | {"container_format": "compressed"}, None),
            (RAW | {"container_format": None}, None),
            (RAW | {"disk_format": "qcow2"}, None),
            (RAW | {"disk_format": None}, None),
        ],
    )
    def test_a_raw_image_is_as_large_as_it_is_stored_if_nothing_says_more(
        self, changes: dict[str, Any], virtual_size: int | None
    ) -> None:
        image = Image(id="i", **({"size_bytes": 512} | changes))
        assert virtual_size_bytes(image) == virtual_size

    @pytest.mark.parametrize(
        "decrypted, virtual_size", [("7", 7), ("4", 5), ("lots", 5), ("0", 5), (str(2 * GIB), 2 * GIB)]
    )
    def test_the_decrypted_size_of_an_encrypted_image_counts_if_it_is_larger(
        self, decrypted: str, virtual_size: int
    ) -> None:
        image = Image(id="i", size_bytes=3, virtual_size_bytes=5, properties={"os_decrypt_size": decrypted})
        assert (virtual_size_bytes(image), least_size_bytes(image)) == (virtual_size, virtual_size)
        luks = Image(id="i", **RAW, size_bytes=GIB + 1, properties={"os_decrypt_size": str(GIB)})
        assert (virtual_size_bytes(luks), least_volume_gib(luks)) == (GIB, 2)

    @given(st.text(), st.text())
    def test_any_property_is_a_size_or_none(self, claimed: str, decrypted: str) -> None:
        image = Image(id="i", properties={"virtual_size": claimed, "os_decrypt_size": decrypted})
        assert virtual_size_bytes(image) == least_size_bytes(image)
        assert virtual_size_bytes(image) != 0

    @given(strategies.clone_cases(), st.sampled_from(["virtual_size", "os_decrypt_size"]), st.integers(0, 1 << 66))
    def test_no_property_makes_an_image_smaller(self, case: strategies.CloneCase, key: str, claimed: int) -> None:
        image = replace(case.image, properties={key: str(claimed)})
        assert (least_size_bytes(image) or 0) >= (least_size_bytes(replace(image, properties={})) or 0)


class TestImageFits:
    """The larger of virtual and stored size, and min_disk.  Unknown size: an answer, not a TypeError."""

    @given(
        size_bytes=st.none() | strategies.sizes_bytes(),
        virtual_size_bytes=st.none() | strategies.sizes_bytes(),
        min_disk_gib=st.none() | st.integers(0, 1 << 24),
        size_gib=st.integers(0, 1 << 24),
    )
    def test_an_image_fits_if_each_known_size_does_and_one_is_known(
        self, size_bytes: int | None, virtual_size_bytes: int | None, min_disk_gib: int | None, size_gib: int
    ) -> None:
        image = Image(id="i", size_bytes=size_bytes, virtual_size_bytes=virtual_size_bytes, min_disk_gib=min_disk_gib)
        sizes = [size for size in (size_bytes, virtual_size_bytes or None) if size is not None]
        fits = all(size <= size_gib * GIB for size in sizes) and (min_disk_gib or 0) <= size_gib and size_gib >= 1
        assert image_fits(image, size_gib=size_gib).ok is (bool(sizes) and fits)
        least_gib = least_volume_gib(image)
        assert image_fits(image, size_gib=size_gib).ok is (least_gib is not None and size_gib >= least_gib)

    @given(
        size_bytes=st.none() | st.integers(0),
        virtual_size_bytes=st.none() | st.integers(0) | st.just(10**400),
        min_disk_gib=st.none() | st.integers(0),
        size_gib=st.integers(),
        policy=st.sampled_from(BOTH_POLICIES),
    )
    @example(size_bytes=0, virtual_size_bytes=10**400, min_disk_gib=0, size_gib=1, policy=Policy.UPSTREAM)
    def test_any_sizes_get_an_answer(
        self,
        size_bytes: int | None,
        virtual_size_bytes: int | None,
        min_disk_gib: int | None,
        size_gib: int,
        policy: Policy,
    ) -> None:
        image = Image(id="i", size_bytes=size_bytes, virtual_size_bytes=virtual_size_bytes, min_disk_gib=min_disk_gib)
        verdict = image_fits(image, size_gib=size_gib, policy=policy)
        assert (verdict.rule, verdict.subject) == ("image-fits", None)

    @pytest.mark.parametrize(
        "image, text",
        [
            (Image(id="i"), "the image's size is not known"),
            (
                Image(id="i", size_bytes=7, virtual_size_bytes=GIB + 1),
                "the image needs 2 GiB (virtual size 1073741825 bytes) and the volume has 1 GiB",
            ),
            (
                Image(id="i", size_bytes=7, min_disk_gib=2),
                "the image needs 2 GiB (min_disk) and the volume has 1 GiB",
            ),
            (
                Image(id="i", size_bytes=GIB + 1, min_disk_gib=2),
                "the image needs 2 GiB (size 1073741825 bytes) and the volume has 1 GiB",
            ),
            (Image(id="i", virtual_size_bytes=0), "the image's size is not known"),
            (
                Image(id="i", size_bytes=7, virtual_size_bytes=0, properties={"virtual_size": str(GIB + 1)}),
                "the image needs 2 GiB (property virtual_size 1073741825 bytes) and the volume has 1 GiB",
            ),
            (
                Image(id="i", size_bytes=7, properties={"os_decrypt_size": str(GIB + 1)}),
                "the image needs 2 GiB (property os_decrypt_size 1073741825 bytes) and the volume has 1 GiB",
            ),
        ],
    )
    def test_the_verdict_on_the_size_says_what_decided(self, image: Image, text: str) -> None:
        assert image_fits(image, size_gib=1).text == text

    @pytest.mark.parametrize(
        "image, fits",
        [
            (Image(id="i", size_bytes=2 * GIB), True),
            (Image(id="i", size_bytes=2 * GIB + 1), False),
            (Image(id="i", size_bytes=1, min_disk_gib=2), True),
            (Image(id="i", size_bytes=1, min_disk_gib=3), False),
        ],
    )
    def test_an_image_may_be_as_large_as_the_volume_and_not_larger(self, image: Image, fits: bool) -> None:
        assert image_fits(image, size_gib=2).ok is fits

    def test_cinder_rounds_sizes_through_a_float_and_strict_rules_do_not(self) -> None:
        image = Image(id="i", size_bytes=0, virtual_size_bytes=(1 << 53) + 1, min_disk_gib=0)
        assert image_fits(image, size_gib=1 << 23, policy=Policy.UPSTREAM).ok
        assert not image_fits(image, size_gib=1 << 23).ok

    @pytest.mark.parametrize(
        "size_bytes, virtual_size_bytes, min_disk_gib, text",
        [
            (None, None, 0, "Cinder fails with a TypeError where an image's size is null"),
            (GIB, None, None, "Cinder fails with a TypeError where an image's min_disk is null"),
            (
                GIB,
                10**400,
                0,
                "Cinder fails with an OverflowError where an image's virtual size is too large for a float",
            ),
        ],
    )
    def test_an_image_on_which_cinder_fails_does_not_fit(
        self, size_bytes: int | None, virtual_size_bytes: int | None, min_disk_gib: int | None, text: str
    ) -> None:
        image = Image(id="i", size_bytes=size_bytes, virtual_size_bytes=virtual_size_bytes, min_disk_gib=min_disk_gib)
        verdict = image_fits(image, size_gib=1, policy=Policy.UPSTREAM)
        assert (verdict.ok, verdict.text) == (False, text)

    @pytest.mark.parametrize(
        "image, size_gib, passed, counted_gib",
        [
            (Image(id="i", size_bytes=GIB + 1, min_disk_gib=0), 2, True, 2),
            (Image(id="i", size_bytes=GIB + 1), 1, False, 2),  # min_disk is not looked at any more
            (Image(id="i", size_bytes=0, min_disk_gib=0), 0, True, 0),
            (Image(id="i", size_bytes=0, min_disk_gib=3), 2, False, 3),
            (Image(id="i", size_bytes=GIB, virtual_size_bytes=2 * GIB + 1, min_disk_gib=0), 1, False, 3),
            (Image(id="i", size_bytes=GIB, virtual_size_bytes=5 * GIB, min_disk_gib=3), 2, False, 3),
        ],
    )
    def test_cinder_names_only_the_first_size_that_does_not_fit(
        self, image: Image, size_gib: int, passed: bool, counted_gib: int
    ) -> None:
        verdict = image_fits(image, size_gib=size_gib, policy=Policy.UPSTREAM)
        assert verdict.ok is passed
        assert verdict.text == f"Cinder counts {counted_gib} GiB for the image and the volume has {size_gib} GiB"


class TestNextSize:
    """The number of extends is O(log n), and the volume ends less than 25 % or 1 GiB above its content."""

    @given(strategies.sizes_bytes())
    @example(100 * GIB)
    def test_a_whole_stream_takes_few_extends_and_leaves_little_room(self, size_bytes: int) -> None:
        current_gib, extends = grow(size_bytes)
        over = current_gib * GIB - size_bytes
        assert over >= 0
        assert over <= GIB if size_bytes == 0 else over < max(GIB, size_bytes / 4)
        # Above 8 GiB each step is at least two elevenths (11 GiB to 13), and up to there at least 1 GiB.
        assert extends <= 8 + math.log(max(1, current_gib / 8), 13 / 11)

    def test_a_hundred_gib_take_twenty_extends(self) -> None:
        assert grow(100 * GIB)[1] == 20

    @given(growths, st.integers(0, 1 << 30), strategies.sizes_bytes())
    def test_there_is_always_room_for_one_more_byte(self, growth: Growth, current_gib: int, written_bytes: int) -> None:
        size_gib = next_size_gib(written_bytes, current_gib=current_gib, growth=growth)
        assert written_bytes < size_gib * GIB
        if written_bytes < current_gib * GIB:
            assert size_gib == current_gib
        else:
            assert size_gib >= current_gib + growth.least_gib

    @pytest.mark.parametrize(
        "written_bytes, size_gib", [(0, 1), (GIB - 1, 1), (GIB, 2), (2 * GIB - 1, 2), (2 * GIB, 3)]
    )
    def test_the_last_byte_of_a_volume_is_written_before_it_grows(self, written_bytes: int, size_gib: int) -> None:
        assert next_size_gib(written_bytes, current_gib=1) == size_gib

    @given(growths, strategies.sizes_bytes(largest=300 * GIB))
    def test_any_growth_reaches_the_end_of_a_stream(self, growth: Growth, size_bytes: int) -> None:
        current_gib, _ = grow(size_bytes, growth)
        room = max(GIB * growth.least_gib, size_bytes * growth.percent // 100)
        assert 0 <= current_gib * GIB - size_bytes <= room

    def test_a_step_of_growth_of_nothing_or_less_is_refused(self) -> None:
        with pytest.raises(InvalidSize, match=r"^Growth\.percent is -1: give 0 or more$"):
            Growth(percent=-1)
        with pytest.raises(InvalidSize, match=r"^Growth\.least_gib is 0: give 1 or more$"):
            Growth(least_gib=0)

    @pytest.mark.parametrize(
        "name, ask",
        [
            ("Growth.percent", lambda size: Growth(percent=size)),
            ("Growth.least_gib", lambda size: Growth(least_gib=size)),
            ("current_gib", lambda size: next_size_gib(0, current_gib=size)),
            ("written_bytes", lambda size: next_size_gib(size * GIB - 1, current_gib=1)),
        ],
    )
    def test_a_size_that_no_volume_can_have_is_refused(self, name: str, ask: Callable[[int], object]) -> None:
        largest = (1 << 63) - 1
        ask(largest)
        with pytest.raises(InvalidSize, match=rf"^{name} is {largest + 1}: .* {largest}( GiB| or less)$"):
            ask(largest + 1)
        with pytest.raises(InvalidSize, match=rf"^{name} is too large to be shown: "):
            ask(1 << 20_000)

    def test_a_negative_size_is_refused(self) -> None:
        with pytest.raises(InvalidSize, match="size_bytes is -1"):
            next_size_gib(-1, current_gib=1)
        with pytest.raises(InvalidSize, match=r"^current_gib is -1: give a size of 0 or more$"):
            next_size_gib(0, current_gib=-1)


def grow(size_bytes: int, growth: Growth | None = None) -> tuple[int, int]:
    """Write a stream to a volume of 1 GiB, asking whenever it is full; give its last size and the extends."""
    current_gib, written_bytes, extends = 1, 0, 0
    while written_bytes < size_bytes:
        wanted_gib = next_size_gib(written_bytes, current_gib=current_gib, growth=growth or Growth())
        assert written_bytes < wanted_gib * GIB  # or this would not end
        extends += wanted_gib > current_gib
        current_gib = wanted_gib
        written_bytes = min(size_bytes, current_gib * GIB)
    return current_gib, extends
