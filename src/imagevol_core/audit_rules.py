"""The rules of `auditing`: each kind of finding is a row, with when it is sure and what would mend it.

A rule holds where nothing is wrong.  It is sure where all that it rests on was told; what is missing from a listing
that may have a part missing, or what nobody said, is at most likely.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.audit_facts import (
    AuditRule,
    Claim,
    Entry,
    Held,
    ImageVolume,
    Placement,
    Repair,
    RepairAction,
    RepairStep,
    Sharing,
    Subject,
    Templated,
    Watched,
)
from imagevol_core.caching import FreshnessOutcome, decide_freshness
from imagevol_core.facts import Volume
from imagevol_core.locations import CinderLocation
from imagevol_core.metadata import UnreadMetadata, read_metadata
from imagevol_core.remains import VolumeOrigin
from imagevol_core.sentences import answered, listed, quoted, said
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Policy

__all__ = [
    "ATTACHMENT_RULES",
    "ENTRY_RULES",
    "IMAGE_RULES",
    "IMAGE_VOLUME_RULES",
    "IN_THE_MAKING",
    "PLACEMENT_RULES",
    "SHARING_RULES",
    "TEMPLATE_RULES",
]

IN_THE_MAKING = ("queued", "saving", "uploading", "importing")
_AT_REST = ("available", "error")


# An image.


def _not_stuck(watched: Watched) -> tuple[bool, str]:
    image, settings = watched.image, watched.settings
    if image.status not in IN_THE_MAKING:
        return True, f"it is {quoted(image.status)}"
    if image.updated_at is None:
        return False, f"it is {image.status}, and it is not known since when"
    age = settings.now - image.updated_at
    return age <= settings.stuck_after, f"it is {image.status} and was last touched {age} before the audit"


def _stuck_surely(watched: Watched) -> bool:
    """A queued image may just wait for its user to bring the data."""
    return watched.image.status != "queued" and watched.image.updated_at is not None


# A location and its volume.


def _volume_there(placement: Placement) -> tuple[bool, str]:
    where = "it is not among the volumes" + ("" if placement.settings.volumes_complete else " that were listed")
    return placement.found is not None, f"{_url(placement)}: {'it is there' if placement.found else where}"


def _forget_location(placement: Placement) -> Repair:
    """The last location of an image cannot be removed (CVE-2016-0757): without any data there is no image left."""
    if placement.claim.others and not placement.all_lost:
        return (_step(RepairAction.REMOVE_LOCATION, _image(placement), url=placement.claim.url),)
    return (_step(RepairAction.DELETE_IMAGE, _image(placement)),)


def _holder(placement: Placement) -> str | None:
    """Whose the volume is: in a trusted project as is recorded, elsewhere as it lives ([clone])."""
    volume = placement.volume
    return volume.metadata.get("image_owner") if placement.trusted else volume.project_id


def _owner_agrees(placement: Placement) -> tuple[bool, str]:
    owner, holder = placement.claim.owner, _holder(placement)
    text = f"the image belongs to {quoted(owner)} and its volume's owner is {quoted(holder)}"
    return owner is None or owner == holder, text


def _own(placement: Placement) -> Repair:
    if placement.trusted:
        return (_step(RepairAction.SET_METADATA, _volume(placement), image_owner=str(placement.claim.owner)),)
    return (_step(RepairAction.DEACTIVATE_IMAGE, _image(placement)),)  # it shows what may be another project's


def _size_agrees(placement: Placement) -> tuple[bool, str]:
    size = placement.claim.size_bytes
    text = f"the image has {size} bytes, its volume {placement.volume.size_gib} GiB"
    if size is None:
        return True, "the image's size is not known"
    if placement.too_small:
        return False, text
    recorded = _recorded_size(placement.volume)
    if isinstance(recorded, UnreadMetadata):
        return False, f"{text}; {recorded}"
    if recorded is None:
        return size == placement.volume.size_gib * GIB, f"{text} and no image_size, so that all of it is read"
    return recorded == size, f"{text} and image_size {recorded}"


def _size_surely(placement: Placement) -> bool:
    return placement.too_small or "image_size" in placement.volume.metadata


def _resize(placement: Placement) -> Repair:
    if placement.too_small:
        return (_step(RepairAction.DEACTIVATE_IMAGE, _image(placement)),)
    return (_step(RepairAction.SET_METADATA, _volume(placement), image_size=str(placement.claim.size_bytes)),)


def _recorded_size(volume: Volume) -> int | UnreadMetadata | None:
    """By itself: what else the metadata say, and whether that agrees, is another matter."""
    size = {key: value for key, value in volume.metadata.items() if key == "image_size"}
    read = read_metadata(size)
    return read if isinstance(read, UnreadMetadata) else read.size_bytes


def _named(claim: Claim) -> list[str]:
    return sorted({name for name in (claim.url_store, claim.said_store) if name is not None})


def _stores(placement: Placement) -> tuple[str, ...]:
    """The stores that the volume's type belongs to."""
    catalogue, volume_type = placement.catalogue, placement.volume.volume_type
    if catalogue is None or volume_type is None:
        return ()
    return tuple(store.name for store in catalogue.of_type(volume_type))


def _store_agrees(placement: Placement) -> tuple[bool, str]:
    claim, catalogue = placement.claim, placement.catalogue
    named = _named(claim)
    text = f"the URL names store {quoted(claim.url_store)}, the metadata {quoted(claim.said_store)}"
    if len(named) > 1:
        return False, text
    if not named or catalogue is None or not catalogue.multi:
        return True, text
    if catalogue.get(named[0]) is None:
        return False, f"{text}; there is no such store"
    if placement.volume.volume_type is None:
        return True, f"{text}; the volume's type is not known"
    text += f"; the stores of its type {quoted(placement.volume.volume_type)} are {listed(_stores(placement))}"
    return named[0] in _stores(placement), text


def _store_surely(placement: Placement) -> bool:
    """A store that names no type has Cinder's default one, which somebody must have told."""
    named, catalogue = _named(placement.claim), placement.catalogue
    store = catalogue.get(named[0]) if catalogue and len(named) == 1 else None
    if catalogue is None or store is None:
        return True
    return store.volume_type is not None or catalogue.default_volume_type is not None


def _restore(placement: Placement) -> Repair:
    stores = _stores(placement)
    if len(stores) != 1:
        return ()
    to = str(CinderLocation(store=stores[0], volume_id=placement.volume_id))
    return (_step(RepairAction.SET_LOCATION, _image(placement), url=placement.claim.url, to=to, store=stores[0]),)


def _content_agrees(placement: Placement) -> tuple[bool, str]:
    image, read = placement.claim.digest, placement.check.digest if placement.check else None
    text = f"the image's digest is {said(image)}, the volume's {said(read)}"
    comparable = image is not None and read is not None and image.algorithm == read.algorithm
    return not comparable or image == read, text


def _withdraw(placement: Placement) -> Repair:
    withdraw = _step(RepairAction.DEACTIVATE_IMAGE, _image(placement))
    if not placement.claim.others:
        return (withdraw,)
    remove = _step(RepairAction.REMOVE_LOCATION, _image(placement), url=placement.claim.url)
    return (withdraw, remove, _step(RepairAction.REACTIVATE_IMAGE, _image(placement)))


# An image volume.


def _has_image(held: ImageVolume) -> tuple[bool, str]:
    if held.claimed or held.kept:
        return True, "an image's location, the cache or a template names it"
    if held.recorded is None:
        return True, "it names no image"
    if not held.image_known:
        partly = "" if held.settings.images_complete else " that were listed"
        return False, f"it names image {quoted(held.recorded)}, which is not among the images{partly}"
    return not held.image_settled, f"it names image {quoted(held.recorded)}, whose locations are known and are others"


def _orphan_surely(held: ImageVolume) -> bool:
    """A volume is deleted for it: so the record must be no user's, nothing in flight, and every location read."""
    trusted = held.volume.project_id in held.settings.trusted_projects
    still = held.volume.status in _AT_REST and held.settings.images_complete
    return trusted and still and held.all_read


def _not_unfinished(held: ImageVolume) -> tuple[bool, str]:
    origin, created_at = VolumeOrigin.from_volume(held.volume.metadata), held.volume.created_at
    if origin is None or origin.finished or held.kept:
        return True, "no procedure is creating it"
    if created_at is None:
        return False, f"procedure {said(origin.procedure)} has not finished, and its age is not known"
    age = held.settings.now - created_at
    return age <= held.settings.stuck_after, f"procedure {said(origin.procedure)} has not finished {age} after it began"


def _delete_trusted(held: ImageVolume) -> Repair:
    """Elsewhere a user may have written it."""
    return _delete_volume(held) if held.volume.project_id in held.settings.trusted_projects else ()


def _read_only(held: ImageVolume) -> tuple[bool, str]:
    if not held.claimed and not held.kept:
        return True, "nothing depends on its content"
    readonly = held.volume.readonly
    return readonly is True, answered(readonly, "it is read-only", "it is not read-only")


def _tail_zero(held: ImageVolume) -> tuple[bool, str]:
    if held.check is None or held.check.tail_is_zero is None:
        return True, "its tail was not read"
    return held.check.tail_is_zero, f"what comes after the first {held.check.size_bytes} bytes was read"


def _zero(held: ImageVolume) -> Repair:
    about = _of_volume(held)[0]
    return (
        _step(RepairAction.SET_WRITABLE, about),
        _step(RepairAction.ZERO_TAIL, about, from_bytes=str(held.read.size_bytes)),
        _step(RepairAction.SET_READ_ONLY, about),
    )


# A volume of several images, attachments, what is kept to be cloned.


def _in_one_image(sharing: Sharing) -> tuple[bool, str]:
    return len(sharing.image_ids) < 2, f"it is a location of {listed(sharing.image_ids)}"


def _separate(sharing: Sharing) -> Repair:
    """The image that the volume was written for keeps it; deleting any of them would take it from all."""
    if sharing.recorded not in sharing.image_ids:
        return ()
    steps: list[RepairStep] = []
    for claim in sharing.claims:
        if claim.image_id != sharing.recorded:
            steps.append(_step(RepairAction.CLONE_VOLUME, Subject("volume", sharing.volume_id), image=claim.image_id))
            steps.append(
                _step(RepairAction.SET_LOCATION, Subject("image", claim.image_id), url=claim.url, to="the clone")
            )
    return tuple(steps)


def _in_use(held: Held) -> tuple[bool, str]:
    alive = answered(held.attachment.alive, "its process runs", "its process has ended")
    if held.volume_gone:
        return False, f"its volume {held.attachment.volume_id} is not among the volumes"
    if not held.holds_image:
        return True, "its volume is not known to hold an image"
    return held.attachment.alive is True, f"{alive}; host {quoted(held.attachment.host)}"


def _has_volume(entry: Entry) -> tuple[bool, str]:
    partly = "" if entry.settings.volumes_complete else " that were listed"
    return entry.listed, f"its volume is {'' if entry.listed else 'not '}among the volumes{partly}"


def _template_fresh(templated: Templated) -> tuple[bool, str]:
    if templated.template.being_made_for is not None:
        return True, "it is being made"
    if templated.image is None:
        partly = "" if templated.settings.images_complete else " that were listed"
        return False, f"its image {templated.template.entry.image_id} is not among the images{partly}"
    freshness = decide_freshness(templated.image, entry=templated.template.entry)
    return freshness.fresh, freshness.because


def _stale_surely(templated: Templated) -> bool:
    if templated.image is None:
        return templated.settings.images_complete
    return decide_freshness(templated.image, entry=templated.template.entry).outcome is FreshnessOutcome.OTHER_BYTES


def _renew(templated: Templated) -> Repair:
    old = _step(RepairAction.DELETE_VOLUME, Subject("volume", templated.template.entry.volume_id))
    if templated.image is None:
        return (old,)
    return (_step(RepairAction.CREATE_TEMPLATE, Subject("image", templated.image.id)), old)


def _read_only_surely(held: ImageVolume) -> bool:
    return held.volume.readonly is not None


def _set_read_only(held: ImageVolume) -> Repair:
    return (_step(RepairAction.SET_READ_ONLY, _of_volume(held)[0]),)


def _delete_volume(held: ImageVolume) -> Repair:
    return (_step(RepairAction.DELETE_VOLUME, _of_volume(held)[0]),)


def _owner_surely(placement: Placement) -> bool:
    return _holder(placement) is not None and placement.volume.project_id is not None


def _volumes_complete(facts: Placement | Entry) -> bool:
    return facts.settings.volumes_complete


def _detach(held: Held) -> Repair:
    attachment = _of_attachment(held)[0]
    if held.volume_gone:
        return (_step(RepairAction.DELETE_ATTACHMENT, attachment),)
    return _step(RepairAction.DISCONNECT, attachment), _step(RepairAction.DELETE_ATTACHMENT, attachment)


def _left_surely(held: Held) -> bool:
    return held.volume_gone or held.attachment.alive is not None


def _delete_entry(entry: Entry) -> Repair:
    return (_step(RepairAction.DELETE_CACHE_ENTRY, _of_entry(entry)[0]),)


def _delete_image(watched: Watched) -> Repair:
    return (_step(RepairAction.DELETE_IMAGE, _of_image(watched)[0]),)


# What findings name, and the words that the sentences are made of.


def _step(action: RepairAction, subject: Subject, **arguments: str) -> RepairStep:
    return RepairStep(action, subject, tuple(arguments.items()))


def _always(_facts: object) -> bool:
    return True


def _never(_facts: object) -> bool:
    """Its process may still run: `imagevol unfinished` says so on its host."""
    return False


def _image(placement: Placement) -> Subject:
    return Subject("image", placement.claim.image_id)


def _volume(placement: Placement) -> Subject:
    return Subject("volume", placement.volume_id)


def _of_placement(placement: Placement) -> tuple[Subject, ...]:
    return _image(placement), _volume(placement)


def _of_volume(held: ImageVolume) -> tuple[Subject, ...]:
    return (Subject("volume", held.volume.id),)


def _of_attachment(held: Held) -> tuple[Subject, ...]:
    return Subject("attachment", held.attachment.id), Subject("volume", held.attachment.volume_id)


def _of_entry(entry: Entry) -> tuple[Subject, ...]:
    return (Subject("cache-entry", entry.entry.volume_id),)


def _of_template(templated: Templated) -> tuple[Subject, ...]:
    entry = templated.template.entry
    return Subject("volume", entry.volume_id), Subject("image", entry.image_id)


def _of_sharing(sharing: Sharing) -> tuple[Subject, ...]:
    return Subject("volume", sharing.volume_id), *(Subject("image", image_id) for image_id in sharing.image_ids)


def _of_image(watched: Watched) -> tuple[Subject, ...]:
    return (Subject("image", watched.image.id),)


def _url(placement: Placement) -> str:
    return f"a location of the image names volume {placement.volume_id}"


# The tables.

IMAGE_RULES: Mapping[Policy, tuple[AuditRule[Watched], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="image-stuck",
            text="it is not in the making for longer than an image may be",
            source="[store]",
            holds=_not_stuck,
            subjects=_of_image,
            sure=_stuck_surely,
            repair=_delete_image,
        ),
    ),
}

PLACEMENT_RULES: Mapping[Policy, tuple[AuditRule[Placement], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="location-without-volume",
            text="the volume that it names exists",
            source="[store]",
            holds=_volume_there,
            gate=True,
            subjects=_of_placement,
            sure=_volumes_complete,
            repair=_forget_location,
        ),
        AuditRule(
            id="owner-differs",
            text="the volume's owner is the image's: as recorded in a trusted project, elsewhere its project",
            source="[clone], OSSN-0065",
            holds=_owner_agrees,
            subjects=_of_placement,
            sure=_owner_surely,
            repair=_own,
        ),
        AuditRule(
            id="size-differs",
            text="the volume is large enough, and records the size that the image has",
            source="[store]",
            holds=_size_agrees,
            subjects=_of_placement,
            sure=_size_surely,
            repair=_resize,
        ),
        AuditRule(
            id="store-differs",
            text="URL and metadata name one store, to which the volume's type belongs",
            source="[multi]",
            holds=_store_agrees,
            subjects=_of_placement,
            sure=_store_surely,
            repair=_restore,
        ),
        AuditRule(
            id="content-differs",
            text="what was read from the volume has the image's digest",
            source="[multi]",
            holds=_content_agrees,
            subjects=_of_placement,
            sure=_always,
            repair=_withdraw,
        ),
    ),
}

IMAGE_VOLUME_RULES: Mapping[Policy, tuple[AuditRule[ImageVolume], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="image-volume-without-image",
            text="an image, the cache or a template names it, if it says that it holds an image",
            source="[store]",
            holds=_has_image,
            subjects=_of_volume,
            sure=_orphan_surely,
            repair=_delete_volume,
        ),
        AuditRule(
            id="left-unfinished",
            text="no procedure has been creating it for longer than an image may be in the making",
            source="[store]",
            holds=_not_unfinished,
            subjects=_of_volume,
            sure=_never,
            repair=_delete_trusted,
        ),
        AuditRule(
            id="not-read-only",
            text="it is read-only, if anything is read or cloned from it",
            source="[store]",
            holds=_read_only,
            subjects=_of_volume,
            sure=_read_only_surely,
            repair=_set_read_only,
        ),
        AuditRule(
            id="tail-not-zero",
            text="after the image it is zero: a clone has the tail too",
            source="[clone]",
            holds=_tail_zero,
            subjects=_of_volume,
            sure=_always,
            repair=_zero,
        ),
    ),
}

SHARING_RULES: Mapping[Policy, tuple[AuditRule[Sharing], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="volume-in-two-images",
            text="it is a location of one image only",
            source="[store]",
            holds=_in_one_image,
            subjects=_of_sharing,
            sure=_always,
            repair=_separate,
        ),
    ),
}

ATTACHMENT_RULES: Mapping[Policy, tuple[AuditRule[Held], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="attachment-left-behind",
            text="its volume exists, and if that holds an image its process runs",
            source="[store], CVE-2023-2088",
            holds=_in_use,
            subjects=_of_attachment,
            sure=_left_surely,
            repair=_detach,
        ),
    ),
}

ENTRY_RULES: Mapping[Policy, tuple[AuditRule[Entry], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="cache-entry-without-volume",
            text="its volume exists",
            source="[template]",
            holds=_has_volume,
            subjects=_of_entry,
            sure=_volumes_complete,
            repair=_delete_entry,
        ),
    ),
}

TEMPLATE_RULES: Mapping[Policy, tuple[AuditRule[Templated], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="template-stale",
            text="its image exists and is still what it holds, or it is being made",
            source="[template]",
            holds=_template_fresh,
            subjects=_of_template,
            sure=_stale_surely,
            repair=_renew,
        ),
    ),
}
