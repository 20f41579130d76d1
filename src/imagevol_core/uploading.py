"""The way from a volume to an image: register a clone or copy, in whose project, with which headers ([clone], [base]).

A clone costs no data transfer and is wanted wherever nothing forbids it; whatever then goes wrong, the clone is deleted
and the volume copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from imagevol_core.errors import InvalidFact, InvalidSize
from imagevol_core.facts import Image, Requester, Volume, VolumeType
from imagevol_core.locations import is_store_name
from imagevol_core.metadata import ImageVolumeMetadata
from imagevol_core.selection import StoreSelection
from imagevol_core.sentences import answered, said
from imagevol_core.sizing import GIB
from imagevol_core.stores import StoreCatalogue, is_associated
from imagevol_core.verdicts import Policy, Requirement, Result, Verdict, evaluate, failed

__all__ = [
    "STORE_SPEC",
    "UPLOAD_RULES",
    "UploadAction",
    "UploadFailure",
    "UploadLanding",
    "UploadPlan",
    "UploadSettings",
    "UploadStep",
    "check_location",
    "plan_upload",
    "upload_headers",
]

STORE_SPEC = "image_service:store_id"  # the extra spec of a volume type that names a store


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSettings:
    """What the operator allows.

    Args:
        use_cinder_backend: whether a clone is registered (Cinder's `image_upload_use_cinder_backend`).
        use_internal_tenant: whether the clone is Cinder's and not the user's (`image_upload_use_internal_tenant`).
        internal_tenant: the project of Cinder's internal tenant; None where it is not configured.
    """

    use_cinder_backend: bool = False
    use_internal_tenant: bool = False
    internal_tenant: str | None = None


class UploadAction(Enum):
    """What is done in one step of an upload; `FAIL` is only of `UPSTREAM`."""

    CLONE = "clone"
    MARK = "mark"
    MARK_READ_ONLY = "mark-read-only"
    REGISTER = "register"
    CHECK_REGISTERED = "check-registered"
    COPY = "copy"
    FAIL = "fail"


class UploadFailure(Enum):
    """What can go wrong with a registration."""

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
        project_id: whose the clone is; None where none is made.
        store: the store that the location names and the copy goes to; None leaves it to Glance.
        location_metadata: what is sent to Glance beside the location.
        headers: what is sent with a copy, be it the plan or what a registration falls back to.
        falls_back_on: the failures after which the clone is deleted and the volume copied; after any other the upload
            has failed (under `UPSTREAM`, that a location is not registered in the end goes unnoticed).
        leaves_clone_on: the failures after which the clone is left behind.
        refused: how the upload fails whatever happens; None where it does not.
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

        >>> plan = plan_upload(Volume(id="v", size_gib=1), image=Image(id="i"), volume_type=None,
        ...                    base_image_id=None, requester=Requester(), settings=UploadSettings())
        >>> plan.location("9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1")
        'cinder://9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'
        """
        return f"cinder://{self.store}/{volume_id}" if self.store else f"cinder://{volume_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
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
        """Whose the clone is to be."""
        return self.settings.internal_tenant if self.settings.use_internal_tenant else self.requester.project_id


def plan_upload(
    volume: Volume,
    *,
    image: Image,
    volume_type: VolumeType | None,
    base_image_id: str | None,
    requester: Requester,
    settings: UploadSettings,
    policy: Policy = Policy.STRICT,
) -> UploadPlan:
    """Plan how a volume becomes an image ([clone], [base]).

    Args:
        volume: what is uploaded.
        image: the image that waits for its data, with the formats that it is to have.
        volume_type: the volume's; None where it is not known.
        base_image_id: the image that the volume was created from (`image_id` of its own image metadata), if any.
        requester: who uploads.
        settings: what the operator allows.
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 does (`VolumeManager.copy_volume_to_image`).

    Returns:
        The steps, what they fall back to, and why.

    Raises:
        InvalidFact: the store of the type, or the id of the base image, cannot stand in a header.

    >>> plan = plan_upload(Volume(id="v", size_gib=1, encrypted=False),
    ...                    image=Image(id="i", owner="p", disk_format="raw", container_format="bare"),
    ...                    volume_type=VolumeType(name="fast", extra_specs={"image_service:store_id": "fast"}),
    ...                    base_image_id=None, requester=Requester(project_id="p"),
    ...                    settings=UploadSettings(use_cinder_backend=True))
    >>> [step.action.value for step in plan.steps]
    ['clone', 'mark', 'mark-read-only', 'register', 'check-registered']
    >>> plan.headers
    {'x-image-meta-store': 'fast', 'x-openstack-image-size': '1073741824'}
    """
    upload = _Upload(
        volume=volume,
        image=image,
        volume_type=volume_type,
        base_image_id=base_image_id,
        requester=requester,
        settings=settings,
    )
    verdicts = evaluate(UPLOAD_RULES[policy], upload)
    return _PLANS[policy](upload, not failed(verdicts), verdicts)


def check_location(volume: Volume, *, catalogue: StoreCatalogue) -> Verdict:
    """Say whether Glance takes a location in this volume, and in which store the image then is ([multi]).

    Glance 33.0.0 finds the store of a new `cinder://` location by the type of the volume, whatever the location says.
    It answers 202 first, and drops a location of no store in the background (`_UpdateLocationTask`).

    Args:
        volume: the clone, or what is to be cloned.
        catalogue: the stores of Glance, and Cinder's default type.

    Returns:
        A verdict of the rule `store-of-type`, whose subject is the store; None where Glance has but one, or none takes
        it.

    >>> from imagevol_core import Store
    >>> catalogue = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),))
    >>> check_location(Volume(id="v", size_gib=1, volume_type="ssd"), catalogue=catalogue).subject
    'fast'
    >>> check_location(Volume(id="v", size_gib=1, volume_type="disk"), catalogue=catalogue).ok
    False
    """
    if not catalogue.multi:
        return Verdict("store-of-type", Result.HOLDS, None, "Glance has one store, whose volumes may be of any type")
    named = said(volume.volume_type)
    for store in catalogue.stores:
        if is_associated(store, volume_type=volume.volume_type, default_volume_type=catalogue.default_volume_type):
            return Verdict("store-of-type", Result.HOLDS, store.name, f"store {store.name} has volumes of type {named}")
    return Verdict(
        "store-of-type", Result.FAILS, None, f"no store has volumes of type {named}, and Glance drops the location"
    )


@dataclass(frozen=True, slots=True)
class UploadLanding:
    """What an upload comes to, as far as is known of Glance's stores ([clone], [base]).

    Args:
        plan: what `plan_upload` says.
        location: what `check_location` says of the volume; None where the stores are not known.
        selection: what `select_stores` says of a copy; None where the stores are not known.

    >>> from imagevol_core import select_stores
    >>> plan = plan_upload(Volume(id="v", size_gib=1), image=Image(id="i"), volume_type=None,
    ...                    base_image_id=None, requester=Requester(), settings=UploadSettings())
    >>> sent = StoreSelection(primary="fast", copies=("slow",), verdicts=())
    >>> landing = UploadLanding(plan, location=None, selection=sent)
    >>> landing.outcome.value, landing.stores
    ('copy', ('fast', 'slow'))
    """

    plan: UploadPlan
    location: Verdict | None
    selection: StoreSelection | None

    @property
    def outcome(self) -> UploadAction:
        """That of the plan; where Glance drops the location, the data are copied."""
        dropped = self.location is not None and not self.location.ok
        return UploadAction.COPY if self.plan.outcome is UploadAction.REGISTER and dropped else self.plan.outcome

    @property
    def stores(self) -> tuple[str, ...] | None:
        """The stores that the image would be in; None where that is not known."""
        if self.outcome is UploadAction.COPY:
            return self.copied
        if self.outcome is UploadAction.FAIL:
            return ()
        if self.location is None:
            return None
        return (self.location.subject,) if self.location.subject else ()

    @property
    def copied(self) -> tuple[str, ...] | None:
        """The stores that a copy would be in; None where that is not known."""
        if self.selection is None:
            return None
        return tuple(store for store in (self.selection.primary, *self.selection.copies) if store)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every rule that was asked, of the upload and of the stores."""
        registered = (self.location,) if self.plan.registers and self.location else ()
        return (*self.plan.verdicts, *registered, *(self.selection.verdicts if self.selection else ()))


def upload_headers(
    *, store: str | None, base_image_id: str | None, size_bytes: int | None, policy: Policy = Policy.STRICT
) -> dict[str, str]:
    """Give the headers of an upload to Glance ([base]).

    Both the store and the base image are sent where both are known: that the store then decides alone is the
    receiver's rule.

    Args:
        store: of the volume's type; None or empty leaves the choice to Glance.
        base_image_id: the image that the volume was created from; None or empty where it was not.
        size_bytes: how much is sent, in bytes; None where that is not known beforehand.
        policy: whose headers.  Under `UPSTREAM` the size is not sent, as Cinder 29.0.0 does not
            (`GlanceClientWrapper.call`), so that a cinder store takes the image for one of unknown length.

    Raises:
        InvalidFact: a value cannot stand in a header.
        InvalidSize: the size is negative.

    >>> upload_headers(store="fast", base_image_id=None, size_bytes=17)
    {'x-image-meta-store': 'fast', 'x-openstack-image-size': '17'}
    """
    if size_bytes is not None and size_bytes < 0:
        raise InvalidSize("size_bytes", size_bytes, "give a size of 0 or more, or None where it is not known")
    for name, value in (("store", store), ("base_image_id", base_image_id)):
        if value and not (value.isascii() and value.isprintable()):
            raise InvalidFact(name, f"{value!a} cannot stand in a header; give printable ASCII")
    values = {
        "x-image-meta-store": store,
        "x-openstack-base-image-ref": base_image_id,
        "x-openstack-image-size": None if size_bytes is None else str(size_bytes),
    }
    return {name: value for name, value in values.items() if value and name in _SENT[policy]}


_SENT = {
    Policy.STRICT: frozenset({"x-image-meta-store", "x-openstack-base-image-ref", "x-openstack-image-size"}),
    Policy.UPSTREAM: frozenset({"x-image-meta-store", "x-openstack-base-image-ref"}),
}


# The plans.

_COPY = (UploadStep(action=UploadAction.COPY),)


def _plan(upload: _Upload, registers: bool, verdicts: tuple[Verdict, ...]) -> UploadPlan:
    raw = _image_raw(upload)[0] and _image_bare(upload)[0]
    size_bytes = upload.volume.size_gib * GIB
    record = ImageVolumeMetadata(image_id=upload.image.id, image_owner=upload.owner, size_bytes=size_bytes)
    registration = (
        UploadStep(action=UploadAction.CLONE),
        UploadStep(action=UploadAction.MARK, metadata=record.to_volume()),
        UploadStep(action=UploadAction.MARK_READ_ONLY),
        UploadStep(action=UploadAction.REGISTER),
        UploadStep(action=UploadAction.CHECK_REGISTERED),
    )
    return UploadPlan(
        policy=Policy.STRICT,
        registers=registers,
        steps=registration if registers else _COPY,
        project_id=upload.project_id if registers else None,
        store=upload.store,
        location_metadata={},  # Glance 33 takes it for validation data, and refuses a store in it
        headers=upload_headers(
            store=upload.store, base_image_id=upload.base_image_id, size_bytes=size_bytes if raw else None
        ),
        falls_back_on=frozenset(UploadFailure),
        leaves_clone_on=frozenset(),
        verdicts=verdicts,
    )


def _plan_upstream(upload: _Upload, registers: bool, verdicts: tuple[Verdict, ...]) -> UploadPlan:
    """Cinder clones before it looks at the volume's type, and asks for one also to copy."""
    owner = {"image_owner": upload.requester.project_id or ""}
    cloned = (
        UploadStep(action=UploadAction.CLONE),
        UploadStep(action=UploadAction.MARK_READ_ONLY),
        UploadStep(action=UploadAction.MARK, metadata=owner),
    )
    registered = (
        UploadStep(action=UploadAction.REGISTER),
        UploadStep(action=UploadAction.MARK, metadata={**owner, "glance_image_id": upload.image.id}),
    )
    fails = (UploadStep(action=UploadAction.FAIL),)
    typed = upload.volume_type is not None
    return UploadPlan(
        policy=Policy.UPSTREAM,
        registers=registers and typed,
        steps=(cloned if registers else ()) + (fails if not typed else registered if registers else _COPY),
        project_id=_tenant_upstream(upload) if registers else None,
        store=upload.store,
        location_metadata={"store": upload.store} if upload.store else {},
        headers=upload_headers(store=upload.store, base_image_id=upload.base_image_id, size_bytes=None),
        falls_back_on=_CAUGHT if typed else frozenset(),
        leaves_clone_on=frozenset(UploadFailure) - _CAUGHT - {UploadFailure.OVER_QUOTA},
        refused=None if typed else "Cinder fails with an AttributeError where a volume has no type",
        verdicts=verdicts,
    )


_PLANS = {Policy.STRICT: _plan, Policy.UPSTREAM: _plan_upstream}
_CAUGHT = frozenset({UploadFailure.CLONE_FAILED, UploadFailure.LOCATION_INVALID, UploadFailure.IMAGE_NOT_FOUND})


# The rules about registering a clone.


def _registration_enabled(upload: _Upload) -> tuple[bool, str]:
    enabled = upload.settings.use_cinder_backend
    return enabled, f"image_upload_use_cinder_backend is {enabled}"


def _image_raw(upload: _Upload) -> tuple[bool, str]:
    disk_format = upload.image.disk_format
    return disk_format == "raw", f"the image's disk_format will be {said(disk_format)}"


def _image_bare(upload: _Upload) -> tuple[bool, str]:
    container = upload.image.container_format
    return container == "bare", f"the image's container_format will be {said(container)}"


def _volume_not_encrypted(upload: _Upload) -> tuple[bool, str]:
    encrypted = upload.volume.encrypted
    return encrypted is False, answered(encrypted, "the volume is encrypted", "the volume is not encrypted")


def _tenant_known(upload: _Upload) -> tuple[bool, str]:
    wanted = "the internal tenant" if upload.settings.use_internal_tenant else "the project that uploads"
    return bool(upload.project_id), f"the clone belongs to {wanted}, which is {said(upload.project_id)}"


def _owner_known(upload: _Upload) -> tuple[bool, str]:
    return bool(upload.owner), f"the image's owner is {said(upload.owner)}"


def _type_known(upload: _Upload) -> tuple[bool, str]:
    named = upload.volume_type
    return named is not None, f"the volume's type is {said(named.name if named else None)}"


def _store_valid(upload: _Upload) -> tuple[bool, str]:
    valid = upload.store is None or is_store_name(upload.store)
    return valid, f"the volume's type names {f'store {said(upload.store)}' if upload.store else 'no store'}"


def _tenant_upstream(upload: _Upload) -> str | None:
    """Where the internal tenant is wanted and not configured, silently the user's."""
    return upload.project_id or upload.requester.project_id


_SPEC = "[clone]"
_UPLOAD = "cinder VolumeManager.copy_volume_to_image"
_REGISTER = "cinder VolumeManager._clone_image_volume_and_add_location"

UPLOAD_RULES: Mapping[Policy, tuple[Requirement[_Upload], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="registration-enabled",
            text="`image_upload_use_cinder_backend` is set",
            source=_SPEC,
            holds=_registration_enabled,
        ),
        Requirement(id="image-raw", text="the image must be raw", source=_SPEC, holds=_image_raw),
        Requirement(id="image-bare", text="the image must be bare", source=_SPEC, holds=_image_bare),
        Requirement(
            id="volume-not-encrypted",
            text="the volume is known not to be encrypted",
            source=_SPEC,
            holds=_volume_not_encrypted,
        ),
        Requirement(
            id="tenant-known",
            text="the project of the clone is known: the internal tenant if that is wanted",
            source=_SPEC,
            holds=_tenant_known,
        ),
        Requirement(
            id="owner-known",
            text="the image's owner, whom the clone must name, is known",
            source=_SPEC,
            holds=_owner_known,
        ),
        Requirement(
            id="type-known",
            text="the volume's type, which says the store, is known",
            source="[multi]",
            holds=_type_known,
        ),
        Requirement(
            id="store-valid",
            text="what the type names as store, if anything, can be one",
            source="[multi]",
            holds=_store_valid,
        ),
    ),
    Policy.UPSTREAM: (
        Requirement(
            id="registration-enabled",
            text="`image_upload_use_cinder_backend` is set",
            source=_UPLOAD,
            holds=_registration_enabled,
        ),
        Requirement(id="image-raw", text="the image must be raw", source=_REGISTER, holds=_image_raw),
        Requirement(id="image-bare", text="the image must be bare", source=_REGISTER, holds=_image_bare),
    ),
}
