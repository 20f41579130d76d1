"""What the mixin understands of Cinder's objects; `driver_suite_worker.py` runs these, and pytest alone does not."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cinder import exception, objects, utils
from cinder.volume import driver, volume_utils
from glanceclient import exc as glance_errors

from imagevol_adapters.driver import ImageCloneMixin, mixin, services
from imagevol_adapters.driver.facts import image_facts, volume_facts
from imagevol_core import AttachFailed, DeviceStalled, Digest, Image, ImageLocation, Volume
from imagevol_core.creation import boot_mapping

THEN = datetime(2026, 1, 1, tzinfo=UTC)
URL = "cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
OTHER = "rbd://a/b/c/d"
ONLY_ID = Image(id="image")
SAID = {
    "id": "image",
    "name": "an image",
    "status": "active",
    "owner": "project",
    "visibility": "shared",
    "disk_format": "qcow2",
    "container_format": "bare",
    "size": 3,
    "virtual_size": 4,
    "min_disk": 5,
    "created_at": THEN,
    "updated_at": THEN,
    "os_hash_algo": "sha512",
    "os_hash_value": "ab",
    "properties": {"hw_disk_bus": "scsi", "virtual_size": 7},
}
VOLUME_ID = "1e5177e7-95e5-4a0f-b170-e45f4b469f6a"
OF = "1e5177e7-95e5-4a0f-b170-e45f4b469f6c"


def volume(**fields: Any) -> Any:
    """Give Cinder's object of a new volume, with its metadata loaded."""
    known: dict[str, Any] = {
        "id": VOLUME_ID,
        "display_name": "a volume",
        "project_id": "project",
        "host": "node1@fast#pool",
        "cluster_name": None,
        "size": 2,
        "status": "creating",
        "volume_type": None,
        "encryption_key_id": None,
        "migration_status": None,
        "multiattach": False,
        "source_volid": None,
        "created_at": THEN,
        "metadata": {},
    }
    return objects.Volume(**{**known, **fields})


def test_no_fact_of_an_image_is_made_up() -> None:
    assert image_facts({"id": "image"}, None) == ONLY_ID
    assert image_facts({**dict.fromkeys(SAID), "id": "image"}, (None, None)) == ONLY_ID


def test_an_image_is_known_by_what_glance_says() -> None:
    assert image_facts(SAID, None) == Image(
        id="image",
        name="an image",
        status="active",
        owner="project",
        visibility="shared",
        disk_format="qcow2",
        container_format="bare",
        size_bytes=3,
        virtual_size_bytes=4,
        min_disk_gib=5,
        created_at=THEN,
        updated_at=THEN,
        digest=Digest("sha512", "ab"),
        properties={"hw_disk_bus": "scsi", "virtual_size": "7"},
    )


def test_a_mapping_that_cinder_has_read_is_the_text_that_it_is_in_glance() -> None:
    devices = [{"source_type": "snapshot", "boot_index": 0, "snapshot_id": "5f0a"}]
    image = image_facts({"id": "image", "properties": {"block_device_mapping": devices}}, None)
    assert boot_mapping(image).snapshot_id == "5f0a"


@pytest.mark.parametrize("lacks", ["os_hash_algo", "os_hash_value"])
def test_half_a_digest_is_none(lacks: str) -> None:
    said = {"id": "image", "os_hash_algo": "sha512", "os_hash_value": "ab"}
    assert image_facts({**said, lacks: None}, None).digest is None


def test_an_image_whose_key_cinder_took_out_of_its_properties_is_encrypted_all_the_same() -> None:
    properties = image_facts({"id": "image", "cinder_encryption_key_id": "key"}, None).properties
    assert dict(properties) == {"cinder_encryption_key_id": "key"}


@pytest.mark.parametrize(
    "location, known",
    [
        ((URL, None), [ImageLocation(URL)]),
        ((None, [{"url": URL, "metadata": {"store": "fast"}}]), [ImageLocation(URL, {"store": "fast"})]),
        ((None, [{"url": URL}, {"url": OTHER, "metadata": None}]), [ImageLocation(URL), ImageLocation(OTHER)]),
        ((URL, [{"url": URL, "metadata": {"store": "fast"}}]), [ImageLocation(URL, {"store": "fast"})]),
        ((URL, [{"url": OTHER}]), [ImageLocation(URL), ImageLocation(OTHER)]),
        (("", []), []),
    ],
    ids=["direct", "one", "two", "both the same", "direct first", "none"],
)
def test_each_location_is_known_once_and_with_its_store(location: Any, known: list[ImageLocation]) -> None:
    assert image_facts({"id": "image"}, location).locations == tuple(known)


def test_a_volume_is_known_by_what_cinder_says() -> None:
    said = volume(
        cluster_name="cluster@fast#pool",
        status="in-use",
        volume_type=objects.VolumeType(name="fast"),
        encryption_key_id="1e5177e7-95e5-4a0f-b170-e45f4b469f6b",
        migration_status="success",
        multiattach=True,
        source_volid=OF,
        metadata={"image_owner": "project"},
        admin_metadata={"readonly": "True"},
    )
    assert volume_facts(said) == Volume(
        id=VOLUME_ID,
        name="a volume",
        project_id="project",
        host="node1@fast#pool",
        cluster_name="cluster@fast#pool",
        size_gib=2,
        status="in-use",
        volume_type="fast",
        encrypted=True,
        migration_status="success",
        readonly=True,
        multiattach=True,
        source_volume_id=OF,
        metadata={"image_owner": "project"},
        created_at=THEN,
    )


def test_a_volume_is_neither_encrypted_nor_read_only_until_cinder_says_so() -> None:
    shown = volume_facts(volume())
    assert (shown.encrypted, shown.readonly, shown.volume_type) == (False, False, None)


@pytest.mark.parametrize(
    "written, readonly", [("True", True), ("true", True), ("False", False), ("", False), ("yes", False)]
)
def test_read_only_is_what_cinder_writes_for_it(written: str, readonly: bool) -> None:
    assert volume_facts(volume(admin_metadata={"readonly": written})).readonly is readonly


def test_what_a_user_calls_read_only_is_not() -> None:
    assert not volume_facts(volume(metadata={"readonly": "True"})).readonly


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("path", [True, False])
def test_a_device_is_this_services_as_long_as_it_is_open(
    path: bool, left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, owned, opened = tmp_path / "device", list[str](), list[Any]()
    file.write_bytes(bytes(4096))

    class Driver(ImageCloneMixin):
        configuration = SimpleNamespace(
            use_multipath_for_image_xfer=False,
            enforce_multipath_for_image_xfer=False,
            image_clone_stall_seconds=7,
        )

        def _attach_volume(self, _context: Any, volume: Any, _properties: Any) -> Any:
            return {"device": {"path": str(file) if path else file}}, volume

        def _detach_volume(self, *_: Any, **__: Any) -> None:
            opened.append("let go")

    @contextmanager
    def chown(path: str) -> Iterator[None]:
        owned.append(path)
        yield
        owned.remove(path)

    @contextmanager
    def opening(path: Any, *, writable: bool, name: str, seconds: float) -> Iterator[Any]:
        opened.append((path, writable, name, seconds, [*owned]))
        yield SimpleNamespace(left_open=left)

    monkeypatch.setattr(utils, "temporary_chown", chown)
    monkeypatch.setattr(volume_utils, "brick_get_connector_properties", lambda *_: {})
    monkeypatch.setattr(mixin, "open_device", opening)
    with (
        pytest.raises(AttachFailed, match=f"left behind: the attachment of volume {VOLUME_ID}")
        if left
        else nullcontext(),
        Driver.imagevol_open_volume(Driver.__new__(Driver), None, volume(), writable=True),
    ):
        pass
    named = str(file) if path else file
    assert opened == [(named, True, VOLUME_ID, 7, [named] if path else []), *([] if left else ["let go"])]
    assert owned == []


def test_a_device_whose_opening_hangs_stays_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = list[str]()

    class Driver(ImageCloneMixin):
        configuration = SimpleNamespace(
            use_multipath_for_image_xfer=False,
            enforce_multipath_for_image_xfer=False,
            image_clone_stall_seconds=7,
        )

        def _attach_volume(self, _context: Any, volume: Any, _properties: Any) -> Any:
            return {"device": {"path": None}}, volume

        def _detach_volume(self, *_: Any, **__: Any) -> None:
            let_go.append("let go")

    @contextmanager
    def opening(*_: Any, **__: Any) -> Iterator[Any]:
        raise DeviceStalled("the device", doing="opening", seconds=7)
        yield

    monkeypatch.setattr(volume_utils, "brick_get_connector_properties", lambda *_: {})
    monkeypatch.setattr(mixin, "open_device", opening)
    with (
        pytest.raises(DeviceStalled),
        Driver.imagevol_open_volume(Driver.__new__(Driver), None, volume(), writable=True),
    ):
        pass
    assert let_go == []


def names_of(tree: ast.AST) -> set[str]:
    """What the classes of a module define: methods, class attributes, and attributes that methods set on `self`."""
    found: set[str] = set()
    for each in ast.walk(tree):
        if isinstance(each, ast.ClassDef):
            found |= {part.name for part in each.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}
            found |= {name.id for part in each.body for name in ast.walk(part) if isinstance(name, ast.Name)}
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self":
            found.add(each.attr)
    return found


def test_no_driver_of_cinders_has_a_name_that_is_the_mixins_own() -> None:
    """What Cinder's base class has too, the mixin extends on purpose."""
    cinders = set(dir(driver.VolumeDriver))
    own = {name for name in vars(mixin.ImageCloneMixin) if name not in cinders and not name.startswith("__")}
    directory = Path(inspect.getfile(driver)).parent / "drivers"
    taken = {file: names_of(ast.parse(file.read_bytes())) for file in directory.rglob("*.py")}
    assert len(taken) > 200
    assert any("create_cloned_volume" in names for names in taken.values())
    assert {str(file): sorted(names & own) for file, names in taken.items() if names & own} == {}
    assert {name for name in own if not name.startswith("imagevol_")} == set()


@pytest.mark.parametrize(
    "answer, gives",
    [
        ((206, b"x"), True),
        ((200, b"the whole image"), True),
        ((206, b""), False),
        ((204, None), False),
        (glance_errors.HTTPForbidden(), False),
        (glance_errors.HTTPNotFound(), False),
        (glance_errors.CommunicationError(), False),
        (exception.GlanceConnectionFailed(reason="it is down"), False),
        (ConnectionResetError(), False),
    ],
    ids=repr,
)
def test_glance_gives_a_requester_an_image_if_its_first_byte_comes(
    monkeypatch: pytest.MonkeyPatch, answer: Any, gives: bool
) -> None:
    asked: list[str] = []
    closed: list[str] = []

    class Client:
        """python-glanceclient's, as Cinder makes one for a request."""

        def __init__(self, context: Any, *_: Any, **__: Any) -> None:
            self.http_client = self
            self.token, self.additional_headers = context.auth_token, dict[str, str]()

        def get(self, url: str, *, timeout: float) -> Any:
            asked.append(f"{self.token}: {url}, {self.additional_headers}, {timeout:g} s")
            if isinstance(answer, Exception):
                raise answer
            status, data = answer
            return SimpleNamespace(status_code=status, close=lambda: closed.append("closed")), data and iter([data])

    monkeypatch.setattr("cinder.image.glance._create_glance_client", Client)
    monkeypatch.setattr("cinder.image.glance.get_api_servers", lambda _: iter([("glance", False)]))
    monkeypatch.setattr("cinder.image.glance.CONF", SimpleNamespace(glance_num_retries=0))
    assert services.gives_data(SimpleNamespace(project_id="project", auth_token="token"), "image", seconds=7) is gives
    assert asked == ["token: /v2/images/image/file, {'Range': 'bytes=0-0'}, 7 s"]
    assert closed == ([] if isinstance(answer, Exception) else ["closed"])


def test_glance_gives_nothing_without_a_token_and_where_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cinder.image.glance.get_api_servers", lambda _: iter([]))
    for token in (None, "token"):
        assert not services.gives_data(SimpleNamespace(project_id="project", auth_token=token), "image")
