"""An application behind the filter that keeps what arrives, and the requests that are sent to it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import attrs
from webob import Request, Response

from imagevol_adapters.middleware import BaseImageStores
from imagevol_core import Store, StoreCatalogue

IMAGE = "0c1b8f4e-5a52-4b0e-9d0a-0d8f3a1d7a11"
BASE, BASE_IN_ONE, BASE_NOWHERE = (f"{number}9a1b6b0-93e4-4a3c-a2a5-3d5bd2d3b6a1" for number in "abc")
GONE, INVISIBLE, FAILING, BREAKING = (f"{number}9a1b6b0-93e4-4a3c-a2a5-3d5bd2d3b6a1" for number in "0123")
UPLOAD, STAGE, IMPORT = (f"/v2/images/{IMAGE}/{what}" for what in ("file", "stage", "import"))

STORES = (
    Store(name="fast", kind="cinder"),
    Store(name="slow", kind="imagevol", weight=5),
    Store(name="local", kind="file"),
    Store(name="web", kind="http", readonly=True),
    Store(name="broken", kind="cinder", can_add=False),
)
CATALOGUE = StoreCatalogue(stores=STORES, default="local")
SINGLE = StoreCatalogue(stores=(), multi=False)
CHOSEN = (
    "slow, fast (base-image): of the stores that the base image is in, 'slow', 'fast' can take images; "
    "the request names no store; enabled_backends is set"
)


@attrs.frozen
class Arrived:
    """A request as the application got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@attrs.define
class Glance:
    """An application that keeps what arrives, and shows an image's stores to whoever may see it."""

    status: int = 204
    import_status: int = 202
    arrived: list[Arrived] = attrs.field(factory=list)
    environs: list[WSGIEnvironment] = attrs.field(factory=list)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.environs.append(environ)
        request = Request(environ)
        body = b"".join(iter(lambda: request.body_file.read(3), b""))
        self.arrived.append(Arrived(request.method, request.path_info, dict(request.headers), body))
        return self.answer(request)(environ, start_response)

    def answer(self, request: Request) -> Response:
        image_id = request.path_info.split("/")[3] if request.path_info.startswith("/v2/images/") else ""
        if request.method == "PUT":
            return Response(status=self.status, headers={"x-of": "glance"})
        if request.method == "POST":
            return Response(status=self.import_status, text=f"{self.import_status} Whatever\n\nYou may\r\nnot.\n")
        if image_id == BREAKING:
            raise RuntimeError("the database\nis gone")
        if image_id == FAILING:
            return Response(status=503, text="503 Service Unavailable\n\nThe database is busy.")
        if image_id in (GONE, INVISIBLE):
            return Response(status=404)
        stores = {BASE: {"stores": "fast,web,slow,gone"}, BASE_IN_ONE: {"stores": "fast"}}.get(image_id, {})
        return Response(json_body={"id": image_id, **stores})

    @property
    def asked(self) -> list[tuple[str, str]]:
        return [(arrived.method, arrived.path) for arrived in self.arrived]


def ask(glance: Glance, request: Request, *, stores: StoreCatalogue = CATALOGUE, explains: bool = False) -> Response:
    """Send a request through the filter; its body can be read once, as from a network."""
    if request.is_body_seekable:
        request.environ |= {"wsgi.input": BytesIO(request.body), "webob.is_body_seekable": False}
    chooser = BaseImageStores(app=glance, catalogue=lambda: stores, explains=explains)
    return request.get_response(chooser)


def upload(reference: str | None, store: str | None = None, *, path: str = UPLOAD, **more: Any) -> Request:
    headers = {"x-openstack-base-image-ref": reference, "x-image-meta-store": store, "Content-Type": "application/x"}
    sent = {name: value for name, value in headers.items() if value is not None}
    return Request.blank(path, method="PUT", headers=sent, **{"body": b"the data", **more})


def importing(reference: str | None, body: Any, store: str | None = None) -> Request:
    request = upload(reference, store, path=IMPORT)
    request.method = "POST"
    request.body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request


def arrived_without_filter(request: Request) -> Arrived:
    """What an application gets when there is no filter and the requester names no base image."""
    glance = Glance()
    plain = request.copy()
    plain.headers.pop("x-openstack-base-image-ref", None)
    plain.get_response(glance)
    return glance.arrived[-1]
