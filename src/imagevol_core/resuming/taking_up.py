"""Whether a volume that a stopped command was filling is filled on, and what is left to do for its image ([store]).

The journal of the command says which volume it is.  That is not enough: the volume must show it too, by the mark that
it had from its first moment, and must be as it was left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import cast

from imagevol_core.facts import Digest, Image, Volume
from imagevol_core.locations import named_volume_ids
from imagevol_core.remains import JOURNAL_KEY, HolderState, VolumeOrigin
from imagevol_core.sentences import said
from imagevol_core.verdicts import Choice, Policy, Requirement, Verdict, evaluate, failed, first_match, table_of

__all__ = [
    "REGISTRATION_RULES",
    "TAKING_UP_RULES",
    "LeftVolume",
    "Registration",
    "TakingUp",
    "decide_registration",
    "decide_taking_up",
]

_STATES = ("creating", "available", "reserved", "attaching", "in-use", "detaching")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftVolume:
    """A volume that a stopped command was filling.

    Args:
        volume_id: the volume, as the journal names it.
        volume: as Cinder shows it; None if it shows none.
        journal_id: the journal.
        image_id: the image that the volume is for.
        project_id: the project of the credentials; None if it is not known.
        size_gib: how large it must be.
        process: whether the process that the volume names is dead.
        process_reason: how that is known, as a sentence.
        holders: who has it attached and is no dead process, a sentence each, if it can have several attachments: Cinder
            then lets this command write beside them.
    """

    volume_id: str
    volume: Volume | None
    journal_id: str
    image_id: str
    project_id: str | None
    size_gib: int
    process: HolderState = HolderState.UNKNOWN
    process_reason: str = "it names no process"
    holders: tuple[str, ...] = ()

    @property
    def shown(self) -> Volume:
        """The volume, for the rules after the one that says that Cinder shows none."""
        return cast(Volume, self.volume)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakingUp:
    """Whether a volume is filled on.

    Attributes:
        allowed: whether it is.
        finished: whether it is filled, and says so.
        verdicts: each rule that was looked at, and what it says.
    """

    allowed: bool
    finished: bool
    verdicts: tuple[Verdict, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not, a sentence each."""
        return tuple(verdict.text for verdict in failed(self.verdicts))


class Registration(Enum):
    """What is left to do for an image: `REGISTER` its volume, only `COMPLETE` it, or `REFUSE` to do anything."""

    REGISTER = "register"
    COMPLETE = "complete"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """What the rules of an image look at."""

    image_id: str
    image: Image | None
    volume_id: str | None
    digest: Digest | None

    @property
    def shown(self) -> Image:
        """The image, for the rules after the one that says that it is gone."""
        return cast(Image, self.image)


def decide_taking_up(left: LeftVolume, *, policy: Policy = Policy.STRICT) -> TakingUp:
    """Decide whether the volume that a stopped command was filling is filled on ([store]).

    Args:
        left: what is known of it.
        policy: whose rules.  Under `UPSTREAM`, those of glance_store 5.7.0, which fills no volume on.

    >>> marks = {**VolumeOrigin(procedure="put", image_id="e38f").to_volume(), JOURNAL_KEY: "5f0a"}
    >>> volume = Volume(id="7ad3", size_gib=1, project_id="mine", status="available", metadata=marks)
    >>> left = LeftVolume(volume_id="7ad3", volume=volume, journal_id="5f0a", image_id="e38f", project_id="mine",
    ...                   size_gib=1)
    >>> decide_taking_up(left).allowed
    True
    """
    verdicts = evaluate(table_of(TAKING_UP_RULES, policy), left, subject=left.volume_id)
    origin = VolumeOrigin.from_volume(left.volume.metadata) if left.volume else None
    finished = origin is not None and origin.finished
    return TakingUp(allowed=not failed(verdicts), finished=finished, verdicts=verdicts)


def decide_registration(
    image_id: str,
    image: Image | None,
    *,
    volume_id: str | None,
    digest: Digest | None = None,
    policy: Policy = Policy.STRICT,
) -> tuple[Registration, tuple[Verdict, ...]]:
    """Decide what is left to do for the image whose volume a stopped command was filling ([store]).

    Args:
        image_id: the image, as the journal names it.
        image: as Glance shows it; None if it shows none.
        volume_id: the volume; None if there is none yet.
        digest: the multihash of what is in the volume, by which its image is known where Glance shows no locations;
            None if it is not filled yet.
        policy: whose rules.  Under `UPSTREAM`, those of glance_store 5.7.0, which registers nothing.

    >>> decide_registration("e38f", Image(id="e38f", status="queued"), volume_id="7ad3")[0]
    <Registration.REGISTER: 'register'>
    """
    left = _Left(image_id=image_id, image=image, volume_id=volume_id, digest=digest)
    return first_match(table_of(REGISTRATION_RULES, policy), left, subject=image_id)


def _shown(left: LeftVolume) -> tuple[bool, str]:
    if left.volume is None:
        return False, f"volume {said(left.volume_id)} is gone"
    return True, f"Cinder shows volume {said(left.volume_id)}"


def _own(left: LeftVolume) -> tuple[bool, str]:
    project = left.shown.project_id
    own = project is not None and project == left.project_id
    return own, f"it lives in project {said(project)}, the project of the credentials is {said(left.project_id)}"


def _marked(left: LeftVolume) -> tuple[bool, str]:
    metadata = left.shown.metadata
    origin = VolumeOrigin.from_volume(metadata)
    if metadata.get(JOURNAL_KEY) != left.journal_id:
        return False, f"it names journal {said(metadata.get(JOURNAL_KEY))}, and not {said(left.journal_id)}"
    if origin is None or origin.image_id != left.image_id:
        return False, f"it is for image {said(origin and origin.image_id)}, and not for {said(left.image_id)}"
    return True, f"it names journal {said(left.journal_id)} and image {said(left.image_id)}"


def _not_cloned(left: LeftVolume) -> tuple[bool, str]:
    source = left.shown.source_volume_id
    return source is None, "it is no clone" if source is None else f"it is a clone of volume {said(source)}"


def _large(left: LeftVolume) -> tuple[bool, str]:
    size_gib = left.shown.size_gib
    return size_gib >= left.size_gib, f"it has {size_gib} GiB, and {left.size_gib} are needed"


def _usable(left: LeftVolume) -> tuple[bool, str]:
    status = left.shown.status
    return status in _STATES, f"its status is {said(status)}"


def _stopped(left: LeftVolume) -> tuple[bool, str]:
    return left.process is not HolderState.ALIVE, left.process_reason


def _alone(left: LeftVolume) -> tuple[bool, str]:
    if left.holders:
        return False, f"another program has it attached: {'; '.join(left.holders)}"
    return True, "no other program can write to it at the same time"


def _never(left: LeftVolume) -> tuple[bool, str]:
    return False, f"volume {said(left.volume_id)} is not filled on"


def _image_gone(left: _Left) -> tuple[bool, str]:
    if left.image is None:
        return True, f"Glance shows no image {said(left.image_id)} any more"
    return False, f"Glance shows image {said(left.image_id)}"


def _image_registered(left: _Left) -> tuple[bool, str]:
    image, volume = left.shown, f"volume {said(left.volume_id)}"
    if not image.locations:
        same = left.digest is not None and image.digest == left.digest
        return same, f"it has {'the' if same else 'no'} digest of {volume}, and Glance shows no location of it"
    names = left.volume_id in named_volume_ids(image)
    return names, f"its location names {volume}" if names else f"no location of it names {volume}"


def _image_queued(left: _Left) -> tuple[bool, str]:
    status = left.shown.status
    return status == "queued", f"image {said(left.image_id)} is {said(status)}"


def _image_other(left: _Left) -> tuple[bool, str]:
    return True, f"image {said(left.image_id)} has other data"


def _image_never(left: _Left) -> tuple[bool, str]:
    return True, f"image {said(left.image_id)} is not registered"


_SPEC = "[store]"
_UPSTREAM = "glance_store._drivers.cinder.store.Store"

TAKING_UP_RULES: Mapping[Policy, tuple[Requirement[LeftVolume], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="left-volume-shown",
            text="Cinder shows the volume",
            source=_SPEC,
            holds=_shown,
            gate=True,
        ),
        Requirement(
            id="left-volume-own",
            text="the volume lives in the project of the credentials",
            source=_SPEC,
            holds=_own,
        ),
        Requirement(
            id="left-volume-marked",
            text="the metadata of the volume names the journal and the image",
            source=_SPEC,
            holds=_marked,
        ),
        Requirement(
            id="left-volume-not-cloned",
            text="the volume is no clone, whose metadata is that of another volume",
            source=_SPEC,
            holds=_not_cloned,
        ),
        Requirement(
            id="left-volume-fits",
            text="the volume is large enough for the image",
            source=_SPEC,
            holds=_large,
        ),
        Requirement(
            id="left-volume-usable",
            text="the volume is available, attached or about to be",
            source=_SPEC,
            holds=_usable,
        ),
        Requirement(
            id="left-process-stopped",
            text="the process that was filling the volume does not run",
            source=_SPEC,
            holds=_stopped,
        ),
        Requirement(
            id="left-volume-alone",
            text="no other program has the volume attached, if it can have several attachments",
            source=_SPEC,
            holds=_alone,
        ),
    ),
    Policy.UPSTREAM: (
        Requirement(
            id="left-volume-never",
            text="no volume is filled on",
            source=_UPSTREAM,
            holds=_never,
        ),
    ),
}

REGISTRATION_RULES: Mapping[Policy, tuple[Choice[_Left, Registration], ...]] = {
    Policy.STRICT: (
        Choice(
            id="left-image-gone",
            text="refuse: the image is gone",
            source=_SPEC,
            applies=_image_gone,
            outcome=Registration.REFUSE,
        ),
        Choice(
            id="left-image-registered",
            text="complete it: Glance has taken the volume",
            source=_SPEC,
            applies=_image_registered,
            outcome=Registration.COMPLETE,
        ),
        Choice(
            id="left-image-queued",
            text="register the volume: the image has no data yet",
            source=_SPEC,
            applies=_image_queued,
            outcome=Registration.REGISTER,
        ),
        Choice(
            id="left-image-other",
            text="refuse: the image has other data",
            source=_SPEC,
            applies=_image_other,
            outcome=Registration.REFUSE,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="left-image-never",
            text="refuse: no volume is registered",
            source=_UPSTREAM,
            applies=_image_never,
            outcome=Registration.REFUSE,
        ),
    ),
}
