"""`image_fits` under UPSTREAM says of an image what Cinder's API says of it."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from imagevol_adapters.testing import strategies
from imagevol_core import GIB, Image, Policy, image_fits
from tests.upstream.asking import Worker
from tests.upstream.cinder_words import image_for_cinder, raised
from tests.upstream.examples import EXAMPLES

sizes = st.none() | st.integers(-2, 2).map(lambda offset: 2 * GIB + offset) | strategies.sizes_bytes()


class TestCinder:
    """The same images fit, and of the others Cinder raises what the verdict says that it does."""

    def test_the_images_that_fit_in_cinder_fit_under_upstream(self, cinder: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(
            size_bytes=sizes,
            virtual_size_bytes=sizes,
            min_disk_gib=st.none() | st.integers(0, 4),
            size_gib=st.integers(0, 4) | st.integers((1 << 23) - 1, 1 << 24),
        )
        @example(size_bytes=0, virtual_size_bytes=(1 << 53) + 1, min_disk_gib=0, size_gib=1 << 23)
        @example(size_bytes=0, virtual_size_bytes=10**400, min_disk_gib=0, size_gib=1)
        @example(size_bytes=None, virtual_size_bytes=None, min_disk_gib=0, size_gib=1)
        @example(size_bytes=0, virtual_size_bytes=None, min_disk_gib=None, size_gib=1)
        def the_answers_agree(
            size_bytes: int | None, virtual_size_bytes: int | None, min_disk_gib: int | None, size_gib: int
        ) -> None:
            image = Image(
                id="i",
                status="active",
                size_bytes=size_bytes,
                virtual_size_bytes=virtual_size_bytes,
                min_disk_gib=min_disk_gib,
            )
            verdict = image_fits(image, size_gib=size_gib, policy=Policy.UPSTREAM)
            theirs = cinder.ask("fits", image=image_for_cinder(image), size_gib=size_gib)
            assert verdict.ok is (theirs is True)
            if verdict.faults:
                kinds[theirs["raises"]] += 1
                assert raised(verdict.text, theirs["raises"])

        the_answers_agree()
        assert set(kinds) == {"InvalidInput", "ImageUnacceptable", "TypeError", "OverflowError"}
