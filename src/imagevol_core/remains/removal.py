"""Whether an operator can delete a volume as an image volume, and what to do if not ([store])."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.facts import Volume
from imagevol_core.remains.attachments import HolderState
from imagevol_core.remains.volumes import RemainsAction, RemainsDecision
from imagevol_core.sentences import said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = ["REMOVAL_RULES", "RemovalDecision", "RemovalOutcome", "decide_removal"]


class RemovalOutcome(Enum):
    """What becomes of the volume; `IN_USE` is not deleted because something uses it, `REFUSE` for another reason."""

    DELETE = "delete"
    IN_USE = "in-use"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalDecision:
    """Whether a volume is deleted, and why.

    Attributes:
        volume_id: which volume.
        outcome: what becomes of it.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    volume_id: str
    outcome: RemovalOutcome
    verdicts: tuple[Verdict, ...]

    @property
    def allowed(self) -> bool:
        """Whether it is deleted."""
        return self.outcome is RemovalOutcome.DELETE

    @property
    def in_use(self) -> bool:
        """Whether it is not, because something uses it."""
        return self.outcome is RemovalOutcome.IN_USE

    @property
    def reason(self) -> str:
        """Why, and what to do if it is not deleted, as a sentence."""
        return self.verdicts[-1].text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at."""

    volume: Volume
    image_id: str | None
    lives: bool
    shown: bool
    sees_all: bool
    image_owner: str | None
    project_id: str | None
    base_image_id: str | None
    remains: RemainsDecision


def decide_removal(
    volume: Volume,
    *,
    remains: RemainsDecision,
    image_id: str | None = None,
    lives: bool = False,
    shown: bool = False,
    sees_all: bool = False,
    image_owner: str | None = None,
    project_id: str | None = None,
    base_image_id: str | None = None,
    policy: Policy = Policy.STRICT,
) -> RemovalDecision:
    """Decide whether a volume that an operator names can be deleted as an image volume ([store]).

    Args:
        volume: as Cinder shows it.
        remains: what `decide_remains` says of it, as a volume that an operator named.
        image_id: the image that its metadata names; None if it names none.
        lives: whether that image exists and may have its data in the volume.
        shown: whether Glance shows that image to the credentials.
        sees_all: whether Glance shows every image to the credentials, as it does to an administrator.
        image_owner: the project that owns that image, as the volume's metadata says; None if it does not say.
        project_id: the project of the credentials; None if it is not known.
        base_image_id: the image that Cinder created the volume from; None if it did not.
        policy: whose rules.  Under `UPSTREAM`, those of Cinder, which deletes what its API is asked to delete.

    >>> from datetime import UTC, datetime
    >>> from imagevol_core.remains.volumes import decide_remains
    >>> disk = Volume(id="7ad3", size_gib=1, status="available")
    >>> remains = decide_remains(disk, here=None, now=datetime(2026, 1, 1, tzinfo=UTC), named=True)
    >>> decide_removal(disk, remains=remains).reason
    'volume 7ad3 holds no image. If no program needs its data, run `openstack volume delete 7ad3`'
    """
    asked = _Asked(
        volume=volume,
        image_id=image_id,
        lives=lives,
        shown=shown,
        sees_all=sees_all,
        image_owner=image_owner,
        project_id=project_id,
        base_image_id=base_image_id,
        remains=remains,
    )
    outcome, verdicts = first_match(table_of(REMOVAL_RULES, policy), asked, subject=volume.id)
    return RemovalDecision(volume_id=volume.id, outcome=outcome, verdicts=verdicts)


def _data_of_an_image(asked: _Asked) -> tuple[bool, str]:
    return asked.lives, (
        f"volume {asked.volume.id} has the data of image {said(asked.image_id)}. Delete the image with "
        f"`openstack image delete {said(asked.image_id)}`, and Glance deletes the volume"
    )


def _may_be_hidden(asked: _Asked) -> tuple[bool, str]:
    own = asked.image_owner is not None and asked.image_owner == asked.project_id
    if asked.image_id is None or asked.shown or asked.sees_all or own:
        return False, "Glance hides no image that it names from these credentials"
    return True, (
        f"volume {asked.volume.id} names image {said(asked.image_id)}, which Glance does not show to these "
        f"credentials. Run the command with the credentials of an administrator, who sees every image"
    )


def _of_no_image_now(asked: _Asked) -> tuple[bool, str]:
    if asked.image_id is None:
        return False, "its metadata names no image"
    return True, f"its metadata names image {said(asked.image_id)}, which has no data here"


def _left(asked: _Asked) -> tuple[bool, str]:
    return asked.remains.action is RemainsAction.DELETE, asked.remains.reason


def _being_created(asked: _Asked) -> tuple[bool, str]:
    origin = asked.remains.origin
    runs = origin is not None and not origin.finished and asked.remains.state is HolderState.ALIVE
    return runs, f"{asked.remains}: wait until it has finished"


def _may_be_left(asked: _Asked) -> tuple[bool, str]:
    return asked.remains.action is RemainsAction.NAME, str(asked.remains)


def _made_by_cinder(asked: _Asked) -> tuple[bool, str]:
    volume, image_id = asked.volume, asked.base_image_id
    cached = volume.readonly is True and volume.source_volume_id is not None
    of = f"volume {said(volume.source_volume_id)}" + (f", of image {said(image_id)}" if image_id else "")
    return cached, (
        f"volume {volume.id} is a read-only clone of {of}, such as Cinder creates for its image cache. To remove it, "
        f"run `openstack volume delete {volume.id}` with credentials of its project: Cinder's cache then forgets it"
    )


def _attached(asked: _Asked) -> tuple[bool, str]:
    volume = asked.volume
    return volume.status in ("in-use", "attaching", "reserved"), (
        f"volume {volume.id} holds no image and is attached. If no program needs its data, detach it, and then run "
        f"`openstack volume delete {volume.id}`"
    )


def _other_data(asked: _Asked) -> tuple[bool, str]:
    volume = asked.volume
    return True, (
        f"volume {volume.id} holds no image. If no program needs its data, run `openstack volume delete {volume.id}`"
    )


def _as_asked(asked: _Asked) -> tuple[bool, str]:
    return True, f"Cinder deletes it if its state allows it (status {said(asked.volume.status)})"


_SPEC = "[store]"

REMOVAL_RULES: Mapping[Policy, tuple[Choice[_Asked, RemovalOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="data-of-an-image",
            text="refuse: an image has its data there",
            source=_SPEC,
            applies=_data_of_an_image,
            outcome=RemovalOutcome.IN_USE,
        ),
        Choice(
            id="image-may-be-hidden",
            text="refuse: Glance may hide the image that it names from these credentials",
            source=_SPEC,
            applies=_may_be_hidden,
            outcome=RemovalOutcome.REFUSE,
        ),
        Choice(
            id="of-no-image-now",
            text="delete it: the image that it names has no data there",
            source=_SPEC,
            applies=_of_no_image_now,
            outcome=RemovalOutcome.DELETE,
        ),
        Choice(
            id="left-by-the-dead",
            text="delete it: a killed process left it",
            source=_SPEC,
            applies=_left,
            outcome=RemovalOutcome.DELETE,
        ),
        Choice(
            id="being-created",
            text="refuse: a process is creating it",
            source=_SPEC,
            applies=_being_created,
            outcome=RemovalOutcome.IN_USE,
        ),
        Choice(
            id="may-be-left",
            text="refuse: a process may be creating it",
            source=_SPEC,
            applies=_may_be_left,
            outcome=RemovalOutcome.IN_USE,
        ),
        Choice(
            id="made-by-cinder",
            text="refuse: it is a read-only clone, such as Cinder creates for its image cache",
            source=_SPEC,
            applies=_made_by_cinder,
            outcome=RemovalOutcome.REFUSE,
        ),
        Choice(
            id="other-data-attached",
            text="refuse: it holds other data, in use",
            source=_SPEC,
            applies=_attached,
            outcome=RemovalOutcome.IN_USE,
        ),
        Choice(
            id="other-data",
            text="refuse: it holds other data",
            source=_SPEC,
            applies=_other_data,
            outcome=RemovalOutcome.REFUSE,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="as-asked",
            text="delete it",
            source="cinder.volume.api.API.delete",
            applies=_as_asked,
            outcome=RemovalOutcome.DELETE,
        ),
    ),
}
