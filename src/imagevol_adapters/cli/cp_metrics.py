"""What `imagevol cp --metrics` counts: images, bytes and seconds, by the way in which they were copied."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from imagevol_adapters.cli.metrics_option import last_success

if TYPE_CHECKING:
    from imagevol_adapters.metrics import Sample
    from imagevol_adapters.relocating import Outcome
    from imagevol_adapters.store_copies import CopyJournal

__all__ = ["Copied", "copied_of", "copy_samples", "settled"]

_STATE, _STORE = 2, 4  # among the columns of the command


@attrs.frozen(kw_only=True)
class Copied:
    """An image that `imagevol cp` has done with.

    Attributes:
        store: the one that it should be copied to.
        way: `clone` or `import`; `none` if nothing was copied.
        outcome: `done`, `failed` or `refused`.
        size_bytes: of the image.
        seconds: how long it took.
    """

    store: str
    way: str
    outcome: str
    size_bytes: int = 0
    seconds: float = 0


def settled(rows: Iterable[Sequence[object]]) -> list[Copied]:
    """Give the images that were not tried: they cannot be copied, or are where they should be.

    Args:
        rows: what the command shows of each image.
    """
    return [
        Copied(store=str(row[_STORE]), way="none", outcome=str(row[_STATE]))
        for row in rows
        if row[_STATE] in ("refused", "done")
    ]


def copied_of(outcomes: Iterable[Outcome], journal: CopyJournal) -> list[Copied]:
    """Give the images that were tried; one that was deleted meanwhile is left out.

    Args:
        outcomes: what came of each.
        journal: which says how each was copied.
    """
    from imagevol_adapters.relocating import State

    copied = []
    for each in outcomes:
        entry = journal.entries[each.image_id]
        way, failed = (entry.made.value, "failed") if entry.made else ("none", "refused")
        if outcome := {State.DONE: "done", State.FAILED: failed}.get(each.state):
            size_bytes = entry.image.size_bytes or 0
            copied.append(
                Copied(store=entry.to_store, way=way, outcome=outcome, size_bytes=size_bytes, seconds=each.seconds)
            )
    return copied


def copy_samples(copied: Collection[Copied], stores: Iterable[str]) -> Iterator[Sample]:
    """Give the metrics of copies to stores; each way and outcome has a value, also if it is 0.

    Args:
        copied: each image.
        stores: the stores that images should be copied to.
    """
    from imagevol_adapters.metrics import CP, Sample

    for store in dict.fromkeys(stores):
        for name, series in CP.items():
            for labels in series.combinations({"store": store}):
                of = [each for each in copied if labels.items() <= attrs.asdict(each).items()]
                done = [each for each in of if each.outcome == "done"]
                value = {
                    "images": len(of),
                    "bytes": sum(each.size_bytes for each in done),
                    "seconds": round(sum(each.seconds for each in of), 3),
                }[name]
                yield Sample(series=series, labels=labels, value=value)
    yield last_success("cp", failed=any(each.outcome == "failed" for each in copied))
