"""What glance_store's own tests showed of the store driver."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from glance_store.exceptions import BackendException, StorageFull
from oslo_config import cfg

from imagevol_adapters.store import Store
from imagevol_adapters.store.attaching import attacher
from imagevol_adapters.store.driver import Cloud
from imagevol_adapters.store.errors import translated
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_core import AttachFailed, VolumeFailed

IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
OWNER: Any = SimpleNamespace(project_id="p")


@pytest.fixture
def volumes() -> MemoryVolumes:
    return MemoryVolumes()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, volumes: MemoryVolumes) -> Store:
    """A store whose Cinder and host are in memory."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    store = Store(conf, backend="fast")
    cloud: Any = Cloud(volumes, MemoryAttacher(volumes=volumes), "memory")  # type: ignore[arg-type]
    monkeypatch.setattr(store, "_cloud", lambda context: cloud)
    return store


@pytest.mark.parametrize(
    "status, expected",
    [
        ("available", StorageFull),  # Cinder's scheduler has found no room and put it back
        ("error_extending", StorageFull),
        ("error", BackendException),
        ("error_deleting", BackendException),
    ],
)
def test_a_volume_that_cannot_grow_is_a_full_store(status: str, expected: type[Exception]) -> None:
    with pytest.raises(expected, match="no backend has room"), translated():
        raise VolumeFailed("7", status=status, wanted="what it is not", reason="no backend has room")


@pytest.mark.parametrize("end", [b"", None, ""])
def test_data_end_with_whatever_is_empty(store: Store, volumes: MemoryVolumes, end: object) -> None:
    pieces = iter([b"da", b"ta", end])
    body: Any = SimpleNamespace(read=lambda size: next(pieces))
    url, size_bytes, md5, *_ = store.add(IMAGE_ID, body, 0, "sha512", context=OWNER)
    assert (size_bytes, md5) == (4, "8d777f385d3dfec8815d20f7496026dc")
    assert url.startswith("cinder://fast/")
    assert len(volumes.volumes) == 1


def test_only_attaching_takes_an_address_of_this_host(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(socket, "gethostname", lambda: "nowhere")
    host = attacher(store.store_conf, None)  # type: ignore[arg-type]
    with pytest.raises(AttachFailed, match="add nowhere to /etc/hosts"):
        host.connector()
