"""The order in which Cinder 29.0.0 tries the ways to a volume, and where it stops."""

from __future__ import annotations

from functools import partial

from imagevol_core.creation.facts import Creation
from imagevol_core.creation.rules import (
    FROM_SNAPSHOT,
    MAPPING_READABLE,
    Steps,
    can_clone_cached,
    can_clone_image_volume,
    can_convert,
    can_create_cached,
    image_active,
    of_its_data,
)
from imagevol_core.creation.steps import (
    by_driver,
    clone_cached_upstream,
    clone_image_volumes,
    copy_upstream,
    create_cached_upstream,
)
from imagevol_core.sizing import image_fits
from imagevol_core.templates import TemplateAction
from imagevol_core.verdicts import Choice, Policy, Requirement, evaluate, failed, joined

__all__ = ["UPSTREAM_CREATION_RULES", "UPSTREAM_STOP_RULES", "UPSTREAM_WAY_RULES"]


def _image_fits_upstream(creation: Creation) -> tuple[bool, str]:
    verdict = image_fits(creation.image, size_gib=creation.target.size_gib, policy=Policy.UPSTREAM)
    return verdict.ok, verdict.text


def _driver_answers(creation: Creation) -> tuple[bool, str]:
    fails = creation.template.action is TemplateAction.FAIL and not creation.target.encrypted
    return not fails, creation.template.because if fails else "the driver does not fail"


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
    return not stopped and bool(creation.found.fresh), stopped or can_clone_cached(creation)[1]


def _create_cached_upstream(creation: Creation) -> tuple[bool, str]:
    stopped = _stopped(creation) or creation.found.fails_later
    creates, text = can_create_cached(creation)
    return not stopped and creates, stopped or text


def _copy_upstream(creation: Creation) -> tuple[bool, str]:
    stopped = _stopped(creation)
    convertible, text = can_convert(creation)
    if stopped or not convertible:
        return False, stopped or f"Cinder fails with an ImageConversionNotAllowed: {text}"
    if creation.found.fails_later:
        return False, creation.found.fails_later
    creates = can_create_cached(creation)[0]
    return not creates, "Cinder's copy is what creates the cached volume" if creates else text


def _stopped(creation: Creation) -> str:
    """How the request has failed before anything but an image volume could be cloned; empty if it has not."""
    return joined(failed(evaluate(UPSTREAM_STOP_RULES, creation)))


def _locations_are_urls(creation: Creation) -> tuple[bool, str]:
    return creation.clone.raises is None, creation.clone.raises or "Cinder does not fail over a location"


def _times_known(creation: Creation) -> tuple[bool, str]:
    return not creation.found.fails, creation.found.fails or "Cinder does not fail over a time"


def _room_to_convert(creation: Creation) -> tuple[bool, str]:
    free_bytes, size_bytes = creation.conversion.free_bytes, creation.image.size_bytes or 0
    if free_bytes is None or free_bytes > size_bytes:
        return True, "Cinder finds room to convert the image, whether it converts it or not"
    return False, f"Cinder fails with an ImageTooBig: {free_bytes} bytes are free to convert {size_bytes}"


_API = "cinder.volume.volume_utils.check_image_metadata"
_FLOW = "cinder CreateVolumeFromSpecTask._create_from_image"
_CACHE = "cinder CreateVolumeFromSpecTask._prepare_image_cache_entry"
_COPY = "cinder CreateVolumeFromSpecTask._create_from_image_cache_or_download"
UPSTREAM_CREATION_RULES: tuple[Requirement[Creation], ...] = (
    MAPPING_READABLE,
    Requirement(id="image-active", text="the image is active", source=_API, holds=image_active),
    Requirement(
        id="image-fits",
        text="the image fits, with the virtual size rounded through a float",
        source=_API,
        holds=partial(of_its_data, _image_fits_upstream),
    ),
    Requirement(
        id="driver-answers",
        text="the driver's `clone_image`, which is asked unless the new volume is encrypted, does not raise",
        source=_FLOW,
        holds=partial(of_its_data, _driver_answers),
    ),
)
UPSTREAM_STOP_RULES: tuple[Requirement[Creation], ...] = (
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
)
UPSTREAM_WAY_RULES: tuple[Choice[Creation, Steps], ...] = (
    FROM_SNAPSHOT,
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
        applies=can_clone_image_volume,
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
)
