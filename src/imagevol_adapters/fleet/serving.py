"""A worker: it takes the shards that it can do, of all jobs, until it is told to end."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Event

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.engine.starting import Threads
from imagevol_adapters.error_text import one_line
from imagevol_adapters.fleet.running import Work, work_on
from imagevol_adapters.ports import Claim, Shards
from imagevol_core import ImagevolError, ServiceFailed, ServiceUnreachable, TransferCancelled
from imagevol_core.sharding import Worker

__all__ = ["serve", "worker_name"]

LOG = logging.getLogger(__name__)

_IDLE_SECONDS = 1.0


def worker_name() -> str:
    """Name this process as a worker: by its host and its number, and by a random part that no later process has.

    >>> worker_name().startswith(socket.gethostname())
    True
    """
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:4]}"


def serve(
    shards: Shards,
    *,
    worker: Worker,
    works: Mapping[str, Work],
    jobs: int,
    stopping: Event,
    idle_seconds: float = _IDLE_SECONDS,
) -> int:
    """Do shards until `stopping` is set, and give how many were done, set aside or lost.

    A service that does not answer is asked again.  What is being done at the end must end by itself; it is given back.

    Args:
        shards: of all jobs.
        worker: this process.
        works: does a shard, by the kind of its work.
        jobs: how many are done at once, at most.
        stopping: set when the worker shall end.
        idle_seconds: how often to look for a shard.

    Raises:
        ThreadFailed: a thread could not begin.
    """
    running: set[Future[None]] = set()
    count, told = 0, ""
    with Threads("shard") as threads:
        while not stopping.is_set():
            claim = None
            if len(running) < jobs:
                try:
                    claim, told = shards.claim(worker), ""
                except (ServiceUnreachable, ServiceFailed) as error:
                    if str(error) != told:  # and not again each second
                        LOG.warning("%s", error)
                    told = str(error)
            if claim is not None:
                with undone_on_failure(f"the lease of shard {claim.shard.id}", claim.give_back):
                    running.add(threads.submit(_do, claim, works))
                count += 1
            elif running:
                running = wait(running, idle_seconds, FIRST_COMPLETED).not_done
            else:
                stopping.wait(idle_seconds)
    return count


def _do(claim: Claim, works: Mapping[str, Work]) -> None:
    """Do a shard; whatever becomes of it, the worker goes on with others."""
    try:
        work_on(claim, works[claim.shard.kind])
    except TransferCancelled:
        LOG.info("Shard %s was given back", claim.shard.id)
    except ImagevolError as error:
        LOG.warning("Shard %s: %s", claim.shard.id, error)
    except Exception as error:
        LOG.exception("Shard %s: %s", claim.shard.id, one_line(error))
