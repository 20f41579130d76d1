"""Start the processes of a cloud, wait for them, and find them again.

Each process carries the directory of its cloud in an environment variable, which its children
(privsep daemons, qemu-img) inherit. So whoever knows the directory finds all of them, even when
the process that started them was killed before it could write anything down.
"""

import ctypes
import gc
import os
import shutil
import signal
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "IMAGEVOL_CLOUD"
CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
# An ordinary login shell, even of root, may lack the directories of mkfs.xfs and mariadbd.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TAIL_LINES = 15
# Tells Cinder or Glance to give back what it holds and does not need, so that the rest can be compared.
COLLECT = signal.SIGRTMIN


def give_back() -> None:
    """Collect garbage, and give freed memory back to the kernel: glibc keeps some of it for each thread that ran."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


class CloudError(RuntimeError):
    """The cloud could not be started or ended; the message says what to do."""


@dataclass(frozen=True)
class Process:
    """A process of a cloud, started by this program."""

    name: str
    pid: int
    directory: Path
    log: Path

    def has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def failure(self, what: str) -> CloudError:
        """`what`, with the last lines of the log."""
        tail = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return CloudError("\n  ".join([f"{self.name} {what}; {self.log} ends:", *tail]))


def environment(directory: Path) -> dict[str, str]:
    """The environment of a cloud's processes: no credentials and no proxy of the caller's."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OS_", "PYTHON")) and not name.lower().endswith("_proxy")
    }
    return inherited | {
        MARK: str(directory),
        # setproctitle, which gunicorn uses, would write its titles over the mark.
        "SPT_NOENV": "1",
        "PATH": f"{directory / 'bin'}:{SCRIPTS}:{SYSTEM_PATH}",
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(directory / "tmp"),
    }


def spawn(
    name: str,
    argv: Sequence[str | Path],
    *,
    directory: Path,
    variables: Mapping[str, str] = {},
) -> Process:
    """Start a process in a session of its own: Ctrl-C is for the one who starts it."""
    variables = environment(directory) | dict(variables)
    log = directory / "log" / f"{name}.log"
    program = shutil.which(argv[0], path=variables["PATH"])
    if program is None:
        raise CloudError(f"{argv[0]} is not installed: run `python -m tests.cloud prerequisites`")
    # Not subprocess.Popen, because most of these processes outlive the program that starts them.
    pid = os.posix_spawn(
        program,
        [str(argument) for argument in argv],
        variables,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT],
    )
    return Process(name, pid, directory, log)


def finish(process: Process, *, seconds: float) -> None:
    """Wait until a process that is to end has ended well."""
    for _ in ticks(seconds):
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            if code:
                raise process.failure(f"ended with status {code}")
            return
    raise process.failure(f"did not end within {seconds:g} s")


def stop(process: Process, *, seconds: float) -> None:
    """Ask a process to end, and wait until it has ended well."""
    os.kill(process.pid, signal.SIGTERM)
    finish(process, seconds=seconds)


def run(name: str, *argv: str | Path, directory: Path, seconds: float = 30) -> None:
    """Run a command to its end."""
    finish(spawn(name, argv, directory=directory), seconds=seconds)


def wait_until(ready: Callable[[], bool], *, process: Process, seconds: float) -> None:
    """Wait until a service is ready, and not longer than it lives."""
    for _ in ticks(seconds):
        if ready():
            return
        if process.has_ended():
            raise process.failure("stopped while it was starting")
    raise process.failure(f"was not ready within {seconds:g} s")


def ticks(seconds: float, *, interval: float | None = None) -> Iterator[None]:
    """Yield at once, and again at each interval until the time is over.

    Intervals grow if none is given: what takes long may take a little longer, and whoever is asked has other work.
    """
    deadline, pause = time.monotonic() + seconds, interval or 0.05
    yield
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = interval or min(1.25 * pause, 0.3)
        yield


def belongs_to(pid: int, directory: Path) -> bool:
    """Whether this process lives and carries the mark of the cloud in this directory."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{MARK}={directory}".encode() in variables


def marked(directory: Path) -> list[int]:
    """Every living process of the cloud in this directory but the caller."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if pid != os.getpid() and belongs_to(pid, directory)]


def end(directory: Path, *, patience: float = 3) -> int:
    """End every process of a cloud: first by asking, then by force. How many there were."""
    ended: set[int] = set()
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        asked: set[int] = set()
        was_quiet = False
        for _ in ticks(seconds):
            # Looked up again each time: a dying service may still have started a child. And until
            # nothing is seen twice: a process that is just being started has no environment yet.
            living = set(marked(directory))
            for pid in living - asked:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            asked |= living
            if was_quiet and not living:
                break
            was_quiet = not living
        ended |= asked
    for pid in ended:
        # Those that are our own children would stay as zombies.
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    if living:
        raise CloudError(f"processes that cannot be killed: {sorted(living)}")
    return len(ended)
