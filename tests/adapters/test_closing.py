"""Whatever is handed over to be read is closed, however the reading ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import attrs
import pytest
import requests
from glanceclient.v2.client import Client as GlanceClient
from oslo_config import cfg
from requests_mock import Mocker

from imagevol_adapters.closing import Closeable, close, closed_on_failure, closing
from imagevol_adapters.engine import Limits, StreamWriter, verified, write_stream
from imagevol_adapters.engine.sources import guarded
from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.store import Store
from imagevol_adapters.store.driver import Cloud
from imagevol_adapters.testing.faults import FaultyDevice
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryDevice, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import open_image_volume, register_image, store_image
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import DeviceFailed, Digest, Image, SourceFailed, WrongLength
from tests.adapters.recording import BASE, Glance, ask, upload
from tests.adapters.rest import GLANCE, offer_glance, session

DATA = bytes(range(256)) * 16
SHA512 = Digest("sha512", hashlib.sha512(DATA).hexdigest())
IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
REQUEST: Any = SimpleNamespace(project_id="the-owner", user_id="u", auth_token="t", service_catalog=[])


class Handed(Iterator[bytes]):
    """An iteration that gives these items, raises those that are errors, and counts how often it is closed."""

    def __init__(self, *items: bytes | BaseException) -> None:
        self.items = iter(items)
        self.asked = self.closed = self.asked_too_late = 0

    def __next__(self) -> bytes:
        self.asked += 1
        self.asked_too_late += bool(self.closed)
        item = next(self.items)
        if isinstance(item, BaseException):
            raise item.with_traceback(None)
        return item

    def read(self, length: int) -> bytes:
        """As of a file."""
        assert length > len(DATA)
        return next(self, b"")

    def close(self) -> None:
        self.closed += 1


class Reiterated(Iterable[bytes]):
    """The same as an iterable, of which it is not the iteration that is closed."""

    def __init__(self, handed: Handed) -> None:
        self.handed = handed

    def __iter__(self) -> Iterator[bytes]:
        while (item := next(self.handed, None)) is not None:
            yield item

    def close(self) -> None:
        self.handed.close()


@attrs.frozen(kw_only=True)
class Way:
    """How a reading ends."""

    items: tuple[bytes | BaseException, ...] = (DATA[:1000], DATA[1000:])
    size_bytes: int = len(DATA)
    device: Callable[[], Any] = attrs.field(default=lambda: MemoryDevice(1 << 20))
    limits: Limits = attrs.field(factory=Limits)
    progress: Callable[[object], None] | None = None
    refused: bool = False
    """By what is known before the first byte."""


def interrupted(_: object) -> None:
    raise KeyboardInterrupt


def cancelled() -> Limits:
    limits = Limits()
    limits.cancelled.set()
    return limits


def failing() -> FaultyDevice:
    return FaultyDevice(MemoryDevice(1 << 20), writes=[DeviceFailed("no path")])


def not_flushing() -> FaultyDevice:
    return FaultyDevice(MemoryDevice(1 << 20), flushes=[DeviceFailed("no path")])


WAYS = {
    "all is well": Way(),
    "the source fails": Way(items=(DATA[:9], OSError("gone"))),
    "the source fails at once": Way(items=(OSError("gone"),)),
    "the source has a defect": Way(items=(DATA[:9], ZeroDivisionError("oops"))),
    "an interrupt of the source": Way(items=(DATA[:9], KeyboardInterrupt())),
    "the source is shorter": Way(size_bytes=len(DATA) + 1),
    "the source is longer": Way(size_bytes=len(DATA) - 1),
    "the source is empty": Way(items=()),
    "the device fails": Way(device=failing),
    "the device is not flushed": Way(device=not_flushing),
    "the device is too small": Way(device=lambda: MemoryDevice(9)),
    "cancelled": Way(limits=cancelled()),
    "an interrupt of the progress": Way(progress=interrupted),
    "refused before the first byte": Way(refused=True),
}


@attrs.define(kw_only=True)
class Attacher(MemoryAttacher):
    """Attaches the device of a way, whichever volume it is."""

    device: Callable[[], Any]

    @contextmanager
    def open(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with super().open(*args, **kwargs):
            yield self.device()


def world(way: Way) -> dict[str, Any]:
    volumes = MemoryVolumes(volume_types={"fast": False, "secret": True})
    return {"volumes": volumes, "attacher": Attacher(volumes=volumes, device=way.device)}


def _write_stream(source: Any, way: Way, _: Path) -> None:
    write_stream(
        source,
        way.device(),
        size_bytes=way.size_bytes,
        algorithms=("nonsense",) if way.refused else (),
        progress=way.progress,
        limits=way.limits,
    )


def _stream_writer(source: Any, way: Way, _: Path) -> None:
    algorithms = ("nonsense",) if way.refused else ()
    with StreamWriter(source, algorithms=algorithms, progress=way.progress, limits=way.limits) as writer:
        writer.write(way.device())


def _verified(source: Any, way: Way, _: Path) -> None:
    digest = Digest("nonsense", "00") if way.refused else SHA512
    assert b"".join(verified(source, digest, "the image")) == DATA


def _unverified(source: Any, *_: object) -> None:
    list(verified(source, None, "the image"))


def _guarded(source: Any, *_: object) -> None:
    list(guarded(source))


def _closed_before_it_begins(source: Any, *_: object) -> None:
    for data in (guarded(source), verified(source, SHA512, "the image"), verified(source, None, "the image")):
        before = source.closed if isinstance(source, Handed) else source.handed.closed
        data.close()
        after = source.closed if isinstance(source, Handed) else source.handed.closed
        assert after == before + 1


def _fill(source: Any, way: Way, directory: Path, disk_format: str, digest: Digest | None = None) -> None:
    fill_device(
        source,
        MemoryDevice(9) if way.refused else way.device(),
        image=Image(id=IMAGE_ID, disk_format=disk_format, size_bytes=way.size_bytes, digest=digest),
        converter=QemuConverter(),
        directory=directory / "nowhere" if way.refused else directory,
        limits=way.limits,
    )


def _fill_raw(source: Any, way: Way, directory: Path) -> None:
    _fill(source, way, directory, "raw", SHA512)


def _fill_converted(source: Any, way: Way, directory: Path) -> None:
    _fill(source, way, directory, "qcow2")


def _store_image(source: Any, way: Way, _: Path, **wishes: Any) -> None:
    store_image(
        source,
        image_id=IMAGE_ID,
        image_owner="p",
        volume_type="secret" if way.refused else "fast",
        progress=way.progress,
        limits=way.limits,
        **{"size_bytes": way.size_bytes, **world(way), **wishes},
    )


def _store_stream(source: Any, way: Way, directory: Path) -> None:
    _store_image(source, way, directory, size_bytes=None)


def _store_nonsense(source: Any, way: Way, directory: Path) -> None:
    _store_image(source, way, directory, size_bytes=-1)


def _store_unsafe(source: Any, way: Way, directory: Path) -> None:
    _store_image(source, way, directory, declared_format="vmdk")


def _register_image(source: Any, way: Way, _: Path) -> None:
    ports = world(way)
    register_image(
        source,
        name="disk",
        size_bytes=way.size_bytes,
        images=MemoryImages(volumes=ports["volumes"]),
        store="/" if way.refused else "fast",
        progress=way.progress,
        limits=way.limits,
        **ports,
    )


def _register_nothing(source: Any, way: Way, directory: Path) -> None:
    _register_image(source, attrs.evolve(way, size_bytes=0), directory)


def _upload(source: Any, way: Way, _: Path) -> None:
    with Mocker() as http:
        offer_glance(http)
        answer = {"status_code": 409} if way.refused else {"text": lambda request, _: request.body.read(1 << 20) or ""}
        http.put(f"{GLANCE}/v2/images/{IMAGE_ID}/file", **answer)
        GlanceImages(session=session(GLANCE)).upload(IMAGE_ID, source, size_bytes=way.size_bytes)


def _upload_unreachable(source: Any, way: Way, _: Path) -> None:
    with Mocker() as http:
        http.get(GLANCE, exc=requests.ConnectionError)
        GlanceImages(session=session(GLANCE)).upload(IMAGE_ID, source, size_bytes=way.size_bytes)


def _keep(source: Any, way: Way, _: Path) -> None:
    images = MemoryImages(volumes=MemoryVolumes())
    image_id = IMAGE_ID if way.refused else images.create(name="disk", disk_format="raw").id
    images.upload(image_id, source, size_bytes=way.size_bytes)


def _add(source: Any, way: Way, _: Path) -> None:
    cfg.CONF([], project="glance", default_config_files=[])
    store = Store(cfg.CONF, backend="closing")
    cfg.CONF.set_override("cinder_volume_type", "fast", group="closing")
    ports = world(way)
    store._service = Cloud(ports["volumes"], ports["attacher"], "memory")
    try:
        for name in ("auth_address", "user_name", "password", "project_name"):
            cfg.CONF.set_override(f"cinder_store_{name}", "http://keystone.test/v3", group="closing")
        file: Any = source if isinstance(source, Handed) else source.handed
        store.add(IMAGE_ID, file, way.size_bytes, "sha512", context=None if way.refused else REQUEST)
    finally:
        cfg.CONF.clear()


TAKERS = {
    taker.__name__.strip("_"): taker
    for taker in (
        *(_write_stream, _stream_writer, _verified, _unverified, _guarded, _closed_before_it_begins),
        *(_fill_raw, _fill_converted, _store_image, _store_stream, _store_nonsense, _store_unsafe),
        *(_register_image, _register_nothing, _upload, _upload_unreachable, _keep, _add),
    )
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("kind", ["iterator", "iterable"])
def test_every_stream_that_is_handed_over_is_closed(taker: str, way: str, kind: str, tmp_path: Path) -> None:
    handed = Handed(*WAYS[way].items)
    with suppress(Exception, KeyboardInterrupt):
        TAKERS[taker](handed if kind == "iterator" else Reiterated(handed), WAYS[way], tmp_path)
    assert (handed.closed > 0, handed.asked_too_late) == (True, 0)
    if WAYS[way].refused and taker not in ("unverified", "guarded", "upload"):
        assert handed.asked == 0


class TestClosing:
    def test_an_object_without_close_is_left_alone(self) -> None:
        for source in ([b"data"], iter([b"data"]), SimpleNamespace(close="no method"), None):
            close(source)

    def test_an_error_comes_before_one_of_closing(self) -> None:
        source = SimpleNamespace(close=_raising(OSError("stuck")))
        with pytest.raises(ZeroDivisionError) as caught, closing(source):
            raise ZeroDivisionError
        assert caught.value.__notes__ == ["closing the source failed: stuck"]

    def test_closing_that_fails_after_all_went_well_is_an_error(self) -> None:
        with pytest.raises(OSError, match="stuck"), closing(SimpleNamespace(close=_raising(OSError("stuck")))):
            pass
        source = Handed(DATA)
        source.close = _raising(OSError("stuck"))  # type: ignore[method-assign]
        with pytest.raises(SourceFailed, match="stuck"):
            write_stream(source, MemoryDevice(1 << 20), size_bytes=len(DATA))

    def test_an_interrupt_while_it_closes_is_raised(self) -> None:
        with pytest.raises(KeyboardInterrupt), closed_on_failure(SimpleNamespace(close=_raising(KeyboardInterrupt()))):
            raise ZeroDivisionError

    def test_a_closed_iterator_gives_nothing_more(self) -> None:
        source = Handed(DATA)
        items = Closeable(source, source)
        items.close()
        items.close()
        assert (list(items), source.closed, source.asked) == ([], 2, 0)  # as the items, and as their source

    def test_a_volume_that_is_read_lets_a_reader_close_what_it_was_given(self) -> None:
        ports = world(Way())
        ports["attacher"] = MemoryAttacher(volumes=ports["volumes"])
        stored = store_image([DATA], image_id=IMAGE_ID, image_owner="p", size_bytes=len(DATA), **ports)
        with open_image_volume(stored.volume.id, **ports) as content, pytest.raises(WrongLength):
            write_stream(content.parts, MemoryDevice(1 << 20), size_bytes=1)
        with pytest.raises(DeviceFailed, match="is closed"):
            next(content.parts)


def _raising(error: BaseException) -> Callable[[], None]:
    def raised() -> None:
        raise error

    return raised


class TestGlanceclient:
    """What it gives has no `close`, and does not close its response."""

    @pytest.fixture
    def closed(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The bodies of the responses that were closed."""
        closed: list[bytes] = []
        real = requests.Response.close

        def watched(self: requests.Response) -> None:
            if self.request.path_url.endswith("/file"):
                closed.append(b"")
            real(self)

        monkeypatch.setattr(requests.Response, "close", watched)
        return closed

    @pytest.fixture(params=["multihash", "checksum", "nothing"])
    def data(self, request: pytest.FixtureRequest) -> Iterator[Any]:
        """As Cinder hands it on."""
        known = {
            "multihash": {"os_hash_algo": "sha512", "os_hash_value": SHA512.value},
            "checksum": {"checksum": hashlib.md5(DATA).hexdigest()},
            "nothing": {},
        }[request.param]
        with Mocker() as http:
            offer_glance(http)
            http.get(f"{GLANCE}/v2/images/7", json={"id": "7", **known})
            http.get(
                f"{GLANCE}/v2/images/7/file", content=DATA * 64, headers={"Content-Type": "application/octet-stream"}
            )
            yield GlanceClient(session=session(GLANCE)).images.data("7")

    def test_a_response_that_was_not_read_is_closed(self, data: Any, closed: list[bytes]) -> None:
        close(data)
        assert closed

    @pytest.mark.parametrize("iterated", [iter, lambda data: data])
    def test_a_response_that_is_half_read_is_closed(
        self, data: Any, closed: list[bytes], iterated: Callable[[Any], Any]
    ) -> None:
        items = iterated(data)
        next(items)
        close(items)
        assert closed

    def test_a_template_that_is_refused_in_the_middle_closes_the_response(
        self, data: Any, closed: list[bytes], tmp_path: Path
    ) -> None:
        error = None
        try:
            _fill(data, Way(size_bytes=len(DATA)), tmp_path, "raw")
        except WrongLength as raised:
            error = raised  # with its traceback, and all that it holds
        assert error is not None
        assert closed


class Application(Glance):
    """A Glance that counts its answers, and how many of them were closed."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Handed] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        handed = Handed(*super().__call__(environ, start_response))
        self.given.append(handed)
        return handed


class TestMiddleware:
    def test_each_answer_of_the_application_is_closed(self) -> None:
        glance = Application()
        ask(glance, upload(BASE)).body  # noqa: B018 - as a server does
        assert [each.closed for each in glance.given] == [1, 1, 1]

    def test_the_answer_is_closed_if_the_server_ends_the_request_while_copies_are_asked_for(self) -> None:
        class Ended(Application):
            def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
                if environ["REQUEST_METHOD"] == "POST":
                    raise SystemExit
                return super().__call__(environ, start_response)

        glance = Ended()
        with pytest.raises(SystemExit):
            ask(glance, upload(BASE))
        assert [each.closed for each in glance.given] == [1, 1]
