"""What the store counts: images, bytes and seconds, stored and read."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import attrs

from imagevol_adapters.metrics import STORE, recorder

__all__ = ["Transfer", "counted", "counted_content"]


@attrs.define
class Transfer:
    """What a transfer has come to.

    Attributes:
        size_bytes: how many bytes were moved.
        whole: whether all that was asked for was moved.
    """

    size_bytes: int = 0
    whole: bool = False


@contextmanager
def counted(options: Any, store: str | None, direction: str) -> Iterator[Transfer]:
    """Count a transfer while the context lasts; nothing that happens here fails it.

    Args:
        options: of the store.
        store: its name; None if Glance has only one.
        direction: `read` or `write`.
    """
    file = getattr(options, "image_clone_metrics_file", None)
    found, labels = recorder(file or None), {"store": store or "glance_store", "direction": direction}
    transfer, begun = Transfer(), time.monotonic()
    try:
        yield transfer
    except Exception:
        found.add(STORE["failures"], 1, **labels)
        raise
    finally:
        found.add(STORE["bytes"], transfer.size_bytes, **labels)
        found.add(STORE["seconds"], time.monotonic() - begun, **labels)
        if transfer.whole:
            found.add(STORE["transfers"], 1, **labels)
            found.now(STORE["last_success"], **labels)


def counted_content(content: Generator[Any, None, None], options: Any, store: str | None) -> Generator[Any, None, None]:
    """Count an image while it is read, and close what it is read from on every way out.

    Args:
        content: gives how many bytes there are, and then the bytes.
        options: of the store.
        store: its name.
    """
    with closing(content), counted(options, store, "read") as transfer:
        size_bytes: int = next(content)
        yield size_bytes
        for part in content:
            transfer.size_bytes += len(part)
            transfer.whole = transfer.size_bytes >= size_bytes  # who has all of it need not ask for more
            yield part
        transfer.whole = True
