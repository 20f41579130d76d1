"""What becomes of locations under UPSTREAM is what Glance makes of them: shown, and added to an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import attrs
import pytest
from hypothesis import given

from imagevol_adapters.testing.memory import MemoryLocations
from imagevol_adapters.testing.store_strategies import (
    VOLUME_IDS,
    MigrationCase,
    image_locations,
    migration_cases,
)
from imagevol_core import (
    ImageLocation,
    LocationOutcome,
    NoAnswer,
    NotFound,
    Policy,
    RequestRefused,
    ServiceFailed,
    ServiceUnreachable,
    Volume,
    VolumeAnswer,
    plan_added_location,
)
from tests.upstream.asking import Worker
from tests.upstream.examples import EXAMPLES, FEWER, MORE
from tests.upstream.glance_words import answers_for_glance, catalogue_for_glance, location_for_glance

FAILS = {"raises": "ValueError"}


class TestShown:
    """`plan_image` leaves an image's locations as `update_store_in_locations` does, and saves as that saves."""

    def test_the_same_becomes_of_the_locations_of_an_image(self, glance: Worker) -> None:
        kinds = Counter[str]()

        @MORE
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


@attrs.frozen
class Answering:
    """A Cinder that gives these answers."""

    answers: Mapping[str, VolumeAnswer]
    project_id: str | None = None

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        found = []
        for volume_id in volume_ids:
            answer = self.answers.get(volume_id, NoAnswer("timed out"))
            if isinstance(answer, NoAnswer):
                raise ServiceUnreachable(answer.reason)
            if not isinstance(answer, NotFound):
                found.append(Volume(id=volume_id, size_gib=1, status="available", volume_type=answer))
        return tuple(found)

    def delete(self, volume_id: str) -> None:
        raise NotImplementedError


class TestInMemory:
    """`MemoryLocations` does with locations what Glance does, by its own words and not by the core's."""

    def test_glance_shows_and_saves_the_same_locations_as_the_upstream_policy(self, glance: Worker) -> None:
        saves = Counter[bool]()

        @FEWER
        @given(migration_cases())
        def the_answers_agree(case: MigrationCase) -> None:
            memory = MemoryLocations(volumes=Answering(case.answers), catalogue=case.catalogue)
            memory.images["i"] = image = replace(case.image, id="i", updated_at=None)
            answer = glance.ask("show", **in_glances_words(case))
            if answer == FAILS:
                with pytest.raises(ServiceFailed):
                    memory.get("i")
                assert memory.images["i"] == image
                return
            shown = memory.get("i")
            saved = memory.images["i"].locations  # as in the database; those of an image are sorted by weight before
            assert [location_for_glance(location) for location in saved] == answer["locations"]
            assert Counter(shown.locations) == Counter(saved)
            in_order = glance.ask("weighed", **in_glances_words(case))
            (listed,) = lists_all(case).listed()
            assert [location_for_glance(location) for location in listed.locations] == in_order
            assert (memory.images["i"].updated_at is not None) is answer["saved"]
            saves[answer["saved"]] += 1

        the_answers_agree()
        assert min(saves[True], saves[False]) > 5

    def test_glance_makes_the_same_of_an_added_location_as_the_upstream_policy(self, glance: Worker) -> None:
        @FEWER
        @given(migration_cases(), image_locations())
        def the_answers_agree(case: MigrationCase, location: ImageLocation) -> None:
            memory = MemoryLocations(volumes=Answering(case.answers), catalogue=case.catalogue)
            words = in_glances_words(case) | {"location": location_for_glance(location)}
            answer = glance.ask("add_location", **{key: words[key] for key in ("catalogue", "answers", "location")})
            if answer == FAILS:
                with pytest.raises(RequestRefused):
                    memory._as_added(words["location"])
            else:
                assert location_for_glance(memory._as_added(words["location"])) == answer

        the_answers_agree()


def lists_all(case: MigrationCase) -> MemoryLocations:
    memory = MemoryLocations(volumes=Answering(case.answers), catalogue=case.catalogue)
    memory.images["i"] = replace(case.image, id="i")
    return memory


def in_glances_words(case: MigrationCase) -> dict[str, Any]:
    return {
        "catalogue": catalogue_for_glance(case.catalogue),
        "answers": answers_for_glance(case.answers),
        "locations": [location_for_glance(location) for location in case.image.locations],
    }


def test_a_volume_id_begins_like_a_store() -> None:
    """Or else the collision of a store's name with a volume id would not be tried."""
    assert VOLUME_IDS[0].startswith("1")
