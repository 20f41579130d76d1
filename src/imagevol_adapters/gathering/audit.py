"""The facts of an audit, as the services show them, and a second look at what is found.

A listing of a cloud takes minutes, in which images and volumes come and go.  An image may be made after the images were
listed and before the volumes were: its volume would look like an orphan.  So what a finding is about is looked at
again, together with every image that has changed since the audit began, before the finding is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import attrs

from imagevol_adapters.left_files import file_of_this_host, left_files
from imagevol_adapters.processes import running, this_process
from imagevol_adapters.tending.templates import template_of
from imagevol_core import (
    TEMPLATE_KEY,
    AttachmentFacts,
    AuditedAttachment,
    AuditSettings,
    CacheEntry,
    Certainty,
    DeepCheck,
    Finding,
    HolderState,
    Image,
    ProcessRecord,
    RepairAction,
    StoreCatalogue,
    Template,
    Volume,
    VolumeOrigin,
    audit,
    decide_reclaim,
    holder_of,
    is_template,
    named_volume_ids,
    recorded_image,
)

__all__ = ["AuditedImages", "AuditedVolumes", "CloudAudit", "Watch", "gather_audit", "state_of"]

_TOGETHER = 50  # findings that are looked at again; their ids are in a URL
_EVER = datetime(1970, 1, 1, tzinfo=UTC)  # before any image was changed
_CLOCKS = timedelta(minutes=10)  # by which the clocks of Glance and of this host may differ
_ALIVE = {HolderState.ALIVE: True, HolderState.DEAD: False}

T = TypeVar("T")


class AuditedImages(Protocol):
    """Glance, as far as an audit looks at it; `GlanceImages` is one."""

    @property
    def sees_all(self) -> bool:
        """Whether these credentials see the images of all projects."""

    def listed(
        self, image_ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
    ) -> Iterator[Image]:
        """Give images with their locations: all of them, those of these ids, or those that changed since then."""


class AuditedVolumes(Protocol):
    """Cinder, as far as an audit looks at it; `WholeCinder` is one."""

    @property
    def sees_all(self) -> bool:
        """Whether these credentials see the volumes of all projects."""

    def all_volumes(self) -> Iterator[Volume]:
        """Give every volume."""

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist."""

    def recording(self, image_id: str) -> tuple[Volume, ...]:
        """Give the volumes of all projects that say that they hold an image."""

    def all_attachments(self) -> Iterator[AttachmentFacts]:
        """Give every attachment; its host and device may be missing."""

    def attachment_now(self, attachment_id: str) -> tuple[AttachmentFacts, datetime | None] | None:
        """Give what is known of an attachment, and when it was made; None if it is gone."""


class Watch(Protocol):
    """Shows how far a listing has come."""

    def __call__(self, label: str, listing: Iterable[T], /) -> Iterator[T]:
        """Give what the listing gives."""


def gather_audit(
    *,
    images: AuditedImages,
    volumes: AuditedVolumes,
    settings: AuditSettings,
    catalogue: StoreCatalogue | None = None,
    entries: Iterable[CacheEntry] = (),
    checks: Iterable[DeepCheck] = (),
    directories: Iterable[Path] = (),
    watch: Watch | None = None,
) -> CloudAudit:
    """Find out how much of a cloud can be seen, and give an audit of it.

    Args:
        images: Glance, with credentials of an administrator.
        volumes: Cinder, with credentials of an administrator.
        settings: what the operator says; whether the listings are whole is found out.
        catalogue: the stores; None if they are not known.
        entries: of Cinder's image cache, which no API shows: a program that reads Cinder's database has them.
        checks: what reading image volumes gave.
        directories: of this host, in which our procedures keep temporary files.
        watch: shows how far the listings have come.

    Raises:
        ImagevolError: a service cannot be asked.
    """
    settings = replace(settings, images_complete=images.sees_all, volumes_complete=volumes.sees_all)
    return CloudAudit(
        images=images,
        volumes=volumes,
        settings=settings,
        catalogue=catalogue,
        entries=tuple(entries),
        checks=tuple(checks),
        directories=tuple(directories),
        watch=watch or _unwatched,
    )


@attrs.define(kw_only=True)
class CloudAudit:
    """An audit of a whole cloud.

    Attributes:
        images: Glance.
        volumes: Cinder.
        settings: what the operator says, whether the listings are whole, and what they have shown so far.
        catalogue: the stores; None if they are not known.
        entries: of Cinder's image cache.
        checks: what reading image volumes gave.
        directories: of this host, in which our procedures keep temporary files.
        watch: shows how far the listings have come.
        clock: tells the time.
        seen: how many images, volumes and attachments were listed.
    """

    images: AuditedImages
    volumes: AuditedVolumes
    settings: AuditSettings
    catalogue: StoreCatalogue | None
    entries: Sequence[CacheEntry] = ()
    checks: Sequence[DeepCheck] = ()
    directories: Sequence[Path] = ()
    watch: Watch
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    seen: dict[str, int] = attrs.field(factory=lambda: {"images": 0, "volumes": 0, "attachments": 0}, init=False)
    _templates: list[Volume] = attrs.field(factory=list, init=False, repr=False)

    @property
    def unseen(self) -> tuple[str, ...]:
        """What is not looked at and why, a sentence each."""
        settings = self.settings
        sentences = {
            "Glance shows only the images of this project, because the credentials lack the admin role: what depends "
            "on all images is only likely.": not settings.images_complete,
            "Cinder shows no volume of another project, because the credentials lack the admin role or it has none: "
            "what depends on all volumes is only likely.": not settings.volumes_complete,
            "No project is trusted: no volume is surely orphaned and none surely lost, and templates are not looked "
            "at. Pass --trusted-project with the project of the image volumes, and with Cinder's internal tenant.": (
                not settings.trusted_projects
            ),
            "Another Glance may have volumes in the trusted projects: a volume without an image is only likely to be "
            "orphaned, and is not deleted. If no other Glance has any there, pass --only-glance.": (
                bool(settings.trusted_projects) and not settings.only_glance
            ),
            "The stores of Glance are not known: store-differs compares only the URL with the metadata.": (
                self.catalogue is None
            ),
            "Cinder's image cache is not looked at, because no API shows its entries.": not self.entries,
            "No image volume is read: content-differs, record-differs and tail-not-zero are not looked for.": (
                not self.checks
            ),
        }
        return tuple(sentence for sentence, applies in sentences.items() if applies)

    @property
    def unseen_rules(self) -> frozenset[str]:
        """The rules that are not looked at, because their facts are missing."""
        deep = () if self.checks else ("content-differs", "record-differs", "tail-not-zero")
        return frozenset([*deep, *(() if self.entries else ("cache-entry-without-volume",))])

    def findings(self) -> Iterator[Finding]:
        """List the cloud, and give what is wrong with it, a second time looked at.

        Where a repair would delete a volume, all images are listed once more first, in another way: a list that ended
        early may have left out the image that names the volume.
        """
        began, shown = self.clock(), set(self.settings.shown)
        found = audit(
            images=self._counted("images", self.images.listed()),
            volumes=map(self._noticed, self._counted("volumes", self.volumes.all_volumes())),
            attachments=map(_unlooked, self._counted("attachments", self.volumes.all_attachments())),
            templates_seen=self._with_images(),
            entries=self.entries,
            checks=self.checks,
            files=left_files(self.directories),
            catalogue=self.catalogue,
            settings=self.settings,
            shown=shown,
        )
        given, deleting = set[str](), dict[tuple[str, str], Finding]()
        for together in _batches(found, _TOGETHER):
            self.settings = replace(self.settings, shown=frozenset(shown))
            for finding in self.look_again(together, changed_since=began - _CLOCKS):
                if finding.id not in given:  # an attachment may have been listed twice
                    given.add(finding.id)
                    if volume_id := _deleted(finding):
                        deleting[volume_id, finding.id] = finding
                    else:
                        yield finding
        named = self._named({volume_id for volume_id, _ in deleting})
        yield from (finding for (volume_id, _), finding in deleting.items() if volume_id not in named)

    def _named(self, volume_ids: set[str]) -> set[str]:
        """Those of the volumes that an image names in a second listing."""
        named = set[str]()
        for image in self.images.listed(changed_since=_EVER) if volume_ids else ():
            named |= volume_ids.intersection(named_volume_ids(image))
        return named

    def look_again(self, findings: Sequence[Finding], *, changed_since: datetime | None = None) -> Iterator[Finding]:
        """Give those of some findings that are still so, as they are now, in the same order.

        Args:
            findings: of an audit of this cloud.
            changed_since: when the audit began; images that have changed since then are looked at too.

        Raises:
            ImagevolError: a service cannot be asked.
        """
        now = {finding.id: finding for finding in self._facts_of(findings, changed_since)}
        for before in findings:
            again = now.get(before.id)
            if again is None:
                continue
            # Why it was not sure may be something that was not looked at again, as another image's location.
            certain = again.certainty is Certainty.SURE and before.certainty is not Certainty.SURE
            yield before if certain and before.subjects[0].kind != "attachment" else again

    def audited_again(self, findings: Sequence[Finding], *, changed_since: datetime | None) -> tuple[Finding, ...]:
        """Give everything that is wrong now with what some findings are about, and with what they rest on.

        Args:
            findings: of an audit of this cloud.
            changed_since: when the audit began; images that have changed since then are looked at too.

        Raises:
            ImagevolError: a service cannot be asked.
        """
        return tuple(self._facts_of(findings, changed_since))

    def _facts_of(self, findings: Sequence[Finding], changed_since: datetime | None) -> Iterator[Finding]:
        """Audit what the findings are about, as it is now."""
        ids = _Ids.of(findings)
        volumes = {each.id: each for each in self.volumes.find(ids.volumes)}
        of_volumes = {_image_of(each) for each in volumes.values()} - {None}
        images = {each.id: each for each in self._images({*ids.images, *(str(each) for each in of_volumes)})}
        named = {volume_id for image in images.values() for volume_id in named_volume_ids(image)}
        volumes |= {each.id: each for each in self.volumes.find(sorted(named - volumes.keys()))}
        if changed_since is not None:
            images = {each.id: each for each in self.images.listed(changed_since=changed_since)} | images
        held = [looked for attachment_id in ids.attachments if (looked := self._attachment(attachment_id, volumes))]
        templates = [each for each in volumes.values() if self._is_template(each)]
        settings = replace(self.settings, now=self.clock())
        return audit(
            images=images.values(),
            volumes=volumes.values(),
            attachments=held,
            templates=[template_of(each, now=settings.now) for each in templates],
            entries=[entry for entry in self.entries if entry.volume_id in ids.volumes],
            checks=[check for check in self.checks if check.volume_id in volumes],
            files=[file for name in ids.files if (file := file_of_this_host(name))],
            catalogue=self.catalogue,
            settings=settings,
        )

    def _attachment(self, attachment_id: str, volumes: dict[str, Volume]) -> AuditedAttachment | None:
        known = self.volumes.attachment_now(attachment_id)
        if known is None:
            return None
        facts, made = known
        return _looked_at(facts, made, volumes.get(str(facts.volume_id)))

    def _noticed(self, volume: Volume) -> Volume:
        """The volume; a template is remembered."""
        if self._is_template(volume):
            self._templates.append(volume)
        return volume

    def _is_template(self, volume: Volume) -> bool:
        trusted = volume.project_id in self.settings.trusted_projects
        return trusted and volume.status != "deleting" and is_template(volume)

    def _with_images(self) -> Iterator[tuple[Template, Image | None]]:
        """Each template that was found among the volumes, with its image."""
        for volumes in _batches(self._templates, _TOGETHER):
            images = {each.id: each for each in self._images({each.metadata[TEMPLATE_KEY] for each in volumes})}
            for volume in volumes:
                yield template_of(volume, now=self.clock()), images.get(volume.metadata[TEMPLATE_KEY])

    def _images(self, image_ids: set[str]) -> Iterator[Image]:
        for ids in _batches(sorted(image_ids), _TOGETHER):
            yield from self.images.listed(ids)

    def _counted(self, what: str, listing: Iterable[T]) -> Iterator[T]:
        for each in self.watch(what, listing):
            self.seen[what] += 1
            yield each


@attrs.frozen(kw_only=True)
class _Ids:
    """What some findings are about."""

    images: frozenset[str]
    volumes: tuple[str, ...]
    attachments: tuple[str, ...]
    files: tuple[str, ...]

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> _Ids:
        named = {kind: dict[str, None]() for kind in ("image", "volume", "attachment", "cache-entry", "file")}
        for finding in findings:
            for subject in (*finding.subjects, *finding.related):
                named[subject.kind][subject.id] = None
        return cls(
            images=frozenset(named["image"]),
            volumes=tuple(named["volume"] | named["cache-entry"]),
            attachments=tuple(named["attachment"]),
            files=tuple(named["file"]),
        )


def _deleted(finding: Finding) -> str | None:
    """The volume that a repair would delete."""
    deletes = (step.subject.id for step in finding.repair if step.action is RepairAction.DELETE_VOLUME)
    return next(deletes, None)


def _image_of(volume: Volume) -> str | None:
    """The image that a volume says it is of."""
    return recorded_image(volume) or volume.metadata.get(TEMPLATE_KEY)


def _maker(volume: Volume) -> ProcessRecord | None:
    """The process that creates a volume."""
    origin = VolumeOrigin.from_volume(volume.metadata)
    return origin.process if origin and not origin.finished else None


def _unlooked(facts: AttachmentFacts) -> AuditedAttachment:
    """An attachment as it is listed: of an instance, Cinder and Nova take care."""
    return AuditedAttachment(
        id=facts.id, volume_id=str(facts.volume_id), host=facts.host, alive=True if facts.instance_id else None
    )


def state_of(facts: AttachmentFacts, volume: Volume | None) -> HolderState:
    """Say whether the process that has an attachment is dead, which is known of this host only.

    Args:
        facts: the attachment.
        volume: what it is of; None if that is gone.
    """
    maker = _maker(volume) if volume else None
    record = holder_of(facts, maker=maker)
    known = running(record.pid) if record else None
    return decide_reclaim(facts, here=this_process(), running=known, maker=maker).state


def _looked_at(facts: AttachmentFacts, made: datetime | None, volume: Volume | None) -> AuditedAttachment:
    alive = True if facts.instance_id else _ALIVE.get(state_of(facts, volume))
    return replace(_unlooked(facts), alive=alive, attached_at=made)


def _batches(rows: Iterable[T], length: int) -> Iterator[list[T]]:
    listing = iter(rows)
    while batch := list(islice(listing, length)):
        yield batch


def _unwatched(_label: str, listing: Iterable[T], /) -> Iterator[T]:
    return iter(listing)
