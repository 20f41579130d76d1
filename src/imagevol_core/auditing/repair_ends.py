"""What each step of a repair leaves, so that a step that was taken is not taken once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imagevol_core.auditing.facts import RepairAction
from imagevol_core.auditing.repair_facts import RepairStepFacts
from imagevol_core.custody import HOLD

__all__ = ["is_as_left"]


_RESERVED = "reserved"  # the status of an attachment that no host has connected by


def is_as_left(facts: RepairStepFacts) -> bool:
    """Tell whether everything is as a step leaves it."""
    leaves = _LEAVES.get(facts.step.action)
    return leaves is not None and leaves(facts)


def _volume_gone(facts: RepairStepFacts) -> bool:
    return facts.volume is None or facts.volume.status == "deleting"


def _image_gone(facts: RepairStepFacts) -> bool:
    return facts.image is None


def _attachment_gone(facts: RepairStepFacts) -> bool:
    return facts.attachment is None


def _never_connected(facts: RepairStepFacts) -> bool:
    return facts.attachment is None or facts.attachment.status == _RESERVED


def _file_gone(facts: RepairStepFacts) -> bool:
    return facts.file is None and facts.of_this_host


def _released(facts: RepairStepFacts) -> bool:
    return facts.volume is None or HOLD not in facts.volume.metadata


def _location_gone(facts: RepairStepFacts) -> bool:
    return facts.url not in facts.urls


def _metadata_there(facts: RepairStepFacts) -> bool:
    return facts.volume is None or dict(facts.step.arguments).items() <= facts.volume.metadata.items()


def _is_read_only(facts: RepairStepFacts) -> bool:
    return facts.volume is None or facts.volume.readonly is True


def _is_writable(facts: RepairStepFacts) -> bool:
    return facts.volume is None or facts.volume.readonly is False


def _withdrawn(facts: RepairStepFacts) -> bool:
    return facts.image is None or facts.image.status == "deactivated"


def _cloned(facts: RepairStepFacts) -> bool:
    return facts.clone is not None and facts.clone.status == "available"


_LEAVES: Mapping[RepairAction, Callable[[RepairStepFacts], bool]] = {
    RepairAction.CLONE_VOLUME: _cloned,
    RepairAction.DEACTIVATE_IMAGE: _withdrawn,
    RepairAction.DELETE_ATTACHMENT: _attachment_gone,
    RepairAction.DELETE_FILE: _file_gone,
    RepairAction.DELETE_IMAGE: _image_gone,
    RepairAction.DELETE_VOLUME: _volume_gone,
    RepairAction.DISCONNECT: _never_connected,
    RepairAction.RELEASE_HOLD: _released,
    RepairAction.REMOVE_LOCATION: _location_gone,
    RepairAction.SET_LOCATION: _location_gone,
    RepairAction.SET_METADATA: _metadata_there,
    RepairAction.SET_READ_ONLY: _is_read_only,
    RepairAction.SET_WRITABLE: _is_writable,
}
