"""Files of a person on storage that hangs: at whichever call, the command ends with an error that names the file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters import file_deadline
from imagevol_adapters.cli.audit_files import read_baseline, read_earlier
from imagevol_adapters.cli.files import appearing, opened
from imagevol_adapters.cli.metrics_option import check_metrics, transfer_samples, write_metrics
from imagevol_adapters.cli.rates import read_rates
from imagevol_adapters.engine import Limits, threads
from imagevol_adapters.file_deadline import in_time, is_there, set_file_deadline
from imagevol_adapters.journals import JournalFile, journal_line
from imagevol_adapters.transfers import fetch_image
from imagevol_core import STALL_SECONDS, Digest, ImagevolError
from imagevol_core.resuming import ReadImage

SOON = 0.02
FEW = 16  # of the calls of a file hang, at the most; to try each, make it larger
PATIENCE_SECONDS = 10  # passed only when something hangs that must not
DATA = b"x" * 5000
IMAGE = ReadImage(source="image 7", size_bytes=len(DATA), digest=Digest("sha256", hashlib.sha256(DATA).hexdigest()))
RATES = {"host": "h", "volume_type": None, "backend": None}
READ_LINK = os.readlink
CALLS = (
    *("open", "stat", "lstat", "access", "link", "unlink", "rename", "replace", "fsync", "ftruncate", "truncate"),
    *("fstat", "fchmod", "write", "close"),
)


@attrs.define
class Storage:
    """A directory of which each call hangs, from one on."""

    directory: Path
    hangs_at: float = math.inf
    calls: int = 0
    go_on: threading.Event = attrs.field(factory=threading.Event)

    def let_go(self) -> None:
        """Let all calls go on."""
        self.hangs_at = math.inf
        self.go_on.set()
        until = time.monotonic() + PATIENCE_SECONDS
        while threads.threads_left() and time.monotonic() < until:
            time.sleep(0.001)
        self.go_on.clear()

    def has(self, named: object) -> bool:
        """Tell whether a path or a descriptor is one of the storage's."""
        with suppress(OSError, ValueError, TypeError):
            path = named if isinstance(named, (str, Path)) else READ_LINK(f"/proc/self/fd/{named}")
            if str(path).startswith("/proc/self/fd/"):
                path = READ_LINK(path)
            return str(path).startswith(str(self.directory))
        return False

    def hanging(self, name: str) -> Callable[..., Any]:
        """Give a call of the operating system that may hang."""
        call: Callable[..., Any] = getattr(os, name)

        def hang(*arguments: Any, **more: Any) -> Any:
            if arguments and self.has(arguments[0]):
                self.calls += 1
                if self.calls >= self.hangs_at:
                    assert threading.current_thread() is not threading.main_thread(), f"the command hangs in {name}"
                    self.go_on.wait(PATIENCE_SECONDS)
            return call(*arguments, **more)

        return hang


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    made = Storage(tmp_path / "storage")
    made.directory.mkdir()
    monkeypatch.setattr(threads, "_LEAVING_SECONDS", 0)
    for name in CALLS:
        monkeypatch.setattr(os, name, made.hanging(name))
    yield made
    made.let_go()


@pytest.fixture(autouse=True)
def deadline() -> Iterator[Callable[[float], None]]:
    """Sets the deadline, for this test."""
    yield set_file_deadline
    set_file_deadline(STALL_SECONDS)


def read_source(file: Path, _: float) -> None:
    with opened(file) as (found, size_bytes):
        assert found.read(1), size_bytes


def write_target(file: Path, _: float) -> None:
    with appearing(file.with_name("new")):
        pass


def begin_journal(file: Path, _: float) -> None:
    path = file.with_name("journal")
    journal = JournalFile(path, JournalFile.create_file(path))
    journal.begin(journal_line({"head": 1}))
    with journal:
        journal._append(journal_line({"step": 1}))


def take_up_journal(file: Path, _: float) -> None:
    JournalFile(file, JournalFile.open_file(file, lambda _: None, lambda: None)).close()


def get_in_steps(file: Path, seconds: float) -> None:
    limits = Limits(stall_seconds=seconds)
    target = file.with_name("image")
    fetch_image(IMAGE, target, data=lambda at: nullcontext([DATA[at:]]), tell=lambda _: None, limits=limits)


def metrics(file: Path, _: float) -> None:
    check_metrics(file.with_name("metrics.prom"))
    write_metrics(file.with_name("metrics.prom"), transfer_samples("put", size_bytes=1, seconds=1))


@pytest.mark.parametrize(
    "content, use",
    [
        pytest.param("data", read_source, id="the source of put"),
        pytest.param("", write_target, id="the target of get"),
        pytest.param("", get_in_steps, id="a target of get that can be resumed"),
        pytest.param("", lambda file, _: read_baseline(file), id="what audit accepts"),
        pytest.param("[]", lambda file, _: read_earlier(file), id="an earlier audit"),
        pytest.param("", begin_journal, id="a new journal"),
        pytest.param('{"head": 1}\n', take_up_journal, id="a journal that is there"),
        pytest.param("", lambda file, _: is_there(file), id="whether there is a journal"),
        pytest.param("", metrics, id="metrics"),
        pytest.param(json.dumps(RATES), lambda file, _: read_rates(file), id="the rates of a host"),
    ],
)
def test_at_whichever_call_a_file_hangs_the_command_ends_and_says_so(
    storage: Storage, content: str, use: Callable[[Path, float], object], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(hangs_at: float, seconds: float) -> str:
        file = storage.directory / str(hangs_at) / "file"
        file.parent.mkdir()
        file.touch(0o600)
        file.write_text(content)
        set_file_deadline(seconds)
        storage.calls, storage.hangs_at = 0, hangs_at
        began = time.monotonic()
        try:
            use(file, seconds)
        except (ImagevolError, TimeoutError) as error:
            return str(error)
        finally:
            storage.hangs_at = math.inf
            assert time.monotonic() - began < PATIENCE_SECONDS
        return capsys.readouterr().err

    run(math.inf, STALL_SECONDS)
    told = []
    for number in range(1, storage.calls + 1, 1 + storage.calls // FEW):
        told.append(run(number, SOON))
        storage.let_go()
    assert "its storage did not answer in" in told[0]
    assert [text for text in told if text and "did not answer" not in text and "stalled" not in text] == []


def test_what_is_opened_too_late_is_closed(storage: Storage) -> None:
    file, closed = storage.directory / "file", list[int]()
    file.touch()
    storage.hangs_at = 1
    set_file_deadline(SOON)
    with pytest.raises(TimeoutError):
        in_time(lambda: os.open(file, os.O_RDONLY), file, late=closed.append)
    storage.let_go()
    assert len(closed) == 1
    os.close(closed[0])


def test_what_has_hung_once_is_waited_for_no_longer_than_a_moment(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = storage.directory / "file"
    storage.hangs_at = 1
    set_file_deadline(SOON)
    with pytest.raises(TimeoutError):
        in_time(lambda: os.stat(file), file)  # noqa: PTH116 - the call that hangs
    set_file_deadline(STALL_SECONDS)
    monkeypatch.setattr(file_deadline, "_HURRY_SECONDS", SOON)
    with pytest.raises(TimeoutError, match="did not answer"):
        in_time(lambda: os.stat(file), file)  # noqa: PTH116 - as above
