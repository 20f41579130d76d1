"""Glance where a real one cannot be brought to: broken answers, bodies that end early, another age.

What it does when all is well is in the conformance suite, on a real Glance.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unittest.mock import Mock

import pytest
import requests
from keystoneauth1.access.service_catalog import ServiceCatalogV3
from requests_mock import ANY, Mocker

from imagevol_adapters.glance.images import GlanceImages
from imagevol_core import (
    AccessDenied,
    ContentMismatch,
    DeadlineExceeded,
    Digest,
    Image,
    ImageLocation,
    ImagevolError,
    OverQuota,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    ServiceUnreachable,
)
from tests.adapters.rest import GLANCE, TOKEN, asked, asked_last, offer_glance, session

IMAGES = f"{GLANCE}/v2/images"
URL = "cinder://fast/5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
DATA = b"the image"
DIGEST = Digest("sha512", hashlib.sha512(DATA).hexdigest())


pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def http() -> Iterator[Mocker]:
    with Mocker() as http:
        offer_glance(http)
        http.get(f"{GLANCE}/v2/schemas/image", json={"name": "image", "properties": {}})
        yield http


@pytest.fixture
def images() -> GlanceImages:
    return GlanceImages(session=session(GLANCE), wait_seconds=20)


def shown(status: str = "active", **more: Any) -> dict[str, Any]:
    return {"id": "7", "status": status, "updated_at": "2025-06-01T12:00:00Z", "locations": [], **more}


def with_data(http: Mocker, body: bytes, **answer: Any) -> None:
    """An image of `DATA`, of which Glance gives this body."""
    hashed = {"os_hash_algo": DIGEST.algorithm, "os_hash_value": DIGEST.value}
    http.get(f"{IMAGES}/7", json=shown(size=len(DATA), **hashed))
    http.get(f"{IMAGES}/7/file", content=body, **answer)


CALLS: dict[str, Callable[[GlanceImages], object]] = {
    "get": lambda images: images.get("7"),
    "find": lambda images: images.find("7"),
    "create": lambda images: images.create(name="n", disk_format="raw"),
    "add_location": lambda images: images.add_location("7", URL, store="fast", digest=None),
    "upload": lambda images: images.upload("7", [DATA], size_bytes=len(DATA)),
    "read": lambda images: b"".join(images.read("7")),
    "listed": lambda images: list(images.listed()),
    "change_locations": lambda images: images.change_locations("7", []),
    "delete": lambda images: images.delete("7"),
}


class TestEveryCall:
    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize(
        "status, expected",
        [
            *((401, AccessDenied), (403, AccessDenied), (413, OverQuota), (500, ServiceFailed), (502, ServiceFailed)),
            *((503, ServiceFailed), (400, RequestRefused), (409, RequestRefused)),
        ],
    )
    def test_each_error_that_glance_answers_becomes_an_error_of_imagevol(
        self, http: Mocker, images: GlanceImages, call: str, status: int, expected: type[ImagevolError]
    ) -> None:
        body = "<html><title>ill</title><body>the server&#x27;s<br/>\n\nill</body></html>"
        http.register_uri(ANY, re.compile(IMAGES), status_code=status, text=body, headers={"content-type": "text/html"})
        with pytest.raises(ImagevolError) as caught:
            CALLS[call](images)
        assert type(caught.value) is expected
        assert str(caught.value).startswith("Glance, ")
        assert str(caught.value).isprintable()
        assert "&#x27;" not in str(caught.value)
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("error", [requests.exceptions.ConnectTimeout, requests.exceptions.ConnectionError])
    def test_a_glance_that_does_not_answer_is_an_error_without_a_token(
        self, http: Mocker, images: GlanceImages, call: str, error: type[Exception]
    ) -> None:
        http.register_uri(ANY, re.compile(IMAGES), exc=error)
        with pytest.raises(ServiceUnreachable, match=r"^Glance, ") as caught:
            CALLS[call](images)
        assert TOKEN not in str(caught.value)


class TestReading:
    def test_a_body_that_ends_early_is_an_error_and_never_a_short_image(
        self, http: Mocker, images: GlanceImages
    ) -> None:
        with_data(http, DATA[:4])
        parts = images.read("7")
        assert next(parts) == DATA[:4]
        with pytest.raises(ServiceFailed, match="reading image 7: it gives the whole image, and not the part"):
            next(parts)

    @pytest.mark.parametrize("offset, length", [(1, None), (0, 8), (2, 3)])
    def test_a_part_that_is_empty_is_an_error_too(
        self, http: Mocker, images: GlanceImages, offset: int, length: int | None
    ) -> None:
        with_data(http, b"", status_code=206)
        with pytest.raises(ServiceFailed, match="the data ended after 0 of"):
            b"".join(images.read("7", offset=offset, length=length))

    def test_a_part_of_which_glance_gives_the_whole_is_an_error(self, http: Mocker, images: GlanceImages) -> None:
        with_data(http, DATA)
        with pytest.raises(ServiceFailed, match="it gives the whole image, and not the part"):
            b"".join(images.read("7", offset=1, length=3))

    @pytest.mark.parametrize("status", [200, 206])
    def test_more_data_than_was_asked_for_is_an_error(self, http: Mocker, images: GlanceImages, status: int) -> None:
        with_data(http, DATA, status_code=status)
        with pytest.raises(ServiceFailed, match="the data ended after 9 of 3 bytes"):
            b"".join(images.read("7", offset=0, length=3))

    def test_a_connection_that_breaks_in_the_middle_again_and_again_is_an_error(
        self, http: Mocker, images: GlanceImages
    ) -> None:
        class Broken(io.BytesIO):
            def read(self, *length: int | None) -> bytes:
                if part := super().read(*length):
                    return part
                raise ConnectionResetError("Connection reset by peer")

        http.get(f"{IMAGES}/7", json=shown(size=len(DATA)))
        http.get(f"{IMAGES}/7/file", body=lambda *_: Broken(DATA[:4]))
        with pytest.raises(ServiceFailed, match=r"reading image 7: .*Connection reset by peer") as caught:
            b"".join(images.read("7"))
        assert "CA file" not in str(caught.value)

    def test_a_whole_image_that_is_not_what_was_recorded_is_an_error(self, http: Mocker, images: GlanceImages) -> None:
        with_data(http, DATA.upper())
        with pytest.raises(ContentMismatch, match="image 7 has been altered"):
            b"".join(images.read("7"))

    def test_a_range_is_asked_for_as_http_has_it(self, http: Mocker, images: GlanceImages) -> None:
        with_data(http, DATA[2:5], status_code=206)
        assert b"".join(images.read("7", offset=2, length=3)) == DATA[2:5]
        assert asked_last(http).headers["Range"] == "bytes=2-4"

    def test_an_image_that_went_in_between_is_not_found(self, http: Mocker, images: GlanceImages) -> None:
        with_data(http, b"", status_code=404)
        with pytest.raises(ResourceNotFound, match="image 7 does not exist"):
            b"".join(images.read("7"))


class TestLocations:
    """Glance before 2024.2 has no Location API, and later ones may not trust these credentials with it."""

    def test_a_glance_without_the_location_api_is_asked_in_the_older_way(
        self, http: Mocker, images: GlanceImages
    ) -> None:
        offer_glance(http, newest="v2.16")
        http.patch(f"{IMAGES}/7", json=shown())
        hashed = shown(os_hash_algo=DIGEST.algorithm, os_hash_value=DIGEST.value)
        http.get(f"{IMAGES}/7", [{"json": shown("queued")}, {"json": shown()}, {"json": shown()}, {"json": hashed}])
        assert images.add_location("7", URL, store="fast", digest=DIGEST).digest == DIGEST
        (patch,) = (request for request in http.request_history if request.method == "PATCH")
        validation = {"os_hash_algo": DIGEST.algorithm, "os_hash_value": DIGEST.value}
        value = {"url": URL, "metadata": {"store": "fast"}, "validation_data": validation}
        assert patch.json() == [{"op": "add", "path": "/locations/-", "value": value}]

    def test_credentials_that_the_location_api_refuses_use_the_older_way(
        self, http: Mocker, images: GlanceImages
    ) -> None:
        http.post(f"{IMAGES}/7/locations", status_code=403)
        http.patch(f"{IMAGES}/7", json=shown())
        http.get(f"{IMAGES}/7", json=shown())
        images.add_location("7", URL, store=None, digest=None)
        (patch,) = (request for request in http.request_history if request.method == "PATCH")
        assert patch.json() == [{"op": "add", "path": "/locations/-", "value": {"url": URL, "metadata": {}}}]

    def test_a_glance_that_allows_neither_way_is_an_error(self, http: Mocker, images: GlanceImages) -> None:
        http.post(f"{IMAGES}/7/locations", status_code=403)
        http.patch(f"{IMAGES}/7", status_code=403)
        with pytest.raises(AccessDenied, match="registering a location of image 7"):
            images.add_location("7", URL, store="fast", digest=None)

    def test_any_other_answer_of_the_location_api_is_final(self, http: Mocker, images: GlanceImages) -> None:
        http.post(f"{IMAGES}/7/locations", status_code=409)
        with pytest.raises(RequestRefused):
            images.add_location("7", URL, store="fast", digest=None)
        assert asked(http) == ["POST /images/7/locations"]

    @pytest.mark.parametrize("status", ["killed", "deleted"])
    def test_an_image_that_does_not_become_active_failed(self, http: Mocker, images: GlanceImages, status: str) -> None:
        http.post(f"{IMAGES}/7/locations", json={})
        http.get(f"{IMAGES}/7", [{"json": shown("queued")}, {"json": shown("importing")}, {"json": shown(status)}])
        with pytest.raises(ServiceFailed, match=f"image 7: it is '{status}'"):
            images.add_location("7", URL, store="fast", digest=None)

    def test_an_image_that_stays_queued_has_a_deadline(self, http: Mocker, images: GlanceImages) -> None:
        http.post(f"{IMAGES}/7/locations", json={})
        http.get(f"{IMAGES}/7", json=shown("queued"))
        with pytest.raises(DeadlineExceeded, match="image 7 has not taken its location after 20 seconds"):
            images.add_location("7", URL, store="fast", digest=None)

    def test_locations_come_from_the_api_where_the_image_does_not_show_them(
        self, http: Mocker, images: GlanceImages
    ) -> None:
        http.get(f"{IMAGES}/7", json=shown(locations=None))
        http.get(f"{IMAGES}/7/locations", json=[{"url": URL, "metadata": {"store": "fast"}}])
        assert images.get("7").locations == (ImageLocation(URL, {"store": "fast"}),)

    @pytest.mark.parametrize("direct, expected", [(URL, (ImageLocation(URL),)), (None, ())])
    @pytest.mark.parametrize("answer", [403, 404, "v2.16"])
    def test_locations_come_from_the_direct_url_or_are_not_known(
        self,
        http: Mocker,
        images: GlanceImages,
        direct: str | None,
        expected: tuple[ImageLocation, ...],
        answer: int | str,
    ) -> None:
        if isinstance(answer, str):
            offer_glance(http, newest=answer)
        else:
            http.get(f"{IMAGES}/7/locations", status_code=answer)
        http.get(f"{IMAGES}/7", json=shown(locations=None, direct_url=direct))
        assert images.get("7").locations == expected


class TestStores:
    @pytest.mark.parametrize(
        "told, stores", [({"stores": "fast,slow"}, ("fast", "slow")), ({"stores": ""}, ()), ({}, ())]
    )
    def test_the_stores_of_an_image_are_known_where_its_locations_are_not_shown(
        self, http: Mocker, images: GlanceImages, told: dict[str, str], stores: tuple[str, ...]
    ) -> None:
        http.get(f"{IMAGES}/7", json={"id": "7", "status": "active", "updated_at": "2025-06-01T12:00:00Z", **told})
        assert images.stores_of("7") == stores


class TestListed:
    """A list is how locations are seen without being migrated: of every image that there is."""

    def test_all_images_are_listed_page_by_page_hidden_ones_too(self, http: Mocker, images: GlanceImages) -> None:
        everybodys = "visibility=all&member_status=all&limit=1000&sort=id%3Aasc"
        first = {"images": [shown(id="1", locations=[{"url": URL, "metadata": {"store": "fast"}}])], "next": "/v2/2"}
        http.get(f"{IMAGES}?os_hidden=false&{everybodys}", json=first)
        http.get(f"{GLANCE}/v2/2", json={"images": [shown(id="2")]})
        http.get(f"{IMAGES}?os_hidden=true&{everybodys}", json={"images": [shown(id="3")]})
        assert [(image.id, image.locations) for image in images.listed()] == [
            ("1", (ImageLocation(URL, {"store": "fast"}),)),
            ("2", ()),
            ("3", ()),
        ]

    def test_images_are_listed_by_their_ids(self, http: Mocker, images: GlanceImages) -> None:
        http.get(f"{IMAGES}?id=in%3A7%2C8", json={"images": []})
        assert list(images.listed(["7", "8"])) == []
        assert set(asked(http)) == {"GET /images"}

    def test_images_that_changed_since_a_time_are_listed_by_the_time_of_greenwich(
        self, http: Mocker, images: GlanceImages
    ) -> None:
        http.get(IMAGES, json={"images": []})
        assert list(images.listed(changed_since=datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))))) == []
        assert [request.qs["updated_at"] for request in http.request_history if request.path == "/v2/images"] == [
            ["gte:2026-03-01t12:00:00z"]
        ] * 2

    def test_the_error_says_what_to_do_if_locations_are_not_shown(self, http: Mocker, images: GlanceImages) -> None:
        hidden = shown()
        del hidden["locations"]
        http.get(IMAGES, json={"images": [hidden]})
        with pytest.raises(AccessDenied, match="set show_multiple_locations = true in"):
            list(images.listed())
        assert "GET /images/7/locations" not in asked(http)  # which would have Glance migrate them

    def test_images_whose_locations_are_not_shown_are_listed_where_that_is_enough(
        self, http: Mocker, images: GlanceImages
    ) -> None:
        hidden = shown()
        del hidden["locations"]
        http.get(f"{IMAGES}?os_hidden=false", json={"images": [hidden]})
        http.get(f"{IMAGES}?os_hidden=true", json={"images": []})
        http.get(f"{IMAGES}/7/locations", status_code=403)
        assert [(image.id, image.locations) for image in images.listed(locations_needed=False)] == [("7", ())]

    def test_a_glance_is_known_by_its_service_or_its_url(self, images: GlanceImages) -> None:
        assert images.service_id() == GLANCE

    def test_the_glances_of_two_regions_with_one_keystone_are_two(self) -> None:
        endpoints = [
            {
                "id": f"{region}-{interface}",
                "region_id": region,
                "region": region,
                "interface": interface,
                "url": GLANCE,
            }
            for region in ("one", "two")
            for interface in ("public", "internal")
        ]
        catalogue = ServiceCatalogV3([{"type": "image", "id": "the-service", "name": "glance", "endpoints": endpoints}])

        def endpoint(*, service_type: str, interface: str, region_name: str, discover_versions: bool) -> Any:
            return catalogue.endpoint_data_for(service_type=service_type, interface=interface, region_name=region_name)

        def named(**where: Any) -> str:
            return GlanceImages(session=Mock(get_endpoint_data=endpoint), **where).service_id()

        assert named(region_name="one") != named(region_name="two")
        assert named(region_name="one") == named(region_name="one", interface="internal")
        assert named(region_name="one") != named(region_name="one", endpoint_override="http://elsewhere")


class TestFacts:
    def test_all_that_glance_shows_is_a_fact(self, http: Mocker, images: GlanceImages) -> None:
        seen = shown(
            owner="p",
            visibility="public",
            disk_format="raw",
            container_format="bare",
            size=9,
            virtual_size=10,
            min_disk=1,
            min_ram=2,
            os_hash_algo=DIGEST.algorithm,
            os_hash_value=DIGEST.value,
            checksum="0f",
            locations=[{"url": URL, "metadata": {"store": "fast"}}],
            direct_url=URL,
            name="n",
            tags=[],
            os_hidden=False,
            protected=False,
            stores="fast",
            file="/v2/images/7/file",
            schema="/v2/schemas/image",
            created_at="2025-06-01T11:00:00Z",
            hw_disk_bus="scsi",
        )
        seen["self"] = "/v2/images/7"
        http.get(f"{IMAGES}/7", json=seen)
        assert images.get("7") == Image(
            id="7",
            name="n",
            status="active",
            owner="p",
            visibility="public",
            disk_format="raw",
            container_format="bare",
            size_bytes=9,
            virtual_size_bytes=10,
            min_disk_gib=1,
            created_at=datetime(2025, 6, 1, 11, tzinfo=UTC),
            updated_at=datetime(2025, 6, 1, 12, tzinfo=UTC),
            digest=DIGEST,
            locations=(ImageLocation(URL, {"store": "fast"}),),
            properties={"hw_disk_bus": "scsi"},
        )

    @pytest.mark.parametrize(
        "half", [{"os_hash_algo": "md5"}, {"os_hash_value": "0f"}, {"os_hash_algo": "", "os_hash_value": ""}]
    )
    def test_an_algorithm_without_a_value_is_no_digest(
        self, http: Mocker, images: GlanceImages, half: dict[str, str]
    ) -> None:
        http.get(f"{IMAGES}/7", json=shown(**half))
        assert images.get("7").digest is None

    @pytest.mark.parametrize("names, expected", [([], ResourceNotFound), (["8", "9"], RequestRefused)])
    def test_a_name_that_is_not_one_images_is_refused(
        self, http: Mocker, images: GlanceImages, names: list[str], expected: type[ImagevolError]
    ) -> None:
        http.get(f"{IMAGES}/disk", status_code=404)
        http.get(IMAGES, json={"images": [{**shown(), "id": name} for name in names]})
        with pytest.raises(expected, match="disk"):
            images.find("disk")


class TestPreferredStore:
    def test_glance_is_asked_for_the_data_of_a_store(self, http: Mocker, images: GlanceImages) -> None:
        with_data(http, DATA)
        assert b"".join(images.preferring("fast").read("7")) == DATA
        assert asked_last(http).qs == {"prefer": ["fast"]}
        assert b"".join(images.read("7")) == DATA
        assert asked_last(http).qs == {}

    @pytest.mark.parametrize("status, takes", [(400, True), (200, False), (206, False)])
    def test_a_newer_glance_is_known_by_its_refusal_of_a_store_that_cannot_be(
        self, http: Mocker, images: GlanceImages, status: int, takes: bool
    ) -> None:
        with_data(http, DATA[:1], status_code=status)
        assert images.takes_preference("7") is takes

    @pytest.mark.parametrize("status, error", [(403, AccessDenied), (404, ResourceNotFound), (500, ServiceFailed)])
    def test_any_other_answer_is_an_error(
        self, http: Mocker, images: GlanceImages, status: int, error: type[ImagevolError]
    ) -> None:
        with_data(http, b"", status_code=status)
        with pytest.raises(error):
            images.takes_preference("7")
