"""A read through Glance goes on after the connection breaks, for a while, and is right or an error."""

from __future__ import annotations

import hashlib
import io
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import attrs
import pytest
import requests
from requests_mock import Mocker

from imagevol_adapters.glance import reading
from imagevol_adapters.glance.images import GlanceImages
from imagevol_core import ContentMismatch, ImagevolError, ResourceNotFound, ServiceFailed, ServiceUnreachable
from tests.adapters.conftest import Clock
from tests.adapters.rest import GLANCE, offer_glance, session
from tests.adapters.test_glance import shown

URL = f"{GLANCE}/v2/images/7"
DATA = random.Random(5).randbytes(100_000)


class Cut(io.BytesIO):
    """A body whose connection breaks at its end."""

    def read(self, *length: int | None) -> bytes:
        if part := super().read(*length):
            return part
        raise ConnectionResetError("Connection reset by peer")


@attrs.define
class Server:
    """A Glance that does one thing after the other when it is asked for data; at last it gives all that is asked.

    Attributes:
        answers: how many bytes are given before the connection breaks, or an answer of `requests_mock`.
        asked: the bytes from which on was asked.
        given_bytes: how many bytes were given.
    """

    data: bytes = DATA
    answers: list[int | dict[str, Any] | Exception] = attrs.field(factory=list)
    ranges: bool = True
    asked: list[int] = attrs.field(factory=list)
    given_bytes: int = 0

    def body(self, request: Any, context: Any) -> Any:
        """Answer one request."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        start, end = (int(wanted[1]), int(wanted[2]) + 1) if wanted else (0, len(self.data))
        self.asked.append(start)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, dict):
            context.status_code = answer["status_code"]
            context.headers.update(answer.get("headers", {}))
            return io.BytesIO(b"ill")
        if wanted and self.ranges:
            context.status_code = 206
            context.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(self.data)}"
        else:
            start, end = 0, len(self.data)
        if answer is None:
            self.given_bytes += end - start
            return io.BytesIO(self.data[start:end])
        self.given_bytes += answer
        return Cut(self.data[start : start + answer])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    hashed = {"os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(DATA).hexdigest()}
    with Mocker() as http:
        offer_glance(http)
        http.get(f"{GLANCE}/v2/schemas/image", json={"name": "image", "properties": {}})
        http.get(URL, json=shown(size=len(DATA), **hashed))
        http.get(f"{URL}/file", body=server.body)
        yield server


@pytest.fixture
def images(server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> GlanceImages:
    """Reads a thousand bytes at a time, and a hundred after a failure."""
    monkeypatch.setattr(reading, "_PART_BYTES", 1000)
    monkeypatch.setattr(reading, "_CAREFUL_BYTES", 100)
    return GlanceImages(session=session(GLANCE), wait_seconds=20)


def test_an_image_that_is_cut_at_many_places_is_whole_and_few_bytes_are_sent_again(
    images: GlanceImages, server: Server
) -> None:
    places = sorted(random.Random(9).sample(range(len(DATA)), 20))
    server.answers = [after - before for before, after in zip([0, *places], places, strict=False)]
    assert b"".join(images.read("7")) == DATA
    assert len(server.asked) == 21
    assert server.asked == sorted(server.asked)
    assert len(DATA) <= server.given_bytes <= len(DATA) + 20 * 1000


@pytest.mark.parametrize("offset, length", [(0, 70_000), (30_000, None), (20_000, 60_000)])
def test_a_part_that_is_cut_is_whole(images: GlanceImages, server: Server, offset: int, length: int | None) -> None:
    server.answers = [5, 20_000]
    end = len(DATA) if length is None else offset + length
    assert b"".join(images.read("7", offset=offset, length=length)) == DATA[offset:end]
    assert server.asked == [offset, offset, offset + 20_000]


def test_the_digest_is_that_of_the_whole_image(images: GlanceImages, server: Server) -> None:
    server.data = DATA[:-1] + b"?"
    server.answers = [50_000]
    with pytest.raises(ContentMismatch):
        b"".join(images.read("7"))


def test_glance_is_asked_again_while_it_is_restarted(
    images: GlanceImages, server: Server, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [50_000, requests.ConnectionError("refused"), requests.ConnectionError(), {"status_code": 503}]
    assert b"".join(images.read("7")) == DATA
    assert clock.slept == [0.5, 0.5, 1, 2]
    assert "asking for the rest from byte 50000 in 0.5 s" in caplog.text


@pytest.mark.parametrize("http_date", [False, True])
def test_glance_is_asked_again_when_it_says(
    images: GlanceImages, server: Server, clock: Clock, http_date: bool
) -> None:
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=42), usegmt=True) if http_date else "42"
    server.answers = [50_000, {"status_code": 503, "headers": {"Retry-After": value}}]
    assert b"".join(images.read("7")) == DATA
    assert clock.slept[0] == 0.5
    assert 40 <= clock.slept[1] <= 42


@pytest.mark.parametrize(
    "value",
    ["soon", "nan", "Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 +9999999999999999"],
)
def test_a_time_that_is_not_understood_is_not_waited_for(
    images: GlanceImages, server: Server, clock: Clock, value: str
) -> None:
    server.answers = [50_000, {"status_code": 503, "headers": {"Retry-After": value}}]
    assert b"".join(images.read("7")) == DATA
    assert clock.slept == [0.5, 0.5]


def test_a_glance_that_does_not_come_back_is_an_error_after_a_while(
    images: GlanceImages, server: Server, clock: Clock
) -> None:
    server.answers = [50_000, *[requests.ConnectionError() for _ in range(100)]]
    with pytest.raises(ServiceUnreachable):
        b"".join(images.read("7"))
    assert 250 <= sum(clock.slept) <= 330


@pytest.mark.parametrize(
    "answer, error",
    [({"status_code": 404}, ResourceNotFound), *(({"status_code": status}, ImagevolError) for status in (403, 416))],
)
def test_a_refusal_in_the_middle_is_an_error_at_once(
    images: GlanceImages, server: Server, clock: Clock, answer: dict[str, Any], error: type[Exception]
) -> None:
    server.answers = [50_000, answer]
    with pytest.raises(error):
        b"".join(images.read("7"))
    assert clock.slept == [0.5]


def test_a_glance_that_gives_no_parts_is_an_error_and_never_another_image(
    images: GlanceImages, server: Server, clock: Clock
) -> None:
    server.ranges = False
    server.answers = [50_000]
    with pytest.raises(ServiceFailed, match="it gives the whole image, and not the part asked for"):
        b"".join(images.read("7"))
    assert clock.slept == [0.5]


def test_a_part_that_begins_elsewhere_is_an_error(images: GlanceImages, server: Server) -> None:
    server.answers = [50_000, {"status_code": 206, "headers": {"Content-Range": "bytes 0-5/100000"}}]
    with pytest.raises(ServiceFailed, match="not the part asked for"):
        b"".join(images.read("7"))


def test_a_glance_that_is_down_from_the_beginning_is_an_error_after_a_few_attempts(
    images: GlanceImages, server: Server, clock: Clock
) -> None:
    server.answers = [requests.ConnectionError() for _ in range(9)]
    with pytest.raises(ServiceUnreachable):
        b"".join(images.read("7"))
    assert len(server.answers) == 4
