"""What each step of a repair does. Nothing is decided here: `decide_repair_step` has allowed the step.

Each action can be taken again after it was broken off, and then comes to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs

from imagevol_adapters.cinder.volume_pages import is_volume_id
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.engine import Limits, clear_rest
from imagevol_adapters.gathering.repair import REPAIRED_BY
from imagevol_adapters.left_files import delete_left_file
from imagevol_adapters.ports import AccessMode, Attacher, Attachment
from imagevol_adapters.processes import origin
from imagevol_adapters.relocating import Hold, Mover
from imagevol_adapters.repairing.services import RepairImages, RepairVolumes
from imagevol_adapters.transfers import attached, disconnect_left
from imagevol_adapters.waiting import wait_until
from imagevol_core import (
    FINISHED,
    HOLD,
    STALL_SECONDS,
    CinderLocation,
    DeadlineExceeded,
    Image,
    ImageLocation,
    ImageVolumeMetadata,
    LocationChange,
    LocationOutcome,
    Policy,
    RepairAction,
    RepairStepFacts,
    RequestRefused,
    StoreCatalogue,
    UnreadMetadata,
    Volume,
    ZeroHandling,
    needs_clone,
    plan_added_location,
    plan_relocation,
    read_metadata,
    relocated,
)

__all__ = ["Actions", "Declined", "MakeTemplate"]

_INCOMPLETE = ("reserved", "attaching")

MakeTemplate = Callable[[Image, Volume], object]
"""Has the backend of an old template create a new one of the image."""


class Declined(RequestRefused):
    """A step cannot be taken here, or not now; nothing was changed."""


@attrs.frozen(kw_only=True)
class Actions:
    """Carries out the steps of repairs.

    Args:
        images: Glance.
        volumes: Cinder.
        attacher: this host; None where no volume can be attached.
        holder: the id of the journal, with which volumes are marked.
        catalogue: the stores of Glance; None if they are not known.
        delayed_delete: the option of that name in `glance-api.conf`.
        make_template: creates templates; None where that cannot be done.
        settle_seconds: how long a change may take to be seen.
        stall_seconds: how long a device may make no progress.
    """

    images: RepairImages
    volumes: RepairVolumes
    attacher: Attacher | None
    holder: str
    catalogue: StoreCatalogue | None = None
    delayed_delete: bool = False
    make_template: MakeTemplate | None = None
    settle_seconds: float = 10
    stall_seconds: float = STALL_SECONDS

    def act(self, facts: RepairStepFacts, hold: Hold) -> None:
        """Carry out a step.

        Args:
            facts: what was gathered right before it.
            hold: holds the volumes that must outlive the step.

        Raises:
            ImagevolError: it could not be done.
        """
        _ACTIONS[facts.step.action](self, facts, hold)

    def take_up(self, facts: RepairStepFacts, hold: Hold) -> None:
        """Take up what a step that was broken off has held.

        Args:
            facts: what was gathered since.
            hold: of the step.
        """
        if facts.step.action is RepairAction.ZERO_TAIL:
            self._disconnect_known(facts, hold)
        elif facts.step.action is not RepairAction.SET_LOCATION:
            return
        # As long as both locations are there, a request may be under way that removes the old one.
        to = dict(facts.step.arguments).get("to", "")
        new = [url for url in facts.urls if url == to or (facts.clone and url.endswith(facts.clone.id))]
        hold.needed = facts.url in facts.urls and bool(new)
        named = [facts.step.subject.id, *(url.rpartition("/")[2] for url in (facts.url, *facts.urls))]
        hold.take_up([name for name in dict.fromkeys(named) if is_volume_id(name)])

    def _disconnect_known(self, facts: RepairStepFacts, hold: Hold) -> None:
        """Take back what a process of this repair that is dead has left attached to this host.

        What it could not write down any more is told from another's, which is about to attach, by its staying.
        """
        volume_id, ours = facts.step.subject.id, set(hold.attachments.values())
        if facts.volume and facts.volume.metadata.get(HOLD) == self.holder:
            begun = {each.id for each in facts.attachments if each.status in _INCOMPLETE and not each.instance_id}

            def staying() -> set[str]:
                left = {each.id for each in self.volumes.holders(volume_id) if each.status in _INCOMPLETE}
                return begun & left

            with suppress(DeadlineExceeded):
                wait_until(
                    staying,
                    lambda left: not left,
                    what=f"volume {volume_id} is being attached",
                    seconds=self.settle_seconds,
                )
            ours |= staying()
        for attachment in facts.attachments:
            if attachment.id in ours:
                disconnect_left(attachment, volumes=self.volumes, attacher=self._host(facts))
                self.volumes.detach(Attachment(id=attachment.id, volume_id=volume_id, connection={}))

    def finish(self, facts: RepairStepFacts) -> None:
        """Do what may be left to do after a step that was taken.

        Args:
            facts: what was gathered.
        """
        if facts.step.action is RepairAction.SET_LOCATION and facts.clone:
            self.volumes.set_metadata(facts.clone.id, FINISHED)

    def set_read_only(self, volume_id: str) -> None:
        """Put back the mark that a step took away."""
        for volume in self.volumes.find([volume_id]):
            if not volume.readonly:
                self.volumes.set_readonly(volume_id, readonly=True)

    def _look_again(self, _facts: RepairStepFacts, _hold: Hold) -> None:
        """It was looked at again before this was called."""

    def _clone_volume(self, facts: RepairStepFacts, _hold: Hold) -> None:
        """Make a clone that says from its first moment what it is, and for which image."""
        image, source = _image(facts), _volume(facts)
        clone = facts.clone
        if clone is not None and str(clone.status).startswith("error"):
            self.volumes.delete(clone.id)
            clone = None
        if clone is None:
            clone = self.volumes.clone(source.id, name=f"image-{image.id}", metadata=self._clone_marks(source, image))
        self.volumes.wait(clone.id)
        self.set_read_only(clone.id)

    def _clone_marks(self, source: Volume, image: Image) -> dict[str, str]:
        recorded = read_metadata(source.metadata)
        if isinstance(recorded, UnreadMetadata):
            recorded = ImageVolumeMetadata(size_bytes=image.size_bytes, digest=image.digest)
        # Of a volume that was cloned no BLAKE3 is believed.
        marks = replace(recorded, image_id=image.id, image_owner=image.owner, blake3=None).to_volume()
        return {**marks, **origin("repair", image.id).to_volume(), REPAIRED_BY: self.holder}

    def _create_template(self, facts: RepairStepFacts, _hold: Hold) -> None:
        image = _image(facts)
        old = next((each.id for each in facts.planned.subjects if each.kind == "volume"), "")
        for volume in self.volumes.find([old]):
            if self.make_template is None:
                raise Declined(
                    f"no template of image {image.id} can be created here: run `imagevol templates warm {image.id} "
                    f"--volume-type {volume.volume_type}`"
                )
            self.make_template(image, volume)

    def _deactivate_image(self, facts: RepairStepFacts, _hold: Hold) -> None:
        self.images.deactivate(facts.step.subject.id)

    def _delete_attachment(self, facts: RepairStepFacts, _hold: Hold) -> None:
        volume_id = str(facts.attachment.volume_id) if facts.attachment else ""
        self.volumes.detach(Attachment(id=facts.step.subject.id, volume_id=volume_id, connection={}))

    def _delete_file(self, facts: RepairStepFacts, _hold: Hold) -> None:
        if facts.file is not None:
            delete_left_file(Path(facts.file.path))

    def _delete_image(self, facts: RepairStepFacts, _hold: Hold) -> None:
        self.images.delete(facts.step.subject.id)

    def _delete_volume(self, facts: RepairStepFacts, _hold: Hold) -> None:
        self.volumes.delete(facts.step.subject.id)

    def _disconnect(self, facts: RepairStepFacts, _hold: Hold) -> None:
        if facts.attachment:
            disconnect_left(facts.attachment, volumes=self.volumes, attacher=self._host(facts))

    def _release_hold(self, facts: RepairStepFacts, _hold: Hold) -> None:
        self.volumes.unset_metadata(facts.step.subject.id, [HOLD])

    def _remove_location(self, facts: RepairStepFacts, hold: Hold) -> None:
        """Remove it by the place that it has now, and see that it and no other one is gone."""
        image = _image(facts)
        now = self._mover.listed(image.id)
        if now is None or now.locations != image.locations:
            raise Declined(f"the locations of image {image.id} are being changed: go on when that has ended")
        removed = [location for location in now.locations if location.url == facts.url][:1]
        self._mover.move(image.id, there=now.locations, adding=[], removing=removed, hold=hold)

    def _set_location(self, facts: RepairStepFacts, hold: Hold) -> None:
        if needs_clone(facts.step):
            self._move_to_clone(facts, hold)
        else:
            self._rename_location(facts, hold)

    def _rename_location(self, facts: RepairStepFacts, hold: Hold) -> None:
        """Let a location name the store of its volume."""
        image, arguments = _image(facts), dict(facts.step.arguments)
        at = [location.url for location in image.locations].index(facts.url)
        before = image.locations[at]
        change = LocationChange(
            outcome=LocationOutcome.REPAIR,
            before=before,
            after=ImageLocation(arguments["to"], {**before.metadata, "store": arguments["store"]}),
            verdicts=(),
            image_id=image.id,
            position=at,
        )
        wanted = relocated(image.locations, [change])
        names = [location.url.rpartition("/")[2] for location in (*image.locations, *wanted)]
        relocation = plan_relocation(
            image,
            wanted=wanted,
            catalogue=_catalogue(self),
            volume_types=self.volumes.types_of(list(dict.fromkeys(names))),
            delayed_delete=self.delayed_delete,
        )
        if not relocation.planned:
            raise Declined(f"image {image.id} is left as it is: {relocation.reason}")
        with undone_on_failure(f"hold {self.holder} of the volumes of image {image.id}", hold.end):
            self._mover.carry_out(relocation, hold)
            hold.end()

    def _move_to_clone(self, facts: RepairStepFacts, hold: Hold) -> None:
        """Let a location name the image's own clone, while the volume of the other images is held."""
        image, clone = _image(facts), facts.clone
        if clone is None:
            raise Declined(f"the clone for image {image.id} is not there any more: run the repair again")
        self.set_read_only(clone.id)
        old = next(location for location in image.locations if location.url == facts.url)
        store = old.metadata.get("store")
        sent = ImageLocation(str(CinderLocation(store=store, volume_id=clone.id)), old.metadata)
        new = plan_added_location(
            sent, catalogue=_catalogue(self), volume_type=clone.volume_type, policy=Policy.UPSTREAM
        ).after
        with undone_on_failure(f"hold {self.holder} of volume {facts.planned.subjects[0].id}", hold.end):
            hold.begin([facts.planned.subjects[0].id])
            self._mover.move(
                image.id,
                there=image.locations,
                adding=[] if new in image.locations else [new],
                removing=[old],
                hold=hold,
            )
            hold.end()
        self.volumes.set_metadata(clone.id, FINISHED)

    def _set_metadata(self, facts: RepairStepFacts, _hold: Hold) -> None:
        self.volumes.set_metadata(facts.step.subject.id, dict(facts.step.arguments))

    def _set_read_only(self, facts: RepairStepFacts, _hold: Hold) -> None:
        self.volumes.set_readonly(facts.step.subject.id, readonly=True)

    def _set_writable(self, facts: RepairStepFacts, _hold: Hold) -> None:
        self.volumes.set_readonly(facts.step.subject.id, readonly=False)

    def _zero_tail(self, facts: RepairStepFacts, hold: Hold) -> None:
        """Let all after the image read as zeros, by the engine, which reads back what was cleared."""
        volume_id, from_bytes = facts.step.subject.id, int(dict(facts.step.arguments)["from_bytes"])
        attacher, volumes = self._host(facts), cast(RepairVolumes, _Remembering(self.volumes, hold))
        if _volume(facts).readonly:  # as when the repair failed before, which made it read-only again
            self.volumes.set_readonly(volume_id, readonly=False)
        self.volumes.set_metadata(volume_id, {HOLD: self.holder})
        hold.volume_ids = (volume_id,)
        with undone_on_failure(f"hold {self.holder} of volume {volume_id}", hold.end):
            limits = Limits(stall_seconds=self.stall_seconds)
            with attached(volume_id, mode=AccessMode.WRITE, volumes=volumes, attacher=attacher) as device:
                clear_rest(device, offset=from_bytes, zeros=ZeroHandling.PUNCH, limits=limits)
            hold.end()

    @property
    def _mover(self) -> Mover:
        return Mover(images=self.images, volumes=self.volumes, settle_seconds=self.settle_seconds)

    def _host(self, facts: RepairStepFacts) -> Attacher:
        if self.attacher is None:
            raise Declined(f"{facts.step}: no volume can be attached to this host; run the repair on one that can")
        return self.attacher


@attrs.frozen
class _Remembering:
    """Cinder, of which each attachment is written into the journal: before it is complete, nothing else tells whose."""

    _volumes: RepairVolumes
    _hold: Hold

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volumes, name)

    def attach(self, volume_id: str, **how: Any) -> Attachment:
        attachment = self._volumes.attach(volume_id, **how)
        with undone_on_failure(f"attachment {attachment.id}", partial(self._volumes.detach, attachment)):
            self._hold.remember({volume_id: attachment.id})
        return attachment


def _nothing(facts: RepairStepFacts, _hold: Hold) -> None:
    raise Declined(f"no API carries it out: {facts.step}")


_ACTIONS: Mapping[RepairAction, Callable[[Actions, RepairStepFacts, Hold], None]] = {
    RepairAction.LOOK_AGAIN: Actions._look_again,
    RepairAction.CLONE_VOLUME: Actions._clone_volume,
    RepairAction.CREATE_TEMPLATE: Actions._create_template,
    RepairAction.DEACTIVATE_IMAGE: Actions._deactivate_image,
    RepairAction.DELETE_ATTACHMENT: Actions._delete_attachment,
    RepairAction.DELETE_CACHE_ENTRY: lambda _, facts, hold: _nothing(facts, hold),
    RepairAction.DELETE_FILE: Actions._delete_file,
    RepairAction.DELETE_IMAGE: Actions._delete_image,
    RepairAction.DELETE_VOLUME: Actions._delete_volume,
    RepairAction.DISCONNECT: Actions._disconnect,
    RepairAction.RELEASE_HOLD: Actions._release_hold,
    RepairAction.REMOVE_LOCATION: Actions._remove_location,
    RepairAction.SET_LOCATION: Actions._set_location,
    RepairAction.SET_METADATA: Actions._set_metadata,
    RepairAction.SET_READ_ONLY: Actions._set_read_only,
    RepairAction.SET_WRITABLE: Actions._set_writable,
    RepairAction.ZERO_TAIL: Actions._zero_tail,
}


def _image(facts: RepairStepFacts) -> Image:
    if facts.image is None:
        raise Declined(f"image of step {facts.step} is not there any more")
    return facts.image


def _volume(facts: RepairStepFacts) -> Volume:
    if facts.volume is None:
        raise Declined(f"volume of step {facts.step} is not there any more")
    return facts.volume


def _catalogue(actions: Actions) -> StoreCatalogue:
    if actions.catalogue is None:
        raise Declined("the stores of Glance are not known: use credentials with the admin role")
    return actions.catalogue
