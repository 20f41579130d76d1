"""Paths that are lost: the transfer goes on or ends in an error that names the volume in time, and nothing is left."""

from __future__ import annotations

import time

import pytest

from imagevol_core import DeviceStalled, StorageError
from tests.san.guest.breaking import drop_packets, restore_packets
from tests.san.guest.faulty import (
    STALL_SECONDS,
    attacher,
    digest_of,
    draws,
    get,
    image,
    put,
    recovered,
    taken_back,
    trying,
)
from tests.san.guest.san_cinder import SanVolumes

pytestmark = pytest.mark.usefixtures("breakable")


@pytest.mark.parametrize("what", ["put", "get"])
def test_a_path_that_is_back_before_the_deadline_changes_nothing(volumes: SanVolumes, what: str) -> None:
    draw = draws(f"dropped {what}")
    pieces, seconds = image(draw), draw.uniform(1, 4)
    with trying("path dropped and restored", f"{what} by {volumes.protocol}") as tried:

        def drop() -> None:
            drop_packets(volumes.last.addresses[0])
            time.sleep(seconds)
            restore_packets()

        at = draw.randrange(2, 20)
        volume_id = put(volumes, pieces, host=attacher(), at=at if what == "put" else -1, then=drop)
        read = get(volumes, volume_id, host=attacher(), at=at if what == "get" else -1, then=drop)
        assert read == digest_of(pieces)
        tried.outcome = "whole"


def test_a_path_that_stays_away_ends_in_a_stall_and_is_taken_back_once_it_is_there(volumes: SanVolumes) -> None:
    draw = draws("away")
    pieces, dropped = image(draw), []
    with trying("path dropped", f"put by {volumes.protocol}") as tried:

        def drop() -> None:
            tried.broken()
            dropped.append(volumes.last_id)
            drop_packets(volumes.last.addresses[0])

        with pytest.raises(DeviceStalled) as caught:
            put(volumes, pieces, host=attacher(), at=draw.randrange(2, 20), then=drop)
        tried.failed(caught.value, names=dropped[0])
        assert any("attachment" in left for left in caught.value.leftovers), caught.value.leftovers
        restore_packets()
        time.sleep(2 * STALL_SECONDS)
        recovered(volumes, dropped[0])


def test_a_path_that_is_away_when_a_volume_is_connected_ends_in_a_stall(volumes: SanVolumes) -> None:
    pieces = image(draws("away first"))
    volume_id = put(volumes, pieces, host=attacher())
    with trying("path dropped before", f"get by {volumes.protocol}") as tried:
        drop_packets(volumes.last.addresses[0])
        with pytest.raises(StorageError) as caught:
            get(volumes, volume_id, host=attacher())
        tried.failed(caught.value, names=volume_id)
        restore_packets()
        time.sleep(2 * STALL_SECONDS)
        taken_back(volumes, volume_id)
    assert get(volumes, volume_id, host=attacher()) == digest_of(pieces)
