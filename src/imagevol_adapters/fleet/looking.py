"""What an operator sees of the jobs on a board, and what is done with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from imagevol_adapters.fleet.jobs import JobRecord, Jobs
from imagevol_adapters.ports import Shards
from imagevol_core import RequestRefused
from imagevol_core.sentences import quoted, said
from imagevol_core.sharding import ShardRecord, ShardState

__all__ = ["JobState", "cancel_job", "look_at_jobs", "retry_shards"]


@attrs.frozen(kw_only=True)
class JobState:
    """A job, as it is on the board now.

    Attributes:
        job: its name.
        record: what its feeder has written; None if there is no record.
        is_fed: whether its feeder lives.
        shards: what is on the board.
    """

    job: str
    record: JobRecord | None
    is_fed: bool
    shards: tuple[ShardRecord, ...]

    @property
    def state(self) -> str:
        """`running`, `cancelled` if its feeder is about to end, or `not-fed` if none of its shards follow."""
        if not self.is_fed:
            return "not-fed"
        return "cancelled" if self.record and self.record.cancelled else "running"

    @property
    def done(self) -> int:
        """How many shards are done, as far as that is known."""
        there = sum(each.state is ShardState.DONE for each in self.shards)
        return there if self.record is None else min(self.record.done + there, self.record.total)

    @property
    def free(self) -> int:
        """How many shards are offered that no worker has, and whose volume was not in use."""
        return sum(each.state is ShardState.OPEN and each.holder is None for each in self.shards) - len(self.in_use)

    @property
    def in_use(self) -> tuple[ShardRecord, ...]:
        """What no worker has because its volume was in use; it is tried again after a pause."""
        return tuple(
            each for each in self.shards if each.state is ShardState.OPEN and each.holder is None and each.in_use
        )

    @property
    def held(self) -> Mapping[str, tuple[str, ...]]:
        """The ids of the shards that are being done, by the name of their worker."""
        held: dict[str, tuple[str, ...]] = {}
        for each in self.shards:
            if each.state is ShardState.OPEN and each.holder is not None:
                held[each.holder] = (*held.get(each.holder, ()), each.shard.id)
        return held

    @property
    def set_aside(self) -> tuple[ShardRecord, ...]:
        """What was set aside and can be tried again."""
        return tuple(each for each in self.shards if each.state is ShardState.SET_ASIDE)

    @property
    def failed(self) -> int:
        """How many shards were set aside, those too that are not on the board any more."""
        return len(self.set_aside) + (self.record.failed if self.record else 0)


def look_at_jobs(shards: Shards, jobs: Jobs, *, job: str | None = None) -> tuple[JobState, ...]:
    """Give the jobs on a board, in the order of their names.

    Args:
        shards: of all jobs.
        jobs: their records.
        job: only this one; all if None.

    Raises:
        RequestRefused: there is no such job.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error.
    """
    there: dict[str, tuple[ShardRecord, ...]] = {}
    for each in shards.records(job):
        there[each.shard.job] = (*there.get(each.shard.job, ()), each)
    records = {each.job: each for each in jobs.records() if job in (None, each.job)}
    names = sorted({*there, *records})
    if job is not None and not names:
        raise _unknown(job)
    return tuple(
        JobState(job=name, record=records.get(name), is_fed=jobs.is_fed(name), shards=there.get(name, ()))
        for name in names
    )


def cancel_job(job: str, *, shards: Shards, jobs: Jobs) -> int:
    """End a job: tell its feeder, and take its shards off the board; give how many they were.

    A worker that has one loses it when it next looks.

    Args:
        job: its name.
        shards: of all jobs.
        jobs: their records.

    Raises:
        RequestRefused: there is no such job.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error.
    """
    known = jobs.cancel(job)  # first, or the feeder offers them again
    count = sum(shards.withdraw(each.shard) for each in shards.records(job))
    if not known and not count:
        raise _unknown(job)
    return count


def retry_shards(job: str, *, shards: Shards, ids: Iterable[str] | None = None) -> int:
    """Offer shards again that were set aside, and give how many they were.

    Args:
        job: of which job.
        shards: of all jobs.
        ids: which of them; all if None.

    Raises:
        RequestRefused: none of them is set aside.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error.
    """
    wanted = None if ids is None else frozenset(ids)
    count = sum(shards.retry(each.shard) for each in shards.records(job) if wanted is None or each.shard.id in wanted)
    if not count:
        what = "no shard" if wanted is None else "no such shard"
        raise RequestRefused(f"job {said(job)} has {what} that was set aside: look at `imagevol fleet status`")
    return count


def _unknown(job: str) -> RequestRefused:
    return RequestRefused(f"there is no job {said(job) or quoted(job)} on the board: look at `imagevol fleet status`")
