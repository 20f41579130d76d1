"""What an audit keeps gives back what was put in, whatever the ids, sizes and URLs are."""

from __future__ import annotations

import sys
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import Digest, Image, ImageLocation, parse_location
from imagevol_core.auditing.ledger import IdTable, Ledger

IDS = st.uuids().map(str) | st.text(max_size=40) | st.uuids().map(lambda each: str(each).upper())
VOLUMES = [str(UUID(int=number)) for number in range(3)]


@given(st.lists(IDS, max_size=60))
def test_an_id_has_one_number_and_a_number_one_id(ids: list[str]) -> None:
    table = IdTable()
    numbers = [table.add(each) for each in ids]
    assert len(table) == len(set(ids)) == len(set(numbers))
    assert [table.number(each) for each in ids] == numbers
    assert [table.text(number) for number in numbers] == ids


def test_a_table_of_the_ledger_grows_when_it_is_full() -> None:
    table, ids = IdTable(), [str(UUID(int=number * 7919)) for number in range(3000)]
    assert [table.add(each) for each in ids] == list(range(3000))
    assert [table.number(each) for each in ids] == list(range(3000))
    assert table.number(str(UUID(int=1))) is None
    assert table.number("odd") is None


def test_an_id_takes_few_bytes() -> None:
    table = IdTable()
    for number in range(20_000):
        table.add(str(UUID(int=number)))
    assert sum(sys.getsizeof(getattr(table, name)) for name in ("_keys", "_slots")) < 32 * 20_000


@st.composite
def images(draw: st.DrawFn) -> Image:
    urls = st.sampled_from([f"cinder://{store}{volume}" for store in ("", "fast/", "slow/") for volume in VOLUMES])
    said = st.sampled_from([{}, {"store": "fast"}, {"store": "slow"}])
    located = draw(st.lists(st.tuples(urls, said), max_size=3, unique_by=lambda each: each[0]))
    return Image(
        id=draw(IDS),
        owner=draw(st.none() | st.text(max_size=3)),
        size_bytes=draw(st.none() | st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**200])),
        digest=draw(st.none() | st.just(Digest("sha512", "ab"))),
        locations=tuple(ImageLocation(url, metadata) for url, metadata in located),
    )


@given(st.lists(images(), max_size=6, unique_by=lambda each: each.id))
def test_a_location_comes_back_as_it_was_noted(noted: list[Image]) -> None:
    ledger = Ledger()
    expected = []
    for image in noted:
        ledger.list_image(image.id)
        for at, location in enumerate(image.locations):
            named = parse_location(location.url)
            ledger.claim(image, location, named, others=at, digest=image.digest)
            told = (image.id, image.owner, image.size_bytes, image.digest, location.url)
            expected.append((named.volume_id, (*told, named.store, location.metadata.get("store"), at)))
    for volume_id in VOLUMES:
        found = [
            (
                *(each.image_id, each.owner, each.size_bytes, each.digest, each.url),
                *(each.url_store, each.said_store, each.others),
            )
            for each in ledger.claims(volume_id)
        ]
        assert found == sorted(
            (told for named_id, told in expected if named_id == volume_id), key=lambda told: (told[0], told[4])
        )
    claimed = {volume_id for volume_id, _ in expected}
    assert {volume_id for volume_id, _ in ledger.unlisted()} == claimed
    for volume_id in VOLUMES[:1]:
        ledger.list_volume(volume_id)
    assert {volume_id for volume_id, _ in ledger.unlisted()} == claimed - {VOLUMES[0]}
    assert ledger.claims("no such volume") == []


@pytest.mark.parametrize("image_id", [None, "i", VOLUMES[0]])
def test_what_was_not_listed_is_not_known(image_id: str | None) -> None:
    ledger = Ledger()
    assert not ledger.image_listed(image_id)
    assert not ledger.image_settled(image_id)


def test_an_import_is_noted_of_its_image() -> None:
    ledger = Ledger()
    for image_id in ("i", "j"):
        ledger.list_image(image_id)
    ledger.import_image("i")
    assert [ledger.image_importing(image_id) for image_id in ("i", "j", "k", None)] == [True, False, False, False]
