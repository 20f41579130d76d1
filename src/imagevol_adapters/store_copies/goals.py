"""What becomes of an image, forward or backward."""

from __future__ import annotations

import attrs

from imagevol_adapters.relocating import State
from imagevol_adapters.store_copies.journal import CopyEntry
from imagevol_core.store_copies import StoreCopyWay

__all__ = ["Goal", "backward", "forward"]


@attrs.frozen(kw_only=True)
class Goal:
    """Where an image is at the end, and how that is written down.

    Attributes:
        to_store: the store that it is in at the end.
        removed: the store that it is not in at the end; None if there is none.
        made: how the copy in `to_store` was made, if this journal made it.
        good_place: where the copy is that needs no verification; None if there is none.
        mark: what the journal calls the way in which the copy is made.
        begun: what the journal says of the image meanwhile.
        done: what it says at the end.
    """

    to_store: str
    removed: str | None
    made: StoreCopyWay | None
    good_place: str | None
    mark: str
    begun: State
    done: State


def forward(entry: CopyEntry) -> Goal:
    """To the store that is wished for."""
    return Goal(
        to_store=entry.to_store,
        removed=entry.from_store,
        made=entry.made,
        good_place=entry.verified_place if entry.verified == entry.to_store else None,
        mark="made",
        begun=State.BEGUN,
        done=State.DONE,
    )


def backward(entry: CopyEntry) -> Goal:
    """Back to the store that it came from; that copy is the original, unless this journal has deleted it."""
    verified, original = entry.verified_place, None if entry.remade else entry.source_place
    return Goal(
        to_store=entry.source,
        removed=entry.to_store if entry.made else None,
        made=entry.remade,
        good_place=verified if entry.verified == entry.source else original,
        mark="remade",
        begun=State.UNDOING,
        done=State.UNDONE,
    )
