"""Which image volumes of a cloud are read, and the journal that keeps what was read of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs

from imagevol_adapters.journals import JournalFile, check_head, journal_line, text_of
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
from imagevol_core.recorded import decide_recorded

__all__ = ["Check", "DeepJournal", "DeepTarget", "check_line", "deep_targets", "read_check"]

_VERSION = 2
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
OfferedCheck = Callable[[DeepTarget, Callable[[], None]], DeepCheck]
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
    """What was read of image volumes, a line each; what is in it is not read again.

    Attributes:
        checks: what was read.
        job: names what is being read on a board of shards, the same each time that the journal is opened.
    """

    def __init__(self, path: Path, descriptor: int, checks: dict[DeepTarget, DeepCheck], job: str) -> None:
        """Take what `create` or `open` has found."""
        super().__init__(path, descriptor)
        self.job = job
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
        job = f"audit-{uuid4().hex[:8]}"
        journal = cls(path, cls.create_file(path), {}, job)
        journal.begin(journal_line({"deep_checks": _VERSION, "cloud": cloud, "job": job}))
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
        job = f"audit-{sha256(bytes(path.absolute())).hexdigest()[:8]}"  # of a journal that names none
        checks: dict[DeepTarget, DeepCheck] = {}

        def take(value: Any) -> None:
            nonlocal job
            if of:
                checks.update([read_check(value)])
            elif value["deep_checks"] != _VERSION:
                raise ValueError(f"version {value['deep_checks']!r} is not {_VERSION}")
            else:
                of.append(text_of(value["cloud"]))
                job = text_of(value.get("job", job))

        def check() -> None:
            head = {"cloud": of[0]} if of else None
            check_head(path, head, planned=True, cloud=cloud, so="nothing was read: delete it, and begin anew")

        return cls(path, cls.open_file(path, take, check), checks, job)

    def record(self, target: DeepTarget, check: DeepCheck) -> None:
        """Write down what was read; when this returns, it is on the storage.

        Raises:
            ServiceFailed: it cannot be written.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._append(journal_line({**check_line(target, check), "at": at}))
        self._checks[target] = check


def check_line(target: DeepTarget, check: DeepCheck) -> dict[str, Any]:
    """Give a check as JSON has it, in a journal and on a board.

    Args:
        target: what was read.
        check: what was found.

    >>> target = DeepTarget(volume_id="7ad3", size_bytes=7, algorithm=None)
    >>> check_line(target, DeepCheck(volume_id="7ad3", size_bytes=7, tail_is_zero=True))
    {'volume': '7ad3', 'size_bytes': 7, 'algorithm': None, 'digest': None, 'tail_is_zero': True}
    """
    of = check.recorded
    return {
        "volume": target.volume_id,
        "size_bytes": target.size_bytes,
        "algorithm": target.algorithm,
        "digest": check.digest.value if check.digest else None,
        **({"recorded": {"algorithm": of.algorithm, "value": of.value}} if of else {}),
        "tail_is_zero": check.tail_is_zero,
    }


def read_check(value: Any) -> tuple[DeepTarget, DeepCheck]:
    """Give the target and the check of what `check_line` gave.

    Args:
        value: as JSON has it.

    Raises:
        ValueError: it is no such thing; so with the other errors.
        KeyError: a key is missing.
        TypeError: a value has another type.

    >>> target = DeepTarget(volume_id="7ad3", size_bytes=7, algorithm=None)
    >>> check = DeepCheck(volume_id="7ad3", size_bytes=7, tail_is_zero=True)
    >>> read_check(check_line(target, check)) == (target, check)
    True
    """
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
