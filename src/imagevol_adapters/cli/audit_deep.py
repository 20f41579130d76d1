"""`imagevol audit --deep`: image volumes are read, and compared with the digests of their images."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.counts import count_of
from imagevol_adapters.cli.progress import counted
from imagevol_adapters.cli.trust_option import add_trust_option
from imagevol_core import GIB, DeepCheck, RequestRefused, Volume
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
        help="also attach each image volume to this host and read it, and compare it with the digest of its image in "
        "Glance; compare a volume of a --trusted-project that no image names with the digest that it records",
    )
    deep.add_argument(
        "--jobs",
        type=count_of("volumes", most=_MOST_JOBS),
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
        "its image, so that it can be verified faster; only in a project of --trusted-project",
    )
    add_trust_option(deep, when="--deep")


def refuse_unused(asked: argparse.Namespace) -> None:
    """Refuse an option that nothing would look at.

    Raises:
        RequestRefused: there is one.
    """
    options = (asked.jobs, asked.rate, asked.journal, asked.resume, asked.record_blake3, asked.trust_recorded)
    if not asked.deep and any(options):
        raise RequestRefused(
            "--jobs, --rate, --journal, --resume, --record-blake3 and --trust-recorded are for --deep: pass --deep, or "
            "leave them out"
        )
    if asked.trust_recorded and not asked.trusted_project:
        raise RequestRefused("--trust-recorded relies on records in trusted projects: pass --trusted-project")
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
        self._unnamed = set[str]()
        self.unread = set[str]()

    def said(self, differ: int) -> str:
        """Say how much was read, and what that has shown.

        Args:
            differ: how many volumes have other data than their image or their record.
        """
        of, size_bytes = len(self._read) + len(self.unread), sum(each.size_bytes for each in self._read)
        without = sum(each.digest is None for each in self._read)
        agree = len(self._read) - without - differ
        unknown = f", {without} cannot be compared because there is no digest" if without else ""
        unnamed = sum(each.volume_id in self._unnamed for each in self._read)
        alone = (
            f" {amount(unnamed, 'volume')} without an image: compared with what the volume records." if unnamed else ""
        )
        return (
            f"{len(self._read)} of {amount(of, 'image volume')} read, {amount(size_bytes, 'byte')} "
            f"({size_bytes / GIB:g} GiB): {agree} with the data of the image, {differ} with other data{unknown}.{alone}"
        )

    def checks(self, all_volumes: Callable[[], Iterable[Volume]]) -> list[DeepCheck]:
        """Read every image volume, or what the journal does not have of them.

        Args:
            all_volumes: lists the volumes of the cloud.

        Raises:
            ImagevolError: the images cannot be listed, or the journal cannot be written.
        """
        from imagevol_adapters.gathering import deep_checks, deep_targets
        from imagevol_adapters.transfers import check_image_volume

        app, asked = self._app, self._asked
        trusted = frozenset(asked.trusted_project)
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
                trusted_projects=trusted,
                record=asked.record_blake3,
                trust_recorded=asked.trust_recorded,
            )

        def targets() -> Iterator[DeepTarget]:
            # Without a trusted project no record is believed, so that no volume is listed for it.
            for target in deep_targets(app.images.listed(), all_volumes() if trusted else (), trusted_projects=trusted):
                if target.image is None:
                    self._unnamed.add(target.volume_id)
                yield target

        with self._journal() as journal:
            found = deep_checks(
                targets(),
                check=read,
                journal=journal,
                jobs=jobs,
                limits=limits,
                failed=self._failed,
                trust_recorded=asked.trust_recorded,
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
        return begin(self._asked.journal, cloud=self._app.cloud_id())

    def _failed(self, target: DeepTarget, reason: str) -> None:
        self.unread.add(target.volume_id)
        tell(f"Volume {target.volume_id} was not read: {reason}")


def watched(unit: str, listing: Iterable[T], /, *, label: str = "audit") -> Iterator[T]:
    """Give what a listing gives, and tell how much that was.

    Args:
        unit: what is counted.
        listing: what is listed.
        label: the name of the phase.
    """
    return counted(listing, phase=label, unit=unit)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give a number above 0, or no --rate for no limit")
    return rate
