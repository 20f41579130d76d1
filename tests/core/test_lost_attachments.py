"""The attachment that was created without an answer is named only if it can be no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imagevol_core import AttachmentFacts, HolderState, Volume
from imagevol_core.remains import ReservationTry, lost_attachment, reserver_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VOLUME = Volume(id="7ad3", size_gib=1, status="reserved", multiattach=False, updated_at=NOW + timedelta(seconds=1))
LOST = AttachmentFacts(id="1c2d", status="reserved")


@pytest.mark.parametrize("after", [-2, 0, 5, 7])
def test_it_was_created_while_the_request_was_under_way(after: float) -> None:
    volume = replace(VOLUME, updated_at=NOW + timedelta(seconds=after))
    assert lost_attachment(volume, [LOST], asked_at=NOW, seconds=5) is LOST


@pytest.mark.parametrize(
    "volume, attachments",
    [
        (replace(VOLUME, updated_at=NOW - timedelta(seconds=2.1)), [LOST]),
        (replace(VOLUME, updated_at=NOW + timedelta(seconds=7.1)), [LOST]),
        (replace(VOLUME, updated_at=None), [LOST]),
        (replace(VOLUME, multiattach=True), [LOST]),
        (replace(VOLUME, status="in-use"), [LOST]),
        (VOLUME, []),
        (VOLUME, [LOST, replace(LOST, id="other")]),
        (VOLUME, [replace(LOST, instance_id="an instance")]),
        (VOLUME, [replace(LOST, host="node")]),
        (VOLUME, [replace(LOST, status="attached")]),
    ],
)
def test_any_other_may_be_another_programs(volume: Volume, attachments: list[AttachmentFacts]) -> None:
    assert lost_attachment(volume, attachments, asked_at=NOW, seconds=5) is None


def try_of(device: str, state: HolderState = HolderState.DEAD) -> ReservationTry:
    return ReservationTry(device=device, asked_at=NOW, state=state)


@pytest.mark.parametrize("after, fits", [(-2.1, False), (-2, True), (0, True), (62, True), (62.1, False)])
def test_a_request_that_was_written_down_explains_what_was_reserved_within_a_minute(after: float, fits: bool) -> None:
    volume, asked = replace(VOLUME, updated_at=NOW + timedelta(seconds=after)), try_of("killed")
    assert reserver_of(volume, [LOST], [asked]) == ((LOST, asked) if fits else None)


@pytest.mark.parametrize("state", [HolderState.ALIVE, HolderState.UNKNOWN])
def test_who_may_be_alive_comes_before_who_has_ended(state: HolderState) -> None:
    alive, killed = try_of("may be alive", state), try_of("killed")
    for tries in ([alive, killed], [killed, alive]):
        assert reserver_of(VOLUME, [LOST], tries) == (LOST, alive)


def test_without_a_request_it_is_another_programs() -> None:
    assert reserver_of(VOLUME, [LOST], []) is None
