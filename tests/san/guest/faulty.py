"""What the tests of faults share: transfers that are broken at a place drawn from the seed, and what came of them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imagevol_adapters.brick import BrickAttacher
from imagevol_adapters.engine import Limits
from imagevol_adapters.ports import Attachment
from imagevol_adapters.transfers import StoreSettings, open_image_volume, store_image
from imagevol_core import FreshThin, ImagevolError
from tests.san.guest.breaking import connections, remaining
from tests.san.guest.san_cinder import SanVolumes
from tests.san.guest.storage import MIB

TRIES = Path(__file__).parents[3] / "tries.jsonl"
SEED = int(os.environ.get("IMAGEVOL_SEED", "1"))
STALL_SECONDS = 30.0  # of a transfer; on a busy host, the source too needs some
CONNECT_SECONDS = 90.0  # of connecting and disconnecting: os-brick runs many programs, here emulated
MOST_SECONDS = 300.0  # for what fails: its deadline, and what it then cleans up
PIECES = 48  # of 1 MiB, more than is read ahead
IMAGE_ID = "5e0a2f7c-9d51-4d7d-8a4f-0d4e3f1c2b6a"
SETTINGS = StoreSettings(
    hash_algorithm="sha256", checksum=False, blake3=False, zero_proof=lambda path: FreshThin(path=path)
)


@dataclass
class Try:
    """One fault, and what came of it."""

    fault: str
    what: str
    outcome: str = ""
    seconds: float = 0
    error: ImagevolError | None = None
    started: float = field(default_factory=time.monotonic)

    def failed(self, error: ImagevolError, *, names: str) -> None:
        """Take the error, which must have come in time, in one line, and name what it is about."""
        self.outcome, self.error, self.seconds = "error", error, time.monotonic() - self.started
        print(f"{self.fault}: after {self.seconds:.1f} s {type(error).__name__}: {error}", flush=True)
        assert names in str(error), f"{names} is not in: {error}"
        assert "\n" not in str(error)
        assert self.seconds < MOST_SECONDS

    def broken(self) -> None:
        """From now on the time counts."""
        self.started = time.monotonic()


@contextmanager
def trying(fault: str, what: str) -> Iterator[Try]:
    """Try a fault while the context lasts; at its end nothing of it may be left, and it is counted."""
    before = connections()
    tried = Try(fault, what)
    yield tried
    left = remaining(before)
    print(f"{fault}, {what}: {tried.outcome}; left: {sorted(left)}", flush=True)
    assert not left
    assert tried.outcome
    row = {"fault": fault, "what": what, "outcome": tried.outcome, "left_behind": len(left), "seed": SEED}
    with TRIES.open("a") as file:
        file.write(json.dumps(row) + "\n")


def draws(name: str) -> random.Random:
    """Random numbers for a test, the same for the same seed."""
    return random.Random(f"{SEED} {name}")


def image(draw: random.Random) -> list[bytes]:
    """The data of an image."""
    return [draw.randbytes(MIB) for _ in range(PIECES)]


def digest_of(pieces: list[bytes]) -> str:
    """The digest of an image."""
    return hashlib.sha256(b"".join(pieces)).hexdigest()


def attacher(stall_seconds: float = CONNECT_SECONDS, *, multipath: bool = False) -> BrickAttacher:
    """Ours, over os-brick."""
    return BrickAttacher(root_helper="", size_seconds=90, stall_seconds=stall_seconds, multipath=multipath)


def put(
    volumes: SanVolumes,
    pieces: list[bytes],
    *,
    host: BrickAttacher,
    at: int = -1,
    then: Callable[[], object] = lambda: None,
) -> str:
    """Store an image in a new volume, and break something before a piece is given; give the ID of the volume."""

    def source() -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number == at:
                then()
            yield piece

    stored = store_image(
        source(),
        image_id=IMAGE_ID,
        image_owner=None,
        size_bytes=PIECES * MIB,
        volumes=volumes,
        attacher=host,
        settings=SETTINGS,
        limits=Limits(stall_seconds=STALL_SECONDS),
    )
    return stored.volume.id


def get(
    volumes: SanVolumes,
    volume_id: str,
    *,
    host: BrickAttacher,
    at: int = -1,
    then: Callable[[], object] = lambda: None,
) -> str:
    """Read an image out of its volume, and break something after a part of it; give its digest."""
    made = hashlib.sha256()
    opened = open_image_volume(volume_id, volumes=volumes, attacher=host, limits=Limits(stall_seconds=STALL_SECONDS))
    with opened as content:
        for number, part in enumerate(content.parts):
            if number == at:
                then()
            made.update(part)
    return made.hexdigest()


def recovered(volumes: SanVolumes, volume_id: str, *, multipath: bool = False) -> None:
    """Do what the next process on this host does with what a transfer has left: disconnect, and take it back."""
    taken_back(volumes, volume_id, multipath=multipath)
    if volume_id in volumes.volumes:
        volumes.set_readonly(volume_id, readonly=False)
        volumes.delete(volume_id)


def taken_back(volumes: SanVolumes, volume_id: str, *, multipath: bool = False) -> None:
    """Take back what is left attached of a volume, so that it can be attached again."""
    for attachment in attachments_of(volumes, volume_id):
        attacher(stall_seconds=MOST_SECONDS, multipath=multipath).disconnect(attachment)
        volumes.detach(attachment)


def attachments_of(volumes: SanVolumes, volume_id: str) -> list[Attachment]:
    """The attachments that Cinder still has of a volume."""
    return [each for each in volumes.attachments.values() if each.volume_id == volume_id]
