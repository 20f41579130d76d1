"""What a transfer keeps of itself, so that another process can go on with it: how far it came, and what was there.

The state of a digest cannot be kept.  So what was written is read again, and held to the digests that were recorded at
each step: it counts as far as it is what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

import attrs

from imagevol_adapters.engine import (
    Digests,
    Limits,
    Observer,
    Progress,
    Steps,
    StreamWriter,
    TransferProgress,
    read_device,
)
from imagevol_adapters.journals import text_of
from imagevol_adapters.ports import Device
from imagevol_core import Digest, ZeroHandling

__all__ = ["STEP_BYTES", "UNKEPT_STEPS", "Step", "Verified", "read_again", "until", "write_in_steps"]

STEP_BYTES = 23 << 20
"""After so much data a transfer writes down how far it is, while it goes on with the next step.

So two steps can be lost, and the 16 MiB that may be read ahead of them: less than 64 MiB.
"""

UNKEPT_STEPS = 2
"""So many steps can be written and not written down."""


@attrs.frozen(kw_only=True)
class Step:
    """How far a transfer is, when all before it is on the storage.

    Attributes:
        position: how many bytes of the stream are there.
        digests: of these bytes, by algorithm.
    """

    position: int
    digests: Mapping[str, Digest]

    def to_line(self) -> dict[str, Any]:
        """Give what a journal says of it."""
        return {"at": self.position, "digests": {name: digest.value for name, digest in self.digests.items()}}

    @classmethod
    def from_line(cls, value: Mapping[str, Any]) -> Step:
        """Read what a journal says.

        Raises:
            ValueError: it is something else.
        """
        position, digests = value["at"], value["digests"]
        if not isinstance(position, int) or position < 0:
            raise ValueError(f"a position is {position!r}")
        return cls(position=position, digests={name: Digest(name, text_of(digests[name])) for name in digests})


def until(steps: Iterable[Step], position: int) -> list[Step]:
    """Give the steps up to a position."""
    return [step for step in steps if step.position <= position]


@attrs.frozen(kw_only=True)
class Verified:
    """What is kept of a transfer.

    Attributes:
        position: how many bytes of the stream are there.
        digests: the state of the digests after them.
    """

    position: int
    digests: Digests


def write_in_steps(
    writer: StreamWriter,
    device: Device,
    *,
    zeros: ZeroHandling,
    keep: Callable[[Step], object],
    step_bytes: int,
    data_bytes: int | None = None,
) -> bool:
    """Write as `StreamWriter.write` does, and give out each step when it is on the storage.

    Args:
        writer: of the stream.
        device: where to.
        zeros: what becomes of zeros on it.
        keep: writes a step down.
        step_bytes: how much data a step has.
        data_bytes: return after so much data; None for no limit.

    Returns:
        Whether the stream has ended.
    """
    before = writer.position

    def step(position: int, digests: Mapping[str, Digest]) -> None:
        keep(Step(position=position, digests=digests))

    ended = writer.write(device, zeros=zeros, data_bytes=data_bytes, steps=Steps(step_bytes, step))
    if writer.position > before:
        step(writer.position, writer.report().digests)
    return ended


def read_again(
    device: Device,
    steps: Iterable[Step],
    *,
    algorithms: Iterable[str],
    observe: Observer | None = None,
    progress: Progress | None = None,
    total_bytes: int | None = None,
    limits: Limits | None = None,
) -> Verified:
    """Read what was written, and say how far it is what the steps say.

    Args:
        device: where it was written to.
        steps: each step, in their order.
        algorithms: of the digests that are wanted.
        observe: is shown what was written. What it has seen counts as a whole or not at all.
        progress: told how far it is.
        total_bytes: how long the stream is, for the progress.
        limits: how fast it may go, and what ends it.

    Raises:
        DeviceFailed: the device cannot be read.
        TransferCancelled: it was.
    """
    found = Verified(position=0, digests=Digests(algorithms))
    for step in steps:
        length = step.position - found.position
        if length <= 0 or step.position > device.size_bytes:
            break
        digests = found.digests.copy()
        with closing(read_device(device, offset=found.position, length=length, limits=limits, made=digests)) as parts:
            for part in parts:
                if observe:
                    observe(memoryview(part))
        if digests.values() != step.digests:
            return Verified(position=0, digests=Digests(algorithms)) if observe else found
        found = Verified(position=step.position, digests=digests)
        if progress:
            progress(TransferProgress(done_bytes=step.position, skipped_bytes=0, total_bytes=total_bytes))
    return found
