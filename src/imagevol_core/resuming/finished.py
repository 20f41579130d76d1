"""Whether a file that has the wanted name already is the image, finished by a command that was killed ([store]).

A command gives its file the wanted name as its last step but one, and may be killed then.  The next command must tell
this file from one that another command or another user has put there: such a file is never taken for the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.resuming.partial import ReadImage
from imagevol_core.sentences import answered
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = ["FINISHED_RULES", "FinishedDecision", "FinishedFile", "FinishedOutcome", "decide_finished"]


class FinishedOutcome(Enum):
    """What to do with the file: `READ` it to compare its data, `COUNT` it as the image, or `LEAVE` it."""

    READ = "read"
    COUNT = "count"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedFile:
    """A file that has the wanted name, and the journal beside it.

    Args:
        image: what the journal says was read; None if there is no journal that no other user could have written.
        named: whether it is the file that the journal names.
        own: whether this user owns the file.
        other_names: how many names it has beside the wanted one and the one of the part; less than 0 if one of them
            went while they were looked at.
        mode_kept: whether it has the mode of a part or of a new file.
        is_image: whether its data has the digest of the image; None if it was not read yet.
    """

    image: ReadImage | None
    named: bool = True
    own: bool = True
    other_names: int = 0
    mode_kept: bool = True
    is_image: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedDecision:
    """What to do with a file that has the wanted name.

    Attributes:
        outcome: what to do.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    outcome: FinishedOutcome
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """Why, as a sentence."""
        return self.verdicts[-1].text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at."""

    image: ReadImage
    file: FinishedFile


def decide_finished(image: ReadImage, file: FinishedFile, *, policy: Policy = Policy.STRICT) -> FinishedDecision:
    """Decide whether a file that has the wanted name counts as the image ([store]).

    Args:
        image: what is read now.
        file: what has the wanted name.
        policy: whose rules.  Under `UPSTREAM`, those of python-glanceclient 4.13, which counts no file.

    >>> from imagevol_core import Digest
    >>> now = ReadImage(source="volume 7ad3", size_bytes=4, digest=Digest("md5", "8d777f385d3dfec8815d20f7496026dc"))
    >>> decide_finished(now, FinishedFile(image=now)).outcome
    <FinishedOutcome.READ: 'read'>
    >>> decision = decide_finished(now, FinishedFile(image=now, other_names=1))
    >>> decision.outcome, decision.reason
    (<FinishedOutcome.LEAVE: 'leave'>, 'the file has 1 more name, by which another program can write to it')
    """
    outcome, verdicts = first_match(table_of(FINISHED_RULES, policy), _Asked(image=image, file=file))
    return FinishedDecision(outcome=outcome, verdicts=verdicts)


def _no_journal(asked: _Asked) -> tuple[bool, str]:
    there = asked.file.image is not None
    return not there, "a journal says what was read" if there else "no journal of this user says what was read"


def _other_image(asked: _Asked) -> tuple[bool, str]:
    same = asked.file.image == asked.image
    return not same, f"the journal is of {'the same image' if same else 'another image, or of another state of it'}"


def _other_file(asked: _Asked) -> tuple[bool, str]:
    return not asked.file.named, f"the file is {'the one' if asked.file.named else 'not the one'} of the journal"


def _not_own(asked: _Asked) -> tuple[bool, str]:
    return not asked.file.own, f"the file belongs to {'this' if asked.file.own else 'another'} user"


def _more_names(asked: _Asked) -> tuple[bool, str]:
    count = asked.file.other_names
    if count == 0:
        return False, "the file has no other name"
    if count < 0:
        return True, "the file lost a name while it was looked at"
    return True, f"the file has {count} more name{'s' * (count != 1)}, by which another program can write to it"


def _other_mode(asked: _Asked) -> tuple[bool, str]:
    kept = asked.file.mode_kept
    return not kept, f"the file has {'the mode that the command gave it' if kept else 'another mode than before'}"


def _not_read(asked: _Asked) -> tuple[bool, str]:
    unread = asked.file.is_image is None
    return unread, "its data was not compared yet" if unread else "its data was compared"


def _other_data(asked: _Asked) -> tuple[bool, str]:
    is_image = asked.file.is_image
    return is_image is False, answered(is_image, "it has the data of the image", "it has other data than the image")


def _whole(_asked: _Asked) -> tuple[bool, str]:
    return True, "an earlier command finished it, and it has the data of the image"


def _never(_asked: _Asked) -> tuple[bool, str]:
    return True, "what an earlier command wrote is not looked at"


_SPEC = "[store]"

FINISHED_RULES: Mapping[Policy, tuple[Choice[_Asked, FinishedOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="finished-without-journal",
            text="leave it: no journal of this user says what was read",
            source=_SPEC,
            applies=_no_journal,
            outcome=FinishedOutcome.LEAVE,
        ),
        Choice(
            id="finished-other-image",
            text="leave it: the journal is of another image",
            source=_SPEC,
            applies=_other_image,
            outcome=FinishedOutcome.LEAVE,
        ),
        Choice(
            id="finished-other-file",
            text="leave it: it is not the file that the journal names",
            source=_SPEC,
            applies=_other_file,
            outcome=FinishedOutcome.LEAVE,
        ),
        Choice(
            id="finished-not-own",
            text="leave it: it belongs to another user",
            source=_SPEC,
            applies=_not_own,
            outcome=FinishedOutcome.LEAVE,
        ),
        Choice(
            id="finished-more-names",
            text="leave it: it has another name, by which another program can write to it",
            source=_SPEC,
            applies=_more_names,
            outcome=FinishedOutcome.LEAVE,
        ),
        Choice(
            id="finished-other-mode",
            text="leave it: its mode was changed",
            source=_SPEC,
            applies=_other_mode,
            outcome=FinishedOutcome.LEAVE,
        ),
        Choice(
            id="finished-unread",
            text="read it: its data was not compared yet",
            source=_SPEC,
            applies=_not_read,
            outcome=FinishedOutcome.READ,
        ),
        Choice(
            id="finished-other-data",
            text="leave it: it has other data than the image",
            source=_SPEC,
            applies=_other_data,
            outcome=FinishedOutcome.LEAVE,
        ),
        Choice(
            id="finished-whole",
            text="count it as the image: an earlier command finished it, and its data was compared",
            source=_SPEC,
            applies=_whole,
            outcome=FinishedOutcome.COUNT,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="never-finished",
            text="leave it",
            source="glanceclient.common.utils.save_image",
            applies=_never,
            outcome=FinishedOutcome.LEAVE,
        ),
    ),
}
