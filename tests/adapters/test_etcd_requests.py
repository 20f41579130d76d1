"""The session for etcd's client sends what `requests` would send, except for cookies, and fails as it does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from imagevol_adapters.coordination.etcd_requests import EtcdSession
from tests.adapters.test_creating import unused_port

SECONDS = 10  # passed only when a request hangs that must not


class Gateway(ThreadingHTTPServer):
    """Answers each request with what it got: the body, the path, and by which connection."""

    daemon_threads = True
    closes = silent = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.ending, self.closed = threading.Event(), threading.Event()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.server.silent:
            self.server.ending.wait(SECONDS)
            return
        asked = {"path": self.path, "body": body, "from": self.client_address[1], "headers": dict(self.headers)}
        self.server.asked.append(asked)
        answer = json.dumps({"said": body}).encode()
        if self.path == "/moved":
            self.send_response(307)
            self.send_header("Location", "/here")
        else:
            self.send_response(503 if body == "no" else 200)
        if body == "cookie":
            self.send_header("Set-Cookie", "backend=1; Max-Age=1; Path=/")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = self.server.closes

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Gateway]:
    with Gateway() as gateway:
        thread = threading.Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield gateway
        finally:
            gateway.ending.set()
            gateway.shutdown()
            thread.join()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as gateway:
        yield gateway


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[EtcdSession]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with EtcdSession.like(requests.Session()) as session:
        yield session


def test_each_request_has_its_own_body_and_all_have_one_connection(gateway: Gateway, session: EtcdSession) -> None:
    url = f"{gateway.url}/v3/kv/txn"
    answers = [
        session.post(url, data='{"compare": []}', timeout=SECONDS),
        session.post(url, json={"key": "a" * 1000}, timeout=SECONDS),
        session.post(url, json={"key": "b"}, timeout=SECONDS),
    ]
    bodies = ['{"compare": []}', json.dumps({"key": "a" * 1000}), json.dumps({"key": "b"})]
    assert [json.loads(each.json()["said"]) for each in answers] == [json.loads(body) for body in bodies]
    assert {each.status_code for each in answers} == {200}
    assert {each["path"] for each in gateway.asked} == {"/v3/kv/txn"}
    assert len({each["from"] for each in gateway.asked}) == 1


def test_what_it_sends_is_what_requests_sends(gateway: Gateway, session: EtcdSession) -> None:
    url = f"{gateway.url}/v3/kv/range"
    with requests.Session() as plain:
        for each in (plain, session, session):
            each.post(url, json={"key": "a"}, timeout=SECONDS)
            each.post(url, data='{"key": "a"}', timeout=SECONDS)
    first, second, *others = ({name: each[name] for name in ("path", "body", "headers")} for each in gateway.asked)
    assert others == [first, second] * 2


def test_an_answer_that_is_an_error_is_given_with_its_text(gateway: Gateway, session: EtcdSession) -> None:
    answer = session.post(gateway.url, data="no", timeout=SECONDS)
    assert (answer.status_code, answer.text, answer.reason) == (503, '{"said": "no"}', "Service Unavailable")


def test_a_connection_that_etcd_has_closed_is_made_anew(gateway: Gateway, session: EtcdSession) -> None:
    gateway.closes = True
    for number in range(3):
        assert session.post(gateway.url, data=str(number), timeout=SECONDS).json() == {"said": str(number)}
        assert gateway.closed.wait(SECONDS)
        gateway.closed.clear()
    assert len({each["from"] for each in gateway.asked}) == 3


def test_an_etcd_that_is_gone_or_silent_is_the_error_of_requests(gateway: Gateway, session: EtcdSession) -> None:
    with pytest.raises(requests.ConnectionError):
        session.post(f"http://127.0.0.1:{unused_port()}/", data="1", timeout=SECONDS)
    gateway.silent = True
    with pytest.raises(requests.Timeout):
        session.post(gateway.url, data="1", timeout=0.05)


def test_the_proxy_of_the_environment_is_used(
    gateway: Gateway, session: EtcdSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", gateway.url)
    url = "http://etcd.example.com:2379/v3/kv/txn"
    assert session.post(url, data="1", timeout=SECONDS).json() == {"said": "1"}
    assert [each["path"] for each in gateway.asked] == [url]


@pytest.mark.parametrize("reading", ["merge_environment_settings", "prepare_request"])
def test_the_environment_is_read_once_for_each_url(
    gateway: Gateway, session: EtcdSession, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    session.post(gateway.url, data="1", timeout=SECONDS)
    monkeypatch.setattr(EtcdSession, reading, lambda *_: pytest.fail("it was read again"))
    session.post(gateway.url, data="2", timeout=SECONDS)
    assert len(gateway.asked) == 2


def test_the_credentials_of_a_netrc_are_sent(
    gateway: Gateway, session: EtcdSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login one password two\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with requests.Session() as plain:
        for each in (plain, session):
            each.post(gateway.url, data="1", timeout=SECONDS)
    by_requests, by_this = (each["headers"].get("Authorization") for each in gateway.asked)
    assert by_this == by_requests


def test_a_request_that_is_sent_elsewhere_arrives_there(gateway: Gateway, session: EtcdSession) -> None:
    for _ in range(2):
        assert session.post(f"{gateway.url}/moved", data="1", timeout=SECONDS).json() == {"said": "1"}
    assert [each["path"] for each in gateway.asked] == ["/moved", "/moved", "/here"] * 2


def test_a_cookie_is_not_sent_for_ever(gateway: Gateway, session: EtcdSession) -> None:
    session.post(gateway.url, data="cookie", timeout=SECONDS, headers={})  # as the client asks for the version
    session.post(gateway.url, data="1", timeout=SECONDS)
    session.post(gateway.url, data="2", timeout=SECONDS)
    assert len(session.cookies) == 1
    assert ["Cookie" in each["headers"] for each in gateway.asked] == [False, False, False]


def test_many_threads_get_each_its_own_answer(gateway: Gateway, session: EtcdSession) -> None:
    def ask(number: int) -> list[Any]:
        return [session.post(gateway.url, data=f"{number}.{n}", timeout=SECONDS).json()["said"] for n in range(20)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert answers == [[f"{number}.{n}" for n in range(20)] for number in range(8)]


def test_what_else_is_asked_for_is_left_to_requests(gateway: Gateway, session: EtcdSession) -> None:
    session.post(gateway.url, data="1", timeout=SECONDS, headers={"X-Trace": "7"})
    assert gateway.asked[0]["headers"]["X-Trace"] == "7"


def test_certificates_are_those_of_the_session_that_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    before, sent = requests.Session(), list[dict[str, Any]]()
    before.verify, before.cert = "/etc/etcd/ca.pem", ("/etc/etcd/client.pem", "/etc/etcd/client.key")

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request: requests.PreparedRequest, *_: object, **how: Any) -> requests.Response:
            sent.append(how)
            answer = requests.Response()
            answer.raw, answer.status_code = None, 200
            return answer

        def close(self) -> None:
            pass

    with EtcdSession.like(before) as session:
        session.mount("https://", Adapter())
        session.post("https://etcd.example.com:2379/v3/kv/txn", data="1", timeout=SECONDS)
    assert (sent[0]["verify"], sent[0]["cert"], sent[0]["timeout"]) == (before.verify, before.cert, SECONDS)
