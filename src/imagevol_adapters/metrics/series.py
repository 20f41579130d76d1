"""Every metric there is: a row each, with the values that its labels can have, so that their number is known.

No label has an id, a name of an image or anything else that a user writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import product

import attrs

from imagevol_core import LocationOutcome, Policy, Way
from imagevol_core.templates import PRUNING_RULES

__all__ = [
    "AUDIT",
    "COMMAND",
    "CP",
    "DRIVER",
    "LEFT",
    "LOCATIONS",
    "STORE",
    "TABLES",
    "TEMPLATES",
    "Kind",
    "Sample",
    "Series",
    "series_of",
]


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
        only: the values of the labels that have a known set, where not all combinations of them occur.
    """

    name: str
    kind: Kind
    help: str
    unit: str = "1"
    labels: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    only: tuple[tuple[str, ...], ...] | None = None

    def combinations(self, chosen: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """Give the labels of each sample that the metric can have.

        Args:
            chosen: the values of the labels that the operator chooses.
        """
        known = {name: values for name, values in self.labels.items() if name not in chosen}
        fixed = {name: chosen[name] for name in self.labels if name in chosen}
        for each in self.only or product(*known.values()):
            yield {**fixed, **dict(zip(known, each, strict=True))}


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
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "command": (
        *("cp", "get", "locations apply", "locations plan", "locations undo", "put"),
        *("templates list", "templates prune", "templates warm"),
    )
}
_COPIES: Mapping[str, tuple[str, ...]] = {"store": (), "way": ("clone", "import")}
_COPIED = (
    *(("clone", "done"), ("clone", "failed"), ("import", "done"), ("import", "failed")),
    *(("none", "done"), ("none", "refused")),
)
_CERTAINTY = ("likely", "sure")
_WAYS = (
    Way.CLONE_IMAGE_VOLUME.value,
    Way.CLONE_TEMPLATE.value,
    Way.CREATE_TEMPLATE.value,
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
        help="Volumes that were cloned from a template that was ready.",
        labels=_BACKEND,
    ),
    "template_evictions": Series(
        name="imagevol_driver_template_evictions_total",
        kind=Kind.COUNTER,
        help="Templates that the driver deleted, to make room or because a newer one took their place.",
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
        help="Images that were stored or read to the end.",
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
        help="Bytes that the last run of the command moved itself.",
        unit="By",
        labels=_COMMAND,
    ),
    "seconds": Series(
        name="imagevol_command_transfer_seconds",
        kind=Kind.GAUGE,
        help="Seconds that the last run of the command took, with the time to attach the volume.",
        unit="s",
        labels=_COMMAND,
    ),
    "last_success": Series(
        name="imagevol_command_last_success_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When the command last ended without a failure; 0 if something failed in its last run.",
        unit="s",
        labels=_COMMANDS,
    ),
}
"""What commands write with `--metrics`: the last success all of them, bytes and seconds `put` and `get`."""

CP = {
    "images": Series(
        name="imagevol_cp_images",
        kind=Kind.GAUGE,
        help="Images of the last run, by the way in which they came to the store and by what became of them.",
        labels={**_COPIES, "way": ("clone", "import", "none"), "outcome": ("done", "failed", "refused")},
        only=_COPIED,
    ),
    "bytes": Series(
        name="imagevol_cp_transfer_bytes",
        kind=Kind.GAUGE,
        help="Bytes of the images that the last run brought to the store.",
        unit="By",
        labels=_COPIES,
    ),
    "seconds": Series(
        name="imagevol_cp_transfer_seconds",
        kind=Kind.GAUGE,
        help="Seconds that the last run spent on images, added up over those that were copied at the same time.",
        unit="s",
        labels=_COPIES,
    ),
}
"""What `imagevol cp` writes with `--metrics`."""

LOCATIONS = {
    "planned": Series(
        name="imagevol_locations_planned",
        kind=Kind.GAUGE,
        help="Locations that the last plan found, by what becomes of them.",
        labels={"outcome": tuple(outcome.value for outcome in LocationOutcome)},
    ),
    "images": Series(
        name="imagevol_locations_images",
        kind=Kind.GAUGE,
        help="Images that the last run changed, changed back, failed to change, or found to be deleted.",
        labels={"outcome": ("done", "undone", "failed", "gone")},
    ),
}
"""What `imagevol locations` writes with `--metrics`: `planned` of a plan, `images` of a change."""

TEMPLATES = {
    "found": Series(
        name="imagevol_templates_found",
        kind=Kind.GAUGE,
        help="Templates that the last list has, by their state.",
        labels={"state": tuple(rule.id for rule in PRUNING_RULES[Policy.STRICT])},
    ),
    "warmed": Series(
        name="imagevol_templates_warmed",
        kind=Kind.GAUGE,
        help="Templates that the last run should have created, by what became of them.",
        labels={"outcome": ("made", "ready", "not-needed", "refused", "failed")},
    ),
    "pruned": Series(
        name="imagevol_templates_pruned",
        kind=Kind.GAUGE,
        help="Templates that the last run should have deleted, by what became of them.",
        labels={"outcome": ("deleted", "failed")},
    ),
}
"""What `imagevol templates` writes with `--metrics`: `found` of a list, `warmed` and `pruned` of these commands."""

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


TABLES: Mapping[str, Mapping[str, Series]] = {
    "driver": DRIVER,
    "store": STORE,
    "command": COMMAND,
    "audit": AUDIT,
    "cp": CP,
    "locations": LOCATIONS,
    "templates": TEMPLATES,
}
"""All metrics, by what writes them."""


def series_of(table: Mapping[str, Series], **chosen: str) -> Iterator[tuple[Series, dict[str, str]]]:
    """Give every series that a table can have for one store or backend.

    Args:
        table: one of `TABLES`.
        chosen: the values of the labels that the operator chooses.

    >>> len(list(series_of(DRIVER, backend="fast"))), len(list(series_of(STORE, store="fast")))
    (10, 10)
    """
    for series in table.values():
        for labels in series.combinations(chosen):
            yield series, labels
