"""Work that keeps to what all workers together may use of a backend."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from imagevol_adapters.fleet.limits import EVERY_BACKEND
from imagevol_adapters.fleet.running import Work
from imagevol_adapters.ports import Claim, WorkerLimits
from imagevol_core.sharding import WorkerLimit

__all__ = ["limited"]


def limited(work: Work, limits: WorkerLimits, *, attachments: int) -> Work:
    """Give work that waits until the backends of its shard have an attachment left, and has it until it ends.

    Args:
        work: attaches one volume of each backend that its shard needs, at most.
        limits: of all workers.  Their `attachment` raises `TransferCancelled` when this process shall end.
        attachments: how many volumes of a backend all workers together may have attached; written as its limit when
            the first shard of the backend comes.
    """
    known, guard = set[str](), threading.Lock()

    def ensure_known(backend: str) -> None:
        with guard:
            if backend not in known:
                limits.limit(backend, WorkerLimit(attachments=attachments))
                known.add(backend)

    def do(claim: Claim) -> Mapping[str, Any]:
        with ExitStack() as having:
            for backend in sorted(claim.shard.needs):  # in one order, so that no two wait for each other
                if backend != EVERY_BACKEND:  # which has the bytes a second, and is no backend
                    ensure_known(backend)
                    having.enter_context(limits.attachment(backend))
            return work(claim)

    return do
