"""How the shards of one job are offered to the workers of many hosts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any

import attrs

from imagevol_adapters.fleet.feeding import AHEAD, run_job
from imagevol_adapters.fleet.jobs import Jobs
from imagevol_adapters.fleet.running import Work
from imagevol_adapters.fleet.serving import worker_name
from imagevol_adapters.ports import Claim, Shards
from imagevol_core.sharding import Shard, ShardRecord, Worker

__all__ = ["JobOffer"]


def _nothing(_: Claim) -> Mapping[str, Any]:
    """Do a shard in this process, which takes none."""
    raise NotImplementedError


@attrs.frozen(kw_only=True)
class JobOffer:
    """How the shards of one job are offered to the workers of many hosts.

    Args:
        shards: of all jobs.
        job_records: where it is written how far the job is.
        job: the name of the job; the same when it is continued.
        kind: of its shards; only a worker of this kind takes them.
        ahead: how many are offered at once, at most.
        poll_seconds: how often to look for what was done.
    """

    shards: Shards
    job_records: Jobs
    job: str
    kind: str
    ahead: int = AHEAD
    poll_seconds: float = 1.0

    def records(
        self,
        feed: Collection[Shard | ShardRecord],
        *,
        work: Work = _nothing,
        jobs: int = 0,
        stopping: Callable[[], object] = lambda: None,
    ) -> Generator[ShardRecord, None, None]:
        """Let workers do shards, and give the record of each as soon as it is done or set aside; see `run_job`.

        Args:
            feed: the shards, or records of those that an earlier run has done.
            work: does a shard, in a thread of this process.
            jobs: how many this process does at once, at most; 0 for none.
            stopping: called when the iteration ends; `work` must then end.

        Raises:
            InUse: another process feeds this job.
            JobCancelled: another command cancelled it.
            ServiceUnreachable: the board does not answer.
            ServiceFailed: the same.
        """
        return run_job(
            feed,
            job=self.job,
            kind=self.kind,
            shards=self.shards,
            job_records=self.job_records,
            worker=Worker(name=worker_name(), kinds=frozenset({self.kind})),
            work=work,
            jobs=jobs,
            stopping=stopping,
            ahead=self.ahead,
            poll_seconds=self.poll_seconds,
        )
