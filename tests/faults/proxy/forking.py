"""Runs commands of `imagevol`, each in a fork of a process that has imported what they need.

It reads lines of JSON with the arguments, the environment and the files for the output, and answers each with the
child's pid and, when it has ended, with its status.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import attrs

__all__ = ["Ran", "Runner", "runner"]

_PRELOADED = (
    *("cinderclient.client", "cinderclient.v3.client", "glanceclient.v2.client", "keystoneauth1.session"),
    *("openstack.config", "keystoneauth1.identity.v3", "oslo_privsep.daemon", "requests"),
    *("imagevol_adapters.cli.app", "imagevol_adapters.cli.services", "imagevol_adapters.brick"),
    *("imagevol_adapters.cinder.volumes", "imagevol_adapters.glance.images", "imagevol_adapters.qemu.converter"),
)


@attrs.frozen
class Ran:
    """What came of a command; its status is None if it had to be killed.

    Attributes:
        status: its exit status.
        out: what it answered.
        err: what it said.
        log: what it and the libraries logged.
    """

    status: int | None
    out: str
    err: str
    log: str = ""


@attrs.define
class Runner:
    """Runs commands."""

    process: subprocess.Popen[str]
    directory: Path

    def run(self, arguments: Sequence[object], *, environment: Mapping[str, str], seconds: float) -> Ran:
        """Run a command, and kill it if it does not end in time."""
        out, err, log = (self.directory / name for name in ("out", "err", "log"))
        log.unlink(missing_ok=True)
        asked = {
            "arguments": [str(each) for each in arguments],
            "environment": dict(environment),
            "out": str(out),
            "err": str(err),
            "log": str(log),
            "seconds": seconds,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        status = json.loads(self.process.stdout.readline())
        return Ran(status, *(each.read_text(errors="replace") if each.exists() else "" for each in (out, err, log)))


@contextmanager
def runner(directory: Path) -> Iterator[Runner]:
    """A process that runs commands, until the end of the context."""
    command = [sys.executable, "-m", __name__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=Path(__file__).parents[3], **pipes) as process:  # type: ignore[call-overload]
        yield Runner(process, directory)
        process.stdin.close()
        process.wait()


def _serve() -> None:
    for name in _PRELOADED:
        import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            _command(asked)
        print(json.dumps(_ended(pid, asked["seconds"])), flush=True)


def _ended(pid: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _command(asked: dict[str, object]) -> None:
    status = 70
    try:
        os.setsid()
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(str(asked[name]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name in [name for name in os.environ if name.startswith("OS_")]:
            del os.environ[name]
        os.environ.update(asked["environment"])  # type: ignore[call-overload]
        arguments = ["--log-file", str(asked["log"]), *asked["arguments"]]  # type: ignore[misc]
        sys.argv = ["imagevol", *arguments]
        from imagevol_adapters.cli import main  # noqa: PLC0415 - in the child only

        _log_libraries()
        status = main(arguments)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - it is what a user would see
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _log_libraries() -> None:
    """Let the log file have all that libraries say, as with `-vv`, and the console none of it."""
    from imagevol_adapters.cli.app import Imagevol  # noqa: PLC0415 - in the child only

    configure = Imagevol.configure_logging

    def configured(app: Imagevol) -> None:
        configure(app)
        silent = [
            logger
            for logger in logging.root.manager.loggerDict.values()
            if isinstance(logger, logging.Logger) and logger.level == logging.CRITICAL
        ]
        for logger in silent:
            logger.setLevel(logging.DEBUG)
        names = tuple(f"{logger.name}." for logger in silent)
        for handler in logging.root.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(lambda record: not f"{record.name}.".startswith(names))

    Imagevol.configure_logging = configured  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    _serve()
