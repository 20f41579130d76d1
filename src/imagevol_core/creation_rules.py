"""The rules that `creation` walks: of the request, and of each way to a volume ([clone], [template]).

`STRICT` goes every way that is open; `UPSTREAM` is the order in which Cinder 29.0.0 tries them, and where it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from imagevol_core.caching import CacheEntry
from imagevol_core.creation_facts import Creation, CreationStep
from imagevol_core.creation_steps import (
    by_driver,
    by_template,
    clone_cached,
    clone_cached_upstream,
    clone_image_volumes,
    copy,
    copy_upstream,
    create_cached,
    create_cached_upstream,
    from_snapshot,
)
from imagevol_core.facts import PLAIN_FORMATS
from imagevol_core.sentences import said
from imagevol_core.sizing import image_fits
from imagevol_core.templates import TemplateAction
from imagevol_core.verdicts import Choice, Policy, Requirement, evaluate, failed, joined

__all__ = ["CREATION_RULES", "STOP_RULES", "WAY_RULES"]


# Can the request be met at all?  Cinder's API creates a volume from a snapshot without a look at the rest of the image.

Predicate = Callable[[Creation], tuple[bool, str]]


def _of_its_data(predicate: Predicate) -> Predicate:
    """The same rule, asked only of an image whose data becomes the volume."""

    def asked(creation: Creation) -> tuple[bool, str]:
        if creation.boot.snapshot_id is not None:
            return True, "the volume is not created from the image's data"
        return predicate(creation)

    return asked


def _mapping_readable(creation: Creation) -> tuple[bool, str]:
    return not creation.boot.fault, creation.boot.text


@_of_its_data
def _image_active(creation: Creation) -> tuple[bool, str]:
    return creation.image.status == "active", f"the image's status is {said(creation.image.status)}"


@_of_its_data
def _image_fits(creation: Creation) -> tuple[bool, str]:
    verdict = image_fits(creation.image, size_gib=creation.target.size_gib)
    return verdict.ok, verdict.text


@_of_its_data
def _image_fits_upstream(creation: Creation) -> tuple[bool, str]:
    verdict = image_fits(creation.image, size_gib=creation.target.size_gib, policy=Policy.UPSTREAM)
    return verdict.ok, verdict.text


@_of_its_data
def _driver_answers(creation: Creation) -> tuple[bool, str]:
    fails = creation.template.action is TemplateAction.FAIL and not creation.target.encrypted
    return not fails, creation.template.because if fails else "the driver does not fail"


# Can this way be gone?


def _from_snapshot(creation: Creation) -> tuple[bool, str]:
    return creation.boot.snapshot_id is not None, creation.boot.text


def _clone_image_volume(creation: Creation) -> tuple[bool, str]:
    clone = creation.clone
    if clone.eligible:
        return True, f"it can be cloned from volume {', or else '.join(source.id for source in clone.sources)}"
    return False, joined(failed(clone.verdicts))


def _clone_template(creation: Creation) -> tuple[bool, str]:
    return creation.template.action is TemplateAction.USE, creation.template.because


def _create_template(creation: Creation) -> tuple[bool, str]:
    if creation.template.action not in (TemplateAction.CREATE, TemplateAction.REPLACE):
        return False, creation.template.because
    convertible, text = _convertible(creation)
    if creation.image.disk_format in PLAIN_FORMATS or convertible:
        return True, creation.template.because
    return False, text


def _await_template(creation: Creation) -> tuple[bool, str]:
    return creation.template.action is TemplateAction.WAIT, creation.template.because


def _clone_cached(creation: Creation) -> tuple[bool, str]:
    found = creation.found
    return bool(found.fresh), found.cannot_serve or f"the cache has {_volumes(found.fresh)}"


def _create_cached(creation: Creation) -> tuple[bool, str]:
    found = creation.found
    if found.present:
        return False, f"the cache already has {_volumes(found.present)}"
    if not found.admitted:
        return False, found.cannot_admit
    convertible, text = _convertible(creation)
    return convertible, f"the cache has room for {found.newcomer_gib} GiB" if convertible else text


def _convertible(creation: Creation) -> tuple[bool, str]:
    """As Cinder counts, which copies: to it an ISO is another format than raw, although it converts nothing."""
    disk_format, allowed = creation.image.disk_format, creation.conversion.allowed
    text = f"the image's disk_format is {said(disk_format)}; images are {'' if allowed else 'not '}converted"
    return disk_format == "raw" or allowed, text


def _volumes(entries: Iterable[CacheEntry]) -> str:
    return f"volume {', '.join(entry.volume_id for entry in entries)}"


# What Cinder does instead: the driver comes first, and there are conditions in which the request fails.


def _clone_template_upstream(creation: Creation) -> tuple[bool, str]:
    return _driver(creation, TemplateAction.USE)


def _create_template_upstream(creation: Creation) -> tuple[bool, str]:
    return _driver(creation, TemplateAction.CREATE, TemplateAction.REPLACE)


def _driver(creation: Creation, *actions: TemplateAction) -> tuple[bool, str]:
    if creation.target.encrypted:
        return False, "Cinder does not ask the driver where the new volume is encrypted"
    return creation.template.action in actions, creation.template.because


def _clone_cached_upstream(creation: Creation) -> tuple[bool, str]:
    stopped = _stopped(creation)
    return not stopped and bool(creation.found.fresh), stopped or _clone_cached(creation)[1]


def _create_cached_upstream(creation: Creation) -> tuple[bool, str]:
    stopped = _stopped(creation) or creation.found.fails_later
    creates, text = _create_cached(creation)
    return not stopped and creates, stopped or text


def _copy_upstream(creation: Creation) -> tuple[bool, str]:
    stopped = _stopped(creation)
    convertible, text = _convertible(creation)
    if stopped or not convertible:
        return False, stopped or f"Cinder fails with an ImageConversionNotAllowed: {text}"
    if creation.found.fails_later:
        return False, creation.found.fails_later
    creates = _create_cached(creation)[0]
    return not creates, "Cinder's copy is what creates the cached volume" if creates else text


def _stopped(creation: Creation) -> str:
    """How the request has failed before anything but an image volume could be cloned; empty where it has not."""
    return joined(failed(evaluate(STOP_RULES[Policy.UPSTREAM], creation)))


def _locations_are_urls(creation: Creation) -> tuple[bool, str]:
    return creation.clone.raises is None, creation.clone.raises or "Cinder does not fail over a location"


def _times_known(creation: Creation) -> tuple[bool, str]:
    return not creation.found.fails, creation.found.fails or "Cinder does not fail over a time"


def _room_to_convert(creation: Creation) -> tuple[bool, str]:
    free_bytes, size_bytes = creation.conversion.free_bytes, creation.image.size_bytes or 0
    if free_bytes is None or free_bytes > size_bytes:
        return True, "Cinder finds room to convert the image, whether it converts it or not"
    return False, f"Cinder fails with an ImageTooBig: {free_bytes} bytes are free to convert {size_bytes}"


# The words that the sentences are made of, and the tables.

_SPEC = "[clone] [template]"
_API = "cinder.volume.volume_utils.check_image_metadata"
_FLOW = "cinder CreateVolumeFromSpecTask._create_from_image"
_CACHE = "cinder CreateVolumeFromSpecTask._prepare_image_cache_entry"
_API_VOLUMES = "cinder.api.v3.volumes.VolumeController._get_image_snapshot"
_COPY = "cinder CreateVolumeFromSpecTask._create_from_image_cache_or_download"

_MAPPING_READABLE = Requirement(
    id="mapping-readable",
    text="Cinder can read the image's `block_device_mapping`, if there is one",
    source=_API_VOLUMES,
    holds=_mapping_readable,
    gate=True,
)
_FROM_SNAPSHOT = Choice(
    id="from-snapshot",
    text="create it from the snapshot at boot index 0 of `block_device_mapping`, and try nothing else",
    source=_API_VOLUMES,
    applies=_from_snapshot,
    outcome=from_snapshot,
    final=True,
)

CREATION_RULES: Mapping[Policy, tuple[Requirement[Creation], ...]] = {
    Policy.STRICT: (
        _MAPPING_READABLE,
        Requirement(id="image-active", text="the image is active", source=_SPEC, holds=_image_active),
        Requirement(
            id="image-fits",
            text="the image, as stored, as a disk, and its min_disk, fits the new volume",
            source=_SPEC,
            holds=_image_fits,
        ),
    ),
    Policy.UPSTREAM: (
        _MAPPING_READABLE,
        Requirement(id="image-active", text="the image is active", source=_API, holds=_image_active),
        Requirement(
            id="image-fits",
            text="the image fits, with the virtual size rounded through a float",
            source=_API,
            holds=_image_fits_upstream,
        ),
        Requirement(
            id="driver-answers",
            text="the driver's `clone_image`, which is asked unless the new volume is encrypted, does not raise",
            source=_FLOW,
            holds=_driver_answers,
        ),
    ),
}

STOP_RULES: Mapping[Policy, tuple[Requirement[Creation], ...]] = {
    Policy.UPSTREAM: (
        Requirement(
            id="locations-are-urls",
            text="every location that Cinder reads, of whatever scheme, is a URL",
            source="cinder CreateVolumeFromSpecTask._extract_cinder_ids",
            holds=_locations_are_urls,
        ),
        Requirement(
            id="times-known",
            text="the image and what the cache has of it are dated",
            source="cinder ImageVolumeCache._should_update_entry",
            holds=_times_known,
        ),
        Requirement(
            id="room-to-convert",
            text="more is free in `image_conversion_dir` than the image has, be it cloned from the cache or streamed",
            source="cinder.image.image_utils.check_available_space",
            holds=_room_to_convert,
        ),
    ),
}

Steps = Callable[[Creation], tuple[CreationStep, ...]]

WAY_RULES: Mapping[Policy, tuple[Choice[Creation, Steps], ...]] = {
    Policy.STRICT: (
        _FROM_SNAPSHOT,
        Choice(
            id="clone-image-volume",
            text="clone a volume that a location names",
            source="[clone]",
            applies=_clone_image_volume,
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
            applies=_clone_cached,
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
            id="create-cached",
            text="make a cached volume, and clone it",
            source="[clone]",
            applies=_create_cached,
            outcome=create_cached,
        ),
        Choice(
            id="await-template",
            text="wait for the template that another request is creating, and clone it",
            source="[template]",
            applies=_await_template,
            outcome=by_template,
        ),
        Choice(id="copy", text="copy the image", source="[clone]", applies=_convertible, outcome=copy),
    ),
    Policy.UPSTREAM: (
        _FROM_SNAPSHOT,
        Choice(
            id="clone-template",
            text="the driver clones its template",
            source=_FLOW,
            applies=_clone_template_upstream,
            outcome=by_driver,
        ),
        Choice(
            id="create-template",
            text="the driver makes its template, and clones it",
            source=_FLOW,
            applies=_create_template_upstream,
            outcome=by_driver,
        ),
        Choice(
            id="clone-image-volume",
            text="clone the newest volume that a location names",
            source="cinder CreateVolumeFromSpecTask._clone_image_volume",
            applies=_clone_image_volume,
            outcome=clone_image_volumes,
        ),
        Choice(
            id="clone-cached",
            text="clone the cached volume",
            source=_COPY,
            applies=_clone_cached_upstream,
            outcome=clone_cached_upstream,
        ),
        Choice(
            id="create-cached",
            text="copy the image, and clone the copy into the cache",
            source=_CACHE,
            applies=_create_cached_upstream,
            outcome=create_cached_upstream,
        ),
        Choice(id="copy", text="copy the image", source=_COPY, applies=_copy_upstream, outcome=copy_upstream),
    ),
}
