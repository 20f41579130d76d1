"""Ports that are watched: each call of a method goes through one function, which carries it out or does not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, cast

import attrs

from imagevol_adapters.cleanup import released
from imagevol_adapters.ports import AccessMode, Attacher, Attachment, Device, ImageService, VolumeService

__all__ = ["Watching"]

T = TypeVar("T")


class Watching(ABC):
    """Wraps ports, and is asked at each call of them.

    The name of a call is that of the port and of the method, such as `volumes.create`.  The end of the context that
    `Attacher.open` gives is the call `attacher.close`.
    """

    @abstractmethod
    def call(self, name: str, do: Callable[[], Any], arguments: tuple[object, ...]) -> Any:
        """Carry out a call, or do not, and give its answer.

        Args:
            name: such as `volumes.create`.
            do: carries it out.
            arguments: what it was given, in order; those that have a name as pairs after the others.
        """

    def volumes(self, port: VolumeService) -> VolumeService:
        """Watch a volume service."""
        return self.port(port, "volumes")

    def images(self, port: ImageService) -> ImageService:
        """Watch an image service."""
        return self.port(port, "images")

    def device(self, device: Device) -> Device:
        """Watch a device."""
        return self.port(device, "device")

    def attacher(self, port: Attacher) -> Attacher:
        """Watch an attacher and the devices that it gives."""
        return _WatchedAttacher(port, self)

    def port(self, port: T, name: str) -> T:
        """Watch any other port, such as one of your own.

        Args:
            port: what has the methods.
            name: what its calls are named after.
        """
        return cast("T", _Watched(port, name, self))


@attrs.define
class _Watched:
    """Any object, of which each call of a method is watched."""

    _port: object
    _name: str
    _watching: Watching

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not callable(value):
            return value

        def watched(*args: Any, **kwargs: Any) -> Any:
            arguments = (*args, *sorted(kwargs.items()))
            return self._watching.call(f"{self._name}.{name}", lambda: value(*args, **kwargs), arguments)

        return watched


@attrs.define
class _WatchedAttacher:
    """An attacher, of which connecting and letting go are two calls; what is not let go stays connected."""

    _port: Attacher
    _watching: Watching

    def connector(self) -> Mapping[str, Any]:
        """Tell what Cinder must know of this host."""
        answer: Mapping[str, Any] = self._watching.call("attacher.connector", self._port.connector, ())
        return answer

    @contextmanager
    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> Iterator[Device]:
        """Connect the volume while the context lasts."""
        connection = self._port.open(attachment, mode=mode, keep=keep)
        device = self._watching.call("attacher.open", connection.__enter__, (attachment, mode))
        with released(f"device of volume {attachment.volume_id}", lambda: self._close(connection, attachment)):
            yield self._watching.device(device)

    def disconnect(self, attachment: Attachment) -> None:
        """Disconnect what a process that is dead has left connected."""
        self._watching.call("attacher.disconnect", lambda: self._port.disconnect(attachment), (attachment,))

    def is_left(self, attachment: Attachment) -> bool:
        """Tell whether the volume may still be connected."""
        return self._port.is_left(attachment)

    def leaving(self, volume_id: str) -> AbstractContextManager[object]:
        """Let no other attachment of the volume leave this host."""
        answer: AbstractContextManager[object] = self._watching.call(
            "attacher.leaving", lambda: self._port.leaving(volume_id), (volume_id,)
        )
        return answer

    def _close(self, connection: AbstractContextManager[Device], attachment: Attachment) -> None:
        self._watching.call("attacher.close", lambda: connection.__exit__(None, None, None), (attachment,))
