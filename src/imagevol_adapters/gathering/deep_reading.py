"""What the image volumes of a cloud hold: each is read, several at once, and a journal keeps what was read."""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.engine import BLAKE3, Limits
from imagevol_adapters.journals import JournalFile, journal_line, text_of
from imagevol_core import (
    DeepCheck,
    Digest,
    Image,
    ImagevolError,
    RequestRefused,
    TransferCancelled,
    UnreadLocation,
    read_location,
)
from imagevol_core.sentences import said

__all__ = ["DeepJournal", "DeepTarget", "deep_checks", "deep_targets"]

_VERSION = 1
_WITH_DATA = ("active", "deactivated")


@attrs.frozen(kw_only=True)
class DeepTarget:
    """An image volume that is read.

    Attributes:
        volume_id: the volume.
        size_bytes: of the image in it.
        algorithm: of the image's digest; None if Glance has none.
        image: the image, whose record on the volume is believed or not; None for a target of a journal.
    """

    volume_id: str
    size_bytes: int
    algorithm: str | None
    image: Image | None = attrs.field(default=None, eq=False)


Check = Callable[[DeepTarget], DeepCheck]
"""Reads one image volume."""


def deep_targets(images: Iterable[Image]) -> Iterator[DeepTarget]:
    """Give the volumes that the locations of images name, each once.

    Args:
        images: with their locations.
    """
    seen = set[str]()
    for image in images:
        if image.status not in _WITH_DATA or image.size_bytes is None:
            continue
        for location in image.locations:
            named = read_location(location.url)
            if isinstance(named, UnreadLocation) or named.volume_id in seen:
                continue
            seen.add(named.volume_id)
            yield DeepTarget(
                volume_id=named.volume_id,
                size_bytes=image.size_bytes,
                algorithm=image.digest.algorithm if image.digest else None,
                image=image,
            )


class DeepJournal(JournalFile):
    """What was read of image volumes, a line each; what is in it is not read again."""

    def __init__(self, path: Path, descriptor: int, checks: dict[DeepTarget, DeepCheck]) -> None:
        """Take what `create` or `open` has found."""
        super().__init__(path, descriptor)
        self.checks: Mapping[DeepTarget, DeepCheck] = checks
        self._checks = checks

    @classmethod
    def create(cls, path: Path, *, cloud: str) -> DeepJournal:
        """Begin a journal.

        Args:
            path: of a file that does not exist yet.
            cloud: names the cloud.

        Raises:
            RequestRefused: there is such a file, or none can be made.
            ServiceFailed: it cannot be written.
        """
        journal = cls(path, cls.create_file(path), {})
        journal.begin(journal_line({"deep_checks": _VERSION, "cloud": cloud}))
        return journal

    @classmethod
    def open(cls, path: Path, *, cloud: str) -> DeepJournal:
        """Take up a journal where it ends.

        Raises:
            RequestRefused: there is no such file, a line is malformed, or it is another cloud's.
            InUse: another process has it open.
        """
        of: list[str] = []
        checks: dict[DeepTarget, DeepCheck] = {}

        def take(value: Any) -> None:
            if of:
                checks.update([_read(value)])
            elif value["deep_checks"] != _VERSION:
                raise ValueError(f"version {value['deep_checks']!r} is not {_VERSION}")
            else:
                of.append(text_of(value["cloud"]))

        def check() -> None:
            if not of:
                raise RequestRefused(f"journal {said(path)} is empty: delete it, and begin again")
            if of != [cloud]:
                raise RequestRefused(f"journal {said(path)} is of another cloud: its Glance is {of[0]}, not {cloud}")

        return cls(path, cls.open_file(path, take, check), checks)

    def record(self, target: DeepTarget, check: DeepCheck) -> None:
        """Write down what was read; when this returns, it is on the storage.

        Raises:
            ServiceFailed: it cannot be written.
        """
        self._append(
            journal_line(
                {
                    "volume": target.volume_id,
                    "size_bytes": target.size_bytes,
                    "algorithm": target.algorithm,
                    "digest": check.digest.value if check.digest else None,
                    **({"blake3": check.recorded.value} if check.recorded else {}),
                    "tail_is_zero": check.tail_is_zero,
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
        )
        self._checks[target] = check


def deep_checks(
    targets: Iterable[DeepTarget],
    *,
    check: Check,
    journal: DeepJournal | None,
    jobs: int,
    limits: Limits,
    failed: Callable[[DeepTarget, ImagevolError], object],
) -> Generator[DeepCheck, None, None]:
    """Read image volumes, several at once, and give what each holds as soon as it is known.

    If the iteration ends early, what is being read ends too, and is let go before this returns.

    Args:
        targets: which volumes; they are asked for as they are needed.
        check: reads one of them, in a thread.
        journal: keeps what was read; None for no journal.
        jobs: how many are read at once, at most.
        limits: those of `check`; cancelled if the iteration ends early.
        failed: told of a volume that cannot be read.

    Raises:
        ServiceFailed: the journal cannot be written.
    """
    waiting = iter(targets)
    running: dict[Future[DeepCheck], DeepTarget] = {}
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="deep-check")
    try:
        while True:
            while len(running) < jobs and (target := next(waiting, None)) is not None:
                if journal is not None and target in journal.checks:
                    yield journal.checks[target]
                else:
                    running[pool.submit(check, target)] = target
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                target = running.pop(done)
                try:
                    found = done.result()
                except TransferCancelled:
                    raise
                except ImagevolError as error:
                    failed(target, error)
                    continue
                if journal is not None:
                    journal.record(target, found)
                yield found
    finally:
        limits.cancelled.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _read(value: Any) -> tuple[DeepTarget, DeepCheck]:
    algorithm = None if value["algorithm"] is None else text_of(value["algorithm"])
    size_bytes, tail_is_zero = operator.index(value["size_bytes"]), value["tail_is_zero"]
    if not isinstance(tail_is_zero, bool):
        raise TypeError("tail_is_zero is not true or false")
    target = DeepTarget(volume_id=text_of(value["volume"]), size_bytes=size_bytes, algorithm=algorithm)
    recorded = Digest(BLAKE3, text_of(value["blake3"])) if "blake3" in value else None
    made = BLAKE3 if recorded else algorithm
    digest = None if made is None or value["digest"] is None else Digest(made, text_of(value["digest"]))
    check = DeepCheck(
        volume_id=target.volume_id,
        size_bytes=size_bytes,
        digest=digest,
        recorded=recorded,
        tail_is_zero=tail_is_zero,
    )
    return target, check
