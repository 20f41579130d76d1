"""What Keystone says of a project."""

from __future__ import annotations

import pytest
import requests
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from requests_mock import ANY, Mocker

from imagevol_adapters.keystone import has_project
from imagevol_core import ServiceUnreachable

KEYSTONE = "http://keystone.test/v3"


@pytest.mark.parametrize("status, exists", [(200, True), (404, False), (403, None), (500, None)])
def test_keystone_says_that_a_project_exists_or_not_or_does_not_tell(status: int, exists: bool | None) -> None:
    with Mocker() as http:
        http.get(KEYSTONE, json={"version": {"id": "v3.14", "status": "stable", "links": []}})
        asked = http.get(f"{KEYSTONE}/projects/..%2Fusers%3F", status_code=status, json={})
        assert has_project(Session(auth=Token(KEYSTONE, "t")), "../users?") is exists
        assert asked.call_count == 1


def test_a_keystone_that_does_not_answer_is_an_error() -> None:
    with Mocker() as http:
        http.get(ANY, exc=requests.ConnectionError)
        with pytest.raises(ServiceUnreachable):
            has_project(Session(auth=Token(KEYSTONE, "t")), "p")
