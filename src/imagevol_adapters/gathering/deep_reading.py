"""What the image volumes of a cloud hold: each is read, several at once, and a journal keeps what was read."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.engine import Limits
from imagevol_adapters.fleet import local_shards, run_shards
from imagevol_adapters.journals import JournalFile, check_head, journal_line, text_of
from imagevol_adapters.ports import Claim
from imagevol_core import (
    DeepCheck,
    Digest,
    Image,
    UnreadLocation,
    UnreadMetadata,
    Volume,
    read_location,
    read_metadata,
)
from imagevol_core.recorded import decide_judge, decide_recorded
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker

__all__ = ["DeepJournal", "DeepTarget", "deep_checks", "deep_targets"]

_VERSION = 2
_KIND = "deep"
_WITH_DATA = ("active", "deactivated")


@attrs.frozen(kw_only=True)
class DeepTarget:
    """An image volume that is read.

    Attributes:
        volume_id: the volume.
        size_bytes: of the image in it.
        algorithm: of the image's digest; None if Glance has none.
        image: the image; None for a volume that no image names, and for a target of a journal.
    """

    volume_id: str
    size_bytes: int
    algorithm: str | None
    image: Image | None = attrs.field(default=None, eq=False)


Check = Callable[[DeepTarget], DeepCheck]
"""Reads one image volume."""


def deep_targets(
    images: Iterable[Image], volumes: Iterable[Volume] = (), *, trusted_projects: Collection[str] = ()
) -> Iterator[DeepTarget]:
    """Give the volumes that the locations of images name, and others whose record of an image is believed, each once.

    Args:
        images: with their locations.
        volumes: all volumes; they are asked for after the images.
        trusted_projects: in which no user can write a volume's metadata.
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
    for volume in volumes:
        record = read_metadata(volume.metadata)
        if volume.id in seen or isinstance(record, UnreadMetadata) or record.size_bytes is None:
            continue
        if (record.digest or record.blake3) and decide_recorded(volume, trusted_projects=trusted_projects).believed:
            seen.add(volume.id)
            yield DeepTarget(volume_id=volume.id, size_bytes=record.size_bytes, algorithm=None)


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
            RequestRefused: there is no such file, another user could have written it, a line is malformed, or it is
                another cloud's.
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
            head = {"cloud": of[0]} if of else None
            check_head(path, head, planned=True, cloud=cloud, so="nothing was read: delete it, and begin anew")

        return cls(path, cls.open_file(path, take, check), checks)

    def record(self, target: DeepTarget, check: DeepCheck) -> None:
        """Write down what was read; when this returns, it is on the storage.

        Raises:
            ServiceFailed: it cannot be written.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._append(journal_line({**_line(target, check), "at": at}))
        self._checks[target] = check


def deep_checks(
    targets: Iterable[DeepTarget],
    *,
    check: Check,
    journal: DeepJournal | None,
    jobs: int,
    limits: Limits,
    failed: Callable[[DeepTarget, str], object],
    trust_recorded: bool = False,
) -> Generator[DeepCheck, None, None]:
    """Read image volumes, several at once, and give what each holds as soon as it is known.

    Each volume is a shard of its own.  If the iteration ends early, what is being read ends too, and is let go before
    this returns.

    Args:
        targets: which volumes; they are asked for as they are needed.
        check: reads one of them, in a thread.
        journal: keeps what was read; None for no journal.
        jobs: how many are read at once, at most.
        limits: those of `check`; cancelled if the iteration ends early.
        failed: told of a volume that cannot be read, and why.
        trust_recorded: whether a check by a record in place of Glance's digest counts, if the journal has one.

    Raises:
        ServiceFailed: the journal cannot be written.
    """
    asked: dict[str, DeepTarget] = {}
    kept: dict[str, DeepCheck] = {}
    found: dict[str, DeepCheck] = {}

    def feed() -> Iterator[Shard | ShardRecord]:
        for target in targets:
            asked[target.volume_id] = target
            shard = Shard(job=_KIND, id=target.volume_id, kind=_KIND)
            known = journal.checks.get(target) if journal is not None else None
            if known is not None and _counts(known, target, trust_recorded=trust_recorded):
                kept[shard.id] = known
                yield ShardRecord(shard=shard, state=ShardState.DONE)
            else:
                yield shard

    def read(claim: Claim) -> Mapping[str, Any]:
        target = asked[claim.shard.id]
        found[claim.shard.id] = check(target)
        return _line(target, found[claim.shard.id])

    records = run_shards(
        feed(),
        shards=local_shards(),
        worker=Worker(name=_KIND, kinds=frozenset({_KIND})),
        work=read,
        jobs=jobs,
        ahead=jobs,
        stopping=limits.cancelled.set,
    )
    with closing(records):
        for record in records:
            target = asked.pop(record.shard.id)
            if (known := kept.pop(target.volume_id, None)) is not None:
                yield known
            elif record.state is ShardState.SET_ASIDE:
                failed(target, str(record.reason))
            else:
                new = found.pop(target.volume_id)
                if journal is not None:
                    journal.record(target, new)
                yield new


def _counts(check: DeepCheck, target: DeepTarget, *, trust_recorded: bool) -> bool:
    """Whether a check of a journal judges by the digest by which a new one would."""
    glance = target.image.digest if target.image else None
    judge = decide_judge(glance=glance, multihash=check.recorded, blake3=check.recorded, trust_recorded=trust_recorded)
    return check.recorded is None or judge.digest == check.recorded


def _line(target: DeepTarget, check: DeepCheck) -> dict[str, Any]:
    """Give a check as JSON has it."""
    of = check.recorded
    return {
        "volume": target.volume_id,
        "size_bytes": target.size_bytes,
        "algorithm": target.algorithm,
        "digest": check.digest.value if check.digest else None,
        **({"recorded": {"algorithm": of.algorithm, "value": of.value}} if of else {}),
        "tail_is_zero": check.tail_is_zero,
    }


def _read(value: Any) -> tuple[DeepTarget, DeepCheck]:
    algorithm = None if value["algorithm"] is None else text_of(value["algorithm"])
    size_bytes, tail_is_zero = operator.index(value["size_bytes"]), value["tail_is_zero"]
    if not isinstance(tail_is_zero, bool):
        raise TypeError("tail_is_zero is not true or false")
    target = DeepTarget(volume_id=text_of(value["volume"]), size_bytes=size_bytes, algorithm=algorithm)
    recorded = None
    if "recorded" in value:
        recorded = Digest(text_of(value["recorded"]["algorithm"]), text_of(value["recorded"]["value"]))
    made = recorded.algorithm if recorded else algorithm
    digest = None if made is None or value["digest"] is None else Digest(made, text_of(value["digest"]))
    check = DeepCheck(
        volume_id=target.volume_id,
        size_bytes=size_bytes,
        digest=digest,
        recorded=recorded,
        tail_is_zero=tail_is_zero,
    )
    return target, check
