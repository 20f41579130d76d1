"""Every metric there is: a row each, with the values that its labels can have, so that their number is known.

No label has an id, a name of an image or anything else that a user writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import product

import attrs

from imagevol_core import Way

__all__ = ["AUDIT", "COMMAND", "DRIVER", "LEFT", "STORE", "Kind", "Sample", "Series", "series_of"]


class Kind(Enum):
    """How a value changes: a counter only grows while its process runs."""

    COUNTER = "counter"
    GAUGE = "gauge"


@attrs.frozen(kw_only=True)
class Series:
    """A metric.

    Attributes:
        name: as Prometheus has it.
        kind: how its value changes.
        help: what it is, in one line.
        unit: of its values, as OpenTelemetry names it.
        labels: the names of its labels, with every value that each can have; of one without values, the operator
            chooses it in a configuration file.
    """

    name: str
    kind: Kind
    help: str
    unit: str = "1"
    labels: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Sample:
    """A value of a metric.

    Attributes:
        series: which.
        labels: a value for each label.
        value: the value.
    """

    series: Series
    labels: Mapping[str, str] = attrs.field(factory=dict)
    value: float


LEFT = "left-to-cinder"
"""The way of a volume that the driver leaves to Cinder."""

_BACKEND: Mapping[str, tuple[str, ...]] = {"backend": ()}
_STORE: Mapping[str, tuple[str, ...]] = {"store": (), "direction": ("read", "write")}
_COMMAND: Mapping[str, tuple[str, ...]] = {"command": ("get", "put")}
_CERTAINTY = ("likely", "sure")
_WAYS = (
    Way.CLONE_IMAGE_VOLUME.value,
    Way.CLONE_TEMPLATE.value,
    Way.CREATE_TEMPLATE.value,
    Way.AWAIT_TEMPLATE.value,
    LEFT,
)

DRIVER = {
    "volumes": Series(
        name="imagevol_driver_volumes_total",
        kind=Kind.COUNTER,
        help="Volumes that were requested from an image, by the way in which they were created.",
        labels={**_BACKEND, "way": _WAYS},
    ),
    "template_hits": Series(
        name="imagevol_driver_template_hits_total",
        kind=Kind.COUNTER,
        help="Volumes that were cloned from a template that existed already.",
        labels=_BACKEND,
    ),
    "transfer_bytes": Series(
        name="imagevol_driver_transfer_bytes_total",
        kind=Kind.COUNTER,
        help="Bytes of images that were written into new templates.",
        unit="By",
        labels=_BACKEND,
    ),
    "transfer_seconds": Series(
        name="imagevol_driver_transfer_seconds_total",
        kind=Kind.COUNTER,
        help="Seconds that were spent on filling new templates.",
        unit="s",
        labels=_BACKEND,
    ),
    "failures": Series(
        name="imagevol_driver_failures_total",
        kind=Kind.COUNTER,
        help="Requests that this driver left to Cinder because of an unexpected error.",
        labels=_BACKEND,
    ),
    "last_success": Series(
        name="imagevol_driver_last_success_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When the driver last created a volume from an image without Cinder's copy.",
        unit="s",
        labels=_BACKEND,
    ),
}
"""What the mixin of a Cinder driver counts."""

STORE = {
    "transfers": Series(
        name="imagevol_store_transfers_total",
        kind=Kind.COUNTER,
        help="Images that were stored or read to their end.",
        labels=_STORE,
    ),
    "bytes": Series(
        name="imagevol_store_transfer_bytes_total",
        kind=Kind.COUNTER,
        help="Bytes that were stored or read.",
        unit="By",
        labels=_STORE,
    ),
    "seconds": Series(
        name="imagevol_store_transfer_seconds_total",
        kind=Kind.COUNTER,
        help="Seconds that were spent on storing or reading, with attaching and detaching.",
        unit="s",
        labels=_STORE,
    ),
    "failures": Series(
        name="imagevol_store_failures_total",
        kind=Kind.COUNTER,
        help="Images that could not be stored or read.",
        labels=_STORE,
    ),
    "last_success": Series(
        name="imagevol_store_last_success_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When an image was last stored or read to its end.",
        unit="s",
        labels=_STORE,
    ),
}
"""What the store driver counts."""

COMMAND = {
    "bytes": Series(
        name="imagevol_command_transfer_bytes",
        kind=Kind.GAUGE,
        help="Bytes that the last run of the command moved.",
        unit="By",
        labels=_COMMAND,
    ),
    "seconds": Series(
        name="imagevol_command_transfer_seconds",
        kind=Kind.GAUGE,
        help="Seconds that the last run of the command took.",
        unit="s",
        labels=_COMMAND,
    ),
    "last_success": Series(
        name="imagevol_command_last_success_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When the command last succeeded.",
        unit="s",
        labels=_COMMAND,
    ),
}
"""What `imagevol put` and `imagevol get` write with `--metrics`."""

AUDIT = {
    "findings": Series(
        name="imagevol_audit_findings",
        kind=Kind.GAUGE,
        help="Findings of the last audit, by rule and certainty.",
        labels={"rule": (), "certainty": _CERTAINTY},
    ),
    "reclaimable": Series(
        name="imagevol_audit_reclaimable_bytes",
        kind=Kind.GAUGE,
        help="Bytes that the storage gives back when all findings are repaired.",
        unit="By",
    ),
    "last_success": Series(
        name="imagevol_audit_last_success_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When the last audit ended.",
        unit="s",
    ),
}
"""What `imagevol audit` writes with `--metrics`."""


def series_of(table: Mapping[str, Series], **chosen: str) -> Iterator[tuple[Series, dict[str, str]]]:
    """Give every series that a table can have for one store or backend.

    Args:
        table: `DRIVER`, `STORE`, `COMMAND` or `AUDIT`.
        chosen: the values of the labels that the operator chooses.

    >>> len(list(series_of(DRIVER, backend="fast"))), len(list(series_of(STORE, store="fast")))
    (10, 10)
    """
    for series in table.values():
        values = [(chosen[name],) if name in chosen else known for name, known in series.labels.items()]
        for each in product(*values):
            yield series, dict(zip(series.labels, each, strict=True))
