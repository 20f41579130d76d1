"""One attachment for all who read a volume at the same time in one process.

A volume that is not multiattach can be attached once.  Without sharing, of sixteen downloads of one image fifteen wait,
or fail.  With it, the first attaches the volume, the others read through its device, and the last detaches the volume.

A reader holds the attachment for as long as its context lasts, however slow it is, and no longer.  Devices are read at
an offset, so that readers have no position in common.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from types import TracebackType

import attrs

from imagevol_adapters.forking import begun_anew_when_forked
from imagevol_adapters.ports import AccessMode, Attacher, Device, VolumeService
from imagevol_adapters.transfers.attaching import Attach, attached
from imagevol_core import VolumeBusy

__all__ = ["SharedAttachments"]

_OPENING_SECONDS = 300  # for how long a reader waits while others attach; a path that hangs must not hold all

_Opening = Callable[[], AbstractContextManager[Device]]


@attrs.define(eq=False)
class _Shared:
    """An attachment, from before it is made until after it is gone; it can be joined while it has readers.

    Attributes:
        device: what is read.
        readers: how many read it.
        ending: detaches it, and takes it out of the register.
        busy: why it could not be attached, if that is because another has the volume.
    """

    device: Device | None = None
    readers: int = 0
    ending: ExitStack = attrs.field(factory=ExitStack)
    busy: VolumeBusy | None = None


class SharedAttachments:
    """What is attached to be read, shared by the readers of this process: a wrapper of `attached`.

    Only readers who use the same `volumes` share: a reader with other credentials attaches the volume alone.  A
    process that was forked shares nothing with its parent.

    >>> from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
    >>> volumes = MemoryVolumes()
    >>> volume, attacher = volumes.wait(volumes.create(size_gib=1, name="image").id), MemoryAttacher(volumes=volumes)
    >>> sharing, how = SharedAttachments(), {"mode": AccessMode.READ, "volumes": volumes, "attacher": attacher}
    >>> with sharing.attached(volume.id, **how) as one, sharing.attached(volume.id, **how) as other:
    ...     one is other, len(volumes.attachments)
    (True, 1)
    """

    def __init__(self, attach: Attach = attached) -> None:
        """Take what attaches a volume."""
        self._attach = attach
        self._register: dict[tuple[int, str], _Shared] = {}
        self._inherited: list[object] = []
        begun_anew_when_forked(self._begin)

    def attached(
        self,
        volume_id: str,
        *,
        mode: AccessMode,
        volumes: VolumeService,
        attacher: Attacher,
        size_bytes: int | None = None,
        multiattach: bool = False,
    ) -> AbstractContextManager[Device]:
        """Attach a volume while the context lasts, as `attached` does; who only reads shares.

        Readers who share say the same of its size: it is their image's.

        Raises:
            VolumeBusy: another has the volume, and had it for as long as this reader was ready to wait.
            AttachFailed: it could not be connected, or, from the last reader, not be let go.
            ImagevolError: whatever else the ports raise.
        """
        opening = partial(
            self._attach,
            volume_id,
            mode=mode,
            volumes=volumes,
            attacher=attacher,
            size_bytes=size_bytes,
            multiattach=multiattach,
        )
        if mode is not AccessMode.READ:
            return opening()
        return self._reading((id(volumes), volume_id), opening)

    @contextmanager
    def _reading(self, key: tuple[int, str], opening: _Opening) -> Iterator[Device]:
        shared, device = self._joined(key, opening)
        owner = os.getpid()

        def leave(
            kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> bool | None:
            if os.getpid() != owner:  # a forked child inherits the reader, and not the attachment
                return None
            with self._changed:
                shared.readers -= 1
                if shared.readers:
                    return None
            return shared.ending.__exit__(kind, error, traceback)

        with ExitStack() as leaving:
            leaving.push(leave)
            yield device

    def _joined(self, key: tuple[int, str], opening: _Opening) -> tuple[_Shared, Device]:
        """Join those who read the volume, or be the first of them."""
        began = time.monotonic()
        while True:
            with self._changed:
                shared = self._register.get(key)
                if shared is None:
                    shared = self._register[key] = _Shared()
                    break
                if shared.device is not None and shared.readers:
                    shared.readers += 1
                    return shared, shared.device
                left = began + _OPENING_SECONDS - time.monotonic()  # also where one after the other fails to attach
                changed = left > 0 and self._changed.wait_for(partial(self._settled, key, shared), timeout=left)
            waited, busy = time.monotonic() - began, shared.busy
            if not changed:
                raise VolumeBusy(key[1], status="attaching", waited_seconds=waited)
            if busy and waited >= busy.waited_seconds:  # it has waited no less than the one that gave up
                raise VolumeBusy(
                    key[1], status=busy.status, waited_seconds=waited, holders=busy.holders
                ) from busy.__cause__
        return shared, self._opened(key, shared, opening)

    def _opened(self, key: tuple[int, str], shared: _Shared, opening: _Opening) -> Device:
        """Attach the volume for all."""
        with ExitStack() as undo:
            undo.callback(self._forget, key)
            try:
                device = undo.enter_context(opening())
            except VolumeBusy as busy:
                shared.busy = busy
                raise
            with self._changed:
                shared.device, shared.readers, shared.ending = device, 1, undo.pop_all()
                self._changed.notify_all()
        return device

    def _settled(self, key: tuple[int, str], shared: _Shared) -> bool:
        """Whether what was waited for is attached, or gone."""
        now = self._register.get(key)
        return now is not shared or now.readers > 0

    def _forget(self, key: tuple[int, str]) -> None:
        with self._changed:
            del self._register[key]
            self._changed.notify_all()

    def _begin(self) -> None:
        """Know of no attachment.

        Those of a parent process are kept and never used: what ends them must not run in its children.
        """
        self._inherited.append(self._register)
        self._register = {}
        self._changed = threading.Condition()
