"""How the records of shards and workers are written: as JSON, on one line, without a credential."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from imagevol_adapters.error_text import one_line
from imagevol_adapters.journals import text_of
from imagevol_core import ServiceFailed
from imagevol_core.sentences import said
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker, WorkerRecord

__all__ = [
    "count_of",
    "key_of_shard",
    "key_of_worker",
    "name_of",
    "number_of",
    "read",
    "reason_of",
    "record_of",
    "text_of_record",
    "text_of_worker",
    "time_of",
    "worker_of",
    "written",
]

T = TypeVar("T")

_MOST = 1 << 53  # what a JSON number keeps exactly
_LATEST = 253402300799  # the end of the year 9999
_LONGEST = 1000  # in characters: of a name, and of a reason


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
        "host": record.host,
        "left_on": record.left_on,
        "in_use": record.in_use,
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
            job=name_of(value["job"]),
            id=name_of(value["id"]),
            kind=name_of(value["kind"]),
            needs=frozenset(map(name_of, value["needs"])),
            work=dict(value["work"]),
        ),
        state=ShardState(value["state"]),
        attempt=count_of(value["attempt"]),
        failures=count_of(value["failures"]),
        holder=_name_or_none(value["holder"]),
        host=_name_or_none(value["host"]),
        left_on=_name_or_none(value["left_on"]),
        in_use=count_of(value["in_use"]),
        outcome=None if value["outcome"] is None else dict(value["outcome"]),
        reason=None if value["reason"] is None else reason_of(value["reason"]),
    )


def _worker_record(value: Any) -> WorkerRecord:
    backends = value["backends"]
    return WorkerRecord(
        worker=Worker(
            name=name_of(value["name"]),
            kinds=frozenset(map(name_of, value["kinds"])),
            backends=None if backends is None else frozenset(map(name_of, backends)),
        ),
        host=name_of(value["host"]),
        jobs=count_of(value["jobs"]),
        beat=count_of(value["beat"]),
        seen_at=time_of(value["seen_at"]),
    )


def _name_or_none(value: object) -> str | None:
    return None if value is None else name_of(value)


def count_of(value: object) -> int:
    """Give a count that a record must have: a whole number that is not below 0.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise ValueError("a count is no whole number from 0")
    return value


def number_of(value: object) -> float:
    """Give a number that a record must have.

    Raises:
        ValueError: it is something else, or as large as no record has one.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not -_MOST <= value <= _MOST:
        raise ValueError("a number is missing, or too large")
    return float(value)


def time_of(value: object) -> float:
    """Give a time that a record must have, in seconds since 1970.

    Raises:
        ValueError: it is something else.
    """
    seconds = number_of(value)
    if not 0 <= seconds <= _LATEST:
        raise ValueError("a time is before 1970, or after the year 9999")
    return seconds


def name_of(value: object) -> str:
    """Give a name that a record must have: a text that a terminal can show.

    Raises:
        ValueError: it is something else.
    """
    text = text_of(value)
    if len(text) > _LONGEST or not text.isprintable():
        raise ValueError("a name is too long, or cannot be shown")
    return text


def reason_of(value: object) -> str:
    r"""Give a reason on one line, and not more of it than a person reads: any program can have written it.

    Raises:
        ValueError: it is no text.

    >>> reason_of("the image is gone" + chr(27))
    'the image is gone\\x1b'
    """
    text = text_of(value)
    line = said(text[: _LONGEST + 1])  # what a terminal would obey is written out, and so longer
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


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
