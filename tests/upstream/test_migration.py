"""What becomes of locations under UPSTREAM is what Glance makes of them: shown, and added to an image."""

from __future__ import annotations

from collections import Counter

from hypothesis import given

from imagevol_adapters.testing.store_strategies import (
    VOLUME_IDS,
    MigrationCase,
    image_locations,
    migration_cases,
)
from imagevol_core import ImageLocation, LocationOutcome, NoAnswer, Policy, plan_added_location
from tests.upstream.asking import Worker
from tests.upstream.examples import EXAMPLES
from tests.upstream.glance_words import answers_for_glance, catalogue_for_glance, location_for_glance

FAILS = {"raises": "ValueError"}


class TestShown:
    """`plan_image` leaves an image's locations as `update_store_in_locations` does, and saves as that saves."""

    def test_the_same_becomes_of_the_locations_of_an_image(self, glance: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(migration_cases())
        def the_answers_agree(case: MigrationCase) -> None:
            changes = case.plan(Policy.UPSTREAM)
            answer = glance.ask(
                "show",
                catalogue=catalogue_for_glance(case.catalogue),
                answers=answers_for_glance(case.answers),
                locations=[location_for_glance(location) for location in case.image.locations],
            )
            kinds.update(change.verdicts[-1].rule for change in changes)
            if any(change.outcome is LocationOutcome.MALFORMED for change in changes):
                assert answer == FAILS
                assert not any(change.alters for change in changes)
            else:
                assert answer == {
                    "locations": [location_for_glance(change.after) for change in changes],
                    "saved": any(change.outcome is LocationOutcome.CHANGE for change in changes),
                }

        the_answers_agree()
        assert min(kinds.values()) > 5
        assert len(kinds) == 7, "each rule is to be tried"


class TestAdded:
    """`plan_added_location` gives what `get_updated_store_location` makes of a location."""

    def test_the_same_becomes_of_a_location(self, glance: Worker) -> None:
        kinds = Counter[LocationOutcome]()

        @EXAMPLES
        @given(migration_cases(), image_locations())
        def the_answers_agree(case: MigrationCase, location: ImageLocation) -> None:
            volume_type = case.answers.get(location.url.rpartition("/")[2], NoAnswer("timed out"))
            change = plan_added_location(
                location, catalogue=case.catalogue, volume_type=volume_type, policy=Policy.UPSTREAM
            )
            kinds[change.outcome] += 1
            answer = glance.ask(
                "add_location",
                catalogue=catalogue_for_glance(case.catalogue),
                answers=answers_for_glance(case.answers),
                location=location_for_glance(location),
            )
            failed = change.outcome is LocationOutcome.MALFORMED
            assert answer == (FAILS if failed else location_for_glance(change.after))

        the_answers_agree()
        assert {"keep", "change", "no-store", "malformed"} == {outcome.value for outcome in kinds}


def test_a_volume_id_begins_like_a_store() -> None:
    """Or else the collision of a store's name with a volume id would not be tried."""
    assert VOLUME_IDS[0].startswith("1")
