"""Metrics without a daemon: files that node_exporter reads, and OpenTelemetry if it is installed."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.metrics.recording import Recorder, recorder
    from imagevol_adapters.metrics.series import (
        AUDIT,
        COMMAND,
        CP,
        DRIVER,
        LEFT,
        LOCATIONS,
        STORE,
        TABLES,
        TEMPLATES,
        Kind,
        Sample,
        Series,
        series_of,
    )
    from imagevol_adapters.metrics.textfile import BEGINS, exposition, write_textfile
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "recording": ("Recorder", "recorder"),
            "series": (
                *("AUDIT", "COMMAND", "CP", "DRIVER", "LEFT", "LOCATIONS", "STORE", "TABLES", "TEMPLATES"),
                *("Kind", "Sample", "Series", "series_of"),
            ),
            "textfile": ("BEGINS", "exposition", "write_textfile"),
        },
    )

__all__ = [
    "AUDIT",
    "BEGINS",
    "COMMAND",
    "CP",
    "DRIVER",
    "LEFT",
    "LOCATIONS",
    "STORE",
    "TABLES",
    "TEMPLATES",
    "Kind",
    "Recorder",
    "Sample",
    "Series",
    "exposition",
    "recorder",
    "series_of",
    "write_textfile",
]
