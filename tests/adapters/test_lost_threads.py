"""A thread that dies before it begins, or from outside, is an error at once: its caller does not wait for it."""

from __future__ import annotations

import ctypes
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from imagevol_adapters.coordination.answering import answered
from imagevol_adapters.engine import Digests, Limits, digest_device, write_stream
from imagevol_adapters.engine.starting import Thread, ThreadFailed, Threads
from imagevol_adapters.engine.threads import background, in_thread
from imagevol_adapters.engine.watching import bounded
from imagevol_adapters.gathering import DeepTarget, deep_checks
from imagevol_adapters.inspection.in_time import opened_in_time
from imagevol_adapters.qemu.network_disk import DeviceDisk, served
from imagevol_adapters.qemu.running import ended
from imagevol_adapters.store_copies.several import several
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_adapters.transfers.remote_image import RemoteImage
from imagevol_core import DeepCheck

PATIENCE_SECONDS = 10  # passed only when a thread is waited for that has died
SIZE_BYTES = 3 << 20


def outcome(call: Callable[[], object], before: Callable[[], object] = lambda: None) -> BaseException | None:
    """Make a call in a thread that was there before, and give what it raises, once it has ended."""
    raised: list[BaseException | None] = []
    go = threading.Event()

    def run() -> None:
        assert go.wait(PATIENCE_SECONDS)
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - given to the test
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    before()
    go.set()
    thread.join(PATIENCE_SECONDS)
    assert raised, "it waits for a thread that has died"
    return raised[0]


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """What lets each new thread die before it does anything, as a trace function that cannot be set does."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def fail(*_: object) -> None:
        raise RuntimeError("Cannot install a trace function while another trace function is being installed")

    yield partial(threading.settrace, fail)
    threading.settrace(None)


def serve() -> None:
    with served(DeviceDisk.watched(MemoryDevice(SIZE_BYTES), 30)) as descriptor:
        subprocess.run(["cat"], stdin=descriptor, check=True, capture_output=True)  # waits for what it is told


def read_remote() -> None:
    data = bytes(SIZE_BYTES)
    with RemoteImage.open(lambda at: iter([data[at:]]), size_bytes=SIZE_BYTES, digest=None, what="image 7") as image:
        image.read_at(0, 1)


def check_deeply() -> None:
    def check(target: DeepTarget) -> DeepCheck:
        raise AssertionError(target)

    target = DeepTarget(volume_id="7", size_bytes=1, algorithm=None)
    list(deep_checks([target], check=check, journal=None, jobs=1, limits=Limits(), failed=lambda *_: None))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(
            lambda: write_stream([b"x" * SIZE_BYTES], MemoryDevice(SIZE_BYTES), size_bytes=SIZE_BYTES), id="a stream"
        ),
        pytest.param(
            lambda: digest_device(MemoryDevice(SIZE_BYTES), length=SIZE_BYTES, made=Digests(["sha256"])), id="a device"
        ),
        pytest.param(lambda: in_thread(lambda: 1, patience=lambda: 60), id="a call with a deadline"),
        pytest.param(lambda: bounded(lambda: 1, what="the device", doing="opening"), id="a call of a device"),
        pytest.param(lambda: opened_in_time(lambda: 1, what="the file"), id="a file"),
        pytest.param(lambda: ended(["true"], lambda: False), id="a program"),
        pytest.param(serve, id="what serves qemu-img"),
        pytest.param(read_remote, id="what reads ahead"),
        pytest.param(lambda: answered(lambda: 1, seconds=60), id="a lock service"),
        pytest.param(
            lambda: list(several(int, ["1", "2"], jobs=2, stopping=threading.Event())), id="copies of several images"
        ),
        pytest.param(check_deeply, id="a check of all data"),
        pytest.param(lambda: background(pytest.fail, name="imagevol-metrics"), id="what writes metrics"),
    ],
)
def test_a_thread_that_dies_before_it_begins_is_an_error_and_not_waited_for(
    call: Callable[[], object], dying: Callable[[], None]
) -> None:
    error = outcome(call, before=dying)
    while error is not None and not isinstance(error, ThreadFailed):
        error = error.__cause__
    assert "it ended before it began" in str(error)


def test_a_process_that_can_have_no_more_threads_is_told_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(ThreadFailed, match=r"can't start new thread\. Look at .* its limits of threads") as caught:
        in_thread(lambda: 1, patience=lambda: 60)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_around_the_start_of_a_thread_ends_the_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    real, done = Thread.start, list[int]()

    def start(thread: Thread) -> None:
        if begun:
            real(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(Thread, "start", start)
    assert isinstance(outcome(lambda: in_thread(lambda: done.append(1), patience=lambda: 60)), KeyboardInterrupt)
    assert done == [1] * begun


def test_what_was_begun_beside_a_thread_that_cannot_begin_has_ended_before_the_error_is_raised(
    dying: Callable[[], None],
) -> None:
    go, done = threading.Event(), list[int]()

    def work(number: int) -> None:
        dying()  # the next one
        go.wait(0.1)
        done.append(number)

    assert isinstance(outcome(lambda: list(several(work, [1, 2], jobs=2, stopping=go))), ThreadFailed)
    assert done == [1]


def test_a_thread_that_an_exception_from_outside_ends_ends_the_transfer() -> None:
    size_bytes = SIZE_BYTES + (64 << 20)  # more than there is memory for

    def source() -> Iterator[bytes]:
        yield b"x" * SIZE_BYTES
        here = threading.current_thread()
        for each in threading.enumerate():
            if each.name == here.name and each is not here:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(each.ident or 0), ctypes.py_object(EOFError))
        for _ in range(64):
            yield b"x" * (1 << 20)

    error = outcome(
        lambda: write_stream(source(), MemoryDevice(size_bytes), size_bytes=size_bytes, algorithms=["sha256"])
    )
    assert isinstance(error, EOFError)


def test_work_that_raises_gives_its_error_to_the_future() -> None:
    with Threads("example") as threads:
        future = threads.submit(lambda: 1 // 0)
    assert isinstance(future.exception(), ZeroDivisionError)
