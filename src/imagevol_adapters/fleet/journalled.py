"""A journal whose images are offered to the workers of many hosts, and which knows on which board.

Workers may go on with what is offered when the feeder is killed.  So the journal says on which board its images are
from before the first is offered until no worker has one any more.  Meanwhile no host changes them by the journal alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Protocol, TypeVar, cast

import attrs

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.fleet.offering import JobOffer
from imagevol_adapters.journals import JournalFile, journal_line, text_of
from imagevol_adapters.ports import Claim, Lock, Locks, Shards
from imagevol_core import DeadlineExceeded, InUse, RequestRefused
from imagevol_core.sentences import said
from imagevol_core.sharding import Shard, ShardRecord

__all__ = ["JournalFeed", "LetGo", "OfferedJournal", "both_held", "end_offer", "offered", "only_worker", "read_board"]

Outcome_co = TypeVar("Outcome_co", covariant=True)
T = TypeVar("T")

LetGo = Callable[[Collection[str]], object]
"""Takes all shards of a job off the board, and returns when no worker has one of those of these ids."""

_LOCK = "image-"
_MORE_SECONDS = 1.0  # than one lease, for which the lock of a worker that was killed stays taken


class OfferedJournal(JournalFile):
    """A journal that says by which board workers may be changing its images.

    Attributes:
        offered: the board by whose shards workers of many hosts may be changing its images; None if none are.
    """

    offered: str | None = None

    def check_not_offered(self) -> None:
        """Hold that no worker of another host may be changing images by this journal.

        Raises:
            RequestRefused: one may be.
        """
        if self.offered:
            raise RequestRefused(
                f"journal {said(self.path)}: workers may still be changing its images: "
                f"pass --board {said(self.offered)}"
            )

    def check_board(self, board: str) -> None:
        """Hold that its images were offered on no other board.

        Args:
            board: names the board.

        Raises:
            RequestRefused: they were, and workers may be changing them.
        """
        if self.offered not in (None, board):
            raise RequestRefused(
                f"journal {said(self.path)}: its images were offered on {said(self.offered)}, and not on "
                f"{said(board)}: pass --board {said(self.offered)}; if that board is lost, start an empty one there"
            )

    def record_offered(self, board: str | None) -> None:
        """Write down by which board workers of many hosts may be changing its images from now on.

        Args:
            board: names the board; None if no worker changes them any more.

        Raises:
            ServiceFailed: it cannot be written, and so nothing else could.
        """
        if board != self.offered:
            self._append(journal_line({"offered": board}))
            self.offered = board


def read_board(value: Any) -> str | None:
    """Give the board that a line of a journal names, as `record_offered` wrote it.

    Raises:
        ValueError: it names none.

    >>> read_board({"offered": None}), read_board({"offered": "redis://host"})
    (None, 'redis://host')
    """
    return None if value["offered"] is None else text_of(value["offered"])


class JournalFeed(Collection["Shard | ShardRecord"], Protocol[Outcome_co]):
    """The images of a journal as shards, made as they are needed; a record is of images that have ended."""

    def begin(self, shard: Shard) -> None:
        """Write down that the images of a shard have begun, before a worker can take it."""

    def ended(self, record: ShardRecord) -> Iterator[Outcome_co]:
        """Write down what came of the images of a shard, and give it."""

    def begun(self) -> list[str]:
        """Give the ids of the shards that a worker may have."""


def offered(
    feed: JournalFeed[T], *, journal: OfferedJournal, offer: JobOffer, board: str, let_go: LetGo
) -> Generator[T, None, None]:
    """Let the workers of many hosts do what a journal plans, and give what came of each shard as soon as it is known.

    If the iteration ends early, the shards are taken off the board, and the images that are being changed are waited
    for.  If the process is killed, the workers go on with what is offered, and the journal says so.

    Args:
        feed: the images of the journal.
        journal: open.
        offer: how they are offered.
        board: names the board, as the journal shall have it.
        let_go: takes all shards of the job off the board.

    Raises:
        RequestRefused: the images were offered on another board.
        InUse: another process feeds the job, or a worker does not end.
        JobCancelled: another command cancelled it.
        ServiceUnreachable: a service or the board does not answer.
        ServiceFailed: one answers with an error.
    """
    journal.check_board(board)
    journal.record_offered(board)

    def end() -> None:
        # A process with a copy of the journal would offer again what was taken off, and its workers would go on.
        with offer.job_records.feeding(offer.job, kind=offer.kind, total=len(feed)):
            end_offer(journal, feed.begun, board=board, let_go=let_go)

    with undone_on_failure(f"job {offer.job}, whose workers may still change images", end):
        begun = attrs.evolve(offer, shards=cast(Shards, _Begun(offer.shards, feed.begin)))
        with closing(begun.records(feed)) as records:
            for record in records:
                yield from feed.ended(record)
    end()


def end_offer(journal: OfferedJournal, begun: Callable[[], Collection[str]], *, board: str, let_go: LetGo) -> None:
    """Take the images of a journal off a board, and write down that no worker changes them any more.

    Args:
        journal: that was offered.
        begun: gives the ids of the shards that a worker may have.
        board: names the board.
        let_go: takes all shards of the job off the board.

    Raises:
        RequestRefused: it was offered on another board.
        InUse: a worker does not end.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error, or the journal cannot be written.
    """
    journal.check_board(board)
    let_go(begun())
    journal.record_offered(None)


@contextmanager
def only_worker(image_id: str, locks: Locks) -> Iterator[Lock]:
    """Be the only worker that changes an image, whichever shard names it: a forged one can name any.

    Args:
        image_id: which image.
        locks: of all workers.

    Raises:
        InUse: another worker is changing it, also after one lease.
    """
    with ExitStack() as until:
        try:
            lock = until.enter_context(
                locks.held(f"{_LOCK}{image_id}", wait_seconds=locks.lease_seconds + _MORE_SECONDS)
            )
        except DeadlineExceeded as error:
            raise InUse(f"image {said(image_id)} is being changed by another worker: use --resume later") from error
        yield lock


def both_held(claim: Claim, lock: Lock) -> Callable[[], None]:
    """Give what asks whether the shard and the image are still this worker's; see `guarded`."""

    def check() -> None:
        claim.ensure_held()
        lock.ensure_held()

    return check


@attrs.frozen(eq=False)
class _Begun:
    """Shards, of which each is written down as begun before a worker can take it."""

    _shards: Shards
    _begin: Callable[[Shard], object]

    def submit(self, shard: Shard) -> bool:
        self._begin(shard)
        return self._shards.submit(shard)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shards, name)
