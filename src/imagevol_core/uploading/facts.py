"""What the rules of an upload look at, and the steps that they come to ([clone])."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from imagevol_core.facts import Image, Requester, Volume, VolumeType
from imagevol_core.verdicts import Policy, Verdict

__all__ = ["STORE_SPEC", "UploadAction", "UploadFailure", "UploadPlan", "UploadSettings", "UploadStep"]


STORE_SPEC = "image_service:store_id"  # the extra spec of a volume type that names a store


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSettings:
    """What the operator allows of uploads.

    Args:
        use_cinder_backend: whether a clone is registered (Cinder's `image_upload_use_cinder_backend`).
        use_internal_tenant: whether the clone is Cinder's and not the user's (`image_upload_use_internal_tenant`).
        internal_tenant: the project of Cinder's internal tenant; None if it is not configured.
    """

    use_cinder_backend: bool = False
    use_internal_tenant: bool = False
    internal_tenant: str | None = None


class UploadAction(Enum):
    """One step of an upload.

    `CLONE`, `MARK`, `MARK_READ_ONLY`, `REGISTER` and `CHECK_REGISTERED` register a clone.  `COPY` sends the data to
    Glance.  `FAIL`: the upload fails; only under `UPSTREAM`.
    """

    CLONE = "clone"
    MARK = "mark"
    MARK_READ_ONLY = "mark-read-only"
    REGISTER = "register"
    CHECK_REGISTERED = "check-registered"
    COPY = "copy"
    FAIL = "fail"


class UploadFailure(Enum):
    """How the registration of a clone can fail.

    `OVER_QUOTA` and `CLONE_FAILED`: there is no clone.  `LOCATION_INVALID`, `IMAGE_NOT_FOUND`, `NOT_ALLOWED`,
    `CONFLICT` and `SERVICE_FAILED`: Glance answers 400, 404, 401 or 403, 409, or an error of its own.
    `NOT_REGISTERED`: Glance takes the location, and drops it in the background.
    """

    OVER_QUOTA = "over-quota"
    CLONE_FAILED = "clone-failed"
    LOCATION_INVALID = "location-invalid"
    IMAGE_NOT_FOUND = "image-not-found"
    NOT_ALLOWED = "not-allowed"
    CONFLICT = "conflict"
    SERVICE_FAILED = "service-failed"
    NOT_REGISTERED = "not-registered"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStep:
    """One step of an upload.

    Attributes:
        action: what is done.
        metadata: what is written on the clone, where that is the step.
    """

    action: UploadAction
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """How a volume becomes an image.

    Attributes:
        policy: whose rules decided.
        registers: whether a clone is registered; if not, the volume is copied.
        steps: in order; those of a copy where nothing is registered.
        project_id: the project of the clone; None if none is made.
        store: the store that the location names and the copy goes to; None leaves it to Glance.
        location_metadata: what is sent to Glance beside the location.
        headers: what is sent with a copy, be it the plan or what a registration falls back to.
        falls_back_on: the failures after which the clone is deleted and the volume copied; after any other the upload
            has failed (under `UPSTREAM`, that a location is not registered in the end goes unnoticed).
        leaves_clone_on: the failures after which the clone is left behind.
        refused: how the upload fails whatever happens; None if it does not.
        verdicts: what each rule said.
    """

    policy: Policy
    registers: bool
    steps: tuple[UploadStep, ...]
    project_id: str | None
    store: str | None
    location_metadata: Mapping[str, str] = field(hash=False)
    headers: Mapping[str, str] = field(hash=False)
    falls_back_on: frozenset[UploadFailure]
    leaves_clone_on: frozenset[UploadFailure]
    refused: str | None = None
    verdicts: tuple[Verdict, ...]

    @property
    def outcome(self) -> UploadAction:
        """`REGISTER`, `COPY` or `FAIL`, whichever it comes to where nothing goes wrong.

        Glance 33 refuses a location that comes with metadata, and a registration that Cinder plans so ends as a copy.
        """
        if self.refused is not None:
            return UploadAction.FAIL
        return UploadAction.REGISTER if self.registers and not self.location_metadata else UploadAction.COPY

    def location(self, volume_id: str) -> str:
        """Give the location of the clone.

        >>> from imagevol_core import Requester, plan_upload
        >>> plan = plan_upload(Volume(id="v", size_gib=1), image=Image(id="i"), volume_type=None,
        ...                    base_image_id=None, requester=Requester(), settings=UploadSettings())
        >>> plan.location("9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1")
        'cinder://9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'
        """
        return f"cinder://{self.store}/{volume_id}" if self.store else f"cinder://{volume_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    volume: Volume
    image: Image
    volume_type: VolumeType | None
    base_image_id: str | None
    requester: Requester
    settings: UploadSettings

    @property
    def store(self) -> str | None:
        """The store of the volume's type; an empty name is none."""
        return (self.volume_type.extra_specs.get(STORE_SPEC) if self.volume_type else None) or None

    @property
    def owner(self) -> str | None:
        """Whose the image is."""
        return self.image.owner if self.image.owner is not None else self.requester.project_id

    @property
    def project_id(self) -> str | None:
        """The project that will own the clone."""
        return self.settings.internal_tenant if self.settings.use_internal_tenant else self.requester.project_id
