"""What must be so of an attachment before a step of a repair takes it back (CVE-2023-2088)."""

from __future__ import annotations

from typing import cast

from imagevol_core.auditing.facts import RepairAction
from imagevol_core.auditing.repair_facts import RepairStepFacts
from imagevol_core.remains import AttachmentFacts
from imagevol_core.sentences import said

__all__ = ["is_connected", "is_elsewhere", "is_of_an_instance", "is_reservation"]

_TAKES = (RepairAction.DISCONNECT, RepairAction.DELETE_ATTACHMENT)
_RESERVED = "reserved"  # the status of an attachment that no host has connected by


def is_of_an_instance(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether an attachment belongs to an instance."""
    if facts.step.action not in _TAKES:
        return False, "it takes no attachment back"
    attachment = _attachment(facts)
    if not attachment.instance_id:
        return False, f"attachment {attachment.id} is of no instance"
    command = f"openstack server remove volume {said(attachment.instance_id)} {attachment.volume_id}"
    return True, f"attachment {attachment.id} is of instance {said(attachment.instance_id)}: run `{command}`"


def is_reservation(attachment: AttachmentFacts) -> bool:
    """Tell whether no host and no instance has connected by an attachment: it only keeps the volume from others."""
    return attachment.status == _RESERVED and not attachment.instance_id


def is_elsewhere(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether an attachment belongs to another host, also if Cinder does not show its volume."""
    if facts.step.action not in _TAKES:
        return False, "it disconnects nothing"
    attachment = _attachment(facts)
    if attachment.status == _RESERVED:
        return False, f"attachment {attachment.id} is of no host"
    if facts.volume is None and attachment.host is None:
        return False, f"the volume of attachment {attachment.id} is gone"
    here = attachment.host is not None and attachment.host == facts.host
    text = f"attachment {attachment.id} is of host {said(attachment.host)}, and this is host {said(facts.host)}"
    return not here, text if here else f"{text}: repair it there, where the volume is disconnected too"


def is_connected(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether an attachment would be deleted because its volume is gone, and the volume is there."""
    if facts.step.action is not RepairAction.DELETE_ATTACHMENT:
        return False, "it deletes no attachment"
    if facts.volume is None:
        return False, f"Cinder has no volume {_attachment(facts).volume_id}"
    if any(each.action is RepairAction.DISCONNECT for each in facts.planned.repair):
        return False, "the volume was disconnected before"
    return True, f"volume {facts.volume.id} is there, and would stay connected: run the audit again"


def _attachment(facts: RepairStepFacts) -> AttachmentFacts:
    """The attachment, for the rules after the one that says that it is gone."""
    return cast(AttachmentFacts, facts.attachment)
