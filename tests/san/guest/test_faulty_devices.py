"""Devices that fail, lie, hang, grow or have no room: other volumes keep their data, nothing is left."""

from __future__ import annotations

import subprocess
import time
from functools import partial
from pathlib import Path

import attrs
import pytest

from imagevol_adapters.ports import AccessMode
from imagevol_core import GIB, ContentMismatch, ImagevolError, StorageError
from tests.san.guest.breaking import always, drop_packets, restore_packets
from tests.san.guest.conftest import timeout
from tests.san.guest.faulty import (
    STALL_SECONDS,
    attacher,
    attachments_of,
    digest_of,
    draws,
    get,
    image,
    put,
    recovered,
    trying,
)
from tests.san.guest.san_cinder import SanVolumes
from tests.san.guest.storage import GROUP, MIB, TARGETS, command

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


def test_a_volume_that_is_extended_while_it_is_attached_shows_its_new_size(volumes: SanVolumes) -> None:
    pieces = image(draws("extended"))
    volume_id = put(volumes, pieces, host=attacher())
    with trying("extended while attached", f"attach by {volumes.protocol}") as tried:
        host = attacher()
        attachment = volumes.attach(volume_id, connector=host.connector(), mode=AccessMode.READ)
        with host.open(attachment, mode=AccessMode.READ) as device:
            assert device.size_bytes == GIB
            volumes.grow(volume_id, size_gib=2)
            larger = attrs.evolve(attachment, size_bytes=2 * GIB)
            with host.open(larger, mode=AccessMode.READ, keep=lambda: True) as again:
                assert again.size_bytes == 2 * GIB
            assert device.size_bytes == 2 * GIB
        volumes.detach(attachment)
        assert get(volumes, volume_id, host=attacher()) == digest_of(pieces)
        tried.outcome = "whole"


def test_a_device_that_hangs_when_it_is_let_go_stalls_and_is_taken_back_once_it_answers(
    volumes: SanVolumes,
) -> None:
    volume_id = put(volumes, image(draws("hangs")), host=attacher())
    volumes.set_readonly(volume_id, readonly=False)
    with trying("device hangs when it is let go", f"attach by {volumes.protocol}") as tried:
        host = attacher()
        attachment = volumes.attach(volume_id, connector=host.connector(), mode=AccessMode.WRITE)
        real = volumes.real[volume_id]
        paths = []

        def hang() -> None:
            with host.open(attachment, mode=AccessMode.WRITE) as device:
                paths.append(Path(device.path))
                with paths[0].open("r+b", buffering=0) as buffered:
                    buffered.write(b"x" * MIB)  # into the page cache, which is flushed at the end
                    tried.broken()
                    real.layer.hang()

        with pytest.raises(ImagevolError) as caught:
            hang()
        tried.failed(caught.value, names=volume_id)
        assert host.is_left(attachment)
        real.layer.go_on()
        time.sleep(STALL_SECONDS)
        recovered(volumes, volume_id)


@pytest.mark.usefixtures("other")
def test_one_of_two_paths_can_be_dropped() -> None:
    subprocess.run(["multipathd"], check=True)
    volumes = SanVolumes(protocol="iscsi", paths=2)
    timeout(RECOVERY_SECONDS)
    draw = draws("paths")
    pieces = image(draw)
    host = attacher(stall_seconds=60, multipath=True)
    with always(volumes.close), always(restore_packets), trying("one of two paths dropped", "put by iscsi") as tried:
        dropped = []

        def drop() -> None:
            dropped.append(volumes.last_id)
            drop_packets(volumes.last.addresses[0])

        volume_id = put(volumes, pieces, host=host, at=draw.randrange(2, 20), then=drop)
        restore_packets()
        assert get(volumes, volume_id, host=host) == digest_of(pieces)
        tried.outcome = "whole"
