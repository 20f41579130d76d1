"""What the rules of templates look at, and what they come to ([template])."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import NamedTuple, cast

from imagevol_core.caching import CacheEntry, CacheLimits
from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Image, Volume, refuse_text
from imagevol_core.sizing import GIB, gib_for, least_size_bytes

__all__ = [
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
        being_made_for: how long it has been in the making; None if it is done.
        maker_alive: whether the process that makes it still runs; None if that is not known.
        stalled: whether a call of its device had not returned when its creator gave it up.

    Raises:
        InvalidFact: `being_made_for` is negative.
    """

    entry: CacheEntry
    status: str | None = None
    project_id: str | None = None
    readonly: bool | None = None
    encrypted: bool | None = None
    exhausted: bool = False
    being_made_for: timedelta | None = None
    maker_alive: bool | None = None
    stalled: bool = False

    @property
    def abandoned(self) -> bool:
        """Whether the process that made it has ended and left it half made."""
        return self.being_made_for is not None and self.maker_alive is False

    def __post_init__(self) -> None:
        """Refuse a clock that runs backwards."""
        if self.being_made_for is not None and self.being_made_for < timedelta(0):
            raise InvalidFact(
                "Template.being_made_for", f"{self.being_made_for} is negative; compare with a later time"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSettings:
    """What the operator allows of templates.

    Args:
        enabled: whether templates are made and used (SolidFire's `sf_allow_template_caching`).
        internal_tenant: whether Cinder's internal tenant, that owns templates, is configured; None if that is not
            known.
        trusted_projects: ids of the projects in which no user can alter a template.
        shared: whether a template may also serve a requester who does not own the image, to whom Glance gives its data:
            a member of a shared image, or any user for a community image.
        enforce_signatures: whether a signed image must be verified (Cinder's `verify_glance_signatures`), which Cinder
            does where it copies.
        longest_making: how long other requests wait for a template that is being made.
        limits: how large all templates of a backend can grow together.

    Raises:
        InvalidFact: a text is given in place of several project ids.
    """

    enabled: bool = False
    internal_tenant: bool | None = None
    trusted_projects: frozenset[str] = frozenset()
    shared: bool = True
    enforce_signatures: bool = False
    longest_making: timedelta = timedelta(minutes=30)
    limits: CacheLimits = field(default_factory=CacheLimits)

    def __post_init__(self) -> None:
        """Refuse a text, of which each letter would count."""
        refuse_text("TemplateSettings.trusted_projects", self.trusted_projects)


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
