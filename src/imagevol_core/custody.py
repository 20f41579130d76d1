"""Whether a store can give out, or delete, the volume that a location names ([store]).

A location is a user's word: who may write an image's locations may name a volume of another project, and the store's
service user may often read and delete every volume of the cloud.  So a volume counts as an image's only where it lives
in the store's own project, in which no user makes volumes, or where it says itself that it holds an image and is marked
read-only, as Cinder and the store's drivers mark it before they register it.  No user can write either on the volume of
another project; but its owner may have written the first on the volume that a server works with, and not the second.

Of which image a volume is cannot be asked here: Glance tells a store's driver the location, and not the image.  It
tells who adds a location, by asking for the size of the data under that user's name.  So a plain user can add only the
volumes that are the user's own.  A location that is there already is read and deleted without this rule: every project
reads a public image, and the project to which an administrator gave an image deletes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagevol_core.facts import Requester, Volume
from imagevol_core.sentences import answered, said
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate, failed, table_of

__all__ = [
    "ADDING_RULES",
    "DELETION_RULES",
    "HOLD",
    "READING_RULES",
    "CustodyDecision",
    "decide_adding",
    "decide_deletion",
    "decide_reading",
]

HOLD = "imagevol_hold"
"""The key of the metadata by which a volume outlives the location that named it; who writes it takes it away."""

_MARKS = ("glance_image_id", "image_id", "image_owner")  # Cinder writes the owner before it registers the location


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodyDecision:
    """Whether a store can read, delete or add a volume.

    Attributes:
        allowed: whether it can.
        verdicts: each rule that was looked at, and what it says.
    """

    allowed: bool
    verdicts: tuple[Verdict, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may not, a sentence each."""
        return tuple(verdict.text for verdict in failed(self.verdicts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at."""

    volume: Volume
    project_id: str | None
    requester: Requester | None = None
    is_admin: bool = False


def decide_adding(
    volume: Volume,
    *,
    project_id: str | None,
    requester: Requester | None,
    is_admin: bool = False,
    policy: Policy = Policy.STRICT,
) -> CustodyDecision:
    """Decide whether a requester can add a location that names a volume ([store]).

    Args:
        volume: the one that the location names.
        project_id: the project of the credentials by which the store asks Cinder; None if that is not known.
        requester: who adds the location, with the roles of its token and of a service's; None if it is Glance itself.
        is_admin: whether Glance takes the requester for an administrator.
        policy: whose rules.  Under `UPSTREAM`, those of glance_store 5.7.0, which takes whatever Cinder shows it.

    >>> theirs = Volume(id="7ad3", size_gib=1, project_id="service", metadata={"image_owner": "theirs"})
    >>> decide_adding(theirs, project_id="service", requester=Requester(project_id="mine")).reasons
    ('the requester, of project mine, is no administrator and no service, and the volume belongs to project theirs',)
    """
    verdicts = evaluate(
        table_of(ADDING_RULES, policy),
        _Asked(volume=volume, project_id=project_id, requester=requester, is_admin=is_admin),
        subject=volume.id,
    )
    return CustodyDecision(allowed=not failed(verdicts), verdicts=verdicts)


def decide_reading(volume: Volume, *, project_id: str | None, policy: Policy = Policy.STRICT) -> CustodyDecision:
    """Decide whether a store can give out the data of a volume ([store]).

    Args:
        volume: the one that a location names.
        project_id: the project of the credentials by which the store asks Cinder; None if that is not known.
        policy: whose rules.  Under `UPSTREAM`, those of glance_store 5.7.0, which gives out whatever Cinder shows it.

    >>> theirs = Volume(id="7ad3", size_gib=1, project_id="theirs", readonly=False, metadata={"image_id": "5f0a"})
    >>> print(*decide_reading(theirs, project_id="service").reasons)
    the volume lives in project theirs, the store's project is service; its metadata names an image; it is not read-only
    """
    return _decide(table_of(READING_RULES, policy), volume, project_id)


def decide_deletion(volume: Volume, *, project_id: str | None, policy: Policy = Policy.STRICT) -> CustodyDecision:
    """Decide whether a store can delete a volume because a location of it goes ([store]).

    Args:
        volume: the one that the location names.
        project_id: the project of the credentials by which the store asks Cinder; None if that is not known.
        policy: whose rules.  Under `UPSTREAM`, those of glance_store 5.7.0, which deletes whatever Cinder lets it.

    >>> decide_deletion(Volume(id="7ad3", size_gib=1, project_id="service", metadata={HOLD: "a move"}),
    ...                 project_id="service").reasons
    ('the volume is held by a move: it outlives this location',)
    """
    return _decide(table_of(DELETION_RULES, policy), volume, project_id)


def _decide(rules: tuple[Requirement[_Asked], ...], volume: Volume, project_id: str | None) -> CustodyDecision:
    verdicts = evaluate(rules, _Asked(volume=volume, project_id=project_id), subject=volume.id)
    return CustodyDecision(allowed=not failed(verdicts), verdicts=verdicts)


def _is_an_images(asked: _Asked) -> tuple[bool, str]:
    volume = asked.volume
    marks = [mark for mark in _MARKS if volume.metadata.get(mark)]
    lives = f"the volume lives in project {said(volume.project_id)}, the store's project is {said(asked.project_id)}"
    own = volume.project_id is not None and volume.project_id == asked.project_id
    readonly = answered(volume.readonly, "it is read-only", "it is not read-only")
    says = f"its metadata names {'an image' if marks else 'no image'}; {readonly}"
    return own or (bool(marks) and volume.readonly is True), f"{lives}; {says}"


def _not_held(asked: _Asked) -> tuple[bool, str]:
    holder = asked.volume.metadata.get(HOLD)
    return (
        not holder,
        f"the volume is held by {said(holder)}: it outlives this location" if holder else "no operation holds it",
    )


def _adder_trusted(asked: _Asked) -> tuple[bool, str]:
    volume, requester = asked.volume, asked.requester
    if requester is None:
        return True, "Glance asks for itself"
    if asked.is_admin or _SERVICE in requester.roles:
        return True, f"the requester is {'an administrator' if asked.is_admin else 'a service'}"
    in_store = volume.project_id is not None and volume.project_id == asked.project_id
    owner = volume.metadata.get("image_owner") if in_store else volume.project_id
    about = f"the requester, of project {said(requester.project_id)},"
    # A store without credentials of its own asks Cinder as the requester, who need not be told a volume's project.
    if requester.project_id and requester.project_id in (owner, volume.project_id, asked.project_id):
        return True, f"{about} sees the volume as its own"
    return False, f"{about} is no administrator and no service, and the volume belongs to project {said(owner)}"


def _shown(asked: _Asked) -> tuple[bool, str]:
    return True, f"Cinder shows volume {said(asked.volume.id)} to the store, which asks no more"


_SPEC = "[store]"
_SERVICE = "service"  # the role that Glance and Cinder ask of services
_AN_IMAGES = Requirement(
    id="volume-is-an-images",
    text="the volume lives in the store's own project, or is read-only and says that it holds an image",
    source=_SPEC,
    holds=_is_an_images,
)
_SHOWN = Requirement(
    id="volume-shown",
    text="Cinder shows the volume to the store's credentials",
    source="glance_store._drivers.cinder.store.Store",
    holds=_shown,
)

ADDING_RULES: Mapping[Policy, tuple[Requirement[_Asked], ...]] = {
    Policy.STRICT: (
        _AN_IMAGES,
        Requirement(
            id="adder-trusted",
            text="the requester is an administrator or a service, or the volume belongs to its project",
            source=_SPEC,
            holds=_adder_trusted,
        ),
    ),
    Policy.UPSTREAM: (_SHOWN,),
}
READING_RULES: Mapping[Policy, tuple[Requirement[_Asked], ...]] = {
    Policy.STRICT: (_AN_IMAGES,),
    Policy.UPSTREAM: (_SHOWN,),
}
DELETION_RULES: Mapping[Policy, tuple[Requirement[_Asked], ...]] = {
    Policy.STRICT: (
        _AN_IMAGES,
        Requirement(
            id="volume-not-held",
            text=f"no `{HOLD}` in its metadata holds it",
            source=_SPEC,
            holds=_not_held,
        ),
    ),
    Policy.UPSTREAM: (_SHOWN,),
}
