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
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

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
        opened: attaches the volume, gives its device and, when it goes on, detaches the volume.
        device: what is read.
        readers: those who read it.
        ending: the reader that detaches it.
        busy: why it could not be attached, if that is because another has the volume.
        waiting: a lock of each that waits until it is attached or gone, which is released then.
    """

    opened: Generator[Device]
    device: Device | None = None
    readers: set[_Reader] = attrs.field(factory=set)
    ending: _Reader | None = None
    busy: VolumeBusy | None = None
    waiting: list[threading.Lock] = attrs.field(factory=list)

    def ring(self) -> None:
        """Let those who wait look again."""
        for bell in self.waiting:
            if bell.locked():
                bell.release()


@attrs.define(eq=False)
class _Reader:
    """One that reads, or wants to.

    Attributes:
        process: in which it began; a forked child inherits the reader, and not the attachment.
        shared: what it has to leave, set before anything else is changed.
    """

    process: int = attrs.field(factory=os.getpid)
    shared: _Shared | None = None


class SharedAttachments:
    """Attachments for reading that the threads of a process share.  Make one for the process.

    Pass its method `attached` as `attach` to `open_image_volume`.  Readers share if they use the same `volumes`: a
    reader with other credentials attaches the volume alone.  A process that was forked shares nothing with its parent.

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
        """Attach a volume while the context lasts, as the function `attached` does.  Readers share the attachment.

        All readers of a volume must give the same size.

        Raises:
            VolumeBusy: another program has the volume attached, for longer than this reader waits.
            AttachFailed: the volume could not be connected, or the last reader could not disconnect it.
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
        """Read while the context lasts.

        An interrupt can come at any place, also while the reader leaves.  So leaving can be begun again, and is.
        """
        reader = _Reader()
        try:
            try:
                yield self._joined(key, reader, opening)
                self._leave(key, reader, None)
            except BaseException as error:
                self._leave(key, reader, error)
                raise
        except BaseException as error:
            self._leave(key, reader, error)
            raise

    def _joined(self, key: tuple[int, str], reader: _Reader, opening: _Opening) -> Device:
        """Join those who read the volume, or attach it for all."""
        began = time.monotonic()
        while True:
            with self._lock:
                shared = self._register.get(key)
                if shared is None:
                    shared = reader.shared = _Shared(opened=_opened(opening))
                    self._register[key] = shared
                    break
                if shared.device is not None and shared.readers:
                    reader.shared = shared
                    shared.readers.add(reader)
                    return shared.device
                bell = threading.Lock()
                bell.acquire()
                shared.waiting.append(bell)
            left = began + _OPENING_SECONDS - time.monotonic()  # also where one after the other fails to attach
            rung = left > 0 and bell.acquire(timeout=left)
            waited, busy = time.monotonic() - began, shared.busy
            if not rung:
                raise VolumeBusy(key[1], status="attaching", waited_seconds=waited)
            if busy and waited >= busy.waited_seconds:  # it has waited no less than the one that gave up
                raise VolumeBusy(
                    key[1], status=busy.status, waited_seconds=waited, holders=busy.holders
                ) from busy.__cause__
        return self._attached(shared, reader)

    def _attached(self, shared: _Shared, reader: _Reader) -> Device:
        """Attach the volume for all."""
        try:
            device = next(shared.opened)
        except VolumeBusy as busy:
            shared.busy = busy
            raise
        with self._lock:
            shared.readers.add(reader)
            shared.device = device
            shared.ring()
        return device

    def _leave(self, key: tuple[int, str], reader: _Reader, error: BaseException | None) -> None:
        """Read no more, and detach the volume if no other reads it; nothing is done twice."""
        shared = reader.shared
        if shared is None or reader.process != os.getpid():
            return
        with self._lock:
            shared.readers.discard(reader)
            if shared.readers or shared.ending not in (None, reader):
                return
            shared.ending = reader
        try:
            _end(shared.opened, error)
        finally:
            with self._lock:
                if self._register.get(key) is shared:
                    del self._register[key]
                shared.ring()

    def _begin(self) -> None:
        """Know of no attachment.

        Those of a parent process are kept and never used: what ends them must not run in its children.
        """
        self._inherited.append(self._register)
        self._register = {}
        self._lock = threading.Lock()


def _opened(opening: _Opening) -> Generator[Device]:
    """Attach the volume, give its device, and detach it.  What it has begun it also ends when it is forgotten."""
    with opening() as device:
        yield device


def _end(opened: Generator[Device], error: BaseException | None) -> None:
    """Detach the volume, if that is not done yet, and let an error of its last reader name what is left."""
    if error is None:
        next(opened, None)
        return
    traceback = error.__traceback__
    try:
        opened.throw(error)
    except BaseException as raised:
        if raised is not error and raised.__cause__ is not error:
            raise
        error.__traceback__ = traceback  # or the error and this frame would keep each other, and what both refer to
