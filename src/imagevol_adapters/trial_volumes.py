"""Volumes that are created to try a backend: each says so, and is deleted however the trial ends."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

import attrs

from imagevol_adapters.cleanup import leftovers, released
from imagevol_adapters.ports import VolumeService
from imagevol_adapters.processes import origin, this_process
from imagevol_adapters.transfers.attaching import delete_freed, unreserved
from imagevol_adapters.transfers.creating import answered
from imagevol_core import ImagevolError, ResourceNotFound, Volume

__all__ = ["TrialVolumes"]


@attrs.define(kw_only=True)
class TrialVolumes:
    """Creates volumes of the smallest size, and deletes each at the end of its context.

    A volume that is left by a killed process is found by `imagevol unfinished`, and deleted with `imagevol rm`.

    Args:
        volumes: where they are created.
        procedure: what creates them, as `VolumeOrigin` lists it.
        volume_type: of each; Cinder's default when None.
        clock: counts seconds.

    Attributes:
        metadata: of each volume, from its first moment.
        seconds: how long the last creation, clone and deletion took, by the names of `Rates`.
    """

    volumes: VolumeService
    procedure: str
    volume_type: str | None = None
    clock: Callable[[], float] = time.monotonic
    metadata: Mapping[str, str] = attrs.field(init=False, repr=False)
    seconds: dict[str, float] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Name this process in the metadata."""
        self.metadata = origin(self.procedure, None).to_volume()

    @contextmanager
    def created(self) -> Iterator[Volume]:
        """Create a volume of 1 GiB, and delete it at the end of the context.

        Raises:
            ImagevolError: it could not be created, or not be deleted; then it is in the error's `leftovers`.
        """
        name = self._name()
        ask = partial(
            self.volumes.create, size_gib=1, name=name, volume_type=self.volume_type, metadata=dict(self.metadata)
        )
        with self._there(ask, name, "create_seconds") as volume:
            yield volume

    @contextmanager
    def cloned(self, volume_id: str) -> Iterator[Volume]:
        """Clone a volume, and delete the clone at the end of the context.

        Args:
            volume_id: the source.

        Raises:
            ImagevolError: as `created`.
        """
        name = self._name()
        ask = partial(self.volumes.clone, volume_id, name=name, metadata=dict(self.metadata))
        with self._there(ask, name, "clone_seconds") as volume:
            yield volume

    def left(self) -> tuple[str, ...]:
        """Delete what is still there of this process, and name what cannot be deleted."""
        if this_process() is None:  # the metadata is that of other runs too
            return ()
        try:
            found = self.volumes.with_metadata(self.metadata)
        except ImagevolError as error:
            return (f"volumes of procedure {self.procedure}, which cannot be looked for ({error})",)
        named: list[str] = []
        for volume in found:
            try:
                with released(f"volume {volume.id}", partial(self._delete, volume.id)):
                    pass
            except ImagevolError as error:
                named += leftovers(error)
        still: set[str] = set()
        with suppress(ImagevolError):  # it answered to the deletions, or each of them is named
            still = {volume.id for volume in self.volumes.find([volume.id for volume in found])}
        return (*named, *(f"volume {each}" for each in sorted(still) if not any(each in name for name in named)))

    @contextmanager
    def _there(self, ask: Callable[[], Volume], name: str, measured: str) -> Iterator[Volume]:
        begun = self.clock()
        made = answered(ask, volumes=self.volumes, name=name, metadata=self.metadata)
        with released(f"volume {made.id}", partial(self._delete, made.id)):
            volume = self.volumes.wait(made.id)
            self.seconds[measured] = self.clock() - begun
            yield volume

    def _delete(self, volume_id: str) -> None:
        begun = self.clock()
        with suppress(ResourceNotFound):  # a trial may have deleted it
            delete_freed(self.volumes, volume_id, free=partial(unreserved, self.volumes))
        self.seconds["delete_seconds"] = self.clock() - begun

    def _name(self) -> str:
        """A name by which the volume is found if Cinder's answer is lost."""
        return f"imagevol-{self.procedure}-{uuid.uuid4()}"
