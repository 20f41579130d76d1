"""The rules that `templates` walks: may a template serve this request at all, and in what state is it ([template]).

`STRICT` is the blueprint's list with what it leaves open; `UPSTREAM` is what SolidFire's driver of cinder 13.0.9 looks
at, the last but one that had templates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple, cast

from imagevol_core.caching import CacheEntry, CacheLimits, decide_freshness
from imagevol_core.clone_rules import SIGNATURE_PROPERTIES
from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Image, Volume
from imagevol_core.sentences import answered, listed, said
from imagevol_core.sizing import GIB, gib_for, image_fits, least_size_bytes, virtual_size_bytes
from imagevol_core.verdicts import Choice, Policy, Requirement

__all__ = [
    "REQUEST_TEMPLATE_RULES",
    "TEMPLATE_STATE_RULES",
    "OldTemplate",
    "Template",
    "TemplateAction",
    "TemplateRequest",
    "TemplateSettings",
    "TemplateState",
    "least_gib",
    "least_gib_upstream",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The template of an image on one backend.

    Args:
        entry: the volume, and what was known of the image when it was written.
        status: Cinder's status of the volume.
        project_id: the project that it lives in.
        readonly: whether it is marked so that no attachment may write to it.
        encrypted: whether its bytes are ciphertext, as after a retype to an encrypted type; None if it is not known.
        exhausted: whether the storage allows no more clones of it.
        being_made_for: how long somebody has been making it; None when it is done.
        maker_alive: whether the one who makes it still does; None where nobody can tell.

    Raises:
        InvalidFact: it has been in the making for less than no time.
    """

    entry: CacheEntry
    status: str | None = None
    project_id: str | None = None
    readonly: bool | None = None
    encrypted: bool | None = None
    exhausted: bool = False
    being_made_for: timedelta | None = None
    maker_alive: bool | None = None

    def __post_init__(self) -> None:
        """Refuse a clock that runs backwards."""
        if self.being_made_for is not None and self.being_made_for < timedelta(0):
            raise InvalidFact(
                "Template.being_made_for", f"{self.being_made_for} is negative; compare with a later time"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSettings:
    """What the operator allows.

    Args:
        enabled: whether templates are made and used (SolidFire's `sf_allow_template_caching`).
        trusted_projects: ids of the projects in which no user can alter a template.
        shared: whether a template may also serve a requester who does not own the image, to whom Glance gives its data:
            a member of a shared image, or any user for a community image.
        enforce_signatures: whether a signed image must be verified (Cinder's `verify_glance_signatures`), which Cinder
            does where it copies.
        longest_making: how long the making of a template may take; then the others no longer wait for it.
        limits: how large all templates of a backend may grow together.
    """

    enabled: bool = False
    trusted_projects: frozenset[str] = frozenset()
    shared: bool = True
    enforce_signatures: bool = False
    longest_making: timedelta = timedelta(minutes=30)
    limits: CacheLimits = field(default_factory=CacheLimits)


class TemplateAction(Enum):
    """What to do about a template.

    `COPY` leaves templates aside: the volume is made in another way, in the end by a copy.  `FAIL` is only of
    `UPSTREAM`: the driver raises, and the request fails with it.
    """

    USE = "use"
    CREATE = "create"
    REPLACE = "replace"
    WAIT = "wait"
    COPY = "copy"
    FAIL = "fail"


class OldTemplate(Enum):
    """What becomes of the template that there is.

    `GOES_FIRST`: before another is made, for nothing is lost with it.  `GOES_AFTER`: when the new one is ready; where
    that fails, what there was is still there to be looked at.
    """

    STAYS = "stays"
    GOES_FIRST = "goes-first"
    GOES_AFTER = "goes-after"


class TemplateState(NamedTuple):
    """What follows from the state of a template."""

    action: TemplateAction
    old: OldTemplate = OldTemplate.STAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRequest:
    """What the rules look at."""

    image: Image
    target: Volume
    template: Template | None
    settings: TemplateSettings
    requester_reads: bool | None

    @property
    def found(self) -> Template:
        """The template, for the rules after the one that says that there is none."""
        return cast(Template, self.template)


def least_gib(image: Image) -> int | None:
    """Give the size of an image's template, in GiB, which leaves `min_disk` to its clones; None if it is not known."""
    size_bytes = least_size_bytes(image)
    return None if size_bytes is None else gib_for(size_bytes)


def least_gib_upstream(image: Image) -> int | None:
    """Give the size at which Cinder makes a template or cached volume: the virtual size, rounded through a float.

    None if it is not known, or too large for a float: Cinder's API has failed on such an image before.
    """
    try:
        return None if image.virtual_size_bytes is None else math.ceil(float(image.virtual_size_bytes) / GIB)
    except OverflowError:
        return None


_WHERE = "in the backend's section of cinder.conf"

# May a template serve at all?


def _templates_enabled(request: TemplateRequest) -> tuple[bool, str]:
    enabled = request.settings.enabled
    return (
        enabled,
        "templates are enabled" if enabled else f"templates are not enabled: set image_template_enabled {_WHERE}",
    )


def _image_active(request: TemplateRequest) -> tuple[bool, str]:
    return request.image.status == "active", f"the image's status is {said(request.image.status)}"


def _image_bare(request: TemplateRequest) -> tuple[bool, str]:
    container = request.image.container_format
    return container == "bare", f"the image's container_format is {said(container)}"


def _signature_unneeded(request: TemplateRequest) -> tuple[bool, str]:
    if not request.settings.enforce_signatures:
        return True, "signatures are not enforced"
    signed = [key for key in SIGNATURE_PROPERTIES if key in request.image.properties]
    return not signed, f"signatures are enforced, and of theirs the image has {listed(signed)}"


def _image_shared(request: TemplateRequest) -> tuple[bool, str]:
    image, project_id = request.image, request.target.project_id
    if image.visibility == "public" or (image.owner is not None and image.owner == project_id):
        return True, _sharing(request)
    if not request.settings.shared:
        return (
            False,
            f"{_sharing(request)}; templates of shared images are not enabled: set image_template_shared {_WHERE}",
        )
    return request.requester_reads is True, f"{_sharing(request)}; {_READS[request.requester_reads]}"


def _image_shared_upstream(request: TemplateRequest) -> tuple[bool, str]:
    image = request.image
    return image.visibility == "public" or image.owner == request.target.project_id, _sharing(request)


def _sharing(request: TemplateRequest) -> str:
    image, project_id = request.image, request.target.project_id
    return (
        f"the image's visibility is {said(image.visibility)}; "
        f"it belongs to {said(image.owner)} and the request comes from {said(project_id)}"
    )


def _virtual_size_known(request: TemplateRequest) -> tuple[bool, str]:
    size_bytes, claimed = virtual_size_bytes(request.image), request.image.properties.get("virtual_size")
    if size_bytes is not None:
        return True, f"the image's virtual size is {size_bytes} bytes"
    if claimed is None:
        return False, "the image's virtual size is not known"
    return False, f"the image's property virtual_size is {claimed[:40]!a}, which is not a number of bytes above 0"


def _image_fits(request: TemplateRequest) -> tuple[bool, str]:
    verdict = image_fits(request.image, size_gib=request.target.size_gib)
    return verdict.ok, verdict.text


def _target_not_encrypted(request: TemplateRequest) -> tuple[bool, str]:
    encrypted = request.target.encrypted
    return encrypted is False, answered(encrypted, "the new volume is encrypted", "the new volume is not encrypted")


# In what state is it?


def _no_template(request: TemplateRequest) -> tuple[bool, str]:
    template = request.template
    if template is None:
        return True, "there is no template of the image on this backend"
    return False, f"volume {template.entry.volume_id} is its template"


def _maker_dead(request: TemplateRequest) -> tuple[bool, str]:
    making, text = _making(request)
    return making and request.found.maker_alive is False, text


def _making_overdue(request: TemplateRequest) -> tuple[bool, str]:
    taken, longest = request.found.being_made_for, request.settings.longest_making
    overdue = taken is not None and taken >= longest
    return overdue, f"{_making(request)[1]}; {longest} are allowed"


def _being_made(request: TemplateRequest) -> tuple[bool, str]:
    return _making(request)


def _making(request: TemplateRequest) -> tuple[bool, str]:
    template = request.found
    if template.being_made_for is None:
        return False, "no request is creating it"
    alive = answered(template.maker_alive, "its creator runs", "its creator has ended")
    return True, f"it has been in the making for {template.being_made_for}; {alive}"


def _broken(request: TemplateRequest) -> tuple[bool, str]:
    """What may be other bytes than were written, or cannot be cloned, or not to this size."""
    template, target = request.found, request.target
    least, size_gib = least_gib(request.image), template.entry.size_gib
    wrong = {
        f"its status is {said(template.status)}": template.status not in ("available", "in-use"),
        answered(template.readonly, "it is read-only", "it is not read-only"): template.readonly is not True,
        answered(template.encrypted, "it is encrypted", "it is not encrypted"): template.encrypted is not False,
        f"it is in project {said(template.project_id)}, which is not trusted": template.project_id
        not in request.settings.trusted_projects,
        f"it has {size_gib} GiB, and the image needs {least} GiB": least is None or size_gib < least,
        f"it has {size_gib} GiB, and the new volume {target.size_gib} GiB": size_gib > target.size_gib,
    }
    reasons = [text for text, holds in wrong.items() if holds]
    return bool(reasons), "; ".join(reasons) or "it is whole, read-only, not encrypted and in a trusted project"


def _exhausted(request: TemplateRequest) -> tuple[bool, str]:
    exhausted = request.found.exhausted
    return exhausted, f"the storage allows {'no ' if exhausted else ''}more clones of it"


def _stale(request: TemplateRequest) -> tuple[bool, str]:
    freshness = decide_freshness(request.image, entry=request.found.entry)
    return not freshness.fresh, freshness.because


def _ready(request: TemplateRequest) -> tuple[bool, str]:
    return True, f"volume {request.found.entry.volume_id} is the image"


# What SolidFire's driver decides instead.


def _template_unrecorded(request: TemplateRequest) -> tuple[bool, str]:
    template = request.template
    unrecorded = template is not None and template.entry.image_updated_at is None
    return unrecorded, "the driver fails with a KeyError" if unrecorded else "what there is records the image's date"


def _image_undated(request: TemplateRequest) -> tuple[bool, str]:
    undated = request.image.updated_at is None
    return undated, "the driver fails with an AttributeError" if undated else "the image's date is known"


def _other_date(request: TemplateRequest) -> tuple[bool, str]:
    now, then = _spelled(request.image.updated_at), _spelled(request.found.entry.image_updated_at)
    return now != then, f"the image's updated_at is {now}, and was {then}"


def _same_date(request: TemplateRequest) -> tuple[bool, str]:
    return True, _other_date(request)[1]


def _spelled(value: datetime | None) -> str:
    """As the driver writes and compares it: one instant in two zones is two texts."""
    return cast(datetime, value).isoformat()


_READS = {
    True: "Glance gives the requester the image's data",
    False: "Glance does not give the requester the image's data",
    None: "Glance was not asked for the image's data with the requester's token",
}


_SPEC = "[template]"
_CLONE = "cinder 13.0.9 SolidFireDriver.clone_image"
_VERIFY = "cinder 13.0.9 SolidFireDriver._verify_image_volume"

REQUEST_TEMPLATE_RULES: Mapping[Policy, tuple[Requirement[TemplateRequest], ...]] = {
    Policy.STRICT: (
        Requirement(id="templates-enabled", text="templates are enabled", source=_SPEC, holds=_templates_enabled),
        Requirement(id="image-active", text="the image is active", source=_SPEC, holds=_image_active),
        Requirement(
            id="image-shared",
            text="the image is public, or belongs to the requester's project, or, where templates of shared images are "
            "enabled, Glance gives the requester its data",
            source=_SPEC,
            holds=_image_shared,
        ),
        Requirement(
            id="virtual-size-known",
            text="the image or its properties say its virtual size, or it is raw and its size is known",
            source=_SPEC,
            holds=_virtual_size_known,
        ),
        Requirement(id="image-fits", text="the image fits the new volume", source=_SPEC, holds=_image_fits),
        Requirement(
            id="target-not-encrypted",
            text="the new volume is known not to be encrypted",
            source=_SPEC,
            holds=_target_not_encrypted,
        ),
        Requirement(id="image-bare", text="the image is in no container", source=_SPEC, holds=_image_bare),
        Requirement(
            id="signature-unneeded",
            text="where signatures are enforced, the image has none: Cinder's copy verifies it",
            source=_SPEC,
            holds=_signature_unneeded,
        ),
    ),
    Policy.UPSTREAM: (
        Requirement(id="templates-enabled", text="templates are enabled", source=_CLONE, holds=_templates_enabled),
        Requirement(
            id="image-shared",
            text="the image is public, or the image owner is the requester (or both are unset)",
            source=_CLONE,
            holds=_image_shared_upstream,
        ),
    ),
}

_CREATE = TemplateState(TemplateAction.CREATE)
_REMOVE_THEN_CREATE = TemplateState(TemplateAction.CREATE, OldTemplate.GOES_FIRST)
_REMOVE_THEN_REPLACE = TemplateState(TemplateAction.REPLACE, OldTemplate.GOES_FIRST)
_CREATE_THEN_REMOVE = TemplateState(TemplateAction.REPLACE, OldTemplate.GOES_AFTER)
_WAIT, _USE = TemplateState(TemplateAction.WAIT), TemplateState(TemplateAction.USE)
_COPY, _FAIL = TemplateState(TemplateAction.COPY), TemplateState(TemplateAction.FAIL)

TEMPLATE_STATE_RULES: Mapping[Policy, tuple[Choice[TemplateRequest, TemplateState], ...]] = {
    Policy.STRICT: (
        Choice(id="no-template", text="there is none: create it", source=_SPEC, applies=_no_template, outcome=_CREATE),
        Choice(
            id="maker-dead",
            text="its creator died: delete the remains and create it again",
            source=_SPEC,
            applies=_maker_dead,
            outcome=_REMOVE_THEN_CREATE,
        ),
        Choice(
            id="making-overdue",
            text="it takes longer than is allowed: copy",
            source=_SPEC,
            applies=_making_overdue,
            outcome=_COPY,
        ),
        Choice(
            id="being-made",
            text="another request is creating it: wait",
            source=_SPEC,
            applies=_being_made,
            outcome=_WAIT,
        ),
        Choice(
            id="broken",
            text="it cannot be cloned, or could have been altered: replace it",
            source=_SPEC,
            applies=_broken,
            outcome=_CREATE_THEN_REMOVE,
        ),
        Choice(
            id="exhausted",
            text="the storage allows no more clones of it: replace it",
            source=_SPEC,
            applies=_exhausted,
            outcome=_CREATE_THEN_REMOVE,
        ),
        Choice(
            id="stale",
            text="it is no longer the image: replace it",
            source=_SPEC,
            applies=_stale,
            outcome=_CREATE_THEN_REMOVE,
        ),
        Choice(id="ready", text="it is the image: use it", source=_SPEC, applies=_ready, outcome=_USE),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="template-unrecorded",
            text="the template records no date: the request fails",
            source=_VERIFY,
            applies=_template_unrecorded,
            outcome=_FAIL,
        ),
        Choice(
            id="image-undated",
            text="the image has no date: the request fails",
            source=_VERIFY,
            applies=_image_undated,
            outcome=_FAIL,
        ),
        Choice(
            id="no-template", text="there is none: create it", source=_VERIFY, applies=_no_template, outcome=_CREATE
        ),
        Choice(
            id="other-date",
            text="the image's date is spelled otherwise: delete it, and create it anew",
            source=_VERIFY,
            applies=_other_date,
            outcome=_REMOVE_THEN_REPLACE,
        ),
        Choice(
            id="same-date",
            text="the image's date is the same: use it",
            source=_VERIFY,
            applies=_same_date,
            outcome=_USE,
        ),
    ),
}
