"""A job for the workers of many hosts: fed to its end, counted, and ended if another command cancels it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing

from imagevol_adapters.fleet.jobs import JobCancelled, Jobs
from imagevol_adapters.fleet.running import Work, run_shards
from imagevol_adapters.ports import Shards
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker

__all__ = ["AHEAD", "run_job"]

AHEAD = 200
"""The most shards of a job that are on the board at once, so that it stays quick to list them; those that wait because
their volume is in use do not count (see `run_shards`)."""

_POLL_SECONDS = 1.0


def run_job(
    feed: Collection[Shard | ShardRecord],
    *,
    job: str,
    kind: str,
    shards: Shards,
    job_records: Jobs,
    worker: Worker,
    work: Work,
    jobs: int,
    stopping: Callable[[], object],
    ahead: int = AHEAD,
    poll_seconds: float = _POLL_SECONDS,
) -> Generator[ShardRecord, None, None]:
    """Let workers do the shards of a job, and give the record of each as soon as it is done.

    Shards that were set aside stay on the board until all others are done, as far as half of `ahead` reaches, so that
    they can be seen and tried again.  At the end nothing of the job is left on the board.  If the iteration ends early,
    what is offered stays there, and the workers go on with it.

    Args:
        feed: the shards.  A record among them is of a shard that an earlier run has done; it is given as it is.
        job: its name, the same when it is continued.
        kind: of its shards.
        shards: where they are offered.
        job_records: where it is written how far the job is.
        worker: this process.
        work: does a shard, in a thread of this process.
        jobs: how many this process does at once, at most; 0 for none.
        stopping: called when the iteration ends, before what is being done is waited for; `work` must then end.
        ahead: how many shards are offered at once, at most; see `run_shards`.
        poll_seconds: how often to look for what was done.

    Raises:
        InUse: another process feeds this job.
        JobCancelled: another command cancelled it; nothing of it is left on the board.
        ThreadFailed: a thread could not begin.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: the same.
    """
    earlier = set[str]()

    def noted() -> Iterator[Shard | ShardRecord]:
        for each in feed:  # once: it can be long, and made as it is needed
            if isinstance(each, ShardRecord):
                earlier.add(each.shard.id)
            yield each

    with job_records.feeding(job, kind=kind, total=len(feed)) as feeding:
        records = run_shards(
            noted(),
            shards=shards,
            worker=worker,
            work=work,
            jobs=jobs,
            ahead=ahead,
            stopping=stopping,
            poll_seconds=poll_seconds,
            aside=ahead // 2,
            each_pass=feeding.tell,
        )
        try:
            with closing(records):
                for record in records:
                    is_kept, is_done = record.shard.id in earlier, record.state is ShardState.DONE
                    feeding.count(kept=is_kept, done=is_done and not is_kept, failed=not is_done)
                    yield record
        except JobCancelled:
            _withdraw(shards, job)
            raise
        _withdraw(shards, job)  # what an earlier run had offered, and is not to be done any more


def _withdraw(shards: Shards, job: str) -> None:
    for left in shards.records(job):
        shards.withdraw(left.shard)
