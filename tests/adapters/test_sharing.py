"""One attachment for all who read a volume at once: who attaches, who waits, who lets go."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import attrs
import pytest

from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryDevice, MemoryVolumes
from imagevol_adapters.transfers import SharedAttachments, attached, open_image_volume
from imagevol_core import AttachFailed, InUse, ServiceFailed, VolumeBusy

DATA = bytes(range(256)) * 40_000
READERS = 16


@attrs.define
class Counting(MemoryVolumes):
    """A Cinder in memory that counts attachments, and lets a test look when one is asked for."""

    asked: int = attrs.field(default=0, init=False)
    asking: Callable[[], object] = attrs.field(default=lambda: None, init=False)

    def attach(
        self,
        volume_id: str,
        *,
        connector: Mapping[str, Any],
        mode: AccessMode,
        when_busy: Callable[[], bool] | None = None,
    ) -> Attachment:
        self.asked += 1
        self.asking()
        return super().attach(volume_id, connector=connector, mode=mode, when_busy=when_busy)


class World:
    """A volume with an image in it, and those who share it."""

    def __init__(self) -> None:
        self.volumes = Counting()
        self.attacher = MemoryAttacher(volumes=self.volumes)
        self.sharing = SharedAttachments()
        self.volume_id = self.volumes.wait(self.volumes.create(size_gib=1, name="image").id).id
        with attached(self.volume_id, mode=AccessMode.WRITE, **self.ports) as device:
            for at in range(0, len(DATA), 1 << 20):
                device.write(at, memoryview(DATA)[at : at + (1 << 20)])
        self.volumes.set_metadata(self.volume_id, {"image_id": "i", "image_size": str(len(DATA))})
        self.volumes.asked = 0

    @property
    def ports(self) -> dict[str, Any]:
        return {"volumes": self.volumes, "attacher": self.attacher}

    def reading(self, **other: Any) -> AbstractContextManager[Device]:
        return self.sharing.attached(self.volume_id, mode=AccessMode.READ, **{**self.ports, **other})

    def image(self, **other: Any) -> AbstractContextManager[Any]:
        return open_image_volume(self.volume_id, **{**self.ports, "attach": self.sharing.attached, **other})

    @property
    def left(self) -> tuple[Any, ...]:
        return self.volumes.attachments, self.attacher.connected, self.volumes.get(self.volume_id).status


FREE: tuple[Any, ...] = ({}, {}, "available")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * READERS) as pool:
        yield pool


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def waiting(world: World) -> int:
    """How many readers wait for another one's attaching, or for its end."""
    return sum(len(shared.waiting) for shared in world.sharing._register.values())


class TestReaders:
    """However many read, there is one attachment, for as long as one of them does."""

    def test_all_who_read_at_once_read_the_image_by_one_attachment(
        self, world: World, pool: ThreadPoolExecutor
    ) -> None:
        together = threading.Barrier(READERS)

        def download() -> bytes:
            with world.image() as content:
                together.wait(30)
                return b"".join(content.parts)

        downloads = [pool.submit(download) for _ in range(READERS)]
        assert [each.result() == DATA for each in downloads] == [True] * READERS
        assert world.volumes.asked == 1
        assert world.left == FREE

    def test_readers_that_share_an_attachment_read_different_ranges(self, world: World) -> None:
        with ExitStack() as stack:
            contents = [stack.enter_context(world.image(offset=at, length=9)) for at in range(0, 100, 7)]
            turns = zip(*(content.parts for content in reversed(contents)), strict=True)
            assert [list(turn) for turn in turns] == [[DATA[at : at + 9] for at in reversed(range(0, 100, 7))]]

    def test_the_last_to_leave_detaches_whoever_came_first(self, world: World) -> None:
        first, second = world.reading(), world.reading()
        device = first.__enter__()
        assert second.__enter__() is device
        first.__exit__(None, None, None)
        assert device.readinto(5, memoryview(bytearray(3))) == 3
        assert world.volumes.get(world.volume_id).status == "in-use"
        second.__exit__(None, None, None)
        assert world.left == FREE

    def test_a_volume_that_is_read_is_in_use(self, world: World) -> None:
        with world.reading(), world.reading():
            pass
        with world.reading(), pytest.raises(InUse):
            world.volumes.delete(world.volume_id)
        world.volumes.delete(world.volume_id)

    def test_a_reader_after_the_last_one_attaches_again(self, world: World) -> None:
        for number in (1, 2):
            with world.reading(), world.reading():
                assert world.volumes.asked == number
            assert world.left == FREE

    def test_a_reader_that_fails_takes_nothing_from_the_others(self, world: World) -> None:
        def fail() -> None:
            with world.reading():
                raise KeyboardInterrupt

        with world.reading() as device:
            with pytest.raises(KeyboardInterrupt):
                fail()
            assert device.readinto(0, memoryview(bytearray(3))) == 3
        assert world.left == FREE
        with pytest.raises(KeyboardInterrupt):
            fail()
        assert world.left == FREE

    def test_a_reader_that_nobody_remembers_holds_it_no_longer(self, world: World) -> None:
        def forgotten() -> Iterator[bytes]:
            with world.image() as content:
                yield from content.parts

        with world.reading():
            reader = forgotten()
            assert next(reader)
            del reader
            gc.collect()
            assert world.volumes.get(world.volume_id).status == "in-use"
        assert world.left == FREE

    def test_several_volumes_are_read_side_by_side(self, world: World) -> None:
        other = world.volumes.wait(world.volumes.create(size_gib=1, name="other").id).id
        how = {"mode": AccessMode.READ, **world.ports}
        with world.reading() as device, world.sharing.attached(other, **how) as second:
            assert (second is device, len(world.volumes.attachments)) == (False, 2)
        assert world.left == FREE


class TestInterrupts:
    """One interrupt, whenever it comes, leaves no reader and no attachment."""

    @pytest.fixture(autouse=True)
    def alarm(self) -> Iterator[None]:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        gc.disable()  # what is raised in another library's callback of the collector is lost
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            gc.enable()
            signal.signal(signal.SIGALRM, before)

    @pytest.mark.parametrize("others", [0, 1])
    def test_an_interrupt_at_any_moment_leaves_nothing(self, others: int) -> None:
        attachments: list[str] = []

        @contextmanager
        def attach(volume_id: str, **_: Any) -> Iterator[Device]:
            try:
                attachments.append(volume_id)
                yield MemoryDevice(size_bytes=1)
            finally:
                attachments.clear()

        sharing = SharedAttachments(attach)
        how: Any = {"mode": AccessMode.READ, "volumes": None, "attacher": None}
        moments = random.Random(others)
        for _ in range(2_000):
            with ExitStack() as reading:
                for _ in range(others):
                    reading.enter_context(sharing.attached("v", **how))
                with suppress(KeyboardInterrupt):
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, 9e-5))
                    with sharing.attached("v", **how):
                        pass
                    time.sleep(0.05)  # the whole of it only if the interrupt was raised where Python ignores it
                assert attachments == ["v"] * others
            assert (attachments, sharing._register) == ([], {})


class TestApart:
    """Who may not share attaches alone."""

    def test_readers_with_other_credentials_do_not_share_an_attachment(self, world: World) -> None:
        steps = Steps()
        others: Any = {"volumes": steps.volumes(world.volumes), "attacher": steps.attacher(world.attacher)}
        with world.reading(), pytest.raises(VolumeBusy), world.reading(**others):
            pass
        with world.reading(**others):
            assert steps.taken.count("volumes.attach") == 2
        assert world.left == FREE

    def test_a_writer_does_not_share_an_attachment(self, world: World) -> None:
        how = {"mode": AccessMode.WRITE, **world.ports}
        with world.sharing.attached(world.volume_id, **how), pytest.raises(VolumeBusy), world.reading():
            pass
        with world.reading(), pytest.raises(VolumeBusy), world.sharing.attached(world.volume_id, **how):
            pass
        assert world.left == FREE

    def test_a_forked_process_shares_nothing_with_its_parent_and_ends_nothing_of_it(self, world: World) -> None:
        with world.reading():
            child = os.fork()
            if not child:
                status = 1
                try:
                    gc.collect()
                    before = dict(world.volumes.attachments)
                    with pytest.raises(VolumeBusy), world.reading():
                        pass
                    status = 0 if world.volumes.attachments == before else 2
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert world.left == FREE

    def test_a_reader_that_ends_in_a_forked_process_keeps_the_attachment(self, world: World) -> None:
        reader = world.reading()
        with reader:
            child = os.fork()
            if not child:
                status = 1
                try:
                    reader.__exit__(None, None, None)
                    status = 0 if world.left != FREE and len(world.volumes.attachments) == 1 else 2
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert world.left == FREE


class Held:
    """A step of a port that waits until the test lets it go, and may fail then."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.go.wait(30)


def failing(*errors: BaseException | None, held: Held) -> Callable[[], None]:
    """Fail as each attachment is asked for, the first only once the test lets it."""
    script = iter(errors)

    def step() -> None:
        error = next(script, None)
        if not held.go.is_set():
            held()
        if error is not None:
            raise error

    return step


class TestWaiting:
    """Who comes while another attaches waits for that, and tries alone where it fails."""

    def started(self, world: World, pool: ThreadPoolExecutor, held: Held) -> tuple[Future[int], list[Future[int]]]:
        """One reader that is attaching, and others that wait for it."""

        def read() -> int:
            with world.reading() as device:
                return device.readinto(0, memoryview(bytearray(3)))

        first = pool.submit(read)
        assert held.reached.wait(30)
        others = [pool.submit(read) for _ in range(3)]
        until(lambda: waiting(world) == 3)
        return first, others

    def test_waiting_readers_use_the_attachment_of_the_first(self, world: World, pool: ThreadPoolExecutor) -> None:
        held = Held()
        world.volumes.asking = failing(held=held)
        first, others = self.started(world, pool, held)
        held.go.set()
        assert [each.result(30) for each in (first, *others)] == [3] * 4
        assert world.left == FREE

    @pytest.mark.parametrize("error", [AttachFailed("no path"), ServiceFailed("no"), KeyboardInterrupt()])
    def test_waiting_readers_do_not_fail_with_the_first(
        self, world: World, pool: ThreadPoolExecutor, error: BaseException
    ) -> None:
        held = Held()
        world.volumes.asking = failing(error, held=held)
        first, others = self.started(world, pool, held)
        held.go.set()
        assert first.exception(30) is error
        assert [each.result(30) for each in others] == [3] * 3
        assert world.left == FREE

    def test_a_reader_that_has_waited_less_than_the_one_that_gave_up_waits_on(
        self, world: World, pool: ThreadPoolExecutor
    ) -> None:
        held = Held()
        busy = VolumeBusy(world.volume_id, status="in-use", waited_seconds=60)
        world.volumes.asking = failing(busy, held=held)
        first, others = self.started(world, pool, held)
        held.go.set()
        assert first.exception(30) is busy
        assert [each.result(30) for each in others] == [3] * 3

    def test_a_reader_that_has_waited_as_long_gives_up_with_an_error_of_its_own(
        self, world: World, pool: ThreadPoolExecutor
    ) -> None:
        held = Held()
        busy = VolumeBusy(world.volume_id, status="in-use", waited_seconds=0)
        world.volumes.asking = failing(busy, held=held)
        first, others = self.started(world, pool, held)
        held.go.set()
        errors = [each.exception(30) for each in (first, *others)]
        assert [type(error) for error in errors] == [VolumeBusy] * 4
        assert len(set(map(id, errors))) == 4
        assert world.left == FREE

    def test_an_attaching_that_hangs_does_not_hold_all(
        self, world: World, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("imagevol_adapters.transfers.sharing._OPENING_SECONDS", 0.05)
        held = Held()
        world.volumes.asking = held
        first = pool.submit(world.reading().__enter__)
        assert held.reached.wait(30)
        with pytest.raises(VolumeBusy, match="attaching"), world.reading():
            pass
        held.go.set()
        assert first.result(30).size_bytes

    def test_readers_of_a_volume_that_cannot_be_attached_wait_for_no_longer_in_all(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each would try after the other, and the last one of many would wait for all."""
        seconds = 0.4
        monkeypatch.setattr("imagevol_adapters.transfers.sharing._OPENING_SECONDS", seconds)

        def slowly_failing() -> None:
            time.sleep(seconds / 2)
            raise ServiceFailed("no path")

        world.volumes.asking = slowly_failing

        def read(_: int) -> type[BaseException]:
            try:
                with world.reading():
                    return AssertionError
            except (ServiceFailed, VolumeBusy) as error:
                return type(error)

        with ThreadPoolExecutor(12) as pool:
            ended = list(pool.map(read, range(12)))
        assert {ServiceFailed, VolumeBusy} == set(ended)

    def test_a_reader_that_comes_while_the_last_one_detaches_attaches_afterwards(
        self, world: World, pool: ThreadPoolExecutor
    ) -> None:
        held, order = Held(), []

        @contextmanager
        def slow(volume_id: str, **how: Any) -> Iterator[Device]:
            order.append("attached")
            with attached(volume_id, **how) as device:
                yield device
                if not held.go.is_set():
                    held()
            order.append("let go")

        world.sharing = SharedAttachments(slow)
        reading = world.reading()
        reading.__enter__()
        leaving = pool.submit(reading.__exit__, None, None, None)
        assert held.reached.wait(30)
        late = pool.submit(world.reading().__enter__)
        until(lambda: waiting(world) == 1)
        held.go.set()
        leaving.result(30)
        assert late.result(30).size_bytes
        assert order == ["attached", "let go", "attached"]


GREEN = """
import eventlet
eventlet.monkey_patch()
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_adapters.transfers import SharedAttachments

made = []

class Volumes(MemoryVolumes):
    def attach(self, *args, **kwargs):
        made.append(super().attach(*args, **kwargs))
        eventlet.sleep(0.05)
        return made[-1]

volumes, sharing = Volumes(), SharedAttachments()
volume_id = volumes.wait(volumes.create(size_gib=1, name="image").id).id
attacher = MemoryAttacher(volumes=volumes)

def read(_):
    with sharing.attached(volume_id, mode=AccessMode.READ, volumes=volumes, attacher=attacher) as device:
        eventlet.sleep(0.05)
        return device.readinto(0, memoryview(bytearray(3)))

with eventlet.Timeout(30):
    print(list(eventlet.GreenPool(16).imap(read, range(16))) == [3] * 16, len(made), volumes.attachments)
"""


def test_green_threads_share_as_real_ones_do() -> None:
    pytest.importorskip("eventlet")
    command = [sys.executable, "-W", "ignore", "-c", GREEN]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("True 1 {}\n", 0), ran.stderr


class TestFaults:
    """Whatever step fails, nothing stays attached, and the next reader is served."""

    def test_every_step_of_attaching_may_fail(self, world: World) -> None:
        steps = Steps()
        with world.reading(volumes=steps.volumes(world.volumes), attacher=steps.attacher(world.attacher)):
            pass
        letting_go = {"attacher.close", "volumes.detach"}
        for number, step in enumerate(steps.taken):
            failing_steps = Steps(fail_at=number)
            ports: Any = {
                "volumes": failing_steps.volumes(world.volumes),
                "attacher": failing_steps.attacher(world.attacher),
            }
            with pytest.raises(ServiceFailed) as caught, world.reading(**ports):
                pass
            assert bool(caught.value.leftovers) is (step in letting_go)
            for attachment in list(world.volumes.attachments.values()):
                world.volumes.detach(attachment)
            world.attacher.connected.clear()
            with world.reading(**ports):
                pass
            assert world.left == FREE

    def test_what_the_last_cannot_let_go_is_named_in_its_error_alone(self, world: World) -> None:
        steps = Steps()
        with world.reading(volumes=steps.volumes(world.volumes), attacher=steps.attacher(world.attacher)):
            pass
        failing_steps = Steps(fail_at=steps.taken.index("volumes.detach"))
        ports: Any = {"volumes": failing_steps.volumes(world.volumes), "attacher": world.attacher}
        failing_steps.fail_at = 2  # attach, complete, detach
        first, last = world.reading(**ports), world.reading(**ports)
        first.__enter__()
        last.__enter__()
        first.__exit__(None, None, None)
        (attachment,) = world.volumes.attachments.values()
        with pytest.raises(ServiceFailed) as caught:
            last.__exit__(None, None, None)
        assert caught.value.leftovers == (f"attachment {attachment.id} of volume {world.volume_id}",)

    def test_an_error_of_the_last_reader_names_what_it_could_not_let_go(self, world: World) -> None:
        failing_steps = Steps(fail_at=2)
        ports: Any = {"volumes": failing_steps.volumes(world.volumes), "attacher": world.attacher}
        error = AttachFailed("the reader's own")

        def read() -> None:
            with world.reading(**ports):
                raise error

        with pytest.raises(AttachFailed):
            read()
        assert len(error.leftovers) == 1
