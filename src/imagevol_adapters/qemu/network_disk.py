"""A disk for qemu-img that is no file: it reads or writes it by NBD, through one pair of sockets that it inherits.

The pair has no name, so that no other process can connect to it, and a command that is confined to its files needs no
way to it.  Only what qemu-img needs is spoken: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import attrs

from imagevol_adapters.disk_files import Disk
from imagevol_adapters.engine.clearing import write_all
from imagevol_adapters.engine.starting import Thread
from imagevol_adapters.engine.threads import Patience, in_thread
from imagevol_adapters.engine.watching import device_watch, watched_device
from imagevol_adapters.ports import Device
from imagevol_core import DeviceStalled, SourceStalled, TransferStalled

__all__ = ["DeviceDisk", "disk_argument", "served"]

T = TypeVar("T")

_GREETING = b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 0b11)  # fixed newstyle, without padding
_OPTION = struct.Struct(">8sII")  # magic, option, length
_ANSWER = struct.Struct(">QIII")  # magic, option, kind, length
_ANSWER_MAGIC = 0x3E889045565A9
_ABORT, _INFO, _GO = 2, 6, 7
_ACK, _IS_INFO, _UNSUPPORTED = 1, 3, 0x80000001
_EXPORT_INFO, _BLOCK_SIZE_INFO = 0, 3
_READ_ONLY = 0b11  # has flags, and one of them says that it is
_WRITABLE = 0b101  # has flags, and one of them says that it can be flushed
_REQUEST = struct.Struct(">IHHQQI")  # magic, flags, command, cookie, offset, length
_REQUEST_MAGIC = 0x25609513
_REPLY = struct.Struct(">IIQ")  # magic, error, cookie
_REPLY_MAGIC = 0x67446698
_READ, _WRITE, _DISCONNECT, _FLUSH = range(4)
_EIO, _EINVAL = 5, 22
_BUFFER_BYTES = 4 << 20  # of which the kernel gives as much as it allows
_LONGEST_OPTION = 4096
_ENDING_SECONDS = 1  # for a read that is not wanted any more; one that hangs is left to its thread
_LONGEST = 32 << 20  # what the protocol lets any client ask for at once


def disk_argument(descriptor: int) -> str:
    """Give what stands for the file in a command of qemu-img, beside the format that `-f` names.

    >>> disk_argument(5)
    'json:{"file": {"driver": "nbd", "server": {"type": "fd", "str": "5"}}}'
    """
    return "json:" + json.dumps({"file": {"driver": "nbd", "server": {"type": "fd", "str": str(descriptor)}}})


@attrs.frozen
class DeviceDisk:
    """A device that has no path which a command could open."""

    device: Device
    what: str
    patience: Patience
    stop: Callable[[], object]

    @classmethod
    def watched(cls, device: Device, stall_seconds: float) -> DeviceDisk:
        """Give the device as a disk whose calls may take so long."""
        watch = device_watch(device, stall_seconds)
        return cls(watched_device(device, watch), device.what, watch.patience, watch.hurry)

    @property
    def size_bytes(self) -> int:
        """How large it is."""
        return self.device.size_bytes

    def read_at(self, offset: int, length: int) -> bytes:
        """Give these bytes."""
        buffer, filled = memoryview(bytearray(length)), 0
        while filled < length:
            count = self._done(partial(self.device.readinto, offset + filled, buffer[filled:]))
            if count <= 0:
                break
            filled += count
        return bytes(buffer[:filled])

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write all of it."""
        self._done(partial(write_all, self.device, offset, data))

    def flush(self) -> None:
        """Return when all is on the storage."""
        self._done(self.device.flush)

    def _done(self, call: Callable[[], T]) -> T:
        """Make a call in a real thread: it may hang, and under eventlet it would block the hub."""
        return in_thread(call, stop=self.stop, patience=self.patience)


@contextmanager
def served(disk: Disk | DeviceDisk) -> Iterator[int]:
    """Serve a disk to one command while the context lasts; give the descriptor that the command must inherit.

    A thread serves it: under eventlet a greenlet, since what is read may come from a socket of its hub.  What a read
    or a write raises makes the command fail, and is raised at the end.  A `DeviceDisk` can be written.

    Raises:
        BaseException: what a call raised first, in place of what the command then failed with.
        ThreadFailed: the thread could not begin.
    """
    ours, its = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    serving = _Serving(disk, ours)
    thread = Thread(serving.run, name="imagevol-nbd", green=True)
    with ours, its:
        thread.start()
        try:
            yield its.fileno()
        except Exception as error:
            has_ended = _ended(ours, thread)
            if serving.error is not None:
                raise serving.error from error
            if isinstance(error, TransferStalled) and not has_ended:  # the command waits for what hangs
                if isinstance(disk, DeviceDisk):
                    look_at = disk.device.look_at
                    raise DeviceStalled(disk.what, doing="qemu-img", seconds=error.seconds, look_at=look_at) from error
                raise SourceStalled("the image", seconds=error.seconds) from error
            raise
        finally:
            _ended(ours, thread)
    if serving.error is not None:
        raise serving.error


def _ended(ours: socket.socket, thread: Thread) -> bool:
    """Let it answer no further request, wait a while for the one that it is in, and tell whether it has ended."""
    with suppress(OSError):  # the other end is gone
        ours.shutdown(socket.SHUT_RDWR)
    thread.join(_ENDING_SECONDS)
    return not thread.is_alive()


@attrs.define
class _Serving:
    """One connection."""

    disk: Disk | DeviceDisk
    connection: socket.socket
    error: BaseException | None = None
    _memory: memoryview = attrs.field(factory=lambda: memoryview(bytearray()), init=False)

    def run(self) -> None:
        """Serve until the client goes, or we are asked to end."""
        try:
            with suppress(OSError, EOFError):  # the client is gone
                if self._agreed():
                    while self._answered():
                        pass
        finally:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)  # or the client waits for an answer

    def _agreed(self) -> bool:
        """Agree on what is served; tell whether reads follow."""
        flags = _WRITABLE if isinstance(self.disk, DeviceDisk) else _READ_ONLY
        self.connection.sendall(_GREETING)
        self._received(4)  # flags of the client, of which none changes what is sent
        while True:
            magic, option, length = _OPTION.unpack(self._received(_OPTION.size))
            if magic != b"IHAVEOPT" or length > _LONGEST_OPTION:
                return False
            self._received(length)  # the name of the disk, and what it wants to know: there is one disk
            if option in (_INFO, _GO):
                self._answer(option, _IS_INFO, struct.pack(">HQH", _EXPORT_INFO, self.disk.size_bytes, flags))
                self._answer(option, _IS_INFO, struct.pack(">HIII", _BLOCK_SIZE_INFO, 1, 1 << 16, _LONGEST))
            self._answer(option, _ACK if option in (_INFO, _GO, _ABORT) else _UNSUPPORTED)
            if option == _GO:
                return True
            if option == _ABORT:
                return False

    def _answered(self) -> bool:
        """Answer one request; tell whether another one may come."""
        magic, _, command, cookie, offset, length = _REQUEST.unpack(self._received(_REQUEST.size))
        if magic != _REQUEST_MAGIC or command == _DISCONNECT:
            return False
        known = (_READ, _WRITE, _FLUSH) if isinstance(self.disk, DeviceDisk) else (_READ,)
        if command not in known or length > _LONGEST or offset + length > self.disk.size_bytes:
            self.connection.sendall(_REPLY.pack(_REPLY_MAGIC, _EINVAL, cookie))
            is_read: bool = command == _READ  # of a write the data would follow
            return is_read
        given = self._filled(length) if command == _WRITE else memoryview(b"")
        try:
            data = self._carried_out(command, offset, length, given)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for the command
            self.error = error
            self.connection.sendall(_REPLY.pack(_REPLY_MAGIC, _EIO, cookie))
            return False
        self.connection.sendall(_REPLY.pack(_REPLY_MAGIC, 0, cookie))
        self.connection.sendall(data)
        return True

    def _carried_out(self, command: int, offset: int, length: int, given: memoryview) -> bytes:
        """Do what a request asks for, and give what it reads."""
        if command == _READ or not isinstance(self.disk, DeviceDisk):
            return self.disk.read_at(offset, length)
        if command == _WRITE:
            self.disk.write_at(offset, given)
        else:
            self.disk.flush()
        return b""

    def _answer(self, option: int, kind: int, data: bytes = b"") -> None:
        self.connection.sendall(_ANSWER.pack(_ANSWER_MAGIC, option, kind, len(data)) + data)

    def _received(self, length: int) -> bytes:
        return bytes(self._filled(length))

    def _filled(self, length: int) -> memoryview:
        """Receive so much, into memory that is used again."""
        if len(self._memory) < length:
            self._memory = memoryview(bytearray(length))
        data, filled = self._memory[:length], 0
        while filled < length:
            count = self.connection.recv_into(data[filled:])
            if not count:
                raise EOFError
            filled += count
        return data
