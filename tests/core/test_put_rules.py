"""What stands against storing an image file as it is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagevol_core import Policy, PutWishes, Store, check_put
from imagevol_core.stores import PUT_RULES

STORES = (
    Store(name="fast", kind="cinder", volume_type="ssd"),
    Store(name="any", kind="imagevol"),
    Store(name="local", kind="file"),
)
GOOD = PutWishes(
    store="fast",
    store_names=("fast", "any", "local"),
    stores=STORES,
    volume_type="ssd",
    owner="theirs",
    project_id="mine",
    owner_exists=True,
)

# For each rule, what it alone finds fault with, and what it says.  A new rule is a new row here.
BREAKS = {
    "put-store-exists": (
        replace(GOOD, store="nosuch"),
        "Glance has no store 'nosuch': give one of 'fast', 'any', 'local'",
    ),
    "store-of-volumes": (
        replace(GOOD, store="local"),
        "store 'local' is of kind file and keeps no images in volumes",
    ),
    "store-of-put-type": (
        replace(GOOD, volume_type="hdd"),
        (
            "the volumes of store 'fast' have type 'ssd', and this one would have type 'hdd': give the volume type "
            "'ssd', or another store"
        ),
    ),
    "owner-exists": (
        replace(GOOD, owner_exists=False),
        "Keystone has no project with the id 'theirs': see `openstack project list`",
    ),
}


def wrong(wishes: PutWishes) -> list[tuple[str, str]]:
    return [(verdict.rule, verdict.text) for verdict in check_put(wishes) if verdict.faults]


def test_each_rule_is_here_and_nothing_is_wrong_with_the_good_wishes() -> None:
    assert [rule.id for rule in PUT_RULES[Policy.STRICT]] == list(BREAKS)
    assert wrong(GOOD) == []


@pytest.mark.parametrize("rule", BREAKS)
def test_each_rule_of_put_finds_its_fault_alone_and_says_why(rule: str) -> None:
    wishes, text = BREAKS[rule]
    assert wrong(wishes) == [(rule, text)]


@pytest.mark.parametrize(
    "wishes",
    [
        PutWishes(),
        PutWishes(store="fast"),
        PutWishes(store="fast", store_names=("fast",), volume_type="hdd"),
        replace(GOOD, volume_type=None),
        replace(GOOD, store="any", volume_type="hdd"),
        replace(GOOD, owner="mine", owner_exists=False),
    ],
)
def test_a_wish_that_is_not_asked_for_or_not_known_is_no_fault(wishes: PutWishes) -> None:
    assert wrong(wishes) == []


def test_a_glance_with_one_store_has_no_store_by_name() -> None:
    assert [rule for rule, _ in wrong(PutWishes(store="fast", store_names=()))] == ["put-store-exists"]


@pytest.mark.parametrize(
    "owner, accepted",
    [
        ("0123456789abcdef0123456789abcdef", True),
        ("01234567-89ab-cdef-0123-456789abcdef", True),
        ("not-a-project", False),
        ("", False),
    ],
)
def test_a_project_that_keystone_does_not_tell_of_must_look_like_an_id(owner: str, accepted: bool) -> None:
    assert (wrong(replace(GOOD, owner=owner, owner_exists=None)) == []) is accepted


@pytest.mark.parametrize(
    "wishes, texts",
    [
        (
            GOOD,
            [
                "Glance has store 'fast'",
                "store 'fast' keeps images in volumes",
                "the volumes of store 'fast' have type 'ssd'",
                "Keystone has project 'theirs'",
            ],
        ),
        (
            PutWishes(),
            [
                "no store is asked for",
                "no details of the store are known",
                "the type of the store's volumes, or of this one, is not known",
                "the owner is the project of the credentials",
            ],
        ),
    ],
)
def test_each_rule_says_what_it_saw(wishes: PutWishes, texts: list[str]) -> None:
    assert [verdict.text for verdict in check_put(wishes)] == texts


def test_what_the_services_do_not_tell_is_said() -> None:
    known, *_, owner = check_put(PutWishes(store="fast", owner="0123456789abcdef0123456789abcdef"))
    assert known.text == "Glance does not say which stores it has"
    assert owner.text == (
        "Keystone does not tell these credentials whether there is a project '0123456789abcdef0123456789abcdef'"
    )
    assert wrong(PutWishes(store="fast", store_names=(), owner="demo")) == [
        ("put-store-exists", "Glance has one store without a name: leave out the store 'fast'"),
        (
            "owner-exists",
            (
                "Keystone does not tell these credentials whether there is a project 'demo', which does not look like "
                "an id: give the id of a project"
            ),
        ),
    ]
