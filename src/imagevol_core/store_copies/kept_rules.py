"""How a copy is verified, and what must be so before another copy of the image is deleted ([multi])."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.facts import ImageLocation
from imagevol_core.locations import CinderLocation, read_location
from imagevol_core.secret_text import shown_url
from imagevol_core.sentences import quoted, said
from imagevol_core.store_copies.facts import (
    SHOW_LOCATIONS,
    KeptCopy,
    StoreCopyWay,
    Verification,
    VerificationFacts,
    VerifyWish,
    place_in_store,
    volumes_in_store,
)
from imagevol_core.store_copies.leaving_rules import leaving_held, leaving_recorded, leaving_seen, leaving_shared
from imagevol_core.store_copies.rules import image_active, no_import
from imagevol_core.verdicts import Choice, Policy, Requirement

__all__ = ["KEPT_RULES", "VERIFICATION_RULES"]

# How a copy is verified.


def _known_good(facts: VerificationFacts) -> tuple[bool, str]:
    """Its data may have been changed since; but only a volume can be read again."""
    if not facts.known_good:
        return False, "the copy was not verified before"
    known = "the copy was verified before, or the other copy was made from it"
    if facts.wish is VerifyWish.GLANCE:
        return True, f"{known}, and no reading is asked for"
    return not _readable(facts), f"{known}, and it can{'' if _readable(facts) else 'not'} be read again"


def _read_again(facts: VerificationFacts) -> tuple[bool, str]:
    return facts.known_good, "the copy was good before this run, and is read again: it may have been changed since"


def _no_digest(facts: VerificationFacts) -> tuple[bool, str]:
    if facts.image.digest is None and facts.known_good:
        return True, "Glance has no multihash of the image to compare with: to rely on the copy, pass --verify glance"
    if facts.image.digest is None:
        return True, "Glance has no multihash of the image to compare with: copy it without --move"
    return False, f"Glance has the multihash {facts.image.digest.short}"


def _readable(facts: VerificationFacts) -> bool:
    return facts.store is not None and facts.store.is_cinder and facts.locations_shown


def _not_readable(facts: VerificationFacts) -> str:
    name = quoted(facts.store.name if facts.store else None)
    if facts.store is None or not facts.store.is_cinder:
        return f"store {name} keeps no images in volumes, and this host reads volumes only"
    return f"Glance does not show which volume the image has in store {name}: {SHOW_LOCATIONS}"


def _read_impossible(facts: VerificationFacts) -> tuple[bool, str]:
    if facts.wish is not VerifyWish.READ:
        return False, "reading the copy is not asked for"
    return not _readable(facts), (
        "the copy can be read" if _readable(facts) else f"{_not_readable(facts)}; or pass --verify glance"
    )


def _read_wished(facts: VerificationFacts) -> tuple[bool, str]:
    wished = facts.wish is VerifyWish.READ
    return wished, f"reading the copy is {'' if wished else 'not '}asked for"


def _glance_compared(facts: VerificationFacts) -> tuple[bool, str]:
    if facts.way is not StoreCopyWay.IMPORT:
        return False, "Glance does not write this copy"
    if facts.there_before and facts.wish is VerifyWish.AUTO and _readable(facts):
        return False, "Glance wrote the copy in an earlier run, and it may have been changed since"
    return True, "Glance compares size, md5 and multihash when it writes the copy"


def _glance_alone(facts: VerificationFacts) -> tuple[bool, str]:
    alone = facts.wish is VerifyWish.GLANCE
    return alone, (
        "Glance does not write this copy, so it cannot verify it: pass --verify read" if alone else "it may be read"
    )


def _unreadable(facts: VerificationFacts) -> tuple[bool, str]:
    return not _readable(facts), "the copy can be read" if _readable(facts) else _not_readable(facts)


def _read_then(_facts: VerificationFacts) -> tuple[bool, str]:
    return True, "this host reads the image volume and compares the digest"


# What must be so right before a copy is deleted.


def _kept_there(facts: KeptCopy) -> tuple[bool, str]:
    there = facts.kept in facts.stores and facts.kept != facts.removed
    return there, f"the image is {'' if there else 'not '}in store {quoted(facts.kept)}, whose copy is kept"


def _kept_same(facts: KeptCopy) -> tuple[bool, str]:
    if facts.planned is None:
        return True, "the image is not compared with an earlier one"
    was, now = facts.planned, facts.image
    same = was.size_bytes == now.size_bytes and (was.digest is None or was.digest == now.digest)
    return same, f"size and digest of the image are {'' if same else 'not '}those that were planned with"


def _kept_verified(facts: KeptCopy) -> tuple[bool, str]:
    return facts.verified, f"the copy in store {quoted(facts.kept)} is {'' if facts.verified else 'not '}verified"


def _kept_place(facts: KeptCopy) -> tuple[bool, str]:
    now, was = place_in_store(facts.kept, facts.image.locations), facts.verified_place
    if was is not None and now == was:
        return True, f"the copy that is kept is the one that was verified, in {was}"
    return False, f"the copy that is kept is in {said(now)}, and what was verified was in {said(was)}"


def _kept_volume(facts: KeptCopy) -> tuple[bool, str]:
    for volume_id in volumes_in_store(facts.kept, facts.image.locations):
        volume = facts.volumes.get(volume_id)
        if volume is None:
            return False, (
                f"Cinder shows these credentials no volume {volume_id}, whose data would be kept: use the credentials "
                "of the store, or run `imagevol audit`"
            )
        if volume.status not in ("available", "in-use") or volume.readonly is False:
            how = "not read-only" if volume.readonly is False else f"in status {quoted(volume.status)}"
            return False, f"volume {volume_id}, whose data would be kept, is {how}: run `imagevol audit`"
    return True, "the volume whose data is kept exists"


def _kept_apart(facts: KeptCopy) -> tuple[bool, str]:
    places = [(location.metadata.get("store"), _place(location)) for location in facts.image.locations]
    removed = {place for store, place in places if store == facts.removed}
    kept = {place for store, place in places if store != facts.removed}
    if shared := removed & kept:
        return False, f"both copies are in {said(min(shared))}, which Glance would delete"
    return True, "the copies are in different places"


def _place(location: ImageLocation) -> str:
    """The volume, whichever store names it; of other stores all that the URL says."""
    named = read_location(location.url)
    return f"volume {named.volume_id}" if isinstance(named, CinderLocation) else shown_url(location.url)


_SPEC = "[multi]"
_IMPORT = "glance.api.v2.images.ImagesController.import_image"
_WRITTEN = "glance.location.ImageProxy._verify_uploaded_data"
_DELETED = "glance.api.v2.images.ImagesController.delete_from_store"

VERIFICATION_RULES: Mapping[Policy, tuple[Choice[VerificationFacts, Verification], ...]] = {
    Policy.STRICT: (
        Choice(
            id="known-good",
            text="nothing: it was good before, and cannot be read again, or no reading is asked for",
            source=_SPEC,
            applies=_known_good,
            outcome=Verification.KNOWN,
        ),
        Choice(
            id="no-digest-to-compare",
            text="refused: there is nothing to compare with",
            source=_WRITTEN,
            applies=_no_digest,
            outcome=Verification.REFUSED,
        ),
        Choice(
            id="read-not-possible",
            text="refused: this host cannot read the copy, as was asked for",
            source=_SPEC,
            applies=_read_impossible,
            outcome=Verification.REFUSED,
        ),
        Choice(
            id="read-wished",
            text="read: the operator asks for it",
            source=_SPEC,
            applies=_read_wished,
            outcome=Verification.READ,
        ),
        Choice(
            id="read-again",
            text="read: it was good before this run, and may have been changed since",
            source=_SPEC,
            applies=_read_again,
            outcome=Verification.READ,
        ),
        Choice(
            id="glance-compared",
            text="written: Glance compares while it writes",
            source=_WRITTEN,
            applies=_glance_compared,
            outcome=Verification.WRITTEN,
        ),
        Choice(
            id="glance-alone",
            text="refused: only Glance may verify, and it does not write the copy",
            source=_SPEC,
            applies=_glance_alone,
            outcome=Verification.REFUSED,
        ),
        Choice(
            id="copy-not-readable",
            text="refused: neither Glance nor this host can verify the copy",
            source=_SPEC,
            applies=_unreadable,
            outcome=Verification.REFUSED,
        ),
        Choice(
            id="read-on-host",
            text="read: this host compares the digest",
            source=_SPEC,
            applies=_read_then,
            outcome=Verification.READ,
        ),
    ),
}
KEPT_RULES: Mapping[Policy, tuple[Requirement[KeptCopy], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="removed-seen", text="Glance shows which data is deleted", source=_SPEC, holds=leaving_seen, gate=True
        ),
        Requirement(id="kept-image-active", text="the image is active", source=_DELETED, holds=image_active),
        Requirement(id="kept-image-settled", text="Glance is not importing the image", source=_IMPORT, holds=no_import),
        Requirement(
            id="kept-copy-exists", text="the image is in the store that is kept", source=_DELETED, holds=_kept_there
        ),
        Requirement(
            id="kept-image-same", text="the image is the one that was planned", source=_WRITTEN, holds=_kept_same
        ),
        Requirement(id="kept-copy-verified", text="the kept copy is verified", source=_SPEC, holds=_kept_verified),
        Requirement(
            id="kept-copy-apart",
            text="the copies do not share a volume",
            source="glance.common.store_utils.safe_delete_from_backend",
            holds=_kept_apart,
        ),
        Requirement(
            id="kept-copy-unmoved",
            text="the kept copy is where it was verified",
            source=_SPEC,
            holds=_kept_place,
        ),
        Requirement(
            id="kept-volume-exists", text="Cinder shows the volume that is kept", source=_SPEC, holds=_kept_volume
        ),
        Requirement(
            id="removed-is-image",
            text="the volume that is deleted says that it is this image",
            source=_SPEC,
            holds=leaving_recorded,
        ),
        Requirement(
            id="removed-not-held", text="nothing holds the volume that is deleted", source=_SPEC, holds=leaving_held
        ),
        Requirement(
            id="removed-not-shared",
            text="no other image names the volume that is deleted",
            source=_SPEC,
            holds=leaving_shared,
        ),
    ),
}
