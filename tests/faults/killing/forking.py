"""The process with everything imported, of which each command is a fork: starting Python costs nothing then."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, NoReturn


def main(*preloaded: str) -> None:
    """Import, and then fork for each request on the standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in preloaded:
        importlib.import_module(name)
    gc.freeze()  # so that a fork that collects garbage copies none of this
    for line in sys.stdin:
        request = json.loads(line)
        if "import" in request:
            _import(request["import"])
            gc.freeze()
            print(json.dumps({}), file=answers, flush=True)
            continue
        (gate, opened), (waits, waiting) = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            os.close(opened)
            os.close(waits)
            answers.close()
            _run(request, gate, waiting)
        os.close(gate)
        os.close(waiting)
        os.read(waits, 1)  # until it waits at the gate, or has ended
        os.close(waits)
        print(json.dumps({"pid": pid}), file=answers, flush=True)
        sys.stdin.readline()  # it is traced now
        os.close(opened)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), file=answers, flush=True)


def _import(names: list[str]) -> None:
    """Import what a command has imported, so that the next one finds it there."""
    for name in names:
        if name not in sys.modules:
            with suppress(Exception):
                importlib.import_module(name)


def _run(request: dict[str, Any], gate: int, waiting: int) -> NoReturn:
    try:
        os.setsid()
        for number, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, request["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
            (2, request["err"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        ):
            opened = os.open(path, flags, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        os.environ.update(request["variables"])
        sys.argv = ["imagevol", *request["arguments"]]
        module, _, name = request["set_up"].partition(":")
        command = getattr(importlib.import_module(module), name)(request["variables"])
        os.close(waiting)
        os.read(gate, 1)  # until it is traced; it stays open, because to close it could fail
    except BaseException:  # noqa: BLE001 - whatever it is, it is said
        traceback.print_exc()
        os._exit(70)
    status = command()
    if "modules" in request:
        with open(request["modules"], "w") as file:  # noqa: PTH123
            json.dump(list(sys.modules), file)
    _end(status)


def _end(status: int) -> NoReturn:
    """End as Python does, but for freeing its memory: that copies each page which the forks share."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = 120
    os._exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
