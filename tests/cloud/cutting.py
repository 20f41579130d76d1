"""A proxy that passes TCP connections on and cuts each of them after some bytes, as a load balancer at its worst."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import attrs

_PIECE_BYTES = 1 << 16


@attrs.define(eq=False)
class CuttingProxy:
    """Passes connections on to a service.

    Attributes:
        url: where it listens.
        cuts: after how many bytes of answers each of the next long connections is cut.
        cut: how many connections were cut.
        passed_bytes: how many bytes of answers were passed on.
    """

    url: str
    cuts: list[int]
    cut: int = 0
    passed_bytes: int = 0


@contextmanager
def cutting(service_url: str, cuts: Iterable[int]) -> Iterator[CuttingProxy]:
    """Listen on the loopback address while the context lasts.

    Args:
        service_url: whose connections are passed on.
        cuts: after how many bytes each long answer is cut; a short one, of less than 64 KiB, never is.
    """
    service = urlsplit(service_url)
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = CuttingProxy(f"http://127.0.0.1:{server.getsockname()[1]}{service.path}", list(cuts))
        threading.Thread(target=_serve, args=(server, proxy, (service.hostname, service.port)), daemon=True).start()
        yield proxy
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket, proxy: CuttingProxy, address: tuple[str, int]) -> None:
    with suppress(OSError):  # it is closed at the end of the context
        while True:
            client, _ = server.accept()
            threading.Thread(target=_pass_on, args=(client, proxy, address), daemon=True).start()


def _pass_on(client: socket.socket, proxy: CuttingProxy, address: tuple[str, int]) -> None:
    with suppress(OSError), client, socket.create_connection(address) as service:
        threading.Thread(target=_copy, args=(client, service), daemon=True).start()
        passed, most = 0, None
        while piece := service.recv(_PIECE_BYTES):
            passed += len(piece)
            if most is None and passed > _PIECE_BYTES:
                most = max(proxy.cuts.pop(0), _PIECE_BYTES + 1) if proxy.cuts else passed << 30
            if most is not None and passed > most:
                proxy.cut += 1
                client.shutdown(socket.SHUT_RDWR)
                return
            proxy.passed_bytes += len(piece)
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
