"""Which configured stores work, why one does not, and which store volumes and locations belong to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.store_strategies import VOLUME_IDS, image_locations, store_catalogues
from imagevol_core import (
    ImageLocation,
    InvalidFact,
    InvalidLocation,
    Policy,
    Requirement,
    Store,
    StoreCatalogue,
    StoreCheck,
    check_stores,
    is_associated,
    parse_location,
    store_of_location,
)
from imagevol_core.stores import CATALOGUE_RULES, STORE_RULES
from tests.core.cases import BOTH_POLICIES

USER = (
    "cinder_store_auth_address",
    "cinder_store_user_name",
    "cinder_store_password",
    "cinder_store_project_name",
)
APPLICATION = (
    "cinder_store_auth_address",
    "cinder_store_application_credential_id",
    "cinder_store_application_credential_secret",
)
FAST = Store(name="fast", kind="cinder", volume_type="ssd")
SLOW = Store(name="slow", kind="imagevol", volume_type="hdd")
LOCAL = Store(name="local", kind="file")


@dataclass(frozen=True, kw_only=True)
class Configured:
    """A configuration; as it is, there is no fault in it."""

    stores: tuple[Store, ...] = (FAST, SLOW, LOCAL)
    default: str | None = "slow"
    multi: bool = True
    default_volume_type: str | None = None
    fast: Collection[str] = USER
    volume_types: tuple[str, ...] | None = ("ssd", "hdd")

    def check(self) -> StoreCheck:
        """Look for its faults."""
        catalogue = StoreCatalogue(
            stores=self.stores,
            default=self.default,
            multi=self.multi,
            default_volume_type=self.default_volume_type,
        )
        credentials: Mapping[str, Collection[str]] = {"fast": self.fast, "slow": APPLICATION}
        return check_stores(catalogue, credentials=credentials, volume_types=self.volume_types)


def fast(**changes: object) -> Configured:
    """The good configuration with another first store."""
    return Configured(stores=(replace(FAST, **changes), SLOW, LOCAL))  # type: ignore[arg-type]


NAMES_TEXT = "; a name has 1 to 64 letters, digits, '_', '.' and '-', and does not begin with os_glance_"

# For each rule, what it alone finds fault with, and what it says.  A new rule is a new row here.
BREAKS = {
    "name-valid": (Configured(stores=(SLOW, replace(LOCAL, name="a b"))), "'a b'" + NAMES_TEXT),
    "kind-known": (
        Configured(stores=(FAST, SLOW, replace(LOCAL, kind="filesystem"))),
        "'filesystem'; known are cinder, file, http, imagevol, rbd, s3, swift, vmware",
    ),
    "credentials-complete": (Configured(fast=USER[:-1]), "missing are cinder_store_project_name"),
    "type-named": (fast(volume_type=None), "cinder_volume_type is not set, and there are others"),
    "type-exists": (Configured(volume_types=("hdd",)), "cinder_volume_type is 'ssd', and Cinder has no such type"),
    "type-unshared": (
        fast(volume_type="hdd"),
        "'hdd' is also the type of 'slow': a volume cannot tell them apart",
    ),
    "default-exists": (Configured(default="fas"), "default_backend is 'fas', which is none of the stores"),
}
RULES: list[Requirement[Any]] = [*STORE_RULES[Policy.STRICT], *CATALOGUE_RULES[Policy.STRICT]]


@pytest.mark.parametrize("blank", [" ", "\t"])
@pytest.mark.parametrize("rule", ["kind-known", "type-exists"])
def test_the_fault_of_a_comment_after_a_value_says_that_it_is_one(rule: str, blank: str) -> None:
    commented = fast(**{"kind" if rule == "kind-known" else "volume_type": f"ssd{blank}# as before"})
    (verdict,) = (verdict for verdict in commented.check().verdicts if verdict.rule == rule and not verdict.ok)
    assert verdict.text.endswith(
        "; oslo.config takes a comment after a value for a part of it: put the comment on a line of its own"
    )


class TestEveryRule:
    """For each configured store, every fault is collected."""

    def test_there_is_no_fault_in_the_good_configuration(self) -> None:
        check = Configured().check()
        assert [verdict for verdict in check.verdicts if verdict.faults] == []
        assert check.catalogue.stores == (FAST, SLOW, LOCAL)

    def test_every_rule_is_asked_of_every_store_in_order_and_then_of_the_catalogue(self) -> None:
        of_a_store = [rule.id for rule in STORE_RULES[Policy.STRICT]]
        assert [(verdict.subject, verdict.rule) for verdict in Configured().check().verdicts] == [
            *[(name, rule) for name in ("fast", "slow", "local") for rule in of_a_store],
            (None, "default-exists"),
        ]
        assert {rule.id for rule in RULES} == set(BREAKS)

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
    def test_each_rule_of_stores_finds_its_fault_alone_and_says_why(self, rule: Requirement[Any]) -> None:
        configured, text = BREAKS[rule.id]
        wrong = [verdict for verdict in configured.check().verdicts if verdict.faults]
        assert {verdict.rule for verdict in wrong} == {rule.id}
        assert wrong[0].text == text

    def test_a_running_store_is_disabled_if_nothing_can_be_stored_or_found_again(self) -> None:
        disabling = {rule: configured.check().disabling for rule, (configured, _) in BREAKS.items()}
        assert {rule: [(each.rule, each.subject) for each in found] for rule, found in disabling.items() if found} == {
            "name-valid": [("name-valid", "a b")],
            "kind-known": [("kind-known", "local")],
            "type-exists": [("type-exists", "fast")],
        }

    def test_a_rule_that_holds_says_what_is_right(self) -> None:
        said = {(verdict.subject, verdict.rule): verdict.text for verdict in Configured().check().verdicts}
        assert said == {
            ("fast", "name-valid"): "'fast'" + NAMES_TEXT,
            ("fast", "kind-known"): "'cinder'; known are cinder, file, http, imagevol, rbd, s3, swift, vmware",
            ("fast", "credentials-complete"): "the store has its own credentials, and they are complete",
            ("fast", "type-named"): "cinder_volume_type is 'ssd'",
            ("fast", "type-exists"): "cinder_volume_type is 'ssd', and Cinder has it",
            ("fast", "type-unshared"): "no other store has type 'ssd'",
            ("slow", "name-valid"): "'slow'" + NAMES_TEXT,
            ("slow", "kind-known"): "'imagevol'; known are cinder, file, http, imagevol, rbd, s3, swift, vmware",
            ("slow", "credentials-complete"): "the store has its own credentials, and they are complete",
            ("slow", "type-named"): "cinder_volume_type is 'hdd'",
            ("slow", "type-exists"): "cinder_volume_type is 'hdd', and Cinder has it",
            ("slow", "type-unshared"): "no other store has type 'hdd'",
            ("local", "name-valid"): "'local'" + NAMES_TEXT,
            ("local", "kind-known"): "'file'; known are cinder, file, http, imagevol, rbd, s3, swift, vmware",
            ("local", "credentials-complete"): "it is not a cinder store",
            ("local", "type-named"): "it is not a cinder store",
            ("local", "type-exists"): "it names no volume type",
            ("local", "type-unshared"): "it has no known volume type",
            (None, "default-exists"): "default_backend is 'slow', which is one of the stores",
        }

    def test_all_faults_are_collected(self) -> None:
        stores = (replace(FAST, name="a b", volume_type="gone"), Store(name="x", kind="none"))
        check = Configured(stores=stores, default=None).check()
        assert [(verdict.subject, verdict.rule) for verdict in check.faults] == [
            ("a b", "name-valid"),
            ("a b", "type-exists"),
            ("x", "kind-known"),
            (None, "default-exists"),
        ]

    @pytest.mark.parametrize(
        "catalogue, passed, text",
        [
            (
                StoreCatalogue(stores=(FAST,), multi=False),
                True,
                "there is one store, and nothing to choose",
            ),
            (
                StoreCatalogue(stores=(FAST,)),
                False,
                "default_backend is not set, and Glance does not start without",
            ),
        ],
    )
    def test_a_default_store_is_needed_if_there_are_several(
        self, catalogue: StoreCatalogue, passed: bool, text: str
    ) -> None:
        verdict = check_stores(catalogue, credentials={}, volume_types=["ssd"]).verdicts[-1]
        assert (verdict.ok, verdict.text) == (passed, text)


class TestOutOfService:
    """A store with a fault can read, and can neither add nor delete; the others go on working."""

    def test_a_store_whose_type_does_not_exist_neither_adds_nor_deletes(self) -> None:
        assert Configured(volume_types=("hdd",)).check().catalogue.stores == (
            replace(FAST, can_add=False, can_delete=False),
            SLOW,
            LOCAL,
        )

    def test_a_type_of_which_cinder_does_not_answer_is_not_known_to_exist(self) -> None:
        check = Configured(volume_types=None).check()
        assert [store.can_add for store in check.catalogue.stores] == [False, False, True]
        assert check.faults[0].text == "cinder_volume_type is 'ssd', and Cinder does not answer whether there is one"

    def test_a_warning_takes_nothing_out_of_service(self) -> None:
        check = fast(volume_type="hdd").check()
        assert check.faults == ()
        assert [verdict.subject for verdict in check.verdicts if verdict.faults] == ["fast", "slow"]
        assert all(store.accepts for store in check.catalogue.stores)

    @given(store_catalogues(), st.none() | st.lists(st.sampled_from(["ssd", "hdd", ""])))
    def test_exactly_the_faulty_stores_are_taken_out(
        self, catalogue: StoreCatalogue, volume_types: list[str] | None
    ) -> None:
        check = check_stores(catalogue, credentials={"fast": USER}, volume_types=volume_types)
        faulty = {verdict.subject for verdict in check.faults}
        assert check.catalogue == replace(
            catalogue,
            stores=tuple(
                replace(store, can_add=False, can_delete=False) if store.name in faulty else store
                for store in catalogue.stores
            ),
        )


def test_a_store_without_credentials_of_its_own_says_whose_are_used() -> None:
    verdicts = check_stores(StoreCatalogue(stores=(FAST,)), credentials={}, volume_types=["ssd"]).verdicts
    (text,) = {verdict.text for verdict in verdicts if verdict.rule == "credentials-complete"}
    assert text == "the store has no credentials of its own, so Glance uses those of each request"


class TestCredentials:
    """`credentials-complete`: those of a user or an application credential; of several cinder stores each has some."""

    @pytest.mark.parametrize(
        "options, alone, several",
        [
            (USER, "", ""),
            (APPLICATION, "", ""),
            ((*USER, *APPLICATION[1:2]), "", ""),
            ((*APPLICATION, *USER[1:2]), "", ""),
            ((), "", ", ".join(USER)),
            (("cinder_store_user_domain_name",), "", ", ".join(USER)),
            (USER[:1], ", ".join(USER[1:]), ", ".join(USER[1:])),
            (USER[1:], USER[0], USER[0]),
            (APPLICATION[1:], APPLICATION[0], APPLICATION[0]),
            (APPLICATION[1:2], f"{APPLICATION[0]}, {APPLICATION[2]}", f"{APPLICATION[0]}, {APPLICATION[2]}"),
            (APPLICATION[2:], ", ".join(APPLICATION[:2]), ", ".join(APPLICATION[:2])),
        ],
    )
    def test_the_missing_options_are_named(self, options: tuple[str, ...], alone: str, several: str) -> None:
        for others, missing in (((), alone), ((SLOW,), several)):
            check = Configured(stores=(FAST, LOCAL, *others), default="fast", fast=options).check()
            texts = [verdict.text for verdict in check.faults]
            assert texts == ([f"missing are {missing}"] if missing else [])


class TestTypes:
    """A type is required of every cinder store as soon as there are two; two stores of one type: a warning."""

    @pytest.mark.parametrize("volume_type", [None, ""])
    def test_a_single_cinder_store_needs_no_type(self, volume_type: str | None) -> None:
        only = replace(FAST, volume_type=volume_type)
        check = Configured(stores=(only, LOCAL), default="fast").check()
        assert [verdict for verdict in check.verdicts if verdict.faults] == []
        assert check.verdicts[3].text == "cinder_volume_type is not set, and there is no other"

    def test_all_stores_that_share_the_type_are_named(self) -> None:
        check = Configured(stores=(FAST, replace(FAST, name="b"), replace(FAST, name="a"))).check()
        (text,) = (each.text for each in check.verdicts if (each.rule, each.subject) == ("type-unshared", "fast"))
        assert text == "'ssd' is also the type of 'b', 'a': a volume cannot tell them apart"

    def test_a_store_without_a_type_shares_cinders_default(self) -> None:
        configured = replace(fast(volume_type=None), default_volume_type="hdd")
        wrong = [(verdict.subject, verdict.rule) for verdict in configured.check().verdicts if verdict.faults]
        assert wrong == [("fast", "type-named"), ("fast", "type-unshared"), ("slow", "type-unshared")]


class TestStore:
    """A store of volumes has its locations under its name; any other says what they begin with."""

    @pytest.mark.parametrize(
        "store, is_cinder, prefix, accepts",
        [
            (FAST, True, "cinder://fast", True),
            (SLOW, True, "cinder://slow", True),
            (replace(FAST, url_prefix="file://", can_add=False), True, "cinder://fast", False),
            (replace(LOCAL, url_prefix="file://x", readonly=True), False, "file://x", False),
            (LOCAL, False, None, True),
        ],
    )
    def test_the_prefix_of_a_store_follows_from_its_name_and_kind(
        self, store: Store, is_cinder: bool, prefix: str | None, accepts: bool
    ) -> None:
        assert (store.is_cinder, store.prefix, store.accepts) == (is_cinder, prefix, accepts)

    @pytest.mark.parametrize("kind, begins", [("cinder", True), ("imagevol", False)])
    def test_a_store_is_not_taken_for_one_whose_name_begins_with_its_own(self, kind: str, begins: bool) -> None:
        store = Store(name="fast", kind=kind)
        assert store.begins("cinder://fast2/7ad3") is begins
        assert store.begins("cinder://fast/7ad3")
        assert not store.begins("cinder://slow/7ad3")
        assert store.prefix == "cinder://fast"

    @pytest.mark.parametrize("url_prefix", [None, ""])
    def test_without_a_prefix_no_url_is_its_own(self, url_prefix: str | None) -> None:
        assert not replace(LOCAL, url_prefix=url_prefix).begins("file:///x")

    def test_a_store_can_read_and_add_and_delete_by_default(self) -> None:
        assert replace(FAST, weight=0, readonly=False, can_add=True, can_delete=True, url_prefix=None) == FAST


class TestCatalogue:
    """The names of stores differ, and are matched whole."""

    def test_two_stores_of_one_name_are_refused(self) -> None:
        with pytest.raises(InvalidFact) as refused:
            StoreCatalogue(stores=(FAST, SLOW, replace(LOCAL, name="fast")))
        assert str(refused.value) == "StoreCatalogue.stores: 2 stores are named 'fast'; names must differ"

    def test_the_list_of_stores_is_copied(self) -> None:
        stores = [FAST]
        catalogue = StoreCatalogue(stores=stores)  # type: ignore[arg-type]
        stores.append(SLOW)
        assert catalogue.stores == (FAST,)

    @given(store_catalogues(), st.none() | st.text(max_size=3))
    def test_a_store_is_found_by_its_whole_name(self, catalogue: StoreCatalogue, other: str | None) -> None:
        for store in catalogue.stores:
            assert catalogue.get(store.name) is store
        assert catalogue.get(other) is None or other in {store.name for store in catalogue.stores}


class TestAssociation:
    """A volume belongs to the cinder stores of its type; a store without a type is one of Cinder's default type."""

    @pytest.mark.parametrize(
        "store, volume_type, default_volume_type, associated",
        [
            (FAST, "ssd", None, True),
            (FAST, "SSD", None, False),
            (FAST, None, None, False),
            (FAST, "hdd", "hdd", False),
            (replace(FAST, volume_type=None), "ssd", "ssd", True),
            (replace(FAST, volume_type=""), "ssd", "ssd", True),
            (replace(FAST, volume_type=None), "ssd", None, False),
            (replace(FAST, volume_type=None), None, None, False),
            (replace(LOCAL, volume_type="ssd"), "ssd", None, False),
            (SLOW, "hdd", None, True),
        ],
    )
    def test_a_volume_is_associated_with_the_stores_of_its_type(
        self, store: Store, volume_type: str | None, default_volume_type: str | None, associated: bool
    ) -> None:
        facts = {"volume_type": volume_type, "default_volume_type": default_volume_type}
        assert is_associated(store, **facts) is associated
        catalogue = StoreCatalogue(stores=(store,), default_volume_type=default_volume_type)
        assert catalogue.of_type(volume_type) == ((store,) if associated else ())


class TestStoreOfLocation:
    """The metadata names the store, and where it is silent a `cinder://` URL does; matched whole, never by prefix."""

    catalogue = StoreCatalogue(stores=(FAST, replace(FAST, name="fast2"), replace(LOCAL, url_prefix="file:///x")))

    @pytest.mark.parametrize(
        "url, metadata, strict, upstream",
        [
            (f"cinder://fast/{VOLUME_IDS[0]}", {}, "fast", "fast"),
            (f"cinder://fast2/{VOLUME_IDS[0]}", {}, "fast2", "fast"),
            (f"cinder://fast2/{VOLUME_IDS[0]}", {"store": "local"}, "local", "fast"),
            (f"cinder://fast2/{VOLUME_IDS[0]}", {"store": ""}, "fast2", "fast"),
            (f"cinder://fast2/{VOLUME_IDS[0]}", {"store": "gone"}, None, "fast"),
            (f"cinder://{VOLUME_IDS[0]}", {}, None, None),
            (f"cinder://fast/{VOLUME_IDS[0]}/", {}, None, "fast"),
            ("file:///x/i", {}, None, "local"),
            ("filesystem:///x/i", {}, None, None),
            ("file:///x/i", {"store": "local"}, "local", "local"),
        ],
    )
    def test_the_store_of_a_location_follows_from_its_url_and_its_metadata(
        self, url: str, metadata: Mapping[str, str], strict: str | None, upstream: str | None
    ) -> None:
        location = ImageLocation(url, metadata)
        for policy, name in ((Policy.STRICT, strict), (Policy.UPSTREAM, upstream)):
            assert store_of_location(location, catalogue=self.catalogue, policy=policy) == self.catalogue.get(name)

    @pytest.mark.parametrize(
        "kind, schemes",
        [
            ("cinder", "cinder"),
            ("file", "file filesystem"),
            ("http", "http https"),
            ("imagevol", "cinder"),
            ("rbd", "rbd"),
            ("s3", "s3 s3+http s3+https"),
            ("swift", "swift swift+config swift+http swift+https"),
            ("vmware", "vsphere"),
            ("none", ""),
        ],
    )
    def test_glance_looks_among_the_stores_of_the_scheme(self, kind: str, schemes: str) -> None:
        every = (
            "cinder file filesystem http https rbd s3 s3+http s3+https swift swift+config swift+http "
            "swift+https vsphere vmware unknown"
        )
        found = []
        for scheme in every.split():
            store = Store(name="it", kind=kind, url_prefix=f"{scheme}://it")
            catalogue = StoreCatalogue(stores=(store,))
            location = ImageLocation(f"{scheme}://it/x")
            if store_of_location(location, catalogue=catalogue, policy=Policy.UPSTREAM) is store:
                found.append(scheme)
        assert found == schemes.split()

    def test_strict_is_the_default(self) -> None:
        location = ImageLocation(f"cinder://fast2/{VOLUME_IDS[0]}")
        assert store_of_location(location, catalogue=self.catalogue) == self.catalogue.get("fast2")

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_location_that_is_no_url_is_in_no_store(self, policy: Policy) -> None:
        location = ImageLocation("cinder://fast[/x")
        assert store_of_location(location, catalogue=self.catalogue, policy=policy) is None

    @given(store_catalogues(), image_locations())
    def test_a_store_without_a_prefix_has_no_location_for_glance(
        self, catalogue: StoreCatalogue, location: ImageLocation
    ) -> None:
        store = store_of_location(location, catalogue=catalogue, policy=Policy.UPSTREAM)
        assert store is None or (store.prefix and location.url.startswith(store.prefix))

    @given(store_catalogues(), image_locations())
    def test_under_the_strict_rules_the_whole_name_of_the_store_decides(
        self, catalogue: StoreCatalogue, location: ImageLocation
    ) -> None:
        store = store_of_location(location, catalogue=catalogue)
        if store is not None:
            assert store.name in (location.metadata.get("store"), _store_in(location.url))


def _store_in(url: str) -> str | None:
    try:
        return parse_location(url).store
    except InvalidLocation:
        return None
