"""Volumes that grow while they are connected, or cannot be disconnected: the error says so, and nothing is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import pytest

from imagevol_adapters.ports import AccessMode
from imagevol_adapters.transfers import attached
from imagevol_core import GIB, AttachFailed, ImagevolError
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
    taken_back,
    trying,
)
from tests.san.guest.san_cinder import SanVolumes
from tests.san.guest.storage import MIB

PROGRAMS = {"iscsi": Path("/usr/sbin/iscsiadm"), "nvme-tcp": Path("/usr/sbin/nvme")}

pytestmark = pytest.mark.usefixtures("breakable")


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


@contextmanager
def missing(program: Path) -> Iterator[None]:
    """Let a program not be there while the context lasts."""
    hidden = program.rename(program.with_name(f"{program.name}.hidden"))
    try:
        yield
    finally:
        hidden.rename(program)


def test_a_volume_that_cannot_be_disconnected_stays_attached_until_it_is_taken_back(volumes: SanVolumes) -> None:
    pieces, program = image(draws("cannot")), PROGRAMS[volumes.protocol]
    volume_id = put(volumes, pieces, host=attacher())
    with trying("cannot be disconnected", f"attach by {volumes.protocol}") as tried:
        with ExitStack() as broken:

            def attach() -> None:
                with attached(volume_id, mode=AccessMode.READ, volumes=volumes, attacher=attacher()):
                    tried.broken()
                    broken.enter_context(missing(program))

            with pytest.raises(AttachFailed) as caught:
                attach()
            tried.failed(caught.value, names=volume_id)
            (kept,) = attachments_of(volumes, volume_id)
            assert [each.split()[0] for each in caught.value.leftovers] == ["device", "attachment"]
            with pytest.raises(AttachFailed):
                attacher().disconnect(kept)
        taken_back(volumes, volume_id)
    assert get(volumes, volume_id, host=attacher()) == digest_of(pieces)
