"""Whether the digests that a volume's metadata records are believed, and by which digest its data is judged ([store]).

A volume records the multihash and the BLAKE3 of the bytes that were written to it.  Who verifies the data by the record
alone must know who wrote the record.  On a volume of a user it is the user's word.  Cinder copies the metadata of a
user's volume onto the clone that it makes in its internal tenant, so that there too it is the user's word.

The data may have changed since: the volume was not read-only, or it is another image's by now.  Then the record says
nothing of the data that is there.

Glance's own digest of the image comes first.  Only Glance can write it.  A member of a trusted project can write both
the data and the record of a volume, so a record judges the image only if the operator asks for that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.facts import Digest, Image, Volume, refuse_text
from imagevol_core.marks import ImageVolumeMetadata, UnreadMetadata, read_metadata
from imagevol_core.remains import UNFINISHED
from imagevol_core.sentences import answered, said
from imagevol_core.verdicts import Choice, Policy, Requirement, Verdict, evaluate, failed, first_match, table_of

__all__ = [
    "JUDGE_RULES",
    "RECORD_RULES",
    "JudgeDecision",
    "JudgedBy",
    "RecordDecision",
    "decide_judge",
    "decide_recorded",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDecision:
    """Whether the record of a volume is believed.

    Attributes:
        believed: whether it is; a BLAKE3 that is written into it now would be believed too.
        blake3: the BLAKE3 by which the data is verified; None if none is recorded, or if it is not believed.
        verdicts: each rule that was looked at, and what it says.
    """

    believed: bool
    blake3: Digest | None
    verdicts: tuple[Verdict, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the record is not believed, a sentence each."""
        return tuple(verdict.text for verdict in failed(self.verdicts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at."""

    volume: Volume
    record: ImageVolumeMetadata | UnreadMetadata
    image: Image | None
    trusted_projects: frozenset[str]

    @property
    def known(self) -> ImageVolumeMetadata:
        """The record, for the rules after the gate `record-readable`."""
        return self.record if isinstance(self.record, ImageVolumeMetadata) else ImageVolumeMetadata()


def decide_recorded(
    volume: Volume, *, trusted_projects: Collection[str], image: Image | None = None, policy: Policy = Policy.STRICT
) -> RecordDecision:
    """Decide whether the digests that a volume records are believed ([store]).

    Args:
        volume: an image volume.
        trusted_projects: ids of the projects in which no user can write a volume's metadata.  For who reads a volume
            with credentials of a project, that project is one of them.
        image: whose data the volume is said to hold; when None, the volume's own record says it alone.
        policy: whose rules.

    >>> volume = Volume(id="7ad3", size_gib=1, project_id="service", readonly=True,
    ...                 metadata={"image_id": "e38f", "imagevol_blake3": "0f" * 32})
    >>> decide_recorded(volume, trusted_projects={"service"}).blake3.short
    'blake3:0f0f0f0f0f0f...'
    >>> decide_recorded(volume, trusted_projects={"another"}).reasons
    ('the volume lives in project service, in which users can write its metadata',)
    """
    refuse_text("trusted_projects", trusted_projects)
    record = read_metadata(volume.metadata)
    asked = _Asked(volume=volume, record=record, image=image, trusted_projects=frozenset(trusted_projects))
    verdicts = evaluate(table_of(RECORD_RULES, policy), asked, subject=volume.id)
    believed = not failed(verdicts)
    return RecordDecision(believed=believed, blake3=asked.known.blake3 if believed else None, verdicts=verdicts)


def _readable(asked: _Asked) -> tuple[bool, str]:
    if isinstance(asked.record, UnreadMetadata):
        return False, str(asked.record)
    return True, "its record can be read"


def _in_trusted_project(asked: _Asked) -> tuple[bool, str]:
    project = asked.volume.project_id
    trusted = project in asked.trusted_projects
    can = "in which no user can write its metadata" if trusted else "in which users can write its metadata"
    return trusted, f"the volume lives in project {said(project)}, {can}"


def _not_cloned(asked: _Asked) -> tuple[bool, str]:
    source = asked.volume.source_volume_id
    if source is None:
        return True, "it was not cloned from another volume"
    return False, f"it was cloned from volume {said(source)}, whose metadata Cinder may have copied"


def _finished(asked: _Asked) -> tuple[bool, str]:
    unfinished = UNFINISHED.items() <= asked.volume.metadata.items()
    return not unfinished, "it is unfinished" if unfinished else "it is finished"


def _read_only(asked: _Asked) -> tuple[bool, str]:
    readonly = asked.volume.readonly
    return readonly is True, answered(readonly, "it is read-only", "it is not read-only, so its data may have changed")


def _of_this_image(asked: _Asked) -> tuple[bool, str]:
    recorded = asked.known.image_id
    if asked.image is None:
        return bool(recorded), f"its record names image {said(recorded)}"
    return recorded == asked.image.id, f"its record names image {said(recorded)}; this is image {asked.image.id}"


def _agrees(asked: _Asked) -> tuple[bool, str]:
    known, image = asked.known, asked.image
    if image is None:
        return True, "no image is compared with its record"
    if None not in (known.size_bytes, image.size_bytes) and known.size_bytes != image.size_bytes:
        return False, f"it records {known.size_bytes} bytes and the image has {image.size_bytes}"
    if image.digest is None:
        return True, "Glance has no multihash of the image to compare with its record"
    if known.digest is None and known.blake3 is None:
        return True, "it records no digest"
    recorded = "no multihash" if known.digest is None else known.digest.short
    return known.digest == image.digest, f"it records {recorded} and the image has {image.digest.short}"


_SPEC = "[store]"
RECORD_RULES: Mapping[Policy, tuple[Requirement[_Asked], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="record-readable",
            text="the metadata of the volume can be read",
            source=_SPEC,
            holds=_readable,
            gate=True,
        ),
        Requirement(
            id="record-in-trusted-project",
            text="the volume lives in a project in which no user can write its metadata",
            source=f"{_SPEC} OSSN-0065",
            holds=_in_trusted_project,
        ),
        Requirement(
            id="record-not-copied",
            text="the volume was not cloned from another one, whose metadata Cinder may have copied",
            source=_SPEC,
            holds=_not_cloned,
        ),
        Requirement(
            id="record-finished", text="no procedure is still writing the volume", source=_SPEC, holds=_finished
        ),
        Requirement(
            id="record-read-only",
            text="the volume is read-only, so that its data is what was recorded",
            source=_SPEC,
            holds=_read_only,
        ),
        Requirement(
            id="record-of-this-image",
            text="the record names an image, and this one if the image is known",
            source=_SPEC,
            holds=_of_this_image,
        ),
        Requirement(
            id="record-agrees",
            text="size and multihash in the record are those that Glance has of the image",
            source=_SPEC,
            holds=_agrees,
        ),
    ),
}


class JudgedBy(Enum):
    """Whose digest the data of an image volume is compared with."""

    CALLER = "caller"
    GLANCE = "glance"
    BLAKE3 = "blake3"
    MULTIHASH = "multihash"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeDecision:
    """The digest that the data of an image volume is compared with.

    Attributes:
        by: whose digest it is.
        digest: the digest; None if there is none, so that nothing is compared.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    by: JudgedBy
    digest: Digest | None
    verdicts: tuple[Verdict, ...]

    @property
    def from_record(self) -> bool:
        """Whether the volume's record judges its data."""
        return self.by in (JudgedBy.BLAKE3, JudgedBy.MULTIHASH)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Digests:
    """The digests that there are."""

    given: Digest | None
    glance: Digest | None
    blake3: Digest | None
    multihash: Digest | None
    trust_recorded: bool

    def of(self, by: JudgedBy) -> Digest | None:
        """Give the one of an outcome."""
        return {
            JudgedBy.CALLER: self.given,
            JudgedBy.GLANCE: self.glance,
            JudgedBy.BLAKE3: self.blake3,
            JudgedBy.MULTIHASH: self.multihash,
        }.get(by)


def decide_judge(
    *,
    given: Digest | None = None,
    glance: Digest | None = None,
    blake3: Digest | None = None,
    multihash: Digest | None = None,
    trust_recorded: bool = False,
    policy: Policy = Policy.STRICT,
) -> JudgeDecision:
    """Decide by which digest the data of an image volume is judged ([store]).

    Args:
        given: the digest that the caller says the data must have.
        glance: Glance's digest of the image; None if Glance was not asked or has none.
        blake3: the BLAKE3 that the volume records, if `decide_recorded` believes it and it can be computed here.
        multihash: the multihash that the volume records, if its word counts for the caller.
        trust_recorded: whether the operator wants the BLAKE3 to count in place of Glance's digest.
        policy: whose rules.

    >>> glance, recorded = Digest("sha512", "0a" * 64), Digest("blake3", "0b" * 32)
    >>> decide_judge(glance=glance, blake3=recorded).by
    <JudgedBy.GLANCE: 'glance'>
    >>> decide_judge(glance=glance, blake3=recorded, trust_recorded=True).digest.short
    'blake3:0b0b0b0b0b0b...'
    """
    asked = _Digests(given=given, glance=glance, blake3=blake3, multihash=multihash, trust_recorded=trust_recorded)
    by, verdicts = first_match(table_of(JUDGE_RULES, policy), asked)
    return JudgeDecision(by=by, digest=asked.of(by), verdicts=verdicts)


def _given(asked: _Digests) -> tuple[bool, str]:
    return asked.given is not None, f"the digest that was given is {_told(asked.given)}"


def _trusts(asked: _Digests) -> tuple[bool, str]:
    wanted = "relies" if asked.trust_recorded else "does not rely"
    text = f"the operator {wanted} on the record, whose BLAKE3 is {_told(asked.blake3)}"
    return asked.trust_recorded and asked.blake3 is not None, text


def _in_glance(asked: _Digests) -> tuple[bool, str]:
    return asked.glance is not None, f"the digest of the image in Glance is {_told(asked.glance)}"


def _blake3_recorded(asked: _Digests) -> tuple[bool, str]:
    return asked.blake3 is not None, f"the BLAKE3 that the volume records is {_told(asked.blake3)}"


def _multihash_recorded(asked: _Digests) -> tuple[bool, str]:
    return asked.multihash is not None, f"the multihash that the volume records is {_told(asked.multihash)}"


def _no_digest(_: _Digests) -> tuple[bool, str]:
    return True, "there is no digest to compare with"


def _told(digest: Digest | None) -> str:
    return "not known" if digest is None else digest.short


JUDGE_RULES: Mapping[Policy, tuple[Choice[_Digests, JudgedBy], ...]] = {
    Policy.STRICT: (
        Choice(
            id="digest-given",
            text="compare with the digest that the caller gives",
            source=_SPEC,
            applies=_given,
            outcome=JudgedBy.CALLER,
        ),
        Choice(
            id="record-trusted",
            text="compare with the believed BLAKE3 alone: the operator relies on who can write the record",
            source=_SPEC,
            applies=_trusts,
            outcome=JudgedBy.BLAKE3,
        ),
        Choice(
            id="digest-of-glance",
            text="compare with Glance's digest of the image, which no project can write",
            source=_SPEC,
            applies=_in_glance,
            outcome=JudgedBy.GLANCE,
        ),
        Choice(
            id="fast-digest-recorded",
            text="compare with the believed BLAKE3: Glance has no digest",
            source=_SPEC,
            applies=_blake3_recorded,
            outcome=JudgedBy.BLAKE3,
        ),
        Choice(
            id="multihash-recorded",
            text="compare with the multihash that the volume records: there is no other digest",
            source=_SPEC,
            applies=_multihash_recorded,
            outcome=JudgedBy.MULTIHASH,
        ),
        Choice(
            id="no-digest",
            text="compare nothing: there is no digest",
            source=_SPEC,
            applies=_no_digest,
            outcome=JudgedBy.NOTHING,
        ),
    ),
}
