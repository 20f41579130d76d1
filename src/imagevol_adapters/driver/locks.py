"""The lock service of a Cinder: the operator's own, which Cinder has started already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import attrs
from cinder import coordination
from tooz.coordination import ToozError

from imagevol_core import DeadlineExceeded, ServiceFailed, ServiceUnreachable

__all__ = ["CinderLocks"]


@attrs.frozen
class _Held:
    lock: coordination.Lock
    name: str

    def check(self) -> None:
        """Make sure that it is still held."""
        if not self.lock.acquired:
            raise ServiceFailed(f"lock {self.name} was lost: look at the lock service in [coordination] backend_url")


@attrs.frozen
class CinderLocks:
    """Locks of `[coordination] backend_url`: `Locks`."""

    @contextmanager
    def held(self, name: str, *, wait_seconds: float) -> Iterator[_Held]:
        """Hold a lock while the context lasts."""
        try:
            lock = coordination.COORDINATOR.get_lock(quote(name, safe=""))
            acquired = lock.acquire(blocking=wait_seconds or False)
        except ToozError as error:
            raise ServiceUnreachable(f"the lock service does not answer: {type(error).__name__}") from error
        if not acquired:
            raise DeadlineExceeded(f"lock {name} is held by somebody else", seconds=wait_seconds)
        try:
            yield _Held(lock, name)
        finally:
            lock.release()
