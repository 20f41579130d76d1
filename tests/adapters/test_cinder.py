"""Cinder where a real one cannot be brought to: broken answers, error states, another age.

What it does when all is well is in the conformance suite, on a real Cinder.
"""

from __future__ import annotations

import logging
import re
from ast import literal_eval
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session
from requests_mock import ANY, Mocker

from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_core import (
    AccessDenied,
    AttachmentFacts,
    DeadlineExceeded,
    ImagevolError,
    InUse,
    NoAnswer,
    NotFound,
    OverQuota,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    ServiceUnreachable,
    Volume,
    VolumeBusy,
    VolumeFailed,
)
from tests.adapters.rest import CINDER, TOKEN, asked, asked_last, offer_cinder, session

CONNECTOR = {"host": "here"}
IDS = [f"{number:08}-0000-4000-8000-00000000000a" for number in range(120)]
ATTACHMENT = Attachment(id="a1", volume_id="7", connection={})


pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def http() -> Iterator[Mocker]:
    with Mocker() as http:
        offer_cinder(http)
        yield http


@pytest.fixture
def volumes() -> CinderVolumes:
    return CinderVolumes(session=session(CINDER), wait_seconds=20)


def shown(status: str = "available", **more: Any) -> dict[str, Any]:
    return {"volume": {"id": "7", "size": 1, "status": status, "metadata": {}, **more}}


def states(http: Mocker, *answers: str | int) -> None:
    """What the volume's status is each time somebody asks; a number is an HTTP error."""
    http.get(
        f"{CINDER}/volumes/7",
        [{"json": shown(answer)} if isinstance(answer, str) else {"status_code": answer} for answer in answers],
    )


CALLS: dict[str, Callable[[CinderVolumes], object]] = {
    "create": lambda volumes: volumes.create(size_gib=1, name="n"),
    "get": lambda volumes: volumes.get("7"),
    "find": lambda volumes: volumes.find(["7"]),
    "wait": lambda volumes: volumes.wait("7"),
    "set_readonly": lambda volumes: volumes.set_readonly("7", readonly=True),
    "set_metadata": lambda volumes: volumes.set_metadata("7", {"a": "b"}),
    "delete": lambda volumes: volumes.delete("7"),
    "attach": lambda volumes: volumes.attach("7", connector=CONNECTOR, mode=AccessMode.READ),
    "complete": lambda volumes: volumes.complete(ATTACHMENT),
    "detach": lambda volumes: volumes.detach(ATTACHMENT),
    "volume_types": lambda volumes: volumes.volume_types(),
    "default_volume_type": lambda volumes: volumes.default_volume_type(),
    "find, several": lambda volumes: volumes.find(IDS),
    "unset_metadata": lambda volumes: volumes.unset_metadata("7", ["a"]),
    "reserve": lambda volumes: volumes.reserve("7", mode=AccessMode.READ),
    "reservations": lambda volumes: volumes.reservations("7"),
    "pools": lambda volumes: volumes.pools(),
    "is_encrypted": lambda volumes: volumes.is_encrypted("ssd"),
}


class TestEveryCall:
    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize(
        "status, expected",
        [
            *((401, AccessDenied), (403, AccessDenied), (413, OverQuota), (500, ServiceFailed), (502, ServiceFailed)),
            *((503, ServiceFailed), (418, ServiceFailed)),
        ],
    )
    def test_each_error_that_cinder_answers_becomes_an_error_of_imagevol(
        self, http: Mocker, volumes: CinderVolumes, call: str, status: int, expected: type[ImagevolError]
    ) -> None:
        http.register_uri(ANY, re.compile(f"{CINDER}/.+"), status_code=status, text="the server\nis ill")
        with pytest.raises(ImagevolError) as caught:
            CALLS[call](volumes)
        assert type(caught.value) is expected
        assert str(caught.value).startswith("Cinder, ")
        assert str(caught.value).isprintable()
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize("call", CALLS)
    def test_a_cinder_that_does_not_answer_is_an_error_without_a_token(
        self, http: Mocker, volumes: CinderVolumes, call: str
    ) -> None:
        http.register_uri(ANY, re.compile(f"{CINDER}/.+"), exc=requests.exceptions.ConnectTimeout)
        with pytest.raises(ServiceUnreachable, match=r"^Cinder, .*check that the service runs|check the URL") as caught:
            CALLS[call](volumes)
        assert TOKEN not in str(caught.value)


class TestVolumeTypes:
    def test_volume_types_are_listed_page_by_page_until_one_is_empty(
        self, http: Mocker, volumes: CinderVolumes
    ) -> None:
        for query, names in (("", ["ssd", "hdd"]), ("&marker=id-hdd", ["tape"]), ("&marker=id-tape", [])):
            page = {"volume_types": [{"id": f"id-{name}", "name": name} for name in names]}
            http.get(f"{CINDER}/types?is_public=None&limit=1000{query}", json=page)
        assert volumes.volume_types() == ("ssd", "hdd", "tape")

    def test_cinder_can_have_no_default_volume_type(self, http: Mocker, volumes: CinderVolumes) -> None:
        answers: list[dict[str, Any]] = [{"json": {"volume_type": {"id": "1", "name": "ssd"}}}, {"status_code": 404}]
        http.get(f"{CINDER}/types/default", answers)
        assert [volumes.default_volume_type(), volumes.default_volume_type()] == ["ssd", None]

    @pytest.fixture
    def ssd(self, http: Mocker) -> None:
        for query, names in (("", ["ssd"]), ("&marker=id-ssd", [])):
            page = {"volume_types": [{"id": f"id-{name}", "name": name} for name in names]}
            http.get(f"{CINDER}/types?is_public=None&limit=1000{query}", json=page)

    def test_the_pools_are_those_that_the_scheduler_knows(self, http: Mocker, volumes: CinderVolumes) -> None:
        pools = [
            {"name": "h@fast#a", "capabilities": {"volume_backend_name": "fast", "clone_across_pools": True}},
            {"name": "h@fast#b", "capabilities": {}},
        ]
        http.get(f"{CINDER}/scheduler-stats/get_pools?detail=True", json={"pools": pools})
        assert volumes.pools() == (
            Pool(name="h@fast#a", backend_name="fast", clone_across_pools=True),
            Pool(name="h@fast#b"),
        )

    def test_a_type_is_encrypted_if_it_has_an_encryption(self, http: Mocker, volumes: CinderVolumes, ssd: None) -> None:
        answers: list[dict[str, Any]] = [{"json": {}}, {"json": {"volume_type_id": "id-ssd", "encryption_id": "e"}}]
        http.get(f"{CINDER}/types/id-ssd/encryption", answers)
        assert [volumes.is_encrypted("ssd"), volumes.is_encrypted("ssd")] == [False, True]

    def test_an_unknown_volume_type_is_named(self, http: Mocker, volumes: CinderVolumes, ssd: None) -> None:
        with pytest.raises(ResourceNotFound, match="volume type nosuch"):
            volumes.is_encrypted("nosuch")


class TestPages:
    """What is known of many volumes, without a request for each."""

    @pytest.fixture
    def kept(self, http: Mocker) -> list[str]:
        """The ids of the volumes that there are, listed two at a time and by the filter, also in capitals."""
        kept = [*IDS[::2], "ffffffff-0000-4000-8000-000000000000"]

        def page(request: Any, context: Any) -> dict[str, Any]:
            query = request.qs
            wanted = literal_eval(query["id"][0]) if "id" in query else kept
            found = [volume_id for volume_id in kept if volume_id in wanted]
            after = found.index(query["marker"][0]) + 1 if "marker" in query else 0
            volumes = [{**shown()["volume"], "id": each, "volume_type": "ssd"} for each in found[after : after + 2]]
            if "id" in query and not after:
                volumes.insert(0, {**shown()["volume"], "id": IDS[1].upper(), "volume_type": "hdd"})
            return {"volumes": volumes}

        http.get(f"{CINDER}/volumes/detail", json=page)
        return kept

    def test_each_volume_is_asked_about_once_and_matched_by_the_spelling_of_its_id(
        self, http: Mocker, volumes: CinderVolumes, kept: list[str]
    ) -> None:
        answers = volumes.types_of(IDS)
        assert answers == {each: "ssd" if each in kept else NotFound() for each in IDS}
        assert [volume.id for volume in volumes.find(reversed(IDS))] == [each for each in reversed(IDS) if each in kept]
        urls = [request.url for request in http.request_history if "detail" in request.url]
        assert max(map(len, urls)) < 3000
        assert all("all_tenants=1" in url for url in urls)

    @pytest.mark.parametrize("status", [400, 414])
    def test_a_user_who_cannot_filter_by_id_lists_the_own_volumes(
        self, http: Mocker, volumes: CinderVolumes, kept: list[str], status: int
    ) -> None:
        http.get(re.compile(rf"{CINDER}/volumes/detail\?.*id="), status_code=status)
        assert volumes.types_of(IDS) == {each: "ssd" if each in kept else NotFound() for each in IDS}

    def test_only_an_administrator_is_shown_the_volumes_of_another_project(
        self, http: Mocker, volumes: CinderVolumes
    ) -> None:
        http.get(f"{CINDER}/volumes/detail", status_code=400, json={"badRequest": {"message": "Invalid filters"}})
        with pytest.raises(AccessDenied, match="credentials with the admin role"):
            list(volumes.listed(project_id="q"))

    def test_a_cinder_that_does_not_answer_is_reported_for_each_volume(
        self, http: Mocker, volumes: CinderVolumes
    ) -> None:
        http.get(f"{CINDER}/volumes/detail", status_code=503)
        answers = volumes.types_of(IDS)
        assert list(answers) == IDS
        assert {type(answer) for answer in answers.values()} == {NoAnswer}

    def test_odd_ids_are_asked_about_one_by_one_as_glance_does(self, http: Mocker, volumes: CinderVolumes) -> None:
        http.get(f"{CINDER}/volumes/7", json=shown(volume_type="ssd"))
        http.get(f"{CINDER}/volumes/nobody", status_code=404)
        http.get(f"{CINDER}/volumes/list", json={"volumes": []})
        assert volumes.types_of(["7", "nobody", "list", ""]) == {
            "7": "ssd",
            **dict.fromkeys(["nobody", "list", ""], NotFound()),
        }


class TestHolding:
    def test_only_metadata_keys_that_exist_are_deleted(self, http: Mocker, volumes: CinderVolumes) -> None:
        http.get(f"{CINDER}/volumes/7", json=shown(metadata={"b": "c"}))
        volumes.unset_metadata("7", ["a"])
        assert asked(http) == ["GET /volumes/7"]

    def test_a_volume_is_reserved_only_if_nothing_has_reserved_it(self, http: Mocker, volumes: CinderVolumes) -> None:
        there = [("1", "7", "reserved", None), ("2", "7", "attached", None), ("3", "7", "reserved", "vm")]
        attachments = [
            {"id": id_, "volume_id": volume_id, "status": status, "instance": instance}
            for id_, volume_id, status, instance in [*there, ("4", "8", "reserved", None)]
        ]
        http.get(f"{CINDER}/attachments/detail", json={"attachments": attachments})
        assert volumes.reservations("7") == (Attachment(id="1", volume_id="7", connection={}),)


class TestVersion:
    @pytest.mark.parametrize("newest, used", [("3.71", "3.61"), ("3.61", "3.61"), ("3.60", "3.54"), ("3.54", "3.54")])
    def test_the_highest_microversion_of_both_sides_is_used(
        self, http: Mocker, volumes: CinderVolumes, newest: str, used: str
    ) -> None:
        offer_cinder(http, newest=newest)
        states(http, "available")
        volumes.get("7")
        assert asked_last(http).headers["OpenStack-API-Version"] == f"volume {used}"

    def test_a_cinder_that_is_too_old_is_refused_before_anything_is_asked(
        self, http: Mocker, volumes: CinderVolumes
    ) -> None:
        offer_cinder(http, newest="3.53")
        with pytest.raises(ServiceFailed, match=r"speaks API 3\.53 at most, and 3\.54 is the least"):
            volumes.create(size_gib=1, name="n")
        assert asked(http) == []

    @pytest.mark.parametrize(
        "answer, expected",
        [
            ({"exc": requests.exceptions.ConnectionError}, ServiceUnreachable),
            ({"exc": requests.exceptions.ConnectTimeout}, ServiceUnreachable),
            ({"status_code": 503}, ServiceUnreachable),
            ({"text": "It works!"}, ServiceUnreachable),
            (
                {
                    "json": {
                        "versions": [{"id": "v3.0", "status": "CURRENT", "links": [{"rel": "self", "href": CINDER}]}]
                    }
                },
                ServiceFailed,
            ),
        ],
    )
    def test_a_cinder_that_does_not_tell_its_version_says_why(
        self, http: Mocker, volumes: CinderVolumes, answer: dict[str, Any], expected: type[ImagevolError]
    ) -> None:
        http.get(re.compile(CINDER), **answer)
        with pytest.raises(ImagevolError, match=r"^Cinder: ") as caught:
            volumes.get("7")
        assert type(caught.value) is expected

    def test_a_catalogue_without_cinder_says_so(self, http: Mocker) -> None:
        catalog = [{"type": "image", "id": "1", "endpoints": [{"interface": "public", "url": "http://glance.test"}]}]
        token = {"methods": ["password"], "expires_at": "2999-01-01T00:00:00.000000Z", "catalog": catalog}
        http.get("http://keystone.test/v3", json={"version": {"id": "v3.14", "status": "stable", "links": []}})
        tokens = "http://keystone.test/v3/auth/tokens"
        http.post(tokens, json={"token": token}, headers={"X-Subject-Token": TOKEN}, status_code=201)
        auth = Password("http://keystone.test/v3", username="u", password="hunter2", user_domain_id="default")
        with pytest.raises(ServiceUnreachable, match="service catalogue") as caught:
            CinderVolumes(session=Session(auth=auth), region_name="R").get("7")
        assert "hunter2" not in str(caught.value)


class TestWaiting:
    def test_a_volume_is_waited_for_until_it_is_available(self, http: Mocker, volumes: CinderVolumes) -> None:
        states(http, "creating", "downloading", "creating", "available")
        assert volumes.wait("7").status == "available"

    @pytest.mark.parametrize("status", ["creating", "in-use", "maintenance"])
    def test_a_volume_that_stays_where_it_is_has_a_deadline(
        self, http: Mocker, volumes: CinderVolumes, status: str
    ) -> None:
        states(http, status)
        with pytest.raises(DeadlineExceeded, match="volume 7 is not available after 20 seconds"):
            volumes.wait("7")

    @pytest.mark.parametrize("status", ["error", "error_extending", "error_managing", "error_deleting"])
    def test_a_volume_that_failed_says_the_newest_that_cinder_says_of_it(
        self, http: Mocker, volumes: CinderVolumes, status: str
    ) -> None:
        states(http, "creating", status)
        messages = [
            {"id": "1", "user_message": "the old one", "created_at": "2025-06-01T11:00:00.000000"},
            {"id": "2", "user_message": "the backend is full", "created_at": "2025-06-01T12:00:00.000000"},
        ]
        listing = http.get(f"{CINDER}/messages", json={"messages": messages})
        with pytest.raises(VolumeFailed, match=rf"volume 7 is '{status}' .*: the backend is full$") as caught:
            volumes.wait("7")
        assert (caught.value.volume_id, caught.value.status) == ("7", status)
        assert asked_last(listing).qs == {"resource_uuid": ["7"]}

    @pytest.mark.parametrize("answer", [{"json": {"messages": []}}, {"status_code": 403}, {"status_code": 500}])
    def test_a_volume_that_failed_failed_also_where_cinder_says_nothing(
        self, http: Mocker, volumes: CinderVolumes, answer: dict[str, Any]
    ) -> None:
        states(http, "error")
        http.get(f"{CINDER}/messages", **answer)
        with pytest.raises(VolumeFailed, match="volume message list") as caught:
            volumes.wait("7")
        assert caught.value.reason is None

    def test_a_volume_that_is_gone_is_not_waited_for(self, http: Mocker, volumes: CinderVolumes) -> None:
        states(http, "creating", 404)
        with pytest.raises(ResourceNotFound, match="volume 7 does not exist"):
            volumes.wait("7")


class TestExtending:
    @pytest.mark.parametrize("messages, reason", [(["there is no room"], "there is no room"), ([], "message list")])
    def test_a_volume_that_is_put_back_as_it_was_failed(
        self, http: Mocker, volumes: CinderVolumes, messages: list[str], reason: str
    ) -> None:
        http.post(f"{CINDER}/volumes/7/action", status_code=202)
        states(http, "extending", "available")
        said = [{"id": text, "user_message": text, "created_at": "2025-06-01"} for text in messages]
        http.get(f"{CINDER}/messages", json={"messages": said})
        with pytest.raises(VolumeFailed, match=rf"'available' and should be 'extended to 2 GiB': .*{reason}") as caught:
            volumes.extend("7", size_gib=2)
        assert caught.value.status == "available"


class TestDeleting:
    def test_a_deletion_returns_when_the_volume_is_gone(self, http: Mocker, volumes: CinderVolumes) -> None:
        states(http, "available", "deleting", "deleting", 404)
        http.delete(f"{CINDER}/volumes/7", status_code=202)
        volumes.delete("7")
        assert asked(http) == ["GET /volumes/7", "DELETE /volumes/7", *["GET /volumes/7"] * 3]

    def test_a_volume_that_its_backend_puts_back_is_in_use(self, http: Mocker, volumes: CinderVolumes) -> None:
        states(http, "available", "deleting", "available")
        http.delete(f"{CINDER}/volumes/7", status_code=202)
        with pytest.raises(InUse, match="volume 7 cannot be deleted: its backend says that others depend on it"):
            volumes.delete("7")

    def test_a_deletion_may_have_less_time_than_all_else(self, http: Mocker, clock: Any) -> None:
        states(http, "available", "deleting")
        http.delete(f"{CINDER}/volumes/7", status_code=202)
        began = clock.now
        with pytest.raises(DeadlineExceeded):
            CinderVolumes(session=session(CINDER), wait_seconds=1000, delete_seconds=5).delete("7")
        assert clock.now - began < 15

    @pytest.mark.parametrize("status", ["creating", "downloading", "detaching"])
    def test_a_deletion_waits_until_cinder_has_ended_what_it_does_with_the_volume(
        self, http: Mocker, volumes: CinderVolumes, status: str
    ) -> None:
        states(http, status, status, "available", 404)
        http.delete(f"{CINDER}/volumes/7", status_code=202)
        volumes.delete("7")
        assert asked(http) == [*["GET /volumes/7"] * 3, "DELETE /volumes/7", "GET /volumes/7"]

    def test_a_deletion_waits_for_a_volume_that_another_program_deletes(
        self, http: Mocker, volumes: CinderVolumes
    ) -> None:
        states(http, "deleting", "deleting", 404)
        volumes.delete("7")
        assert asked(http) == ["GET /volumes/7"] * 3

    @pytest.mark.parametrize("status", [401, 403, 500])
    def test_a_volume_that_cinder_does_not_show_is_deleted_all_the_same_and_the_error_is_all_that_is_said(
        self, http: Mocker, volumes: CinderVolumes, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        http.get(f"{CINDER}/volumes/7", status_code=status)
        deletion = http.delete(f"{CINDER}/volumes/7", status_code=202)
        with pytest.raises(ImagevolError):  # it cannot be seen to be gone
            volumes.delete("7")
        assert deletion.called
        assert caplog.messages == []

    def test_a_volume_in_error_is_deleted(self, http: Mocker, volumes: CinderVolumes) -> None:
        states(http, "error", 404)
        http.delete(f"{CINDER}/volumes/7", status_code=202)
        volumes.delete("7")

    def test_a_volume_that_cannot_be_deleted_failed(self, http: Mocker, volumes: CinderVolumes) -> None:
        states(http, "available", "deleting", "error_deleting")
        http.delete(f"{CINDER}/volumes/7", status_code=202)
        http.get(f"{CINDER}/messages", json={"messages": []})
        with pytest.raises(VolumeFailed, match="is 'error_deleting' and should be 'deleted'"):
            volumes.delete("7")

    @pytest.mark.parametrize("status", ["creating", "deleting"])
    def test_a_volume_that_does_not_go_has_a_deadline(self, http: Mocker, volumes: CinderVolumes, status: str) -> None:
        states(http, status)
        with pytest.raises(DeadlineExceeded, match="after 20 seconds"):
            volumes.delete("7")

    def test_a_volume_with_dependents_is_in_use(self, http: Mocker, volumes: CinderVolumes) -> None:
        states(http, "available")
        http.delete(f"{CINDER}/volumes/7", status_code=400, json={"badRequest": {"message": "it has snapshots"}})
        with pytest.raises(InUse, match="deleting volume 7: it has snapshots"):
            volumes.delete("7")


class TestAttaching:
    @pytest.fixture
    def deleting(self, http: Mocker) -> Any:
        http.post(f"{CINDER}/attachments", json={"attachment": {"id": "a1"}})
        return http.delete(f"{CINDER}/attachments/a1", json={"attachments": []})

    @pytest.mark.parametrize("status", ["in-use", "reserved", "detaching", "available"])
    def test_an_attachment_is_asked_for_again_while_another_program_has_the_volume(
        self, http: Mocker, clock: Any, status: str
    ) -> None:
        answers: list[dict[str, Any]] = [
            {"status_code": 400},
            {"status_code": 400},
            {"json": {"attachment": {"id": "a1"}}},
        ]
        http.post(f"{CINDER}/attachments", answers)
        http.get(f"{CINDER}/volumes/7", json=shown(status))
        http.put(f"{CINDER}/attachments/a1", json={"attachment": {"id": "a1", "connection_info": {}}})
        patient = CinderVolumes(session=session(CINDER), attach_attempts=5)
        assert patient.attach("7", connector=CONNECTOR, mode=AccessMode.READ).id == "a1"
        assert len(clock.slept) == 2

    @pytest.mark.parametrize("freed", [True, False])
    def test_each_wait_for_a_busy_volume_tries_to_free_it_and_ends_when_it_is_free(
        self, http: Mocker, clock: Any, freed: bool
    ) -> None:
        called = []

        def free() -> bool:
            called.append(len(clock.slept))
            return freed

        answers: list[dict[str, Any]] = [{"status_code": 400}, {"json": {"attachment": {"id": "a1"}}}]
        http.post(f"{CINDER}/attachments", answers if freed else [{"status_code": 400}])
        http.get(f"{CINDER}/volumes/7", json=shown("in-use"))
        http.put(f"{CINDER}/attachments/a1", json={"attachment": {"id": "a1", "connection_info": {}}})
        volumes = CinderVolumes(session=session(CINDER), attach_attempts=2)
        if freed:
            assert volumes.attach("7", connector=CONNECTOR, mode=AccessMode.READ, when_busy=free).id == "a1"
            assert called == [0]
        else:
            with pytest.raises(VolumeBusy):
                volumes.attach("7", connector=CONNECTOR, mode=AccessMode.READ, when_busy=free)
            assert called == list(range(len(clock.slept) + 1))

    @pytest.mark.parametrize("attempts", [1, 2, 5, 7])
    def test_an_attachment_is_waited_for_about_as_long_as_by_glance_store(
        self, http: Mocker, clock: Any, attempts: int
    ) -> None:
        http.post(f"{CINDER}/attachments", status_code=400)
        http.get(f"{CINDER}/volumes/7", json=shown("in-use"))
        patient = CinderVolumes(session=session(CINDER), attach_attempts=attempts)
        with pytest.raises(VolumeBusy) as caught:
            patient.attach("7", connector=CONNECTOR, mode=AccessMode.READ)
        theirs = sum(min(2**pause, 10) for pause in range(1, attempts))
        waited = sum(clock.slept)
        assert theirs - 1e-6 <= waited <= theirs + 2
        assert (caught.value.volume_id, caught.value.status) == ("7", "in-use")
        assert caught.value.waited_seconds == pytest.approx(waited)

    def test_programs_that_wait_for_a_volume_do_not_ask_at_the_same_moments(self, http: Mocker, clock: Any) -> None:
        http.post(f"{CINDER}/attachments", status_code=400)
        http.get(f"{CINDER}/volumes/7", json=shown("in-use"))
        pauses = []
        for _ in range(2):
            with pytest.raises(VolumeBusy):
                CinderVolumes(session=session(CINDER), attach_attempts=5).attach(
                    "7", connector=CONNECTOR, mode=AccessMode.READ
                )
            pauses.append(list(clock.slept))
            clock.slept.clear()
        assert pauses[0] != pauses[1]

    def test_a_wait_for_a_volume_is_logged_once(
        self, http: Mocker, clock: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        http.post(f"{CINDER}/attachments", status_code=400)
        http.get(f"{CINDER}/volumes/7", json=shown("in-use"))
        with pytest.raises(VolumeBusy):
            CinderVolumes(session=session(CINDER), attach_attempts=5).attach(
                "7", connector=CONNECTOR, mode=AccessMode.READ
            )
        assert [record.getMessage() for record in caplog.records if record.name.startswith("imagevol")] == [
            "Volume 7 is in use: waiting up to 24 s to attach it"
        ]

    @pytest.mark.parametrize("status", ["error", "error_extending", "deleting", "maintenance", "awaiting-transfer"])
    def test_a_state_that_does_not_pass_is_not_waited_for(self, http: Mocker, clock: Any, status: str) -> None:
        posting = http.post(f"{CINDER}/attachments", status_code=400)
        http.get(f"{CINDER}/volumes/7", json=shown(status))
        with pytest.raises(InUse) as caught:
            CinderVolumes(session=session(CINDER), attach_attempts=5).attach(
                "7", connector=CONNECTOR, mode=AccessMode.READ
            )
        assert not isinstance(caught.value, VolumeBusy)
        assert (posting.call_count, clock.slept) == (1, [])

    def test_an_attachment_that_waiting_cannot_mend_is_not_asked_for_again(self, http: Mocker) -> None:
        posting = http.post(f"{CINDER}/attachments", status_code=403)
        with pytest.raises(AccessDenied):
            CinderVolumes(session=session(CINDER), attach_attempts=5).attach(
                "7", connector=CONNECTOR, mode=AccessMode.READ
            )
        assert posting.call_count == 1

    @pytest.mark.parametrize(
        "others, shares", [([], False), (["there"], False), (["there", "here"], True), (["here", "here"], True)]
    )
    def test_a_host_is_shared_with_other_attachments_of_the_volume_to_it(
        self, http: Mocker, volumes: CinderVolumes, others: list[str], shares: bool
    ) -> None:
        attachments = [{"attachment_id": "a1", "host_name": "here"}]
        attachments += [{"attachment_id": str(number), "host_name": host} for number, host in enumerate(others)]
        http.get(f"{CINDER}/volumes/7", json=shown("in-use", attachments=attachments))
        assert volumes.shares_host(ATTACHMENT, host="here") is shares

    def test_what_has_a_volume_is_shown_in_two_places(self, http: Mocker, volumes: CinderVolumes) -> None:
        attached = [{"attachment_id": "a1", "host_name": "here", "device": "glance_store"}]
        listed = [
            {"id": "a1", "volume_id": "7", "status": "attached", "instance": None},
            {"id": "b", "volume_id": "7", "status": "reserved", "instance": "d2f7"},
            {"id": "c", "volume_id": "8", "status": "attached", "instance": None},  # a filter that Cinder lacks
        ]
        http.get(f"{CINDER}/volumes/7", json=shown("in-use", attachments=attached))
        http.get(f"{CINDER}/attachments/detail", json={"attachments": listed})
        assert volumes.holders("7") == (
            AttachmentFacts(id="a1", status="attached", host="here", device="glance_store", volume_id="7"),
            AttachmentFacts(id="b", status="reserved", instance_id="d2f7", volume_id="7"),
        )

    def test_an_attachment_tells_more_when_it_is_asked_again(self, http: Mocker, volumes: CinderVolumes) -> None:
        more = {"id": "a1", "volume_id": "7", "connection_info": {"format": "raw"}}
        http.get(f"{CINDER}/attachments/a1", json={"attachment": more})
        assert volumes.attachment("a1") == Attachment(id="a1", volume_id="7", connection={"format": "raw"})

    @pytest.mark.parametrize("status, expected", [(500, ServiceFailed), (400, RequestRefused), (403, AccessDenied)])
    def test_a_host_that_the_backend_refuses_leaves_no_attachment(
        self, http: Mocker, volumes: CinderVolumes, deleting: Any, status: int, expected: type[ImagevolError]
    ) -> None:
        http.put(f"{CINDER}/attachments/a1", status_code=status)
        with pytest.raises(expected, match="exporting volume 7 to this host") as caught:
            CALLS["attach"](volumes)
        assert deleting.call_count == 1
        assert caught.value.leftovers == ()

    def test_an_attachment_that_cannot_be_taken_back_is_named(self, http: Mocker, volumes: CinderVolumes) -> None:
        http.post(f"{CINDER}/attachments", json={"attachment": {"id": "a1"}})
        http.put(f"{CINDER}/attachments/a1", status_code=500)
        http.delete(f"{CINDER}/attachments/a1", status_code=503)
        with pytest.raises(ServiceFailed, match=r"exporting volume 7 .*; left behind: attachment a1 of volume 7"):
            CALLS["attach"](volumes)

    def test_a_read_only_volume_is_not_attached_to_be_written_though_cinder_would(
        self, http: Mocker, volumes: CinderVolumes, deleting: Any
    ) -> None:
        connection = {"driver_volume_type": "rbd", "access_mode": "ro"}
        http.put(f"{CINDER}/attachments/a1", json={"attachment": {"id": "a1", "connection_info": connection}})
        with pytest.raises(InUse, match="volume 7 is read-only"):
            volumes.attach("7", connector=CONNECTOR, mode=AccessMode.WRITE)
        assert deleting.call_count == 1
        assert volumes.attach("7", connector=CONNECTOR, mode=AccessMode.READ) == Attachment(
            id="a1", volume_id="7", connection=connection
        )
        assert deleting.call_count == 1

    def test_an_attachment_is_asked_for_with_its_mode_and_this_host(
        self, http: Mocker, volumes: CinderVolumes, deleting: Any
    ) -> None:
        http.put(f"{CINDER}/attachments/a1", json={"attachment": {"id": "a1", "connection_info": {}}})
        for mode in AccessMode:
            volumes.attach("7", connector=CONNECTOR, mode=mode)
            *_, post, put = http.request_history
            assert post.json() == {"attachment": {"volume_uuid": "7", "connector": None, "mode": mode.value}}
            assert put.json() == {"attachment": {"connector": CONNECTOR}}

    @pytest.mark.parametrize("status, expected", [(500, ServiceFailed), (400, RequestRefused)])
    def test_an_attachment_that_cinder_does_not_delete_is_an_error(
        self, http: Mocker, volumes: CinderVolumes, status: int, expected: type[ImagevolError]
    ) -> None:
        http.delete(f"{CINDER}/attachments/a1", status_code=status)
        with pytest.raises(expected, match="detaching volume 7"):
            volumes.detach(ATTACHMENT)


class TestFinding:
    """One volume is asked for by its id."""

    @pytest.mark.parametrize("status, expected", [(400, RequestRefused), (403, AccessDenied), (500, ServiceFailed)])
    def test_an_id_that_cinder_refuses_to_tell_about_is_an_error_and_not_a_volume_that_is_gone(
        self, http: Mocker, volumes: CinderVolumes, status: int, expected: type[ImagevolError]
    ) -> None:
        volume_id = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
        http.get(f"{CINDER}/volumes/{volume_id}", status_code=status)
        with pytest.raises(expected):
            volumes.find([volume_id])

    @pytest.mark.parametrize("status, odd", [(404, "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"), (404, "7"), (400, "7")])
    def test_what_does_not_exist_is_not_found(
        self, http: Mocker, volumes: CinderVolumes, status: int, odd: str
    ) -> None:
        http.get(f"{CINDER}/volumes/{odd}", status_code=status)
        assert volumes.find([odd]) == ()


class TestFacts:
    def test_all_that_an_administrator_sees_is_a_fact(self, http: Mocker, volumes: CinderVolumes) -> None:
        seen = shown(
            "in-use",
            **{
                "os-vol-tenant-attr:tenant_id": "p",
                "os-vol-host-attr:host": "node@fast#one",
                "os-vol-mig-status-attr:migstat": "success",
            },
            size=3,
            cluster_name="cluster@fast",
            volume_type="fast",
            encrypted=True,
            multiattach=True,
            metadata={"readonly": "True", "image_id": "i"},
            created_at="2025-06-01T12:00:00.000001",
        )
        http.get(f"{CINDER}/volumes/7", json=seen)
        assert volumes.get("7") == Volume(
            id="7",
            project_id="p",
            host="node@fast#one",
            cluster_name="cluster@fast",
            size_gib=3,
            status="in-use",
            volume_type="fast",
            encrypted=True,
            migration_status="success",
            readonly=True,
            multiattach=True,
            metadata={"image_id": "i"},
            created_at=datetime(2025, 6, 1, 12, 0, 0, 1, tzinfo=UTC),
        )

    def test_what_a_user_does_not_see_is_not_known(self, http: Mocker, volumes: CinderVolumes) -> None:
        states(http, "available")
        assert volumes.get("7") == Volume(id="7", size_gib=1, status="available", readonly=False)
