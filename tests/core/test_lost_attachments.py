"""The attachment that was created without an answer is named only if it can be no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imagevol_core import AttachmentFacts, Volume
from imagevol_core.remains import lost_attachment

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
