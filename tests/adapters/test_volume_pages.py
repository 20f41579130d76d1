"""Volumes are listed whole although some of them are deleted meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from cinderclient import exceptions as cinder_errors

from imagevol_adapters.cinder.volume_pages import listed_volumes

IDS = [f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}" for number in range(10)]


class Cinder:
    """Lists volumes, three a page, and loses some of them before it is asked for a page."""

    def __init__(self, *lost: set[str], transient: int = 0) -> None:
        self.volumes, self.ids, self.lost, self.transient = self, list(IDS), list(lost), transient

    def list(self, *, search_opts: dict[str, Any], limit: int, marker: str | None) -> list[Any]:
        going = self.lost.pop(0) if self.lost else set()
        self.ids = [each for each in self.ids if each not in going]
        if self.transient:
            self.transient -= 1
            raise cinder_errors.NotFound(404)
        if marker is not None and marker not in self.ids:
            raise cinder_errors.NotFound(404)
        start = 0 if marker is None else self.ids.index(marker) + 1
        return [SimpleNamespace(id=each) for each in self.ids[start : start + 3]]


def listed(cinder: Any) -> list[str]:
    return [volume.id for volume in listed_volumes(cinder, {"all_tenants": 1})]


def test_a_volume_that_goes_while_a_page_is_read_costs_one_more_request() -> None:
    assert listed(Cinder(transient=1)) == IDS


@pytest.mark.parametrize("gone", [{IDS[2]}, {IDS[1], IDS[2]}], ids=["one", "two"])
def test_the_next_page_is_found_although_the_last_of_the_page_before_are_gone(gone: set[str]) -> None:
    assert listed(Cinder(set(), gone)) == IDS


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_what_is_left_is_listed_although_all_that_were_listed_before_are_gone(kept: int) -> None:
    cinder = Cinder(set(), set(IDS[:3]))
    cinder.ids = IDS[: 3 + kept]
    assert listed(cinder) == IDS[: 3 + kept]


def test_a_cinder_that_always_answers_404_is_an_error() -> None:
    with pytest.raises(cinder_errors.NotFound):
        listed(Cinder(transient=100))


def test_a_cinder_that_counts_from_no_volume_is_an_error_and_not_asked_for_ever() -> None:
    class Forgetful(Cinder):
        asked = 0

        def list(self, *, search_opts: dict[str, Any], limit: int, marker: str | None) -> list[Any]:
            self.asked += 1
            assert self.asked < 1000, "asked for ever"
            if marker is not None:
                raise cinder_errors.NotFound(404)
            return super().list(search_opts=search_opts, limit=limit, marker=marker)

    with pytest.raises(cinder_errors.NotFound):
        listed(Forgetful())
