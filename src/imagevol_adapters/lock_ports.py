"""The seam to a lock service; `imagevol_adapters.ports` gives these protocols with all others."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

__all__ = ["Lock", "Locks"]


class Lock(Protocol):
    """A lock that was taken."""

    @property
    def name(self) -> str:
        """What it was asked for as."""

    def ensure_held(self) -> None:
        """Ask the lock service whether it is still held, and keep it for another lease if a tenth of this one is over.

        To be called right before what was made is shown to others.  What is done in less than nine tenths of the lease,
        counted from this call, is done under the lock.

        Raises:
            LockLost: it is not held any more.
            ServiceUnreachable: the lock service does not answer, so it is not known.
            ServiceFailed: the lock service answers with an error.
        """


class Locks(Protocol):
    """Locks that one program at a time holds, across all hosts that use the same lock service."""

    @property
    def lease_seconds(self) -> float:
        """How long at most a lock stays taken whose holder was killed; 0 where it is free at once."""

    def held(self, name: str, *, wait_seconds: float) -> AbstractContextManager[Lock]:
        """Hold a lock while the context lasts.

        It is kept however long that is, as long as this process runs.  It is not reentrant: who asks for it inside of
        the context waits, too.

        Args:
            name: any text; each is a lock of its own.
            wait_seconds: how long to wait for it; 0 to try once.

        Raises:
            DeadlineExceeded: another holder still has it after `wait_seconds`.
            LockLost: at the end, if it was lost inside and nothing else failed there.
            ServiceUnreachable: the lock service does not answer: nothing is done inside. At the end: it is
                not known whether the lock was held all the time.
            ServiceFailed: the lock service answers with an error; the same.
        """
