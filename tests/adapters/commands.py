"""What a run of the command line did; the fixture `run` makes one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from imagevol_adapters.cli import main
from tests.schemas import check_answer


@attrs.frozen
class Ran:
    """What a run of the command line did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """Run the command line in this process; an answer in JSON is held to the schema of its command."""
    capsys.readouterr()
    with logging_as_before():
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse
            status = int(end.code or 0)
    done = Ran(status, *capsys.readouterr())
    check_answer(arguments, done.out)
    return done


@contextmanager
def logging_as_before() -> Iterator[None]:
    """The application sets up the loggers, as it may in a process of its own."""
    loggers = {name: logging.getLogger(name) for name in (None, *logging.root.manager.loggerDict)}
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers.values()]
    try:
        yield
    finally:
        for name in logging.root.manager.loggerDict.keys() - loggers.keys():
            logging.getLogger(name).setLevel(logging.NOTSET)
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers


def metrics_in(file: Path, name: str) -> dict[str, float]:
    """The values of one metric by its labels in alphabetical order, such as `failed import slow`."""
    return {
        " ".join(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
        if sample.name == f"imagevol_{name}"
    }
