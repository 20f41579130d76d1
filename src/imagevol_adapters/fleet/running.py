"""Workers that do shards, and the feeder that offers them and takes up what was found."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.engine.starting import Threads
from imagevol_adapters.error_text import one_line
from imagevol_adapters.fleet.leased import ShardLost
from imagevol_adapters.fleet.recorded import text_of_record
from imagevol_adapters.ports import Claim, Shards
from imagevol_core import ImagevolError, TransferCancelled, VolumeBusy
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker

__all__ = ["Work", "run_shards", "work_on"]

LOG = logging.getLogger(__name__)

Work = Callable[[Claim], Mapping[str, Any]]
"""Does a shard, and gives what it found, as JSON has it."""

_POLL_SECONDS = 0.2
_MOST_WAITING = 4  # times as many shards as are offered at once


def work_on(claim: Claim, work: Work) -> None:
    """Do a shard, and write how that ended.

    Args:
        claim: of the shard; it is given up at the end.
        work: does it.  An error of ours is a failed attempt, unless the volume is in use; any other exception is one
            too, and goes on.

    Raises:
        TransferCancelled: the work was cancelled; the shard was given back.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: the same.
    """
    with undone_on_failure(f"the lease of shard {claim.shard.id}", claim.give_back):
        try:
            try:
                outcome = work(claim)
            except (ShardLost, TransferCancelled):
                raise
            except VolumeBusy as error:
                claim.in_use(str(error))
            except ImagevolError as error:
                claim.failed(str(error))
            except Exception as error:
                claim.failed(one_line(error))
                raise
            else:
                claim.done(outcome)
        except ShardLost as lost:  # another worker has it, and this one goes on with another shard
            LOG.warning("%s", lost)
            claim.give_back()  # its lock, for which a shard that was withdrawn and is offered again would wait


def run_shards(
    feed: Iterable[Shard | ShardRecord],
    *,
    shards: Shards,
    worker: Worker,
    work: Work,
    jobs: int,
    ahead: int,
    stopping: Callable[[], object],
    poll_seconds: float | None = None,
    aside: int = 0,
    each_pass: Callable[[], object] = lambda: None,
) -> Generator[ShardRecord, None, None]:
    """Offer shards of one job, do several at once, and give the record of each as soon as it is done or set aside.

    A record is taken off the board when the caller asks for the next one: what the caller wrote down until then is not
    lost if it is killed.  If the iteration ends early, what is being done ends too, and is let go before this returns.

    Args:
        feed: what is to do, asked for as it is needed.  A record among it is given as it is.
        shards: where they are offered; other processes may do some of them.
        worker: this process.
        work: does a shard, in a thread.
        jobs: how many this process does at once, at most; 0 for none.
        ahead: how many shards are offered at once, at most.  Those whose volume is in use do not count, up to
            four times as many.
        stopping: called when the iteration ends, before what is being done is waited for; `work` must then end.
        poll_seconds: how often to look for what other processes have done; None if there are no other processes.
        aside: how many shards that were set aside stay on the board, at most, until all others are done.
        each_pass: called each time that the board was looked at; what it raises ends the iteration.

    Raises:
        ThreadFailed: a thread could not begin.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: the same.

    >>> from imagevol_adapters.fleet import local_shards
    >>> feed = (Shard(job="squares", id=str(number), kind="square", work={"of": number}) for number in range(3))
    >>> found = run_shards(
    ...     feed, shards=local_shards(), worker=Worker(name="one", kinds=frozenset({"square"})),
    ...     work=lambda claim: {"is": claim.shard.work["of"] ** 2}, jobs=2, ahead=2, stopping=lambda: None)
    >>> sorted(record.outcome["is"] for record in found)
    [0, 1, 4]
    """
    waiting = iter(feed)
    offered: dict[str, Shard] = {}
    kept: dict[str, Shard] = {}  # set aside, and still on the board
    told: set[str] = set()  # whose volume is in use
    waits = 0  # how many of those that are offered
    running: set[Future[None]] = set()
    threads = Threads("shard")
    try:
        while True:
            most = ahead + min(waits, _MOST_WAITING * ahead)
            while len(offered) + len(kept) < most and (each := next(waiting, None)) is not None:
                if isinstance(each, ShardRecord):
                    yield each
                else:
                    _offer(shards, each)
                    offered[each.id] = each
            if not offered:
                if not kept:
                    return
                aside, offered, kept = 0, kept, {}
            while len(running) < jobs and (claim := shards.claim(worker)) is not None:
                with undone_on_failure(f"the lease of shard {claim.shard.id}", claim.give_back):
                    running.add(threads.submit(work_on, claim, work))
            if running:
                done, running = wait(running, poll_seconds, FIRST_COMPLETED)
                for each_done in done:
                    each_done.result()
            else:
                time.sleep(poll_seconds or _POLL_SECONDS)
            each_pass()
            ended, waits = _looked_at(shards, offered, kept, told)
            for record in ended:
                if record.state is ShardState.SET_ASIDE and len(kept) < aside:
                    kept[record.shard.id] = offered.pop(record.shard.id)
                    continue
                yield record
                shards.withdraw(record.shard)
                del offered[record.shard.id]
    finally:
        stopping()
        threads.end()


def _offer(shards: Shards, shard: Shard) -> None:
    """Offer a shard.

    What an earlier run of the job has set aside is tried again.  What it has offered with another plan is replaced.
    """
    while not shards.submit(shard):
        there = next((each.shard for each in shards.records(shard.job) if each.shard.id == shard.id), None)
        if there is not None:
            if _is_same(there, shard):
                shards.retry(there)
                return
            shards.withdraw(there)


def _is_same(there: Shard, shard: Shard) -> bool:
    """Tell whether a shard of the board is the one that was offered: JSON has no tuples."""
    return there == shard or text_of_record(ShardRecord(shard=there)) == text_of_record(ShardRecord(shard=shard))


def _looked_at(
    shards: Shards, offered: dict[str, Shard], kept: dict[str, Shard], told: set[str]
) -> tuple[list[ShardRecord], int]:
    """Give what is done or set aside of the offered shards, and how many wait because their volume is in use.

    What the board has forgotten is offered again.  So is what an operator wants tried again, and what another program
    has put in place of it, which no worker may ever take.  What waits is named once.
    """
    (job,) = {shard.job for shard in offered.values()}
    records = {record.shard.id: record for record in shards.records(job)}
    for shard_id in list(kept):
        if shard_id not in records or records[shard_id].state is not ShardState.SET_ASIDE:
            offered[shard_id] = kept.pop(shard_id)
    waits = 0
    for shard_id, shard in offered.items():
        record = records.get(shard_id)
        if record is None:
            shards.submit(shard)
        elif record.state is not ShardState.OPEN:
            continue
        elif not _is_same(record.shard, shard):
            LOG.warning("Shard %s had another plan on the board, which was not offered: it is replaced", shard_id)
            _offer(shards, shard)
        elif record.in_use:
            waits += record.holder is None
            if shard_id not in told:
                told.add(shard_id)
                LOG.warning("Shard %s waits, and is tried again: %s", shard_id, record.reason)
    ended = [record for key, record in records.items() if key in offered and record.state is not ShardState.OPEN]
    return ended, waits
