"""The data plane in a process that eventlet has patched; `test_eventlet` runs it in one.

Real threads are told from green ones without a clock.  A device blocks in a call of the system until another greenlet
lets it go: if the device's thread were green, that greenlet would never run.
"""

from __future__ import annotations

import gc
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventlet  # type: ignore[import-untyped, import-not-found, unused-ignore]
import pytest
from eventlet import tpool
from eventlet.green import socket  # type: ignore[import-untyped, import-not-found, unused-ignore]

from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import (
    PART_BYTES,
    Digests,
    Limits,
    clear_device,
    clear_rest,
    read_device,
    verified,
    write_stream,
)
from imagevol_adapters.engine.parts import Crew, Part
from imagevol_adapters.engine.threads import Inbox, afterwards, in_thread, threads_left
from imagevol_adapters.engine.watching import bounded
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.qemu.running import ended
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_adapters.transfers.checked_file import CheckedFile
from imagevol_adapters.transfers.filling import fill_device
from imagevol_adapters.transfers.remote_image import RemoteImage
from imagevol_core import (
    ConversionFailed,
    DeviceStalled,
    Digest,
    Image,
    SourceStalled,
    TransferCancelled,
    ZeroHandling,
)
from tests.adapters.unpatched import threading

PATIENCE_SECONDS = 30  # passed only when something hangs
DATA = bytes(range(256)) * 4096 * 3
SHA512 = Digest("sha512", hashlib.sha512(DATA).hexdigest())


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No thread, and no descriptor but those of the hub."""
    eventlet.sleep(0)
    before = set(Path("/proc/self/fd").iterdir())
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("imagevol")] == []
    assert set(Path("/proc/self/fd").iterdir()) <= before


def holding(data: bytes) -> MemoryDevice:
    device = MemoryDevice(len(data))
    device.write(0, memoryview(data))
    return device


class Blocked(MemoryDevice):
    """A device of which a call blocks, as one of the system does, until it is let go."""

    def __init__(self, size_bytes: int, call: str, content: bytes = b"") -> None:
        super().__init__(size_bytes)
        if content:
            super().write(0, memoryview(content))
        self.call = call
        self.reached, self.go = threading.Event(), threading.Event()

    def _block(self, call: str) -> None:
        if call == self.call:
            self.reached.set()
            assert self.go.wait(PATIENCE_SECONDS), "no other greenlet has run"

    def write(self, offset: int, data: memoryview) -> int:
        self._block("write")
        return super().write(offset, data)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        self._block("readinto")
        return super().readinto(offset, buffer)

    def clear(self, offset: int, length: int) -> bool:
        self._block("clear")
        return super().clear(offset, length)

    def flush(self) -> None:
        self._block("flush")
        super().flush()


def letting_go(device: Blocked) -> Any:
    """Start a greenlet that lets the device go once it blocks."""

    def let_go() -> None:
        while not device.reached.is_set():
            eventlet.sleep(0)
        device.go.set()

    return eventlet.spawn(let_go)


def write(device: MemoryDevice) -> None:
    write_stream([DATA], device, size_bytes=len(DATA))


def read(device: MemoryDevice) -> None:
    assert b"".join(read_device(device, length=len(DATA), digest=SHA512)) == DATA


def fill(device: MemoryDevice) -> None:
    image = Image(id="7", disk_format="raw", size_bytes=len(DATA), digest=SHA512)
    fill_device(iter([DATA]), device, image=image, converter=QemuConverter(), directory=Path("/nowhere"))


def clear_the_rest(device: MemoryDevice) -> None:
    clear_rest(device, offset=0, zeros=ZeroHandling.PUNCH)


def zero_the_rest(device: MemoryDevice) -> None:
    clear_rest(device, offset=0, zeros=ZeroHandling.WRITE)


@pytest.mark.parametrize(
    "work, call",
    [
        *((write, call) for call in ("write", "clear", "flush")),
        *((read, call) for call in ("readinto",)),
        *((fill, call) for call in ("write", "clear", "flush", "readinto")),
        *((clear_the_rest, call) for call in ("clear", "readinto", "flush")),
        *((zero_the_rest, call) for call in ("write", "flush")),
        *((clear_device, call) for call in ("clear", "readinto", "flush")),
    ],
)
def test_other_greenlets_run_while_a_device_blocks(work: Callable[[MemoryDevice], object], call: str) -> None:
    device = Blocked(len(DATA) + PART_BYTES, call, DATA)
    other = letting_go(device)
    work(device)
    other.wait()


def test_digests_are_made_at_the_same_time() -> None:
    both = threading.Barrier(2)

    def meet(_: Part) -> None:
        both.wait(PATIENCE_SECONDS)

    crew = Crew([meet, meet])
    crew.start()
    memory = crew.memory()
    crew.hand_on(Part(0, 4, memory[:4], memory))
    crew.end()
    assert (crew.error, both.broken) == (None, False)


def test_a_source_that_is_a_green_socket_is_read_whole() -> None:
    ours, theirs = socket.socketpair()

    def send() -> None:
        for at in range(0, len(DATA), 70_000):
            theirs.sendall(DATA[at : at + 70_000])
        theirs.close()

    sender = eventlet.spawn(send)
    device = MemoryDevice(len(DATA))
    write_stream(iter(lambda: ours.recv(1 << 16), b""), device, size_bytes=len(DATA))
    sender.wait()
    ours.close()
    assert device.read(0, len(DATA)) == DATA


def test_a_green_socket_that_gives_nothing_more_is_a_source_that_stalled() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"data")
    limits = Limits(stall_seconds=0.05)
    with pytest.raises(SourceStalled):
        write_stream(iter(lambda: ours.recv(1 << 16), b""), MemoryDevice(9), size_bytes=9, limits=limits)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_image_in_a_service_that_stops_is_named_and_closed_by_its_own_greenlet(cancelled: bool) -> None:
    ours, theirs = socket.socketpair()
    limits = Limits(stall_seconds=30 if cancelled else 0.05)
    if cancelled:
        eventlet.spawn_after(0.01, limits.cancelled.set)

    def received(_: int) -> Iterator[bytes]:
        with ours:
            yield from iter(lambda: ours.recv(1 << 16), b"")

    about = RemoteImage.open(received, size_bytes=9, digest=None, what="image 7", limits=limits)
    with pytest.raises(TransferCancelled if cancelled else SourceStalled), about as image:
        image.read_at(0, 9)
    theirs.close()
    while ours.fileno() >= 0:
        eventlet.sleep(0.01)


def test_a_device_that_hangs_is_named_while_the_source_is_waited_for() -> None:
    device = Blocked(len(DATA), "write")
    limits = Limits(stall_seconds=0.05)

    def slowly() -> Iterator[bytes]:
        yield DATA[:PART_BYTES]
        while True:
            eventlet.sleep(0.01)
            yield b"x"

    with pytest.raises(DeviceStalled):
        write_stream(slowly(), device, size_bytes=len(DATA), limits=limits)
    device.go.set()
    while threads_left():
        eventlet.sleep(0.01)
    gc.collect()


def test_what_connects_a_volume_and_hangs_is_ended_in_its_greenlet() -> None:
    ended: list[str] = []

    def connect() -> None:
        try:
            eventlet.sleep(60)
        finally:
            ended.append("connecting")

    with pytest.raises(DeviceStalled, match="volume 7 stalled: connecting"):
        bounded(connect, what="volume 7", doing="connecting", seconds=0.05, green=True)
    assert ended == ["connecting"]


class Source(Iterator[bytes]):
    """Data that is closed or not."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.given_bytes = 0
        self.closed = False

    def __next__(self) -> bytes:
        data = b"x" * min(PART_BYTES, self.size_bytes - self.given_bytes)
        self.given_bytes += len(data)
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("call", ["write", "flush"])
@pytest.mark.parametrize("error", [eventlet.greenlet.GreenletExit, eventlet.Timeout, KeyboardInterrupt])
def test_a_greenlet_that_is_ended_waits_for_the_call_under_way_and_for_no_other(
    error: type[BaseException], call: str
) -> None:
    device, source = Blocked(100 * PART_BYTES, call), Source(len(DATA) if call == "flush" else 100 * PART_BYTES)
    ended: list[BaseException] = []

    def transfer() -> None:
        try:
            write_stream(source, device, size_bytes=source.size_bytes, algorithms=())
        except BaseException as raised:  # noqa: BLE001 - the test looks at it
            ended.append(raised)

    waiting = eventlet.spawn(transfer)
    while not device.reached.is_set():
        eventlet.sleep(0)
    eventlet.kill(waiting, error)
    eventlet.sleep(0.05)
    assert (ended, device.go.is_set()) == ([], False)  # the device is still in use
    device.go.set()
    waiting.wait()
    assert [type(each) for each in ended] == [error]
    assert source.closed
    if call == "write":
        assert device.read(PART_BYTES, PART_BYTES) == bytes(PART_BYTES)


def test_another_greenlet_cancels_a_transfer_that_waits_for_its_turn() -> None:
    limits = Limits(bytes_per_second=1)
    eventlet.spawn_after(0.05, limits.cancelled.set)
    with pytest.raises(TransferCancelled):
        write_stream([DATA], MemoryDevice(len(DATA)), size_bytes=len(DATA), limits=limits)
    limits = Limits(bytes_per_second=1)
    eventlet.spawn_after(0.05, limits.cancelled.set)
    with pytest.raises(TransferCancelled):
        list(read_device(holding(DATA), length=len(DATA), limits=limits))


def test_a_reader_that_leaves_ends_the_threads() -> None:
    data = read_device(holding(DATA), length=len(DATA))
    next(data)
    data.close()


def test_a_reader_that_is_forgotten_in_the_hub_ends_the_threads() -> None:
    """As when the garbage collector runs while no greenlet does."""
    data = [read_device(holding(DATA), length=len(DATA))]
    next(data[0])
    eventlet.hubs.get_hub().schedule_call_global(0, data.clear)
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert data == []


def test_an_error_in_a_thread_is_raised_where_it_is_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        in_thread(lambda: 1 // 0)


def test_what_a_thread_may_not_do_is_done_by_who_waits_for_it() -> None:
    seen: list[Any] = []

    def work() -> None:
        afterwards(lambda: seen.append(eventlet.getcurrent()))
        afterwards(lambda: seen.append(threading.get_ident()))
        assert seen == []

    in_thread(work)
    assert seen == [eventlet.getcurrent(), threading.get_ident()]


def test_a_thread_that_has_no_hub_waits_by_itself() -> None:
    """As one of eventlet's own pool."""
    device = MemoryDevice(len(DATA))
    tpool.execute(write, device)
    tpool.killall()
    assert device.read(0, len(DATA)) == DATA


def test_nothing_is_lost_between_many_threads_and_a_greenlet() -> None:
    inbox: Inbox[int] = Inbox()

    def put() -> None:
        for number in range(2000):
            inbox.put(number)

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    taken = [inbox.get() for _ in range(3 * 2000)]
    for thread in threads:
        thread.join()
    inbox.close()
    assert sorted(taken) == sorted([*range(2000)] * 3)


def test_other_greenlets_run_while_a_file_is_digested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image"
    path.write_bytes(DATA)
    gone = threading.Event()

    def blocking(data: Iterator[bytes], digest: Digest, what: str, *, given: bool) -> Iterator[bytes]:
        assert gone.wait(PATIENCE_SECONDS), "no other greenlet has run"
        yield from verified(data, digest, what, given=given)

    monkeypatch.setattr("imagevol_adapters.transfers.checked_file.verified", blocking)
    eventlet.spawn(gone.set)
    checked = CheckedFile.check(path, disk_format="raw", converter=QemuConverter(), digest=SHA512, what="the image")
    with checked as file:
        assert file.size_bytes == len(DATA)


class TestQemu:
    def test_other_greenlets_run_while_a_program_does(self, tmp_path: Path) -> None:
        flag = tmp_path / "flag"
        eventlet.spawn(flag.touch)
        script = 'until [ -e "$1" ]; do sleep 0.05; done; echo done; echo complaint >&2'
        assert ended(["sh", "-c", script, "sh", str(flag)], lambda: False) == (0, "done\n", "complaint\n")

    def test_a_program_is_ended_with_its_greenlet(self, tmp_path: Path) -> None:
        flag = tmp_path / "flag"
        script = 'echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 60'
        waiting = eventlet.spawn(ended, ["sh", "-c", script, "sh", str(flag)], lambda: False)
        while not flag.exists():
            eventlet.sleep(0.01)
        waiting.kill()
        with pytest.raises(eventlet.greenlet.GreenletExit):
            waiting.wait()
        with pytest.raises(ProcessLookupError):
            os.kill(int(flag.read_text()), 0)

    def test_a_program_is_cancelled_by_another_greenlet(self) -> None:
        limits = Limits()
        eventlet.spawn_after(0.05, limits.cancelled.set)
        with pytest.raises(TransferCancelled):
            ended(["sleep", "60"], limits.cancelled.is_set)

    def test_what_is_no_image_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(b"QFI\xfb" + bytes(600))
        with pytest.raises(Exception, match="image") as caught:
            QemuConverter().examine(str(path), declared_format="qcow2", size_gib=None, what="the image")
        assert not isinstance(caught.value, ConversionFailed)


def test_time_is_the_clock_that_greenlets_wait_by() -> None:
    """This suite is run in a process that is patched."""
    assert eventlet.patcher.is_monkey_patched("thread")
    assert time.sleep is eventlet.sleep
    with PathDevice.open(Path("/dev/null"), writable=True, direct=False) as device:
        assert device.write(0, memoryview(b"data")) == 4
    assert Digests(["md5"]).values()["md5"].algorithm == "md5"
