"""How fast this host is: its digests, and a volume of the smallest size from its creation to its deletion."""

from __future__ import annotations

import hashlib
import mmap
import random
import time
from collections.abc import Callable, Iterable, Mapping

import attrs

from imagevol_adapters.ports import AccessMode, Attacher, Device, VolumeService
from imagevol_adapters.transfers.attaching import attached, refuse_encrypted
from imagevol_adapters.trial_volumes import TrialVolumes
from imagevol_core import DeviceFailed, ImagevolError, Volume

__all__ = ["ALGORITHMS", "Trial", "digest_rates", "try_volume"]

ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
"""What Glance can be told to make of images, and what it makes beside it."""

_NAME = "imagevol-doctor"
_DIGEST_SECONDS = 0.1
_PART_BYTES = 4 << 20


@attrs.frozen(kw_only=True)
class Trial:
    """What trying a volume found.

    Args:
        measured: the times and speeds, by the names of `Rates`, as far as it came.
        volume: the volume when it was available; None if it never was.
        error: what failed; None if nothing did.
        same: whether what was read back was what had been written; None if it did not come to that.
    """

    measured: Mapping[str, float]
    volume: Volume | None = None
    error: str | None = None
    same: bool | None = None


def digest_rates(algorithms: Iterable[str] = ALGORITHMS, *, seconds: float = _DIGEST_SECONDS) -> dict[str, float]:
    """Measure how many bytes a second one core takes into each digest; what else runs on the host does not count.

    Args:
        algorithms: as hashlib names them; those that it does not know are left out.
        seconds: of computing, at least, for each.
    """
    data = bytes(1 << 20)
    rates = {}
    for name in algorithms:
        try:
            digest = hashlib.new(name, usedforsecurity=False)
        except ValueError:
            continue
        done, begun = 0, time.thread_time()
        while (spent := time.thread_time() - begun) < seconds or not done:
            digest.update(data)
            done += len(data)
        rates[name] = done / max(spent, 1e-9)
    return rates


def try_volume(
    volumes: VolumeService,
    attacher: Attacher,
    *,
    volume_type: str | None = None,
    size_bytes: int = 64 << 20,
    clock: Callable[[], float] = time.monotonic,
) -> Trial:
    """Create a volume of 1 GiB, attach, write, read back, detach, clone and delete it, and measure each step.

    A volume of an encrypted type fails, because no image is stored in one.  What fails leaves nothing behind, or the
    error of the trial names what it left.  So does an interrupt, which is raised.

    Args:
        volumes: where it is created.
        attacher: connects it to this host.
        volume_type: its type; Cinder's default when None.
        size_bytes: how much is written and read back, rounded down to parts of 4 MiB if the device is smaller.
        clock: counts seconds.
    """
    steps, error = _Steps(clock), None
    trial = TrialVolumes(volumes=volumes, procedure="doctor", volume_type=volume_type, clock=clock)
    try:
        _tried(steps, trial, attacher, size_bytes)
    except ImagevolError as failure:
        error = str(failure)
    measured = {**trial.seconds, **steps.measured}
    return Trial(measured=measured, volume=steps.volume, error=error, same=steps.same)


@attrs.define
class _Steps:
    """What is known so far."""

    clock: Callable[[], float]
    measured: dict[str, float] = attrs.field(factory=dict)
    volume: Volume | None = None
    same: bool | None = None

    def took(self, name: str, begun: float) -> None:
        """Keep how long something took."""
        self.measured[name] = self.clock() - begun

    def moved(self, name: str, size_bytes: int, begun: float) -> None:
        """Keep how fast bytes were moved."""
        self.measured[name] = size_bytes / max(self.clock() - begun, 1e-6)


def _tried(steps: _Steps, trial: TrialVolumes, attacher: Attacher, size_bytes: int) -> None:
    volumes = trial.volumes
    with trial.created() as steps.volume:
        refuse_encrypted(steps.volume)
        begun = steps.clock()
        with attached(steps.volume.id, mode=AccessMode.WRITE, volumes=volumes, attacher=attacher) as device:
            steps.took("attach_seconds", begun)
            steps.same = _moved(steps, device, min(size_bytes, device.size_bytes // _PART_BYTES * _PART_BYTES))
            begun = steps.clock()
        volumes.wait(steps.volume.id)
        steps.took("detach_seconds", begun)
        with trial.cloned(steps.volume.id):
            pass


def _moved(steps: _Steps, device: Device, size_bytes: int) -> bool:
    """Write parts that are all different, flush, read them back, and tell whether they are the same."""
    with mmap.mmap(-1, _PART_BYTES) as written, mmap.mmap(-1, _PART_BYTES) as read:  # aligned, for direct access
        written[:] = random.Random(_NAME).randbytes(_PART_BYTES)  # noqa: S311 - it is no secret, and not compressible
        begun = steps.clock()
        for offset in range(0, size_bytes, _PART_BYTES):
            written[:8] = offset.to_bytes(8)
            _all(device.write, offset, written)
        device.flush()
        steps.moved("write_bytes_per_second", size_bytes, begun)
        begun, same = steps.clock(), True
        for offset in range(0, size_bytes, _PART_BYTES):
            _all(device.readinto, offset, read)
            same = same and read[:8] == offset.to_bytes(8) and read[8:] == written[8:]
        steps.moved("read_bytes_per_second", size_bytes, begun)
        return same


def _all(move: Callable[[int, memoryview], int], offset: int, buffer: mmap.mmap) -> None:
    """Move a whole part, however many steps that takes."""
    done = 0
    with memoryview(buffer) as view:
        while done < len(view):
            with view[done:] as rest:
                count = move(offset + done, rest)
            if not count:
                raise DeviceFailed(f"the device ended at byte {offset + done}")
            done += count
