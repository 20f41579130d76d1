"""Requests to etcd for half of the CPU time.

A worker of a fleet asks etcd before each change.  `requests` spends more on such a request than the worker on all else:
it looks each time for proxies and credentials in the environment, and for cookies, redirects and hooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import requests

__all__ = ["EtcdSession"]


@attrs.frozen
class _Prepared:
    """What is the same in each request of one URL.

    Attributes:
        request: without a body.
        how: it is sent: proxies, certificates and the like.
    """

    request: requests.PreparedRequest
    how: Mapping[str, Any]


class EtcdSession(requests.Session):
    """A session for etcd's client: it reads the environment once for each URL.  Connections and errors are the same.

    >>> EtcdSession.like(requests.Session()).verify
    True
    """

    def __init__(self) -> None:
        """Begin without a connection."""
        super().__init__()
        self._prepared: dict[str, _Prepared] = {}

    @classmethod
    def like(cls, session: requests.Session) -> EtcdSession:
        """Give one that trusts the same certificates and shows the same one.

        Args:
            session: as etcd's client makes it.
        """
        made = cls()
        made.verify, made.cert = session.verify, session.cert
        return made

    def post(  # type: ignore[override]
        self, url: str, data: Any = None, json: Any = None, *, timeout: float | None = None, **others: Any
    ) -> requests.Response:
        """Send a request and give the whole answer; what etcd does not need is left to `requests`.

        Args:
            url: of etcd's gateway.
            data: the body, as it is.
            json: the body, to be written as JSON.
            timeout: in seconds, for the connection and for each part of the answer.
            others: see `requests.Session.post`.

        Raises:
            requests.RequestException: there was no answer.
        """
        if others:
            return super().post(url, data=data, json=json, timeout=timeout, **others)
        prepared = self._prepared.get(url)
        if prepared is None:
            request = self.prepare_request(requests.Request("POST", url))
            how = self.merge_environment_settings(url, {}, False, None, None)
            prepared = self._prepared[url] = _Prepared(request, how)
        request = prepared.request.copy()
        request.prepare_body(data, None, json)
        answer = self.get_adapter(url).send(request, timeout=timeout, **prepared.how)
        answer.content  # noqa: B018 - read now, so that the connection is free again
        return answer
