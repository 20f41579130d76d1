"""How the record of a shard is written: as JSON, on one line, without a credential."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from imagevol_adapters.error_text import one_line
from imagevol_adapters.journals import text_of
from imagevol_core import ServiceFailed
from imagevol_core.sharding import Shard, ShardRecord, ShardState

__all__ = ["key_of_shard", "record_of", "text_of_record"]


def key_of_shard(shard: Shard) -> str:
    """Give the key of a shard, of no two shards the same.

    >>> key_of_shard(Shard(job="audit/1", id="7ad3", kind="deep"))
    'audit%2F1/7ad3'
    """
    return "/".join(quote(part, safe="", errors="surrogatepass") for part in (shard.job, shard.id))


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
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def record_of(text: str) -> ShardRecord:
    """Give the record that a text says.

    Raises:
        ServiceFailed: it is no such text; another program or release wrote it.

    >>> record = ShardRecord(shard=Shard(job="audit", id="7ad3", kind="deep", work={"size": 7}), attempt=1)
    >>> record_of(text_of_record(record)) == record
    True
    """
    try:
        value = json.loads(text)
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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ServiceFailed(
            f"the record of a shard cannot be read ({one_line(error)}): use the same release of imagevol on all hosts"
        ) from error
