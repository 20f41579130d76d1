"""What must hold of each location of an image."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from imagevol_core.auditing.evidence import store_evidence, stores_of
from imagevol_core.auditing.facts import AuditRule, Claim, ClaimedVolume, Repair, RepairAction, Subject
from imagevol_core.auditing.rules import certain, step, volumes_unseen
from imagevol_core.facts import Volume
from imagevol_core.locations import CinderLocation
from imagevol_core.marks import UnreadMetadata, read_metadata
from imagevol_core.sentences import amount, listed, quoted, said
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Policy

__all__ = ["CLAIM_RULES"]

_OF_ITS_PROJECT = ("private", "shared")  # the visibilities of images that no project uses unasked

# A location and its volume.


def _volume_there(claimed: ClaimedVolume) -> tuple[bool, str]:
    where = "it is not among the volumes" + ("" if claimed.settings.volumes_complete else " that were listed")
    return claimed.found is not None, f"{_url(claimed)}: {'it is there' if claimed.found else where}"


def _lost_perhaps(claimed: ClaimedVolume) -> str:
    """Another region, or another Cinder, may have the volumes of the store."""
    return volumes_unseen(claimed.settings) or ("" if _store_shown(claimed) else _unshown(claimed.claim))


def _store_shown(claimed: ClaimedVolume) -> bool:
    return store_evidence(claimed.claim) <= claimed.settings.shown


def _unshown(claim: Claim) -> str:
    named = f"of store {listed(stores_of(claim))}" if stores_of(claim) else "without a store"
    return (
        f"no location {named} has its volume in a trusted project of this Cinder: check the region, --os-region-name "
        "and --trusted-project"
    )


def _forget_location(claimed: ClaimedVolume) -> Repair:
    """The last location of an image cannot be removed (CVE-2016-0757): without any data there is no image left."""
    if not _store_shown(claimed):
        return ()
    if claimed.claim.others and not claimed.all_lost:
        return (step(RepairAction.REMOVE_LOCATION, _image(claimed), url=claimed.claim.url),)
    return (step(RepairAction.DELETE_IMAGE, _image(claimed)),)


def _holder(claimed: ClaimedVolume) -> str | None:
    """Whose the volume is: in a trusted project as is recorded, elsewhere as it lives ([clone])."""
    volume = claimed.volume
    return volume.metadata.get("image_owner") if claimed.trusted else volume.project_id


def _owner_agrees(claimed: ClaimedVolume) -> tuple[bool, str]:
    owner, holder = claimed.claim.owner, _holder(claimed)
    text = f"the image belongs to {quoted(owner)} and its volume's owner is {quoted(holder)}"
    return owner is None or owner == holder, text


def _own(claimed: ClaimedVolume) -> Repair:
    """Elsewhere it shows what may be another project's; what other projects use is withdrawn by a person."""
    if claimed.trusted:
        return (step(RepairAction.SET_METADATA, _volume(claimed), image_owner=str(claimed.claim.owner)),)
    if claimed.claim.visibility not in _OF_ITS_PROJECT:
        return ()
    return (step(RepairAction.DEACTIVATE_IMAGE, _image(claimed)),)


def _size_agrees(claimed: ClaimedVolume) -> tuple[bool, str]:
    size = claimed.claim.size_bytes
    text = f"the image has {amount(size, 'byte')}, its volume {claimed.volume.size_gib} GiB"
    if size is None:
        return True, "the image's size is not known"
    if claimed.too_small:
        return False, text
    recorded = _recorded_size(claimed.volume)
    if isinstance(recorded, UnreadMetadata):
        return False, f"{text}; {recorded}"
    if recorded is None:
        return size == claimed.volume.size_gib * GIB, f"{text} and no image_size, so that all of it is read"
    return recorded == size, f"{text} and image_size {recorded}"


def _size_perhaps(claimed: ClaimedVolume) -> str:
    known = claimed.too_small or "image_size" in claimed.volume.metadata
    return "" if known else "the volume does not say how much of it is the image"


def _resize(claimed: ClaimedVolume) -> Repair:
    if claimed.too_small:
        return (step(RepairAction.DEACTIVATE_IMAGE, _image(claimed)),)
    return (step(RepairAction.SET_METADATA, _volume(claimed), image_size=str(claimed.claim.size_bytes)),)


def _recorded_size(volume: Volume) -> int | UnreadMetadata | None:
    """By itself: what else the metadata says, and whether that agrees, is another matter."""
    size = {key: value for key, value in volume.metadata.items() if key == "image_size"}
    read = read_metadata(size)
    return read if isinstance(read, UnreadMetadata) else read.size_bytes


def _stores(claimed: ClaimedVolume) -> tuple[str, ...]:
    """The stores that the volume's type belongs to."""
    catalogue, volume_type = claimed.catalogue, claimed.volume.volume_type
    if catalogue is None or volume_type is None:
        return ()
    return tuple(store.name for store in catalogue.of_type(volume_type))


def _store_agrees(claimed: ClaimedVolume) -> tuple[bool, str]:
    claim, catalogue = claimed.claim, claimed.catalogue
    named = stores_of(claim)
    text = f"the URL names store {quoted(claim.url_store)}, the metadata {quoted(claim.said_store)}"
    if len(named) > 1:
        return False, text
    if not named or catalogue is None or not catalogue.multi:
        return True, text
    if catalogue.get(named[0]) is None:
        return False, f"{text}; there is no such store"
    if claimed.volume.volume_type is None:
        return True, f"{text}; the volume's type is not known"
    text += f"; the stores of its type {quoted(claimed.volume.volume_type)} are {listed(_stores(claimed))}"
    return named[0] in _stores(claimed), text


def _store_perhaps(claimed: ClaimedVolume) -> str:
    """A store that names no type has Cinder's default one, which must be known."""
    named, catalogue = stores_of(claimed.claim), claimed.catalogue
    store = catalogue.get(named[0]) if catalogue and len(named) == 1 else None
    if catalogue is None or store is None or store.volume_type or catalogue.default_volume_type:
        return ""
    return f"store {quoted(store.name)} names no volume type, and Cinder's default one is not known"


def _restore(claimed: ClaimedVolume) -> Repair:
    stores = _stores(claimed)
    if len(stores) != 1:
        return ()
    to = str(CinderLocation(store=stores[0], volume_id=claimed.volume_id))
    return (step(RepairAction.SET_LOCATION, _image(claimed), url=claimed.claim.url, to=to, store=stores[0]),)


def _content_agrees(claimed: ClaimedVolume) -> tuple[bool, str]:
    image, read = claimed.claim.digest, claimed.check.digest if claimed.check else None
    if recorded := claimed.check.recorded if claimed.check else None:
        return recorded == read, f"the volume's digest is {said(read)}, and {said(recorded)} was recorded"
    text = f"the image's digest is {said(image)}, the volume's {said(read)}"
    comparable = image is not None and read is not None and image.algorithm == read.algorithm
    return not comparable or image == read, text


def _withdraw(claimed: ClaimedVolume) -> Repair:
    """Where another location serves, this one goes: Glance removes no location of an image that is deactivated."""
    if not claimed.claim.others:
        return (step(RepairAction.DEACTIVATE_IMAGE, _image(claimed)),)
    return (step(RepairAction.REMOVE_LOCATION, _image(claimed), url=claimed.claim.url),)


def _owner_perhaps(claimed: ClaimedVolume) -> str:
    if claimed.volume.project_id is None:
        return "the project of the volume is not known"
    if not claimed.trusted:
        return "an administrator may have given the image to another project"
    return "" if _holder(claimed) is not None else "the volume does not say whose it is"


def _image(claimed: ClaimedVolume) -> Subject:
    return Subject("image", claimed.claim.image_id)


def _volume(claimed: ClaimedVolume) -> Subject:
    return Subject("volume", claimed.volume_id)


def _of_claimed(claimed: ClaimedVolume) -> tuple[Subject, ...]:
    return _image(claimed), _volume(claimed)


def _created(claimed: ClaimedVolume) -> datetime | None:
    return claimed.volume.created_at


def _other_url(claimed: ClaimedVolume) -> str:
    return claimed.claim.url if claimed.again else ""


def _url(claimed: ClaimedVolume) -> str:
    return f"a location of the image names volume {claimed.volume_id}"


CLAIM_RULES: Mapping[Policy, tuple[AuditRule[ClaimedVolume], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="location-without-volume",
            text="the volume that it names exists",
            source="[store]",
            holds=_volume_there,
            gate=True,
            subjects=_of_claimed,
            doubt=_lost_perhaps,
            repair=_forget_location,
            url=_other_url,
        ),
        AuditRule(
            id="owner-differs",
            text="the volume's owner is the image's: as recorded in a trusted project, elsewhere its project",
            source="[clone], OSSN-0065",
            holds=_owner_agrees,
            subjects=_of_claimed,
            doubt=_owner_perhaps,
            repair=_own,
            since=_created,
            url=_other_url,
        ),
        AuditRule(
            id="size-differs",
            text="the volume is large enough, and records the size that the image has",
            source="[store]",
            holds=_size_agrees,
            subjects=_of_claimed,
            doubt=_size_perhaps,
            repair=_resize,
            since=_created,
            url=_other_url,
        ),
        AuditRule(
            id="store-differs",
            text="the URL and the metadata name one store, to which the volume's type belongs",
            source="[multi]",
            holds=_store_agrees,
            subjects=_of_claimed,
            doubt=_store_perhaps,
            repair=_restore,
            since=_created,
            url=_other_url,
        ),
        AuditRule(
            id="content-differs",
            text="what was read from the volume has the image's digest",
            source="[multi]",
            holds=_content_agrees,
            subjects=_of_claimed,
            doubt=certain,
            repair=_withdraw,
            since=_created,
            url=_other_url,
        ),
    ),
}
