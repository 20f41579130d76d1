"""Which store or stores an upload lands in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.store_strategies import NAMES, RESERVED, image_locations, store_catalogues
from imagevol_core import (
    Image,
    ImageLocation,
    Policy,
    Store,
    StoreCatalogue,
    StoreSelection,
    select_stores,
    store_of_location,
)
from imagevol_core.stores import SELECTION_RULES
from tests.core.cases import BOTH_POLICIES

policies = st.sampled_from(BOTH_POLICIES)
headers = st.none() | st.sampled_from([*NAMES, *RESERVED, "", "gone"])
images = st.lists(image_locations(), max_size=5).map(lambda locations: Image(id="i", locations=tuple(locations)))

FAST = Store(name="fast", kind="cinder", volume_type="ssd")
FAST2 = Store(name="fast2", kind="cinder", volume_type="hdd")
LOCAL = Store(name="local", kind="file", weight=1)
WEB = Store(name="web", kind="http", readonly=True)
CATALOGUE = StoreCatalogue(stores=(FAST, FAST2, LOCAL, WEB), default="fast")


def in_stores(*names: str) -> Image:
    """A base image with a location in each of these stores."""
    return Image(id="i", locations=tuple(ImageLocation("any://where", {"store": name}) for name in names))


def select(
    store_header: str | None = None,
    base_image: Image | None = None,
    catalogue: StoreCatalogue = CATALOGUE,
    policy: Policy = Policy.STRICT,
) -> StoreSelection:
    """Choose; by default strictly and where there is a choice."""
    return select_stores(catalogue, store_header=store_header, base_image=base_image, policy=policy)


def told(selection: StoreSelection) -> tuple[str | None, tuple[str, ...], str | None, str, str]:
    """The answer, and the rule that gave it with its reason."""
    last = selection.verdicts[-1]
    assert last.applies
    assert not any(verdict.applies for verdict in selection.verdicts[:-1])
    return selection.primary, selection.copies, selection.refused, last.rule, last.text


Outcome = tuple[str | None, tuple[str, ...], str | None]
SINGLE = replace(CATALOGUE, stores=(FAST,), multi=False)

# For each rule, a request that it decides.  A new rule is a new row here; it is decided in the test.
DECIDES: dict[Policy, dict[str, tuple[Callable[[], StoreSelection], Outcome, str]]] = {
    Policy.STRICT: {
        "single-store": (
            lambda: select("slow", in_stores("fast"), SINGLE),
            ("fast", (), None),
            "enabled_backends is not set; the header 'slow' is ignored; the base image is ignored",
        ),
        "store-header": (
            lambda: select("fast2", in_stores("fast")),
            ("fast2", (), None),
            "the request names store 'fast2'; the base image is ignored",
        ),
        "base-image": (
            lambda: select(None, in_stores("fast2", "fast")),
            ("fast2", ("fast",), None),
            "of the stores that the base image is in, 'fast2', 'fast' can take images",
        ),
        "default-store": (select, ("fast", (), None), "default_backend is 'fast'"),
    },
    Policy.UPSTREAM: {
        "single-store": (
            lambda: select(None, None, SINGLE, Policy.UPSTREAM),
            ("fast", (), None),
            "enabled_backends is not set",
        ),
        "store-header": (
            lambda: select("fast2", None, CATALOGUE, Policy.UPSTREAM),
            ("fast2", (), None),
            "the request names store 'fast2'",
        ),
        "default-store": (
            lambda: select(None, in_stores("fast2"), CATALOGUE, Policy.UPSTREAM),
            ("fast", (), None),
            "default_backend is 'fast'; the base image is ignored",
        ),
    },
}
RULES = [(policy, rule.id) for policy, rules in SELECTION_RULES.items() for rule in rules]


class TestEveryRule:
    """The first rule that applies decides, alone."""

    @pytest.mark.parametrize("policy, rule", RULES)
    def test_each_rule_of_the_choice_of_stores_decides_its_example(self, policy: Policy, rule: str) -> None:
        decide, outcome, text = DECIDES[policy][rule]
        selection = decide()
        assert told(selection) == (*outcome, rule, text)
        assert selection.by_base_image is (rule == "base-image")
        in_table = [each.id for each in SELECTION_RULES[policy]]
        assert [verdict.rule for verdict in selection.verdicts] == in_table[: in_table.index(rule) + 1]

    def test_a_rule_that_does_not_apply_says_why(self) -> None:
        assert [verdict.text for verdict in select(None, in_stores("web")).verdicts[:-1]] == [
            "enabled_backends is set",
            "the request names no store",
            "of the stores that the base image is in, none can take images",
        ]
        assert select().verdicts[2].text == "there is no base image that the requester can see"

    @given(store_catalogues(), headers, st.none() | images, policies)
    def test_an_answer_names_a_store_or_a_refusal(
        self, catalogue: StoreCatalogue, header: str | None, base: Image | None, policy: Policy
    ) -> None:
        selection = select(header, base, catalogue, policy)
        assert (selection.primary is None) is (selection.refused is not None)
        assert not (selection.refused and selection.copies)


class TestStoreHeader:
    """Exactly that store; the base reference is ignored; unknown, empty, disabled or read-only is refused."""

    @pytest.mark.parametrize(
        "header, refused",
        [
            ("", "there is no store ''; the stores are 'fast', 'fast2', 'local', 'web'"),
            ("fas", "there is no store 'fas'; the stores are 'fast', 'fast2', 'local', 'web'"),
            ("FAST", "there is no store 'FAST'; the stores are 'fast', 'fast2', 'local', 'web'"),
            ("\x1b[2J", "there is no store '\\x1b[2J'; the stores are 'fast', 'fast2', 'local', 'web'"),
            (
                "os_glance_staging_store",
                "there is no store 'os_glance_staging_store'; the stores are 'fast', 'fast2', 'local', 'web'",
            ),
            ("web", "store 'web' is read-only"),
            ("local", "store 'local' takes no images at the moment; look at its faults"),
        ],
    )
    def test_a_store_that_cannot_be_had_is_refused(self, header: str, refused: str) -> None:
        catalogue = replace(CATALOGUE, stores=(WEB, replace(LOCAL, can_add=False), FAST2, FAST))
        selection = select(header, in_stores("fast"), catalogue)
        assert (selection.primary, selection.copies, selection.refused) == (None, (), refused)

    def test_without_stores_no_store_is_chosen(self) -> None:
        assert select("x", None, StoreCatalogue(stores=())).refused == "there is no store 'x'; the stores are none"

    @given(store_catalogues(multi=True), headers.filter(lambda header: header is not None), images, images, policies)
    def test_a_store_header_decides_alone(
        self, catalogue: StoreCatalogue, header: str, base: Image, other: Image, policy: Policy
    ) -> None:
        """LAW: nothing else has a part in it, neither a base image nor the default."""
        selection = select(header, base, catalogue, policy)
        assert selection == select(header, other, catalogue, policy)
        assert selection == select(header, base, replace(catalogue, default=None), policy)
        assert selection.primary in (None, header)
        assert selection.copies == ()


class TestBaseImage:
    """All the stores that the base image lives in and that can add: the first by weight, then by location order."""

    @pytest.mark.parametrize(
        "names, stores",
        [
            (("fast",), ("fast",)),
            (("fast2", "fast"), ("fast2", "fast")),
            (("fast", "fast2", "fast"), ("fast", "fast2")),
            (("fast", "local"), ("local", "fast")),
            (("web", "gone", "fast2"), ("fast2",)),
        ],
    )
    def test_the_stores_of_a_base_image_come_by_weight_and_then_by_location(
        self, names: tuple[str, ...], stores: tuple[str, ...]
    ) -> None:
        selection = select(None, in_stores(*names))
        assert (selection.primary, *selection.copies) == stores

    @pytest.mark.parametrize("base", [None, in_stores(), in_stores("web"), in_stores("gone"), Image(id="i")])
    def test_a_base_image_without_a_usable_store_falls_through(self, base: Image | None) -> None:
        assert select(None, base).primary == "fast"
        assert select(None, base).verdicts[-1].rule == "default-store"

    @given(store_catalogues(multi=True), images)
    def test_no_usable_store_of_a_base_image_is_left_out_or_taken_twice(
        self, catalogue: StoreCatalogue, base: Image
    ) -> None:
        stores = [store_of_location(location, catalogue=catalogue) for location in base.locations]
        usable = {store.name for store in stores if store and store.accepts}
        selection = select(None, base, catalogue)
        if usable:
            chosen = (selection.primary, *selection.copies)
            assert set(chosen) == usable
            assert len(chosen) == len(usable)
            weights = [store.weight for name in chosen if (store := catalogue.get(name))]
            assert weights == sorted(weights, reverse=True)

    @given(store_catalogues(), headers, policies)
    def test_the_answer_of_an_invisible_base_image_equals_that_of_a_missing_one(
        self, catalogue: StoreCatalogue, header: str | None, policy: Policy
    ) -> None:
        """LAW: both are the one fact None, so that nothing can tell them apart; nor does the answer name an image."""
        selection = select(header, None, catalogue, policy)
        assert not any("base image" in verdict.text for verdict in selection.verdicts if verdict.applies)


class TestDefaultStore:
    """Neither a header nor a base image: the default, or a refusal, never silently another store."""

    @pytest.mark.parametrize(
        "default, refused",
        [
            (None, "no default store is set; the stores are 'fast', 'fast2', 'local', 'web'"),
            ("gone", "there is no store 'gone'; the stores are 'fast', 'fast2', 'local', 'web'"),
            ("web", "store 'web' is read-only"),
        ],
    )
    def test_a_default_that_cannot_be_had_is_refused(self, default: str | None, refused: str) -> None:
        selection = select(None, None, replace(CATALOGUE, default=default))
        assert (selection.primary, selection.refused) == (None, refused)


class TestSingleStore:
    """Nothing to choose; headers are ignored; and still it must be able to add."""

    @pytest.mark.parametrize(
        "stores, default, primary, refused",
        [
            ((FAST,), None, "fast", None),
            ((FAST,), "gone", "fast", None),
            ((FAST, LOCAL), "local", "local", None),
            ((FAST, LOCAL), None, None, "no default store is set; the stores are 'fast', 'local'"),
            ((), "fast", None, None),
            ((WEB,), None, None, "store 'web' is read-only"),
            (
                (replace(FAST, can_add=False),),
                None,
                None,
                "store 'fast' takes no images at the moment; look at its faults",
            ),
        ],
    )
    def test_a_glance_with_a_single_store_uses_that_store(
        self, stores: tuple[Store, ...], default: str | None, primary: str | None, refused: str | None
    ) -> None:
        catalogue = StoreCatalogue(stores=stores, default=default, multi=False)
        selection = select("slow", in_stores("slow"), catalogue)
        assert (selection.primary, selection.copies, selection.refused) == (primary, (), refused)

    @given(store_catalogues(multi=False), headers, headers, st.none() | images, policies)
    def test_a_glance_with_a_single_store_ignores_headers(
        self, catalogue: StoreCatalogue, header: str | None, other: str | None, base: Image | None, policy: Policy
    ) -> None:
        one, another = select(header, base, catalogue, policy), select(other, None, catalogue, policy)
        assert replace(one, verdicts=()) == replace(another, verdicts=())


class TestLaws:
    """Every chosen store can add; independent of dict order."""

    @given(store_catalogues(), headers, st.none() | images)
    def test_every_chosen_store_can_add(
        self, catalogue: StoreCatalogue, header: str | None, base: Image | None
    ) -> None:
        selection = select(header, base, catalogue)
        for name in (selection.primary, *selection.copies):
            store = catalogue.get(name)
            assert name is None or (store is not None and store.accepts)

    @given(store_catalogues(), headers, st.none() | images, policies, st.randoms(use_true_random=False))
    def test_the_order_of_the_stores_does_not_matter(
        self, catalogue: StoreCatalogue, header: str | None, base: Image | None, policy: Policy, random: Random
    ) -> None:
        shuffled = list(catalogue.stores)
        random.shuffle(shuffled)
        other = replace(catalogue, stores=tuple(shuffled))
        assert select(header, base, other, policy) == select(header, base, catalogue, policy)

    @given(store_catalogues(), headers, st.none() | images, policies)
    def test_every_verdict_on_stores_is_printable(
        self, catalogue: StoreCatalogue, header: str | None, base: Image | None, policy: Policy
    ) -> None:
        selection = select(header, base, catalogue, policy)
        assert [str(verdict) for verdict in selection.verdicts if not str(verdict).isprintable()] == []
        assert (selection.refused or "").isprintable()


class TestUpstream:
    """Glance looks at no base image, finds its own staging store, and none of some kinds."""

    @pytest.mark.parametrize(
        "header, store, primary, refused",
        [
            ("fast", FAST, "fast", None),
            ("os_glance_staging_store", FAST, "os_glance_staging_store", None),
            ("os_glance_tasks_store", FAST, "os_glance_tasks_store", None),
            ("os_glance_other", FAST, None, "Glance answers 400: it finds no such store"),
            ("", FAST, None, "Glance answers 400: it finds no such store"),
            ("fast", replace(FAST, kind="imagevol"), "fast", None),
            ("fast", replace(FAST, kind="vmware"), None, "Glance answers 400: it finds no such store"),
            ("fast", replace(FAST, kind="none"), None, "Glance answers 400: it finds no such store"),
            ("fast", replace(FAST, can_add=False), None, "Glance answers 410: adding to store 'fast' is disabled"),
            ("fast", replace(FAST, readonly=True), None, "Glance answers 410: adding to store 'fast' is disabled"),
            (None, FAST, "fast", None),
        ],
    )
    def test_glance_takes_the_store_that_the_header_names(
        self, header: str | None, store: Store, primary: str | None, refused: str | None
    ) -> None:
        catalogue = StoreCatalogue(stores=(store,), default="fast")
        selection = select(header, in_stores("fast"), catalogue, Policy.UPSTREAM)
        assert (selection.primary, selection.copies, selection.refused) == (primary, (), refused)

    @pytest.mark.parametrize(
        "stores, primary, refused",
        [
            ((), None, None),
            ((FAST,), "fast", None),
            ((FAST, FAST2), None, "Glance answers 500: it finds no such store"),
            ((WEB,), None, "Glance answers 410: adding to store 'web' is disabled"),
        ],
    )
    def test_a_glance_with_a_single_store_takes_that_store_whatever_the_header_says(
        self, stores: tuple[Store, ...], primary: str | None, refused: str | None
    ) -> None:
        catalogue = StoreCatalogue(stores=stores, multi=False)
        selection = select("slow", in_stores("fast"), catalogue, Policy.UPSTREAM)
        assert (selection.primary, selection.copies, selection.refused) == (primary, (), refused)
