"""Each dialect reads in a location what its service reads in it, and refuses what that refuses."""

from __future__ import annotations

from collections import Counter

from hypothesis import given

from imagevol_adapters.testing import strategies
from imagevol_core import Dialect, InvalidLocation, locations, parse_location
from tests.upstream.asking import Worker
from tests.upstream.examples import EXAMPLES


class TestCinder:
    """`Dialect.CINDER` accepts what `_extract_cinder_ids` accepts, and gives the volume id that Cinder would use."""

    def test_the_dialect_cinder_reads_what_cinder_reads(self, cinder: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(strategies.location_texts())
        def the_answers_agree(url: str) -> None:
            try:
                ours: object = [parse_location(url, dialect=Dialect.CINDER).volume_id]
                kinds["read"] += 1
            except InvalidLocation as error:
                ours = {"raises": "ValueError"} if error.reason == locations.NOT_A_URL else []
                kinds[error.reason] += 1
            assert ours == cinder.ask("extract", url=url)

        the_answers_agree()
        assert len(kinds) == 4, "each kind of answer is to be tried"


class TestGlanceStore:
    """`Dialect.GLANCE_STORE` accepts what `StoreLocation.parse_uri` accepts, with the volume id that it would use."""

    def test_the_dialect_glance_store_reads_what_glance_store_reads(self, glance_store: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(strategies.location_texts())
        def the_answers_agree(url: str) -> None:
            try:
                ours: object = parse_location(url, dialect=Dialect.GLANCE_STORE).volume_id
                kinds["read"] += 1
            except InvalidLocation as error:
                ours = {"raises": "BadStoreUri"}
                kinds[error.reason] += 1
            assert ours == glance_store.ask("parse", url=url)

        the_answers_agree()
        assert len(kinds) == 3, "each kind of answer is to be tried"
