"""What trying a backend has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["NotSeen", "Seen", "ValidationFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one trial has shown.

    Args:
        wrong: what the backend did that it must not do, as a sentence; None if it did as it must.
        count: of what was tried: bytes that were read, clones that were created, tests that ran; None if it was one
            thing.
    """

    wrong: str | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSeen:
    """Why a trial has shown nothing.

    Args:
        reason: why, as a sentence.
        failed: whether the trial was begun and ended with an error.  If not, the backend does not offer this, or there
            was no time for it.
    """

    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationFacts:
    """What trying a backend has shown.

    Args:
        name: the store or the backend that was asked for.
        volume_type: of the volumes that were created; None if none was.
        pools: in which they were, as `host@backend#pool`; empty if Cinder does not tell these credentials.
        backend: the section of the backend in which they must be; None if any will do.
        encrypted: whether the volumes are encrypted; None if that is not known.
        seen: what each trial has shown, by the id of its rule; what is not there was not tried.
        left: what could not be deleted, each with its id.
    """

    name: str
    volume_type: str | None = None
    pools: tuple[str, ...] = ()
    backend: str | None = None
    encrypted: bool | None = None
    seen: Mapping[str, Seen | NotSeen] = field(default_factory=dict, hash=False)
    left: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Keep what was seen as it is now."""
        object.__setattr__(self, "seen", MappingProxyType(dict(self.seen)))

    def proves(self, *rules: str) -> bool:
        """Tell whether each of these trials was made, and the backend did as it must.

        >>> ValidationFacts(name="fast", seen={"read-back": Seen()}).proves("read-back", "clone-same")
        False
        """
        return all(isinstance(seen := self.seen.get(rule), Seen) and seen.wrong is None for rule in rules)

    def refutes(self, *rules: str) -> tuple[str, ...]:
        """Give those of the trials that show that the backend cannot be trusted.

        >>> ValidationFacts(name="fast", seen={"read-back": NotSeen(reason="403", failed=True)}).refutes("read-back")
        ('read-back',)
        """
        return tuple(
            rule
            for rule in rules
            if (isinstance(seen := self.seen.get(rule), Seen) and seen.wrong is not None)
            or (isinstance(seen, NotSeen) and seen.failed)
        )
