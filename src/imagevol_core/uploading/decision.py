"""The way from a volume to an image: register a clone or copy, in whose project, with which headers ([clone], [base]).

A clone costs no data transfer and is wanted wherever nothing forbids it; whatever then goes wrong, the clone is deleted
and the volume copied.
"""

from __future__ import annotations

from imagevol_core.facts import Image, Requester, Volume, VolumeType
from imagevol_core.marks import ImageVolumeMetadata
from imagevol_core.sizing import GIB
from imagevol_core.uploading.facts import Upload, UploadAction, UploadFailure, UploadPlan, UploadSettings, UploadStep
from imagevol_core.uploading.headers import upload_headers
from imagevol_core.uploading.rules import UPLOAD_RULES, image_bare, image_raw
from imagevol_core.verdicts import Policy, Verdict, evaluate, failed, table_of

__all__ = ["plan_upload"]


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
        image: the image that waits for its data, with the formats that it will have.
        volume_type: the volume's; None if it is not known.
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
    upload = Upload(
        volume=volume,
        image=image,
        volume_type=volume_type,
        base_image_id=base_image_id,
        requester=requester,
        settings=settings,
    )
    verdicts = evaluate(table_of(UPLOAD_RULES, policy), upload)
    return table_of(_PLANS, policy)(upload, not failed(verdicts), verdicts)


# The plans.
_COPY = (UploadStep(action=UploadAction.COPY),)


def _plan(upload: Upload, registers: bool, verdicts: tuple[Verdict, ...]) -> UploadPlan:
    raw = image_raw(upload)[0] and image_bare(upload)[0]
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


def _plan_upstream(upload: Upload, registers: bool, verdicts: tuple[Verdict, ...]) -> UploadPlan:
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


def _tenant_upstream(upload: Upload) -> str | None:
    """Where the internal tenant is wanted and not configured, silently the user's."""
    return upload.project_id or upload.requester.project_id
