"""Whether an image that was read in part into a file is read on from there ([store]).

What is in the file is worth something only if it is certain whose data it is: the file is ours alone, and the image is
the one that it was read from, by its digest.  The digest of the whole is compared at the end in any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import cast

from imagevol_core.facts import Digest
from imagevol_core.sentences import said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = ["PARTIAL_RULES", "KeptPart", "PartialDecision", "PartialOutcome", "ReadImage", "decide_partial"]


class PartialOutcome(Enum):
    """What to do with what an earlier command kept.

    `GO_ON` from it, `BEGIN` because there is none, `BEGIN_ANEW` without it, keep nothing (`DO_WITHOUT`), or `REFUSE`.
    """

    GO_ON = "go-on"
    BEGIN = "begin"
    BEGIN_ANEW = "begin-anew"
    DO_WITHOUT = "do-without"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadImage:
    """What is read, as it is recorded in a journal.

    Args:
        source: where from: the volume, or the image of Glance.
        size_bytes: how many bytes there are.
        digest: of all of them; None if none is recorded.
    """

    source: str
    size_bytes: int
    digest: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPart:
    """What an earlier command kept.

    Args:
        image: what it read; None if its journal does not say.
        private: whether file and journal belong to this user, and no other user can write to them.
        there: whether the file is there, and is the one that the journal names.
    """

    image: ReadImage | None
    private: bool = True
    there: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialDecision:
    """What to do with what an earlier command kept.

    Attributes:
        outcome: what to do.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    outcome: PartialOutcome
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """Why, as a sentence."""
        return self.verdicts[-1].text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at."""

    image: ReadImage
    kept: KeptPart | None

    @property
    def part(self) -> KeptPart:
        """What is kept, for the rules after the one that says that nothing is."""
        return cast(KeptPart, self.kept)


def decide_partial(image: ReadImage, kept: KeptPart | None, *, policy: Policy = Policy.STRICT) -> PartialDecision:
    """Decide whether an image is read on from where an earlier command was stopped ([store]).

    Args:
        image: what is read now.
        kept: what an earlier command kept; None if there is nothing.
        policy: whose rules.  Under `UPSTREAM`, those of python-glanceclient 4.13, which keeps nothing.

    >>> now = ReadImage(source="volume 7ad3", size_bytes=4, digest=Digest("md5", "8d777f385d3dfec8815d20f7496026dc"))
    >>> decide_partial(now, KeptPart(image=now)).outcome
    <PartialOutcome.GO_ON: 'go-on'>
    >>> before = ReadImage(source="volume 7ad3", size_bytes=5, digest=now.digest)
    >>> decision = decide_partial(now, KeptPart(image=before))
    >>> decision.outcome, decision.reason
    (<PartialOutcome.BEGIN_ANEW: 'begin-anew'>, 'volume 7ad3 had 5 bytes, and now has 4')
    """
    outcome, verdicts = first_match(table_of(PARTIAL_RULES, policy), _Asked(image=image, kept=kept))
    return PartialDecision(outcome=outcome, verdicts=verdicts)


def _not_private(asked: _Asked) -> tuple[bool, str]:
    if asked.kept is None or asked.kept.private:
        return False, "no other user can write to what is kept"
    return True, "another user owns what is kept, or can write to it"


def _no_digest(asked: _Asked) -> tuple[bool, str]:
    if asked.image.digest is None:
        return True, f"{said(asked.image.source)} records no digest, so that a part of it cannot be verified"
    return False, f"{said(asked.image.source)} records a digest"


def _nothing(asked: _Asked) -> tuple[bool, str]:
    return asked.kept is None, "nothing is kept" if asked.kept is None else "an earlier command kept a part"


def _other_image(asked: _Asked) -> tuple[bool, str]:
    before, now = asked.part.image, asked.image
    if before is None:
        return True, "the journal does not say what was read"
    if before.source != now.source:
        return True, f"{said(before.source)} was read before, and not {said(now.source)}"
    if before.size_bytes != now.size_bytes:
        return True, f"{said(now.source)} had {before.size_bytes} bytes, and now has {now.size_bytes}"
    if before.digest != now.digest:
        return True, f"{said(now.source)} has another digest than before"
    return False, f"{said(now.source)} has the digest that it had before"


def _gone(asked: _Asked) -> tuple[bool, str]:
    there = asked.part.there
    return not there, f"the file that was kept is {'there' if there else 'gone, or is another one'}"


def _kept(_asked: _Asked) -> tuple[bool, str]:
    return True, "an earlier command kept a part of the same image"


def _never(_asked: _Asked) -> tuple[bool, str]:
    return True, "what was read before is not used"


_SPEC = "[store]"

PARTIAL_RULES: Mapping[Policy, tuple[Choice[_Asked, PartialOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="not-private",
            text="refuse: another user owns what is kept, or can write to it",
            source=_SPEC,
            applies=_not_private,
            outcome=PartialOutcome.REFUSE,
        ),
        Choice(
            id="no-digest",
            text="keep nothing: a part of an image without a digest cannot be verified",
            source=_SPEC,
            applies=_no_digest,
            outcome=PartialOutcome.DO_WITHOUT,
        ),
        Choice(
            id="nothing-kept",
            text="begin: nothing is kept",
            source=_SPEC,
            applies=_nothing,
            outcome=PartialOutcome.BEGIN,
        ),
        Choice(
            id="other-image",
            text="begin anew: the image is not the one that was read before",
            source=_SPEC,
            applies=_other_image,
            outcome=PartialOutcome.BEGIN_ANEW,
        ),
        Choice(
            id="part-gone",
            text="begin anew: the file that was kept is gone",
            source=_SPEC,
            applies=_gone,
            outcome=PartialOutcome.BEGIN_ANEW,
        ),
        Choice(
            id="same-image",
            text="go on: a part of the same image is kept",
            source=_SPEC,
            applies=_kept,
            outcome=PartialOutcome.GO_ON,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="never-kept",
            text="keep nothing",
            source="glanceclient.common.utils.save_image",
            applies=_never,
            outcome=PartialOutcome.DO_WITHOUT,
        ),
    ),
}
