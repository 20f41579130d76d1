"""A worker: a process whose threads carry out transfers, until its end of the pipe is closed."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs

from imagevol_core import ImagevolError
from tests.faults.load.gauges import rested
from tests.faults.load.plan import Job, Source
from tests.faults.load.transfers import Made, Ports, WrongData, done, held

__all__ = ["Answer", "Check", "Rest", "Transfer", "serve"]

_RAW = re.compile(r"Traceback|NoneType|object (is|has|at)|Error\(|(Key|Type|Attribute|Value|JSONDecode)Error")


@attrs.frozen
class Transfer:
    """A transfer that a thread carries out, and whether calls go wrong in it."""

    job: Job
    source: Source | None
    tag: str
    faulty: bool


@attrs.frozen
class Check:
    """An image of whose first bytes a thread reads the digest: an image made of a volume is as long as that."""

    image_id: str
    size_bytes: int


@attrs.frozen
class Rest:
    """The question what the process holds."""


@attrs.frozen(kw_only=True)
class Answer:
    """What came of a request.

    Attributes:
        result: what was made, read or found; None if there is an error.
        error: what the error said.
        fault: what is wrong with the error: it is not one of ours, or not one clear line.
    """

    ticket: int
    result: Any = None
    error: str | None = None
    fault: str | None = None
    seconds: float = 0


def serve(pipe: Connection, where: str, variables: Mapping[str, str], threads: int, log: str) -> None:
    """Carry out what comes through the pipe.

    Args:
        pipe: gives pairs of a ticket and a request.
        where: `module:function` that gives the ports, given the variables.
        variables: of the site.
        threads: how many requests are carried out at once.
        log: the file that gets the output of the process.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.update(variables)
    tempfile.tempdir = None
    module, _, name = where.partition(":")
    make: Callable[[Mapping[str, str], Callable[[], bool]], Ports] = getattr(import_module(module), name)
    now = threading.local()
    ports = make(variables, lambda: getattr(now, "faulty", False))
    lock = threading.Lock()

    def carry_out(ticket: int, request: Any) -> None:
        now.faulty = isinstance(request, Transfer) and request.faulty
        answer = _answer(ticket, request, ports)
        with lock:
            pipe.send(answer)

    with ThreadPoolExecutor(threads) as pool:
        while True:
            try:
                ticket, request = pipe.recv()
            except EOFError:
                return
            pool.submit(carry_out, ticket, request)


def _answer(ticket: int, request: Any, ports: Ports) -> Answer:
    began = time.monotonic()
    try:
        result = _result(request, ports)
    except ImagevolError as error:
        said = " ".join([str(error), *getattr(error, "__notes__", ())])
        unclear = "\n" in str(error) or _RAW.search(str(error))
        fault = "it is not one clear line" if unclear else None
        return Answer(ticket=ticket, error=said, fault=fault, seconds=time.monotonic() - began)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is counted
        traceback.print_exc()
        sys.stderr.flush()
        said = f"{type(error).__name__}: {error}"
        fault = str(error) if isinstance(error, WrongData) else f"it is a {type(error).__name__}"
        return Answer(ticket=ticket, error=said, fault=fault, seconds=time.monotonic() - began)
    return Answer(ticket=ticket, result=result, seconds=time.monotonic() - began)


def _result(request: Any, ports: Ports) -> Any:
    if isinstance(request, Transfer):
        made: Made = done(request.job, ports, request.source, tag=request.tag)
        return made
    if isinstance(request, Check):
        return held(ports.images.get(request.image_id), request.size_bytes, ports)
    return rested()


def log_of(directory: Path, number: int) -> str:
    """Name the file that gets the output of a worker."""
    return str(directory / f"worker-{number}.log")
