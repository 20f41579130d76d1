"""What is wrong between images, image volumes, attachments and stores, and what would mend it.

Images, volumes and attachments are each read once, as they come.  A `Ledger` keeps what joins them: of a location that
names a volume a few numbers, of everything else its id.  Templates, the cache and the results of deep checks are few,
and are kept whole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256

from imagevol_core.auditing.evidence import TEMPLATES, place_of, shown_by
from imagevol_core.auditing.facts import (
    AuditedAttachment,
    AuditRule,
    AuditSettings,
    Certainty,
    Claim,
    ClaimedVolume,
    DeepCheck,
    Entry,
    Held,
    ImageVolume,
    RepairAction,
    RepairStep,
    Sharing,
    Subject,
    Templated,
    Watched,
    recorded_image,
)
from imagevol_core.auditing.file_rules import FILE_RULES, KeptFile, LeftFile
from imagevol_core.auditing.ledger import Ledger
from imagevol_core.auditing.location_rules import CLAIM_RULES
from imagevol_core.auditing.rules import (
    ATTACHMENT_RULES,
    ENTRY_RULES,
    IMAGE_RULES,
    IN_THE_MAKING,
    SHARING_RULES,
    TEMPLATE_RULES,
)
from imagevol_core.auditing.volume_rules import IMAGE_VOLUME_RULES
from imagevol_core.caching import CacheEntry
from imagevol_core.facts import Image, Volume
from imagevol_core.locations import UnreadLocation, read_location
from imagevol_core.marks import is_template
from imagevol_core.remains import VolumeOrigin
from imagevol_core.stores import StoreCatalogue
from imagevol_core.templates import Template
from imagevol_core.verdicts import Facts, Policy, evaluate

__all__ = [
    "AuditSettings",
    "AuditedAttachment",
    "Certainty",
    "DeepCheck",
    "Finding",
    "RepairAction",
    "RepairStep",
    "Subject",
    "audit",
    "total_reclaimable_bytes",
]

_ID_DIGITS = 12
_NONE_LOST = Counter[str]()
_MOST_WAITING = 10_000  # volumes that are kept until something shows that they are of this Glance
_IMPORTS = ("os_glance_import_task", "os_glance_importing_to_stores")  # while Glance imports or copies an image


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: the rule that does not hold.
        subjects: what it is about.
        certainty: whether it rests on nothing but what was told.
        text: the facts that decided, as a sentence.
        repair: the steps that would mend it, in order; they touch nothing but the subjects.  Empty where a person has
            to decide.  What is not sure is looked at again first.
        since: when it began, as far as the facts say; what is wrong with a volume cannot be older than the volume.
        reclaimable_bytes: what the storage gives back when it is mended, as Cinder counts it.
        related: what else decided, and must be looked at to look again.
        url: which location, where the image has several that name the volume; empty for the first.
    """

    kind: str
    subjects: tuple[Subject, ...]
    certainty: Certainty
    text: str
    repair: tuple[RepairStep, ...]
    since: datetime | None = None
    reclaimable_bytes: int = 0
    related: tuple[Subject, ...] = ()
    url: str = ""

    @property
    def id(self) -> str:
        """What names this finding in every audit, as 12 digits of its kind and its subjects alone.

        >>> volume = Subject("volume", "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1")
        >>> Finding(kind="not-read-only", subjects=(volume,), certainty=Certainty.SURE, text="", repair=()).id
        'fb84d395929d'
        """
        named = [self.kind, *map(str, self.subjects), *([self.url] if self.url else [])]
        return sha256("\n".join(named).encode(errors="surrogatepass")).hexdigest()[:_ID_DIGITS]

    def as_dict(self) -> dict[str, object]:
        """Give it as JSON has it.

        >>> volume = Subject("volume", "v")
        >>> found = Finding(kind="not-read-only", subjects=(volume,), certainty=Certainty.SURE, text="", repair=())
        >>> sorted(found.as_dict())
        ['certainty', 'id', 'reclaimable_bytes', 'repair', 'rule', 'since', 'subjects', 'text']
        """
        return {
            "id": self.id,
            "rule": self.kind,
            "certainty": self.certainty.value,
            "subjects": [subject.as_dict() for subject in self.subjects],
            "since": self.since.isoformat() if self.since else None,
            "reclaimable_bytes": self.reclaimable_bytes,
            "text": self.text,
            "repair": [step.as_dict() for step in self.repair],
        }

    def __str__(self) -> str:
        """The finding as one line for a person."""
        return f"{self.kind} ({', '.join(map(str, self.subjects))}), {self.certainty.value}: {self.text}"


def total_reclaimable_bytes(findings: Iterable[Finding]) -> int:
    """Give how many bytes the storage gives back when all findings are mended; of one volume they count once.

    >>> total_reclaimable_bytes([])
    0
    """
    deleted = {
        step.subject: finding.reclaimable_bytes
        for finding in findings
        for step in finding.repair
        if step.action in (RepairAction.DELETE_VOLUME, RepairAction.DELETE_FILE)
    }
    return sum(deleted.values())


def audit(
    *,
    images: Iterable[Image],
    volumes: Iterable[Volume],
    settings: AuditSettings,
    attachments: Iterable[AuditedAttachment] = (),
    catalogue: StoreCatalogue | None = None,
    entries: Iterable[CacheEntry] = (),
    templates: Iterable[Template] = (),
    templates_seen: Iterable[tuple[Template, Image | None]] = (),
    checks: Iterable[DeepCheck] = (),
    files: Iterable[LeftFile] = (),
    shown: set[str] | None = None,
) -> Iterator[Finding]:
    """Say what is wrong between images and the volumes that hold them ([store], [multi], [template]).

    Args:
        images: with their locations, as far as they may be seen; of one that comes twice the first counts.
        volumes: as an administrator sees them; of one that comes twice the first counts.
        settings: what the operator says of the cloud, and whether the listings are whole.
        attachments: of any volumes.
        catalogue: the stores as they are configured; None when they are not known.
        entries: of Cinder's image-volume cache.
        templates: of all backends.
        templates_seen: those that were only found among the volumes, each with its image; they are asked for after the
            volumes.
        checks: what deep checks gave; none where none were made.
        files: temporary files of this host; of one that comes twice the first counts.
        shown: takes what the listings show of the cloud, for the settings of later audits of a part of it.

    Returns:
        Findings as they are made, in no order that means anything.

    >>> from datetime import UTC, datetime
    >>> fast = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> from imagevol_core import ImageLocation
    >>> image = Image(id="i", status="active", locations=(ImageLocation(f"cinder://fast/{fast}"),))
    >>> other = Image(id="o", status="active", locations=(ImageLocation(f"cinder://fast/{fast[:-1]}2"),))
    >>> held = Volume(id=f"{fast[:-1]}2", size_gib=1, project_id="stores", readonly=True, metadata={"image_id": "o"})
    >>> settings = AuditSettings(
    ...     now=datetime(2026, 1, 1, tzinfo=UTC), volumes_complete=True, trusted_projects=frozenset({"stores"})
    ... )
    >>> for finding in audit(images=[image, other], volumes=[held], settings=settings):
    ...     print(finding)
    ...     print(*finding.repair)
    location-without-volume (image i, volume 9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1), sure: a location of the image \
names volume 9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1: it is not among the volumes
    delete-image i
    """
    cloud = _Cloud(settings=settings, catalogue=catalogue, shown=set() if shown is None else shown)
    cloud.kept = {entry.volume_id: entry for entry in entries}
    for template in templates:
        cloud.templates[template.entry.image_id].append(template)
        cloud.of_templates.add(template.entry.volume_id)
    cloud.checks = {check.volume_id: check for check in checks}
    yield from _audit_images(cloud, images)
    yield from _audit_volumes(cloud, volumes)
    yield from _audit_missing(cloud)
    yield from _audit_templates(cloud, templates_seen)
    for attachment in attachments:
        volume_id = attachment.volume_id
        held = Held(
            attachment=attachment,
            holds_image=cloud.ledger.holds_image(volume_id),
            listed=cloud.ledger.volume_listed(volume_id),
            settings=cloud.settings,
            claimants=_claimants(cloud.ledger.claims(volume_id)),
        )
        yield from _found(ATTACHMENT_RULES, held)
    for file in {file.subject: file for file in reversed(list(files))}.values():
        yield from _found(FILE_RULES, KeptFile(file=file, settings=cloud.settings))


@dataclass(slots=True, kw_only=True)
class _Cloud:
    """What is kept while the listings go by."""

    settings: AuditSettings
    catalogue: StoreCatalogue | None
    shown: set[str]
    kept: dict[str, CacheEntry] = field(default_factory=dict)
    templates: defaultdict[str, list[Template]] = field(default_factory=lambda: defaultdict(list))
    of_templates: set[str] = field(default_factory=set)
    checks: dict[str, DeepCheck] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    all_read: bool = True

    def show(self, names: frozenset[str]) -> None:
        """Note what was shown."""
        if not names <= self.settings.shown:
            self.settings = replace(self.settings, shown=self.settings.shown | names)
            self.shown |= names

    def keeps(self, volume: Volume) -> bool:
        """Whether the volume is kept to be cloned: by Cinder's cache, or as a template."""
        trusted = volume.project_id in self.settings.trusted_projects
        return volume.id in self.kept or volume.id in self.of_templates or (trusted and is_template(volume))


def _audit_images(cloud: _Cloud, images: Iterable[Image]) -> Iterator[Finding]:
    for image in images:
        if not cloud.ledger.list_image(image.id):
            continue
        yield from _found(IMAGE_RULES, Watched(image=image, settings=cloud.settings))
        for template in cloud.templates.pop(image.id, ()):
            cloud.show(frozenset({TEMPLATES}))
            yield from _found(TEMPLATE_RULES, Templated(template=template, image=image, settings=cloud.settings))
        if _claim(cloud, image) and image.locations and image.status not in IN_THE_MAKING:
            cloud.ledger.settle_image(image.id)
        if any(image.properties.get(name) for name in _IMPORTS):
            cloud.ledger.import_image(image.id)


def _claim(cloud: _Cloud, image: Image) -> bool:
    """Note which volumes an image names; tell whether all that its locations name was read."""
    all_read = True
    locations = {location.url: location for location in image.locations}
    for url, location in locations.items():
        named = read_location(url)
        if isinstance(named, UnreadLocation):
            all_read = all_read and "cinder" not in url.lower()
            continue
        digest = image.digest if named.volume_id in cloud.checks else None
        cloud.ledger.claim(image, location, named, others=len(locations) - 1, digest=digest)
    cloud.all_read = cloud.all_read and all_read
    return all_read


def _audit_volumes(cloud: _Cloud, volumes: Iterable[Volume]) -> Iterator[Finding]:
    ledger, waiting = cloud.ledger, list[ImageVolume]()
    for volume in volumes:
        if not ledger.list_volume(volume.id):
            continue
        claims, recorded = ledger.claims(volume.id), recorded_image(volume)
        cloud.show(shown_by(volume, claims, settings=cloud.settings))
        held = ImageVolume(
            volume=volume,
            recorded=recorded,
            claimed=bool(claims),
            kept=cloud.keeps(volume),
            image_known=ledger.image_listed(recorded),
            image_settled=ledger.image_settled(recorded),
            importing=ledger.image_importing(recorded),
            all_read=cloud.all_read,
            check=cloud.checks.get(volume.id),
            settings=cloud.settings,
            claimants=_claimants(claims),
            named=len(claims),
        )
        named = held.claimed or held.kept
        if named or recorded is not None or _is_being_filled(held):
            ledger.hold_image(volume.id)
        if named or recorded is None or place_of(volume) in cloud.settings.shown or len(waiting) == _MOST_WAITING:
            yield from _found(IMAGE_VOLUME_RULES, held)
        else:
            waiting.append(held)
        yield from _audit_claims(cloud, volume.id, claims, volume, recorded)
    for held in waiting:
        yield from _found(IMAGE_VOLUME_RULES, replace(held, settings=cloud.settings))


def _is_being_filled(held: ImageVolume) -> bool:
    """Whether a procedure has begun to fill a volume; of a volume of anyone else its metadata is not believed."""
    origin = VolumeOrigin.from_volume(held.volume.metadata)
    trusted = held.volume.project_id in held.settings.trusted_projects
    return trusted and origin is not None and not origin.finished


def _audit_missing(cloud: _Cloud) -> Iterator[Finding]:
    """What nothing was listed for: volumes of locations and of the cache, images of templates."""
    lost = Counter(claim.image_id for _, claims in cloud.ledger.unlisted() for claim in claims)
    for volume_id, claims in cloud.ledger.unlisted():
        cloud.ledger.hold_image(volume_id)
        yield from _audit_claims(cloud, volume_id, claims, None, None, lost=lost)
    for entry in cloud.kept.values():
        listed = cloud.ledger.volume_listed(entry.volume_id)
        yield from _found(ENTRY_RULES, Entry(entry=entry, listed=listed, settings=cloud.settings))
    for templates in cloud.templates.values():
        for template in templates:
            yield from _found(TEMPLATE_RULES, Templated(template=template, image=None, settings=cloud.settings))


def _audit_templates(cloud: _Cloud, seen: Iterable[tuple[Template, Image | None]]) -> Iterator[Finding]:
    """Those without an image come last, when it is known whether others have theirs."""
    without = list[Template]()
    for template, image in seen:
        if image is None:
            without.append(template)
            continue
        cloud.show(frozenset({TEMPLATES}))
        yield from _found(TEMPLATE_RULES, Templated(template=template, image=image, settings=cloud.settings))
    for template in without:
        yield from _found(TEMPLATE_RULES, Templated(template=template, image=None, settings=cloud.settings))


def _audit_claims(
    cloud: _Cloud,
    volume_id: str,
    claims: list[Claim],
    volume: Volume | None,
    recorded: str | None,
    *,
    lost: Counter[str] = _NONE_LOST,
) -> Iterator[Finding]:
    for at, claim in enumerate(claims):
        claimed = ClaimedVolume(
            claim=claim,
            volume_id=volume_id,
            found=volume,
            check=cloud.checks.get(volume_id),
            catalogue=cloud.catalogue,
            settings=cloud.settings,
            all_lost=lost[claim.image_id] > claim.others,
            again=at > 0 and claims[at - 1].image_id == claim.image_id,
        )
        yield from _found(CLAIM_RULES, claimed)
    if claims:
        sharing = Sharing(volume_id=volume_id, claims=tuple(claims), recorded=recorded)
        yield from _found(SHARING_RULES, sharing)


def _claimants(claims: Iterable[Claim]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(claim.image_id for claim in claims))


def _found(tables: Mapping[Policy, tuple[AuditRule[Facts], ...]], facts: Facts) -> Iterator[Finding]:
    """A finding for each rule that does not hold."""
    rules = tables[Policy.STRICT]
    for at, verdict in enumerate(evaluate(rules, facts)):
        if verdict.ok:
            continue
        rule = rules[at]
        subjects, doubt, repair = rule.subjects(facts), rule.doubt(facts), rule.repair(facts)
        reclaims = rule.reclaims(facts) if repair else 0
        if repair and doubt:
            repair = (*(RepairStep(RepairAction.LOOK_AGAIN, subject) for subject in subjects), *repair)
        certainty = Certainty.LIKELY if doubt else Certainty.SURE
        yield Finding(
            kind=rule.id,
            subjects=subjects,
            certainty=certainty,
            text=f"{verdict.text}; only likely, because {doubt}" if doubt else verdict.text,
            repair=repair,
            since=rule.since(facts),
            reclaimable_bytes=reclaims,
            related=rule.related(facts),
            url=rule.url(facts),
        )
