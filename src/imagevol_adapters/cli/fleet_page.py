"""What `imagevol fleet status --html` shows of a board: its jobs, and its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from imagevol_adapters.cli.report_contents import page_contents
from imagevol_adapters.cli.short_kind import short_kind
from imagevol_adapters.error_text import without_known
from imagevol_adapters.reporting import Contents, ShownJob, ShownShard, ShownWorker
from imagevol_core import without_userinfo
from imagevol_core.sentences import said

__all__ = ["board_contents"]

T = TypeVar("T")

_MOST = 200  # rows of a table: any program that reaches the board can write there
_LONGEST_NAME, _LONGEST_TEXT = 200, 1000  # in characters


def board_contents(
    typed: Sequence[str], *, board: str, jobs: Sequence[Mapping[str, Any]], workers: Sequence[Mapping[str, Any]]
) -> Contents:
    """Give the contents of a page that is made now.

    Args:
        typed: the command line.
        board: its name, without a password.
        jobs: as `imagevol fleet status` gives them in JSON.
        workers: as `imagevol fleet workers` gives them in JSON.
    """
    now, notes = datetime.now(UTC), list[str]()
    shards = [
        _shard(job, each, state)
        for job in jobs
        for state, name in (("failed", "set_aside"), ("waits", "in_use"))
        for each in job[name]
    ]
    return page_contents(
        [without_known(without_userinfo(word)) for word in typed],
        title=f"Jobs on {board}",
        counts={"jobs": len(jobs), "workers": len(workers), "failed shards": sum(each["failed"] for each in jobs)},
        images=None,
        jobs=[_job(each, now) for each in _first(jobs, "jobs", "status", notes)],
        shards=_first(shards, "shards that failed or wait", "status", notes),
        workers=[_worker(each) for each in _first(workers, "workers", "workers", notes)],
        notes=notes,
    )


def _first(rows: Sequence[T], what: str, command: str, notes: list[str]) -> Sequence[T]:
    if len(rows) > _MOST:
        notes.append(f"Only {_MOST} of {len(rows)} {what} are shown. `imagevol fleet {command} -f json` has all.")
    return rows[:_MOST]


def _job(job: Mapping[str, Any], now: datetime) -> ShownJob:
    kind, left = job["kind"], job["seconds_left"]
    return ShownJob(
        name=_short(job["job"]),
        work=None if kind is None else _short(short_kind(kind)),
        state=job["state"],
        done=job["done"],
        total=job["total"],
        held=sum(len(each["shards"]) for each in job["held"]),
        failed=job["failed"],
        rate=job["rate"],
        left_seconds=left,
        ends_at=None if left is None else _later(now, left),
    )


def _later(now: datetime, seconds: int) -> datetime | None:
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:  # after the year 9999
        return None


def _shard(job: Mapping[str, Any], shard: Mapping[str, Any], state: str) -> ShownShard:
    return ShownShard(
        job=_short(job["job"]),
        id=_short(shard["shard"]),
        state=state,
        reason=None if shard["reason"] is None else _short(shard["reason"], _LONGEST_TEXT),
    )


def _worker(worker: Mapping[str, Any]) -> ShownWorker:
    backends, seen = worker["backends"], worker["last_seen"]
    return ShownWorker(
        name=_short(worker["worker"]),
        host=_short(worker["host"]),
        work=_short("; ".join(map(short_kind, worker["kinds"])), _LONGEST_TEXT),
        backends="all" if backends is None else _short(", ".join(backends), _LONGEST_TEXT),
        held=len(worker["held"]),
        jobs=worker["jobs"],
        seen_at=None if seen is None else datetime.fromisoformat(seen),
    )


def _short(text: str, longest: int = _LONGEST_NAME) -> str:
    """Give a text of the board on one line."""
    line = said(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
