"""A side of a transfer that hangs is named, at its deadline, and holds up nothing else."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from os_brick.initiator.connector import InitiatorConnector

from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.engine import (
    PART_BYTES,
    Hole,
    Limits,
    clear_device,
    clear_rest,
    read_device,
    write_stream,
    writing,
)
from imagevol_adapters.engine.threads import threads_left
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.qemu import running
from imagevol_adapters.qemu.running import SOURCE, TARGET, ended
from imagevol_adapters.testing.faults import FaultyDevice
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryDevice, MemoryVolumes
from imagevol_adapters.transfers import SharedAttachments, StoredImage, open_image_volume, store_image
from imagevol_core import (
    UNFINISHED,
    AttachFailed,
    DeviceFailed,
    DeviceStalled,
    ImagevolError,
    InvalidFact,
    SourceFailed,
    SourceStalled,
    StorageError,
    TransferStalled,
    ZeroHandling,
)
from tests.adapters.hanging import Hang, Hanging, hanging_source, let_go
from tests.adapters.unpatched import threading

SOON = 0.1  # the deadline
LATER = 0.25  # the deadline of what must not reach it, also on a host that has much to do
DATA = bytes(range(256)) * 4096 * 2
LIMITS = Limits(stall_seconds=SOON)
PATIENT = Limits(stall_seconds=LATER)


@pytest.fixture
def hangs() -> Iterator[Callable[..., Hang]]:
    """Makes what hangs, and lets it go after the test."""
    made: list[Hang] = []

    def hang(call: str, **more: int) -> Hang:
        made.append(Hang(call, **more))
        return made[-1]

    yield hang
    with let_go(*made):
        pass
    assert not threads_left()


def write(device: Device) -> None:
    write_stream([b"x" * PART_BYTES, Hole(PART_BYTES)], device, size_bytes=2 * PART_BYTES, limits=LIMITS)


def read(device: Device) -> None:
    deque(read_device(device, length=2 * PART_BYTES, limits=LIMITS), maxlen=0)


CALLS = {
    "writing": (write, "write"),
    "clearing zeros": (write, "clear"),
    "reading zeros back": (write, "readinto"),
    "flushing": (write, "flush"),
    "reading": (read, "readinto"),
    "asking for holes": (read, "extents"),
    "clearing all": (partial(clear_device, limits=LIMITS), "clear"),
    "flushing what was cleared": (partial(clear_device, limits=LIMITS), "flush"),
    "clearing the rest": (partial(clear_rest, offset=0, zeros=ZeroHandling.PUNCH, limits=LIMITS), "clear"),
    "zeroing the rest": (partial(clear_rest, offset=0, zeros=ZeroHandling.WRITE, limits=LIMITS), "write"),
}


@pytest.mark.parametrize("work, call", CALLS.values(), ids=CALLS)
def test_a_device_that_hangs_is_named_at_the_deadline(
    work: Callable[[Device], object], call: str, hangs: Callable[..., Hang]
) -> None:
    device = Hanging(3 * PART_BYTES, hangs(call), b"y" * 3 * PART_BYTES)
    device.look_at = "look at the lamp on its front"
    with pytest.raises(DeviceStalled) as caught:
        work(device)
    assert (caught.value.side, caught.value.seconds) == ("device", SOON)
    assert "device /memory" in str(caught.value)
    assert device.look_at in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_call_that_returns_late_is_followed_by_no_other(hangs: Callable[..., Hang]) -> None:
    hang = hangs("write", after=1)
    device = Hanging(8 * PART_BYTES, hang)
    with let_go(hang), pytest.raises(DeviceStalled):
        write_stream([b"x" * PART_BYTES] * 8, device, size_bytes=8 * PART_BYTES, algorithms=(), limits=LIMITS)
    assert device.read(0, 3 * PART_BYTES) == b"x" * 2 * PART_BYTES + bytes(PART_BYTES)


def test_a_source_that_stops_is_named_and_closed_by_its_own_thread(hangs: Callable[..., Hang]) -> None:
    hang, closed = hangs("next"), list[bool]()
    with pytest.raises(SourceStalled) as caught:
        write_stream(hanging_source(b"data", hang, closed), MemoryDevice(9), size_bytes=9, limits=LIMITS)
    assert (caught.value.side, closed) == ("source", [])
    with let_go(hang):
        pass
    assert closed == [True]


def test_a_source_that_gives_pieces_without_a_byte_stalls() -> None:
    closed = threading.Event()

    def empty() -> Iterator[bytes]:
        until = time.monotonic() + 5
        try:
            while time.monotonic() < until:
                time.sleep(0.001)
                yield b""
        finally:
            closed.set()

    with pytest.raises(SourceStalled):
        write_stream(empty(), MemoryDevice(9), size_bytes=9, limits=LIMITS)
    assert closed.wait(2)


def test_the_errors_are_of_the_family_of_their_fault() -> None:
    assert issubclass(DeviceStalled, (TransferStalled, DeviceFailed, StorageError))
    assert issubclass(SourceStalled, (TransferStalled, SourceFailed))
    assert issubclass(TransferStalled, (ImagevolError, TimeoutError))


def test_a_volume_that_is_read_for_another_is_named_by_its_own_deadline(hangs: Callable[..., Hang]) -> None:
    source = Hanging(PART_BYTES, hangs("readinto"), b"y" * PART_BYTES)
    data = read_device(source, length=PART_BYTES, what="volume 7", limits=LIMITS)
    with pytest.raises(DeviceStalled, match="device /memory stalled: reading at byte 0"):
        write_stream(data, MemoryDevice(PART_BYTES), size_bytes=PART_BYTES, limits=LIMITS)


class Slow(MemoryDevice):
    """A device that takes a moment for each call."""

    def write(self, offset: int, data: memoryview) -> int:
        """Write late."""
        time.sleep(LATER / 3)
        return super().write(offset, data)


def test_a_device_that_takes_a_little_at_a_time_does_not_stall() -> None:
    few = FaultyDevice(Slow(600), writes=[150] * 4)
    write_stream([b"x" * 600], few, size_bytes=600, limits=PATIENT, zeros=ZeroHandling.SKIP)


@pytest.mark.parametrize("direct", [False, True])
def test_what_a_page_cache_may_hold_is_flushed_in_steps(direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_UNFLUSHED_BYTES", 2 * PART_BYTES)
    flushed: list[int] = []

    class Cached(MemoryDevice):
        def flush(self) -> None:
            flushed.append(sum(stop - start for start, stop, is_data in self.extents(0, self.size_bytes) if is_data))

    device = Cached(5 * PART_BYTES)
    device.direct_io = direct
    write_stream([b"x" * PART_BYTES] * 5, device, size_bytes=5 * PART_BYTES, algorithms=())
    assert flushed == [*([] if direct else [2 * PART_BYTES, 4 * PART_BYTES]), 5 * PART_BYTES]


@pytest.mark.parametrize("limited", ["source", "sink"])
def test_a_pause_for_the_rate_is_no_stall(limited: str) -> None:
    size_bytes = 2 * 4096
    slow = Limits(bytes_per_second=4096 / (1.3 * LATER), stall_seconds=LATER)
    device = MemoryDevice(size_bytes)
    device.write(0, memoryview(b"x" * size_bytes))
    data = read_device(device, length=size_bytes, limits=slow if limited == "source" else PATIENT)
    target = MemoryDevice(size_bytes)
    write_stream(data, target, size_bytes=size_bytes, limits=slow if limited == "sink" else PATIENT)
    assert target.read(0, size_bytes) == b"x" * size_bytes


def test_a_reader_that_is_slow_is_no_stall() -> None:
    device = MemoryDevice(80 * PART_BYTES)
    data = read_device(device, length=80 * PART_BYTES, limits=PATIENT)
    next(data)
    time.sleep(1.2 * LATER)
    assert sum(map(len, data)) == 79 * PART_BYTES


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_deadline_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidFact, match="stall_seconds"):
        Limits(stall_seconds=seconds)


def test_an_interrupt_does_not_wait_for_a_source_that_hangs(hangs: Callable[..., Hang]) -> None:
    hang, closed = hangs("next"), list[bool]()
    main = threading.get_ident()

    def interrupt() -> None:
        hang.reached.wait()
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_stream(hanging_source(b"data", hang, closed), MemoryDevice(9), size_bytes=9)
    finally:
        signal.signal(signal.SIGINT, before)
    assert closed == []


@attrs.define(kw_only=True)
class HangingHost(MemoryAttacher):
    """A host whose devices hang."""

    hang: Hang

    def open(self, attachment: Attachment, **how: Any) -> AbstractContextManager[Device]:
        """Connect a volume, of which a call hangs."""
        contents = self.volumes.contents
        held = contents[attachment.volume_id]
        contents[attachment.volume_id] = Hanging(held.size_bytes, self.hang, held.read(0, len(DATA)))
        return super().open(attachment, **how)


class TestAttached:
    @pytest.fixture
    def volumes(self) -> MemoryVolumes:
        return MemoryVolumes()

    @pytest.fixture
    def stored(self, volumes: MemoryVolumes) -> Callable[[MemoryAttacher], StoredImage]:
        def store(attacher: MemoryAttacher) -> StoredImage:
            what: dict[str, Any] = {"image_id": "i", "image_owner": None, "size_bytes": len(DATA)}
            return store_image([DATA], volumes=volumes, attacher=attacher, limits=LIMITS, **what)

        return store

    def test_an_image_whose_volume_hangs_leaves_the_volume_unfinished_and_names_all_that_stays(
        self,
        volumes: MemoryVolumes,
        stored: Callable[[MemoryAttacher], StoredImage],
        hangs: Callable[..., Hang],
    ) -> None:
        host = HangingHost(volumes=volumes, hang=hangs("write"))
        with pytest.raises(DeviceStalled) as caught:
            stored(host)
        ((attachment_id, volume_id),) = host.connected.items()
        assert list(volumes.attachments) == [attachment_id]
        assert f"attachment {attachment_id} of volume {volume_id}" in str(caught.value)
        assert f"volume {volume_id}" in str(caught.value.leftovers)
        assert UNFINISHED.items() <= volumes.get(volume_id).metadata.items()
        assert "\n" not in str(caught.value)

    def test_a_volume_whose_storage_did_not_answer_is_deleted_by_cinder_alone(
        self, volumes: MemoryVolumes, stored: Callable[[MemoryAttacher], StoredImage], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(*_: object) -> int:
            raise DeviceStalled("device /7", doing="writing", seconds=SOON)

        def delete(self: MemoryVolumes, volume_id: str, *, wait: bool = True) -> None:
            assert not wait, "the backend needs the same storage"
            deleted(self, volume_id)

        deleted = MemoryVolumes.delete
        monkeypatch.setattr(MemoryVolumes, "delete", delete)
        monkeypatch.setattr(MemoryDevice, "write", write)
        with pytest.raises(DeviceStalled) as caught:
            stored(MemoryAttacher(volumes=volumes))
        assert volumes.volumes == {}
        assert caught.value.leftovers == ()

    def test_a_volume_that_hangs_while_it_is_read_stays_attached_and_is_named(
        self,
        volumes: MemoryVolumes,
        stored: Callable[[MemoryAttacher], StoredImage],
        hangs: Callable[..., Hang],
    ) -> None:
        volume_id = stored(MemoryAttacher(volumes=volumes)).volume.id
        host = HangingHost(volumes=volumes, hang=hangs("readinto"))
        opened = open_image_volume(volume_id, volumes=volumes, attacher=host, limits=LIMITS)
        with pytest.raises(DeviceStalled) as caught, opened as content:
            list(content.parts)
        assert f"volume {volume_id} stalled" in caught.value.message
        assert [f"attachment {each} of volume {volume_id}" in str(caught.value) for each in host.connected] == [True]

    def test_readers_who_share_a_volume_that_hangs_leave_it_attached_whoever_leaves_last(
        self,
        volumes: MemoryVolumes,
        stored: Callable[[MemoryAttacher], StoredImage],
        hangs: Callable[..., Hang],
    ) -> None:
        volume_id = stored(MemoryAttacher(volumes=volumes)).volume.id
        host, sharing = HangingHost(volumes=volumes, hang=hangs("readinto")), SharedAttachments()
        how: dict[str, Any] = {"mode": AccessMode.READ, "volumes": volumes, "attacher": host}
        with (
            pytest.raises(AttachFailed, match="may still be connected"),
            sharing.attached(volume_id, **how),
            pytest.raises(DeviceStalled),
            sharing.attached(volume_id, **how) as device,
        ):
            read(device)
        assert list(host.connected) == list(volumes.attachments)


class Connector:
    """os-brick's, of which a call hangs."""

    def __init__(self, path: Path, hang: Hang) -> None:
        self.path = path
        self.hang = hang
        self.calls: list[str] = []

    def connect_volume(self, connection: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append("connect")
        self.hang("connect")
        return {"type": "block", "path": str(self.path)}

    def disconnect_volume(self, *_: Any, **__: Any) -> None:
        self.calls.append("disconnect")
        self.hang("disconnect")


class TestHost:
    @pytest.fixture
    def host(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: Callable[..., Hang]
    ) -> Callable[[str], tuple[BrickAttacher, Connector]]:
        """Make an attacher whose os-brick, or whose device, hangs in a call."""
        path = tmp_path / "volume"
        path.write_bytes(bytes(PART_BYTES))
        become_privileged(tmp_path / "locks")

        def made(call: str) -> tuple[BrickAttacher, Connector]:
            hang = hangs(call)
            connector = Connector(path, hang)
            monkeypatch.setattr(InitiatorConnector, "factory", lambda *_, **__: connector)
            for name in ("open", "close", "pwrite"):
                monkeypatch.setattr(os, name, partial(_after, hang, f"os.{name}", getattr(os, name), path))
            return BrickAttacher(stall_seconds=SOON), connector

        return made

    @pytest.mark.parametrize("call", ["connect", "disconnect"])
    def test_os_brick_that_hangs_with_a_volume_on_ceph_ends_in_an_error_that_says_to_ask_ceph(
        self, host: Callable[[str], tuple[BrickAttacher, Connector]], call: str
    ) -> None:
        attacher, _ = host(call)
        attachment = Attachment(id="a", volume_id="7", connection={"driver_volume_type": "rbd"})
        stalls = pytest.raises(DeviceStalled, match=r"volume 7 .*ceph health")
        with stalls, attacher.open(attachment, mode=AccessMode.WRITE):
            pass

    @pytest.mark.parametrize("call", ["connect", "os.open", "os.pwrite", "os.close", "disconnect"])
    def test_a_volume_that_hangs_counts_as_connected_and_is_not_disconnected(
        self, host: Callable[[str], tuple[BrickAttacher, Connector]], call: str
    ) -> None:
        attacher, connector = host(call)
        attachment = Attachment(id="a", volume_id="7", connection={"driver_volume_type": "local"})
        with pytest.raises(DeviceStalled) as caught, attacher.open(attachment, mode=AccessMode.WRITE) as device:
            write_stream([b"x" * PART_BYTES], device, size_bytes=PART_BYTES, limits=LIMITS)
        assert attacher.is_left(attachment)
        assert connector.calls == ["connect", *(["disconnect"] if call == "disconnect" else [])]
        assert socket.gethostname() in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("call", ["os.open", "os.pwrite"])
    def test_a_device_whose_call_returns_late_is_closed_then(
        self, host: Callable[[str], tuple[BrickAttacher, Connector]], call: str
    ) -> None:
        attacher, connector = host(call)
        attachment = Attachment(id="a", volume_id="7", connection={"driver_volume_type": "local"})
        with pytest.raises(DeviceStalled), attacher.open(attachment, mode=AccessMode.WRITE) as device:
            write_stream([b"x" * PART_BYTES], device, size_bytes=PART_BYTES, limits=LIMITS)
        assert bool(descriptors_of(connector.path)) is (call == "os.pwrite"), "what a call uses is not closed"
        with let_go(connector.hang):
            pass
        assert descriptors_of(connector.path) == []

    def test_a_volume_that_does_not_hang_is_not_left(
        self, host: Callable[[str], tuple[BrickAttacher, Connector]]
    ) -> None:
        attacher, connector = host("nothing")
        attachment = Attachment(id="a", volume_id="7", connection={"driver_volume_type": "local"})
        with attacher.open(attachment, mode=AccessMode.WRITE) as device:
            write_stream([b"x" * PART_BYTES], device, size_bytes=PART_BYTES, limits=LIMITS)
        assert not attacher.is_left(attachment)
        assert connector.calls == ["connect", "disconnect"]


def descriptors_of(path: Path) -> list[str]:
    """Give by which descriptors this process has a file open."""
    found = {}
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found[each.name] = each.readlink()
    return [number for number, target in found.items() if target == path]


def _after(hang: Hang, name: str, call: Callable[..., Any], path: Path, *arguments: Any, **more: Any) -> Any:
    """Do a call of the system, which hangs if it is of this file."""
    named = arguments[0] if name == "os.open" else os.readlink(f"/proc/self/fd/{arguments[0]}")  # noqa: PTH115
    if str(named) == str(path):
        hang(name)
    return call(*arguments, **more)


def test_an_attachment_that_leaves_for_too_long_holds_up_no_other(tmp_path: Path) -> None:
    become_privileged(tmp_path / "locks")
    attacher = BrickAttacher(stall_seconds=SOON)
    with attacher.leaving("7"), pytest.raises(DeviceStalled, match="the lock of volume 7"), attacher.leaving("7"):
        pass
    with let_go(), attacher.leaving("7"):  # also the one that waited has it no more
        pass


class TestPrograms:
    """What converts an image."""

    def test_a_program_that_does_nothing_is_ended(self) -> None:
        with pytest.raises(TransferStalled, match="qemu-img stalled") as caught:
            ended(["sleep", "60"], lambda: False, stall_seconds=SOON)
        assert caught.value.process_id is None

    def test_a_program_that_hangs_though_it_was_killed_is_waited_for_in_the_background(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(running, "_ENDING_SECONDS", 0.01)
        monkeypatch.setattr(os, "killpg", lambda *_: None)
        with pytest.raises(TransferStalled) as caught:
            ended(["sleep", "60"], lambda: False, stall_seconds=SOON)
        hanging = caught.value.process_id
        assert hanging is not None
        os.kill(hanging, signal.SIGKILL)
        del caught
        gc.collect()  # a process of which nothing is known any more is a warning
        until = time.monotonic() + 30
        while os.path.exists(f"/proc/{hanging}") and time.monotonic() < until:  # noqa: PTH110 - also a zombie does
            time.sleep(0.01)
        assert not os.path.exists(f"/proc/{hanging}")  # noqa: PTH110

    @pytest.mark.parametrize("name, side", [(TARGET, "device"), (SOURCE, "source")])
    def test_the_file_that_a_program_waits_for_is_named(self, tmp_path: Path, name: str, side: str) -> None:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        held = os.open(path, os.O_RDWR)  # so that to open it is no wait, and to read it is
        try:
            with pytest.raises(TransferStalled) as caught:
                ended(["cat", str(path)], lambda: False, stall_seconds=SOON, names={str(path): name})
        finally:
            os.close(held)
        assert caught.value.side == side

    @pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed: apt-get install util-linux")
    def test_a_program_that_ends_with_its_starter_ends_with_the_process_and_not_with_a_thread(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*arguments: Any, start: Any = subprocess.Popen, **options: Any) -> Any:
            process = start(*arguments, **options)
            time.sleep(0.3)  # as a thread that has no turn: the program has said by then with whom it ends
            return process

        monkeypatch.setattr(subprocess, "Popen", busy)
        assert ended(["setpriv", "--pdeathsig", "KILL", "sleep", "0.6"], lambda: False)[0] == 0

    def test_an_interrupt_right_after_the_start_ends_the_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[subprocess.Popen[str]] = []

        def noted(*arguments: Any, start: Any = subprocess.Popen, **options: Any) -> Any:
            started.append(start(*arguments, **options))
            return started[-1]

        def interrupted(work: Any, **_: object) -> None:
            work()
            raise KeyboardInterrupt

        monkeypatch.setattr(subprocess, "Popen", noted)
        monkeypatch.setattr(running, "in_thread", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ended(["sleep", "60"], lambda: False)
        assert [process.returncode for process in started] == [-signal.SIGKILL]

    def test_a_program_that_computes_or_moves_bytes_goes_on(self) -> None:
        script = "import time; end = time.monotonic() + 0.4\nwhile time.monotonic() < end: pass"
        assert ended([sys.executable, "-S", "-c", script], lambda: False, stall_seconds=LATER)[0] == 0
        script = "for _ in 1 2 3 4 5 6 7 8; do sleep 0.05; echo x; done"
        assert ended(["sh", "-c", script], lambda: False, stall_seconds=LATER)[1] == 8 * "x\n"
