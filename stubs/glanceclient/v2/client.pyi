from collections.abc import Iterator, Mapping

from glanceclient.v2.images import Controller
from keystoneauth1.session import Session
from requests import Response

class _HTTPClient:
    def get(self, url: str, *, headers: Mapping[str, str] = ...) -> tuple[Response, Iterator[bytes]]: ...
    def patch(self, url: str, *, headers: Mapping[str, str] = ..., data: object = ...) -> tuple[Response, object]: ...
    def put(
        self, url: str, *, headers: Mapping[str, str] = ..., data: object = ..., timeout: object = ...
    ) -> tuple[Response, object]: ...

class Client:
    http_client: _HTTPClient
    images: Controller
    def __init__(
        self,
        *,
        session: Session,
        interface: str = ...,
        region_name: str | None = ...,
        endpoint_override: str | None = ...,
    ) -> None: ...
