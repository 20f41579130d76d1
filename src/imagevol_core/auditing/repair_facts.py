"""What is known right before a step of a repair, and what a step can come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from imagevol_core.auditing.decision import Finding
from imagevol_core.auditing.facts import AuditSettings, RepairAction, RepairStep
from imagevol_core.auditing.file_rules import LeftFile
from imagevol_core.facts import Image, Volume
from imagevol_core.remains import AttachmentFacts
from imagevol_core.stores import StoreCatalogue

__all__ = ["OF_DATA", "OF_VOLUMES", "RepairStepFacts", "StepOutcome", "is_risky", "needs_clone"]

OF_DATA: frozenset[RepairAction] = frozenset(
    {
        RepairAction.DELETE_IMAGE,
        RepairAction.DELETE_VOLUME,
        RepairAction.REMOVE_LOCATION,  # with which Glance deletes the volume
        RepairAction.ZERO_TAIL,
    }
)
OF_VOLUMES: frozenset[RepairAction] = frozenset(
    {
        RepairAction.RELEASE_HOLD,
        RepairAction.SET_METADATA,
        RepairAction.SET_READ_ONLY,
        RepairAction.SET_WRITABLE,
        RepairAction.ZERO_TAIL,
    }
)
_RISKY = OF_DATA | {
    RepairAction.DEACTIVATE_IMAGE,
    RepairAction.DELETE_ATTACHMENT,
    RepairAction.DELETE_FILE,
    RepairAction.DISCONNECT,
    RepairAction.RELEASE_HOLD,  # without which the volume can be deleted
}


class StepOutcome(Enum):
    """What becomes of a step.

    `DONE`: nothing is left to do. The other three end the repair. `GONE`: the finding is not there any more. `SKIP`: it
    is not what it was. `REFUSE`: the step must not be taken, or not here.
    """

    ACT = "act"
    DONE = "done"
    GONE = "gone"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairStepFacts:
    """What is known right before a step.

    Args:
        step: the step.
        planned: the finding as it was when the operator agreed to its repair.
        found: the same finding as the audit gives it now; None if it gives none.
        settings: of the audit.
        image: the image of the step; None if there is none, or none any more.
        volume: the volume of the step, or of its attachment; None if there is none, or none any more.
        source: the volume that the volume of the step is a clone of; None if there is none, or none any more.
        attachment: the attachment of the step; None if there is none, or none any more.
        attachments: every attachment of the volume.
        file: the file of the step; None if there is none, or none any more.
        of_this_host: whether the file of the step is a file of this host.
        existing: the volumes of the image's locations that exist.
        recording: the volumes that say that they hold the image that the step deletes.
        others: those volumes, as Cinder shows them.
        claimants: the images whose locations name the volume of the step, or a volume of the image that it deletes.
        findings: everything that is wrong now with what was looked at again.
        begun: whether this repair has begun the step, or one that takes its subject away.
        clone: the clone that an earlier step made for the image; None if there is none.
        opened: whether an earlier step of this repair made the volume writable.
        include_likely: whether the operator includes what is only likely.
        project_id: the project of the credentials.
        host: the name of this host, as Cinder has it of attachments.
        holder: the id by which this repair holds volumes.
        catalogue: the stores of Glance; None if they are not known.
    """

    step: RepairStep
    planned: Finding
    found: Finding | None
    settings: AuditSettings
    image: Image | None = None
    volume: Volume | None = None
    source: Volume | None = None
    attachment: AttachmentFacts | None = None
    attachments: tuple[AttachmentFacts, ...] = ()
    file: LeftFile | None = None
    of_this_host: bool = True
    existing: frozenset[str] = frozenset()
    recording: tuple[Volume, ...] = ()
    others: tuple[Volume, ...] = ()
    claimants: tuple[Image, ...] = ()
    findings: tuple[Finding, ...] = ()
    begun: bool = False
    clone: Volume | None = None
    opened: bool = False
    include_likely: bool = False
    project_id: str | None = None
    host: str | None = None
    holder: str | None = None
    catalogue: StoreCatalogue | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs of the image's locations."""
        return tuple(location.url for location in self.image.locations) if self.image else ()

    @property
    def url(self) -> str:
        """The URL that the step is about; empty if it is about none."""
        return dict(self.step.arguments).get("url", "")


def is_risky(step: RepairStep) -> bool:
    """Tell whether a step takes something away that cannot be given back, or that its user has at hand.

    >>> from imagevol_core import Subject
    >>> is_risky(RepairStep(RepairAction.SET_READ_ONLY, Subject("volume", "7ad3")))
    False
    """
    return step.action in _RISKY


def needs_clone(step: RepairStep) -> bool:
    """Tell whether a step makes a clone for an image, or makes the image's location name it.

    >>> from imagevol_core import Subject
    >>> needs_clone(RepairStep(RepairAction.CLONE_VOLUME, Subject("volume", "7ad3"), (("image", "i"),)))
    True
    """
    to_clone = step.action is RepairAction.SET_LOCATION and "store" not in dict(step.arguments)
    return to_clone or step.action is RepairAction.CLONE_VOLUME
