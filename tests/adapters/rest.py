"""Services that answer as they are told, for answers that a real one cannot be brought to."""

from __future__ import annotations

from typing import Any

from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from requests_mock import Mocker

TOKEN = "gAAAAA-a-token-that-nobody-may-see"
CINDER = "http://cinder.test/v3"
GLANCE = "http://glance.test"


def session(endpoint: str) -> Session:
    """A session that knows one endpoint and asks no Keystone."""
    return Session(auth=Token(endpoint, TOKEN))


def offer_cinder(http: Mocker, *, newest: str = "3.71") -> None:
    """Answer what tells of Cinder's versions."""
    http.get(CINDER, json={"versions": [_version("v3.0", CINDER, version=newest, min_version="3.0")]})


def offer_glance(http: Mocker, *, newest: str = "v2.17", date: str = "") -> None:
    """Answer what tells of Glance's versions."""
    versions = {"versions": [_version(name, f"{GLANCE}/v2/") for name in (newest, "v2.5")]}
    http.get(GLANCE, json=versions, status_code=300, headers={"Date": date} if date else {})
    http.get(f"{GLANCE}/versions", json=versions)


def _version(name: str, url: str, **more: str) -> dict[str, Any]:
    return {"id": name, "status": "CURRENT", "links": [{"rel": "self", "href": url}], **more}


def asked(http: Mocker) -> list[str]:
    """What was asked after the versions, as `GET /volumes/7`."""
    return [
        f"{request.method} {request.path.removeprefix('/v3').removeprefix('/v2')}"
        for request in http.request_history
        if request.path not in ("/v3", "/v3/", "", "/", "/versions")
    ]


def asked_last(http: Any) -> Any:
    """The last request to all of them, or to one that was registered."""
    assert http.last_request is not None
    return http.last_request
