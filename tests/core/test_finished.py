"""A file that has the wanted name counts as the image only if it is certain who has written what is in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagevol_core import Policy
from imagevol_core.resuming import FinishedFile, FinishedOutcome, decide_finished
from tests.core.test_resuming import IMAGE, OTHER

READ, COUNT, LEAVE = FinishedOutcome.READ, FinishedOutcome.COUNT, FinishedOutcome.LEAVE
FILE = FinishedFile(image=IMAGE)
WHOLE = replace(FILE, is_image=True)


@pytest.mark.parametrize(
    "file, outcome, reason",
    [
        (FILE, READ, "its data was not compared yet"),
        (WHOLE, COUNT, "an earlier command finished it, and it has the data of the image"),
        (replace(WHOLE, image=None), LEAVE, "no journal of this user says what was read"),
        (
            replace(WHOLE, image=replace(IMAGE, digest=OTHER)),
            LEAVE,
            "the journal is of another image, or of another state of it",
        ),
        (replace(WHOLE, named=False), LEAVE, "the file is not the one of the journal"),
        (replace(WHOLE, own=False), LEAVE, "the file belongs to another user"),
        (replace(WHOLE, other_names=1), LEAVE, "the file has 1 more name, by which another program can write to it"),
        (replace(WHOLE, other_names=2), LEAVE, "the file has 2 more names, by which another program can write to it"),
        (replace(WHOLE, other_names=-1), LEAVE, "the file lost a name while it was looked at"),
        (replace(WHOLE, mode_kept=False), LEAVE, "the file has another mode than before"),
        (replace(WHOLE, is_image=False), LEAVE, "it has other data than the image"),
    ],
)
def test_only_the_file_of_a_journal_that_has_the_data_of_the_image_counts(
    file: FinishedFile, outcome: FinishedOutcome, reason: str
) -> None:
    decision = decide_finished(IMAGE, file)
    assert (decision.outcome, decision.reason) == (outcome, reason)


@pytest.mark.parametrize(
    "changes", [{"image": None}, {"named": False}, {"own": False}, {"other_names": 1}, {"mode_kept": False}]
)
def test_a_file_that_cannot_count_is_not_read(changes: dict[str, bool]) -> None:
    assert decide_finished(IMAGE, replace(FILE, **changes)).outcome is LEAVE  # type: ignore[arg-type]


def test_every_rule_about_a_finished_file_says_what_it_has_seen() -> None:
    assert [verdict.text for verdict in decide_finished(IMAGE, WHOLE).verdicts] == [
        "a journal says what was read",
        "the journal is of the same image",
        "the file is the one of the journal",
        "the file belongs to this user",
        "the file has no other name",
        "the file has the mode that the command gave it",
        "its data was compared",
        "it has the data of the image",
        "an earlier command finished it, and it has the data of the image",
    ]


def test_glanceclient_counts_no_file() -> None:
    decision = decide_finished(IMAGE, WHOLE, policy=Policy.UPSTREAM)
    assert (decision.outcome, decision.reason) == (LEAVE, "what an earlier command wrote is not looked at")
