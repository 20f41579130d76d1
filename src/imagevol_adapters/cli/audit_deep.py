"""`imagevol audit --deep`: image volumes are read, and compared with the digests of their images."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.board_option import add_board_options, opened_board
from imagevol_adapters.cli.counts import count_of
from imagevol_adapters.cli.deep_reader import DeepReader, add_reading_options, check_trust
from imagevol_adapters.cli.offered_job import refuse_unused, tell_offer
from imagevol_adapters.cli.progress import counted
from imagevol_core import GIB, DeepCheck, RequestRefused, Volume
from imagevol_core.sentences import amount

if TYPE_CHECKING:
    from imagevol_adapters.fleet import Fleet
    from imagevol_adapters.gathering import DeepJournal, DeepTarget

__all__ = ["Deep", "add_deep_options", "refuse_unused_deep", "watched"]

T = TypeVar("T")

_JOBS = 2
_MOST_JOBS = 64


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
        help=f"with --deep, read at most COUNT volumes at once (default: {_JOBS}; with --board none, because the "
        "workers read them)",
    )
    add_reading_options(deep, option="--deep")
    deep.add_argument(
        "--journal", type=Path, metavar="FILE", help="with --deep, write each volume that was read to FILE, a new file"
    )
    deep.add_argument(
        "--resume", action="store_true", help="go on with the journal of --journal, and read only what is not in it"
    )
    add_board_options(
        deep,
        required=False,
        does="with --deep and --journal, let the workers of `imagevol fleet work` read the volumes, and offer them",
    )


def refuse_unused_deep(asked: argparse.Namespace) -> None:
    """Refuse an option that nothing would look at.

    Raises:
        RequestRefused: there is one.
    """
    options = (asked.jobs, asked.rate, asked.journal, asked.resume, asked.record_blake3, asked.trust_recorded)
    if not asked.deep and any((*options, asked.board)):
        raise RequestRefused(
            "--jobs, --rate, --journal, --resume, --record-blake3, --trust-recorded and --board are for --deep: pass "
            "--deep, or leave them out"
        )
    refuse_unused(asked, works_here=True)
    if asked.board and not asked.journal:
        raise RequestRefused("with --board, what the workers find is kept in a journal: pass --journal")
    if asked.board and not asked.jobs and (asked.rate or asked.record_blake3):
        raise RequestRefused(
            "with --board this command reads no volume: pass --rate and --record-blake3 to `imagevol fleet work`, or "
            "pass --jobs to read volumes here too"
        )
    check_trust(asked)
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
        from imagevol_adapters.gathering import deep_targets

        app = self._app
        trusted = frozenset(self._asked.trusted_project)

        def targets() -> Iterator[DeepTarget]:
            # Without a trusted project no record is believed, so that no volume is listed for it.
            for target in deep_targets(app.images.listed(), all_volumes() if trusted else (), trusted_projects=trusted):
                if target.image is None:
                    self._unnamed.add(target.volume_id)
                yield target

        with ExitStack() as until:
            fleet = until.enter_context(opened_board(self._asked)) if self._asked.board else None
            journal = until.enter_context(self._journal())
            if fleet is None:
                found = self._found(targets(), journal)
            else:  # the audit lists the volumes anyhow
                backends = {each.id: (each.host or "").partition("#")[0] for each in all_volumes()}
                found = self._offered(targets(), journal, fleet, backends)
            try:
                with closing(found):
                    self._read = list(watched("volumes", found, label="read"))
                    return self._read
            except KeyboardInterrupt:
                if journal is not None:
                    kept = amount(len(journal.checks), "volume")
                    tell(f"Stopped early. The journal has {kept}. Continue with the same command and --resume.")
                raise

    def _found(self, targets: Iterator[DeepTarget], journal: DeepJournal | None) -> Generator[DeepCheck, None, None]:
        """Read volumes here."""
        from imagevol_adapters.gathering import deep_checks

        reader = DeepReader(self._app, self._asked)
        return deep_checks(
            targets,
            check=reader.read,
            journal=journal,
            jobs=self._asked.jobs or _JOBS,
            limits=reader.limits,
            failed=self._failed,
            trust_recorded=self._asked.trust_recorded,
        )

    def _offered(
        self, targets: Iterator[DeepTarget], journal: DeepJournal | None, fleet: Fleet, backends: Mapping[str, str]
    ) -> Generator[DeepCheck, None, None]:
        """Let workers read volumes."""
        from imagevol_adapters.gathering import DeepOffer, deep_kind, offered_checks

        assert journal is not None  # noqa: S101 - `refuse_unused_deep` has held it
        reader = DeepReader(self._app, self._asked)
        kind = deep_kind(self._app.cloud_id())
        offer = DeepOffer(shards=fleet.shards, job_records=fleet.jobs, job=journal.job, kind=kind, backends=backends)
        tell_offer(fleet, job=offer.job, kind=kind, take="audit")
        return offered_checks(
            targets,
            offer=offer,
            check=reader.read_offered,
            images=self._app.images,
            journal=journal,
            jobs=self._asked.jobs or 0,
            limits=reader.limits,
            failed=self._failed,
            trust_recorded=self._asked.trust_recorded,
        )

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
