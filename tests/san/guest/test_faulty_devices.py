"""Devices that fail, lie, hang, grow or have no room: other volumes keep their data, nothing is left."""

from __future__ import annotations

from functools import partial

import pytest

from imagevol_core import ContentMismatch, StorageError
from tests.san.guest.breaking import always
from tests.san.guest.faulty import (
    attacher,
    attachments_of,
    digest_of,
    draws,
    get,
    image,
    put,
    trying,
)
from tests.san.guest.san_cinder import SanVolumes
from tests.san.guest.storage import GROUP, TARGETS, command

RECOVERY_SECONDS = 5

pytestmark = pytest.mark.usefixtures("breakable")


@pytest.mark.parametrize("what", ["put", "get"])
def test_a_device_that_fails_ends_in_an_error_and_is_let_go(volumes: SanVolumes, what: str) -> None:
    draw = draws(f"error {what}")
    pieces, failing = image(draw), []
    volume_id = put(volumes, pieces, host=attacher()) if what == "get" else ""
    with trying("dm-error", f"{what} by {volumes.protocol}") as tried:

        def fail() -> None:
            tried.broken()
            failing.append(volumes.last_id)
            volumes.last.layer.fail()

        def run() -> None:
            if what == "put":
                put(volumes, pieces, host=attacher(), at=draw.randrange(2, 20), then=fail)
            else:
                get(volumes, volume_id, host=attacher(), at=draw.randrange(4), then=fail)

        with pytest.raises(StorageError) as caught:
            run()
        tried.failed(caught.value, names=failing[0])
        assert caught.value.leftovers == ()
        assert not attachments_of(volumes, failing[0])
    if what == "get":
        volumes.last.layer.whole()
        assert get(volumes, volume_id, host=attacher()) == digest_of(pieces)
    else:
        assert not volumes.volumes


@pytest.mark.parametrize("lie", ["flip", "drop"])
def test_a_device_that_lies_is_found_when_it_is_read(volumes: SanVolumes, lie: str) -> None:
    draw = draws(lie)
    pieces = image(draw)
    with trying(f"dm-flakey: {lie}", f"put and get by {volumes.protocol}") as tried:

        def begin() -> None:
            getattr(volumes.last.layer, lie)()

        volume_id = put(volumes, pieces, host=attacher(), at=draw.randrange(2, 20), then=begin)
        volumes.last.layer.whole()
        with pytest.raises(ContentMismatch) as caught:
            get(volumes, volume_id, host=attacher())
        tried.failed(caught.value, names=volume_id)


def _note(volumes: SanVolumes, made: list[str]) -> None:
    made.append(volumes.last_id)


@pytest.mark.usefixtures("other")
def test_a_full_pool_ends_in_an_error() -> None:
    command("lvcreate", "--quiet", "--yes", "-L", "24M", "--errorwhenfull", "y", "-T", f"{GROUP}/small")
    with always(lambda: command("lvremove", "--quiet", "--yes", f"{GROUP}/small")):
        for protocol in TARGETS:
            volumes, made = SanVolumes(protocol=protocol, pool="small"), list[str]()
            with always(volumes.close), trying("pool full", f"put by {protocol}") as tried:
                noted = partial(_note, volumes, made)
                with pytest.raises(StorageError) as caught:
                    put(volumes, image(draws("full")), host=attacher(), at=1, then=noted)
                tried.failed(caught.value, names=made[0])
                assert caught.value.leftovers == ()
                assert not volumes.volumes
