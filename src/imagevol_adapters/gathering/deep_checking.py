"""What the image volumes of a cloud hold: each is a shard, and a journal keeps what was read."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from imagevol_adapters.engine import Limits
from imagevol_adapters.fleet import local_shards, run_shards
from imagevol_adapters.gathering.deep_reading import Check, DeepJournal, DeepTarget, OfferedCheck, check_line
from imagevol_adapters.gathering.deep_shards import DeepOffer, ListedImages, deep_outcome, deep_work
from imagevol_adapters.ports import Claim
from imagevol_core import DeepCheck, RequestRefused, ServiceFailed
from imagevol_core.recorded import decide_judge
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker

__all__ = ["deep_checks", "offered_checks"]

_KIND = "deep"
_BY_RECORD = (
    "a worker compared it with the record of the volume: pass --trust-recorded to this command too, or start the "
    "workers without it"
)


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
    feed = _Feed(targets, journal, trust_recorded, lambda each: Shard(job=_KIND, id=each.volume_id, kind=_KIND))

    def read(claim: Claim) -> Mapping[str, Any]:
        target = feed.asked[claim.shard.id]
        return check_line(target, check(target))

    records = run_shards(
        feed.shards(),
        shards=local_shards(),
        worker=Worker(name=_KIND, kinds=frozenset({_KIND})),
        work=read,
        jobs=jobs,
        ahead=jobs,
        stopping=limits.cancelled.set,
    )
    with closing(records):
        yield from feed.checks(records, failed)


def offered_checks(
    targets: Iterable[DeepTarget],
    *,
    offer: DeepOffer,
    check: OfferedCheck,
    images: ListedImages,
    journal: DeepJournal,
    jobs: int,
    limits: Limits,
    failed: Callable[[DeepTarget, str], object],
    trust_recorded: bool = False,
) -> Generator[DeepCheck, None, None]:
    """Let the workers of many hosts read image volumes, and give what each holds as soon as it is known.

    If the iteration ends early, what is offered stays on the board, and the workers go on with it.

    Args:
        targets: which volumes; all of them are asked for first.
        offer: how they are offered.
        check: reads one of them, in a thread of this process; see `deep_work`.
        images: Glance, for what this process reads.
        journal: keeps what was read.
        jobs: how many this process reads at once, at most; 0 for none.
        limits: those of `check`; cancelled if the iteration ends early.
        failed: told of a volume that cannot be read, and why.
        trust_recorded: whether a check by a record in place of Glance's digest counts, if a worker made one.

    Raises:
        InUse: another process feeds the job.
        JobCancelled: another command cancelled it.
        ServiceFailed: the journal cannot be written, or the board answers with an error.
        ServiceUnreachable: the board does not answer.
    """
    feed = _Feed(targets, journal, trust_recorded, offer.shard)
    records = offer.records(
        list(feed.shards()),  # so that it is known how many there are
        work=deep_work(check, images=images),
        jobs=jobs,
        stopping=limits.cancelled.set,
    )
    with closing(records):
        yield from feed.checks(records, failed)


class _Feed:
    """What is offered of the volumes, and what came of each."""

    def __init__(
        self,
        targets: Iterable[DeepTarget],
        journal: DeepJournal | None,
        trust_recorded: bool,
        shard: Callable[[DeepTarget], Shard],
    ) -> None:
        self._targets = targets
        self._journal = journal
        self._trust_recorded = trust_recorded
        self._shard = shard
        self.asked: dict[str, DeepTarget] = {}
        self._kept: dict[str, DeepCheck] = {}

    def shards(self) -> Iterator[Shard | ShardRecord]:
        """Give each volume as a shard to read, or as done if the journal has it."""
        for target in self._targets:
            self.asked[target.volume_id] = target
            shard = self._shard(target)
            known = self._journal.checks.get(target) if self._journal is not None else None
            if known is not None and self._counts(known, target):
                self._kept[shard.id] = known
                yield ShardRecord(shard=shard, state=ShardState.DONE)
            else:
                yield shard

    def checks(
        self, records: Iterable[ShardRecord], failed: Callable[[DeepTarget, str], object]
    ) -> Iterator[DeepCheck]:
        """Write down what was read, and give it."""
        for record in records:
            target = self.asked.pop(record.shard.id)
            if (known := self._kept.pop(target.volume_id, None)) is not None:
                yield known
            elif record.state is ShardState.SET_ASIDE:
                failed(target, str(record.reason))
            else:
                try:
                    new = self._accepted(record, target)
                except (RequestRefused, ServiceFailed) as error:
                    failed(target, str(error))
                else:
                    if self._journal is not None:
                        self._journal.record(target, new)
                    yield new

    def _accepted(self, record: ShardRecord, target: DeepTarget) -> DeepCheck:
        check = deep_outcome(record.outcome, target=target)
        if not self._counts(check, target):
            raise RequestRefused(_BY_RECORD)
        return check

    def _counts(self, check: DeepCheck, target: DeepTarget) -> bool:
        """Whether a check judges by the digest by which a new one would."""
        glance, recorded = target.image.digest if target.image else None, check.recorded
        judge = decide_judge(glance=glance, multihash=recorded, blake3=recorded, trust_recorded=self._trust_recorded)
        return recorded is None or judge.digest == recorded
