"""Start a lock service in a directory, and stop it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cloud.processes import CHECKOUT, SYSTEM_PATH
from tests.cloud.settings import reserve_ports

UNPACKED = CHECKOUT / ".nox" / "lock-services"  # see `prerequisites`
SECONDS = 60
LEASE_SECONDS = 3  # the least that etcd grants is 2
PASSWORD = "correct-horse"  # of Redis; no other has one


@dataclass(frozen=True)
class Program:
    """A lock service that is a program.

    Attributes:
        name: of the program.
        client: the module by which tooz speaks with it.
        argv: of the program, behind its name; it gets a directory and two ports.
        url: for tooz.
        ready: whether it answers.
    """

    name: str
    client: str
    argv: Callable[[Path, int, int], Sequence[str]]
    url: str
    ready: Callable[[int], object]

    def missing(self) -> bool:
        return self.path() is None

    def path(self) -> str | None:
        return shutil.which(self.name, path=f"{SYSTEM_PATH}:{UNPACKED / 'usr/bin'}")


def _connects(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()


def _is_healthy(port: int) -> None:
    urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()


def _etcd(directory: Path, port: int, other: int) -> Sequence[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"
    options = {
        "data-dir": f"{directory}",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "log-level": "error",
        "logger": "zap",
    }
    return [f"--{name}={value}" for name, value in options.items()]


def _redis(directory: Path, port: int, _: int) -> Sequence[str]:
    options = {"bind": "127.0.0.1", "port": str(port), "dir": str(directory), "requirepass": PASSWORD, "save": ""}
    return [word for name, value in options.items() for word in (f"--{name}", value)]


PROGRAMS = {
    "redis": Program(
        "redis-server",
        "redis",
        _redis,
        f"redis://:{PASSWORD}@127.0.0.1:{{port}}?lock_timeout={LEASE_SECONDS}&membership_timeout={LEASE_SECONDS}",
        _connects,
    ),
    "etcd": Program("etcd", "etcd3gw", _etcd, f"etcd3+http://127.0.0.1:{{port}}?timeout={LEASE_SECONDS}", _is_healthy),
    "memcached": Program(
        "memcached",
        "pymemcache",
        lambda _, port, __: ["-u", "nobody", "-l", "127.0.0.1", "-p", str(port)],
        f"memcached://127.0.0.1:{{port}}?timeout={LEASE_SECONDS}",
        _connects,
    ),
}
SERVICES = ("file", *PROGRAMS)


def problem(name: str) -> str | None:
    """Why there can be no such service here; None where there can."""
    if name == "file":
        return None
    program = PROGRAMS[name]
    if program.missing():
        return f"{program.name} is not installed: run the tests by `nox -s coordination`"
    if importlib.util.find_spec(program.client) is None:
        return f"{program.client}, the client of {name}, is not installed: run the tests by `nox -s coordination`"
    return None


@dataclass
class Service:
    """A lock service that runs.

    Attributes:
        name: one of `SERVICES`.
        url: for tooz.
        directory: of its data; of the locks, where they are files.
    """

    name: str
    url: str
    directory: Path
    argv: Sequence[str] = ()
    ready: Callable[[], object] = field(default=lambda: None)
    process: subprocess.Popen[bytes] | None = None

    @property
    def leased(self) -> bool:
        """Whether its locks end by themselves."""
        return self.name != "file"

    def start(self) -> None:
        if not self.argv:
            return
        libraries = {"LD_LIBRARY_PATH": str(next(UNPACKED.glob("usr/lib/*-linux-gnu"), ""))}
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, cwd=self.directory, env=os.environ | libraries, stdout=log, stderr=log
            )
        until = time.monotonic() + SECONDS
        while True:
            try:
                self.ready()
            except OSError:
                ended = self.process.poll() is not None
                if ended or time.monotonic() > until:
                    raise RuntimeError(f"{self.argv[0]}: {(self.directory / 'log').read_text()[-2000:]}") from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()  # also where it stands still; there is nothing to keep
            self.process.wait()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """It takes what is sent and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def running(name: str, directory: Path) -> Iterator[Service]:
    """Give a lock service that runs while the context lasts, or skip the test."""
    if reason := problem(name):
        pytest.skip(reason)
    if name == "file":
        yield Service(name, f"file://{directory}", directory)
        return
    program = PROGRAMS[name]
    with ExitStack() as until:
        ports = reserve_ports(("service", "other"), until)
    port = ports["service"]
    argv = [str(program.path()), *program.argv(directory, port, ports["other"])]
    service = Service(name, program.url.format(port=port), directory, argv, lambda: program.ready(port))
    try:
        service.start()
        yield service
    finally:
        service.stop()


@contextmanager
def left_alone() -> Iterator[None]:
    """Go on when no client tries any more: Redis's does for a minute, and Hypothesis notices its random pauses."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("imagevol-lock"):
            thread.join(3 * SECONDS)
            assert not thread.is_alive()
