"""The rules that `templates` walks: may a template serve this request at all, and in what state is it ([template]).

It is the blueprint's list with what it leaves open; what SolidFire's driver looks at is in `upstream`.
"""

from __future__ import annotations

from imagevol_core.caching import decide_freshness
from imagevol_core.cloning import SIGNATURE_PROPERTIES
from imagevol_core.sentences import amount, answered, duration, listed, said
from imagevol_core.sizing import image_fits, virtual_size_bytes
from imagevol_core.templates.facts import OldTemplate, TemplateAction, TemplateRequest, TemplateState, least_gib
from imagevol_core.verdicts import Choice, Requirement

__all__ = ["STRICT_REQUEST_TEMPLATE_RULES", "STRICT_TEMPLATE_STATE_RULES"]


_WHERE = "in the backend's section of cinder.conf"


# May a template serve at all?


def templates_enabled(request: TemplateRequest) -> tuple[bool, str]:
    enabled = request.settings.enabled
    return (
        enabled,
        "templates are enabled" if enabled else f"templates are not enabled: set image_template_enabled {_WHERE}",
    )


def _internal_tenant_known(request: TemplateRequest) -> tuple[bool, str]:
    known = request.settings.internal_tenant
    text = answered(known, "Cinder's internal tenant is configured", "Cinder's internal tenant is not configured")
    if known is None:
        return True, f"{text}; it is taken to be"
    options = "set cinder_internal_tenant_project_id and cinder_internal_tenant_user_id"
    return known, text if known else f"{text}: {options}"


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
        return True, sharing(request)
    if not request.settings.shared:
        return (
            False,
            f"{sharing(request)}; templates of shared images are not enabled: set image_template_shared {_WHERE}",
        )
    return request.requester_reads is True, f"{sharing(request)}; {_READS[request.requester_reads]}"


def sharing(request: TemplateRequest) -> str:
    image, project_id = request.image, request.target.project_id
    return (
        f"the image's visibility is {said(image.visibility)}; "
        f"it belongs to {said(image.owner)} and the request comes from {said(project_id)}"
    )


def _virtual_size_known(request: TemplateRequest) -> tuple[bool, str]:
    size_bytes, claimed = virtual_size_bytes(request.image), request.image.properties.get("virtual_size")
    if size_bytes is not None:
        return True, f"the image's virtual size is {amount(size_bytes, 'byte')}"
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


def no_template(request: TemplateRequest) -> tuple[bool, str]:
    template = request.template
    if template is None:
        return True, "there is no template of the image on this backend"
    return False, f"volume {template.entry.volume_id} is its template"


def _maker_dead(request: TemplateRequest) -> tuple[bool, str]:
    return request.found.abandoned, _making(request)[1]


def _device_hangs(request: TemplateRequest) -> tuple[bool, str]:
    hangs = request.found.stalled and request.found.being_made_for is not None
    called = "a call of its device had not returned when it was given up" if hangs else "its device has not stalled"
    return hangs, f"{_making(request)[1]}; {called}"


def _making_overdue(request: TemplateRequest) -> tuple[bool, str]:
    taken, longest = request.found.being_made_for, request.settings.longest_making
    overdue = taken is not None and taken >= longest
    return overdue, f"{_making(request)[1]}; the limit is {duration(longest)}"


def _being_made(request: TemplateRequest) -> tuple[bool, str]:
    return _making(request)


def _making(request: TemplateRequest) -> tuple[bool, str]:
    template = request.found
    if template.being_made_for is None:
        return False, "no request is creating it"
    alive = answered(template.maker_alive, "its creator runs", "its creator has ended")
    return True, f"it has been in the making for {duration(template.being_made_for)}; {alive}"


def _broken(request: TemplateRequest) -> tuple[bool, str]:
    """What may be other bytes than were written, or cannot be cloned, or not to this size."""
    template, target = request.found, request.target
    least, size_gib = least_gib(request.image), template.entry.size_gib
    encryption = "it is encrypted" if template.encrypted else "it is not known whether it is encrypted"
    wrong = {
        f"its status is {said(template.status)}": template.status not in ("available", "in-use"),
        answered(template.readonly, "it is read-only", "it is not read-only"): template.readonly is not True,
        encryption: template.encrypted is not False,
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


_READS = {
    True: "Glance gives the requester the image's data",
    False: "Glance does not give the requester the image's data",
    None: "Glance was not asked for the image's data with the requester's token",
}
_SPEC = "[template]"
STRICT_REQUEST_TEMPLATE_RULES: tuple[Requirement[TemplateRequest], ...] = (
    Requirement(id="templates-enabled", text="templates are enabled", source=_SPEC, holds=templates_enabled),
    Requirement(
        id="internal-tenant-known",
        text="Cinder's internal tenant, to whom templates belong, is not known to be missing",
        source=_SPEC,
        holds=_internal_tenant_known,
    ),
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
)
CREATE = TemplateState(TemplateAction.CREATE)
_REMOVE_THEN_CREATE = TemplateState(TemplateAction.CREATE, OldTemplate.GOES_FIRST)
_CREATE_THEN_REMOVE = TemplateState(TemplateAction.REPLACE, OldTemplate.GOES_AFTER)
_WAIT, USE = TemplateState(TemplateAction.WAIT), TemplateState(TemplateAction.USE)
_COPY, FAIL = TemplateState(TemplateAction.COPY), TemplateState(TemplateAction.FAIL)
STRICT_TEMPLATE_STATE_RULES: tuple[Choice[TemplateRequest, TemplateState], ...] = (
    Choice(id="no-template", text="there is none: create it", source=_SPEC, applies=no_template, outcome=CREATE),
    Choice(
        id="maker-dead",
        text="its creator died: delete the remains and create it again",
        source=_SPEC,
        applies=_maker_dead,
        outcome=_REMOVE_THEN_CREATE,
    ),
    Choice(
        id="device-hangs",
        text="its device hangs, and a late write may come while its creator runs: copy",
        source=_SPEC,
        applies=_device_hangs,
        outcome=_COPY,
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
    Choice(id="ready", text="it is the image: use it", source=_SPEC, applies=_ready, outcome=USE),
)
