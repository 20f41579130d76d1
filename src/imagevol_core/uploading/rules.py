"""The rules of an upload: what must hold so that a clone is registered ([clone])."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.locations import is_store_name
from imagevol_core.sentences import answered, said
from imagevol_core.uploading.facts import Upload
from imagevol_core.verdicts import Policy, Requirement

__all__ = ["UPLOAD_RULES"]


# The rules about registering a clone.


def _registration_enabled(upload: Upload) -> tuple[bool, str]:
    enabled = upload.settings.use_cinder_backend
    return enabled, f"image_upload_use_cinder_backend is {enabled}"


def image_raw(upload: Upload) -> tuple[bool, str]:
    disk_format = upload.image.disk_format
    return disk_format == "raw", f"the image's disk_format will be {said(disk_format)}"


def image_bare(upload: Upload) -> tuple[bool, str]:
    container = upload.image.container_format
    return container == "bare", f"the image's container_format will be {said(container)}"


def _volume_not_encrypted(upload: Upload) -> tuple[bool, str]:
    encrypted = upload.volume.encrypted
    return encrypted is False, answered(encrypted, "the volume is encrypted", "the volume is not encrypted")


def _tenant_known(upload: Upload) -> tuple[bool, str]:
    wanted = "the internal tenant" if upload.settings.use_internal_tenant else "the project that uploads"
    return bool(upload.project_id), f"the clone belongs to {wanted}, which is {said(upload.project_id)}"


def _owner_known(upload: Upload) -> tuple[bool, str]:
    return bool(upload.owner), f"the image's owner is {said(upload.owner)}"


def _type_known(upload: Upload) -> tuple[bool, str]:
    named = upload.volume_type
    return named is not None, f"the volume's type is {said(named.name if named else None)}"


def _store_valid(upload: Upload) -> tuple[bool, str]:
    valid = upload.store is None or is_store_name(upload.store)
    return valid, f"the volume's type names {f'store {said(upload.store)}' if upload.store else 'no store'}"


_SPEC = "[clone]"
_UPLOAD = "cinder VolumeManager.copy_volume_to_image"
_REGISTER = "cinder VolumeManager._clone_image_volume_and_add_location"
UPLOAD_RULES: Mapping[Policy, tuple[Requirement[Upload], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="registration-enabled",
            text="`image_upload_use_cinder_backend` is set",
            source=_SPEC,
            holds=_registration_enabled,
        ),
        Requirement(id="image-raw", text="the image must be raw", source=_SPEC, holds=image_raw),
        Requirement(id="image-bare", text="the image must be bare", source=_SPEC, holds=image_bare),
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
        Requirement(id="image-raw", text="the image must be raw", source=_REGISTER, holds=image_raw),
        Requirement(id="image-bare", text="the image must be bare", source=_REGISTER, holds=image_bare),
    ),
}
