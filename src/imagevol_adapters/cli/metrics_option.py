"""The option `--metrics FILE` of the commands whose result a monitoring system can watch."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.cli.asking import tell
from imagevol_adapters.file_deadline import written_in_time
from imagevol_core import ImagevolError

if TYPE_CHECKING:
    from imagevol_adapters.metrics import Sample

__all__ = ["add_metrics_option", "check_metrics", "last_success", "transfer_samples", "write_metrics", "write_outcomes"]


def add_metrics_option(parser: argparse.ArgumentParser, *, besides: str = "") -> None:
    """Add the option.

    Args:
        parser: of the command.
        besides: what else its help says, after a semicolon.
    """
    parser.add_argument(
        "--metrics",
        type=Path,
        metavar="FILE",
        help="at the end, write metrics to FILE for the textfile collector of node_exporter, which reads names that "
        f"end with .prom; FILE stays as it is after an error{besides} (default: no metrics)",
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

        written_in_time(lambda: check_replaceable(file, begins=BEGINS), file)


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
        written_in_time(lambda: write_textfile(file, samples), file)
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

    for name, value in {"bytes": size_bytes, "seconds": round(seconds, 3)}.items():
        yield Sample(series=COMMAND[name], labels={"command": command}, value=value)
    yield last_success(command, failed=False)


def write_outcomes(file: Path | None, command: str, metric: str, outcomes: Iterable[str]) -> None:
    """Write how often each outcome of a command came, also if it never did, and its last success.

    Args:
        file: that the option names; None if it was not given.
        command: two words, of which the first names the table of metrics.
        metric: the name of a metric in that table, with one label.
        outcomes: a value of the label for each thing; others are left out.
    """
    if file is None:
        return
    from imagevol_adapters.metrics import TABLES, Sample

    series, counted = TABLES[command.partition(" ")[0]][metric], Counter(outcomes)
    ((label, values),) = series.labels.items()
    samples = [Sample(series=series, labels={label: value}, value=counted[value]) for value in values]
    write_metrics(file, [*samples, last_success(command, failed=counted["failed"] > 0)])


def last_success(command: str, *, failed: bool) -> Sample:
    """Give the time of the last success of a command that has ended now.

    Args:
        command: the command.
        failed: whether something failed; then it is 0, so that an alert sees it at once.
    """
    from imagevol_adapters.metrics import COMMAND, Sample

    at = 0 if failed else round(time.time(), 3)
    return Sample(series=COMMAND["last_success"], labels={"command": command}, value=at)
