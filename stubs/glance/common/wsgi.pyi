from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

class JSONResponseSerializer: ...

class Resource:
    def __init__(
        self, controller: object, deserializer: object = None, serializer: JSONResponseSerializer | None = None
    ) -> None: ...
    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]: ...
