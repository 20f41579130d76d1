"""Runs a command in a process that was forked with everything imported, and disturbs it at a point."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from tests.faults.killing.points import ERRORS, Point

__all__ = ["Forks", "Ran", "attached_to", "forks", "hit_a_pipe", "why_not"]

_PATIENCE_SECONDS = 240.0
_CHECKOUT = Path(__file__).resolve().parents[3]
_OF_PRIVSEP = r', "\222\331$'  # a pair of a UUID and a message, in msgpack


def why_not() -> str | None:
    """Say why no process can be disturbed on this machine; None if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed: apt-get install strace"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"strace cannot trace here: {tried.stderr.strip()}" if tried.returncode else None


@attrs.frozen(kw_only=True)
class Ran:
    """What a process did.

    Attributes:
        status: its exit status; negative if a signal ended it.
        out: its standard output.
        err: its standard error.
        seconds: how long it took.
        left: processes that it started and that go on.
    """

    status: int
    out: str
    err: str
    seconds: float
    left: tuple[str, ...] = ()

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL


@contextmanager
def attached_to(pids: Sequence[int], trace: Path, point: Point | None) -> Iterator[None]:
    """Trace running processes while the context lasts, and disturb them at a point."""
    injected = ["-e", point.injection] if point else []
    watched = point.call if point else ",".join(ERRORS)
    targets = [word for pid in pids for word in ("-p", str(pid))]
    command = ["strace", "-f", "-q", "-y", "-o", str(trace), "-e", f"trace={watched}", "-e", "signal=none"]
    with subprocess.Popen([*command, *injected, *targets], stderr=subprocess.PIPE, text=True) as tracer:
        try:
            deadline = time.monotonic() + 30
            while not all(_is_traced(pid) for pid in pids):
                if tracer.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"strace does not trace {pids}: {tracer.stderr and tracer.stderr.read()}")
                time.sleep(0.002)
            yield
        finally:
            if any(_is_traced(pid) for pid in pids):
                tracer.send_signal(signal.SIGINT)  # it lets the processes go, and ends
            try:
                tracer.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                tracer.kill()


def hit_a_pipe(trace: Path) -> bool:
    """Whether a call failed that speaks to the same process, by a pipe or an eventfd, or privsep's two to each other.

    Such a call does not fail while its process lives.  Eventlet locks the logs by a pipe: without it, Cinder hangs.
    Privsep's daemon answers by a pair of sockets, which does not fail either: without an answer, Cinder waits for ever.
    """
    begun: dict[str, str] = {}  # of each thread, the call that another one's line has cut in two
    for line in trace.read_text(errors="replace").splitlines():
        thread, _, call = line.partition(" ")
        if line.endswith("<unfinished ...>"):
            begun[thread] = call
        elif "(INJECTED)" in line:
            whole = begun.pop(thread, "") if " resumed>" in call else call
            if re.search(r"\(\d+<(pipe|anon_inode):", whole) or _OF_PRIVSEP in whole:
                return True
    return False


def _is_traced(pid: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    return any(line.split() == ["TracerPid:", line.split()[-1]] and line.split()[-1] != "0" for line in lines)


@attrs.define
class Forks:
    """A process with everything imported, of which each command is a fork."""

    _server: subprocess.Popen[str]
    _directory: Path
    _number: int = 0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def run(
        self,
        *arguments: object,
        set_up: str,
        variables: Mapping[str, str],
        point: Point | None = None,
        trace: Path | None = None,
        seconds: float = _PATIENCE_SECONDS,
        learns: bool = False,
    ) -> Ran:
        """Run a command to its end.

        Args:
            arguments: of the command line.
            set_up: `module:function`, called in the fork with the variables; gives what is called with no argument.
            variables: of its environment.
            point: where it is disturbed.
            trace: where the trace is kept; None for none, if it is not disturbed either.
            seconds: after which it is killed, and counts as hanging.
            learns: whether later commands find imported what this one has imported.
        """
        with self._lock:
            self._number += 1
            said = [self._directory / f"{self._number}.{name}" for name in ("out", "err")]
            request = {
                "arguments": [str(each) for each in arguments],
                "set_up": set_up,
                "variables": dict(variables),
                "out": str(said[0]),
                "err": str(said[1]),
                **({"modules": str(self._directory / "modules")} if learns else {}),
            }
            pid = self._ask(request)["pid"]
            began = time.monotonic()
            timer = threading.Timer(seconds, _kill, (pid,))
            timer.start()
            try:
                if trace is not None or point is not None:
                    with attached_to([pid], trace or self._directory / "trace", point):
                        status = self._ask({"go": pid})["status"]
                else:
                    status = self._ask({"go": pid})["status"]
            finally:
                timer.cancel()
            if learns:
                self._ask({"import": json.loads((self._directory / "modules").read_text())})
            hung = time.monotonic() - began >= seconds
            out, err = (path.read_text(errors="replace") for path in said)
            for path in said:
                path.unlink()
            return Ran(
                status=status,
                out=out,
                err=err + ("\nIT HUNG" if hung else ""),
                seconds=time.monotonic() - began,
                left=_session(pid),
            )

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError("the process that forks has ended")
        return json.loads(answer)


@contextmanager
def forks(directory: Path, *preloaded: str) -> Iterator[Forks]:
    """Start a process that imports these modules, and end it with the context."""
    command = [sys.executable, "-m", "tests.faults.killing.forking", *preloaded]
    with subprocess.Popen(command, cwd=_CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield Forks(server, directory)
        finally:
            with suppress(OSError):
                server.stdin.close()  # type: ignore[union-attr]
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _session(leader: int) -> tuple[str, ...]:
    """What runs of the session of a process that has ended; what is just ending has a moment."""
    for _ in range(50):
        found = tuple(_members(leader))
        if not found:
            break
        time.sleep(0.02)
    return found


def _members(leader: int) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                name, _, rest = (entry / "stat").read_text(errors="replace").rpartition(")")
                state, _, _, session = rest.split()[:4]
                if int(session) == leader and state not in "ZX":
                    yield f"process {name})"
