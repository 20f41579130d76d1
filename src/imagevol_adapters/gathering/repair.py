"""What is known right before a step of a repair: its subjects, gathered anew, and the same audit of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from socket import gethostname

import attrs

from imagevol_adapters.gathering.audit import AuditedImages, CloudAudit, state_of
from imagevol_adapters.gathering.claims import VolumeClaims
from imagevol_adapters.left_files import file_of_this_host
from imagevol_adapters.ports import VolumeService
from imagevol_core import (
    AttachmentFacts,
    CinderLocation,
    DeepCheck,
    Finding,
    HolderState,
    Image,
    RepairAction,
    RepairStep,
    RepairStepFacts,
    ResourceNotFound,
    Volume,
    found_again,
    named_volume_ids,
    needs_clone,
    read_location,
)

__all__ = ["REPAIRED_BY", "RepairSource", "gather_repair_step"]

REPAIRED_BY = "imagevol_repair"
"""The key of the metadata by which a clone names the journal of the repair that made it."""

_CLOCKS = timedelta(minutes=10)  # by which the clocks of Glance and of this host may differ
_READ = (RepairAction.ZERO_TAIL, RepairAction.DEACTIVATE_IMAGE, RepairAction.REMOVE_LOCATION)


@attrs.frozen(kw_only=True)
class RepairSource:
    """Where what is known before a step comes from.

    Args:
        audit: of the cloud; it is asked again about the subjects.
        volumes: Cinder.
        began: when the audit began that gave the findings.
        include_likely: whether the operator includes what is only likely.
        host: the name of this host, as Cinder has it of attachments; None where no volume can be attached.
        holder: the id of the journal.
        read: reads a volume from end to end, for a finding that only reading gives; None where nothing is read.
    """

    audit: CloudAudit
    volumes: VolumeService
    began: datetime
    include_likely: bool = False
    host: str | None = None
    holder: str | None = None
    read: Callable[[Volume, Image | None], DeepCheck | None] | None = None

    @property
    def images(self) -> AuditedImages:
        """Glance."""
        return self.audit.images


def gather_repair_step(
    source: RepairSource,
    *,
    planned: Finding,
    step: RepairStep,
    claims: VolumeClaims,
    opened: bool = False,
    begun: bool = False,
) -> RepairStepFacts:
    """Look at the subjects of a finding again, and ask the audit about them.

    Besides what the finding names or rests on, all images are looked at that have changed since the audit began: only
    by such a change can an image have come to name a volume that it did not name.  Reading a volume takes long, so what
    decides is gathered after it.

    Args:
        source: where the facts come from.
        planned: the finding.
        step: the step that is about to be taken.
        claims: which images name which volumes.
        opened: whether the repair has made the volume writable.
        begun: whether the repair has begun the step, or one that takes its subject away.

    Raises:
        ImagevolError: something cannot be asked.
    """
    putting_back = opened and step.action is RepairAction.SET_READ_ONLY  # which is done whatever is found
    findings = () if putting_back else _found(source, planned)
    image = _image(source, step)
    attachment = _attachment(source, step)
    volume = _volume(source, step, attachment)
    named = named_volume_ids(image) if image else ()
    others = tuple(source.volumes.find(named)) if named else ()
    return RepairStepFacts(
        step=step,
        planned=planned,
        found=found_again(planned, findings),
        settings=replace(source.audit.settings, now=source.audit.clock()),
        image=image,
        volume=volume,
        source=_source(source, volume),
        attachment=_with_host(source, attachment, volume),
        attachments=source.volumes.holders(volume.id) if volume else (),
        file=file_of_this_host(step.subject.id) if step.subject.kind == "file" else None,
        of_this_host=step.subject.id.partition(":")[0] == gethostname(),
        existing=frozenset(each.id for each in others),
        recording=source.audit.volumes.recording(image.id) if image and _deletes_image(step) else (),
        others=others,
        claimants=claims.of(_changed(step, image)) if _asks_for_claims(step) else (),
        findings=findings,
        begun=begun,
        clone=_clone(source, planned, image) if image and needs_clone(step) else None,
        opened=opened,
        include_likely=source.include_likely,
        project_id=source.volumes.project_id,
        host=source.host,
        holder=source.holder,
        catalogue=source.audit.catalogue,
    )


def _image(source: RepairSource, step: RepairStep) -> Image | None:
    """The image of a step, which for a clone is the one that gets it."""
    image_id = dict(step.arguments).get("image") if needs_clone(step) else None
    if image_id is None and step.subject.kind != "image":
        return None
    return next(iter(source.images.listed([image_id or step.subject.id])), None)


def _volume(source: RepairSource, step: RepairStep, attachment: AttachmentFacts | None) -> Volume | None:
    """The volume of a step; that of an attachment is gone only if Cinder has none of its id."""
    volume_id = str(attachment.volume_id) if attachment else step.subject.id
    found = next(iter(source.volumes.find([volume_id])), None)
    if found is None and attachment is not None:
        with suppress(ResourceNotFound):
            return source.volumes.get(volume_id)
    return found


def _source(source: RepairSource, volume: Volume | None) -> Volume | None:
    """The volume that the volume of a step is a clone of."""
    if volume is None or volume.source_volume_id is None:
        return None
    return next(iter(source.volumes.find([volume.source_volume_id])), None)


def _deletes_image(step: RepairStep) -> bool:
    return step.action is RepairAction.DELETE_IMAGE


def _attachment(source: RepairSource, step: RepairStep) -> AttachmentFacts | None:
    if step.subject.kind != "attachment":
        return None
    known = source.audit.volumes.attachment_now(step.subject.id)
    return known[0] if known else None


def _with_host(
    source: RepairSource, attachment: AttachmentFacts | None, volume: Volume | None
) -> AttachmentFacts | None:
    """The attachment, and this host if Cinder does not show it yet and a process of this host died over it.

    Before an attachment is complete, only its volume tells the process, which in other projects a user can write.
    """
    if attachment is None or attachment.host is not None or volume is None:
        return attachment
    trusted = volume.project_id in source.audit.settings.trusted_projects
    if trusted and state_of(attachment, volume) is HolderState.DEAD:
        return replace(attachment, host=source.host)
    return attachment


def _asks_for_claims(step: RepairStep) -> bool:
    return step.action is not RepairAction.LOOK_AGAIN and step.subject.kind in ("volume", "image")


def _changed(step: RepairStep, image: Image | None) -> Iterator[str]:
    """The volumes that a step changes or deletes."""
    if step.subject.kind == "volume":
        yield step.subject.id
    named = read_location(dict(step.arguments).get("url", ""))
    if isinstance(named, CinderLocation):
        yield named.volume_id
    if step.action is RepairAction.DELETE_IMAGE and image is not None:
        yield from named_volume_ids(image)


def _found(source: RepairSource, planned: Finding) -> tuple[Finding, ...]:
    """What is wrong now with what a finding is about; where only reading gives it, the volumes are read."""
    since = source.began - _CLOCKS
    found = source.audit.audited_again([planned], changed_since=since)
    reads = source.read is not None and any(step.action in _READ for step in planned.repair)
    if not reads or found_again(planned, found):
        return found
    audit = attrs.evolve(source.audit, checks=tuple(_checks(source, planned)))
    return audit.audited_again([planned], changed_since=since)


def _checks(source: RepairSource, planned: Finding) -> Iterator[DeepCheck]:
    """Read the volumes; of an image that loses a location its other ones too, of which one must be whole."""
    named = (*planned.subjects, *planned.related)
    images = list(source.images.listed(_ids(planned, "image"))) if _ids(planned, "image") else []
    volume_ids = {each.id: None for each in named if each.kind == "volume"}
    if any(step.action is RepairAction.REMOVE_LOCATION for step in planned.repair):
        volume_ids |= {volume_id: None for image in images for volume_id in named_volume_ids(image)}
    for volume in source.volumes.find(list(volume_ids)):
        image = next((each for each in images if volume.id in named_volume_ids(each)), None)
        if source.read and (check := source.read(volume, image)):
            yield check


def _ids(planned: Finding, kind: str) -> Sequence[str]:
    return [each.id for each in (*planned.subjects, *planned.related) if each.kind == kind]


def _clone(source: RepairSource, planned: Finding, image: Image) -> Volume | None:
    """The clone that this repair has made for an image of a volume that several images have."""
    if source.holder is None:
        return None
    marks = {REPAIRED_BY: source.holder, "image_id": image.id}
    cloned = planned.subjects[0].id
    return next((each for each in source.volumes.with_metadata(marks) if each.source_volume_id == cloned), None)
