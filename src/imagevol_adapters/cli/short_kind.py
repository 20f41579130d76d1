"""The kind of work of a job or a worker, so short that a person can compare it."""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import urlsplit

__all__ = ["short_kind"]

_WHOLE = re.compile(
    r"(?P<task>.+?) of Glance (?P<glance>.+?), Cinder (?P<cinder>.+?), project (?P<project>[^,]+)(, .+)?"
)
_ID, _SHORT_ID = re.compile("[0-9a-f-]{32,36}"), 8
_DIGITS = 4


def short_kind(kind: str) -> str:
    """Give what is done, in which region or on which host, the begin of the project, and a code.

    Only the same kind has the same code.  A kind of another form is given as it is.

    Args:
        kind: as it is on the board; any program can have written it.

    >>> project = "9c2e5a7b8d1f4a6c9e0b3d5f7a9c1e3b"
    >>> short_kind(f"audit --deep of Glance 1f3a at north, Cinder 77b0 at north, project {project}")
    'audit --deep at north, project 9c2e5a7b (3726)'
    """
    parts = _WHOLE.fullmatch(kind)
    if parts is None:
        return kind
    places = dict.fromkeys(_place(parts[service]) for service in ("glance", "cinder"))
    code = sha256(kind.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    return f"{parts['task']} at {' and '.join(places)}, project {_id(parts['project'])} ({code})"


def _place(service: str) -> str:
    """Give the region of a service, or the host of its URL."""
    place = service.rpartition(" at ")[2]
    try:
        return urlsplit(place).hostname or _id(place)
    except ValueError:
        return place


def _id(text: str) -> str:
    """Give the begin of an id, and other names whole."""
    return text[:_SHORT_ID] if _ID.fullmatch(text) else text
