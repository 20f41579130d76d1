"""What another tenant left on a volume shows nowhere, whatever the protocol makes of a request to clear it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.brick import BrickAttacher
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Hole, Limits, read_device, write_stream
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.checked_file import CheckedFile
from imagevol_core import ZeroHandling
from tests.san.guest.storage import MIB, Volume

DATA = b"data" * (MIB // 4)
OLD = b"\xff"
IMAGE: list[bytes | Hole] = [*[DATA] * 16, Hole(160 * MIB), *[DATA] * 16]
SIZE_BYTES = 192 * MIB


def parts(volume: Volume) -> Iterator[bytes]:
    """The image, and zeros after it, in parts of 1 MiB."""
    for piece in IMAGE:
        yield from [bytes(MIB)] * (piece.length // MIB) if isinstance(piece, Hole) else [piece]
    yield from [bytes(MIB)] * ((volume.size_bytes - SIZE_BYTES) // MIB)


def wrong(volume: Volume, held: Iterable[bytes]) -> int:
    """How many of these parts are not what they should be."""
    return sum(part != wanted for part, wanted in zip_longest(held, parts(volume)))


def attachment(volume: Volume, connection: Mapping[str, Any]) -> Attachment:
    return Attachment(id="an-attachment", volume_id=volume.name, connection=connection)


@pytest.fixture(scope="module")
def qcow2() -> Iterator[Path]:
    """The image, in another format."""
    raw, path = Path("/tmp/image.raw"), Path("/tmp/image.qcow2")
    raw.touch()
    os.truncate(raw, SIZE_BYTES)
    with PathDevice.open(raw, writable=True) as device:
        write_stream(IMAGE, device, size_bytes=SIZE_BYTES, zeros=ZeroHandling.SKIP, algorithms=())
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    raw.unlink()
    yield path
    path.unlink()


def test_a_stream_over_old_data_leaves_the_image_and_zeros(
    volume: Volume, connection: Mapping[str, Any], attacher: BrickAttacher
) -> None:
    volume.fill(OLD)
    with attacher.open(attachment(volume, connection), mode=AccessMode.WRITE) as device:
        report = write_stream(IMAGE, device, size_bytes=SIZE_BYTES, zeros=ZeroHandling.PUNCH, algorithms=())
    left = wrong(volume, volume.parts())
    print(f"{report.zeroed_bytes // MIB} MiB reported as cleared, {left} MiB of old data")
    assert left == 0
    assert report.zeroed_bytes == volume.size_bytes - 32 * MIB
    with attacher.open(attachment(volume, connection), mode=AccessMode.READ) as device:
        assert b"".join(read_device(device, offset=volume.size_bytes - MIB, length=MIB)) == bytes(MIB)


def test_a_conversion_over_old_data_leaves_the_image_and_zeros(
    volume: Volume, connection: Mapping[str, Any], attacher: BrickAttacher, qcow2: Path
) -> None:
    volume.fill(OLD)
    converter = QemuConverter()
    checked = CheckedFile.check(qcow2, disk_format="qcow2", converter=converter, digest=None, what="the image")
    with checked as file, attacher.open(attachment(volume, connection), mode=AccessMode.WRITE) as device:
        file.convert_onto(device, converter=converter, proof=None, limits=Limits())
    assert wrong(volume, volume.parts()) == 0
