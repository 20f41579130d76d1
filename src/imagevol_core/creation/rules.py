"""The rules that `creation` walks: of the request, and of each way to a volume ([clone], [template]).

Every way that is open is tried; the order in which Cinder tries them, and where it stops, is in `upstream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from imagevol_core.caching import CacheEntry
from imagevol_core.creation.facts import Creation, CreationStep
from imagevol_core.creation.steps import (
    by_template,
    clone_cached,
    clone_image_volumes,
    copy,
    create_cached,
    from_snapshot,
)
from imagevol_core.facts import needs_conversion
from imagevol_core.sentences import said
from imagevol_core.sizing import image_fits
from imagevol_core.templates import TemplateAction
from imagevol_core.verdicts import Choice, Requirement, failed, joined

__all__ = ["STRICT_CREATION_RULES", "STRICT_WAY_RULES", "Steps"]


# Can the request be met at all?  Cinder's API creates a volume from a snapshot without a look at the rest of the image.
Predicate = Callable[[Creation], tuple[bool, str]]


def of_its_data(predicate: Predicate, creation: Creation) -> tuple[bool, str]:
    """Ask this of an image whose data becomes the volume, and of no other."""
    if creation.boot.snapshot_id is not None:
        return True, "the volume is not created from the image's data"
    return predicate(creation)


def _mapping_readable(creation: Creation) -> tuple[bool, str]:
    return not creation.boot.fault, creation.boot.text


def _image_active(creation: Creation) -> tuple[bool, str]:
    return creation.image.status == "active", f"the image's status is {said(creation.image.status)}"


def _image_fits(creation: Creation) -> tuple[bool, str]:
    verdict = image_fits(creation.image, size_gib=creation.target.size_gib)
    return verdict.ok, verdict.text


# Can this way be gone?


def _from_snapshot(creation: Creation) -> tuple[bool, str]:
    return creation.boot.snapshot_id is not None, creation.boot.text


def can_clone_image_volume(creation: Creation) -> tuple[bool, str]:
    clone = creation.clone
    if clone.eligible:
        return True, f"it can be cloned from volume {', or else '.join(source.id for source in clone.sources)}"
    return False, joined(failed(clone.verdicts))


def _clone_template(creation: Creation) -> tuple[bool, str]:
    return creation.template.action is TemplateAction.USE, creation.template.because


def _create_template(creation: Creation) -> tuple[bool, str]:
    if creation.template.action not in (TemplateAction.CREATE, TemplateAction.REPLACE):
        return False, creation.template.because
    convertible, text = can_convert(creation)
    if convertible or not needs_conversion(creation.image.disk_format):
        return True, creation.template.because
    return False, text


def _await_template(creation: Creation) -> tuple[bool, str]:
    return creation.template.action is TemplateAction.WAIT, creation.template.because


def can_clone_cached(creation: Creation) -> tuple[bool, str]:
    found = creation.found
    return bool(found.fresh), found.cannot_serve or f"the cache has {_volumes(found.fresh)}"


def can_create_cached(creation: Creation) -> tuple[bool, str]:
    found = creation.found
    if found.present:
        return False, f"the cache already has {_volumes(found.present)}"
    if not found.admitted:
        return False, found.cannot_admit
    convertible, text = can_convert(creation)
    return convertible, f"the cache has room for {found.newcomer_gib} GiB" if convertible else text


def can_convert(creation: Creation) -> tuple[bool, str]:
    """As Cinder counts, which copies: to it an ISO is another format than raw, although it converts nothing."""
    disk_format, allowed = creation.image.disk_format, creation.conversion.allowed
    text = f"the image's disk_format is {said(disk_format)}; images are {'' if allowed else 'not '}converted"
    return disk_format == "raw" or allowed, text


def _volumes(entries: Iterable[CacheEntry]) -> str:
    return f"volume {', '.join(entry.volume_id for entry in entries)}"


# The words that the sentences are made of, and the tables.
_SPEC = "[clone] [template]"
_API_VOLUMES = "cinder.api.v3.volumes.VolumeController._get_image_snapshot"
image_active = partial(of_its_data, _image_active)
MAPPING_READABLE = Requirement(
    id="mapping-readable",
    text="Cinder can read the image's `block_device_mapping`, if there is one",
    source=_API_VOLUMES,
    holds=_mapping_readable,
    gate=True,
)
FROM_SNAPSHOT = Choice(
    id="from-snapshot",
    text="create it from the snapshot at boot index 0 of `block_device_mapping`, and try nothing else",
    source=_API_VOLUMES,
    applies=_from_snapshot,
    outcome=from_snapshot,
    final=True,
)
STRICT_CREATION_RULES: tuple[Requirement[Creation], ...] = (
    MAPPING_READABLE,
    Requirement(id="image-active", text="the image is active", source=_SPEC, holds=image_active),
    Requirement(
        id="image-fits",
        text="the image, as stored, as a disk, and its min_disk, fits the new volume",
        source=_SPEC,
        holds=partial(of_its_data, _image_fits),
    ),
)
Steps = Callable[[Creation], tuple[CreationStep, ...]]
STRICT_WAY_RULES: tuple[Choice[Creation, Steps], ...] = (
    FROM_SNAPSHOT,
    Choice(
        id="clone-image-volume",
        text="clone a volume that a location names",
        source="[clone]",
        applies=can_clone_image_volume,
        outcome=clone_image_volumes,
    ),
    Choice(
        id="clone-template",
        text="clone the template",
        source="[template]",
        applies=_clone_template,
        outcome=by_template,
    ),
    Choice(
        id="clone-cached",
        text="clone a cached volume",
        source="[clone]",
        applies=can_clone_cached,
        outcome=clone_cached,
    ),
    Choice(
        id="create-template",
        text="make the template, and clone it",
        source="[template]",
        applies=_create_template,
        outcome=by_template,
    ),
    Choice(
        id="await-template",
        text="wait for the template that another request is creating, and clone it",
        source="[template]",
        applies=_await_template,
        outcome=by_template,
    ),
    Choice(
        id="create-cached",
        text="make a cached volume, and clone it",
        source="[clone]",
        applies=can_create_cached,
        outcome=create_cached,
    ),
    Choice(id="copy", text="copy the image", source="[clone]", applies=can_convert, outcome=copy),
)
