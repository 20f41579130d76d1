"""What the rules look at: the request, and each image volume that a location names ([clone])."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from imagevol_core.facts import Backend, Image, Volume, refuse_text
from imagevol_core.locations import UnreadLocation
from imagevol_core.marks import ImageVolumeMetadata, UnreadMetadata

__all__ = ["CloneCandidate", "CloneRequest", "CloneSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneSettings:
    """What the operator allows of clones.

    Args:
        allowed_direct_url_schemes: Cinder's option of that name.
        trusted_projects: ids of the projects in which no user can write a volume's metadata: the one that the stores
            keep image volumes in, and Cinder's internal tenant.
        enforce_signatures: whether a signed image must have been verified (Cinder's `verify_glance_signatures`).

    Raises:
        InvalidFact: a text is given in place of several texts.
    """

    allowed_direct_url_schemes: tuple[str, ...] = ()
    trusted_projects: frozenset[str] = frozenset()
    enforce_signatures: bool = False

    def __post_init__(self) -> None:
        """Refuse a text, of which each letter would count."""
        refuse_text("CloneSettings.allowed_direct_url_schemes", self.allowed_direct_url_schemes)
        refuse_text("CloneSettings.trusted_projects", self.trusted_projects)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneRequest:
    """What the rules about the image and the target look at."""

    image: Image
    target: Volume
    backend: Backend
    settings: CloneSettings
    volume_ids: tuple[str, ...]
    not_locations: tuple[UnreadLocation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneCandidate:
    """What the rules about one image volume look at."""

    request: CloneRequest
    found: Volume | None
    record: ImageVolumeMetadata | UnreadMetadata | None

    @property
    def volume(self) -> Volume:
        """The volume, for the rules after the gate `volume-found`."""
        return cast(Volume, self.found)

    @property
    def trusted(self) -> bool:
        """Whether the volume lives in a project in which no user can write a volume's metadata."""
        return self.volume.project_id in self.request.settings.trusted_projects

    @property
    def own_record(self) -> bool:
        """Whether only the store and Cinder can have written the volume's record.

        Cinder copies a user's metadata onto the clone that it makes of a user's volume in its internal tenant.
        """
        return self.trusted and self.volume.source_volume_id is None
