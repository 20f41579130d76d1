"""Sending a request again that failed, where the core says so: for Keystone, Cinder and Glance, in one place.

Every request of the clients goes through `requests`, below keystoneauth: also those for tokens and for versions.
"""

from __future__ import annotations

import copy
import inspect
import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import attrs
import requests
from keystoneauth1.session import Session

from imagevol_adapters.cleanup import naming
from imagevol_adapters.error_text import one_line
from imagevol_adapters.keystone import never_sent
from imagevol_core import ImagevolError, ResourceNotFound, ServiceError
from imagevol_core.resuming import FailedRequest, RequestRepeat, decide_request_repeat
from imagevol_core.sentences import duration

__all__ = ["looked_up", "repeating", "seconds_to_wait"]

_LOG = logging.getLogger(__name__)
_RETRIES = 4
_TIMEOUT_SECONDS = 600.0  # for an answer, of a session without a time limit of its own
_FAILED = 400
_NO_CONTENT = 204
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_VERSIONS = re.compile(r"(/[^/]+)?/?|(/[^/]+)?/v\d+(\.\d+)?/?")

T = TypeVar("T")
S = TypeVar("S")


def repeating(session: S, *, retries: int | None = None) -> S:
    """Give a session that sends a failed request again if that is safe; one that does already is given as it is.

    The session that is given stays as it is; both share the credentials, their token and the connections.

    Args:
        session: of keystoneauth. What is no such session is given as it is.
        retries: how often a request is sent again at most.
    """
    if not isinstance(session, Session) or isinstance(session.session, _Repeating):
        return session
    patient = copy.copy(session)
    patient._session = None  # the connections are the given session's to close
    attempts = 1 + (_RETRIES if retries is None else retries)
    patient.session = cast("requests.Session", _Repeating(session.session, attempts, given=session))
    return patient


def looked_up(ask: Callable[[], T], *, done: Callable[[], T | None], what: str | None = None) -> T:
    """Ask a service for what must not be asked for twice; if no answer came, look whether it has been done.

    Args:
        ask: asks for it.
        done: looks it up, and gives what `ask` would have given; None, or `ResourceNotFound`, if it has not been done.
        what: names what is left, perhaps, if it cannot be looked up.

    Raises:
        ServiceError: no answer came, and it has not been done, or that cannot be found out.
    """
    try:
        return ask()
    except ServiceError as error:
        if never_sent(error):
            raise
        try:
            found = done()
        except ResourceNotFound:
            raise error from error.__cause__
        except ImagevolError:
            with naming(*([what] if what else [])):
                raise error from error.__cause__
        if found is None:
            raise
        _LOG.warning("%s; it was done all the same", error)
        return found


@attrs.frozen
class _Repeating:
    """Sends requests as a session of `requests`, and those again that failed and do no harm.

    Attributes:
        inner: the session that sends them.
        attempts: how often each is sent at most.
        given: whose session `inner` is; it closes the connections when nothing uses it any more.
    """

    inner: requests.Session
    attempts: int
    given: Session = attrs.field(kw_only=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send a request, and give the answer; it may be a refusal."""
        options.setdefault("timeout", _TIMEOUT_SECONDS)
        begun, failures, path = time.monotonic(), 0, urlsplit(url).path
        _refuse_begun(options.get("data"))
        while True:
            response, error = None, None
            try:
                response = self.inner.request(method, url, **options)
                if response.status_code < _FAILED:
                    _refuse_garbled(response, path)
                    return response
            except requests.RequestException as caught:
                error = caught
            failures += 1
            decision = decide_request_repeat(
                FailedRequest(
                    method=method.upper(),
                    path=path,
                    action=_action(path, options.get("data")),
                    failures=failures,
                    attempts=self.attempts,
                    waited_seconds=time.monotonic() - begun,
                    arrived=error is None or not never_sent(error),
                    status=response.status_code if response is not None and error is None else None,
                    retry_after_seconds=None if response is None else seconds_to_wait(response.headers),
                    replayable=_is_replayable(options.get("data")),
                )
            )
            if decision.done and response is not None:
                return _done(response)
            if not decision.again:
                if error is not None:
                    raise error
                return self._as_what_it_is(url, cast("requests.Response", response))
            self._wait(method, f"{urlsplit(url).hostname}{path}", decision, response, error)

    def _as_what_it_is(self, url: str, answer: requests.Response) -> requests.Response:
        """Give an answer, unless it would be taken for another one.

        For a 404 to a request for a token, the client would say that the image or the volume is not there.  If Keystone
        wants a token before it tells its versions, keystoneauth would ask again with one, and wait for ever: it is
        about to get one.
        """
        if answer.status_code == _NOT_FOUND and urlsplit(url).path.endswith("/auth/tokens"):
            raise requests.RequestException("Keystone answers 404 to a request for a token")
        own = getattr(self.given.auth, "auth_url", None) or ""
        if answer.status_code == _UNAUTHORIZED and url.rstrip("/") == str(own).rstrip("/"):
            raise requests.RequestException("Keystone wants a token before it tells the versions of its API")
        return answer

    @staticmethod
    def _wait(
        method: str,
        where: str,
        decision: RequestRepeat,
        response: requests.Response | None,
        error: requests.RequestException | None,
    ) -> None:
        said = decision.reason if error is None else one_line(error)
        _LOG.debug("%s %s: %s; sending it again in %s", method, where, said, duration(decision.wait_seconds))
        if response is not None:
            response.close()
        time.sleep(decision.wait_seconds)


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Give how long a service asks to wait, as seconds or until a date; None if it does not say.

    >>> seconds_to_wait({"Retry-After": "7"}), seconds_to_wait({"Retry-After": "soon"})
    (7.0, None)
    """
    value = headers.get("Retry-After")
    if not value:
        return None
    with suppress(ValueError):
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None


def _is_replayable(data: object) -> bool:
    return data is None or isinstance(data, (str, bytes))


def _refuse_begun(data: object) -> None:
    """Refuse data that keystoneauth sends again, with a new token, after a part of it is gone."""
    if inspect.isgenerator(data) and inspect.getgeneratorstate(data) != inspect.GEN_CREATED:
        raise requests.exceptions.UnrewindableBodyError(
            "the service did not accept the token after a part of the data was sent, and the data cannot be sent again"
        )


def _refuse_garbled(response: requests.Response, path: str) -> None:
    """Refuse an answer that should be JSON, and is not: it was cut, or it is not the service's."""
    kind = response.headers.get("Content-Type", "")
    if path.endswith("/file") or ("json" not in kind and ("html" not in kind or _VERSIONS.fullmatch(path))):
        return  # where the versions are told, another server may answer, and the catalogue is believed
    try:
        if response.content:  # read here, so that a connection that breaks in it is sent again too
            json.loads(response.content)
    except ValueError as error:
        raise requests.exceptions.ContentDecodingError("the answer is cut, or is not that of the service") from error


def _action(path: str, data: object) -> str | None:
    """Name what a request to `/action` asks for."""
    if path.endswith("/action") and isinstance(data, (str, bytes)):
        with suppress(ValueError):
            asked = json.loads(data)
            if isinstance(asked, dict) and len(asked) == 1:
                return str(*asked)
    return None


def _done(response: requests.Response) -> requests.Response:
    """Give the answer that the attempt would have had that did it."""
    response.status_code, response.reason = _NO_CONTENT, "No Content"
    response._content = b""
    return response
