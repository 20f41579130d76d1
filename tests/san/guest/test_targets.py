"""Targets that fail: the error names the volume in time, other volumes keep their data, nothing is left."""

from __future__ import annotations

import time

import pytest

from imagevol_core import StorageError
from tests.san.guest.breaking import always
from tests.san.guest.conftest import timeout
from tests.san.guest.faulty import (
    MOST_SECONDS,
    PIECES,
    STALL_SECONDS,
    attacher,
    attachments_of,
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

RECOVERY_SECONDS = 5  # after which iSCSI fails what waits; the default of 120 is longer than the deadline here

pytestmark = pytest.mark.usefixtures("breakable")


def test_an_image_is_put_and_read_back_whole(volumes: SanVolumes) -> None:
    pieces = image(draws("round"))
    with trying("none", f"put and get by {volumes.protocol}") as tried:
        volume_id = put(volumes, pieces, host=attacher())
        assert get(volumes, volume_id, host=attacher()) == digest_of(pieces)
        tried.outcome = "whole"


@pytest.mark.parametrize("recovery_seconds", [RECOVERY_SECONDS, 120])
def test_a_target_that_is_killed_while_it_is_written_ends_in_an_error(
    volumes: SanVolumes, recovery_seconds: int
) -> None:
    if recovery_seconds != 120 and volumes.protocol != "iscsi":
        pytest.skip("a timeout of iSCSI")
    timeout(recovery_seconds)
    draw = draws(f"killed {recovery_seconds}")
    pieces, at, killed = image(draw), draw.randrange(4, PIECES - 20), []
    with trying(f"target killed, I/O waits {recovery_seconds} s", f"put by {volumes.protocol}") as tried:

        def kill() -> None:
            tried.broken()
            killed.append(volumes.last_id)
            volumes.last.export.kill()

        with pytest.raises(StorageError) as caught:
            put(volumes, pieces, host=attacher(), at=at, then=kill)
        tried.failed(caught.value, names=killed[0])
        if volumes.real:  # it was left, and named
            assert any("attachment" in left for left in caught.value.leftovers), caught.value.leftovers
            volumes.last.export.restore()
            time.sleep(STALL_SECONDS)
            recovered(volumes, killed[0])
        else:
            assert caught.value.leftovers == ()


def test_a_target_that_is_killed_while_it_is_read_ends_in_an_error(volumes: SanVolumes) -> None:
    timeout(RECOVERY_SECONDS)
    draw = draws("killed reading")
    pieces = image(draw)
    volume_id = put(volumes, pieces, host=attacher())
    with trying("target killed", f"get by {volumes.protocol}") as tried:

        def kill() -> None:
            tried.broken()
            volumes.last.export.kill()

        with pytest.raises(StorageError) as caught:
            get(volumes, volume_id, host=attacher(), at=draw.randrange(8), then=kill)
        tried.failed(caught.value, names=volume_id)
        volumes.last.export.restore()
        time.sleep(STALL_SECONDS)
        named = any(left.startswith("attachment ") for left in caught.value.leftovers)
        assert named == bool(attachments_of(volumes, volume_id))
        taken_back(volumes, volume_id)
    assert get(volumes, volume_id, host=attacher()) == digest_of(pieces)


def test_a_target_that_shows_no_volume_when_it_is_connected_ends_in_an_error(volumes: SanVolumes) -> None:
    pieces = image(draws("withdrawn"))
    volume_id = put(volumes, pieces, host=attacher())
    with trying("target shows no volume", f"get by {volumes.protocol}") as tried:
        export = volumes.last.export
        export.withdraw()
        with always(export.show):
            with pytest.raises(StorageError) as caught:
                # os-brick looks three times, for a minute each time.
                get(volumes, volume_id, host=attacher(stall_seconds=MOST_SECONDS))
            tried.failed(caught.value, names=volume_id)
            assert caught.value.leftovers == ()
            assert not attachments_of(volumes, volume_id)
    assert get(volumes, volume_id, host=attacher()) == digest_of(pieces)
