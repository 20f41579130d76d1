"""What fails is sent again if that is safe, and looked up if it is not, whichever client has sent it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from keystoneauth1.exceptions import ClientException
from keystoneauth1.identity.generic.password import Password
from keystoneauth1.identity.v3 import Password as V3Password
from keystoneauth1.session import Session
from requests_mock import ANY, Mocker

from imagevol_adapters.cinder import CinderVolumes
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.glance import GlanceImages
from imagevol_adapters.keystone import never_sent
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.repeating import repeating
from imagevol_core import AccessDenied, ResourceNotFound, ServiceError, ServiceFailed, ServiceUnreachable
from tests.adapters.conftest import Clock
from tests.adapters.rest import CINDER, GLANCE, asked, offer_cinder, offer_glance, session

ID = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"
LOST = {"exc": requests.ConnectionError("reset")}
VOLUME = {
    "id": ID,
    "name": "image-1",
    "size": 1,
    "status": "available",
    "metadata": {"imagevol_procedure": "put"},
    "volume_type": "fast",
    "attachments": [],
    "created_at": "2026-01-01T00:00:00.000000",
}


@pytest.fixture
def http(clock: Clock) -> Iterator[Mocker]:
    with Mocker() as http:
        offer_cinder(http)
        offer_glance(http)
        yield http


@pytest.fixture
def volumes() -> CinderVolumes:
    return CinderVolumes(session=session(CINDER), wait_seconds=20)


@pytest.fixture
def images() -> GlanceImages:
    return GlanceImages(session=session(GLANCE), wait_seconds=20)


@pytest.mark.parametrize("fault", [LOST, {"status_code": 503}, {"status_code": 429, "headers": {"Retry-After": "3"}}])
def test_a_question_is_asked_again(http: Mocker, volumes: CinderVolumes, clock: Clock, fault: dict[str, Any]) -> None:
    http.get(f"{CINDER}/volumes/{ID}", [fault, fault, {"json": {"volume": VOLUME}}])
    assert volumes.get(ID).size_gib == 1
    assert clock.slept == ([3, 3] if "headers" in fault else [0.5, 1])


@pytest.mark.parametrize("text", ['{"volume": {"id":', ""])
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_an_answer_that_is_cut_or_not_the_services_is_asked_for_again_and_then_named(
    http: Mocker, volumes: CinderVolumes, text: str, kind: str
) -> None:
    garbled = {"text": text or "<html>It works!</html>", "headers": {"Content-Type": kind}}
    http.get(f"{CINDER}/volumes/{ID}", [garbled, {"json": {"volume": VOLUME}}])
    assert volumes.get(ID).id == ID
    http.get(f"{CINDER}/volumes/{ID}", [garbled])
    with pytest.raises(ServiceError, match=r"Cinder, volume .*: the answer is cut, or is not that of the service"):
        volumes.get(ID)


@pytest.mark.parametrize("answers", [{"text": "<html/>", "headers": {"Content-Type": "text/html"}}, {"text": "{"}])
def test_an_answer_of_glance_that_is_cut_is_asked_for_again(
    http: Mocker, images: GlanceImages, answers: dict[str, Any]
) -> None:
    http.get(f"{GLANCE}/v2/schemas/image", json={"name": "image", "properties": {}})
    cut = {"headers": {"Content-Type": "application/json"}, **answers}
    http.get(f"{GLANCE}/v2/images/{ID}", [cut, {"json": IMAGE}])
    assert images.get(ID).status == "queued"


def test_a_service_that_does_not_recover_is_an_error_after_a_few_attempts(http: Mocker, volumes: CinderVolumes) -> None:
    http.get(f"{CINDER}/volumes/{ID}", status_code=503)
    with pytest.raises(ServiceFailed):
        volumes.get(ID)
    assert asked(http) == [f"GET /volumes/{ID}"] * 5


def test_a_wait_goes_on_when_the_service_is_back(http: Mocker, volumes: CinderVolumes) -> None:
    creating = {"json": {"volume": {**VOLUME, "status": "creating"}}}
    http.get(f"{CINDER}/volumes/{ID}", [creating, {"status_code": 503}, creating, LOST, {"json": {"volume": VOLUME}}])
    assert volumes.wait(ID).status == "available"


@pytest.mark.parametrize("fault", [LOST, {"status_code": 500}, {"status_code": 504}])
def test_a_volume_is_never_created_twice_and_found_if_it_was_created(
    http: Mocker, volumes: CinderVolumes, fault: dict[str, Any]
) -> None:
    creating = http.post(f"{CINDER}/volumes", [fault])
    wishes: dict[str, Any] = {"size_gib": 1, "name": "image-1", "metadata": VOLUME["metadata"], "volume_type": "fast"}
    other = {**VOLUME, "id": ID.replace("0b", "1c"), "volume_type": "slow"}
    http.get(f"{CINDER}/volumes/detail", json={"volumes": [other, VOLUME]})
    assert volumes.create(**wishes).id == ID
    assert creating.call_count == 1
    http.get(f"{CINDER}/volumes/detail", json={"volumes": [other]})
    with pytest.raises(ServiceError):
        volumes.create(**wishes)
    assert creating.call_count == 2


def test_a_limit_on_requests_is_waited_for_before_a_volume_is_created(http: Mocker, volumes: CinderVolumes) -> None:
    limit = {"status_code": 429, "headers": {"Retry-After": "1"}}
    http.post(f"{CINDER}/volumes", [limit, {"json": {"volume": VOLUME}}])
    assert volumes.create(size_gib=1, name="x").id == ID


def test_a_deletion_that_was_done_without_an_answer_is_done(http: Mocker, volumes: CinderVolumes) -> None:
    deleting = {"json": {"volume": {**VOLUME, "status": "deleting"}}}
    refused = {"status_code": 400, "json": {"badRequest": {"message": "status must be available", "code": 400}}}
    http.delete(f"{CINDER}/volumes/{ID}", [LOST, refused])
    http.get(f"{CINDER}/volumes/{ID}", [{"json": {"volume": VOLUME}}, deleting, deleting, {"status_code": 404}])
    volumes.delete(ID)


def test_an_image_whose_deletion_was_not_answered_is_gone(http: Mocker, images: GlanceImages) -> None:
    http.delete(f"{GLANCE}/v2/images/{ID}", [LOST, {"status_code": 404}])
    images.delete(ID)
    with pytest.raises(ResourceNotFound):
        images.delete(ID)


RESERVED = {**VOLUME, "status": "reserved", "multiattach": False, "updated_at": "2026-01-01T00:00:10.000000"}
ATTACHMENT = {"id": "a1", "status": "reserved", "instance": None, "volume_id": ID}


@pytest.mark.parametrize(
    "volume, attachments, found",
    [
        (RESERVED, [ATTACHMENT], True),
        (RESERVED, [], False),
        (RESERVED, [{**ATTACHMENT, "instance": ID}], False),
        ({**RESERVED, "updated_at": "2026-01-01T00:00:01.000000"}, [ATTACHMENT], False),
        ({**RESERVED, "updated_at": "2026-01-01T00:01:01.000000"}, [ATTACHMENT], False),
        ({**RESERVED, "multiattach": True}, [ATTACHMENT], False),
    ],
)
def test_an_attachment_that_was_made_without_an_answer_is_used_if_it_is_surely_that_one(
    http: Mocker,
    volumes: CinderVolumes,
    monkeypatch: pytest.MonkeyPatch,
    volume: dict[str, Any],
    attachments: list[dict[str, Any]],
    found: bool,
) -> None:
    at_ten(monkeypatch)
    http.post(f"{CINDER}/attachments", [LOST])
    http.get(f"{CINDER}/volumes/{ID}", json={"volume": volume})
    http.get(f"{CINDER}/attachments/detail", json={"attachments": attachments})
    if found:
        assert volumes.reserve(ID, mode=AccessMode.READ).id == "a1"
        return
    with pytest.raises(ServiceUnreachable) as lost:
        volumes.reserve(ID, mode=AccessMode.READ)
    assert lost.value.leftovers == (f"an attachment of volume {ID}, if Cinder has created it",)


def at_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be ten seconds after the year began."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from imagevol_adapters.cinder import lost_answers  # noqa: PLC0415

    class Fixed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Fixed:
            return cls(2026, 1, 1, 0, 0, 10, tzinfo=UTC)

    monkeypatch.setattr(lost_answers, "datetime", Fixed)


IMAGE = {
    "id": ID,
    "name": "x",
    "status": "queued",
    "owner": "p",
    "visibility": "private",
    "disk_format": "raw",
    "container_format": "bare",
    "min_disk": 0,
    "locations": [],
    "protected": False,
    "updated_at": "2026-01-01T00:00:00Z",
}


def test_an_image_is_created_under_an_id_by_which_it_is_found_without_an_answer(
    http: Mocker, images: GlanceImages
) -> None:
    http.get(f"{GLANCE}/v2/schemas/image", json={"name": "image", "properties": {"id": {"type": "string"}}})
    made: list[str] = []

    def make(request: Any, _context: Any) -> Any:
        made.append(json.loads(request.text)["id"])
        raise requests.ConnectionError("reset")

    def show(request: Any, context: Any) -> Any:
        image_id = request.path.rpartition("/")[2]
        context.status_code = 200 if image_id in made else 404
        return {**IMAGE, "id": image_id} if image_id in made else {}

    http.post(f"{GLANCE}/v2/images", json=make)
    http.get(ANY, json=show)
    http.get(f"{GLANCE}/v2/schemas/image", json={"name": "image", "properties": {"id": {"type": "string"}}})
    offer_glance(http)
    assert images.create(name="x", disk_format="raw").id == made[0]
    assert len(made) == 1


def test_locations_that_glance_fails_to_give_are_an_error_and_not_none(http: Mocker, images: GlanceImages) -> None:
    shown = {key: value for key, value in IMAGE.items() if key != "locations"}
    http.get(f"{GLANCE}/v2/schemas/image", json={"name": "image", "properties": {}})
    http.get(f"{GLANCE}/v2/images/{ID}", json=shown)
    for status in (403, 404, 405, 501):
        http.get(f"{GLANCE}/v2/images/{ID}/locations", status_code=status)
        assert images.get(ID).locations == ()
    for status in (500, 503):
        http.get(f"{GLANCE}/v2/images/{ID}/locations", status_code=status)
        with pytest.raises(ServiceFailed):
            images.get(ID)


@pytest.mark.parametrize("sent", [0, 3])
def test_data_is_never_sent_from_its_middle_with_a_new_token(http: Mocker, sent: int) -> None:
    auth = V3Password("http://k/v3", username="u", password="p", user_domain_id="d", project_name="p")
    http.post("http://k/v3/auth/tokens", json={"token": {}}, headers={"X-Subject-Token": "t"}, status_code=201)
    taken: list[bytes] = []

    def refuse(request: Any, context: Any) -> str:
        taken.extend(part for _, part in zip(range(sent), request.text, strict=False))
        context.status_code = 401 if not http_done else 204
        http_done.append(True)
        return ""

    http_done: list[bool] = []
    http.put("http://glance/v2/images/7/file", text=refuse)
    data = (b"x" for _ in range(9))
    patient = repeating(Session(auth=auth))
    if sent:
        with pytest.raises(ClientException, match="the data cannot be sent again"):
            patient.put("http://glance/v2/images/7/file", data=data)
    else:
        assert patient.put("http://glance/v2/images/7/file", data=data).status_code == 204


def test_a_keystone_that_wants_a_token_for_its_versions_does_not_hang_the_process(http: Mocker) -> None:
    http.get("http://k/v3", status_code=401, json={})
    http.post("http://k/v3/auth/tokens", json={"token": {}}, headers={"X-Subject-Token": "t"}, status_code=201)
    auth = Password("http://k/v3", username="u", password="p", user_domain_id="d", project_name="p")
    assert repeating(Session(auth=auth)).get_token() == "t"


def test_a_token_is_asked_for_again(http: Mocker) -> None:
    given = {"json": {"token": {}}, "headers": {"X-Subject-Token": "t"}, "status_code": 201}
    http.post("http://k/v3/auth/tokens", [{"status_code": 503}, LOST, given])
    auth = V3Password("http://k/v3", username="u", password="p", user_domain_id="d", project_name="p")
    assert repeating(Session(auth=auth)).get_token() == "t"


@pytest.mark.parametrize("client", [GlanceImages, CinderVolumes])
def test_a_keystone_that_answers_404_for_a_token_does_not_say_that_what_is_asked_for_is_not_there(
    http: Mocker, client: type[GlanceImages | CinderVolumes]
) -> None:
    http.post("http://k/v3/auth/tokens", status_code=404, json={"error": {"message": "not found", "code": 404}})
    auth = V3Password("http://k/v3", username="u", password="p", user_domain_id="d", project_name="p")
    with pytest.raises(ServiceUnreachable, match=r"Keystone answers 404 to a request for a token.*check the URL"):
        client(session=Session(auth=auth)).get(ID)


def test_a_session_of_a_user_stays_as_it_is() -> None:
    given = session(CINDER)
    before = given.session
    patient = CinderVolumes(session=given).session
    assert given.session is before
    assert patient is not given
    assert repeating(patient) is patient
    assert patient.auth is given.auth


def test_every_request_has_a_deadline(http: Mocker, volumes: CinderVolumes) -> None:
    shown = http.get(f"{CINDER}/volumes/{ID}", json={"volume": VOLUME})
    volumes.get(ID)
    assert shown.last_request is not None
    assert shown.last_request.timeout == 600


@pytest.mark.parametrize(
    "ask", [lambda volumes: volumes.create(size_gib=1, name="x"), lambda volumes: volumes.get(ID)], ids=["post", "get"]
)
def test_what_never_left_this_host_is_still_told_apart(
    http: Mocker, volumes: CinderVolumes, ask: Callable[[CinderVolumes], Any]
) -> None:
    from urllib3.exceptions import ConnectTimeoutError  # noqa: PLC0415

    gone = requests.ConnectionError(ConnectTimeoutError("no connection"))
    asked = [
        http.register_uri(method, f"{CINDER}/volumes{path}", exc=gone)
        for method, path in (("POST", ""), ("GET", f"/{ID}"))
    ]
    with pytest.raises(ServiceUnreachable) as failed:
        ask(volumes)
    assert never_sent(failed.value)
    assert sum(each.call_count for each in asked) == 5


def test_refused_credentials_are_not_tried_again(http: Mocker, volumes: CinderVolumes) -> None:
    http.get(f"{CINDER}/volumes/{ID}", status_code=403)
    with pytest.raises(AccessDenied):
        volumes.get(ID)
    assert len(asked(http)) == 1


@pytest.mark.parametrize("typed, seconds", [((), 600), (("--timeout", "6"), 6)])
def test_the_time_limit_of_the_command_line_is_that_of_each_request(
    monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...], seconds: float
) -> None:
    cloud = SimpleNamespace(config={}, get_session=partial(session, CINDER))
    monkeypatch.setattr(Imagevol, "cloud", cloud)
    app = Imagevol(typed)
    app.options = app.parser.parse_args(typed)
    assert app.session.timeout == seconds


@pytest.mark.parametrize("done", [True, False])
def test_keys_that_were_taken_away_without_an_answer_are_away(http: Mocker, volumes: CinderVolumes, done: bool) -> None:
    kept = {"held": "x", "kept": "y"}

    def take_away(_request: Any, context: Any) -> Any:
        if setting.call_count == 1:
            if done:
                del kept["held"]
            raise requests.ConnectionError("reset")
        context.status_code = 412
        return {}

    http.get(f"{CINDER}/volumes/{ID}", json=lambda *_: {"volume": {**VOLUME, "metadata": kept}})
    http.get(f"{CINDER}/volumes/{ID}/metadata", json=lambda *_: {"metadata": kept}, headers={"ETag": "one"})
    setting = http.put(f"{CINDER}/volumes/{ID}/metadata", json=take_away)
    if done:
        volumes.unset_metadata(ID, ["held"])
    else:
        with pytest.raises(ServiceError):
            volumes.unset_metadata(ID, ["held"])
