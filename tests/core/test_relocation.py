"""How Glance is brought to change locations: each rule of the table, and the laws of what follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.store_strategies import VOLUME_IDS, MigrationCase, migration_cases
from imagevol_core import (
    Image,
    ImageLocation,
    InvalidFact,
    NoAnswer,
    NotFound,
    Policy,
    Relocation,
    RelocationWay,
    Store,
    StoreCatalogue,
    VolumeAnswer,
    plan_added_location,
    plan_image,
    plan_relocation,
    relocated,
)
from imagevol_core.migration import RELOCATION_RULES, spares_held_volume
from tests.core.migration_cases import V, at, plan

W = VOLUME_IDS[1]
OURS = StoreCatalogue(
    stores=(
        Store(name="fast", kind="imagevol", volume_type="ssd"),
        Store(name="fast2", kind="imagevol", volume_type="nvme"),
        Store(name="slow", kind="imagevol", volume_type="hdd"),
        Store(name="slow2", kind="imagevol", volume_type="hdd"),
        Store(name="local", kind="file"),
    )
)
THEIRS = replace(
    OURS, stores=tuple(replace(store, kind=store.kind.replace("imagevol", "cinder")) for store in OURS.stores)
)
ONE = StoreCatalogue(stores=(Store(name="imagevol", kind="imagevol"), Store(name="file", kind="file")), multi=False)
ONE_OF_THEIRS = StoreCatalogue(stores=(Store(name="cinder", kind="cinder"),), multi=False)
TODAY = at(f"cinder://fast/{V}", "fast")


def relocation(
    now: ImageLocation | tuple[ImageLocation, ...],
    wanted: ImageLocation | tuple[ImageLocation, ...],
    *,
    catalogue: StoreCatalogue = OURS,
    status: str = "active",
    properties: Mapping[str, str] = {},
    answers: Mapping[str, VolumeAnswer] = {},
    **options: bool,
) -> Relocation:
    """Plan one image in the usual cloud."""
    locations = now if isinstance(now, tuple) else (now,)
    return plan_relocation(
        Image(id="i", status=status, locations=locations, properties=properties),
        wanted=wanted if isinstance(wanted, tuple) else (wanted,),
        catalogue=catalogue,
        volume_types={V: "ssd", W: "hdd", **answers},
        **options,
    )


WRONG = at(f"cinder://slow/{V}", "fast")
PLACEHOLDER = at("pending://parallel-import/i/slow", "slow")
LEGACY = at(f"cinder://{V}")
OLD = at(f"cinder://old/{W}", "old")
FILE = at("file:///x", "local")

# For each rule what it applies to, and what it says of it; a new rule is a new row.
EXAMPLES: dict[str, tuple[Callable[[], Relocation], RelocationWay, str]] = {
    "as-wanted": (
        partial(relocation, TODAY, TODAY, status="killed"),
        RelocationWay.NOTHING,
        "its locations are as they are wanted",
    ),
    "no-answer": (
        partial(relocation, LEGACY, TODAY, answers={V: NoAnswer("down")}),
        RelocationWay.UNKNOWN,
        f"Cinder gives no answer about the volume of cinder://{V} in no store: 'down'",
    ),
    "importing": (
        partial(relocation, LEGACY, TODAY, properties={"os_glance_importing_to_stores": "slow,local"}),
        RelocationWay.REFUSED,
        "it is being imported to 'slow', 'local'",
    ),
    "not-predicted": (
        partial(
            relocation,
            (LEGACY, at(f"cinder://old/{W}", "old")),
            (TODAY, at(f"cinder://old/{W}", "old")),
            answers={W: NotFound()},
        ),
        RelocationWay.REFUSED,
        (
            f"what Glance makes of cinder://old/{W} in store old is not known: its store is not configured, and "
            "Cinder shows these credentials no volume of it"
        ),
    ),
    "would-be-undone": (
        partial(relocation, TODAY, LEGACY),
        RelocationWay.REFUSED,
        (
            f"as soon as the image is shown, Glance itself makes cinder://fast/{V} in store fast of cinder://{V} in no "
            "store; first give glance-api.conf the stores that it belongs to, and restart Glance"
        ),
    ),
    "glance-itself": (
        partial(relocation, LEGACY, TODAY, status="deactivated"),
        RelocationWay.SHOW,
        "Glance comes to them by itself when the image is shown",
    ),
    "not-active": (
        partial(relocation, WRONG, TODAY, status="queued"),
        RelocationWay.REFUSED,
        "its status is 'queued', and Glance changes locations of active images only",
    ),
    "volume-missing": (
        partial(relocation, WRONG, TODAY, answers={V: NotFound()}),
        RelocationWay.REFUSED,
        f"Cinder shows these credentials no volume of cinder://slow/{V} in store fast",
    ),
    "other-kinds": (
        partial(relocation, (WRONG, FILE), (TODAY, FILE)),
        RelocationWay.REFUSED,
        (
            "file:///x in store local is not in a volume, so it cannot be held while the image is changed; "
            "take that location away first"
        ),
    ),
    "volumes-differ": (
        partial(relocation, WRONG, at(f"cinder://slow/{W}", "slow")),
        RelocationWay.REFUSED,
        f"its locations name '{V}', and would name '{W}'",
    ),
    "same-urls": (
        partial(
            relocation,
            at(f"cinder://fast2/{V}"),
            at(f"cinder://fast2/{V}", "fast2"),
            catalogue=THEIRS,
            answers={V: "nvme"},
        ),
        RelocationWay.REPLACE,
        "the URLs are the same, and Glance takes them as they are",
    ),
    "associated-elsewhere": (
        partial(relocation, at(f"cinder://slow2/{V}", "fast"), at(f"cinder://slow2/{V}", "slow2"), answers={V: "hdd"}),
        RelocationWay.REFUSED,
        (
            f"sent cinder://slow2/{V} in store slow2, Glance takes cinder://slow/{V} in store slow, which is the "
            "first store of the volume's type; give each store a type of its own, or retype the volume to that of its "
            "store"
        ),
    ),
    "delayed-delete": (
        partial(relocation, WRONG, TODAY, delayed_delete=True),
        RelocationWay.REFUSED,
        (
            "removing a location makes Glance delete its volume later, when nothing holds it any more: set "
            "delayed_delete = false in glance-api.conf and restart Glance"
        ),
    ),
    "unguarded": (
        partial(relocation, WRONG, TODAY, catalogue=THEIRS),
        RelocationWay.REFUSED,
        (
            "removing a location makes Glance delete its volume, and the driver of 'fast' cannot be told not to: give "
            "it the driver 'imagevol' in enabled_backends and restart Glance"
        ),
    ),
    "guarded": (
        partial(relocation, WRONG, TODAY),
        RelocationWay.MOVE,
        "the new location is added and then the old one removed, while the volume is held",
    ),
}


class TestRules:
    """The first rule that applies says how, or why not."""

    def test_each_rule_of_relocation_has_its_example(self) -> None:
        assert list(EXAMPLES) == [rule.id for rule in RELOCATION_RULES[Policy.STRICT]]

    def test_a_placeholder_is_an_import_too(self) -> None:
        planned = relocation((LEGACY, PLACEHOLDER), (TODAY, PLACEHOLDER))
        assert (planned.verdicts[-1].rule, planned.way, planned.reason) == (
            "importing",
            RelocationWay.REFUSED,
            f"{PLACEHOLDER.url} in store slow is the placeholder of an import that is not finished",
        )

    @pytest.mark.parametrize("rule", EXAMPLES)
    def test_each_rule_of_relocation_applies_to_its_example_and_says_so(self, rule: str) -> None:
        plan_it, way, text = EXAMPLES[rule]
        planned = plan_it()
        assert (planned.image_id, {verdict.subject for verdict in planned.verdicts}) == ("i", {"i"})
        assert (planned.verdicts[-1].rule, planned.way, planned.reason) == (rule, way, text)
        assert [verdict.applies for verdict in planned.verdicts] == [False] * (len(planned.verdicts) - 1) + [True]

    @pytest.mark.parametrize(
        "way, catalogue",
        [(RelocationWay.MOVE, ONE), (RelocationWay.REFUSED, ONE_OF_THEIRS)],
    )
    def test_in_a_glance_with_one_store_the_driver_of_that_store_deletes(
        self, way: RelocationWay, catalogue: StoreCatalogue
    ) -> None:
        planned = relocation(TODAY, LEGACY, catalogue=catalogue)
        assert planned.way is way
        assert planned.before == planned.shown == (TODAY,)
        assert (planned.adding, planned.removing, planned.volume_ids) == ((LEGACY,), (TODAY,), (V,))
        if way is RelocationWay.REFUSED:
            assert "the driver of 'cinder' cannot be told" in planned.reason
            assert "in stores of [glance_store]" in planned.reason

    def test_in_a_glance_with_one_store_metadata_can_be_replaced(self) -> None:
        assert relocation(TODAY, at(f"cinder://fast/{V}"), catalogue=ONE_OF_THEIRS).way is RelocationWay.REPLACE

    def test_a_location_of_a_store_that_is_not_there_needs_no_hold(self) -> None:
        # No store has the volume's type, so that Glance leaves the location alone also when it is shown.
        planned = relocation(at(f"cinder://old/{V}", "old"), at(f"cinder://older/{V}", "older"), answers={V: "tape"})
        assert (planned.way, planned.verdicts[-1].rule) == (RelocationWay.REFUSED, "unguarded")
        assert "the driver of 'old'" in planned.reason

    def test_a_location_that_glance_passes_over_may_be_of_a_volume_that_nobody_sees(self) -> None:
        other = at(f"cinder://slow/{W}", "slow")
        assert relocation((LEGACY, other), (TODAY, other), answers={W: NotFound()}).way is RelocationWay.SHOW

    def test_a_location_without_a_store_has_no_driver_that_holds_its_volume(self) -> None:
        planned = relocation(LEGACY, at(f"cinder://older/{V}", "older"), answers={V: "tape"})
        assert "the driver of its store cannot be told" in planned.reason

    def test_a_volume_that_cinder_was_not_asked_for_is_not_known(self) -> None:
        other = at(f"cinder://fast/{VOLUME_IDS[2]}", "fast")
        assert relocation(other, TODAY).reason.endswith("in store fast: 'the answer does not mention it'")

    def test_a_glance_with_one_store_looks_at_no_location(self) -> None:
        planned = relocation(OLD, at(f"cinder://{W}"), catalogue=ONE, answers={W: NotFound()})
        assert planned.verdicts[-1].rule == "volume-missing"

    def test_a_rule_that_does_not_stand_in_the_way_says_why(self) -> None:
        planned = relocation(WRONG, TODAY)
        assert [verdict.text for verdict in planned.verdicts] == [
            "its locations are not as they are wanted",
            "Cinder answers",
            "no import is at it",
            "what Glance makes of its locations is known",
            "Glance keeps the locations that are wanted",
            "Glance does not come to them by itself when the image is shown",
            "its status is 'active', and Glance changes locations of active images only",
            "Cinder knows the volumes",
            "all its locations are in volumes",
            f"its locations name '{V}', and would name '{V}'",
            "the URLs are not the same, and Glance takes them as they are",
            "Glance takes what is sent as it is",
            "delayed_delete is not set",
            "the driver lets a held volume be",
            "the new location is added and then the old one removed, while the volume is held",
        ]

    def test_a_location_that_stays_needs_no_hold(self) -> None:
        catalogue = replace(OURS, stores=(*OURS.stores[:2], replace(OURS.stores[2], kind="cinder"), *OURS.stores[3:]))
        stays = at(f"cinder://slow/{W}", "slow")
        assert relocation((WRONG, stays), (TODAY, stays), catalogue=catalogue).way is RelocationWay.MOVE

    def test_a_refusal_says_that_glance_would_take_another_store(self) -> None:
        texts = {verdict.rule: verdict.text for verdict in EXAMPLES["associated-elsewhere"][0]().verdicts}
        assert texts["same-urls"] == "the URLs are the same, and Glance takes them for others"

    def test_a_change_that_was_stopped_half_way_goes_on(self) -> None:
        planned = relocation((WRONG, TODAY), TODAY)
        assert (planned.way, planned.adding, planned.removing) == (RelocationWay.MOVE, (), (WRONG,))

    def test_glance_goes_first_where_it_does_one_thing_and_another_is_wanted(self) -> None:
        planned = relocation((LEGACY, at(f"cinder://fast/{W}", "slow")), (TODAY, at(f"cinder://slow/{W}", "slow")))
        assert planned.way is RelocationWay.MOVE
        assert planned.shown == (TODAY, at(f"cinder://fast/{W}", "slow"))
        assert (planned.adding, planned.volume_ids) == ((at(f"cinder://slow/{W}", "slow"),), (V, W))

    def test_a_credential_in_a_url_is_not_told(self) -> None:
        secret = at("s3://key:hunter2@host/bucket", "local")
        for wanted in ((TODAY, secret), (TODAY,)):
            assert "hunter2" not in str(relocation((WRONG, secret), wanted).verdicts)


class TestRelocated:
    """The locations with the changes made that are not made yet."""

    CHANGE = replace(plan(LEGACY), after=at(f"cinder://new/{V}", "new"))
    OTHER = at("file:///x", "local")

    @pytest.mark.parametrize(
        "now",
        [(LEGACY, OTHER), (CHANGE.after, OTHER), (LEGACY, CHANGE.after, OTHER)],
    )
    def test_it_does_not_matter_how_far_a_change_has_come(self, now: tuple[ImageLocation, ...]) -> None:
        assert relocated(now, [self.CHANGE]) == (self.CHANGE.after, self.OTHER)

    def test_a_plan_that_alters_nothing_asks_for_nothing(self) -> None:
        nothing = replace(self.CHANGE, after=self.CHANGE.before)
        assert relocated((self.OTHER,), [nothing]) == (self.OTHER,)
        assert relocated((LEGACY,), [nothing, self.CHANGE]) == (self.CHANGE.after,)

    def test_changes_follow_one_another(self) -> None:
        new, newest = self.CHANGE.after, at(f"cinder://newest/{V}", "newest")
        again = replace(self.CHANGE, before=new, after=newest)
        assert relocated((self.OTHER, LEGACY), [self.CHANGE, again]) == (self.OTHER, newest)
        assert relocated((self.OTHER, LEGACY), [self.CHANGE, again, replace(again, before=newest, after=LEGACY)]) == (
            self.OTHER,
            LEGACY,
        )

    def test_two_locations_that_become_the_same_are_one(self) -> None:
        another = at(f"cinder://another/{V}", "another")
        changes = [self.CHANGE, replace(self.CHANGE, before=another)]
        assert relocated((LEGACY, self.OTHER, another), changes) == (self.CHANGE.after, self.OTHER)

    def test_a_location_that_is_gone_is_not_changed(self) -> None:
        with pytest.raises(
            InvalidFact, match=f"neither cinder://{V} nor cinder://new/{V} is there as planned"
        ) as caught:
            relocated((self.OTHER,), [self.CHANGE])
        assert caught.value.fact == "locations"


@given(migration_cases(), st.sampled_from([False, True]))
def test_on_a_glance_that_does_what_is_predicted_every_way_leads_where_it_should(
    case: MigrationCase, ours: bool
) -> None:
    catalogue = case.catalogue
    if ours:
        stores = (replace(s, kind="imagevol") if s.is_cinder else s for s in catalogue.stores)
        catalogue = replace(catalogue, stores=tuple(stores))
    changes = plan_image(case.image, catalogue=catalogue, volume_types=case.answers, renames=case.renames)
    planned = plan_relocation(
        replace(case.image, status="active"),
        wanted=[change.after for change in changes],
        catalogue=catalogue,
        volume_types=case.answers,
    )

    def shown(locations: tuple[ImageLocation, ...]) -> tuple[ImageLocation, ...]:
        image = replace(case.image, locations=locations)
        after = plan_image(image, catalogue=catalogue, volume_types=case.answers, policy=Policy.UPSTREAM)
        return tuple(change.after for change in after)

    def taken(location: ImageLocation) -> ImageLocation:
        answer = case.answers.get(location.url.rpartition("/")[2], NotFound())
        return plan_added_location(location, catalogue=catalogue, volume_type=answer, policy=Policy.UPSTREAM).after

    if planned.way in (RelocationWay.REFUSED, RelocationWay.UNKNOWN):
        return
    found = list(planned.before)
    if planned.way is not RelocationWay.NOTHING:
        found = list(shown(planned.before))
    if planned.way is RelocationWay.REPLACE:
        assert sorted(location.url for location in found) == sorted(location.url for location in planned.wanted)
        found = [taken(location) for location in planned.wanted]
    if planned.way is RelocationWay.MOVE:
        found += [taken(location) for location in planned.adding]
        for location in planned.removing:
            found.remove(location)
            assert found  # never without a location
    by_url = sorted(found, key=lambda location: (location.url, sorted(location.metadata.items())))
    assert by_url == sorted(planned.wanted, key=lambda location: (location.url, sorted(location.metadata.items())))
    if planned.way is not RelocationWay.NOTHING:
        assert shown(planned.wanted) == planned.wanted  # and there they stay


@pytest.mark.parametrize(
    "store, catalogue, spared",
    [
        ("fast", OURS, True),
        ("fast", THEIRS, False),
        ("local", OURS, False),
        ("gone", OURS, False),
        (None, OURS, False),
        (None, ONE, True),  # Glance without several stores deletes by the only store that can
        (None, ONE_OF_THEIRS, False),
    ],
)
def test_a_held_volume_stays_if_every_driver_that_could_delete_it_is_ours(
    store: str | None, catalogue: StoreCatalogue, spared: bool
) -> None:
    location = ImageLocation(f"cinder://{V}", {} if store is None else {"store": store})
    assert spares_held_volume(location, catalogue=catalogue) is spared
