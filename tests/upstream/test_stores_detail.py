"""What Glance says of stores of kind `cinder`, it says of those of kind `imagevol` through the filter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.upstream.asking import Worker
from tests.upstream.conftest import worker

DETAIL = "/v2/info/stores/detail"
CINDER = {"fast": "cinder", "local": "file", "slow": "cinder", "web": "http"}


@pytest.fixture(scope="module")
def glance() -> Iterator[Worker]:
    yield from worker("glance", "stores_detail")


def ask(glance: Worker, stores: dict[str, str], *, filtered: bool, **wishes: Any) -> Any:
    asked = {"path": DETAIL, "roles": ["admin"], "method": "GET", **wishes}
    return glance.ask("ask", stores=stores, filtered=filtered, **asked)


def ours(stores: dict[str, str], *names: str) -> dict[str, str]:
    """The same stores, some of them ours."""
    return {name: "imagevol" if name in names else kind for name, kind in stores.items()}


@pytest.mark.parametrize("role, status", [("admin", 200), ("service", 200), ("member", 403)])
@pytest.mark.parametrize("names", [("fast",), ("slow",), ("fast", "slow")])
def test_the_answer_is_the_same_to_the_last_letter(
    glance: Worker, names: tuple[str, ...], role: str, status: int
) -> None:
    of_cinder = ask(glance, CINDER, filtered=False, roles=[role])
    assert of_cinder["status"] == status
    assert ask(glance, ours(CINDER, *names), filtered=True, roles=[role]) == of_cinder


def test_nothing_but_our_stores_is_answered_too(glance: Worker) -> None:
    assert ask(glance, {"fast": "imagevol"}, filtered=True) == ask(glance, {"fast": "cinder"}, filtered=False)


@pytest.mark.parametrize("path, method", [*product([DETAIL], ["POST", "DELETE"]), ("/v2/info/stores", "GET")])
def test_every_other_request_is_for_glance(glance: Worker, path: str, method: str) -> None:
    stores = ours(CINDER, "fast")
    answers = [ask(glance, stores, filtered=filtered, path=path, method=method) for filtered in (True, False)]
    assert answers[0] == answers[1]


def test_without_our_stores_glance_answers_as_ever(glance: Worker) -> None:
    assert ask(glance, CINDER, filtered=True) == ask(glance, CINDER, filtered=False)
    assert ask(glance, {}, filtered=True) == ask(glance, {}, filtered=False)


def test_without_the_filter_glance_answers_500_for_all_stores(glance: Worker) -> None:
    assert ask(glance, ours(CINDER, "fast"), filtered=False)["status"] == 500
