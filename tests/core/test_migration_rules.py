"""What each rule of migration makes of a location, strictly and as Glance 33 does, defects included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.store_strategies import (
    MigrationCase,
    image_locations,
    migration_cases,
    store_catalogues,
)
from imagevol_core import (
    ImageLocation,
    LocationChange,
    LocationOutcome,
    NoAnswer,
    NotFound,
    Policy,
    StoreCatalogue,
    VolumeAnswer,
    parse_location,
    plan_added_location,
    plan_location,
)
from imagevol_core.migration import ADDED_RULES, MIGRATION_RULES
from tests.core.cases import BOTH_POLICIES
from tests.core.migration_cases import CATALOGUE, FAST, FAST2, LOCAL, SLOW, V, add, at, of_image, plan

policies = st.sampled_from(BOTH_POLICIES)
SINGLE = replace(CATALOGUE, multi=False)

Table = dict[str, tuple[Callable[[], LocationChange], str, ImageLocation | None, str]]

# For each rule, a location that it decides, with what becomes of that and why.  A new rule is a new row here.
STRICT: Table = {
    "single-store": (lambda: plan(at(f"cinder://{V}"), catalogue=SINGLE), "keep", None, "enabled_backends is not set"),
    "import-unfinished": (
        lambda: plan(at("pending://parallel-import/i/fast", "fast", os_glance_parallel_import="pending")),
        "import-unfinished",
        None,
        (
            "it is a placeholder: the import to store 'fast' is not finished. If no import is under way, it was "
            "interrupted: delete the image, or import it again"
        ),
    ),
    "not-cinder": (
        lambda: plan(at("swift://user:hunter2@h/c/i")),
        "not-cinder",
        None,
        "location swift://***@h/c/i: it does not begin with cinder://",
    ),
    "malformed": (
        lambda: plan(at(f"cinder://fast/{V}/")),
        "malformed",
        None,
        f"location cinder://fast/{V}/: it does not end with the id of a volume",
    ),
    "no-answer": (
        lambda: plan(at(f"cinder://{V}"), NoAnswer("it timed out")),
        "no-answer",
        None,
        "Cinder gives no answer about the volume: 'it timed out'",
    ),
    "missing-volume": (
        lambda: plan(at(f"cinder://{V}"), NotFound()),
        "missing-volume",
        None,
        "Cinder knows no such volume, or does not show it to these credentials",
    ),
    "no-store": (
        lambda: plan(at(f"cinder://fast/{V}", "fast"), None),
        "no-store",
        None,
        "the volume's type is None, and of that type are stores: none",
    ),
    "ambiguous": (
        lambda: plan(at(f"cinder://{V}", "fast")),
        "ambiguous",
        None,
        "the URL names none of 'fast', 'fast2'",
    ),
    "keep": (
        lambda: plan(at(f"cinder://fast2/{V}", "fast2")),
        "keep",
        None,
        "URL and metadata name 'fast2'",
    ),
    "duplicate": (
        lambda: of_image(Policy.STRICT, at(f"cinder://quick/{V}"), at(f"cinder://fast2/{V}", "fast2"))[0],
        "ambiguous",
        None,
        f"the image would have cinder://fast2/{V} twice; take one of the two locations away",
    ),
    "repair": (
        lambda: plan(at(f"cinder://fast2/{V}", "fast", share="a")),
        "repair",
        at(f"cinder://fast2/{V}", "fast2", share="a"),
        "the URL names 'fast2' and the metadata 'fast'; the volume's type decides",
    ),
    "change": (
        lambda: plan(at(f"cinder://quick/{V}", "quick", share="a")),
        "change",
        at(f"cinder://fast2/{V}", "fast2", share="a"),
        f"it becomes cinder://fast2/{V}",
    ),
}
BAD = "cinder://[/x"
UPSTREAM: Table = {
    "not-a-url": (
        lambda: plan(at(BAD), policy=Policy.UPSTREAM),
        "malformed",
        None,
        "Glance fails with a ValueError, since this is not a URL, and saves nothing",
    ),
    "image-not-saved": (
        lambda: of_image(Policy.UPSTREAM, at(f"cinder://{V}"), at("http://["))[0],
        "keep",
        None,
        "Glance fails with a ValueError on another location of the image, and saves nothing",
    ),
    "keys-taken-out": (
        lambda: plan(at("s3://k:s@h/b/i?x", "slow"), policy=Policy.UPSTREAM),
        "change",
        at("s3://h/b/i", "slow"),
        "keys in the URL are taken out",
    ),
    "store-known": (
        lambda: plan(at(f"cinder://gone/{V}", "slow"), policy=Policy.UPSTREAM),
        "keep",
        None,
        "its metadata names 'slow', which is a store, and the URL is not looked at",
    ),
    "type-associated": (
        lambda: plan(at(f"cinder://gone/{V}", "gone", share="a"), "hdd", policy=Policy.UPSTREAM),
        "change",
        at(f"cinder://slow/{V}", "slow", share="a"),
        "'slow' is the first store that has the volume's type",
    ),
    "prefix-matched": (
        lambda: plan(at("file:///x/i"), policy=Policy.UPSTREAM),
        "change",
        at("file:///x/i", "local"),
        "'local' is the first store whose prefix the URL begins with",
    ),
    "no-store": (
        lambda: plan(at(f"cinder://{V}"), None, policy=Policy.UPSTREAM),
        "no-store",
        None,
        "Glance finds no store; it logs a warning, and asks again every time",
    ),
}
ADDED: Table = {
    "not-a-url": (
        lambda: add(at(BAD)),
        "malformed",
        None,
        "Glance fails with a ValueError, since this is not a URL, and saves nothing",
    ),
    "store-known": (
        lambda: plan_added_location(at("file:///x/i"), catalogue=SINGLE, volume_type=None, policy=Policy.UPSTREAM),
        "keep",
        None,
        "enabled_backends is not set",
    ),
    "type-associated": (
        lambda: add(at(f"cinder://fast2/{V}", "fast2")),
        "change",
        at(f"cinder://fast/{V}", "fast"),
        "'fast' is the first store that has the volume's type",
    ),
    "prefix-matched": (
        lambda: add(at("file:///x/i", "slow")),
        "change",
        at("file:///x/i", "local"),
        "'local' is the first store whose prefix the URL begins with",
    ),
    "no-store": (
        lambda: add(at(f"cinder://fast/{V}"), NotFound()),
        "no-store",
        None,
        "Glance finds no store; it logs a warning, and asks again every time",
    ),
}
DECIDES = {
    "strict": (STRICT, MIGRATION_RULES[Policy.STRICT]),
    "upstream": (UPSTREAM, MIGRATION_RULES[Policy.UPSTREAM]),
    "added": (ADDED, ADDED_RULES[Policy.UPSTREAM]),
}
RULES = [(table, rule.id) for table, (_, rules) in DECIDES.items() for rule in rules]


class TestEveryRule:
    """The first rule that applies decides; only `change` and `repair` alter anything."""

    @pytest.mark.parametrize("table, rule", RULES)
    def test_each_rule_of_migration_decides_its_example(self, table: str, rule: str) -> None:
        decide, outcome, after, text = DECIDES[table][0][rule]
        change = decide()
        last = change.verdicts[-1]
        assert (last.rule, last.applies, last.text) == (rule, True, text)
        assert change.outcome.value == outcome
        assert change.after == (change.before if after is None else after)
        in_table = [each.id for each in DECIDES[table][1]]
        assert [verdict.rule for verdict in change.verdicts] == in_table[: in_table.index(rule) + 1]
        assert not any(verdict.applies for verdict in change.verdicts[:-1])

    def test_an_added_location_is_strictly_planned_as_any_other(self) -> None:
        for location in (at(f"cinder://fast2/{V}", "slow"), at(f"cinder://quick/{V}")):
            assert plan_added_location(location, catalogue=CATALOGUE, volume_type="ssd") == plan_location(
                location, catalogue=CATALOGUE, volume_type="ssd"
            )
        assert ADDED_RULES[Policy.STRICT] is MIGRATION_RULES[Policy.STRICT]

    def test_a_verdict_about_a_location_holds_no_secrets(self) -> None:
        change = plan(at("swift://user:hunter2@h/c/i"))
        assert {verdict.subject for verdict in change.verdicts} == {"swift://***@h/c/i"}

    def test_a_rule_that_does_not_apply_says_why(self) -> None:
        assert [(verdict.subject, verdict.text) for verdict in STRICT["change"][0]().verdicts[:-1]] == [
            (f"cinder://quick/{V}", text)
            for text in (
                "enabled_backends is set",
                "it is no placeholder of an import",
                "it is meant for a cinder store",
                f"it names volume {V}",
                "Cinder answers",
                "Cinder knows the volume",
                "the volume's type is 'ssd', and of that type are stores: 'fast', 'fast2'",
                "it belongs to 'fast2'",
                "URL and metadata do not both name 'fast2'",
                "no other location of the image would have this URL",
                "the URL names 'quick' and the metadata 'quick'; the volume's type decides",
            )
        ]
        assert [(verdict.subject, verdict.text) for verdict in UPSTREAM["no-store"][0]().verdicts[:-1]] == [
            (f"cinder://{V}", text)
            for text in (
                "Glance can read it as far as it looks",
                "Glance can read the other locations of the image",
                "no keys of an S3 store are in the URL",
                "its metadata names no store that there is",
                "no store has the volume's type, or Cinder does not tell it",
                "the URL begins with no store's prefix",
            )
        ]

    @given(migration_cases(), policies)
    def test_only_the_outcomes_change_and_repair_alter_a_location(self, case: MigrationCase, policy: Policy) -> None:
        for change in case.plan(policy):
            altering = change.outcome in (LocationOutcome.CHANGE, LocationOutcome.REPAIR)
            assert change.alters is altering is (change.before != change.after)

    @given(migration_cases(), policies)
    def test_a_verdict_about_a_location_is_printable_and_names_one_location(
        self, case: MigrationCase, policy: Policy
    ) -> None:
        for change in case.plan(policy):
            assert [str(verdict) for verdict in change.verdicts if not str(verdict).isprintable()] == []
            assert len({verdict.subject for verdict in change.verdicts}) == 1
            if "secret@" in change.before.url:  # of userinfo; what is shaped like nothing is shown as it is
                assert "secret" not in str(change.verdicts)

    @given(migration_cases(), policies)
    def test_an_image_is_planned_in_the_order_of_its_locations(self, case: MigrationCase, policy: Policy) -> None:
        changes = case.plan(policy)
        assert tuple(change.before for change in changes) == case.image.locations
        assert [change.position for change in changes] == list(range(len(changes)))
        assert {change.image_id for change in changes} <= {case.image.id}

    @given(migration_cases(locations=image_locations()), policies)
    def test_a_location_alone_is_planned_as_in_an_image_of_its_own(self, case: MigrationCase, policy: Policy) -> None:
        for location in case.image.locations[:1]:
            volume_type = case.answers.get(location.url.rpartition("/")[2], NoAnswer("the answer does not mention it"))
            alone = plan_location(
                location, catalogue=case.catalogue, volume_type=volume_type, renames=case.renames, policy=policy
            )
            only = replace(case, image=replace(case.image, locations=(location,)))
            assert only.plan(policy) == (replace(alone, image_id=case.image.id),)


class TestWhichStore:
    """The type of the volume decides; where it leaves a choice the URL does, as it stands and then by its new name."""

    @pytest.mark.parametrize(
        "url, store, volume_type, outcome, chosen",
        [
            (f"cinder://{V}", None, "hdd", "change", "slow"),
            (f"cinder://{V}", "slow", "hdd", "change", "slow"),  # a URL of the single-store days names no store
            (f"cinder://slow/{V}", None, "hdd", "change", "slow"),
            (f"cinder://slow/{V}", "", "hdd", "change", "slow"),
            (f"cinder://slow/{V}", "slow", "hdd", "keep", "slow"),
            (f"cinder://slow/{V}", "old", "hdd", "repair", "slow"),
            (f"cinder://fast/{V}", "fast", "hdd", "change", "slow"),  # retyped
            (f"cinder://fast/{V}", "slow", "hdd", "repair", "slow"),
            (f"cinder://old/{V}", "old", "hdd", "change", "slow"),
            (f"cinder://fast/{V}", "fast", "ssd", "keep", "fast"),  # though renamed: it stands
            (f"cinder://slow/{V}", "slow", "ssd", "change", "fast"),
            (f"cinder://quick/{V}", None, "ssd", "change", "fast2"),
            (f"cinder://quick/{V}", "fast2", "ssd", "repair", "fast2"),
            (f"cinder://old/{V}", "old", "ssd", "ambiguous", None),  # renames are not followed twice
            (f"cinder://fas/{V}", "fast", "ssd", "ambiguous", None),  # never by a prefix
            (f"cinder://FAST/{V}", "fast", "ssd", "ambiguous", None),
            (f"cinder://{V}", None, "ssd", "ambiguous", None),
            (f"cinder://slow/{V}", "slow", "nvme", "no-store", None),
            (f" cinder://slow/{V}", "slow", "hdd", "malformed", None),
            (f"CINDER://slow/{V}", "slow", "hdd", "malformed", None),
            ("\x00\tcinder:x", "slow", "hdd", "malformed", None),
            (f"x cinder://slow/{V}", "slow", "hdd", "not-cinder", None),
            (f"cinders://slow/{V}", "slow", "hdd", "not-cinder", None),
        ],
    )
    def test_the_store_of_a_location_follows_from_the_type_of_its_volume_and_from_its_url(
        self, url: str, store: str | None, volume_type: str, outcome: str, chosen: str | None
    ) -> None:
        change = plan(at(url, store), volume_type)
        assert change.outcome.value == outcome
        assert change.after == (at(f"cinder://{chosen}/{V}", chosen) if chosen else change.before)

    def test_a_store_without_a_type_has_the_volumes_of_cinders_default_type(self) -> None:
        catalogue = StoreCatalogue(stores=(replace(FAST, volume_type=None), SLOW), default_volume_type="nvme")
        assert plan(at(f"cinder://{V}"), "nvme", catalogue=catalogue).after == at(f"cinder://fast/{V}", "fast")

    def test_a_store_whose_name_no_location_can_have_is_passed_over(self) -> None:
        catalogue = StoreCatalogue(stores=(replace(FAST, name="a b"), FAST2))
        assert plan(at(f"cinder://{V}"), catalogue=catalogue).after == at(f"cinder://fast2/{V}", "fast2")

    def test_a_rename_of_nothing_renames_nothing(self) -> None:
        change = plan_location(at(f"cinder://{V}"), catalogue=CATALOGUE, volume_type="ssd", renames={"": "fast"})
        assert change.outcome is LocationOutcome.AMBIGUOUS

    def test_strict_without_renames_is_the_default(self) -> None:
        location = at(f"cinder://quick/{V}")
        assert plan_location(location, catalogue=CATALOGUE, volume_type="ssd").outcome is LocationOutcome.AMBIGUOUS

    @given(migration_cases())
    def test_a_location_that_is_kept_or_altered_is_in_a_store_of_the_type_of_its_volume(
        self, case: MigrationCase
    ) -> None:
        for change in case.plan():
            if change.alters or change.verdicts[-1].rule == "keep":
                volume_type = case.answers[parse_location(change.after.url).volume_id]
                assert volume_type is None or isinstance(volume_type, str)
                names = {store.name for store in case.catalogue.of_type(volume_type)}
                assert parse_location(change.after.url).store == change.after.metadata["store"]
                assert change.after.metadata["store"] in names


class TestUpstream:
    """What Glance 33 makes of locations, defects included."""

    @pytest.mark.parametrize(
        "location, volume_type, outcome, after",
        [
            # a prefix overrules the type
            (at("cinder://gone/v"), "nvme", "change", at("cinder://fast2/v", "fast")),
            (at("cinder://fast2/v"), NotFound(), "change", at("cinder://fast2/v", "fast")),
            # neither is looked at where the metadata names a store
            (at("cinder://slow/v", "fast"), "hdd", "keep", None),
            (at("cinder://fast2/v", "os_glance_tasks_store"), "hdd", "keep", None),
            # the first of two stores of one type
            (at("cinder://v", ""), "ssd", "change", at("cinder://fast/v", "fast")),
            # what follows the last slash is the volume
            (at(f"cinder://{V}/"), "hdd", "change", at("cinder://slow/", "slow")),
            (at(f"cinder://{V}?x=1"), "hdd", "change", at(f"cinder://slow/{V}?x=1", "slow")),
            (at("CINDER://v"), "hdd", "no-store", None),
            (at("cinder://v"), NoAnswer("x"), "no-store", None),
            # keys of S3 stores
            (at("s3://k@h/b"), None, "change", at("s3://h/b")),
            (at("s3+https://k:s@h@g/b#x"), None, "change", at("s3+https://g/b")),
            (at("s3://h/b?x=@"), None, "no-store", None),
            (at("s3://h/b#@"), None, "no-store", None),
            (at("swift://k@h/b"), None, "no-store", None),
            (at("s3://[@", "fast"), None, "malformed", None),
            (at("s3://[x]@[/i"), None, "malformed", None),
            (at("s3://[", "fast"), None, "keep", None),
            (at("http://[", "fast"), None, "keep", None),
            (at("file:///x/k@h"), None, "change", at("file:///x/k@h", "local")),
        ],
    )
    def test_glance_changes_a_location_that_is_shown_by_the_rules_of_its_code(
        self, location: ImageLocation, volume_type: VolumeAnswer, outcome: str, after: ImageLocation | None
    ) -> None:
        catalogue = StoreCatalogue(stores=(FAST, replace(FAST2, volume_type="nvme"), SLOW, LOCAL))
        change = plan(location, volume_type, policy=Policy.UPSTREAM, catalogue=catalogue)
        assert (change.outcome.value, change.after) == (outcome, location if after is None else after)

    def test_a_prefix_that_overrules_the_type_is_told(self) -> None:
        catalogue = StoreCatalogue(stores=(FAST, replace(FAST2, volume_type="nvme")))
        change = plan(at("cinder://gone/v"), "nvme", policy=Policy.UPSTREAM, catalogue=catalogue)
        assert change.verdicts[-1].text == (
            "'fast2' is the first store that has the volume's type, "
            "and 'fast' overrules it, whose prefix its name begins with"
        )

    @pytest.mark.parametrize(
        "location, outcome, after",
        [
            (at("s3://k@h/b"), "change", at("s3://h/b")),
            (at("file:///x/i"), "keep", None),
            (at("cinder://v", "gone"), "keep", None),
            (at("cinder://["), "keep", None),
        ],
    )
    def test_with_a_single_store_glance_changes_nothing_but_takes_keys_out(
        self, location: ImageLocation, outcome: str, after: ImageLocation | None
    ) -> None:
        change = plan(location, "ssd", policy=Policy.UPSTREAM, catalogue=SINGLE)
        assert (change.outcome.value, change.after) == (outcome, location if after is None else after)
        because = "enabled_backends is not set" if outcome == "keep" else "keys in the URL are taken out"
        assert change.verdicts[-1].text == because

    @pytest.mark.parametrize(
        "location, volume_type, outcome, after",
        [
            (at("cinder://fast/v", "fast"), "ssd", "keep", None),
            (at("cinder://fast/v", "fast"), "hdd", "change", at("cinder://slow/v", "slow")),
            (at("cinder://fast/v", "gone"), "nvme", "no-store", None),
            (at("file:///x/i", "local"), None, "keep", None),
            (at("file:///y", "local"), None, "no-store", None),
            (at("s3://k@h/b"), None, "no-store", None),
            (at("http://[", "fast"), None, "malformed", None),
        ],
    )
    def test_glance_changes_a_location_that_is_added_by_the_rules_of_its_code(
        self, location: ImageLocation, volume_type: VolumeAnswer, outcome: str, after: ImageLocation | None
    ) -> None:
        change = add(location, volume_type)
        assert (change.outcome.value, change.after) == (outcome, location if after is None else after)

    def test_one_bad_location_keeps_all_others_from_being_saved(self) -> None:
        changes = of_image(Policy.UPSTREAM, at("http://["), at("file:///x/i"), at("s3://["))
        assert [change.verdicts[-1].rule for change in changes] == ["not-a-url", "image-not-saved", "not-a-url"]

    @given(store_catalogues(multi=True), image_locations(), st.sampled_from(["ssd", "hdd", None]))
    def test_glance_keeps_a_location_that_it_has_changed(
        self, catalogue: StoreCatalogue, location: ImageLocation, volume_type: str | None
    ) -> None:
        """Its defects last: once the metadata names a store, right or wrong, the location is not looked at again."""
        change = plan(location, volume_type, policy=Policy.UPSTREAM, catalogue=catalogue)
        if change.outcome is LocationOutcome.CHANGE and change.after.metadata.get("store"):
            again = plan(change.after, volume_type, policy=Policy.UPSTREAM, catalogue=catalogue)
            assert not again.alters
