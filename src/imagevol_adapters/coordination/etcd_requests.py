"""Requests to etcd for half of the CPU time.

A worker of a fleet asks etcd before each change.  `requests` spends more on such a request than the worker on all else:
it looks each time for proxies, certificates and credentials in the environment and in files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import requests

__all__ = ["EtcdSession"]


@attrs.frozen
class _Prepared:
    """What all requests of one URL have in common.

    Attributes:
        request: one without a body.
        options: of `requests.adapters.BaseAdapter.send`, such as proxies and certificates.
    """

    request: requests.PreparedRequest
    options: Mapping[str, Any]


class EtcdSession(requests.Session):
    """A session for etcd's client that reads the environment once for each URL.

    Its requests, connections and errors are those of `requests`, but it sends no cookies.

    >>> EtcdSession.like(requests.Session()).verify
    True
    """

    def __init__(self) -> None:
        """Begin without a connection."""
        super().__init__()
        self._prepared: dict[str, _Prepared] = {}

    @classmethod
    def like(cls, session: requests.Session) -> EtcdSession:
        """Give one with the settings and the connections of another.

        Args:
            session: as etcd's client makes it.
        """
        made = cls()
        for name in session.__attrs__:
            setattr(made, name, getattr(session, name))
        return made

    def post(  # type: ignore[override]
        self, url: str, data: Any = None, json: Any = None, *, timeout: float | None = None, **others: Any
    ) -> requests.Response:
        """Send a request and give the whole answer; one that etcd sends elsewhere is left to `requests`.

        Args:
            url: of etcd's gateway.
            data: the body, as it is.
            json: the body, to be written as JSON.
            timeout: in seconds, for the connection and for each part of the answer.
            others: of `requests.Session.post`; with any of them, the request is left to it.

        Raises:
            requests.RequestException: there was no answer.
        """
        if others:
            return super().post(url, data=data, json=json, timeout=timeout, **others)
        prepared = self._prepared.get(url)
        if prepared is None:
            prepared = self._prepared[url] = self._prepare(url)
        request = prepared.request.copy()
        request.prepare_body(data, None, json)
        answer = self.get_adapter(url).send(request, timeout=timeout, **prepared.options)
        answer.content  # noqa: B018 - read now, so that the connection is free again
        if answer.is_redirect:
            return super().post(url, data=data, json=json, timeout=timeout)
        return answer

    def _prepare(self, url: str) -> _Prepared:
        request = self.prepare_request(requests.Request("POST", url))
        request.headers.pop("Cookie", None)  # it can expire, and this request is kept
        return _Prepared(request, self.merge_environment_settings(url, {}, False, None, None))
