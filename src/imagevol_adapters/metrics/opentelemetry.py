"""What is counted, handed to OpenTelemetry's API if that is installed: its SDK, if there is one, exports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagevol_adapters.metrics.series import Kind, Series

__all__ = ["Instruments"]

_METER = "imagevol"


class Instruments:
    """One instrument for each series, made when it is first used; none if the API is not installed."""

    def __init__(self) -> None:
        """Look for the API when something is recorded."""
        self._meter: Any = None
        self._looked = False
        self._made: dict[str, Any] = {}

    def record(self, series: Series, value: float, labels: Mapping[str, str]) -> None:
        """Hand on a value.

        Args:
            series: which.
            value: how much more it is; of a gauge, how much it is.
            labels: a value for each label.
        """
        if not self._looked:
            self._looked = True
            self._meter = _meter()
        if self._meter is None:
            return
        instrument = self._made.get(series.name)
        if instrument is None:
            instrument = self._made[series.name] = self._new(series)
        if series.kind is Kind.COUNTER:
            instrument.add(value, attributes=dict(labels))
        elif instrument is not None:
            instrument.set(value, attributes=dict(labels))

    def _new(self, series: Series) -> Any:
        # Exporters for Prometheus add the unit and `_total` again.
        name = series.name.removesuffix("_total").replace("_", ".", 2)
        if series.kind is Kind.COUNTER:
            return self._meter.create_counter(name, unit=series.unit, description=series.help)
        return self._meter.create_gauge(name, unit=series.unit, description=series.help)


def _meter() -> Any:
    try:
        from opentelemetry import metrics  # noqa: PLC0415 - it need not be installed
    except ImportError:
        return None
    return metrics.get_meter(_METER)
