"""What tells this process from all others, and whether another one runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagevol_adapters import processes
from imagevol_adapters.processes import running, this_process
from imagevol_core import ProcessRecord

TELL = """
import json, sys
from dataclasses import asdict
from imagevol_adapters.processes import this_process
print(json.dumps(asdict(this_process())), flush=True)
sys.stdin.read()
"""


def told(*before: str) -> tuple[subprocess.Popen[str], dict[str, object]]:
    """Another process, and its record."""
    other = subprocess.Popen(
        [*before, sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    return other, json.loads(other.stdout.readline())


def here() -> ProcessRecord:
    record = this_process()
    assert record is not None
    return record


def test_a_process_has_a_record_of_its_own_and_shares_its_host_and_boot() -> None:
    other, record = told()
    with other:
        mine = here()
        assert mine.pid == os.getpid()
        assert record["pid"] == other.pid
        assert (record["host"], record["boot_id"], record["namespaces"]) == (mine.host, mine.boot_id, mine.namespaces)
        seen = running(other.pid)
        assert (seen.exists, seen.started) == (True, record["started"])
    assert not running(other.pid).exists
    assert this_process() == mine


def wait_for_a_zombie(pid: int) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)


def test_a_process_that_was_killed_has_ended_though_its_parent_has_not_waited_for_it() -> None:
    other, _ = told()
    with other:
        other.kill()
        wait_for_a_zombie(other.pid)
        assert not running(other.pid).exists


FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print(flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_first_thread_has_ended_runs_as_long_as_another_thread_does() -> None:
    with subprocess.Popen([sys.executable, "-c", FIRST_THREAD_ENDS], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        wait_for_a_zombie(other.pid)
        assert running(other.pid).exists
        other.kill()
        while running(other.pid).exists:
            time.sleep(0.01)


def test_a_process_of_another_user_exists() -> None:
    assert running(1).exists


@pytest.mark.parametrize("pid", [2**22 + 1, 2**31 + 5, 2**70])
def test_a_process_id_that_no_process_can_have_is_no_process(pid: int) -> None:
    assert not running(pid).exists


def test_a_process_that_cannot_be_looked_at_may_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "_PROC", tmp_path)  # as where /proc hides other users' processes
    seen = running(os.getpid())
    assert (seen.exists, seen.started) == (True, None)


def test_a_child_is_another_process() -> None:
    mine, (reading, writing) = here(), os.pipe()
    if not (child := os.fork()):
        os.write(writing, json.dumps([here().pid, here().started]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
        pid, started = json.loads(pipe.read())
    assert pid == child
    assert started >= mine.started


def test_a_process_in_another_container_counts_otherwise() -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: a PID namespace needs it")
    other, record = told("unshare", "--pid", "--fork", "--mount-proc", "--")
    with other:
        assert record["pid"] == 1
        assert record["boot_id"] == here().boot_id
        assert record["namespaces"] != here().namespaces


@pytest.mark.parametrize("missing", ["self", "sys", "everything"])
def test_without_proc_there_is_no_record_of_a_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    if missing == "self":  # it is another namespace's
        (tmp_path / "self").symlink_to("1")
    elif missing == "sys":
        (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
        (tmp_path / "self").symlink_to(str(os.getpid()))
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert this_process() is None


def test_a_host_is_known_only_by_what_no_copy_of_its_disk_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine_id, cards = tmp_path / "machine-id", tmp_path / "net"
    machine_id.write_text("b08dfa6083e7567a1921a715000001fb\n")
    monkeypatch.setattr(processes, "_MACHINE_ID", machine_id)
    monkeypatch.setattr(processes, "_INTERFACES", cards)
    assert here().host is None  # there are no network cards at all
    (cards / "lo").mkdir(parents=True)
    (cards / "lo/address").write_text("00:00:00:00:00:00\n")
    assert here().host is None  # nor one that is a device
    (cards / "eth0/device").mkdir(parents=True)
    (cards / "eth0/address").write_text("52:54:00:12:34:56\n")
    host = here().host
    assert host
    assert "52:54" not in host
    (cards / "eth0/address").write_text("52:54:00:12:34:57\n")
    assert here().host not in (host, None)  # a copy of the same disk
    machine_id.write_text("")
    assert here().host is None
