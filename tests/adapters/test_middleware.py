"""The paste filter before an application that keeps what arrives; before a real Glance it is in tests/cloud."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from webob import Request, Response

from imagevol_adapters.error_text import one_line
from imagevol_adapters.middleware import CHOICE_HEADER, BaseImageStores
from imagevol_adapters.testing.store_strategies import NAMES
from imagevol_core import InvalidConfiguration, StoreCatalogue
from tests.adapters.recording import (
    BASE,
    BASE_IN_ONE,
    BASE_NOWHERE,
    BREAKING,
    CATALOGUE,
    CHOSEN,
    FAILING,
    GONE,
    IMAGE,
    IMPORT,
    INVISIBLE,
    SINGLE,
    STAGE,
    UPLOAD,
    Glance,
    arrived_without_filter,
    ask,
    importing,
    upload,
)


@pytest.fixture
def glance() -> Glance:
    return Glance()


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    """What is in the log: the level and the line of each record."""
    caplog.set_level(logging.DEBUG, logger="imagevol_adapters")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


class TestUpload:
    def test_the_data_go_to_the_first_store_of_the_base_image_and_are_copied_to_the_others(
        self, glance: Glance, told: Callable[[], list[tuple[str, str]]]
    ) -> None:
        answer = ask(glance, upload(BASE))
        plain = arrived_without_filter(upload(None))
        assert (answer.status_int, answer.headers["x-of"], CHOICE_HEADER in answer.headers) == (204, "glance", False)
        assert glance.asked == [("GET", f"/v2/images/{BASE}"), ("PUT", UPLOAD), ("POST", IMPORT)]
        assert glance.arrived[1] == attrs.evolve(plain, headers={**plain.headers, "X-Image-Meta-Store": "slow"})
        assert json.loads(glance.arrived[2].body) == {
            "method": {"name": "copy-image"},
            "stores": ["fast"],
            "all_stores_must_succeed": False,
        }
        assert told() == [
            ("INFO", f"Image {IMAGE}: {CHOSEN}"),
            ("INFO", f"Image {IMAGE}: being copied to fast"),
        ]

    def test_one_store_needs_no_copy(self, glance: Glance) -> None:
        ask(glance, upload(BASE_IN_ONE))
        assert glance.asked == [("GET", f"/v2/images/{BASE_IN_ONE}"), ("PUT", UPLOAD)]
        assert glance.arrived[-1].headers["X-Image-Meta-Store"] == "fast"

    @pytest.mark.parametrize("status", [400, 409, 410, 413, 500, 503])
    def test_nothing_is_copied_when_the_upload_has_failed(self, glance: Glance, status: int) -> None:
        glance.status = status
        assert ask(glance, upload(BASE)).status_int == status
        assert glance.asked == [("GET", f"/v2/images/{BASE}"), ("PUT", UPLOAD)]

    def test_a_copy_that_is_refused_is_a_warning_and_no_failure_of_the_upload(
        self, glance: Glance, told: Callable[[], list[tuple[str, str]]]
    ) -> None:
        glance.import_status = 403
        assert ask(glance, upload(BASE)).status_int == 204
        assert told()[-1] == (
            "WARNING",
            f"Image {IMAGE} stays in slow and is not copied to fast: 403 Forbidden: 403 Whatever You may not.",
        )

    def test_a_copy_that_breaks_is_a_warning_and_no_failure_of_the_upload(
        self, glance: Glance, told: Callable[[], list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = glance.answer

        def breaks(request: Request) -> Response:
            if request.method == "POST":
                raise OSError("no more\nfiles")
            return answer(request)

        monkeypatch.setattr(Glance, "answer", lambda _, request: breaks(request))
        assert ask(glance, upload(BASE)).status_int == 204
        assert told()[-1] == (
            "WARNING",
            f"Image {IMAGE} stays in slow and is not copied to fast: OSError: no more files",
        )

    @given(
        store=st.sampled_from([*NAMES, "", "gone", "a\tb"]),
        reference=st.sampled_from([BASE, GONE, INVISIBLE, FAILING, BREAKING, "", "no image", f"{BASE},{BASE}"]),
        size=st.none() | st.integers(0, 1 << 60).map(str),
        path=st.sampled_from([UPLOAD, STAGE]),
        explains=st.booleans(),
    )
    def test_a_store_header_decides_alone(
        self, store: str, reference: str, size: str | None, path: str, explains: bool
    ) -> None:
        glance = Glance()
        request = upload(reference, store, path=path)
        if size:
            request.headers["x-openstack-image-size"] = size
        plain = arrived_without_filter(request)
        ask(glance, request, explains=explains)
        assert glance.arrived == [plain]

    @pytest.mark.parametrize(
        "reference", [GONE, INVISIBLE, BASE_NOWHERE, FAILING, BREAKING, "", "no/image", f"{BASE} "]
    )
    def test_a_base_image_without_a_usable_store_changes_nothing(self, glance: Glance, reference: str) -> None:
        answer = ask(glance, upload(reference))
        assert glance.arrived[-1] == arrived_without_filter(upload(None))
        assert [asked for asked in glance.asked if asked[0] != "GET"] == [("PUT", UPLOAD)]
        assert (answer.status_int, answer.headerlist) == (204, upload(None).get_response(Glance()).headerlist)

    def test_whether_a_base_image_is_gone_or_invisible_or_none_shows_nowhere(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def everything(reference: str) -> Any:
            glance = Glance()
            caplog.clear()
            answer = ask(glance, upload(reference), explains=True)
            log = [(record.levelname, record.getMessage()) for record in caplog.records]
            return answer.status, answer.headerlist, answer.body, glance.arrived[-1], log

        reason = (
            "local (default-store): default_backend is 'local'; there is no base image that the requester can see; "
        )
        gone = everything(GONE)
        assert everything(INVISIBLE) == gone
        assert everything("../../images") == gone
        assert [level for level, line in gone[-1] if reason in line] == ["INFO"]

    @pytest.mark.parametrize("reference", ["", "no/image", f"{BASE} ", f"{BASE}\n", f"{BASE},{BASE}", f"x{BASE}"])
    def test_what_is_no_id_is_not_looked_up(self, glance: Glance, reference: str) -> None:
        request = upload(BASE)
        request.environ["HTTP_X_OPENSTACK_BASE_IMAGE_REF"] = reference
        ask(glance, request)
        assert glance.arrived == [arrived_without_filter(upload(None))]

    @pytest.mark.parametrize(
        "reference, why",
        [
            (FAILING, "503 Service Unavailable: The database is busy."),
            (BREAKING, "RuntimeError: the database is gone"),
        ],
    )
    def test_a_look_up_that_fails_is_a_warning(
        self, glance: Glance, told: Callable[[], list[tuple[str, str]]], reference: str, why: str
    ) -> None:
        ask(glance, upload(reference))
        assert told()[0] == ("WARNING", f"Base image {reference} could not be looked up and is ignored: {why}")

    def test_a_single_store_glance_is_asked_nothing_more(self, glance: Glance) -> None:
        ask(glance, upload(BASE), stores=SINGLE)
        assert glance.arrived == [arrived_without_filter(upload(None))]

    def test_a_default_store_that_takes_nothing_is_left_to_glance(self, glance: Glance) -> None:
        ask(glance, upload(GONE), stores=replace(CATALOGUE, default="broken"))
        assert glance.arrived[-1] == arrived_without_filter(upload(None))


DIRECT = {"method": {"name": "glance-direct"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["fast", "slow"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["stores", "id", "locations"]), inner, max_size=3)
    ),
    max_leaves=8,
)
NO_IMAGES = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b"9" * 5_000,
    b"null",
    b"[]",
    b'["fast"]',
    b'"fast"',
    b'{"stores": null}',
    b'{"stores": ["fast"]}',
    b'{"stores": {"fast": "slow"}}',
    b'{"stores": 7}',
]


class TestTheUploadComesFirst:
    """Whatever is wrong with the base image or with the stores, the data arrive as if there were no filter."""

    @pytest.fixture(params=["upload", "import"])
    def request_of(self, request: pytest.FixtureRequest) -> Callable[[str | None], Request]:
        return upload if request.param == "upload" else lambda reference: importing(reference, DIRECT)

    @pytest.fixture
    def answering(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Response]], None]:
        """Let Glance answer so when the base image is looked up."""
        answer = Glance.answer

        def set_answer(make: Callable[[], Response]) -> None:
            monkeypatch.setattr(
                Glance, "answer", lambda self, request: make() if request.method == "GET" else answer(self, request)
            )

        return set_answer

    @pytest.mark.parametrize("body", NO_IMAGES, ids=lambda body: repr(body[:40]))
    def test_an_answer_that_is_no_image_is_a_warning(
        self,
        glance: Glance,
        told: Callable[[], list[tuple[str, str]]],
        answering: Callable[[Callable[[], Response]], None],
        request_of: Callable[[str | None], Request],
        body: bytes,
    ) -> None:
        answering(lambda: Response(body=body, content_type="application/json"))
        assert ask(glance, request_of(BASE)).status_int in (202, 204)
        assert glance.arrived[-1] == arrived_without_filter(request_of(None))
        why = "Glance's answer is not an image with a list of stores"
        assert told()[0] == ("WARNING", f"Base image {BASE} could not be looked up and is ignored: {why}")

    @given(
        body=st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()),
        status=st.sampled_from(
            ["200 OK", "201 Created", "204 No Content", "302 Found", "404 Gone", "500 \xff", "999 Odd"]
        ),
        content_type=st.sampled_from(["application/json", "text/plain; charset=none", "text/html; charset=utf-16", ""]),
    )
    def test_whatever_is_answered_the_data_arrive(self, body: bytes, status: str, content_type: str) -> None:
        class Odd(Glance):
            def answer(self, request: Request) -> Response:
                odd = Response(body=body, status=status)
                odd.headers["Content-Type"] = content_type
                return odd if request.method == "GET" else super().answer(request)

        for request, plain in (
            (upload(BASE), upload(None)),
            (importing(BASE, DIRECT), importing(None, DIRECT)),
        ):
            glance = Odd()
            expected = arrived_without_filter(plain)
            assert ask(glance, request).status_int in (202, 204)
            (arrived,) = [each for each in glance.arrived if each.path == expected.path and each.method != "GET"][:1]
            assert arrived.method == expected.method
            if arrived.path == UPLOAD:
                assert arrived.body == expected.body
            else:
                assert json.loads(arrived.body).items() >= DIRECT.items()

    @pytest.mark.parametrize(
        "content_type", ["text/plain", "text/plain; charset=none", "text/html; charset=utf-16", "application/json"]
    )
    def test_a_refusal_that_cannot_be_read_is_one_line(
        self,
        glance: Glance,
        told: Callable[[], list[tuple[str, str]]],
        answering: Callable[[Callable[[], Response]], None],
        request_of: Callable[[str | None], Request],
        content_type: str,
    ) -> None:
        def refusal() -> Response:
            answer = Response(status=403, body=b"\xff\xd8\n\x1b[2J" * 100_000)
            answer.headers["Content-Type"] = content_type
            return answer

        answering(refusal)
        ask(glance, request_of(BASE))
        assert glance.arrived[-1] == arrived_without_filter(request_of(None))
        assert [level for level, _ in told()] == ["INFO"]  # as of any image that the requester may not see
        assert all(line.isprintable() and len(line) < 10_000 for _, line in told())

    @pytest.mark.parametrize(
        "error", [InvalidConfiguration("[fast] weight", "is no number"), RuntimeError("two\nlines"), KeyError("fast")]
    )
    def test_a_catalogue_that_cannot_be_read_is_a_warning(
        self,
        glance: Glance,
        told: Callable[[], list[tuple[str, str]]],
        request_of: Callable[[str | None], Request],
        error: Exception,
    ) -> None:
        def unreadable() -> StoreCatalogue:
            raise error

        chooser = BaseImageStores(app=glance, catalogue=unreadable, explains=True)
        answer = request_of(BASE).get_response(chooser)
        assert answer.status_int in (202, 204)
        assert answer.headers[CHOICE_HEADER] == "left to Glance: Glance's log has the reason"
        assert glance.arrived == [arrived_without_filter(request_of(None))]
        assert told() == [
            ("WARNING", f"Image {IMAGE}: its base image is ignored: {type(error).__name__}: {one_line(error)}")
        ]

    @pytest.mark.parametrize("length", ["-1", "-99999", "0", "x"])
    def test_an_import_without_a_sensible_length_is_left_to_glance(self, glance: Glance, length: str) -> None:
        class Endless:
            """A body that never ends, as Glance's server would hand it on."""

            def read(self, size: int = -1) -> bytes:
                assert size >= 0, "a body is not read whole"
                return b"0" * size

        request = importing(BASE, b"")
        request.environ |= {
            "wsgi.input": Endless(),
            "webob.is_body_seekable": False,
            "CONTENT_LENGTH": length,
        }
        lengths = []

        def keeping(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            lengths.append(environ["CONTENT_LENGTH"])
            return Response(status=202)(environ, start_response)

        answer = request.get_response(BaseImageStores(app=keeping, catalogue=lambda: CATALOGUE))
        assert (answer.status_int, lengths) == (202, [length])

    def test_an_import_that_breaks_off_is_left_to_glance(
        self, glance: Glance, told: Callable[[], list[tuple[str, str]]]
    ) -> None:
        request = importing(BASE, b"")
        request.environ |= {
            "wsgi.input": BytesIO(b"{"),
            "webob.is_body_seekable": False,
            "CONTENT_LENGTH": "100",
        }
        reached = []

        def keeping(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            reached.append(environ["CONTENT_LENGTH"])
            return Response(status=400)(environ, start_response)

        answer = request.get_response(BaseImageStores(app=keeping, catalogue=lambda: CATALOGUE))
        assert (answer.status_int, reached) == (400, ["100"])
        assert [level for level, _ in told()] == ["WARNING"]


class Wire:
    """A body that comes from a network: read in front of the application, it is not there any more."""

    def __init__(self, parts: int) -> None:
        self.parts = iter([b"part"] * parts)
        self.read_before_the_application = False
        self.arrived = False

    def read(self, size: int = -1) -> bytes:
        assert size != -1, "a body is not read whole"
        self.read_before_the_application |= not self.arrived
        return next(self.parts, b"")


class TestStreaming:
    @pytest.mark.parametrize("reference", [BASE, GONE, None])
    @pytest.mark.parametrize("path", [UPLOAD, STAGE])
    def test_a_chunked_body_reaches_the_application_unread(self, reference: str | None, path: str) -> None:
        wire = Wire(5)

        class Streamed(Glance):
            def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
                if environ["REQUEST_METHOD"] == "PUT":
                    assert environ["wsgi.input"] is wire
                    wire.arrived = True
                return super().__call__(environ, start_response)

        request = upload(reference, path=path, body=b"")
        del request.environ["CONTENT_LENGTH"]
        request.environ |= {"wsgi.input": wire, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        request.environ["webob.is_body_seekable"] = False
        glance = Streamed()
        ask(glance, request)
        (put,) = [arrived for arrived in glance.arrived if arrived.method == "PUT"]
        assert (put.body, wire.read_before_the_application) == (b"part" * 5, False)
        assert [arrived.body for arrived in glance.arrived if arrived.method == "GET"] == [b""] * (
            reference is not None and path == UPLOAD
        )

    def test_what_is_asked_besides_says_nothing_of_the_body_or_the_answer(self, glance: Glance) -> None:
        request = upload(BASE, path=f"{UPLOAD}?marker=1")
        context = object()
        request.headers.update(
            {
                "X-Project-Id": "demo",
                "X-Roles": "member",
                "X-Service-Roles": "service",
                "Accept": "text/html",
                "Range": "bytes=0-1",
                "If-None-Match": "x",
                "Expect": "100-continue",
                "Transfer-Encoding": "chunked",
                "x-openstack-image-size": "8",
            }
        )
        request.environ["webob.adhoc_attrs"] = {"context": context}
        ask(glance, request)
        requester = {"Host": "localhost:80", "X-Project-Id": "demo", "X-Roles": "member", "X-Service-Roles": "service"}
        looked_up, _, copied = glance.arrived
        assert looked_up.headers == requester | {"Content-Length": "0"}
        assert copied.headers == requester | {
            "Content-Length": str(len(copied.body)),
            "Content-Type": "application/json",
        }
        assert [Request(environ).context for environ in glance.environs] == [context] * 3
        assert [environ["QUERY_STRING"] for environ in glance.environs] == ["", "marker=1", ""]


class TestImport:
    def test_an_import_goes_to_every_store_of_the_base_image_at_once(self, glance: Glance) -> None:
        answer = ask(glance, importing(BASE, DIRECT))
        assert answer.status_int == 202
        assert glance.asked == [("GET", f"/v2/images/{BASE}"), ("POST", IMPORT)]
        wanted = {**DIRECT, "stores": ["slow", "fast"], "all_stores_must_succeed": False}
        assert json.loads(glance.arrived[-1].body) == wanted
        assert glance.arrived[-1].headers.keys() == arrived_without_filter(importing(None, DIRECT)).headers.keys()

    def test_what_the_requester_asks_for_besides_is_kept(self, glance: Glance) -> None:
        asked = {"method": {"name": "web-download", "uri": "http://x"}, "all_stores_must_succeed": True, "more": [1]}
        ask(glance, importing(BASE, asked))
        assert json.loads(glance.arrived[-1].body) == {**asked, "stores": ["slow", "fast"]}

    def test_one_store_is_all_that_must_succeed(self, glance: Glance) -> None:
        ask(glance, importing(BASE_IN_ONE, DIRECT))
        assert json.loads(glance.arrived[-1].body) == {**DIRECT, "stores": ["fast"]}

    @pytest.mark.parametrize(
        "body",
        [
            {**DIRECT, "stores": ["local"]},
            {**DIRECT, "stores": []},
            {**DIRECT, "all_stores": True},
            {"method": {"name": "copy-image"}, "x": 1},
            {"method": {}},
            {"method": "glance-direct"},
            {},
            [],
            "glance-direct",
            b"",
            b"{",
            b"\xff\xfe",
            b"[" * 9_000,
        ],
        ids=lambda body: str(body)[:40],
    )
    def test_an_import_that_names_its_stores_or_is_none_arrives_as_it_was_sent(self, glance: Glance, body: Any) -> None:
        ask(glance, importing(BASE, body))
        assert glance.arrived == [arrived_without_filter(importing(None, body))]

    @pytest.mark.parametrize("reference", [GONE, INVISIBLE, BASE_NOWHERE, "no image"])
    def test_a_base_image_without_a_usable_store_changes_nothing(self, glance: Glance, reference: str) -> None:
        ask(glance, importing(reference, DIRECT))
        assert glance.arrived[-1] == arrived_without_filter(importing(None, DIRECT))

    def test_a_charset_that_is_none_is_no_obstacle(self, glance: Glance) -> None:
        request = importing(BASE_IN_ONE, DIRECT)
        request.headers["Content-Type"] = "application/json; charset=none"
        ask(glance, request)
        assert json.loads(glance.arrived[-1].body) == {**DIRECT, "stores": ["fast"]}

    def test_a_store_header_decides_alone(self, glance: Glance) -> None:
        ask(glance, importing(BASE, DIRECT, store="local"))
        assert glance.arrived == [arrived_without_filter(importing(None, DIRECT, store="local"))]

    @pytest.mark.parametrize("length", [None, str((1 << 16) + 1)])
    def test_what_is_too_long_for_an_import_is_not_read(self, length: str | None) -> None:
        request = importing(BASE, b"")
        request.environ |= {"wsgi.input": Wire(0), "webob.is_body_seekable": False}
        request.environ.pop("CONTENT_LENGTH")
        if length:
            request.environ["CONTENT_LENGTH"] = length
        inputs = []

        def keeping(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            inputs.append(environ["wsgi.input"])
            return Response()(environ, start_response)

        wire = request.environ["wsgi.input"]
        request.get_response(BaseImageStores(app=keeping, catalogue=lambda: CATALOGUE))
        assert inputs == [wire]
        assert not wire.read_before_the_application


def test_a_reference_that_comes_with_staged_data_goes_no_further(
    glance: Glance, told: Callable[[], list[tuple[str, str]]]
) -> None:
    ask(glance, upload(BASE, path=STAGE))
    assert glance.arrived == [arrived_without_filter(upload(None, path=STAGE))]
    assert told() == [("INFO", f"Image {IMAGE}: its base image counts when it is imported, not when it is staged")]


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", UPLOAD),
        ("PUT", IMPORT),
        ("POST", UPLOAD),
        ("PUT", f"/v2/images/{IMAGE}/file/"),
        ("PUT", "/v2/images/../file"),
        ("PUT", f"/v2/images/{IMAGE}%0a/file"),
        ("PATCH", f"/v2/images/{IMAGE}"),
        ("GET", "/"),
    ],
)
def test_any_other_request_only_loses_the_reference(glance: Glance, method: str, path: str) -> None:
    request = upload(BASE, path=path)
    request.environ["REQUEST_METHOD"] = method
    plain = arrived_without_filter(request)
    ask(glance, request)
    assert glance.arrived == [plain]


class TestExplanation:
    def test_the_choice_and_its_reason_are_in_a_header_where_that_is_wanted(self, glance: Glance) -> None:
        assert ask(glance, upload(BASE), explains=True).headers[CHOICE_HEADER] == CHOSEN

    def test_a_request_without_a_reference_gets_none(self, glance: Glance) -> None:
        assert CHOICE_HEADER not in ask(glance, upload(None), explains=True).headers

    def test_a_refusal_is_explained(self, glance: Glance) -> None:
        assert ask(glance, upload(BASE, "web"), explains=True).headers[CHOICE_HEADER] == (
            "no store (store-header): store 'web' is read-only; the request names store 'web'; enabled_backends is set"
        )

    @given(st.text(max_size=20).map(lambda text: text.encode().decode("latin-1")))
    def test_whatever_is_named_the_header_is_one_line_of_ascii(self, store: str) -> None:
        request = upload(BASE)
        request.environ["HTTP_X_IMAGE_META_STORE"] = store
        value = ask(Glance(), request, explains=True).headers[CHOICE_HEADER]
        assert value.isascii()
        assert value.isprintable()
