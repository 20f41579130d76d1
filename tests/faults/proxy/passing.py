"""A proxy before each service of a cloud, which notes every call and brings about one fault."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.faults.proxy.calls import Call, Fault, template_of

__all__ = ["Proxies", "proxies"]

_PIECE_BYTES = 1 << 16
_OF_A_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"})
_PATIENCE_SECONDS = 120


class Proxies:
    """What the proxies share: what they have seen, and which fault they bring about.

    Attributes:
        urls: by service, where its proxy listens, with the path of the service.
        calls: what was asked since `begin`, in order.
        struck: how often the fault has been brought about since then.
    """

    def __init__(self, services: Mapping[str, str], patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self.services, self.patience_seconds = services, patience_seconds
        self.urls: dict[str, str] = {}
        self.calls: list[Call] = []
        self.struck = 0
        self._counted = Counter[tuple[str, str, str]]()
        self._wanted: tuple[Call, Fault, bool] | None = None
        self._expired: set[str] = set()
        self._lock = threading.Lock()
        self.over = threading.Event()

    def begin(self, wanted: Call | None = None, fault: Fault | None = None, *, lasting: bool = False) -> None:
        """Forget what was seen; from now on this call fails, and all later ones that are like it if `lasting`."""
        with self._lock:
            self.over.set()
            self.over = threading.Event()
            self.calls, self.struck = [], 0
            self._counted.clear()
            self._expired.clear()
            self._wanted = (wanted, fault, lasting) if wanted and fault else None

    def note(self, service: str, method: str, path: str, token: str) -> Fault | None:
        """Count a call, and give what goes wrong with it."""
        kind = (service, method, template_of(path))
        with self._lock:
            self._counted[kind] += 1
            call = Call(*kind, self._counted[kind])
            self.calls.append(call)
            if token in self._expired:
                return Fault(text="", status=401)
            if self._wanted is None:
                return None
            wanted, fault, lasting = self._wanted
            if call != wanted and not (
                lasting and self.struck and call.number > wanted.number and kind == _kind(wanted)
            ):
                return None
            self.struck += 1
            if fault.expires:
                self._expired.update({token} - {""})
                return Fault(text="", status=401)
            return fault

    def rewritten(self, body: bytes) -> bytes:
        """The service catalogue with the addresses of the proxies."""
        for service, url in self.services.items():
            body = body.replace(_base(url).encode(), _base(self.urls[service]).encode())
        return body


def _kind(call: Call) -> tuple[str, str, str]:
    return call.service, call.method, call.template


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def proxies(
    services: Mapping[str, str], shared: Proxies | None = None, *, patience_seconds: float = _PATIENCE_SECONDS
) -> Iterator[Proxies]:
    """Stand before these services while the context lasts.

    Args:
        services: the URL of each, by name.
        shared: says which calls go wrong; by default the one that its `begin` is told.
        patience_seconds: after so long, the proxy of a service that is silent resets the connection.
    """
    shared = shared or Proxies(services, patience_seconds)
    with ExitStack() as ends:
        for name, url in services.items():
            server = ends.enter_context(_Server(("127.0.0.1", 0), _Passing))
            server.shared, server.name, server.target = shared, name, urlsplit(url)
            shared.urls[name] = f"http://127.0.0.1:{server.server_port}{urlsplit(url).path}"
            serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            serving.start()
            ends.callback(serving.join)
            ends.callback(server.shutdown)
        ends.callback(shared.begin)
        yield shared


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    shared: Proxies
    name: str
    target: Any

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no error."""


class _Passing(BaseHTTPRequestHandler):
    """One connection to a service."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        shared = self.server.shared
        fault = shared.note(self.server.name, self.command, self.path, self.headers.get("X-Auth-Token", ""))
        over = shared.over
        body = _Body(self.rfile, self.headers)
        if fault is None:
            self._pass_on(body, None)
            return
        if not fault.done:
            with suppress(OSError):
                if fault.status is None or body.short:
                    body.drain()
                else:
                    self.close_connection = True  # a service refuses before it has all of the data
        if fault.body is not None:
            self._answer(200, {"Content-Type": "text/html"}, fault.body)
        elif fault.status is not None and not fault.done:
            self._answer(fault.status, {"Content-Type": "application/json", **(fault.headers or {})}, _error(fault))
        elif fault.done:
            self._pass_on(body, fault)
        if fault.then == "silence":
            over.wait(shared.patience_seconds)
        if fault.then in ("silence", "reset"):
            self._reset()

    def _pass_on(self, body: _Body, fault: Fault | None) -> None:
        target = self.server.target
        service = http.client.HTTPConnection(target.hostname, target.port, timeout=600)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_A_CONNECTION}
        try:
            if body.chunked:
                headers["Transfer-Encoding"] = "chunked"
                service.request(self.command, self.path, body.pieces(), headers, encode_chunked=True)
            else:
                headers |= {"Content-Length": str(body.length)} if body.given else {}
                service.request(self.command, self.path, body.pieces() if body.length else None, headers)
            answer = service.getresponse()
            self._give(answer, fault)
        except (OSError, http.client.HTTPException):
            self._reset()
        finally:
            service.close()

    def _give(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_A_CONNECTION}
        large = answer.length is None or answer.length > _PIECE_BYTES * 16
        if fault is not None and fault.status is not None:
            answer.read()
            self._answer(fault.status, {"Content-Type": "text/html"}, b"<html>Gateway Time-out</html>")
            return
        if fault is None and large and self.server.name != "keystone":
            self._stream(answer, headers)
            return
        body = b"" if self.command == "HEAD" else answer.read()
        if self.server.name == "keystone":
            body = self.server.shared.rewritten(body)
        if fault is None:
            self._answer(answer.status, headers, body)
            return
        given = body[: int(len(body) * fault.share)]
        if fault.share and fault.then == "end":
            self._answer(answer.status, headers, given)
        elif fault.share:
            self._answer(answer.status, headers, given, length=len(body) or 2)

    def _stream(self, answer: http.client.HTTPResponse, headers: Mapping[str, str]) -> None:
        length = answer.length
        framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        self._head(answer.status, {**headers, **framing})
        while piece := answer.read(_PIECE_BYTES):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if length is None else piece)
        if length is None:
            self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, *, length: int | None = None) -> None:
        size = len(body) if length is None else length
        bodiless = status in (204, 304)
        self._head(status, {**headers} if bodiless else {**headers, "Content-Length": str(size)})
        if self.command != "HEAD" and not bodiless:
            self.wfile.write(body)
        self.wfile.flush()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: object) -> None:
        """Be silent."""


class _Body:
    """The body of a request, read as it is passed on."""

    def __init__(self, file: Any, headers: Any) -> None:
        self._file = file
        self.chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self.given = "Content-Length" in headers
        self.length = int(headers.get("Content-Length") or 0)

    @property
    def short(self) -> bool:
        return not self.chunked and self.length < _PIECE_BYTES

    def pieces(self) -> Iterator[bytes]:
        if not self.chunked:
            left = self.length
            while left:
                piece = self._file.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise ConnectionResetError("the client left")
                left -= len(piece)
                yield piece
            return
        while size := int(self._file.readline().partition(b";")[0].strip() or b"!", 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def drain(self) -> None:
        for _ in self.pieces():
            pass


def _error(fault: Fault) -> bytes:
    return b'{"error": {"code": %d, "message": "on purpose", "title": "on purpose"}}' % (fault.status or 0)
