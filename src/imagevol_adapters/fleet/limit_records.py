"""How the limits of all workers, and what is used of them, are written: as JSON, without a credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagevol_adapters.fleet.recorded import count_of, key_of_worker, name_of, number_of, read, written
from imagevol_core import ServiceFailed
from imagevol_core.sharding import Flow, WorkerLimit

__all__ = [
    "flow_of",
    "holders_of",
    "is_limit_record",
    "key_of_limit",
    "limit_of",
    "text_of_flow",
    "text_of_holders",
    "text_of_limit",
]


def key_of_limit(what: str, backend: str) -> str:
    """Give the key of what is written of a backend: its `limit`, its `slots` or its `flow`.

    >>> key_of_limit("limit", "host@fast")
    'limit/host%40fast'
    """
    return f"{what}/{key_of_worker(backend)}"


def is_limit_record(key: str, text: str) -> bool:
    """Tell whether a text can be read, as what its key says of a backend.

    >>> text = text_of_limit("host@fast", WorkerLimit(attachments=4))
    >>> is_limit_record("limit/host%40fast", text), is_limit_record("limit/host", text), is_limit_record("flow/a", text)
    (True, False, False)
    """
    try:
        match key.partition("/"):
            case "limit", "/", _:
                return key == key_of_limit("limit", limit_of(text)[0])
            case "slots", "/", _:
                holders_of(text)
            case "flow", "/", _:
                flow_of(text)
            case _:
                return False
    except ServiceFailed:
        return False
    return True


def text_of_limit(backend: str, limit: WorkerLimit) -> str:
    """Give the text of a limit."""
    return written({"backend": backend, "bytes_per_second": limit.bytes_per_second, "attachments": limit.attachments})


def limit_of(text: str) -> tuple[str, WorkerLimit]:
    """Give the backend and the limit that a text says.

    Raises:
        ServiceFailed: it is no such text; another program or release wrote it.

    >>> limit_of(text_of_limit("host@fast", WorkerLimit(attachments=4)))
    ('host@fast', WorkerLimit(bytes_per_second=None, attachments=4))
    """

    def limit(value: Any) -> tuple[str, WorkerLimit]:
        rate, most = value["bytes_per_second"], value["attachments"]
        return name_of(value["backend"]), WorkerLimit(
            bytes_per_second=None if rate is None else number_of(rate),
            attachments=None if most is None else count_of(most),
        )

    return read(text, "limit", limit)


def text_of_holders(holders: Mapping[str, str]) -> str:
    """Give the text of the attachments that are made: the worker of each, by its id."""
    return written(dict(holders))


def holders_of(text: str) -> Mapping[str, str]:
    """Give the worker of each attachment, by its id.

    Raises:
        ServiceFailed: it is no such text; another program or release wrote it.

    >>> holders_of(text_of_holders({"7ad3": "one"}))
    {'7ad3': 'one'}
    """
    return read(text, "limit", lambda value: {name_of(key): name_of(worker) for key, worker in value.items()})


def text_of_flow(flow: Flow, by: str) -> str:
    """Give the text of what is booked, and by which booking."""
    return written({"owed_bytes": flow.owed_bytes, "at": flow.at, "by": by})


def flow_of(text: str) -> Flow:
    """Give what is booked.

    Raises:
        ServiceFailed: it is no such text; another program or release wrote it.

    >>> flow_of(text_of_flow(Flow(owed_bytes=7, at=1.5), "one-1"))
    Flow(owed_bytes=7.0, at=1.5)
    """
    return read(text, "limit", lambda value: Flow(owed_bytes=number_of(value["owed_bytes"]), at=number_of(value["at"])))
