"""What trying a store and looking at its host found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imagevol_core import (
    Policy,
    Requirement,
    Result,
    Store,
    StoreCatalogue,
    StoreHost,
    StoreTrial,
    check_host,
    check_stores,
    check_trial,
)
from imagevol_core.stores import HOST_RULES, TRIAL_RULES

HOST = StoreHost(
    name="node",
    address="192.0.2.7",
    loopback=False,
    lock_path="/var/lib/glance/tmp",
    rootwrap_config="/etc/glance/rootwrap.conf",
    rootwrap_config_exists=True,
    privsep_helper="privsep-helper",
    privsep_helper_exists=True,
)
TRIAL = StoreTrial(volume_types=frozenset({"ssd"}), directories={"/images": None}, host=HOST)
FAST = Store(name="fast", kind="cinder", volume_type="ssd")
USER = (
    "cinder_store_auth_address",
    "cinder_store_user_name",
    "cinder_store_password",
    "cinder_store_project_name",
)

# For each rule, what it alone finds fault with, and what it says.  A new rule is a new row here.
BREAKS = {
    "signs-in": (replace(TRIAL, sign_in_error="Keystone refuses user X."), "Keystone refuses user X"),
    "directories-usable": (
        replace(TRIAL, directories={"/images": None, "/more": "it is not a directory", "/most": "it is full"}),
        "/more: it is not a directory; /most: it is full",
    ),
    "lock-path-set": (
        replace(TRIAL, host=replace(HOST, lock_path=None)),
        (
            "os-brick cannot connect volumes without it: set lock_path in [oslo_concurrency] to a directory that all "
            "programs on this host share"
        ),
    ),
    "rootwrap-config-exists": (
        replace(TRIAL, host=replace(HOST, rootwrap_config_exists=False)),
        (
            "rootwrap_config is /etc/glance/rootwrap.conf, and there is no such file: install it with Glance, or set "
            "rootwrap_config to the right one"
        ),
    ),
    "privsep-helper-exists": (
        replace(TRIAL, host=replace(HOST, privsep_helper_exists=False)),
        (
            "os-brick becomes root by privsep-helper, which is not found: install oslo.privsep, or set helper_command "
            "in [privsep_osbrick]"
        ),
    ),
    "address-reachable": (
        replace(TRIAL, host=replace(HOST, address="127.0.1.1", loopback=True)),
        (
            "this host's name node resolves to 127.0.1.1, and Cinder is given that address. Backends on other hosts "
            "that export volumes to an address cannot reach this host: map the name to its address in /etc/hosts"
        ),
    ),
}
RULES: list[Requirement[Any]] = [*TRIAL_RULES[Policy.STRICT], *HOST_RULES[Policy.STRICT]]


def check(trial: StoreTrial, *, seen_by_others: list[str] | None = None) -> Any:
    return check_stores(
        StoreCatalogue(stores=(FAST,), default="fast"),
        credentials={"fast": USER},
        volume_types=seen_by_others,
        trials={"fast": trial},
    )


class TestEveryRule:
    def test_a_good_trial_has_no_fault_and_each_rule_says_what_is_right(self) -> None:
        assert {verdict.rule: (verdict.ok, verdict.text) for verdict in check_trial(TRIAL, store="fast")} == {
            "signs-in": (True, "Keystone and Cinder accept its credentials"),
            "directories-usable": (True, "/images"),
            "lock-path-set": (True, "os-brick keeps its locks in /var/lib/glance/tmp"),
            "rootwrap-config-exists": (True, "rootwrap_config is /etc/glance/rootwrap.conf"),
            "privsep-helper-exists": (True, "os-brick becomes root by privsep-helper"),
            "address-reachable": (True, "Cinder is given 192.0.2.7"),
        }
        assert {rule.id for rule in RULES} == set(BREAKS)

    @pytest.mark.parametrize("rule", BREAKS)
    def test_each_rule_of_a_trial_finds_its_fault_alone_and_says_why(self, rule: str) -> None:
        trial, text = BREAKS[rule]
        (wrong,) = [verdict for verdict in check_trial(trial, store="fast") if verdict.faults]
        assert (wrong.rule, wrong.text, wrong.subject) == (rule, text, "fast")
        assert wrong.ok == (rule == "address-reachable")

    def test_a_part_of_a_trial_that_was_not_needed_is_no_fault(self) -> None:
        assert [verdict.text for verdict in check_trial(StoreTrial(), store="local")] == [
            "nothing was signed in to",
            "it has no directory",
        ]
        two = StoreTrial(directories={"/images": None, "/more": None})
        assert check_trial(two, store="local")[1].text == "/images, /more"

    def test_a_host_whose_name_has_no_address_is_told(self) -> None:
        (wrong,) = [each for each in check_host(replace(HOST, address=None), store="fast") if each.faults]
        assert (wrong.rule, wrong.result) == ("address-reachable", Result.WARNS)
        assert "has no address" in wrong.text

    def test_directories_that_change_later_change_no_trial(self) -> None:
        directories: dict[str, str | None] = {"/images": None}
        trial = StoreTrial(directories=directories)
        directories["/images"] = "gone"
        assert dict(trial.directories) == {"/images": None}


class TestStores:
    def test_a_store_that_was_tried_and_has_no_fault_works(self) -> None:
        assert check(TRIAL).faults == ()

    def test_what_the_credentials_of_the_store_see_counts_and_not_what_others_see(self) -> None:
        trial = replace(TRIAL, volume_types=frozenset({"hdd"}))
        assert [fault.rule for fault in check(trial, seen_by_others=["ssd"]).faults] == ["type-exists"]

    def test_a_store_that_cannot_sign_in_has_no_type_that_is_known_to_exist(self) -> None:
        trial = replace(TRIAL, volume_types=None, sign_in_error="Keystone: 401")
        checked = check(trial, seen_by_others=["ssd"])
        assert [(fault.rule, fault.subject) for fault in checked.faults] == [
            ("type-exists", "fast"),
            ("signs-in", "fast"),
        ]
        assert [verdict.rule for verdict in checked.disabling] == ["type-exists"]

    def test_other_credentials_are_asked_for_a_store_without_its_own(self) -> None:
        trial = replace(TRIAL, volume_types=None, not_tried="it has none")
        assert check(trial, seen_by_others=["ssd"]).faults == ()
        assert [fault.rule for fault in check(trial, seen_by_others=["hdd"]).faults] == ["type-exists"]

    def test_a_store_with_a_fault_of_its_trial_neither_adds_nor_deletes(self) -> None:
        (store,) = check(replace(TRIAL, host=replace(HOST, lock_path=None))).catalogue.stores
        assert (store.can_add, store.can_delete) == (False, False)
