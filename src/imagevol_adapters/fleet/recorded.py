"""How the records of shards and workers are written: as JSON, on one line, without a credential."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from imagevol_adapters.error_text import one_line
from imagevol_adapters.journals import text_of
from imagevol_core import ServiceFailed
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker, WorkerRecord

__all__ = [
    "key_of_shard",
    "key_of_worker",
    "read",
    "record_of",
    "text_of_record",
    "text_of_worker",
    "worker_of",
    "written",
]

T = TypeVar("T")


def key_of_shard(shard: Shard) -> str:
    """Give the key of a shard, of no two shards the same.

    >>> key_of_shard(Shard(job="audit/1", id="7ad3", kind="deep"))
    'audit%2F1/7ad3'
    """
    return "/".join(map(_quoted, (shard.job, shard.id)))


def key_of_worker(name: str) -> str:
    """Give the key of a worker, of no two workers the same.

    >>> key_of_worker("node-1/4711")
    'node-1%2F4711'
    """
    return _quoted(name)


def text_of_record(record: ShardRecord) -> str:
    """Give the text of a record; equal records have equal texts."""
    shard = record.shard
    value: dict[str, Any] = {
        "job": shard.job,
        "id": shard.id,
        "kind": shard.kind,
        "needs": sorted(shard.needs),
        "work": dict(shard.work),
        "state": record.state.value,
        "attempt": record.attempt,
        "failures": record.failures,
        "holder": record.holder,
        "outcome": None if record.outcome is None else dict(record.outcome),
        "reason": record.reason,
    }
    return written(value)


def record_of(text: str) -> ShardRecord:
    """Give the record that a text says.

    Raises:
        ServiceFailed: it is no such text; another program or release wrote it.

    >>> record = ShardRecord(shard=Shard(job="audit", id="7ad3", kind="deep", work={"size": 7}), attempt=1)
    >>> record_of(text_of_record(record)) == record
    True
    """
    return read(text, "shard", _shard_record)


def text_of_worker(record: WorkerRecord) -> str:
    """Give the text of a worker's record; equal records have equal texts."""
    worker = record.worker
    value: dict[str, Any] = {
        "name": worker.name,
        "kinds": sorted(worker.kinds),
        "backends": None if worker.backends is None else sorted(worker.backends),
        "host": record.host,
        "jobs": record.jobs,
        "beat": record.beat,
        "seen_at": record.seen_at,
    }
    return written(value)


def worker_of(text: str) -> WorkerRecord:
    """Give the worker's record that a text says.

    Raises:
        ServiceFailed: it is no such text; another program or release wrote it.

    >>> worker = Worker(name="one", kinds=frozenset({"deep"}), backends=frozenset({"host@fast"}))
    >>> record = WorkerRecord(worker=worker, host="node-1", jobs=4, seen_at=1e9)
    >>> worker_of(text_of_worker(record)) == record
    True
    """
    return read(text, "worker", _worker_record)


def _shard_record(value: Any) -> ShardRecord:
    return ShardRecord(
        shard=Shard(
            job=text_of(value["job"]),
            id=text_of(value["id"]),
            kind=text_of(value["kind"]),
            needs=frozenset(map(text_of, value["needs"])),
            work=dict(value["work"]),
        ),
        state=ShardState(value["state"]),
        attempt=int(value["attempt"]),
        failures=int(value["failures"]),
        holder=None if value["holder"] is None else text_of(value["holder"]),
        outcome=None if value["outcome"] is None else dict(value["outcome"]),
        reason=None if value["reason"] is None else text_of(value["reason"]),
    )


def _worker_record(value: Any) -> WorkerRecord:
    backends = value["backends"]
    return WorkerRecord(
        worker=Worker(
            name=text_of(value["name"]),
            kinds=frozenset(map(text_of, value["kinds"])),
            backends=None if backends is None else frozenset(map(text_of, backends)),
        ),
        host=text_of(value["host"]),
        jobs=int(value["jobs"]),
        beat=int(value["beat"]),
        seen_at=float(value["seen_at"]),
    )


def read(text: str, what: str, record: Callable[[Any], T]) -> T:
    """Give what a text of a board says.

    Args:
        text: as it is on the board.
        what: it is the record of.
        record: made of the value.

    Raises:
        ServiceFailed: it cannot be made of it; another program or release wrote it.
    """
    try:
        return record(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ServiceFailed(
            f"the record of a {what} cannot be read ({one_line(error)}): use the same release of imagevol on all hosts"
        ) from error


def written(value: dict[str, Any]) -> str:
    """Give the text of a value; equal values have equal texts."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _quoted(part: str) -> str:
    return quote(part, safe="", errors="surrogatepass")
