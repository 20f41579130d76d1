"""Whatever a service answers, and however a command ends, no password and no token is shown or written.

The services here repeat what they were sent, as a proxy that explains its errors does.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from imagevol_adapters.error_text import hide_userinfo, keep_secret, one_line
from imagevol_core import HIDDEN
from tests.adapters.commands import Run

# None of it is a word of a log, and some of it is written otherwise in a URL, in JSON or by `repr`.
PASSWORD = "zq-7'K\"é\\ swordfish"
TOKEN = "c0ffee5eed5eed5eed5eed5eedc0ffee"  # of no kind that can be told from an id
PIECES = (PASSWORD, "swordfish", TOKEN)
ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"

pytestmark = pytest.mark.usefixtures("no_cloud")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is sent again is sent at once."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


class Answers(BaseHTTPRequestHandler):
    """Keystone, Cinder and Glance in one: `ends` says which request gets an error, and of which kind."""

    server: Any

    def answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.seen.append(self.path)
        kind = "auth" if self.path.endswith("/auth/tokens") else "other"
        echo = f"{sent} {PASSWORD} {self.headers} {json.dumps(PASSWORD)} {PASSWORD!r} "
        echo += "" if kind == "auth" else TOKEN  # which no command has yet
        if self.server.fails == kind:
            status, body, more = self.server.failure(echo)
            return self.send(status, body, more)
        if kind == "auth":
            ends = [{"id": "e", "interface": "public", "region": "r", "region_id": "r", "url": self.server.url}]
            services = ("block-storage", "image", "identity")
            catalogue = [{"type": each, "id": each, "name": each, "endpoints": ends} for each in services]
            user = {"id": "u", "name": "u", "domain": {"id": "default", "name": "Default"}}
            token = {"user": user, "project": {**user, "id": "p"}, "catalog": catalogue, "methods": ["password"]}
            token |= {f"{each}_at": "2999-01-01T00:00:00.000000Z" for each in ("expires", "issued")}
            return self.send(201, json.dumps({"token": token}), {"X-Subject-Token": TOKEN})
        if self.path in ("/", "/v3", "/v3/") or "versions" in self.path:
            link = [{"rel": "self", "href": self.server.url}]
            version = {"id": "v3.0", "status": "CURRENT", "links": link, "version": "3.71", "min_version": "3.0"}
            return self.send(200, json.dumps({"version": version, "versions": [version]}), {})
        return self.send(404, echo, {})

    def send(self, status: int, body: str, headers: dict[str, str]) -> None:
        data = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


Failure = Callable[[str], tuple[int, str, dict[str, str]]]
FAILURES: dict[str, Failure] = {
    "an error in JSON": lambda echo: (401, json.dumps({"error": {"message": echo, "code": 401, "title": echo}}), {}),
    "a refusal": lambda echo: (403, json.dumps({"error": {"message": f"{PASSWORD} may not", "code": 403}}), {}),
    "a page": lambda echo: (500, f"<html><body><h1>{echo}</h1></body></html>", {"Content-Type": "text/html"}),
    "a text": lambda echo: (400, f"cannot bind {echo[-300:]}", {"Content-Type": "text/plain"}),
    "no JSON": lambda echo: (201, f"{{{echo}", {"X-Subject-Token": TOKEN}),
    "a redirect": lambda _: (302, "", {"Location": f"http://u:{quote(PASSWORD)}@127.0.0.1:1/?a={quote(PASSWORD)}"}),
}


@contextmanager
def answering(fails: str, failure: Failure) -> Iterator[Any]:
    """Services that answer on the loopback address while the context lasts."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        services: Any = server
        services.fails, services.failure, services.seen = fails, failure, []
        services.url = f"http://127.0.0.1:{server.server_address[1]}/v3"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield services
        server.shutdown()


def credentials(url: str) -> dict[str, str]:
    """The credentials, as the environment has them."""
    names = {"AUTH_URL": url, "USERNAME": "u", "PASSWORD": PASSWORD, "PROJECT_NAME": "p", "REGION_NAME": "r"}
    names |= {"USER_DOMAIN_NAME": "Default", "PROJECT_DOMAIN_NAME": "Default"}
    return {f"OS_{name}": value for name, value in names.items()}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("fails", ["auth", "other"])
def test_a_service_that_repeats_what_it_was_sent_makes_no_secret_seen(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: str, failure: Failure
) -> None:
    file, journal = tmp_path / "disk.raw", tmp_path / "journal"
    file.write_bytes(b"data" * 1000)
    with answering(fails, failure) as services:
        for words in (("put", file, "--journal", journal, "-f", "json"), ("get", ID, tmp_path / "back")):
            for name, value in credentials(services.url).items():
                monkeypatch.setenv(name, value)
            ran = run("--debug", *words)
            assert ran.status == 1
            assert services.seen
            written = [path.read_text(errors="replace") for path in tmp_path.iterdir() if path != file]
            for piece in PIECES:
                assert piece not in ran.out + ran.err
                assert not any(piece in text for text in written)
                assert not any(piece in argument for argument in sys.argv)
                assert not any(piece in value for value in os.environ.values())  # which programs would be given


def test_a_keystone_that_asks_for_a_token_before_it_shows_its_versions_hangs_no_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with answering("other", lambda _: (401, "{}", {})) as services:
        for name, value in credentials(services.url).items():
            monkeypatch.setenv(name, value)
        ran = run("get", ID, tmp_path / "back")
        assert ran.status == 1
        assert services.seen.count("/v3/auth/tokens") > 0


@pytest.mark.parametrize("text", ["{}", "'{}' is too long", "Basic{}x", '{{"a": "{}"}}', "x={};y"])
def test_a_known_secret_is_hidden_wherever_it_stands(text: str) -> None:
    keep_secret([PASSWORD, None, 7, "abc", "of no encoding \udcff"])
    for form in (PASSWORD, json.dumps(PASSWORD)[1:-1], repr(PASSWORD)[1:-1]):
        error = ValueError(text.format(form))
        assert "swordfish" not in one_line(error)
        hide_userinfo(error)
        assert "swordfish" not in repr(error)
        assert HIDDEN in str(error)


def test_a_short_secret_hides_no_part_of_a_word() -> None:
    keep_secret(["carp"])
    assert one_line(ValueError("the carpet of carp")) == f"the carpet of {HIDDEN}"


def test_a_command_and_what_it_starts_write_no_core_dump() -> None:
    program = "import resource, subprocess, sys\nfrom imagevol_adapters.cli import main\n"
    program += "try: main(['--version'])\nexcept SystemExit: pass\n"
    program += "show = 'import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])'\n"
    program += "subprocess.run([sys.executable, '-c', show], check=True)\n"
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)

    def allowed() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, preexec_fn=allowed
    )
    assert done.stdout.splitlines()[-1] in ("0", "1")  # bytes, too few for any
