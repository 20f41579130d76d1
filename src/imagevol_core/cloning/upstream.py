"""What Cinder 29.0.0 asks before it clones an image volume, in its own order."""

from __future__ import annotations

from imagevol_core.cloning.facts import CloneCandidate, CloneRequest
from imagevol_core.cloning.rules import (
    cinder_urls_allowed,
    has_cinder_location,
    image_active,
    image_bare,
    image_raw,
    volume_found,
)
from imagevol_core.locations import NOT_A_URL
from imagevol_core.sentences import answered, said
from imagevol_core.sizing import image_fits
from imagevol_core.verdicts import Policy, Requirement

__all__ = ["UPSTREAM_REQUEST_RULES", "UPSTREAM_VOLUME_RULES"]


# What Cinder 29.0.0 decides instead.


def _image_fits_upstream(request: CloneRequest) -> tuple[bool, str]:
    verdict = image_fits(request.image, size_gib=request.target.size_gib, policy=Policy.UPSTREAM)
    return verdict.ok, verdict.text


def _target_not_encrypted_upstream(request: CloneRequest) -> tuple[bool, str]:
    encrypted = request.target.encrypted
    return not encrypted, answered(encrypted, "the new volume is encrypted", "the new volume is not encrypted")


def _locations_are_urls(request: CloneRequest) -> tuple[bool, str]:
    fatal = [str(error) for error in request.not_locations if error.reason == NOT_A_URL]
    return not fatal, f"Cinder fails with a ValueError: {fatal[0]}" if fatal else "Cinder can read each location"


def _volume_same_backend_upstream(candidate: CloneCandidate) -> tuple[bool, str]:
    source, target = candidate.volume, candidate.request.target
    if candidate.request.backend.clone_across_pools:
        return True, "Cinder looks at no host at all where the backend clones across pools"
    wanted, has = (target.cluster_name, source.cluster_name) if target.cluster_name else (target.host, source.host)
    if not wanted:
        return True, "Cinder looks at no host where the new volume has none"
    place = f"it is on {said(has)}" if has else "it is not known where it is,"
    text = f"{place} and Cinder asks its database for {said(wanted)}"
    return has is not None and _matches(wanted, has), text


def _volume_owner_upstream(candidate: CloneCandidate) -> tuple[bool, str]:
    owner, project_id = candidate.request.image.owner, candidate.request.target.project_id
    holder = candidate.volume.metadata.get("image_owner")
    text = f"the image belongs to {said(owner)}, the new volume to {said(project_id)}; image_owner is {said(holder)}"
    return owner in (project_id, holder), text


def _matches(wanted: str, has: str) -> bool:
    """As Cinder's `_filter_host` asks: exactly, and with SQL's LIKE (`_` and `%` are wild) where no pool is named."""
    tails = [] if "#" in wanted else ["#"] if "@" in wanted else ["#", "@"]
    return wanted == has or any(_begins_like(has, f"{wanted}{tail}") for tail in tails)


def _begins_like(text: str, pattern: str) -> bool:
    """Whether SQL's `text LIKE 'pattern%'` holds, in at most as many steps as the text times the pattern is long.

    As a regular expression, a pattern with a few `%` in it takes hours for a text of some hundred letters.
    """
    first, *pieces = pattern.split("%")
    if not _fits_at(text, 0, first):
        return False
    at = len(first)
    for piece in pieces:  # the first place that fits leaves most room for the others
        found = next((start for start in range(at, len(text) + 1) if _fits_at(text, start, piece)), None)
        if found is None:
            return False
        at = found + len(piece)
    return True


def _fits_at(text: str, start: int, piece: str) -> bool:
    """Whether the letters from there on are those of the piece, in which `_` is any letter."""
    there = text[start : start + len(piece)]
    return len(there) == len(piece) and all(map(_is_letter, piece, there))


def _is_letter(wanted: str, letter: str) -> bool:
    return wanted in ("_", letter)


_API = "cinder.volume.volume_utils.check_image_metadata"
_FLOW = "cinder CreateVolumeFromSpecTask._clone_image_volume"
UPSTREAM_REQUEST_RULES: tuple[Requirement[CloneRequest], ...] = (
    Requirement(id="image-active", text="the image is active", source=_API, holds=image_active),
    Requirement(
        id="image-fits",
        text="the image fits, with the virtual size rounded through a float",
        source=_API,
        holds=_image_fits_upstream,
    ),
    Requirement(
        id="cinder-urls-allowed",
        text="`cinder` is in `allowed_direct_url_schemes`",
        source="cinder CreateVolumeFromSpecTask._create_from_image",
        holds=cinder_urls_allowed,
    ),
    Requirement(
        id="target-not-encrypted",
        text="the new volume has no encryption key",
        source=_FLOW,
        holds=_target_not_encrypted_upstream,
    ),
    Requirement(id="image-bare", text="its container format is bare", source=_FLOW, holds=image_bare),
    Requirement(id="image-raw", text="its disk format is raw", source=_FLOW, holds=image_raw),
    Requirement(
        id="locations-are-urls",
        text="every location of the image, of whatever scheme, is a URL",
        source="cinder CreateVolumeFromSpecTask._extract_cinder_ids",
        holds=_locations_are_urls,
        raises=True,
    ),
    Requirement(
        id="has-cinder-location",
        text="a location of the image names a volume, as Cinder reads it",
        source=_FLOW,
        holds=has_cinder_location,
    ),
)
UPSTREAM_VOLUME_RULES: tuple[Requirement[CloneCandidate], ...] = (
    Requirement(id="volume-found", text="the volume exists", source=_FLOW, holds=volume_found, gate=True),
    Requirement(
        id="volume-same-backend",
        text="Cinder's database matches its host or cluster with the new volume's; not asked where the backend "
        "clones across pools",
        source=_FLOW,
        holds=_volume_same_backend_upstream,
    ),
    Requirement(
        id="volume-owner",
        text="the image belongs to the project of the *new* volume, or to the project that the volume's metadata names",
        source=_FLOW,
        holds=_volume_owner_upstream,
    ),
)
