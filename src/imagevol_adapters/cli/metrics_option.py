"""The option `--metrics FILE` of the commands whose result a monitoring system can watch."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.cli.asking import tell
from imagevol_core import ImagevolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagevol_adapters.metrics import Sample

__all__ = ["add_metrics_option", "check_metrics", "transfer_samples", "write_metrics"]


def add_metrics_option(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--metrics",
        type=Path,
        metavar="FILE",
        help="after success, write metrics to FILE for the textfile collector of node_exporter, which reads names that "
        "end with .prom (default: no metrics)",
    )


def check_metrics(file: Path | None) -> None:
    """Refuse a name that no metrics can be written to, before anything is done.

    Args:
        file: that the option names; None if it was not given.

    Raises:
        RequestRefused: the name belongs to something else, or its directory cannot be written to.
    """
    if file is not None:
        from imagevol_adapters.metrics import BEGINS
        from imagevol_adapters.replacing import check_replaceable

        check_replaceable(file, begins=BEGINS)


def write_metrics(file: Path | None, samples: Iterable[Sample]) -> None:
    """Write the metrics; if that fails, the standard error says so, because the command has done its work.

    Args:
        file: that the option names; None if it was not given.
        samples: at least one.
    """
    if file is None:
        return
    from imagevol_adapters.metrics import write_textfile

    try:
        write_textfile(file, samples)
    except ImagevolError as error:
        tell(f"The command has succeeded, but its metrics are lost: {error}")


def transfer_samples(command: str, *, size_bytes: int, seconds: float) -> Iterable[Sample]:
    """Give the metrics of a transfer that has succeeded now.

    Args:
        command: `put` or `get`.
        size_bytes: how many bytes were moved.
        seconds: how long it took.
    """
    from imagevol_adapters.metrics import COMMAND, Sample

    values = {"bytes": size_bytes, "seconds": round(seconds, 3), "last_success": round(time.time(), 3)}
    for name, value in values.items():
        yield Sample(series=COMMAND[name], labels={"command": command}, value=value)
