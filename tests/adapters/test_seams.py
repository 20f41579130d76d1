"""Whatever error a library has, at each place where we call it, one of ours comes out: on one line, with its cause."""

from __future__ import annotations

import io
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cinderclient import exceptions as cinder_errors
from glance_store import exceptions
from glance_store.common import fs_mount
from keystoneauth1.session import Session
from openstack.config import OpenStackConfig
from os_brick.initiator.connector import InitiatorConnector
from oslo_concurrency import lockutils, processutils
from oslo_config import cfg
from oslo_privsep import priv_context
from tooz import coordination

from imagevol_adapters import attaching_records, brick
from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.cinder import client as cinder_client
from imagevol_adapters.cinder.client import newest_message
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.configuration import stores as configuration
from imagevol_adapters.coordination import from_conf, from_url
from imagevol_adapters.devices.ceph import RbdDevice
from imagevol_adapters.error_text import LONGEST_LINE
from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.ports import AccessMode, Attachment, ImageService, VolumeService
from imagevol_adapters.qemu import converter as qemu
from imagevol_adapters.qemu.converter import QemuConverter, qemu_img_version
from imagevol_adapters.qemu.running import ended
from imagevol_adapters.store.attaching import StoreAttacher
from imagevol_adapters.store.errors import translated as translated_for_glance
from imagevol_core import ImagevolError, Volume
from tests.adapters.library_errors import errors_of, instance
from tests.adapters.rbd_like import RbdLike
from tests.adapters.rest import CINDER, session

ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
ON_THIS_HOST = ("os_brick", "oslo_concurrency", "oslo_config", "oslo_privsep", "oslo_utils", "fasteners", "builtins")
OF_A_SERVICE = ("keystoneauth1", "requests", "urllib3", "builtins")
ATTACHMENT = Attachment(id="a1", volume_id="7", connection={"driver_volume_type": "local", "device_path": "/none"})

Seam = Callable[[pytest.MonkeyPatch, Callable[..., Any]], object]
SEAMS: dict[str, tuple[Seam, tuple[str, ...]]] = {}


# Where it may be none: its text may be a password.
WITHOUT_CAUSE = frozenset({"entering_a_lock_service", "loading_a_configuration", "reading_an_option"})


def seam(*libraries: str) -> Callable[[Seam], Seam]:
    """A place where these libraries are called: it is given a function that raises, and puts it into their place."""

    def known(call: Seam) -> Seam:
        SEAMS[call.__name__] = call, libraries
        return call

    return known


class Failing:
    """A client of which every call fails."""

    def __init__(self, fail: Callable[..., Any]) -> None:
        self.fail = fail

    def __getattr__(self, name: str) -> Any:
        return Failing(self.fail) if name != "get_endpoint_data" else self.fail

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.fail()


@seam(*ON_THIS_HOST)
def telling_of_this_host(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(brick, "get_connector_properties", fail)
    return BrickAttacher(ip="192.0.2.1").connector()


@seam(*ON_THIS_HOST)
def choosing_a_connector(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(InitiatorConnector, "factory", fail)
    return opened(BrickAttacher())


@seam(*ON_THIS_HOST)
def connecting(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(InitiatorConnector, "factory", lambda *_, **__: SimpleNamespace(connect_volume=fail))
    return opened(BrickAttacher())


@seam(*ON_THIS_HOST)
def disconnecting(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    connector = SimpleNamespace(connect_volume=lambda _: {"path": "/dev/zero"}, disconnect_volume=fail)
    monkeypatch.setattr(InitiatorConnector, "factory", lambda *_, **__: connector)
    return opened(BrickAttacher())


@seam(*ON_THIS_HOST)
def disconnecting_what_a_dead_process_left(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(InitiatorConnector, "factory", lambda *_, **__: SimpleNamespace(disconnect_volume=fail))
    BrickAttacher().disconnect(ATTACHMENT)
    return None


@seam(*ON_THIS_HOST)
def opening_a_device(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    connector = SimpleNamespace(connect_volume=lambda _: {"path": "/dev/zero"}, disconnect_volume=lambda *_, **__: None)
    monkeypatch.setattr(InitiatorConnector, "factory", lambda *_, **__: connector)
    monkeypatch.setattr(brick, "open_device", fail)
    return opened(BrickAttacher())


@seam(*ON_THIS_HOST)
def locking_on_this_host(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(lockutils, "lock", fail)
    with BrickAttacher().leaving("7"):
        return None


@seam(*ON_THIS_HOST)
def becoming_privileged(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(lockutils, "set_defaults", fail)
    monkeypatch.setattr(brick, "lock_directory", lambda path: path)
    become_privileged(Path("/"))
    return None


@seam(*ON_THIS_HOST)
def setting_up_privsep(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(priv_context, "init", fail)
    return of_the_store().connector()


@seam(*ON_THIS_HOST)
def looking_for_an_address(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(priv_context, "init", lambda **_: None)
    monkeypatch.setattr("imagevol_adapters.store.attaching.address_of", fail)
    return of_the_store().connector()


@seam(*ON_THIS_HOST)
def giving_a_device_away(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr("os.getuid", lambda: 12345)
    monkeypatch.setattr(processutils, "execute", fail)
    with of_the_store().opening("/dev/zero"):
        return None


@seam(*ON_THIS_HOST, "glance_store.exceptions")
def mounting(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(fs_mount, "mount", fail)
    return mounted()


@seam(*ON_THIS_HOST, "glance_store.exceptions")
def unmounting(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(fs_mount, "mount", lambda *_: None)
    monkeypatch.setattr(fs_mount, "umount", fail)
    return mounted()


@seam("builtins", "os_brick")
def reading_from_ceph(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    image = RbdLike(4096)
    monkeypatch.setattr(image, "read", fail)
    return RbdDevice(image=image, path="/7").readinto(0, memoryview(bytearray(512)))


@seam("builtins", "os_brick")
def asking_ceph_for_a_size(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    image = RbdLike(4096)
    monkeypatch.setattr(image, "size", fail)
    return RbdDevice(image=image, path="/7").write(0, memoryview(b"x"))


@seam("tooz", "fasteners", "builtins")
def entering_a_lock_service(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(coordination, "get_coordinator", fail)
    return from_url("file:///tmp").lease_seconds


@seam("oslo_config", "builtins")
def reading_the_option_of_a_lock_service(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    return from_conf(Raising(fail))


@seam("oslo_config", "oslo_utils")
def loading_a_configuration(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(cfg.ConfigOpts, "__call__", fail)
    return configuration.load([Path("/none")])


@seam("oslo_config")
def reading_an_option(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    conf = configuration.load([])
    monkeypatch.setattr(cfg.ConfigOpts, "__getitem__", fail)
    return configuration.value_of(conf, "enabled_backends")


@seam("oslo_config")
def registering_an_option(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    conf = cfg.ConfigOpts()
    monkeypatch.setattr(cfg.ConfigOpts, "register_opt", fail)
    configuration._register(conf, [cfg.StrOpt("x")], section="s")
    return None


@seam("oslo_concurrency", "oslo_utils", "builtins")
def running_qemu_img(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(subprocess, "Popen", fail)
    return ended(["qemu-img"], lambda: False)


@seam("oslo_concurrency", "oslo_utils", "builtins")
def asking_qemu_img_for_its_version(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(qemu, "_installed", lambda: "/usr/bin/qemu-img")
    monkeypatch.setattr(subprocess, "run", fail)
    return qemu_img_version()


@seam("builtins")
def reading_an_image_file(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr("imagevol_adapters.inspection.in_time.inspect_file", fail)
    return QemuConverter().examine(__file__, declared_format="raw", size_gib=1, what="image 7")


@seam("openstack.exceptions", "openstack.cloud.exc", "keystoneauth1", "builtins")
def choosing_a_cloud(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    warnings.simplefilter("ignore")  # of what the SDK deprecates
    app = Imagevol([])
    app.options = app.parser.parse_args([])
    monkeypatch.setattr(OpenStackConfig, "get_one", fail)
    return app.cloud


@seam("cinderclient", *OF_A_SERVICE)
def making_a_client_of_cinder(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(Session, "get_endpoint_data", lambda *_, **__: SimpleNamespace(max_microversion=(3, 71)))
    monkeypatch.setattr("cinderclient.client.Client", fail)
    return cinder_client.connect(session(CINDER))


@seam("cinderclient", *OF_A_SERVICE)
def asking_for_the_versions_of_cinder(monkeypatch: pytest.MonkeyPatch, fail: Callable[..., Any]) -> object:
    monkeypatch.setattr(Session, "get_endpoint_data", fail)
    return cinder_client.connect(session(CINDER))


class Raising:
    """A configuration of which every option fails."""

    def __init__(self, fail: Callable[..., Any]) -> None:
        self.__dict__["fail"] = fail

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["fail"]()


def of_the_store() -> StoreAttacher:
    volumes = SimpleNamespace(
        get=lambda _: Volume(id="7", size_gib=1), attachment=lambda _: SimpleNamespace(connection={"format": "raw"})
    )
    return StoreAttacher(root_helper="env", volumes=volumes, mounts=Path("/none"))  # type: ignore[arg-type]


def mounted() -> object:
    with of_the_store()._mounted(Attachment(id="a", volume_id="7", connection={"export": "host:/x", "name": "v"})) as _:
        return None


def opened(attacher: BrickAttacher) -> object:
    with attacher.open(ATTACHMENT, mode=AccessMode.READ) as device:
        return device


METHODS: dict[str, tuple[Any, ...]] = {
    "volumes.attach": (ID,),
    "volumes.attachment": (ID,),
    "volumes.base_image_id": (ID,),
    "volumes.clone": (ID,),
    "volumes.complete": (ATTACHMENT,),
    "volumes.create": (),
    "volumes.delete": (ID,),
    "volumes.detach": (ATTACHMENT,),
    "volumes.extend": (ID,),
    "volumes.find": ([ID],),
    "volumes.get": (ID,),
    "volumes.holders": (ID,),
    "volumes.named": ("x",),
    "volumes.set_metadata": (ID, {}),
    "volumes.set_readonly": (ID,),
    "volumes.shares_host": (ATTACHMENT,),
    "volumes.volume_type": ("fast",),
    "volumes.wait": (ID,),
    "volumes.with_metadata": ({},),
    "images.add_location": (ID, "cinder://a/b"),
    "images.create": (),
    "images.delete": (ID,),
    "images.find": (ID,),
    "images.get": (ID,),
    "images.protect": (ID,),
    "images.read": (ID,),
    "images.unset_properties": (ID, ["x"]),
    "images.upload": (ID, []),
    "images.wait": (ID,),
    "images.with_properties": ({"x": "y"},),
}
NAMED: dict[str, dict[str, Any]] = {
    "volumes.attach": {"connector": {}, "mode": AccessMode.READ},
    "volumes.clone": {"name": "x", "metadata": {}},
    "volumes.create": {"size_gib": 1, "name": "x"},
    "volumes.extend": {"size_gib": 2},
    "volumes.set_readonly": {"readonly": True},
    "volumes.shares_host": {"host": "h"},
    "images.add_location": {"store": None, "digest": None},
    "images.create": {"name": "x", "disk_format": "raw"},
    "images.protect": {"protected": True},
    "images.upload": {"size_bytes": 0},
    "images.with_properties": {"status": "queued"},
}


# What is no fault.
PASSED_OVER: dict[str, tuple[type[Exception], ...]] = {
    "registering_an_option": (cfg.DuplicateOptError,),
    "volumes.find": (cinder_errors.BadRequest, cinder_errors.NotFound, KeyError),
    "volumes.detach": (cinder_errors.NotFound,),
}


def test_every_method_of_the_services_is_tried() -> None:
    def methods(protocol: type) -> set[str]:
        return {name for name, value in vars(protocol).items() if callable(value) and not name.startswith("_")}

    expected = {f"volumes.{name}" for name in methods(VolumeService)}
    assert expected | {f"images.{name}" for name in methods(ImageService)} == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_each_error_of_a_client_becomes_ours_whatever_was_asked(method: str) -> None:
    service, _, name = method.partition(".")
    client = {"volumes": "cinderclient", "images": "glanceclient"}[service]
    for error in errors(client, *OF_A_SERVICE):
        failing = Failing(raising(error))
        volumes = CinderVolumes(session=failing, wait_seconds=0)  # type: ignore[arg-type]
        images = GlanceImages(session=failing, wait_seconds=0)  # type: ignore[arg-type]
        volumes._client = images._client = failing  # type: ignore[assignment]
        with translated_to_ours(error, PASSED_OVER.get(method, ())):
            getattr({"volumes": volumes, "images": images}[service], name)(*METHODS[method], **NAMED.get(method, {}))


def test_what_cinder_says_of_a_failed_volume_may_fail_itself() -> None:
    for error in errors("cinderclient", *OF_A_SERVICE):
        client: Any = SimpleNamespace(messages=Failing(raising(error)))
        assert newest_message(client, ID) is None


@pytest.fixture(autouse=True)
def locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root keeps its locks elsewhere than on the real host."""
    monkeypatch.setattr(attaching_records, "LOCK_PATH", tmp_path / "locks")


@pytest.mark.parametrize("name", SEAMS)
def test_each_error_of_a_library_becomes_ours(name: str) -> None:
    call, libraries = SEAMS[name]
    for error in errors(*libraries):
        with (
            warnings.catch_warnings(),
            pytest.MonkeyPatch.context() as monkeypatch,
            translated_to_ours(error, PASSED_OVER.get(name, ()), cause=name not in WITHOUT_CAUSE),
        ):
            call(monkeypatch, raising(error))


def test_an_option_that_the_store_cannot_read_is_a_bad_configuration() -> None:
    for error in errors("oslo_config"):
        if isinstance(error, cfg.Error):  # the others are of files, which Glance has read by then
            with pytest.raises(exceptions.BadStoreConfiguration) as caught, translated_for_glance():
                raise error
            assert caught.value.__cause__ is error


def test_an_error_of_the_uploading_client_is_not_translated() -> None:
    """Also one that looks like the network's: Glance tells by it what to answer."""
    error = ZeroDivisionError("in the data")

    def data() -> Iterator[bytes]:
        yield b"x"
        raise error

    def put(_: str, *, headers: object, data: io.RawIOBase, timeout: object) -> None:
        while data.read(1):
            pass

    images = GlanceImages(session=Session())
    images._client = SimpleNamespace(http_client=SimpleNamespace(put=put))  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError) as caught:
        images.upload(ID, data(), size_bytes=None)
    assert caught.value is error


def errors(*libraries: str) -> list[Exception]:
    found = [instance(kind) for library in libraries for kind in errors_of(library)]
    assert len(found) >= len(libraries)
    return found


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


class translated_to_ours(ExitStack):  # noqa: N801 - used as a function
    """Let what is done inside raise one of ours, for this reason."""

    def __init__(self, error: Exception, passed_over: tuple[type[Exception], ...], *, cause: bool = True) -> None:
        super().__init__()
        self.error = error
        self.passed_over = passed_over
        self.cause = cause

    def __exit__(self, kind: object, value: BaseException | None, traceback: object) -> bool:
        if value is None and isinstance(self.error, self.passed_over):
            return True
        assert isinstance(value, ImagevolError), f"{type(self.error)}: {value!r}"
        causes: list[BaseException] = [value]
        while (cause := causes[-1].__cause__) is not None:  # some are false
            causes.append(cause)
        assert any(each is self.error for each in causes) or not self.cause, f"the cause of {value!r}"
        assert str(value).isprintable()
        assert len(str(value)) < 2 * LONGEST_LINE
        return True
