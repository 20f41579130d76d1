"""Both ends of the pipe to a worker: a process that has one service's code imported and is asked many questions.

The services cannot be imported side by side, since both register options on one global object; and importing takes a
second, so that a worker lives as long as the tests.  A question and its answer are a line of JSON each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
# Where `nox -s upstream` unpacks earlier releases.
CINDER_28 = ROOT / ".nox/cinder-28"
SOLIDFIRE = ROOT / ".nox/cinder-13/cinder/volume/drivers/solidfire.py"


class Worker:
    """A worker process; it ends with the `with` block.

    Args:
        service: `cinder` or `glance_store`, whose `…_worker` module is run.
        database: the URL of an empty database for it; one in memory if None.
        earlier: the folder of an earlier release, whose code is imported in place of the one that is installed.
    """

    def __init__(self, service: str, database: str | None = None, *, earlier: Path | None = None) -> None:
        command = [sys.executable, "-m", f"tests.upstream.{service}_worker"]
        environment = os.environ | ({"IMAGEVOL_TESTS_DATABASE": database} if database else {})
        environment |= {"PYTHONPATH": str(earlier)} if earlier else {}
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()  # closes its input, at which it ends

    def ask(self, question: str, **facts: Any) -> Any:
        """Give the answer, or `{"raises": "…"}` where the service's code raises something."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([question, facts]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the worker has ended; what it said of that is on stderr"
        return json.loads(line)


def serve(questions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer questions until the input ends; what the services print goes to stderr."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        question, facts = json.loads(line)
        try:
            answer = questions[question](**facts)
        except Exception as error:  # noqa: BLE001 - that it raises, and what, is the answer
            answer = {"raises": type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)
