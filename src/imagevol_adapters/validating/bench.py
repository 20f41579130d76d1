"""What the trials of a backend share: the ports, the time that is left, and what was seen so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import attrs

from imagevol_adapters.cleanup import leftovers
from imagevol_adapters.ports import AccessMode, Attacher, Device, VolumeService
from imagevol_adapters.transfers.attaching import attached, refuse_encrypted
from imagevol_adapters.trial_volumes import TrialVolumes
from imagevol_core import GIB, ImagevolError, NotSeen, Seen, Volume

__all__ = ["Bench", "OutOfTime"]


class OutOfTime(ImagevolError):
    """The time that the trials have is over."""


@attrs.define(kw_only=True)
class Bench:
    """Where trials are made.

    Args:
        trial: creates the volumes.
        attacher: connects them to this host.
        deadline: when no trial begins any more, by the clock.
        clock: counts seconds.
        told: is called with the name of each group of trials before it begins.

    Attributes:
        seen: what each trial has shown.
        left: what could not be deleted.
        made: the volumes that were created.
    """

    trial: TrialVolumes
    attacher: Attacher
    deadline: float
    clock: Callable[[], float] = time.monotonic
    told: Callable[[str], None] = lambda _: None
    seen: dict[str, Seen | NotSeen] = attrs.field(factory=dict, init=False)
    left: list[str] = attrs.field(factory=list, init=False)
    made: list[Volume] = attrs.field(factory=list, init=False)

    @property
    def volumes(self) -> VolumeService:
        """Cinder."""
        return self.trial.volumes

    @contextmanager
    def trying(self, phase: str, *rules: str) -> Iterator[None]:
        """Make a group of trials; an error ends it, and what was seen before the error counts.

        Args:
            phase: names the group.
            rules: what it shows, in the order in which it is shown.
        """
        self.told(phase)
        try:  # each trial begins with a volume or an attachment, which looks at the time
            yield
        except ImagevolError as error:
            self._missed(rules, error, failed=not isinstance(error, OutOfTime))

    def saw(self, rule: str, wrong: str | None = None, *, count: int | None = None) -> None:
        """Keep what a trial has shown; of several times the first that is wrong."""
        if not self._is_wrong(rule):
            self.seen[rule] = Seen(wrong=wrong, count=count)

    def missed(self, rule: str, reason: str) -> None:
        """Keep why a trial was not made, or not to its end."""
        if not self._is_wrong(rule):
            self.seen[rule] = NotSeen(reason=reason)

    def _is_wrong(self, rule: str) -> bool:
        seen = self.seen.get(rule)
        return isinstance(seen, Seen) and seen.wrong is not None

    @contextmanager
    def created(self) -> Iterator[Volume]:
        """Create a volume of 1 GiB, and delete it at the end of the context."""
        self.in_time()
        with self.trial.created() as volume:
            self.made.append(volume)
            refuse_encrypted(volume)
            yield volume

    @contextmanager
    def cloned(self, volume_id: str) -> Iterator[Volume]:
        """Clone a volume, and delete the clone at the end of the context."""
        self.in_time()
        with self.trial.cloned(volume_id) as volume:
            self.made.append(volume)
            yield volume

    def attached(
        self, volume: Volume, mode: AccessMode, *, size_gib: int = 1, multiattach: bool = False
    ) -> AbstractContextManager[Device]:
        """Attach a volume to this host while the context lasts."""
        self.in_time()
        return attached(
            volume.id,
            mode=mode,
            volumes=self.volumes,
            attacher=self.attacher,
            size_bytes=size_gib * GIB,
            multiattach=multiattach,
        )

    def in_time(self) -> None:
        """Go on only if there is time left.

        Raises:
            OutOfTime: there is not.
        """
        if self.clock() >= self.deadline:
            raise OutOfTime("there was no time left for it")

    def _missed(self, rules: tuple[str, ...], error: ImagevolError, *, failed: bool) -> None:
        """Let the first trial that has shown nothing be the one that failed, and the others not be made."""
        self.left += leftovers(error)
        missing = [rule for rule in rules if rule not in self.seen]
        for number, rule in enumerate(missing):
            blamed = failed and not number
            reason = str(error) if blamed or not failed else f"an error came before it: {error}"
            self.seen[rule] = NotSeen(reason=reason, failed=blamed)
