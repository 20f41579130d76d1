"""As much of an HTTP client as it takes to set up a cloud, so that its starter needs no library."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit


class Api:
    """One service's API on the loopback, with one token."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self._url = urlsplit(url)
        self._token = token

    def request(self, method: str, path: str, body: object = None) -> tuple[http.client.HTTPMessage, dict[str, Any]]:
        """Headers and decoded body of the answer; an answer of 400 and above is a ValueError."""
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["X-Auth-Token"] = self._token
        connection = http.client.HTTPConnection(self._url.netloc, timeout=60)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, self._url.path + path, payload, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            reason = text.decode(errors="replace")
            raise ValueError(f"{method} {path} answered {answer.status}: {reason}")
        decoded: dict[str, Any] = json.loads(text) if text else {}
        return answer.headers, decoded

    def get(self, path: str) -> dict[str, Any]:
        return self.request("GET", path)[1]

    def post(self, path: str, body: object) -> dict[str, Any]:
        return self.request("POST", path, body)[1]

    def put(self, path: str) -> None:
        self.request("PUT", path)


def answers(url: str) -> bool:
    """Whether anything at all comes back from this address; its status does not matter."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=1)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
