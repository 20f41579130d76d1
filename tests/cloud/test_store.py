"""Our store driver beside glance_store's own, on the same Cinder and the same input."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from cinderclient.client import Client as CinderClient
from glance_store import capabilities, exceptions
from glance_store import location as glance_location
from oslo_config import cfg

from imagevol_adapters.store import Store, StoreLocation
from imagevol_core import GIB, HOLD
from tests.cloud.ports import Ports, nothing_left, ports, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud

upstream: Any = import_module("glance_store._drivers.cinder.store")

MIB = 1 << 20
IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
DATA = random.Random(5).randbytes(9 * MIB + 123)
OWNER = SimpleNamespace(project_id="the-owner", user_id="somebody", auth_token=None, service_catalog=None)
NOBODY = "00000000-0000-4000-8000-000000000000"

Driver = Any  # ours or upstream's: they have the methods in common, and that is the point


@pytest.fixture(scope="module")
def real(cloud: Cloud) -> Ports:
    return ports(cloud)


@pytest.fixture(autouse=True)
def left(cloud: Cloud) -> Iterator[None]:
    """Every test leaves the cloud as it found it."""
    with nothing_left(cloud):
        yield


@pytest.fixture(scope="module", autouse=True)
def a_glance_host(cloud: Cloud, real: Ports) -> Iterator[None]:
    """What a Glance finds around it: the root helper, and a configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{cloud.directory}/bin:{os.environ['PATH']}")
        cfg.CONF([], project="glance", default_config_files=[])
        yield
        cfg.CONF.reset()


@pytest.fixture
def options(cloud: Cloud) -> dict[str, Any]:
    """The section of a store, as the rig writes it into glance-api.conf."""
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(str(cloud.directory / "etc/glance/glance-api.conf"), sections).parse()
    return {name: values[0] for name, values in sections["fast"].items() if name != "store_description"}


def configured(driver: type, name: str, **options: Any) -> Driver:
    """A store as Glance makes it."""
    store = driver(cfg.CONF, backend=name)
    for option, value in options.items():
        cfg.CONF.set_override(option, value, group=name)
    upstream._reset_cinder_session()  # which would be that of the store before
    store.configure()
    return store


@pytest.fixture
def ours(options: dict[str, Any]) -> Driver:
    return configured(Store, "ours", **options)


@pytest.fixture
def theirs(options: dict[str, Any]) -> Driver:
    return configured(upstream.Store, "theirs", **options)


def located(driver: Driver, url: str) -> glance_location.Location:
    kind = StoreLocation if isinstance(driver, Store) else upstream.StoreLocation
    return glance_location.Location("cinder", kind, cfg.CONF, uri=url, backend=driver.backend_group)


def add(driver: Driver, data: bytes = DATA, *, size_bytes: int | None = None) -> Any:
    size = len(data) if size_bytes is None else size_bytes
    return driver.add(IMAGE_ID, io.BytesIO(data), size, "sha512", context=OWNER)


def read(driver: Driver, url: str, **part: int) -> bytes:
    return b"".join(driver.get(located(driver, url), **part)[0])


def id_of(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture
def stored(ours: Driver, real: Ports) -> Iterator[str]:
    """The location of an image that ours has stored."""
    url = add(ours)[0]
    yield url
    for volume in real.volumes.find([id_of(url)]):
        real.volumes.set_metadata(volume.id, {HOLD: ""})
        real.volumes.delete(volume.id)


@pytest.mark.smoke
def test_both_drivers_give_glance_the_same_answer_and_write_the_same_metadata(
    ours: Driver, theirs: Driver, real: Ports, cloud: Cloud
) -> None:
    found = {}
    for driver in (ours, theirs):
        url, *rest = add(driver)
        volume = real.volumes.get(id_of(url))
        name = driver.backend_group
        assert url == f"cinder://{name}/{volume.id}"
        assert rest == [
            len(DATA),
            hashlib.md5(DATA).hexdigest(),
            hashlib.sha512(DATA).hexdigest(),
            {"store": name},
        ]
        assert (volume.volume_type, volume.size_gib, volume.readonly) == ("fast", 1, True)
        assert volume.project_id == cloud.project_ids["service"]
        found[name] = volume.metadata
        driver.delete(located(driver, url))
    assert found["ours"].items() >= found["theirs"].items()
    more = {key for key in set(found["ours"]) - set(found["theirs"]) if not key.startswith("imagevol_")}
    assert more == {"image_id", "os_hash_algo", "os_hash_value", "checksum"}


@pytest.mark.parametrize("writer, reader", [("ours", "theirs"), ("theirs", "ours")])
@pytest.mark.smoke
def test_an_image_that_one_driver_stored_is_read_and_deleted_by_the_other(
    writer: str, reader: str, real: Ports, request: pytest.FixtureRequest
) -> None:
    writing, reading = request.getfixturevalue(writer), request.getfixturevalue(reader)
    url = add(writing)[0]
    assert read(reading, url) == DATA
    assert read(reading, url, offset=MIB - 5, chunk_size=2 * MIB) == DATA[MIB - 5 : 3 * MIB - 5]
    assert reading.get_size(located(reading, url)) == len(DATA)
    reading.delete(located(reading, url))
    for _ in ticks(60):
        if not real.volumes.find([id_of(url)]):
            break
    assert not real.volumes.find([id_of(url)])


def test_a_range_beyond_the_end_gives_nothing_and_not_the_device(ours: Driver, theirs: Driver, stored: str) -> None:
    for beyond in (0, 1, 10):
        assert read(ours, stored, offset=len(DATA) + beyond) == b""
    assert read(ours, stored, offset=len(DATA) - 3, chunk_size=10) == DATA[-3:]
    assert len(read(theirs, stored, offset=len(DATA) + 1)) == GIB - len(DATA) - 1
    with pytest.raises(ValueError):  # noqa: PT011 - its words are not ours
        read(theirs, stored, offset=len(DATA) + 10)


def test_a_device_that_ends_too_soon_is_an_error_and_not_a_short_image(
    ours: Driver, theirs: Driver, stored: str, cloud: Cloud
) -> None:
    (file,) = (cloud.directory / "volumes/fast").glob(f"*{id_of(stored)}*")
    os.truncate(file, 6 * MIB)
    with pytest.raises(exceptions.BackendException, match="has 6291456 bytes"):
        ours.get(located(ours, stored))
    content, size = theirs.get(located(theirs, stored))
    assert (len(b"".join(content)), size) == (6 * MIB, len(DATA))
    os.truncate(file, GIB)


def test_a_volume_that_is_missing_is_not_found(ours: Driver, theirs: Driver) -> None:
    for call in (ours.get, ours.get_size, ours.delete):
        with pytest.raises(exceptions.NotFound, match=NOBODY):
            call(located(ours, f"cinder://ours/{NOBODY}"))
    with pytest.raises(exceptions.BackendException):
        theirs.get(located(theirs, f"cinder://theirs/{NOBODY}"))


def test_a_volume_with_a_snapshot_is_in_use(ours: Driver, theirs: Driver, stored: str, cloud: Cloud) -> None:
    cinder: Any = CinderClient("3.60", session=sign_in(cloud, "service"))
    snapshot = cinder.volume_snapshots.create(id_of(stored))
    for _ in ticks(60):
        if cinder.volume_snapshots.get(snapshot.id).status == "available":
            break
    with pytest.raises(exceptions.InUseByStore, match="snapshot"):
        ours.delete(located(ours, stored))
    with pytest.raises(exceptions.BackendException):
        theirs.delete(located(theirs, stored))
    snapshot.delete()
    for _ in ticks(60):
        if not cinder.volume_snapshots.list():
            break
    ours.delete(located(ours, stored))


def test_a_volume_that_is_being_read_is_in_use_until_it_is_read(ours: Driver, stored: str) -> None:
    content, _ = ours.get(located(ours, stored))
    with pytest.raises(exceptions.InUseByStore):
        ours.delete(located(ours, stored))
    content.close()
    ours.delete(located(ours, stored))


def test_a_client_that_has_the_last_byte_can_delete_the_image_at_once(ours: Driver, stored: str) -> None:
    content, size = ours.get(located(ours, stored))
    seen = 0
    for part in content:
        seen += len(part)
        if seen == size:
            ours.delete(located(ours, stored))
    assert seen == len(DATA)


def test_readers_in_one_process_share_an_attachment_and_the_last_lets_go(
    ours: Driver, real: Ports, stored: str
) -> None:
    contents = [ours.get(located(ours, stored), offset=at)[0] for at in range(16)]
    assert len(holders(real, stored)) == 1
    for at, content in enumerate(contents):
        assert real.volumes.get(id_of(stored)).status == "in-use"
        assert b"".join(content) == DATA[at:]
    assert (holders(real, stored), real.volumes.get(id_of(stored)).status) == ([], "available")


def test_readers_at_the_same_moment_share_an_attachment(ours: Driver, real: Ports, stored: str) -> None:
    together = threading.Barrier(9)

    def download(_: int) -> bytes:
        together.wait(60)
        content, _size = ours.get(located(ours, stored))
        together.wait(60)
        together.wait(60)
        return b"".join(content)

    with ThreadPoolExecutor(8) as pool:
        downloads = pool.map(download, range(8))
        together.wait(60)
        together.wait(60)
        assert len(holders(real, stored)) == 1
        together.wait(60)
        assert [data == DATA for data in downloads] == [True] * 8


def holders(real: Ports, url: str) -> list[str]:
    """The attachments of an image's volume."""
    cinder: Any = CinderClient("3.60", session=real.volumes.session)
    return [each.id for each in cinder.attachments.list(search_opts={"volume_id": id_of(url)})]


def test_a_volume_that_another_process_has_is_unavailable_for_now(
    ours: Driver, options: dict[str, Any], stored: str
) -> None:
    first, _ = ours.get(located(ours, stored))
    other = configured(Store, "other-process", **{**options, "cinder_attachment_retry_attempts": 1})
    with pytest.raises(exceptions.RemoteServiceUnavailable, match="its status is 'in-use'"):
        other.get(located(other, stored))
    first.close()
    assert read(other, stored) == DATA


def test_a_reader_waits_for_another_process(ours: Driver, options: dict[str, Any], stored: str) -> None:
    first, _ = ours.get(located(ours, stored))
    other = configured(Store, "patient", **options)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(read, other, stored)
        with pytest.raises(TimeoutError):
            waiting.result(2)
        first.close()
        assert waiting.result(60) == DATA


def test_data_of_another_length_than_was_said_leave_nothing(ours: Driver) -> None:
    for size_bytes in (len(DATA) - 1, len(DATA) + 1):
        with pytest.raises(exceptions.Invalid, match=str(size_bytes)):
            add(ours, size_bytes=size_bytes)


def test_data_of_unknown_length_make_a_volume_that_holds_them(ours: Driver, real: Ports) -> None:
    url, size_bytes, *_ = add(ours, size_bytes=0)
    assert size_bytes == len(DATA)
    assert real.volumes.get(id_of(url)).metadata["image_size"] == str(len(DATA))
    assert read(ours, url) == DATA
    ours.delete(located(ours, url))


def test_each_store_has_its_own_credentials(ours: Driver, theirs: Driver, options: dict[str, Any], stored: str) -> None:
    wrong = {**options, "cinder_store_password": "wrong"}
    ours_too = configured(Store, "ours-too", **wrong)
    with pytest.raises(exceptions.BackendException, match="401") as caught:
        ours_too.get_size(located(ours_too, stored))
    assert "wrong" not in str(caught.value)
    upstream._reset_cinder_session()
    assert theirs.get_size(located(theirs, stored)) == len(DATA)
    theirs_too = upstream.Store(cfg.CONF, backend="theirs-too")
    for option, value in wrong.items():
        cfg.CONF.set_override(option, value, group="theirs-too")
    assert theirs_too.get_size(located(theirs_too, stored)) == len(DATA)  # by the credentials of the other


def test_a_volume_type_that_does_not_exist_stops_that_store_only(
    ours: Driver, options: dict[str, Any], stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {**options, "cinder_volume_type": "no-such-type"}
    with caplog.at_level(logging.WARNING, logger="imagevol_adapters"):
        broken = configured(Store, "broken", **wrong)
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert message == (
        "Store broken: adding and deleting images is disabled until Glance is restarted: fails type-exists (broken): "
        "cinder_volume_type is 'no-such-type', and Cinder has no such type"
    )
    with pytest.raises(exceptions.StoreAddDisabled):
        add(broken)
    with pytest.raises(exceptions.InUseByStore, match=f"Volume {id_of(stored)} stays: .* no such type"):
        broken.delete(located(broken, stored))
    assert read(broken, stored) == DATA
    assert ours.is_capable(capabilities.BitMasks.WRITE_ACCESS)
    assert configured(upstream.Store, "theirs-broken", **wrong).is_capable(capabilities.BitMasks.WRITE_ACCESS)


def test_a_volume_of_a_users_project_is_not_found(ours: Driver, theirs: Driver, cloud: Cloud) -> None:
    """The service user may read and delete every volume, and a location may name any of them."""
    user = ports(cloud, "demo")
    volume = user.volumes.create(size_gib=1, name="private")
    user.volumes.wait(volume.id)
    for call in (ours.get, ours.get_size):
        with pytest.raises(exceptions.NotFound):
            call(located(ours, f"cinder://ours/{volume.id}"))
    with pytest.raises(exceptions.StoreDeleteNotSupported, match="its metadata names no image; it is not read-only"):
        ours.delete(located(ours, f"cinder://ours/{volume.id}"))
    user.volumes.set_metadata(volume.id, {"image_id": IMAGE_ID})
    with pytest.raises(exceptions.NotFound):
        ours.get(located(ours, f"cinder://ours/{volume.id}"))
    with pytest.raises(exceptions.StoreDeleteNotSupported, match="its metadata names an image; it is not read-only"):
        ours.delete(located(ours, f"cinder://ours/{volume.id}"))
    assert theirs.get_size(located(theirs, f"cinder://theirs/{volume.id}")) == GIB
    theirs.delete(located(theirs, f"cinder://theirs/{volume.id}"))


def test_a_volume_that_is_held_outlives_its_location(ours: Driver, stored: str, real: Ports) -> None:
    real.volumes.set_metadata(id_of(stored), {HOLD: "a migration"})
    with pytest.raises(exceptions.StoreDeleteNotSupported, match="held by a migration"):
        ours.delete(located(ours, stored))
    assert read(ours, stored) == DATA


def test_the_store_of_a_volume_is_told_by_its_type(ours: Driver, options: dict[str, Any], stored: str) -> None:
    slow = configured(Store, "slow-one", **{**options, "cinder_volume_type": "slow"})
    untyped = configured(Store, "untyped", **{**options, "cinder_volume_type": None})
    volume_id = id_of(stored)
    found = [driver.is_image_associated_with_store(OWNER, volume_id) for driver in (ours, slow, untyped)]
    assert found == [True, False, True]  # Cinder's default type is `fast`
    assert not ours.is_image_associated_with_store(OWNER, NOBODY)


def test_a_store_without_credentials_of_its_own_uses_the_requesters(cloud: Cloud, options: dict[str, Any]) -> None:
    session = sign_in(cloud, "demo")
    access = session.auth.get_access(session)  # type: ignore[union-attr]
    endpoint = f"{cloud.volume_url}/{access.project_id}"
    catalogue = [{"type": "volumev3", "name": "cinder", "endpoints": [{"publicURL": endpoint}]}]
    context = SimpleNamespace(
        project_id=access.project_id, user_id=access.user_id, auth_token=access.auth_token, service_catalog=catalogue
    )
    own = {name: value for name, value in options.items() if not name.startswith("cinder_store_")}
    driver = configured(Store, "requesters", **own)
    url = driver.add(IMAGE_ID, io.BytesIO(DATA), len(DATA), "sha512", context=context)[0]
    location = located(driver, url)
    assert ports(cloud, "demo").volumes.get(id_of(url)).project_id == access.project_id
    assert b"".join(driver.get(location, context=context)[0]) == DATA
    with pytest.raises(exceptions.BadStoreConfiguration, match="no service catalogue"):
        driver.get(location)
    driver.delete(location, context=context)
