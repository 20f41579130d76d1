"""The locations of a whole cloud: planned without a change, changed by a journal, and changed back ([multi])."""

from imagevol_adapters.relocating.applying import Migration, Outcome
from imagevol_adapters.relocating.changing import Changer
from imagevol_adapters.relocating.holding import Hold
from imagevol_adapters.relocating.journal import Entry, Journal, State, plan_id
from imagevol_adapters.relocating.moving import Mover
from imagevol_adapters.relocating.planning import PlannedImage, plan_images
from imagevol_adapters.relocating.services import LocationService, VolumeHolder

__all__ = [
    "Changer",
    "Entry",
    "Hold",
    "Journal",
    "LocationService",
    "Migration",
    "Mover",
    "Outcome",
    "PlannedImage",
    "State",
    "VolumeHolder",
    "plan_id",
    "plan_images",
]
