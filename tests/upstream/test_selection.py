"""`select_stores` under UPSTREAM sends an upload where Glance's API sends it, or is refused as that refuses it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.store_strategies import NAMES, RESERVED, store_catalogues
from imagevol_core import Image, Policy, StoreCatalogue, select_stores
from tests.upstream.asking import Worker
from tests.upstream.examples import FEWER
from tests.upstream.glance_words import catalogue_for_glance

REFUSALS = {"400": "HTTPBadRequest", "410": "HTTPGone"}
headers = st.none() | st.sampled_from([*NAMES, *RESERVED, "", "gone", "a b"])


class TestGlance:
    """The same store, or the same error; and a base image makes no difference."""

    def test_an_upload_lands_in_the_same_store(self, glance: Worker) -> None:
        kinds = Counter[str]()

        @FEWER
        @given(store_catalogues(multi=True), headers, st.booleans())
        def the_answers_agree(catalogue: StoreCatalogue, header: str | None, base: bool) -> None:
            selection = select_stores(
                catalogue, store_header=header, base_image=Image(id="i") if base else None, policy=Policy.UPSTREAM
            )
            answer = glance.ask("upload", catalogue=catalogue_for_glance(catalogue), header=header, base_image=base)
            kinds[answer["raises"] if isinstance(answer, dict) else "added"] += 1
            if selection.refused is None:
                assert answer == selection.primary
            else:
                status = selection.refused.removeprefix("Glance answers ")[:3]
                assert answer == {"raises": REFUSALS[status]}
            assert selection.copies == ()

        the_answers_agree()
        assert min(kinds["added"], kinds["HTTPBadRequest"], kinds["HTTPGone"]) > FEWER.max_examples // 40

    def test_a_request_is_for_the_same_stores(self, glance: Worker) -> None:
        """An import finds the same store; that it cannot add shows only later."""

        @FEWER
        @given(store_catalogues(multi=True), headers)
        def the_answers_agree(catalogue: StoreCatalogue, header: str | None) -> None:
            selection = select_stores(catalogue, store_header=header, base_image=None, policy=Policy.UPSTREAM)
            asked = catalogue.default if header is None else header
            found = selection.refused is None or "410" in selection.refused
            answer = glance.ask("stores_from_request", catalogue=catalogue_for_glance(catalogue), header=header)
            assert answer == ([asked] if found else {"raises": "UnknownScheme"})

        the_answers_agree()

    def test_a_single_store_gets_all_uploads(self, glance: Worker) -> None:
        kinds = Counter[bool]()

        @FEWER
        @given(store_catalogues(multi=False).filter(lambda catalogue: catalogue.stores[0].kind != "none"), headers)
        def the_answers_agree(catalogue: StoreCatalogue, header: str | None) -> None:
            catalogue = StoreCatalogue(stores=catalogue.stores[:1], default=catalogue.default, multi=False)
            selection = select_stores(catalogue, store_header=header, base_image=None, policy=Policy.UPSTREAM)
            answer = glance.ask("upload", catalogue=catalogue_for_glance(catalogue), header=header, base_image=False)
            kinds[selection.refused is None] += 1
            assert answer == ({"raises": "HTTPGone"} if selection.refused else selection.primary)

        the_answers_agree()
        assert min(kinds.values()) > FEWER.max_examples // 40
