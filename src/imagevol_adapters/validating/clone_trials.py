"""Trials of clones, extensions, and several volumes and attachments at the same time."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Barrier, BrokenBarrierError

from imagevol_adapters.engine.starting import Threads
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.validating.bench import Bench
from imagevol_adapters.validating.contents import PART_BYTES, PLACES, Contents, every_zero
from imagevol_core import GIB, ImagevolError, InUse, NotSeen, OverQuota, Volume
from imagevol_core.sentences import amount

__all__ = ["CLONE_TRIALS", "try_clones"]

_BYTES = PART_BYTES * len(PLACES)
_APART, _CLONED = ("attached-apart",), ("clone-same", "clone-independent")
_EXTENDED, _TOGETHER = ("extend-size", "extend-kept", "extend-zeros"), ("attached-together",)
_ATTACHED, _MANY = ("clone-attached",), ("clone-count", "clone-outlives")
CLONE_TRIALS = (*_CLONED, *_APART, *_EXTENDED, *_TOGETHER, *_ATTACHED, *_MANY)
_MEETING_SECONDS = 60


def try_clones(bench: Bench, source: Volume, *, clones: int) -> None:
    """Clone a volume, compare, write to both, extend the clone, clone the volume while it is attached, and delete it.

    Args:
        bench: where they are tried.
        source: an empty volume, which may be gone at the end.
        clones: how many clones the volume has at the same time, at most.
    """
    contents = Contents("source")
    with ExitStack() as there:
        cloned = Contents("clone")
        clone: Volume | None = None
        with bench.trying("clones", *_CLONED):
            for _ in range(2):  # so that older data is there to be found
                _written(bench, source, contents)
            clone = there.enter_context(bench.cloned(source.id))
            with bench.attached(clone, AccessMode.READ) as device:
                bench.saw("clone-same", contents.wrong(device, "the clone"), count=_BYTES)
            _written(bench, clone, cloned)
            _same(bench, "clone-independent", source, contents, "the source", other=cloned)
            _written(bench, source, contents)
            _same(bench, "clone-independent", clone, cloned, "the clone", other=contents)
        if clone is not None:
            _try_apart(bench, (source, contents), (clone, cloned))
            _try_extending(bench, clone, cloned)
        _try_together(bench, source, contents)
        _try_attached(bench, source, contents)
        _try_many(bench, source, contents, clones=clones)


def _written(bench: Bench, volume: Volume, contents: Contents) -> None:
    with bench.attached(volume, AccessMode.WRITE) as device:
        contents.write(device)
        device.flush()


def _same(bench: Bench, rule: str, volume: Volume, contents: Contents, what: str, *, other: Contents) -> None:
    with bench.attached(volume, AccessMode.READ) as device:
        bench.saw(rule, contents.wrong(device, what, others=(other,)), count=_BYTES)


def _try_apart(bench: Bench, *pairs: tuple[Volume, Contents]) -> None:
    """Attach two volumes at the same time, in two threads, write to both, and read both while both are attached."""
    meeting = Barrier(len(pairs), timeout=_MEETING_SECONDS)

    def work(volume: Volume, contents: Contents) -> str | None:
        try:
            with bench.attached(volume, AccessMode.WRITE) as device:
                meeting.wait()
                contents.write(device)
                device.flush()
                meeting.wait()
                wrong = contents.wrong(device, f"volume {volume.id}", others=tuple(each for _, each in pairs))
                meeting.wait()
                return wrong
        except BrokenBarrierError as error:
            raise ImagevolError("the other volume could not be attached at the same time") from error
        except BaseException:
            meeting.abort()
            raise

    with bench.trying("two volumes at once", *_APART):
        with Threads("store-trial") as threads:
            working = [threads.submit(work, *pair) for pair in pairs]
        errors = [error for each in working if (error := each.exception())]
        if errors:
            raise min(errors, key=lambda error: isinstance(error.__cause__, BrokenBarrierError))
        for each in working:
            bench.saw("attached-apart", each.result(), count=2 * _BYTES)


def _try_extending(bench: Bench, volume: Volume, contents: Contents) -> None:
    with bench.trying("an extension", *_EXTENDED):
        bench.in_time()
        bench.volumes.extend(volume.id, size_gib=2)
        with bench.attached(volume, AccessMode.READ, size_gib=2) as device:
            size = device.size_bytes
            small = size < 2 * GIB
            wrong = f"the device has {size} bytes after an extension to 2 GiB" if small else None
            bench.saw("extend-size", wrong, count=size)
            bench.saw("extend-kept", contents.wrong(device, "the extended volume"), count=_BYTES)
            wrong, count = every_zero(device, GIB, "the extended volume")
            bench.saw("extend-zeros", wrong, count=count)


def _try_together(bench: Bench, volume: Volume, contents: Contents) -> None:
    if not volume.multiattach:
        return bench.missed("attached-together", "the volume type does not allow several attachments")
    with (
        bench.trying("two attachments of one volume", *_TOGETHER),
        bench.attached(volume, AccessMode.WRITE, multiattach=True) as first,
        bench.attached(volume, AccessMode.READ, multiattach=True) as second,
    ):
        for _ in range(2):
            contents.write(first)
            first.flush()
            bench.saw("attached-together", contents.wrong(second, "the second attachment"), count=_BYTES)
    return None


def _try_attached(bench: Bench, volume: Volume, contents: Contents) -> None:
    with bench.trying("a clone of an attached volume", *_ATTACHED):
        _written(bench, volume, contents)
        with ExitStack() as there:
            with bench.attached(volume, AccessMode.WRITE) as device:
                contents.write(device)
                device.flush()
                try:
                    clone = there.enter_context(bench.cloned(volume.id))
                except (InUse, OverQuota) as error:
                    return bench.missed("clone-attached", str(error))
                kept = Contents(contents.label, contents.generation)
                contents.write(device)
                device.flush()
            with bench.attached(clone, AccessMode.READ) as device:
                bench.saw("clone-attached", kept.wrong(device, "the clone of an attached volume"), count=_BYTES)
    return None


def _try_many(bench: Bench, source: Volume, contents: Contents, *, clones: int) -> None:
    """Clone the source until it has as many clones as are wanted, compare each, delete it, and compare the last."""
    with bench.trying("several clones", *_MANY), ExitStack() as there:
        _written(bench, source, contents)
        made: list[Volume] = []
        for number in range(1, clones + 1):
            try:
                clone = there.enter_context(bench.cloned(source.id))
            except OverQuota as error:
                bench.missed("clone-count", f"{amount(len(made), 'clone')} could be created, and then: {error}")
                break
            except ImagevolError as error:
                if not made:
                    raise
                bench.left += error.leftovers
                bench.saw("clone-count", f"one volume had {amount(len(made), 'clone')}, and the next failed: {error}")
                break
            made.append(clone)
            with bench.attached(clone, AccessMode.READ) as device:
                bench.saw("clone-count", contents.wrong(device, f"clone {number} of one volume"), count=number)
        try:
            bench.volumes.delete(source.id)
        except InUse as error:
            bench.missed("clone-outlives", f"a volume with clones is not deleted: {error}")
        for clone in made[:1] + made[1:][-1:]:
            if not isinstance(bench.seen.get("clone-outlives"), NotSeen):
                with bench.attached(clone, AccessMode.READ) as device:
                    wrong = contents.wrong(device, "a clone whose source was deleted")
                    bench.saw("clone-outlives", wrong, count=_BYTES)
