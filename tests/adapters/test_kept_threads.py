"""Threads that are kept for other work do each as a new thread does."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from imagevol_adapters.engine import starting
from imagevol_adapters.engine.starting import KeptThread, ThreadFailed

SECONDS = 10  # passed only when something hangs that must not
NAME = "imagevol-kept"
Found = contextvars.ContextVar("Found", default="nothing")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads that other tests have left idle are not used here, and those of this test end with it."""
    monkeypatch.setattr(starting, "_idle", list[Any]())
    monkeypatch.setattr(starting, "_IDLE_NAME", "idle thread of this test")
    monkeypatch.setattr(starting, "_IDLE_SECONDS", 0.1)
    yield
    for thread in idle():
        thread.join(SECONDS)


def idle() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == starting._IDLE_NAME]


def started(work: Callable[[], object], **others: Any) -> KeptThread:
    thread = KeptThread(work, name=NAME, **others)
    thread.start()
    return thread


def ended(work: Callable[[], object], **others: Any) -> None:
    """Do some work, and wait until its thread can do other work."""
    thread = started(work, **others)
    thread.join(SECONDS)
    assert thread.has_ended
    assert not thread.is_alive()
    for _ in range(SECONDS * 1000):
        if starting._idle:
            return
        threading.Event().wait(0.001)
    pytest.fail("the thread was not kept")


def test_work_after_work_is_done_by_one_thread_of_this_name() -> None:
    found: list[tuple[int, str]] = []
    for _ in range(3):
        ended(lambda: found.append((threading.get_ident(), threading.current_thread().name)))
    assert found == [(found[0][0], NAME)] * 3
    assert len(idle()) == 1


def test_work_that_hangs_keeps_no_other_from_being_done() -> None:
    go, done = threading.Event(), list[int]()
    hanging = started(lambda: go.wait(SECONDS))
    try:
        ended(lambda: done.append(1))
        assert (done, hanging.is_alive(), hanging.has_ended) == ([1], True, False)
        hanging.join(0.01)
        assert hanging.is_alive()
    finally:
        go.set()
    hanging.join(SECONDS)
    assert (hanging.is_alive(), hanging.has_ended) == (False, True)


def test_an_idle_thread_ends_and_the_next_work_has_another() -> None:
    found: list[int] = []
    ended(lambda: found.append(threading.get_ident()))
    (thread,) = idle()
    thread.join(SECONDS)
    assert (idle(), starting._idle) == ([], [])
    ended(lambda: found.append(threading.get_ident()))
    assert len(found) == 2


def test_work_that_comes_as_a_thread_ends_is_done() -> None:
    ended(lambda: None)
    works = starting._idle.pop()  # as `start` does right before it gives the work
    (thread,) = idle()
    thread.join(3 * starting._IDLE_SECONDS)
    late, done = KeptThread(lambda: done.append(1), name=NAME), list[int]()
    works.put(late)
    assert late._signal.wait(SECONDS)
    late.join(SECONDS)
    assert done == [1]


def test_each_work_begins_without_the_context_of_the_one_before() -> None:
    found: list[str] = []

    def work() -> None:
        found.append(Found.get())
        Found.set("something")

    for _ in range(2):
        ended(work)
    assert found == ["nothing", "nothing"]


def test_an_error_is_given_to_who_asked_and_the_thread_does_other_work() -> None:
    failures, over = list[BaseException](), list[int]()
    ended(lambda: 1 // 0, failed=failures.append, ended=lambda: over.append(1))
    ended(lambda: None)
    assert ([type(error) for error in failures], over, len(idle())) == ([ZeroDivisionError], [1], 1)


def test_an_error_that_nobody_takes_ends_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    thread = started(lambda: 1 // 0)
    thread.join(SECONDS)
    for each in threading.enumerate():
        if each.name == NAME:
            each.join(SECONDS)
    assert (told, thread.has_ended, starting._idle) == ([ZeroDivisionError], True, [])


def test_an_interrupt_as_the_work_is_given_away_leaves_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Works:
        def put(self, _: object) -> None:
            raise KeyboardInterrupt

    starting._idle.append(Works())  # type: ignore[arg-type]
    thread = KeptThread(lambda: pytest.fail("it was done"), name=NAME)
    with pytest.raises(KeyboardInterrupt):
        thread.start()
    thread.join()
    assert (thread.has_ended, thread.is_alive()) == (True, False)


def test_work_that_was_given_up_before_it_began_is_never_done() -> None:
    given: list[KeptThread] = []

    class Works:
        def put(self, kept: KeptThread) -> None:
            given.append(kept)
            raise KeyboardInterrupt  # right after it was given

    starting._idle.append(Works())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        KeptThread(lambda: pytest.fail("it was done"), name=NAME).start()
    given[0]._run()
    given[0].join()
    assert not given[0].is_alive()


def test_a_thread_that_was_never_started_is_not_waited_for() -> None:
    thread = KeptThread(lambda: None, name=NAME)
    thread.join()
    assert (thread.is_alive(), thread.has_ended) == (False, False)


def test_what_was_done_is_not_kept_while_the_thread_is() -> None:
    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    ended(partial(id, Large()))
    assert Large.alive == 0


def test_a_process_that_is_forked_has_threads_of_its_own() -> None:
    code = """
import os, sys
from imagevol_adapters.engine.starting import KeptThread
def work():
    thread = KeptThread(lambda: done.append(1), name="kept")
    thread.start()
    thread.join(10)
done = []
work()
while not (idle := __import__("imagevol_adapters.engine.starting", fromlist=["_idle"])._idle):
    pass
child = os.fork()
work()
if child == 0:
    os._exit(len(done))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) * 10 + len(done))
"""
    ran = subprocess.run([sys.executable, "-c", code], timeout=6 * SECONDS, env=os.environ, check=False)
    assert ran.returncode == 22


def test_a_process_ends_before_a_thread_that_hangs_and_one_that_is_idle() -> None:
    code = """
import threading
from imagevol_adapters.engine.starting import KeptThread
KeptThread(threading.Event().wait, name="kept").start()
KeptThread(lambda: None, name="kept").start()
"""
    subprocess.run([sys.executable, "-c", code], timeout=6 * SECONDS, env=os.environ, check=True)


def test_a_process_that_can_have_no_more_threads_does_the_work_by_one_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended(lambda: None)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done: list[int] = []
    ended(lambda: done.append(1))
    assert done == [1]
    starting._idle.clear()
    with pytest.raises(ThreadFailed, match="can't start new thread"):
        KeptThread(lambda: done.append(1), name=NAME).start()
    assert done == [1]
