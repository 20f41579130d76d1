"""`imagevol audit --deep`: image volumes are read, and compared with the digests of their images."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.progress import counted
from imagevol_core import GIB, DeepCheck, ImagevolError, RequestRefused
from imagevol_core.sentences import amount

if TYPE_CHECKING:
    from imagevol_adapters.gathering import DeepJournal, DeepTarget

__all__ = ["Deep", "add_deep_options", "refuse_unused", "watched"]

T = TypeVar("T")

_JOBS = 2
_MOST_JOBS = 64
_ATTACH_ATTEMPTS = 5  # half a minute


def add_deep_options(parser: argparse.ArgumentParser) -> None:
    """Take how image volumes are read."""
    deep = parser.add_argument_group("Reading image volumes")
    deep.add_argument(
        "--deep",
        action="store_true",
        help="also attach each image volume to this host and read it, and compare it with the digest of its image",
    )
    deep.add_argument(
        "--jobs",
        type=_jobs,
        metavar="COUNT",
        help=f"with --deep, read at most COUNT volumes at once (default: {_JOBS})",
    )
    deep.add_argument(
        "--rate",
        type=_rate,
        metavar="MIB",
        help="with --deep, read at most MIB mebibytes a second, of all volumes together (default: no limit)",
    )
    deep.add_argument(
        "--journal", type=Path, metavar="FILE", help="with --deep, write each volume that was read to FILE, a new file"
    )
    deep.add_argument(
        "--resume", action="store_true", help="go on with the journal of --journal, and read only what is not in it"
    )
    deep.add_argument(
        "--record-blake3",
        action="store_true",
        help="with --deep, write a BLAKE3 into the metadata of each volume that records none and whose data is that of "
        "its image, so that it is verified faster next time; only in a project of --trusted-project",
    )


def refuse_unused(asked: argparse.Namespace) -> None:
    """Refuse an option that nothing would look at.

    Raises:
        RequestRefused: there is one.
    """
    if not asked.deep and (asked.jobs or asked.rate or asked.journal or asked.resume or asked.record_blake3):
        raise RequestRefused(
            "--jobs, --rate, --journal, --resume and --record-blake3 are for --deep: pass --deep, or leave them out"
        )
    if asked.resume and not asked.journal:
        raise RequestRefused("--resume goes on with a journal: pass --journal")


class Deep:
    """Reads image volumes.

    Attributes:
        unread: the ids of volumes that could not be read.
    """

    def __init__(self, app: Imagevol, asked: argparse.Namespace) -> None:
        """Take the services, and how many volumes are read at once and how fast."""
        self._app = app
        self._asked = asked
        self._read: list[DeepCheck] = []
        self.unread = set[str]()

    def said(self, differ: int) -> str:
        """Say how much was read, and what that has shown.

        Args:
            differ: how many volumes have other data than their image.
        """
        of, size_bytes = len(self._read) + len(self.unread), sum(each.size_bytes for each in self._read)
        without = sum(each.digest is None for each in self._read)
        agree = len(self._read) - without - differ
        unknown = f", {without} cannot be compared because Glance has no digest" if without else ""
        return (
            f"{len(self._read)} of {amount(of, 'image volume')} read, {amount(size_bytes, 'byte')} "
            f"({size_bytes / GIB:g} GiB): {agree} with the data of the image, {differ} with other data{unknown}."
        )

    def checks(self) -> list[DeepCheck]:
        """Read every image volume, or what the journal does not have of them.

        Raises:
            ImagevolError: the images cannot be listed, or the journal cannot be written.
        """
        from imagevol_adapters.gathering import deep_checks, deep_targets
        from imagevol_adapters.transfers import check_image_volume

        app, asked = self._app, self._asked
        jobs = asked.jobs or _JOBS
        limits = app.limits(asked.rate)  # all jobs share it
        # So that a volume that a dead process has does not hold up all others for minutes.
        attempts = min(app.options.attach_attempts, _ATTACH_ATTEMPTS)
        volumes = attrs.evolve(app.volumes, attach_attempts=attempts)
        check = partial(check_image_volume, volumes=volumes, attacher=app.attacher, limits=limits)

        def read(target: DeepTarget) -> DeepCheck:
            return check(
                target.volume_id,
                size_bytes=target.size_bytes,
                algorithm=target.algorithm,
                image=target.image,
                trusted_projects=frozenset(asked.trusted_project),
                record=asked.record_blake3,
            )

        with self._journal() as journal:
            found = deep_checks(
                deep_targets(app.images.listed()),
                check=read,
                journal=journal,
                jobs=jobs,
                limits=limits,
                failed=self._failed,
            )
            try:
                with closing(found):
                    self._read = list(watched("volumes", found, label="read"))
                    return self._read
            except KeyboardInterrupt:
                if journal is not None:
                    kept = amount(len(journal.checks), "volume")
                    tell(f"Stopped early. The journal has {kept}. Continue with the same command and --resume.")
                raise

    def _journal(self) -> AbstractContextManager[DeepJournal | None]:
        from imagevol_adapters.gathering import DeepJournal

        if self._asked.journal is None:
            return nullcontext()
        begin = DeepJournal.open if self._asked.resume else DeepJournal.create
        return begin(self._asked.journal, cloud=self._app.images.service_id())

    def _failed(self, target: DeepTarget, error: ImagevolError) -> None:
        self.unread.add(target.volume_id)
        tell(f"Volume {target.volume_id} was not read: {error}")


def watched(unit: str, listing: Iterable[T], /, *, label: str = "audit") -> Iterator[T]:
    """Give what a listing gives, and tell how much that was.

    Args:
        unit: what is counted.
        listing: what is listed.
        label: the name of the phase.
    """
    return counted(listing, phase=label, unit=unit)


def _jobs(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if not 1 <= count <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of volumes: give 1 to {_MOST_JOBS}")
    return count


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give a number above 0, or no --rate for no limit")
    return rate
