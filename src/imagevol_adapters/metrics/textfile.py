"""The textfile format of node_exporter, written in one step.

prometheus_client has a writer too.  It is not used: it would have to be installed beside cinder-volume and glance-api
for these forty lines, its counters belong to one registry of a process, and its file is not flushed before it is
renamed.  The tests read what is written here with its parser, and with promtool if there is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from imagevol_adapters.metrics.series import Sample, Series
from imagevol_adapters.replacing import replace_file

__all__ = ["BEGINS", "exposition", "write_textfile"]

BEGINS = b"# HELP imagevol_"
"""What each file begins with, by which an earlier file is told from any other."""

_MODE = 0o644  # node_exporter runs as another user


def exposition(samples: Iterable[Sample], *, more: Mapping[str, str] | None = None) -> str:
    r"""Give samples in the text format of Prometheus.

    Args:
        samples: each series once for the same labels.
        more: labels that all of them have.

    >>> from imagevol_adapters.metrics import COMMAND, Sample
    >>> print(exposition([Sample(series=COMMAND["bytes"], labels={"command": "put"}, value=5)]), end="")
    # HELP imagevol_command_transfer_bytes Bytes that the last run of the command moved itself.
    # TYPE imagevol_command_transfer_bytes gauge
    imagevol_command_transfer_bytes{command="put"} 5
    """
    by_series: dict[str, tuple[Series, list[str]]] = {}
    for sample in samples:
        _, lines = by_series.setdefault(sample.series.name, (sample.series, []))
        labels = {**sample.labels, **(more or {})}
        named = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
        lines.append(f"{sample.series.name}{f'{{{named}}}' if named else ''} {_number(sample.value)}")
    return "".join(
        f"# HELP {name} {series.help}\n# TYPE {name} {series.kind.value}\n" + "\n".join(sorted(lines)) + "\n"
        for name, (series, lines) in sorted(by_series.items())
    )


def write_textfile(path: Path, samples: Iterable[Sample], *, more: Mapping[str, str] | None = None) -> None:
    """Write samples to a file that node_exporter reads; an earlier file of imagevol is replaced in one step.

    Args:
        path: of the file; node_exporter reads the names that end with `.prom`.
        samples: at least one.
        more: labels that all of them have.

    Raises:
        RequestRefused: it cannot be written, or the file is something else.
    """
    text = exposition(samples, more=more)
    replace_file(path, text.encode(errors="backslashreplace"), begins=BEGINS, mode=_MODE)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
