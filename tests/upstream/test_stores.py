"""Which store a volume and a URL belong to, as glance_store's cinder driver and Glance find it out."""

from __future__ import annotations

from collections import Counter

from hypothesis import given

from imagevol_adapters.testing.store_strategies import (
    VOLUME_IDS,
    MigrationCase,
    image_locations,
    migration_cases,
    store_catalogues,
)
from imagevol_core import ImageLocation, Policy, StoreCatalogue, store_of_location
from tests.upstream.asking import Worker
from tests.upstream.examples import FEWER
from tests.upstream.glance_words import answers_for_glance, catalogue_for_glance


class TestAssociation:
    """`StoreCatalogue.of_type` gives the stores of which `is_image_associated_with_store` says yes."""

    def test_a_volume_belongs_to_the_same_stores(self, glance: Worker) -> None:
        kinds = Counter[int]()

        @FEWER
        @given(migration_cases())
        def the_answers_agree(case: MigrationCase) -> None:
            answer = case.answers[VOLUME_IDS[0]]
            stores = case.catalogue.of_type(answer) if answer is None or isinstance(answer, str) else ()
            ours = [store.name for store in stores]
            kinds[len(ours)] += 1
            assert ours == glance.ask(
                "associated",
                catalogue=catalogue_for_glance(case.catalogue),
                answers=answers_for_glance(case.answers),
                volume_id=VOLUME_IDS[0],
            )

        the_answers_agree()
        assert min(kinds[0], kinds[1], kinds[2]) > 5


class TestStoreOfLocation:
    """`store_of_location` under UPSTREAM reads in a URL what `_get_store_id_from_uri` reads in it."""

    def test_a_url_belongs_to_the_same_store(self, glance: Worker) -> None:
        kinds = Counter[str]()

        @FEWER
        @given(store_catalogues(multi=True), image_locations())
        def the_answers_agree(catalogue: StoreCatalogue, location: ImageLocation) -> None:
            store = store_of_location(location, catalogue=catalogue, policy=Policy.UPSTREAM)
            answer = glance.ask("store_of", catalogue=catalogue_for_glance(catalogue), url=location.url)
            kinds[type(answer).__name__] += 1
            if answer == {"raises": "ValueError"}:
                assert store is None
            else:
                assert answer == (store.name if store else None)

        the_answers_agree()
        assert min(kinds["str"], kinds["NoneType"], kinds["dict"]) > FEWER.max_examples // 100
