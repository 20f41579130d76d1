"""Services in one process that commands in other processes use, by calls over a socket.

A command that is killed so takes nothing of the services along.  What is sent is trusted: both sides are the tests.
"""

from __future__ import annotations

import copyreg
import pickle
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

__all__ = ["Remote", "served"]

copyreg.pickle(MappingProxyType, lambda shown: (MappingProxyType, (dict(shown),)))

_LENGTH = struct.Struct("!Q")


def _send(connection: socket.socket, value: object) -> None:
    data = pickle.dumps(value)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def _receive(connection: socket.socket) -> Any:
    return pickle.loads(_exactly(connection, _LENGTH.unpack(_exactly(connection, _LENGTH.size))[0]))


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


@contextmanager
def served(objects: Mapping[str, object], address: Path) -> Iterator[None]:
    """Let other processes call the methods of objects while the context lasts.

    Args:
        objects: by the name by which they are called.
        address: of the socket.
    """
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen(64)
        threading.Thread(target=_accept, args=(server, objects), daemon=True).start()
        try:
            yield
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, objects: Mapping[str, object]) -> None:
    with suppress(OSError):  # it is closed at the end of the context
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection, objects), daemon=True).start()


def _serve(connection: socket.socket, objects: Mapping[str, object]) -> None:
    with suppress(EOFError, OSError), connection:
        while True:
            name, method, arguments, named, streamed = _receive(connection)
            if streamed is not None:
                arguments = (*arguments[:streamed], _stream(connection), *arguments[streamed + 1 :])
            try:
                answer = getattr(objects[name], method)
                if named is not None:
                    answer = answer(*arguments, **named)
                if isinstance(answer, Iterator):
                    answer = iter(list(answer))
                said = (True, answer)
                pickle.dumps(said)
            except Exception as error:  # noqa: BLE001 - libraries raise what they like
                said = (False, (type(error), error.args, dict(error.__dict__)))
            _send(connection, said)


def _stream(connection: socket.socket) -> Iterator[bytes]:
    while (part := _receive(connection)) is not None:
        if isinstance(part, BaseException):
            raise part
        yield part


class Remote:
    """An object of another process: its methods are called there, and its attributes are asked for.

    Args:
        address: where the other process listens.
        name: by which it is called there.
        kind: its class.
        streamed: which argument of a method is an iterable that is sent while it is iterated.
        lost: gives the error for a connection that is lost.
    """

    def __init__(
        self,
        address: Path,
        name: str,
        kind: type,
        *,
        streamed: Mapping[str, int] = {},
        lost: Callable[[str], Exception],
    ) -> None:
        self._remote = (address, name, kind, streamed, lost)
        self._mine = threading.local()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _, _, kind, streamed, _ = self._remote
        if isinstance(getattr(kind, name, None), FunctionType):
            return lambda *arguments, **named: self._call(name, arguments, named, streamed.get(name))
        return self._call(name, (), None, None)

    def _call(self, method: str, arguments: tuple[Any, ...], named: Mapping[str, Any] | None, at: int | None) -> Any:
        address, name, _, _, lost = self._remote
        data: Iterable[bytes] | None = None
        if at is not None:
            data, arguments = arguments[at], (*arguments[:at], None, *arguments[at + 1 :])
        try:
            connection = getattr(self._mine, "connection", None)
            if connection is None:
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(str(address))
                self._mine.connection = connection
            _send(connection, (name, method, arguments, named, at))
            if data is not None:
                for part in data:
                    _send(connection, bytes(part))
                _send(connection, None)
            worked, answer = _receive(connection)
        except (OSError, EOFError) as error:
            self._mine.connection = None
            raise lost(f"{name}.{method}: {error}") from error
        except BaseException:
            self._mine.connection = None
            raise
        if worked:
            return answer
        kind, said, attributes = answer
        raised = kind.__new__(kind, *said)
        raised.args = said
        raised.__dict__.update(attributes)
        raise raised
