"""What the locations of an image and of a whole cloud should become: the laws of the decision as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.store_strategies import MigrationCase, migration_cases
from imagevol_core import (
    Image,
    ImageLocation,
    InvalidFact,
    InvalidLocation,
    LocationChange,
    LocationOutcome,
    MigrationTotals,
    NoAnswer,
    Policy,
    VolumeAnswer,
    parse_location,
    plan_migration,
)
from tests.core.cases import BOTH_POLICIES
from tests.core.migration_cases import CATALOGUE, RENAMES, V, applied, at, of_image, plan

policies = st.sampled_from(BOTH_POLICIES)


class TestLaws:
    """The laws of migration, of all locations of an image together."""

    @given(migration_cases())
    def test_applying_a_plan_and_planning_again_yields_only_keep(self, case: MigrationCase) -> None:
        changes = case.plan()
        for change, again in zip(changes, replan(case, changes), strict=True):
            assert not again.alters
            assert again.outcome is (LocationOutcome.KEEP if change.alters else change.outcome)

    @given(migration_cases())
    def test_the_volume_id_never_changes(self, case: MigrationCase) -> None:
        for change in case.plan():
            assert volume_of(change.after) == volume_of(change.before)

    @given(migration_cases())
    def test_no_location_is_ever_lost_or_duplicated(self, case: MigrationCase) -> None:
        changes = case.plan()
        before = Counter(location.url for location in case.image.locations)
        after = Counter(change.after.url for change in changes)
        assert after.total() == before.total()
        assert all(count <= max(1, before[url]) for url, count in after.items())

    @given(migration_cases(), st.randoms(use_true_random=False))
    def test_the_order_of_stores_does_not_matter(self, case: MigrationCase, random: Random) -> None:
        stores = list(case.catalogue.stores)
        random.shuffle(stores)
        assert replace(case, catalogue=replace(case.catalogue, stores=tuple(stores))).plan() == case.plan()

    @given(migration_cases())
    def test_no_answer_never_changes_anything(self, case: MigrationCase) -> None:
        silent = replace(case, answers=dict.fromkeys(case.answers, NoAnswer("it is down")))
        unmentioned = replace(case, answers={})
        for change in (*silent.plan(), *unmentioned.plan()):
            assert not change.alters

    def test_a_volume_that_the_answer_does_not_mention_has_no_answer(self) -> None:
        (change,) = of_image(Policy.STRICT, at("cinder://00000000-93e4-4a3c-a2a5-3d5bd2d3b6a1"))
        assert change.verdicts[-1].text == ("Cinder gives no answer about the volume: 'the answer does not mention it'")

    @given(migration_cases(), policies)
    def test_an_undo_restores_the_location_exactly(self, case: MigrationCase, policy: Policy) -> None:
        changes = case.plan(policy)
        for order in (changes, changes[::-1]):
            locations = case.image.locations
            for change in changes:
                locations = applied(change, locations)
            for change in order:
                locations = applied(change.undo(), locations)
            assert locations == case.image.locations

    @given(migration_cases())
    def test_metadata_that_is_not_about_the_store_is_kept(self, case: MigrationCase) -> None:
        for change in case.plan():
            assert {**change.after.metadata, "store": ""} == {**change.before.metadata, "store": ""}


def replan(case: MigrationCase, changes: Sequence[LocationChange]) -> tuple[LocationChange, ...]:
    """Plan again where the plan has been applied."""
    after = tuple(change.after for change in changes)
    return replace(case, image=replace(case.image, locations=after)).plan()


def volume_of(location: ImageLocation) -> str | None:
    """The volume that it names, if any."""
    try:
        return parse_location(location.url).volume_id
    except InvalidLocation:
        return None


class TestDuplicates:
    """No two locations of one image become the same: neither of two that would is altered."""

    def test_two_locations_that_would_become_the_same_stay_as_they_are(self) -> None:
        changes = of_image(Policy.STRICT, at(f"cinder://quick/{V}"), at(f"cinder://fast2/{V}", "slow"))
        assert [(change.outcome.value, change.verdicts[-1].rule) for change in changes] == [
            ("ambiguous", "duplicate"),
            ("ambiguous", "duplicate"),
        ]

    def test_a_location_that_is_right_already_is_kept_beside_its_duplicate(self) -> None:
        changes = of_image(Policy.STRICT, at(f"cinder://fast2/{V}", "fast2"), at(f"cinder://fast2/{V}", "slow"))
        assert [change.outcome.value for change in changes] == ["keep", "ambiguous"]

    def test_two_locations_in_two_stores_of_one_type_are_two(self) -> None:
        changes = of_image(Policy.STRICT, at(f"cinder://quick/{V}"), at(f"cinder://fast/{V}"))
        assert [change.after.url for change in changes] == [f"cinder://fast2/{V}", f"cinder://fast/{V}"]
        assert [change.outcome.value for change in changes] == ["change", "change"]

    def test_glance_makes_two_different_locations_the_same(self) -> None:
        changes = of_image(Policy.UPSTREAM, at(f"cinder://quick/{V}"), at(f"cinder://{V}"))
        assert [change.after for change in changes] == [at(f"cinder://fast/{V}", "fast")] * 2


class TestUndoing:
    """A change can be undone."""

    @pytest.fixture
    def planned(self) -> LocationChange:
        return plan(at(f"cinder://quick/{V}"))

    def test_an_undo_is_a_record_of_what_to_restore(self, planned: LocationChange) -> None:
        change = replace(planned, image_id="i", position=2)
        assert change.undo() == LocationChange(
            outcome=LocationOutcome.CHANGE,
            before=change.after,
            after=change.before,
            verdicts=(),
            image_id="i",
            position=2,
        )
        location = at("a")
        bare = LocationChange(outcome=LocationOutcome.KEEP, before=location, after=location, verdicts=())
        assert (bare.image_id, bare.position) == (planned.image_id, planned.position) == (None, 0)


class Cinder:
    """Gives answers a page at a time, and notes what it was asked."""

    def __init__(self, answers: Mapping[str, VolumeAnswer]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def volume_types(self, volume_ids: Sequence[str]) -> Mapping[str, VolumeAnswer]:
        """Answer, if it can."""
        self.asked.append(list(volume_ids))
        return {volume_id: self.answers[volume_id] for volume_id in volume_ids if volume_id in self.answers}


class TestPlanMigration:
    """It takes an iterable and yields: constant memory, volumes asked for in pages, totals at the end."""

    @given(st.lists(migration_cases(), max_size=4), policies, st.integers(1, 9))
    def test_each_image_is_planned_as_alone(self, cases: list[MigrationCase], policy: Policy, page_size: int) -> None:
        images = [replace(case.image, id=str(at)) for at, case in enumerate(cases)]
        first = cases[0] if cases else MigrationCase(image=Image(id=""), catalogue=CATALOGUE, answers={}, renames={})
        cinder = Cinder(first.answers)
        totals = MigrationTotals()
        planned = list(
            plan_migration(
                images,
                catalogue=first.catalogue,
                volume_types=cinder.volume_types,
                renames=first.renames,
                policy=policy,
                page_size=page_size,
                totals=totals,
            )
        )
        assert [each.image for each in planned] == images
        assert [each.changes for each in planned] == [replace(first, image=image).plan(policy) for image in images]
        changes = [change for each in planned for change in each.changes]
        assert [each.alters for each in planned] == [any(change.alters for change in each.changes) for each in planned]
        assert totals == MigrationTotals(
            images=len(images),
            pages=len(cinder.asked),
            outcomes=Counter(change.outcome for change in changes),
        )
        assert totals.locations == len(changes)

    def test_a_location_of_a_renamed_store_gets_its_present_name(self) -> None:
        (planned,) = plan_migration(
            [Image(id="i", locations=(at(f"cinder://quick/{V}"),))],
            catalogue=CATALOGUE,
            volume_types=Cinder({V: "ssd"}).volume_types,
            renames=RENAMES,
        )
        assert [change.after for change in planned.changes] == [at(f"cinder://fast2/{V}", "fast2")]

    def test_an_image_that_comes_twice_in_a_page_is_planned_once(self) -> None:
        """A user can hide it while the images are listed. Of a page that is done nothing is remembered."""
        image = Image(id="i", locations=(at(f"cinder://quick/{V}"),))
        other = replace(image, id="j")
        for page_size, count in ((3, 1), (1, 2)):
            cinder = Cinder({V: "ssd"})
            planned = plan_migration(
                [image, image, other], catalogue=CATALOGUE, volume_types=cinder.volume_types, page_size=page_size
            )
            assert [each.image for each in planned] == [*[image] * count, other]

    def test_each_image_comes_with_what_cinder_said_of_its_volumes(self) -> None:
        image = Image(id="i", locations=(at(f"cinder://quick/{V}"),))
        (planned,) = plan_migration([image], catalogue=CATALOGUE, volume_types=Cinder({V: "ssd"}).volume_types)
        assert planned.volume_types == {V: "ssd"}

    def test_a_page_is_asked_for_at_once_and_each_volume_once(self) -> None:
        volumes = [f"{at:08x}-93e4-4a3c-a2a5-3d5bd2d3b6a1" for at in range(6)]
        images = [
            Image(id="two", locations=(at(f"cinder://{volumes[0]}"), at(f"cinder://fast/{volumes[0]}"))),
            Image(id="none"),
            Image(id="other", locations=(at("file:///x"), at("cinder://x"))),
            *(Image(id=volume, locations=(at(f"cinder://{volume}"),)) for volume in volumes),
        ]
        cinder, totals = Cinder({}), MigrationTotals()
        for _ in plan_migration(
            images, catalogue=CATALOGUE, volume_types=cinder.volume_types, page_size=3, totals=totals
        ):
            pass
        assert cinder.asked == [volumes[:1], volumes[:1], volumes[1:4], volumes[4:]]
        assert (totals.images, totals.pages, totals.locations) == (9, 4, 10)

    def test_cinder_is_not_asked_if_no_location_names_a_volume(self) -> None:
        cinder = Cinder({})
        images = [Image(id="i", locations=(at("file:///x"),)), Image(id="j")]
        planned = list(plan_migration(images, catalogue=CATALOGUE, volume_types=cinder.volume_types))
        outcomes = [[change.outcome.value for change in each.changes] for each in planned]
        assert (outcomes, cinder.asked) == ([["not-cinder"], []], [])

    def test_glance_asks_cinder_for_what_follows_the_last_slash(self) -> None:
        cinder = Cinder({})
        images = [Image(id="i", locations=(at(f"cinder://{V}?x"), at(f"cinder://{V}/"), at("CINDER://x/y")))]
        for _ in plan_migration(images, catalogue=CATALOGUE, volume_types=cinder.volume_types, policy=Policy.UPSTREAM):
            pass
        assert cinder.asked == [[f"{V}?x"]]

    @pytest.mark.parametrize("page_size", [1, 2, 7])
    def test_no_more_than_one_page_of_images_is_held_in_memory(self, page_size: int) -> None:
        taken = 0

        def images() -> Iterator[Image]:
            nonlocal taken
            for number in range(50):
                taken += 1
                locations = (at(f"cinder://{number:08x}-93e4-4a3c-a2a5-3d5bd2d3b6a1"),) if number % 2 else ()
                yield Image(id=str(number), locations=locations)

        planned = plan_migration(
            images(), catalogue=CATALOGUE, volume_types=Cinder({}).volume_types, page_size=page_size
        )
        assert taken == 0
        for each in planned:
            assert taken <= int(each.image.id) + page_size
        assert taken == 50

    def test_a_page_has_a_thousand_locations_unless_told_otherwise(self) -> None:
        cinder = Cinder({})
        volumes = [f"{number:08x}-93e4-4a3c-a2a5-3d5bd2d3b6a1" for number in range(1001)]
        images = [Image(id=volume, locations=(at(f"cinder://{volume}"),)) for volume in volumes]
        assert len(list(plan_migration(images, catalogue=CATALOGUE, volume_types=cinder.volume_types))) == 1001
        assert [len(page) for page in cinder.asked] == [1000, 1]

    def test_a_page_of_no_locations_is_refused_at_once(self) -> None:
        with pytest.raises(InvalidFact) as refused:
            plan_migration([], catalogue=CATALOGUE, volume_types=Cinder({}).volume_types, page_size=0)
        assert str(refused.value) == "page_size: 0 is less than 1; give how many locations a page has"
