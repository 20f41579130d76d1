"""The findings that `imagevol report` shows beside the images: those of `imagevol audit`, as far as one can be made."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from imagevol_adapters.cli.app import Imagevol
from imagevol_core import AuditSettings, ImagevolError, total_reclaimable_bytes

__all__ = ["audit_findings"]

_DELAYS = (
    "The option delayed_delete of Glance is not looked at: orphaned volumes are only likely. `imagevol audit "
    "--config-file` reads it."
)


def audit_findings(
    app: Imagevol, *, trusted_projects: Iterable[str], only_glance: bool, notes: list[str]
) -> tuple[list[dict[str, Any]], int] | None:
    """Make an audit, and give its findings in their JSON form, and what all repairs give back; None if it fails.

    Args:
        app: the services.
        trusted_projects: in which no user can write a volume's metadata.
        only_glance: whether no other Glance has volumes there, as the operator says.
        notes: takes what is not known, or why there is no audit, a sentence each.
    """
    from imagevol_adapters.cinder.whole_cloud import WholeCinder
    from imagevol_adapters.gathering import gather_audit, gather_catalogue

    try:
        catalogue = gather_catalogue(app.images, default_type=app.volumes.default_volume_type)
    except ImagevolError:
        catalogue = None  # which the audit tells
    settings = AuditSettings(
        now=datetime.now(UTC),
        trusted_projects=frozenset(trusted_projects),
        delayed_delete=True,
        only_glance=only_glance,
    )
    try:
        audit = gather_audit(
            images=app.images, volumes=WholeCinder(app.volumes), settings=settings, catalogue=catalogue
        )
        findings = list(audit.findings())
    except ImagevolError as error:
        notes.append(f"There are no findings, because no audit could be made: {error}")
        return None
    notes += [*audit.unseen, _DELAYS]
    return [finding.as_dict() for finding in findings], total_reclaimable_bytes(findings)
