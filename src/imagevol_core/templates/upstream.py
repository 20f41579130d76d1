"""What SolidFire's driver of cinder 13.0.9 looks at, the last but one that had templates."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from imagevol_core.templates.facts import OldTemplate, TemplateAction, TemplateRequest, TemplateState
from imagevol_core.templates.rules import CREATE, FAIL, USE, no_template, sharing, templates_enabled
from imagevol_core.verdicts import Choice, Requirement

__all__ = ["UPSTREAM_REQUEST_TEMPLATE_RULES", "UPSTREAM_TEMPLATE_STATE_RULES"]


def _image_shared_upstream(request: TemplateRequest) -> tuple[bool, str]:
    image = request.image
    return image.visibility == "public" or image.owner == request.target.project_id, sharing(request)


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


_CLONE = "cinder 13.0.9 SolidFireDriver.clone_image"
_VERIFY = "cinder 13.0.9 SolidFireDriver._verify_image_volume"
UPSTREAM_REQUEST_TEMPLATE_RULES: tuple[Requirement[TemplateRequest], ...] = (
    Requirement(id="templates-enabled", text="templates are enabled", source=_CLONE, holds=templates_enabled),
    Requirement(
        id="image-shared",
        text="the image is public, or the image owner is the requester (or both are unset)",
        source=_CLONE,
        holds=_image_shared_upstream,
    ),
)
_REMOVE_THEN_REPLACE = TemplateState(TemplateAction.REPLACE, OldTemplate.GOES_FIRST)
UPSTREAM_TEMPLATE_STATE_RULES: tuple[Choice[TemplateRequest, TemplateState], ...] = (
    Choice(
        id="template-unrecorded",
        text="the template records no date: the request fails",
        source=_VERIFY,
        applies=_template_unrecorded,
        outcome=FAIL,
    ),
    Choice(
        id="image-undated",
        text="the image has no date: the request fails",
        source=_VERIFY,
        applies=_image_undated,
        outcome=FAIL,
    ),
    Choice(id="no-template", text="there is none: create it", source=_VERIFY, applies=no_template, outcome=CREATE),
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
        outcome=USE,
    ),
)
