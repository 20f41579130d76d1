"""The command line in a fork, on the services in memory of another process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.cleanup import released
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_core import (
    AttachFailed,
    ServiceUnreachable,
    VolumeBusy,
)
from tests.faults.killing.memory import PROJECT, FileVolumes, Glance
from tests.faults.killing.remote import Remote

__all__ = ["set_up"]


@attrs.frozen(kw_only=True)
class FileAttacher:
    """This host, on which a volume is the file that holds it."""

    volumes: Any
    host: str = "memory"

    def connector(self) -> Mapping[str, Any]:
        return {"host": self.host, "ip": "127.0.0.1", "platform": "memory", "os_type": "memory"}

    @contextmanager
    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> Iterator[Device]:
        path = self.volumes.connect(attachment, mode)
        with released(f"connection {attachment.id}", lambda: self._disconnected(attachment.id)):
            try:
                device = PathDevice.open(Path(path), writable=mode is AccessMode.WRITE)
            except OSError as error:
                raise AttachFailed(f"volume {attachment.volume_id} cannot be opened: {error.strerror}") from error
            with device:
                yield device

    def disconnect(self, attachment: Attachment) -> None:
        self._disconnected(attachment.id)

    def _disconnected(self, attachment_id: str) -> None:
        """A host lets a device go without a service: so it is asked again if the first call was disturbed."""
        try:
            self.volumes.disconnect(attachment_id)
        except ServiceUnreachable:
            self.volumes.disconnect(attachment_id)

    def is_left(self, attachment: Attachment) -> bool:
        return False

    @contextmanager
    def leaving(self, volume_id: str) -> Iterator[None]:
        yield


class RemoteVolumes(Remote):
    """Cinder, in another process."""

    def attach(self, volume_id: str, *, connector: Any, mode: AccessMode, when_busy: Any = None) -> Attachment:
        try:
            return self._call("attach", (volume_id,), {"connector": connector, "mode": mode}, None)  # type: ignore[no-any-return]
        except VolumeBusy:
            if when_busy is None or not when_busy():
                raise
        return self._call("attach", (volume_id,), {"connector": connector, "mode": mode}, None)  # type: ignore[no-any-return]

    def find(self, volume_ids: Iterable[str]) -> Any:
        return self._call("find", (list(volume_ids),), {}, None)


class RemoteImages(Remote):
    """Glance, in another process."""

    def preferring(self, store: str) -> RemoteImages:
        return self

    def unset_properties(self, image_id: str, names: Iterable[str]) -> Any:
        return self._call("unset_properties", (image_id, list(names)), {}, None)

    def listed(self, image_ids: Iterable[str] | None = None, **wishes: Any) -> Any:
        return self._call("listed", (None if image_ids is None else list(image_ids),), wishes, None)


class ShownImages(RemoteImages):
    """The same, as every command but `cp` asks it."""

    def catalogue(self) -> Any:
        return self._call("catalogue", (), None, None)


def set_up(variables: Mapping[str, str]) -> Callable[[], int]:
    """Give the command line on the services of the cloud whose directory the environment names."""
    import tempfile  # noqa: PLC0415 - in the fork

    from imagevol_adapters.cinder import whole_cloud  # noqa: PLC0415 - in the fork
    from imagevol_adapters.cli import main  # noqa: PLC0415 - in the fork
    from imagevol_adapters.cli.app import Imagevol  # noqa: PLC0415 - in the fork
    from imagevol_adapters.cli.cp import Cp  # noqa: PLC0415 - in the fork

    directory = Path(variables["IMAGEVOL_KILLED"])
    os.chdir(directory / "work")
    tempfile.tempdir = None
    lost = ServiceUnreachable
    volumes = RemoteVolumes(directory / "socket", "volumes", FileVolumes, lost=lost)
    images = RemoteImages(directory / "socket", "images", Glance, lost=lost)
    changed: dict[str, Any] = {
        "images": ShownImages(directory / "socket", "images", Glance, lost=lost),
        "volumes": volumes,
        "attacher": FileAttacher(volumes=volumes),
        "project_id": PROJECT,
        "has_project": lambda _app, _project_id: True,
        "cinder_id": lambda _app: "a-cinder",
    }
    for name, value in changed.items():
        setattr(Imagevol, name, value)
    setattr(Cp, "_glance", images)  # noqa: B010
    setattr(whole_cloud, "WholeCinder", lambda volumes: volumes)  # noqa: B010
    return main
