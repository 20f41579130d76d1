"""A Glance that stops in the middle of an answer, or stops to read, is named at the deadline."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token

from imagevol_adapters.cinder.service_user import volumes_as
from imagevol_adapters.engine import Limits, write_stream
from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_core import ServiceStalled, ServiceUnreachable, TransferStalled

IMAGE_ID = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"
SOON = 0.2  # the deadline
GIVEN_BYTES = 1 << 16  # before it stops
SIZE_BYTES = 4 << 20


class Glance(ThreadingHTTPServer):
    """A Glance with one image, of which it gives and takes only a part."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on the loopback interface."""
        self.over = Event()
        super().__init__(("127.0.0.1", 0), Answer)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Glance

    def do_GET(self) -> None:
        """Show the image, or give a part of its data."""
        if not self.path.endswith("/file"):
            body = json.dumps(_IMAGE if "/images/" in self.path else _SCHEMA).encode()
            self._begin(len(body))
            self.wfile.write(body)
            return
        self._begin(SIZE_BYTES)
        with suppress(OSError):
            self.wfile.write(bytes(GIVEN_BYTES))
        self.server.over.wait(30)

    def do_PUT(self) -> None:
        """Read nothing."""
        self.server.over.wait(30)

    def _begin(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be silent."""


_IMAGE = {
    "id": IMAGE_ID,
    "name": "image",
    "status": "active",
    "size": SIZE_BYTES,
    "locations": [],
    "updated_at": "2026-01-01T00:00:00Z",
}
_SCHEMA: dict[str, object] = {"name": "image", "properties": {}}


@pytest.fixture
def glance() -> Iterator[Glance]:
    with Glance() as server:
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            serving.join()


@pytest.fixture
def images(glance: Glance) -> GlanceImages:
    session = Session(auth=Token(glance.url, "token"))
    return GlanceImages(session=session, endpoint_override=glance.url, stall_seconds=SOON)


def test_a_glance_that_stops_to_give_data_is_named(images: GlanceImages) -> None:
    data = images.read(IMAGE_ID)
    with pytest.raises(ServiceStalled, match=r"Glance, reading image .* stalled") as caught:
        list(data)
    assert (caught.value.side, caught.value.seconds) == ("service", SOON)


def test_a_glance_that_stops_is_named_and_not_the_source_as_which_it_is_read(images: GlanceImages) -> None:
    limits = Limits(stall_seconds=SOON / 2)
    with pytest.raises(TransferStalled) as caught:
        write_stream(images.read(IMAGE_ID), MemoryDevice(SIZE_BYTES), size_bytes=SIZE_BYTES, limits=limits)
    assert caught.value.side == "service"


def test_a_glance_that_stops_to_take_data_is_named(images: GlanceImages) -> None:
    with pytest.raises(ServiceStalled, match=r"Glance, uploading image .* stalled"):
        images.upload(IMAGE_ID, iter(lambda: bytes(1 << 20), b""), size_bytes=1 << 40)


def test_a_cinder_that_does_not_answer_is_given_up_at_the_deadline_of_the_store(glance: Glance) -> None:
    options: Any = SimpleNamespace(
        cinder_api_insecure=False,
        cinder_ca_certificates_file=None,
        cinder_os_region_name=None,
        cinder_state_transition_timeout=1,
        cinder_http_retries=0,
        image_clone_stall_seconds=SOON,
    )
    endpoint = f"{glance.url}/file"  # which never ends
    volumes = volumes_as(Token(endpoint, "token"), options, endpoint=endpoint)
    with pytest.raises(ServiceUnreachable):
        volumes.get("7")
