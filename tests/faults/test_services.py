"""Whatever goes wrong with a call, over real connections: a success or one error of ours, and nothing made twice."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token

from imagevol_adapters.cinder import CinderVolumes
from imagevol_adapters.cleanup import released
from imagevol_adapters.transfers.attaching import delete_volume
from imagevol_adapters.transfers.creating import answered
from imagevol_core import ImagevolError
from tests.faults.proxy.calls import FAULTS, Call, dealt, drawn
from tests.faults.proxy.passing import Proxies, proxies

ID = "0b1c2d3e-4f50-6172-8394-a5b6c7d8"
SOON = 0.15
MARK = {"imagevol_procedure": "put"}


class Cinder(ThreadingHTTPServer):
    """As much of a Cinder as creates, shows and deletes volumes."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on the loopback interface."""
        super().__init__(("127.0.0.1", 0), Answer)
        self.volumes: dict[str, dict[str, Any]] = {}
        self.created = 0


class Answer(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Cinder

    def do_GET(self) -> None:
        volumes, path = self.server.volumes, self.path.partition("?")[0].rstrip("/")
        if path == "/v3":
            link = [{"rel": "self", "href": f"http://{self.headers['Host']}/v3"}]
            version = {"id": "v3.0", "status": "CURRENT", "version": "3.71", "min_version": "3.0", "links": link}
            self._give(200, {"versions": [version]})
        elif path == "/v3/volumes/detail":
            self._give(200, {"volumes": [*volumes.values()]})
        elif (volume_id := path.rpartition("/")[2]) in volumes:
            self._give(200, {"volume": volumes[volume_id]})
        else:
            self._give(404, {"itemNotFound": {"code": 404, "message": "no such volume"}})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["volume"]
        self.server.created += 1
        volume_id = f"{ID}{self.server.created:04x}"
        shown = {"id": volume_id, "size": asked["size"], "status": "available", "attachments": []}
        volume = {**shown, "name": asked["name"], "metadata": asked["metadata"], "volume_type": asked["volume_type"]}
        self.server.volumes[volume_id] = volume
        self._give(202, {"volume": volume})

    def do_DELETE(self) -> None:
        gone = self.server.volumes.pop(self.path.rpartition("/")[2], None)
        self._give(202 if gone else 404, None if gone else {"itemNotFound": {"code": 404, "message": "gone"}})

    def _give(self, status: int, answer: object) -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@attrs.frozen
class World:
    """A Cinder, and a proxy before it."""

    cinder: Cinder
    between: Proxies

    def volumes(self) -> CinderVolumes:
        """A client, as new."""
        url = self.between.urls["cinder"]
        session = Session(auth=Token(url, "a token"))
        session.timeout = SOON
        return CinderVolumes(session=session, endpoint_override=url, wait_seconds=5)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Cinder() as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            with proxies({"cinder": f"http://127.0.0.1:{server.server_port}/v3"}) as between:
                yield World(server, between)
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that end at once."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.005)))


def create(volumes: CinderVolumes) -> Any:
    """A new volume, as the procedures ask for it."""

    def ask() -> Any:
        return volumes.create(size_gib=1, name="one", volume_type="fast", metadata=MARK)

    return answered(ask, volumes=volumes, name="one", metadata=MARK)


def whole_life(volumes: CinderVolumes) -> None:
    """Create a volume, wait for it, and delete it, whatever fails."""
    made = create(volumes)
    with released(f"volume {made.id}", partial(delete_volume, volumes, made.id)):
        volumes.wait(made.id)


def failure_of(procedure: Callable[[CinderVolumes], object], volumes: CinderVolumes) -> ImagevolError | None:
    """The error by which it fails, if it does."""
    try:
        procedure(volumes)
    except ImagevolError as error:
        return error
    return None


def calls(world: World, procedure: Callable[[CinderVolumes], object]) -> list[Call]:
    world.between.begin()
    procedure(world.volumes())
    return list(dict.fromkeys(world.between.calls))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_volume_is_created_once_and_deleted_or_an_error_says_what_is_left(world: World, fault: str) -> None:
    tried = calls(world, whole_life)
    assert {call.method for call in tried} == {"GET", "POST", "DELETE"}
    for call in tried:
        before = world.cinder.created
        world.between.begin(call, FAULTS[fault])
        error = failure_of(whole_life, world.volumes())
        assert world.between.struck == 1
        assert world.cinder.created <= before + 1
        assert "\n" not in str(error or "")
        assert error is None or "Cinder" in str(error) or "volume" in str(error)
        # What a service says is not there, is not there.
        named = error.leftovers if error else fault == "answered-404"
        assert not world.cinder.volumes or named, f"{call}: {fault}: {error}"
        world.cinder.volumes.clear()


@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if not fault.stalls])
def test_a_service_that_does_not_recover_is_given_up(world: World, fault: str) -> None:
    tried = calls(world, whole_life)
    for call in random.Random(fault).sample(tried, 2):
        world.between.begin(call, FAULTS[fault], lasting=True)
        with suppress(ImagevolError):
            whole_life(world.volumes())
        assert 1 <= world.between.struck <= 20
        world.cinder.volumes.clear()


def test_each_call_is_dealt_different_faults_and_each_fault_occurs() -> None:
    hands = dealt([*FAULTS], [3] * 10 + [1] * 4, random.Random(7))
    assert [len({*hand}) for hand in hands] == [3] * 10 + [1] * 4
    counts = Counter(fault for hand in hands for fault in hand)
    assert counts.keys() == FAULTS.keys()
    assert max(counts.values()) - min(counts.values()) <= 1
    assert dealt([*FAULTS], [3] * 10 + [1] * 4, random.Random(7)) == hands


def test_of_calls_that_are_alike_a_few_are_drawn_and_of_each_kind_one() -> None:
    polls = [Call("cinder", "GET", "/v3/volumes/ID", number) for number in range(1, 9)]
    made = Call("cinder", "POST", "/v3/volumes", 1)
    found = drawn([made, *polls], 2, random.Random(7))
    assert found[0] == made
    assert len(found) == 3
    assert {*found[1:]} < {*polls}
