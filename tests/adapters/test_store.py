"""The store driver on a Cinder in memory."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import logging
import os
import re
import threading
import traceback
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from errno import EACCES, ENOSPC
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import glance_store
import pytest
from glance_store import capabilities, exceptions
from glance_store import location as glance_location
from keystoneauth1.identity import V3ApplicationCredential, V3Password
from oslo_config import cfg
from prometheus_client.parser import text_string_to_metric_families
from requests_mock import Mocker

from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.metrics import recorder
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.processes import this_process
from imagevol_adapters.store import Store, StoreLocation, sessions
from imagevol_adapters.store.counting import counted_content
from imagevol_adapters.store.driver import Cloud
from imagevol_adapters.store.errors import translated
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_core import (
    GIB,
    AccessDenied,
    AttachFailed,
    ContentMismatch,
    DeadlineExceeded,
    DeviceFailed,
    ImagevolError,
    InUse,
    InvalidConfiguration,
    OverQuota,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    ServiceUnreachable,
    SourceFailed,
    StoreHost,
    VolumeBusy,
    VolumeFailed,
    VolumeOrigin,
    WrongLength,
)
from tests.adapters.hostile_urls import HOSTILE_PASSWORDS, shows_a_piece
from tests.adapters.rest import CINDER, offer_cinder, session

DATA = bytes(range(256)) * 20_000
IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
NOBODY = "00000000-0000-4000-8000-000000000000"
VOLUME = {"size": 1, "status": "available", "volume_type": "fast", "metadata": {}}
SECRET = "a-password-that-nobody-may-see"
GOOD_HOST = StoreHost(
    name="here",
    address="192.0.2.7",
    loopback=False,
    lock_path="/var/lock",
    rootwrap_config="/etc/glance/rootwrap.conf",
    rootwrap_config_exists=True,
    privsep_helper="privsep-helper",
    privsep_helper_exists=True,
)
REQUEST = SimpleNamespace(project_id="the-owner", user_id="u", auth_token="t", service_catalog=[])
OPTIONS = {
    "cinder_volume_type": None,
    "cinder_store_auth_address": "http://keystone.test/v3",
    "cinder_store_user_name": "glance",
    "cinder_store_password": SECRET,
    "cinder_store_project_name": "service",
}
Stores = Callable[..., Store]


@attrs.frozen
class World:
    """A Cinder in memory, and a store that has it."""

    volumes: MemoryVolumes
    store: Store

    def add(self, data: bytes = DATA, size_bytes: int | None = None, **more: Any) -> glance_location.Location:
        size = len(data) if size_bytes is None else size_bytes
        url, *_ = self.store.add(IMAGE_ID, io.BytesIO(data), size, "sha512", context=REQUEST, **more)
        return location(self.store, url)

    def watched(self, steps: Steps) -> Store:
        """The store, with steps that may fail."""
        attacher: Any = steps.attacher(MemoryAttacher(volumes=self.volumes))
        volumes: Any = steps.volumes(self.volumes)
        self.store._service = Cloud(volumes, attacher, "memory")
        return self.store


def location(store: Store, url: str) -> glance_location.Location:
    return glance_location.Location("cinder", StoreLocation, cfg.CONF, uri=url, backend=store.backend_group)


@pytest.fixture
def stores() -> Iterator[Stores]:
    """Makes stores as Glance does; the options are those of a section."""

    def make(name: str | None = None, **options: Any) -> Store:
        name = name or f"store-{uuid.uuid4()}"  # a configuration forgets no section
        store = Store(cfg.CONF, backend=name)
        for option, value in {**OPTIONS, **options}.items():
            cfg.CONF.set_override(option, value, group=name)
        return store

    cfg.CONF([], project="glance", default_config_files=[])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imagevol_adapters.store.attaching.address_of", lambda _: "192.0.2.7")
        patch.setattr("imagevol_adapters.store.starting.host_of", lambda *_, **__: GOOD_HOST)
        yield make
    cfg.CONF.clear()


@pytest.fixture
def world(stores: Stores) -> World:
    volumes = MemoryVolumes()
    store = stores()
    world = World(volumes, store)
    world.watched(Steps())
    return world


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def read(store: Store, where: glance_location.Location, **part: Any) -> bytes:
    return b"".join(store.get(where, **part)[0])


class TestImages:
    def test_what_is_added_is_read_and_deleted(self, world: World) -> None:
        where = world.add()
        assert read(world.store, where) == DATA
        assert read(world.store, where, offset=3, chunk_size=5) == DATA[3:8]
        assert world.store.get_size(where) == len(DATA)
        (volume,) = world.volumes.volumes.values()
        assert (volume.readonly, volume.metadata["image_owner"]) == (True, "the-owner")
        world.store.delete(where)
        assert world.volumes.volumes == {}

    def test_a_verifier_sees_all_of_it_and_may_refuse(self, world: World) -> None:
        seen = hashlib.sha256()
        world.add(verifier=seen)
        assert seen.digest() == hashlib.sha256(DATA).digest()

        def refuse(_: memoryview) -> None:
            raise ValueError("the signature does not fit")

        with pytest.raises(ValueError, match="does not fit"):
            world.add(verifier=SimpleNamespace(update=refuse))
        assert len(world.volumes.volumes) == 1

    @pytest.mark.parametrize("end", [b"", None, ""])
    def test_an_upload_ends_with_an_empty_piece(self, world: World, end: object) -> None:
        pieces = iter([b"da", b"ta", end])
        body: Any = SimpleNamespace(read=lambda size: next(pieces))
        url, size_bytes, md5, *_ = world.store.add(IMAGE_ID, body, 0, "sha512", context=REQUEST)
        assert (size_bytes, md5) == (4, "8d777f385d3dfec8815d20f7496026dc")
        assert read(world.store, location(world.store, url)) == b"data"

    def test_an_upload_that_the_client_breaks_off_ends_with_the_clients_error(self, world: World) -> None:
        class Gone(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell():
                    raise ConnectionResetError("the client is gone")
                return super().read(size)

        with pytest.raises(ConnectionResetError, match="the client is gone"):
            world.store.add(IMAGE_ID, Gone(DATA), len(DATA), "sha512", context=REQUEST)
        assert world.volumes.volumes == {}

    def test_an_unknown_hash_algorithm_creates_no_volume(self, world: World) -> None:
        with pytest.raises(exceptions.BackendException, match="'whirl' is not known"):
            world.store.add(IMAGE_ID, io.BytesIO(DATA), len(DATA), "whirl", context=REQUEST)
        assert world.volumes.volumes == {}

    def test_an_image_volume_records_the_owner_of_the_image(self, world: World) -> None:
        with pytest.raises(exceptions.BadStoreConfiguration, match="no context"):
            world.store.add(IMAGE_ID, io.BytesIO(DATA), len(DATA), "sha512")

    def test_an_impossible_size_counts_as_unknown(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        where = world.add()
        world.volumes.set_metadata(where.store_location.volume_id, {"image_size": "lots"})
        assert world.store.get_size(where) == 0
        assert "image_size='lots'" in caplog.text
        with pytest.raises(exceptions.BackendException, match="image_size='lots'"):
            world.store.get(where)

    def test_a_volume_that_says_no_size_has_that_of_the_volume(self, world: World) -> None:
        volume = world.volumes.create(size_gib=2, name="by hand")
        world.volumes.wait(volume.id)
        assert world.store.get_size(location(world.store, f"cinder://x/{volume.id}")) == 2 * GIB


class TestAddedLocations:
    """Glance asks for the size of what a location names, under the name of the user who adds it to an image."""

    def size(self, world: World, **context: Any) -> int:
        where = world.add()
        requester = SimpleNamespace(**{**vars(REQUEST), **context})
        return world.store.get_size(where, context=requester)

    @pytest.mark.parametrize(
        "context",
        [
            {},
            {"project_id": "another", "is_admin": True},
            {"project_id": "another", "roles": ["service"]},
            {"project_id": "another", "roles": ["member"], "service_roles": ["service"]},
        ],
    )
    def test_the_images_owner_an_administrator_and_a_service_add_its_volume(
        self, world: World, context: dict[str, Any]
    ) -> None:
        assert self.size(world, **context) == len(DATA)

    @pytest.mark.parametrize("roles", [None, [], ["member"]])
    def test_to_another_project_the_volume_is_not_there(
        self, world: World, caplog: pytest.LogCaptureFixture, roles: list[str] | None
    ) -> None:
        with pytest.raises(exceptions.NotFound):
            self.size(world, project_id="another", is_admin=False, roles=roles, service_roles=None)
        assert "belongs to project the-owner" in caplog.text


class TestSideBySide:
    """Glance may add an image to several stores at once, each from a thread of its own."""

    def test_each_store_has_the_right_bytes_and_digests_and_one_that_fails_leaves_nothing(self, stores: Stores) -> None:
        worlds = [World(MemoryVolumes(), stores()) for _ in range(4)]
        for world in worlds:
            world.watched(Steps())
        images = [DATA[number:] for number in range(4)]
        together = threading.Barrier(4)

        def add(number: int) -> tuple[Any, ...]:
            body = io.BytesIO(images[number])

            def read(size: int) -> bytes:
                if body.tell() == 0:
                    together.wait(30)
                if number == 3 and body.tell():
                    raise ConnectionError("the client is gone")
                return body.read(size)

            source: Any = SimpleNamespace(read=read)
            answer: tuple[Any, ...] = worlds[number].store.add(
                IMAGE_ID, source, len(images[number]), "sha512", context=REQUEST
            )
            return answer

        with ThreadPoolExecutor(4) as pool:
            adding = [pool.submit(add, number) for number in range(4)]
        for number, added in enumerate(adding[:3]):
            url, size, checksum, multihash, metadata = added.result()
            world, data = worlds[number], images[number]
            assert (size, metadata) == (len(data), {"store": world.store.backend_group})
            assert (checksum, multihash) == (hashlib.md5(data).hexdigest(), hashlib.sha512(data).hexdigest())
            assert read(world.store, location(world.store, url)) == data
        assert isinstance(adding[3].exception(), ConnectionError)
        assert (worlds[3].volumes.volumes, worlds[3].volumes.attachments) == ({}, {})


class TestLettingGo:
    """What is read is let go before its last byte is given, and whoever stops before."""

    def test_the_last_part_comes_when_the_volume_is_free(self, world: World) -> None:
        where = world.add()
        content, _ = world.store.get(where)
        states = []
        for _ in content:
            (volume,) = world.volumes.volumes.values()
            states.append(volume.status)
        assert states == ["in-use"] * (len(states) - 1) + ["available"]
        assert len(states) > 2

    def test_a_reader_that_is_forgotten_lets_go(self, world: World) -> None:
        content: Any = world.store.get(world.add())[0]
        next(content)
        del content
        gc.collect()
        assert not world.volumes.attachments

    def test_what_could_not_be_let_go_is_named_and_the_data_are_whole(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        where = world.add()
        counting = Steps()
        read(world.watched(counting), where)
        failing = Steps(fail_at=counting.taken.index("attacher.close"), lasting=True)
        with caplog.at_level(logging.ERROR):
            assert read(world.watched(failing), where) == DATA
        (record,) = caplog.records
        left = record.getMessage()
        assert "was read to its end, and could not be let go" in left
        assert f"device of volume {where.store_location.volume_id}" in left
        assert f"attachment {next(iter(world.volumes.attachments))} of volume" in left
        assert "volumes.detach" in failing.taken  # though the device is still there

    def test_what_cannot_be_let_go_when_a_reader_leaves_is_logged_once(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        where = world.add()
        counting = Steps()
        leaving: Any = world.watched(counting).get(where)[0]
        next(leaving)
        begun = len(counting.taken)
        leaving.close()
        assert not world.volumes.attachments
        content: Any = world.watched(Steps(fail_at=begun, lasting=True)).get(where)[0]
        next(content)
        (attachment_id,) = world.volumes.attachments
        content.close()
        volume_id = where.store_location.volume_id
        assert errors(caplog) == [
            f"Left behind: device of volume {volume_id} (failed on purpose)",
            f"Left behind: attachment {attachment_id} of volume {volume_id} (failed on purpose)",
        ]

    @pytest.mark.parametrize("kind", [OSError, RuntimeError])
    def test_what_an_upload_leaves_that_its_own_body_ended_is_logged_once(
        self, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
    ) -> None:
        def away(*_: object, **__: object) -> None:
            raise ServiceFailed("Cinder is away")

        def read(_: int) -> bytes:
            raise ended

        ended = kind("the client is gone, or has sent too much")
        body: Any = SimpleNamespace(read=read)
        monkeypatch.setattr(MemoryVolumes, "delete", away)
        ended.add_note(SECRET)
        with pytest.raises(kind) as caught:
            world.store.add(IMAGE_ID, body, len(DATA), "sha512", context=REQUEST)
        assert caught.value is ended
        (volume_id,) = world.volumes.volumes
        assert errors(caplog) == [f"Left behind: volume {volume_id} (Cinder is away)"]

    def test_what_the_answer_names_is_not_logged_as_well(
        self, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object, **__: object) -> None:
            raise ServiceFailed("Cinder is away")

        monkeypatch.setattr(MemoryVolumes, "delete", away)
        with pytest.raises(exceptions.Invalid, match=r"left behind: volume .* \(Cinder is away\)"):
            world.add(size_bytes=1)
        assert errors(caplog) == []

    def test_a_fault_at_any_step_of_reading_is_an_error_or_gives_all(self, world: World) -> None:
        where = world.add()
        counting = Steps()
        read(world.watched(counting), where)
        for number, name in enumerate(counting.taken):
            store = world.watched(Steps(fail_at=number))
            if name in ("attacher.close", "volumes.detach"):
                assert read(store, where) == DATA
            else:
                with pytest.raises(exceptions.BackendException, match="failed on purpose"):
                    read(store, where)
            world.volumes.attachments.clear()
            world.volumes._change(where.store_location.volume_id, status="available")

    def test_a_fault_at_any_step_of_adding_leaves_nothing_or_names_it(self, world: World) -> None:
        world.add()  # the first one also looks for what dead processes left
        counting = Steps()
        world.watched(counting)
        world.add()
        for number in range(len(counting.taken)):
            before = set(world.volumes.volumes)
            world.watched(Steps(fail_at=number))
            with pytest.raises(exceptions.BackendException, match="failed on purpose") as caught:
                world.add()
            for volume_id in set(world.volumes.volumes) - before:
                assert volume_id in str(caught.value)


class TestDeletion:
    def test_a_deletion_that_takes_long_is_cinders(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        where = world.add()
        volume_id = where.store_location.volume_id

        def slow(_: object, volume_id: str, **__: object) -> None:
            world.volumes._change(volume_id, status=status)
            raise DeadlineExceeded(f"volume {volume_id} is not gone", seconds=10)

        monkeypatch.setattr(MemoryVolumes, "delete", slow)
        status = "deleting"
        world.store.delete(where)
        status = "detaching"
        with pytest.raises(exceptions.BackendException, match=f"volume {volume_id} is not gone"):
            world.store.delete(where)

    def test_a_store_that_is_disabled_refuses_such_that_glance_keeps_the_image(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        where = world.add()
        monkeypatch.setattr(MemoryVolumes, "volume_types", lambda volumes: ("memory",), raising=False)
        cfg.CONF.set_override("cinder_volume_type", "gone", group=world.store.backend_group)
        world.store.configure()
        with pytest.raises(exceptions.InUseByStore) as caught:
            world.store.delete(where)
        name = world.store.backend_group
        assert str(caught.value) == (
            f"Volume {where.store_location.volume_id} stays: deleting images of store {name} is disabled until Glance "
            f"is restarted: fails type-exists ({name}): cinder_volume_type is 'gone', and Cinder has no such type"
        )
        assert read(world.store, where) == DATA
        with pytest.raises(exceptions.StoreAddDisabled):
            world.add()


class TestNames:
    """The name of a store is part of each of its locations."""

    @pytest.mark.parametrize("name", ["ssd+nvme", "s" * 65], ids=["sign", "length"])
    @pytest.mark.parametrize("user", ["glance", None])
    def test_a_store_that_no_location_can_name_is_disabled(self, stores: Stores, name: str, user: str | None) -> None:
        store = stores(name, cinder_store_user_name=user)
        said = f"{name!r} cannot be part of a location: give the store, in enabled_backends and"
        with pytest.raises(exceptions.BadStoreConfiguration, match=re.escape(said)):
            store.configure(re_raise_bsc=True)
        with pytest.raises(exceptions.StoreAddDisabled):
            store.add(IMAGE_ID, io.BytesIO(DATA), len(DATA), "sha512", context=REQUEST)
        with pytest.raises(exceptions.InUseByStore, match=re.escape(said)):
            store.delete(location(store, f"cinder://fast/{NOBODY}"))

    def test_such_a_store_still_gives_out_what_it_has(self, world: World, stores: Stores) -> None:
        volume_id = world.add().store_location.volume_id
        store = stores("ssd+nvme")
        store._service = world.store._service
        with pytest.raises(exceptions.BadStoreConfiguration):
            store.configure(re_raise_bsc=True)
        assert read(store, location(store, f"cinder://ssd+nvme/{volume_id}")) == DATA

    def test_what_was_stored_and_no_location_can_name_is_not_left_behind(self, stores: Stores) -> None:
        world = World(MemoryVolumes(), stores("ssd+nvme"))
        world.watched(Steps())
        with pytest.raises(exceptions.BackendException, match="is not the name of a store"):
            world.add()
        assert world.volumes.volumes == {}


class TestAssociation:
    """Glance asks every store for the volume of a location, by whatever the location ends with."""

    @pytest.fixture
    def store(self, world: World) -> Iterator[Store]:
        cfg.CONF.set_override("cinder_volume_type", "fast", group=world.store.backend_group)
        with Mocker() as http:
            offer_cinder(http)
            http.get(f"{CINDER}/volumes/{NOBODY}", status_code=404)
            http.get(f"{CINDER}/volumes/detail", json={"volumes": []})
            http.get(f"{CINDER}/volumes/{IMAGE_ID}", json={"volume": {**VOLUME, "id": IMAGE_ID}})
            attacher: Any = MemoryAttacher(volumes=world.volumes)
            world.store._service = Cloud(CinderVolumes(session=session(CINDER)), attacher, "service")
            yield world.store

    def test_a_volume_of_the_stores_type_is_its_own(self, store: Store) -> None:
        assert store.is_image_associated_with_store(None, IMAGE_ID)

    @pytest.mark.parametrize("end", [NOBODY, "detail", ""])
    def test_what_is_no_volume_is_not_found(self, store: Store, caplog: pytest.LogCaptureFixture, end: str) -> None:
        assert not store.is_image_associated_with_store(None, end)
        (record,) = caplog.records
        assert record.getMessage().startswith(f"Image volume {end} is not found by store {store.backend_group}: ")


class TestSharing:
    """What is downloaded several times at once is attached once, by the same credentials of one process."""

    def test_downloads_at_once_read_one_attachment(self, world: World) -> None:
        where = world.add()
        downloads = [world.store.get(where, offset=at, chunk_size=5_000_000)[0] for at in range(16)]
        assert len(world.volumes.attachments) == 1
        assert [b"".join(each) for each in downloads] == [DATA[at : at + 5_000_000] for at in range(16)]
        assert world.volumes.attachments == {}

    def test_a_volume_that_another_has_is_unavailable_for_now(self, world: World) -> None:
        where = world.add()
        volume_id = where.store_location.volume_id
        attachment = world.volumes.attach(volume_id, connector={}, mode=AccessMode.READ)
        with pytest.raises(exceptions.RemoteServiceUnavailable, match=f"volume {volume_id} cannot be attached"):
            world.store.get(where)
        world.volumes.detach(attachment)
        assert read(world.store, where) == DATA

    def test_a_forked_worker_asks_by_a_connection_of_its_own(self, stores: Stores) -> None:
        store = stores()
        store._service = parents = Cloud(Any, Any, None)  # type: ignore[arg-type]
        child = os.fork()
        if not child:
            os._exit(0 if vars(store)["_service"] is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store._service is parents

    def test_requests_share_with_the_same_token_only(self, stores: Stores) -> None:
        store = stores(cinder_store_password=None, cinder_endpoint_template="http://cinder.test/v3/p")
        request = SimpleNamespace(**vars(REQUEST), to_dict=dict)
        others = [{"auth_token": "u"}, {"user_id": "v"}, {"project_id": "p"}]
        cloud = store._cloud(request)
        assert store._cloud(SimpleNamespace(**vars(request))) is cloud
        for other in others:
            assert store._cloud(SimpleNamespace(**{**vars(request), **other})) is not cloud
        del cloud
        gc.collect()
        assert list(store._requesters) == []


class TestWhatHasAVolume:
    """A dead process's attachment is taken back; what has the volume otherwise is for operators, not for users."""

    def left(self, world: World, where: glance_location.Location, **changes: Any) -> str:
        process = this_process()
        assert process is not None
        ended = replace(process, **{"pid": 2**22 + 1, **changes})  # which no process has
        connector = {"host": "memory", "mountpoint": ended.to_text("glance_store")}
        attachment = world.volumes.attach(where.store_location.volume_id, connector=connector, mode=AccessMode.READ)
        world.volumes.complete(attachment)
        return attachment.id

    def test_an_image_that_a_dead_process_was_reading_is_read_and_deleted(self, world: World) -> None:
        where = world.add()
        self.left(world, where)
        assert read(world.store, where) == DATA
        self.left(world, where)
        world.store.delete(where)
        assert not world.volumes.volumes
        assert not world.volumes.attachments

    def test_what_has_the_volume_is_in_the_log_and_not_in_the_answer(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        where = world.add()
        attachment_id = self.left(world, where, namespaces="1.2")
        with pytest.raises(exceptions.RemoteServiceUnavailable) as reading:
            world.store.get(where)
        with pytest.raises(exceptions.InUseByStore) as deleting:
            world.store.delete(where)
        for caught in (reading, deleting):
            assert attachment_id not in str(caught.value)
            assert str(2**22 + 1) not in str(caught.value)
        said = [record.getMessage() for record in caplog.records if attachment_id in record.getMessage()]
        assert len(said) == 2
        assert all(f"volume attachment delete {attachment_id}" in line for line in said)


class TestRemains:
    """What a killed process of this host left half stored is deleted at start, and by a later upload."""

    def left(self, world: World, **changes: Any) -> str:
        process = this_process()
        assert process is not None
        made_by = VolumeOrigin(procedure="add", image_id=IMAGE_ID, process=replace(process, pid=2**22 + 1, **changes))
        created = world.volumes.create(size_gib=1, name="image", metadata=made_by.to_volume())
        return world.volumes.wait(created.id).id

    def test_remains_of_a_dead_process_are_deleted_when_the_store_starts(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.left(world)
        elsewhere = self.left(world, namespaces="1.2")
        monkeypatch.setattr(MemoryVolumes, "volume_types", lambda volumes: ("memory",), raising=False)
        world.store.configure()
        assert set(world.volumes.volumes) == {elsewhere}

    def test_remains_of_a_dead_process_are_deleted_when_the_next_image_is_stored(self, world: World) -> None:
        left = self.left(world)
        where = world.add()
        assert set(world.volumes.volumes) == {where.store_location.volume_id}
        assert left not in world.volumes.volumes

    def test_remains_in_a_project_of_users_stay(self, stores: Stores) -> None:
        """A store without credentials of its own keeps images in the requester's project."""
        store = stores(cinder_store_user_name=None)
        world = World(MemoryVolumes(), store)
        cloud: Any = Cloud(world.volumes, MemoryAttacher(volumes=world.volumes), "memory")  # type: ignore[arg-type]
        store._requesters[("u", "the-owner", "t")] = cloud
        left = self.left(world)
        where = world.add()
        assert set(world.volumes.volumes) == {left, where.store_location.volume_id}

    @pytest.mark.parametrize("user", ["glance", None])
    def test_the_name_of_the_host_is_told_to_operators_only(self, stores: Stores, user: str | None) -> None:
        store = stores(cinder_store_user_name=user)
        world = World(MemoryVolumes(), store)
        cloud: Any = Cloud(world.volumes, MemoryAttacher(volumes=world.volumes), "memory")  # type: ignore[arg-type]
        store._service = store._requesters[("u", "the-owner", "t")] = cloud
        world.add()
        (volume,) = world.volumes.volumes.values()
        assert ("imagevol_host" in volume.metadata) == (user is not None)


class TestErrors:
    @pytest.mark.parametrize(
        "ours, theirs",
        [
            (ResourceNotFound("volume", "7"), exceptions.NotFound),
            (InUse("it"), exceptions.InUseByStore),
            (VolumeBusy("7", status="in-use"), exceptions.RemoteServiceUnavailable),
            (OverQuota("it"), exceptions.StorageFull),
            (WrongLength(expected_bytes=1, actual_bytes=2), exceptions.Invalid),
            (ServiceUnreachable("it"), exceptions.RemoteServiceUnavailable),
            (ServiceFailed("it"), exceptions.BackendException),
            (AccessDenied("it"), exceptions.BackendException),
            (RequestRefused("it"), exceptions.BackendException),
            (DeadlineExceeded("it", seconds=1), exceptions.BackendException),
            (SourceFailed("it"), exceptions.BackendException),
            (DeviceFailed("it"), exceptions.BackendException),
            (AttachFailed("it"), exceptions.BackendException),
            (VolumeFailed("7", status="error", wanted="available"), exceptions.BackendException),
            (ContentMismatch("it", expected="a", actual="b"), exceptions.BackendException),
        ],
        ids=lambda each: getattr(each, "__name__", type(each).__name__),
    )
    def test_each_error_of_imagevol_becomes_one_of_glance_store_with_the_same_text(
        self, ours: ImagevolError, theirs: type[Exception]
    ) -> None:
        ours.leftovers = ("volume 7",)
        with pytest.raises(theirs) as caught, translated():
            raise ours
        assert type(caught.value) is theirs
        assert str(caught.value) == str(ours)
        assert caught.value.__cause__ is ours

    @pytest.mark.parametrize(
        "status, theirs",
        [
            ("available", exceptions.StorageFull),  # Cinder's scheduler has found no room and put it back
            ("error_extending", exceptions.StorageFull),
            ("error", exceptions.BackendException),
            ("error_deleting", exceptions.BackendException),
        ],
    )
    def test_a_volume_that_cannot_grow_is_a_full_store(self, status: str, theirs: type[Exception]) -> None:
        with pytest.raises(theirs, match="no backend has room"), translated():
            raise VolumeFailed("7", status=status, wanted="what it is not", reason="no backend has room")

    @pytest.mark.parametrize(
        "number, theirs",
        [(ENOSPC, exceptions.StorageFull), (EACCES, exceptions.StorageWriteDenied), (5, exceptions.BackendException)],
    )
    def test_a_device_says_by_its_number_what_is_wrong(self, number: int, theirs: type[Exception]) -> None:
        failed = DeviceFailed("writing failed")
        failed.__cause__ = OSError(number, os.strerror(number))
        with pytest.raises(theirs, match="writing failed"), translated():
            raise failed


def user_of(store: Store) -> str:
    auth: Any = sessions.service_volumes(store.store_conf).session.auth
    name: str = auth.auth_methods[0].username
    return name


class TestSessions:
    def test_each_store_has_its_own_credentials_and_tls(self, stores: Stores) -> None:
        store, other = stores(cinder_api_insecure=True), stores(cinder_store_user_name="else")
        session = sessions.service_volumes(store.store_conf).session
        assert session.verify is False
        assert isinstance(session.auth, V3Password)
        assert (user_of(store), user_of(other)) == ("glance", "else")

    def test_an_application_credential_goes_before_a_user(self, stores: Stores) -> None:
        credential = {"cinder_store_application_credential_id": "i", "cinder_store_application_credential_secret": "s"}
        store = stores(**credential, cinder_ca_certificates_file="ca.pem")
        session = sessions.service_volumes(store.store_conf).session
        assert session.verify == "ca.pem"
        assert isinstance(session.auth, V3ApplicationCredential)

    @pytest.mark.parametrize("missing", ["auth_address", "user_name", "password", "project_name"])
    def test_half_of_the_credentials_are_none(self, stores: Stores, missing: str) -> None:
        assert not sessions.has_service_user(stores(**{f"cinder_store_{missing}": None}).store_conf)

    def test_the_connection_options_of_a_store_are_obeyed(self, stores: Stores) -> None:
        chosen = {"cinder_http_retries": 7, "cinder_state_transition_timeout": 11}
        chosen["cinder_attachment_retry_attempts"] = 2
        volumes = sessions.service_volumes(stores(**chosen, cinder_os_region_name="two").store_conf)
        assert (volumes.retries, volumes.wait_seconds, volumes.attach_attempts) == (7, 11, 2)
        assert volumes.region_name == "two"

    def test_the_requesters_endpoint_is_that_of_the_template_or_of_the_catalogue(self, stores: Stores) -> None:
        request = SimpleNamespace(**{**vars(REQUEST), "to_dict": lambda: {"tenant": "p"}})
        store = stores(cinder_endpoint_template="http://cinder.test/v3/%(tenant)s")
        assert sessions.requesters_volumes(store.store_conf, request).endpoint_override == "http://cinder.test/v3/p"
        request.service_catalog = [
            {"type": "volumev3", "name": "", "endpoints": [{"region": "two", "publicURL": "http://two.test"}]}
        ]
        assert sessions.requesters_volumes(stores().store_conf, request).endpoint_override == "http://two.test"
        with pytest.raises(exceptions.BadStoreConfiguration, match="set cinder_catalog_info"):
            sessions.requesters_volumes(stores(cinder_os_region_name="one").store_conf, request)

    def test_a_ca_file_that_is_missing_keeps_only_its_own_store_from_working(
        self, stores: Stores, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = stores(cinder_store_auth_address="https://keystone.test/v3", cinder_ca_certificates_file="/none/ca.pem")
        store.configure()  # as Glance does of each store when it starts, which an error would end
        (record,) = caplog.records
        assert record.getMessage().startswith(f"Store {store.backend_group}: its volume type is not checked: ")
        assert "/none/ca.pem; check the CA file (" in record.getMessage()
        with pytest.raises(exceptions.BackendException, match="cinder_ca_certificates_file"):
            store.add(IMAGE_ID, io.BytesIO(DATA), len(DATA), "sha512", context=REQUEST)

    def test_no_log_and_no_error_of_a_store_shows_a_secret(self, stores: Stores) -> None:
        assert SECRET not in repr(sessions.service_volumes(stores().store_conf))

    @pytest.mark.parametrize("password", HOSTILE_PASSWORDS)
    @pytest.mark.parametrize("option", ["cinder_store_auth_address", "cinder_endpoint_template"])
    def test_no_password_in_a_url_is_shown_or_logged(
        self, stores: Stores, caplog: pytest.LogCaptureFixture, password: str, option: str
    ) -> None:
        url = f"http://127.0.0.1:{password.replace('%', '%%')}@127.0.0.1:1/v3"
        user = "glance" if option == "cinder_store_auth_address" else None
        store = stores(**{option: url, "cinder_store_user_name": user})
        store.configure_add()
        context = SimpleNamespace(**vars(REQUEST), to_dict=dict)
        with pytest.raises((exceptions.BackendException, exceptions.GlanceStoreException)) as raised:
            store.add(IMAGE_ID, io.BytesIO(b"x"), 1, "sha512", context=context)
        logged = "".join(traceback.format_exception(raised.value))
        assert not shows_a_piece(f"{raised.value!r} {caplog.text} {logged}")


class Types:
    """A Cinder with two volume types."""

    def volume_types(self) -> tuple[str, ...]:
        return ("ssd", "hdd")

    def default_volume_type(self) -> str | None:
        return "hdd"


class TestStart:
    """What is wrong with a store shows when Glance starts, also what only a comparison with the others shows."""

    @pytest.fixture
    def start(self, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
        """Starts a Glance with two stores, and gives the first."""
        monkeypatch.setattr(sessions, "has_service_user", lambda options: bool(options.cinder_store_password))
        monkeypatch.setattr(Store, "_own_cinder", lambda _: Types())

        def start(**options: str) -> Store:
            names = [f"store-{uuid.uuid4()}" for _ in range(2)]
            given = {name: value for name, value in OPTIONS.items() if value is not None}
            first = "".join(f"{name} = {value}\n" for name, value in {**given, **options}.items() if value)
            second = "".join(f"{name} = {value}\n" for name, value in given.items())
            file = tmp_path / "glance-api.conf"
            file.write_text(
                f"[DEFAULT]\nenabled_backends = {names[0]}:imagevol, {names[1]}:cinder\n[glance_store]\n"
                f"default_backend = {names[0]}\n[{names[0]}]\n{first}[{names[1]}]\ncinder_volume_type = hdd\n{second}"
            )
            conf = cfg.ConfigOpts()
            conf([f"--config-file={file}"], project="glance", default_config_files=[], default_config_dirs=[])
            conf.register_opt(cfg.DictOpt("enabled_backends"))  # as Glance does
            glance_store.register_store_opts(conf)
            store = Store(conf, backend=names[0])
            store.configure()
            return store

        return start

    def test_stores_that_agree_work(self, start: Callable[..., Store], caplog: pytest.LogCaptureFixture) -> None:
        store = start(cinder_volume_type="ssd")
        assert store.is_capable(capabilities.BitMasks.WRITE_ACCESS)
        assert [record.getMessage() for record in caplog.records] == []

    @pytest.mark.parametrize(
        "options, rule",
        [
            ({}, "type-named"),
            ({"cinder_volume_type": "ssd", "cinder_store_password": ""}, "credentials-complete"),
            (
                {
                    "cinder_volume_type": "ssd",
                    "cinder_store_password": "",
                    "cinder_store_user_name": "",
                    "cinder_store_project_name": "",
                    "cinder_store_auth_address": "",
                },
                "credentials-complete",
            ),
        ],
    )
    def test_a_fault_that_loses_no_image_is_an_error_in_the_log(
        self, start: Callable[..., Store], caplog: pytest.LogCaptureFixture, options: dict[str, str], rule: str
    ) -> None:
        store = start(**options)
        assert store.is_capable(capabilities.BitMasks.WRITE_ACCESS)
        (line,) = errors(caplog)
        assert line.startswith(f"Store {store.backend_group}: {rule}: ")

    def test_a_type_that_does_not_exist_disables_the_store(
        self, start: Callable[..., Store], caplog: pytest.LogCaptureFixture
    ) -> None:
        store = start(cinder_volume_type="nvme")
        assert not store.is_capable(capabilities.BitMasks.WRITE_ACCESS)
        (line,) = errors(caplog)
        assert line.startswith(f"Store {store.backend_group}: adding and deleting images is disabled")
        assert f"fails type-exists ({store.backend_group}): " in line

    def test_a_type_that_another_store_has_too_is_a_warning(
        self, start: Callable[..., Store], caplog: pytest.LogCaptureFixture
    ) -> None:
        store = start(cinder_volume_type="hdd")
        assert store.is_capable(capabilities.BitMasks.WRITE_ACCESS)
        (record,) = caplog.records
        assert (record.levelno, "'hdd' is also the type of" in record.getMessage()) == (logging.WARNING, True)

    def test_a_type_that_cinder_gives_by_default_counts_as_that_of_a_store_that_names_none(
        self, start: Callable[..., Store], caplog: pytest.LogCaptureFixture
    ) -> None:
        """As `imagevol stores check` counts."""
        start()
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert ["'hdd' is also the type of" in warning for warning in warnings] == [True]

    def test_without_cinders_default_type_the_stores_are_compared_all_the_same(
        self, start: Callable[..., Store], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def silent(_: object) -> str:
            raise ServiceUnreachable("Cinder, the default volume type: no answer")

        monkeypatch.setattr(Types, "default_volume_type", silent)
        store = start()
        assert any(line.startswith(f"Store {store.backend_group}: type-named: ") for line in errors(caplog))
        assert "no answer" in caplog.text

    def test_what_is_malformed_of_another_store_does_not_disable_this_one(
        self, start: Callable[..., Store], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def malformed(_: object) -> None:
            raise InvalidConfiguration("[slow] weight", "it is malformed")

        monkeypatch.setattr("imagevol_adapters.gathering.configured_stores.read_catalogue", malformed)
        assert start(cinder_volume_type="ssd").is_capable(capabilities.BitMasks.WRITE_ACCESS)
        (record,) = caplog.records
        assert "is not compared with the other stores: [slow] weight: it is malformed" in record.getMessage()

    def test_what_the_host_lacks_is_a_warning(
        self, start: Callable[..., Store], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host = dataclasses.replace(GOOD_HOST, lock_path=None, rootwrap_config_exists=False)
        monkeypatch.setattr("imagevol_adapters.store.starting.host_of", lambda *_, **__: host)
        store = start(cinder_volume_type="ssd")
        assert store.is_capable(capabilities.BitMasks.WRITE_ACCESS)
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert [f"Store {store.backend_group}: " in line for line in told] == [True, True]
        assert "lock_path" in told[0]
        assert "rootwrap_config" in told[1]


class TestMetrics:
    """What the store counts: the values by series and direction, read from the file of this process."""

    @pytest.fixture
    def counted(self, stores: Stores, tmp_path: Path) -> Iterator[World]:
        file = str(tmp_path / "imagevol.prom")
        world = World(MemoryVolumes(), stores(image_clone_metrics_file=file))
        world.watched(Steps())
        yield world
        recorder(file).close()

    @staticmethod
    def values(directory: Path, store: Store) -> dict[tuple[str, str], float]:
        assert recorder(str(directory / "imagevol.prom")).flush(seconds=60)
        found = {}
        for family in text_string_to_metric_families((directory / "imagevol-0.prom").read_text()):
            for sample in family.samples:
                assert set(sample.labels) == {"store", "direction", "worker"}
                assert sample.labels["store"] == store.backend_group
                found[sample.name.removeprefix("imagevol_store_"), sample.labels["direction"]] = sample.value
        assert 0 < len(found) <= 10
        return found

    def test_images_and_bytes_are_counted_by_direction(self, counted: World, tmp_path: Path) -> None:
        where = counted.add()
        for _ in range(2):
            read(counted.store, where)
        read(counted.store, where, offset=3, chunk_size=5)
        found = self.values(tmp_path, counted.store)
        assert (found["transfers_total", "write"], found["transfers_total", "read"]) == (1, 3)
        assert found["transfer_bytes_total", "write"] == len(DATA)
        assert found["transfer_bytes_total", "read"] == 2 * len(DATA) + 5
        assert found["transfer_seconds_total", "read"] > 0
        assert found["last_success_timestamp_seconds", "read"] > 1e9
        assert ("failures_total", "read") not in found

    def test_a_failure_is_counted_and_no_image(self, counted: World, tmp_path: Path) -> None:
        with pytest.raises(exceptions.Invalid):
            counted.add(size_bytes=len(DATA) + 1)
        with pytest.raises(exceptions.NotFound):
            read(counted.store, location(counted.store, f"cinder://{counted.store.backend_group}/{NOBODY}"))
        found = self.values(tmp_path, counted.store)
        assert (found["failures_total", "write"], found["failures_total", "read"]) == (1, 1)
        assert not [name for name, _ in found if name in ("transfers_total", "last_success_timestamp_seconds")]

    def test_a_reader_that_leaves_early_is_no_failure_and_the_volume_is_let_go(
        self, counted: World, tmp_path: Path
    ) -> None:
        where = counted.add()
        data, _ = counted.store.get(where)
        next(data)
        data.close()  # type: ignore[attr-defined]
        found = self.values(tmp_path, counted.store)
        assert 0 < found["transfer_bytes_total", "read"] < len(DATA)
        assert ("transfers_total", "read") not in found
        assert ("failures_total", "read") not in found
        assert counted.volumes.attachments == {}

    def test_what_is_read_from_is_closed_with_the_reader(self) -> None:
        closed: list[bool] = []

        def content() -> Generator[Any, None, None]:
            try:
                yield 6
                yield b"abc"
            finally:
                closed.append(True)

        source = content()  # it stays referenced, so that only a close ends it
        counting = counted_content(source, SimpleNamespace(), "fast")
        assert next(counting) == 6
        counting.close()
        assert closed == [True]

    def test_metrics_that_cannot_be_written_fail_no_image(self, stores: Stores, tmp_path: Path) -> None:
        world = World(MemoryVolumes(), stores(image_clone_metrics_file=str(tmp_path / "none" / "x.prom")))
        world.watched(Steps())
        assert read(world.store, world.add()) == DATA

    def test_by_default_no_file_is_written(self, world: World, tmp_path: Path) -> None:
        world.add()
        assert world.store.store_conf.image_clone_metrics_file is None
        assert list(tmp_path.iterdir()) == []
