"""What a `cinder://` URL names: the grammar, the laws, and what may never be printed."""

from __future__ import annotations

import re
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing import strategies
from imagevol_core import (
    CinderLocation,
    Dialect,
    Image,
    ImageLocation,
    InvalidLocation,
    UnreadLocation,
    is_store_name,
    locations,
    named_volume_ids,
    parse_location,
    read_location,
)

ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"


def refusal(text: str, dialect: Dialect = Dialect.STRICT) -> InvalidLocation | None:
    """Why the text is no location; None where it is one."""
    try:
        parse_location(text, dialect=dialect)
    except InvalidLocation as error:
        return error
    return None


class TestReading:
    """What cannot be parsed is read all the same, as a value that says why."""

    @given(strategies.location_texts() | st.text(), st.sampled_from(Dialect))
    def test_reading_a_location_gives_what_parsing_gives_or_why_there_is_nothing(
        self, url: str, dialect: Dialect
    ) -> None:
        refused = refusal(url, dialect)
        read = read_location(url, dialect=dialect)
        if refused is None:
            assert read == parse_location(url, dialect=dialect)
        else:
            assert read == UnreadLocation(refused.shown, refused.reason)
            assert str(read) == str(refused)

    def test_a_location_that_cannot_be_read_hides_credentials_as_its_error_does(self) -> None:
        url = f"cinder://fast:{ID[1:]}"
        assert str(read_location(url)) == str(refusal(url))
        assert ID[1:] not in str(read_location(url))

    def test_the_dialect_decides_and_is_strict_if_none_is_named(self) -> None:
        braces = f"cinder://{{{ID}}}"
        assert isinstance(read_location(braces, dialect=Dialect.CINDER), CinderLocation)
        assert read_location(braces) == read_location(braces, dialect=Dialect.STRICT)
        assert isinstance(read_location(braces), UnreadLocation)


class TestGrammar:
    """location = "cinder://" [ store "/" ] volume-id, and nothing else."""

    def test_todays_form_names_store_and_volume(self) -> None:
        assert parse_location(f"cinder://fast/{ID}") == CinderLocation(store="fast", volume_id=ID)

    def test_the_form_of_the_single_store_days_names_the_volume(self) -> None:
        assert parse_location(f"cinder://{ID}") == CinderLocation(volume_id=ID)

    @pytest.mark.parametrize(
        "url",
        [
            *("", "cinder://", "cinder:///", f"cinder:{ID}", f"http://{ID}", ID),
            *(f"Cinder://{ID}", f"CINDER://fast/{ID}", f" cinder://{ID}", f"cin\tder://{ID}"),
            *(f"cinder:///{ID}", f"cinder://fast//{ID}", f"cinder://fast/other/{ID}", f"cinder://fast/{ID}/"),
            *(f"cinder://user:pass@fast/{ID}", f"cinder://fast:8776/{ID}", f"cinder://f%61st/{ID}"),
            *(f"cinder://fast/{ID}?a=b", f"cinder://fast/{ID}#part", f"cinder://?/{ID}", f"cinder://#/{ID}"),
            *(f"cinder://fast/{ID} ", f"cinder://fast/{ID}\n", f"cinder://fa st/{ID}", f"cinder://fast\n/{ID}"),
            *(f"cinder://os_glance_staging_store/{ID}", f"cinder://{'x' * 65}/{ID}", f"cinder://f\u00e4st/{ID}"),
            *(f"cinder://fast/{ID.upper()}", f"cinder://fast/{ID.replace('-', '')}", f"cinder://fast/{{{ID}}}"),
            *(f"cinder://fast/urn:uuid:{ID}", f"cinder://{ID[:-1]}", f"cinder://{ID}0", f"cinder://{ID[:-1]}\uff11"),
            *("cinder://[", f"cinder://]/{ID}", f"cinder://[::1]/{ID}"),
        ],
    )
    def test_any_other_text_is_refused(self, url: str) -> None:
        with pytest.raises(InvalidLocation):
            parse_location(url)

    @pytest.mark.parametrize("tail", ["?a=b", "#part", "?", "#"])
    def test_a_query_and_a_fragment_are_named_in_the_error(self, tail: str) -> None:
        refused = refusal(f"cinder://fast/{ID}{tail}")
        assert refused is not None
        assert refused.reason == "it has a query or a fragment"

    def test_the_error_names_the_part_that_is_wrong(self) -> None:
        reasons = {url: refused.reason for url in ("cinder://7", f"cinder://a b/{ID}") if (refused := refusal(url))}
        assert reasons == {
            "cinder://7": "it does not end with the id of a volume",
            f"cinder://a b/{ID}": "what stands before the volume id is not the name of a store",
        }

    @pytest.mark.parametrize("name", ["a", "fast-2", "A.b_c", "x" * 64, "os_glance", "OS_GLANCE_x"])
    def test_a_store_has_a_short_plain_name(self, name: str) -> None:
        assert is_store_name(name)

    @pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 65, "fast\n", "f\u00e4st", "\u0661", "os_glance_x"])
    def test_a_store_has_no_other_name(self, name: str) -> None:
        assert not is_store_name(name)

    @pytest.mark.parametrize("dialect", Dialect)
    def test_parts_that_make_no_location_are_refused_when_put_together(self, dialect: Dialect) -> None:
        with pytest.raises(InvalidLocation) as caught:
            CinderLocation(store="a/b", volume_id=ID, dialect=dialect)
        reason = "what stands before the volume id is not the name of a store"
        assert (caught.value.shown, caught.value.reason) == (f"cinder://a/b/{ID}", reason)
        with pytest.raises(InvalidLocation) as caught:
            CinderLocation(store="fast", volume_id="7", dialect=dialect)
        reason = "it does not end with the id of a volume"
        assert (caught.value.shown, caught.value.reason) == ("cinder://fast/7", reason)


class TestDialects:
    """Cinder and glance_store each read more than the grammar, and not the same."""

    @pytest.mark.parametrize("volume_id", [ID.upper(), ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}"])
    def test_cinder_takes_any_spelling_of_a_uuid_and_keeps_it(self, volume_id: str) -> None:
        assert parse_location(f"cinder://fast/{volume_id}", dialect=Dialect.CINDER).volume_id == volume_id
        with pytest.raises(InvalidLocation):
            parse_location(f"cinder://fast/{volume_id}", dialect=Dialect.GLANCE_STORE)

    @pytest.mark.parametrize("volume_id", [f"X{ID}", f"({ID})", f"{ID}0", ID[:-1], f"{{{ID}", ""])
    def test_cinder_refuses_a_volume_id_that_is_no_uuid(self, volume_id: str) -> None:
        taken = refusal(f"cinder://fast/{volume_id}", Dialect.CINDER) is None
        assert taken is volume_id.startswith("{")  # of a pair of braces either may be missing

    def test_cinder_takes_any_case_of_the_scheme_a_query_and_a_missing_authority(self) -> None:
        for url in (f"CINDER://fast/{ID}?a=b#c", f"cinder:{ID}", f"cinder://{ID}"):
            assert parse_location(url, dialect=Dialect.CINDER).volume_id == ID

    def test_glance_store_looks_at_what_follows_the_last_slash(self) -> None:
        assert parse_location(f"cinder://?a=b/{ID}", dialect=Dialect.GLANCE_STORE).volume_id == ID

    def test_a_text_that_cannot_be_the_name_of_a_store_is_not_taken_for_one(self) -> None:
        for dialect in (Dialect.CINDER, Dialect.GLANCE_STORE):
            assert parse_location(f"cinder://a b/{ID}", dialect=dialect).store is None

    def test_another_scheme_is_refused_by_all(self) -> None:
        for dialect in Dialect:
            with pytest.raises(InvalidLocation, match="does not begin with cinder://"):
                parse_location(f"rbd://fast/{ID}", dialect=dialect)

    def test_no_url_at_all_is_told_from_another_location(self) -> None:
        with pytest.raises(InvalidLocation) as caught:
            parse_location("http://[", dialect=Dialect.CINDER)
        assert caught.value.reason == locations.NOT_A_URL


class TestRoundTrip:
    """parse(str(x)) == x."""

    @given(strategies.cinder_locations())
    def test_a_location_is_read_as_it_was_written(self, location: CinderLocation) -> None:
        assert parse_location(str(location)) == location

    @given(strategies.location_texts(), st.sampled_from(Dialect))
    def test_a_location_that_a_dialect_reads_is_read_in_the_same_way_again(self, text: str, dialect: Dialect) -> None:
        try:
            location = parse_location(text, dialect=dialect)
        except InvalidLocation:
            return
        assert parse_location(str(location), dialect=dialect) == location


class TestTotality:
    """Any text at all parses or raises InvalidLocation, nothing else."""

    @given(strategies.location_texts() | st.text(), st.sampled_from(Dialect))
    def test_any_text_is_a_location_or_refused(self, text: str, dialect: Dialect) -> None:
        try:
            location = parse_location(text, dialect=dialect)
        except InvalidLocation:
            return
        assert location.dialect is dialect
        assert location.store is None or is_store_name(location.store)


class TestContainment:
    """What STRICT accepts, both dialects accept, with the same volume id."""

    @given(strategies.location_texts() | strategies.cinder_locations().map(str))
    def test_the_services_read_our_locations_as_we_do(self, text: str) -> None:
        try:
            strict = parse_location(text)
        except InvalidLocation:
            return
        for dialect in Dialect:
            theirs = parse_location(text, dialect=dialect)
            assert (theirs.store, theirs.volume_id) == (strict.store, strict.volume_id)


class TestLinearity:
    """Parsing is linear in the length of the text.

    No clock: the lines of Python that run are counted, and must not more than double with the length.  What one line
    does is a scan of the text (`find`, `replace`, a slice), or a match with a regular expression that has at most one
    repetition without a bound, and so nothing to try twice.
    """

    SHAPES = (
        *("cinder://{}", "cinder://{}/" + ID, "cinder://fast/{}", "{}://fast/" + ID, "cinder://fast/" + ID + "?{}"),
        *("{}", "cinder:{}", "cinder://[{}", "cinder://{}@fast", "http://{}]", "cinder://urn:{}", "cinder://{{{}"),
    )
    FILLINGS = ("a", "/", "-", "urn:", "uuid:", "{", "@", "?", "[", "]", ":", "\n", "%", "f-", "os_glance_", "\u2100")

    @pytest.mark.parametrize("dialect", Dialect)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_text_of_twice_the_length_takes_at_most_twice_the_lines(self, shape: str, dialect: Dialect) -> None:
        for filling in self.FILLINGS:
            short, long = (shape.format(filling * count) for count in (1_000, 2_000))
            assert lines_run(long, dialect) <= 2 * lines_run(short, dialect)

    @pytest.mark.parametrize("dialect", Dialect)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_megabyte_is_answered_in_a_short_line(self, shape: str, dialect: Dialect) -> None:
        for filling in self.FILLINGS:
            text = shape.format(filling * (1_000_000 // len(filling)))
            assert len(str(refusal(text, dialect))) < 250

    def test_no_regular_expression_can_try_a_repetition_twice(self) -> None:
        patterns = [value.pattern for value in vars(locations).values() if isinstance(value, re.Pattern)]
        assert [pattern for pattern in patterns if not is_linear(pattern)] == []
        assert patterns

    @pytest.mark.parametrize("nasty", ["(a+)+b", "[(]*a*b", "(a|b)*", "a{2,}b{3,}"])
    def test_a_regular_expression_that_could_would_be_noticed(self, nasty: str) -> None:
        assert not is_linear(nasty)


def lines_run(text: str, dialect: Dialect) -> int:
    """How many lines of Python a reading of the text takes."""
    lines = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        parse_location(text, dialect=dialect)
    except InvalidLocation:
        pass
    finally:
        sys.settrace(before)
    return lines


def is_linear(pattern: str) -> bool:
    """Whether there is no group, no alternative, and at most one repetition without a bound."""
    plain = re.sub(r"\[.+?\]", "x", pattern)
    unbounded = sum(map(plain.count, ("*", "+", ",}")))
    return unbounded <= 1 and not set("(|") & set(plain)


def printed(error: BaseException) -> str:
    """What a traceback says of an error and of those that led to it."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{error}\n{printed(before) if before else ''}"


class TestSecrecy:
    """An error shows no userinfo, no query and no fragment, and nothing that a terminal obeys."""

    SECRET = "hunter2"

    @given(
        scheme=st.sampled_from(["cinder", "CINDER", "http", "user", "", "cin\nder", "a:b"]),
        separator=st.sampled_from(["://", ":", "//", ""]),
        parts=st.lists(
            st.sampled_from(["user", ":", "/", "?", "#", "[", "]", "%40", " ", "\u2100", "\x1b", SECRET]), max_size=8
        ),
        host=st.sampled_from(["fast", "", "[", "fast:80", "\u2100"]),
        path=st.sampled_from(["", f"/{ID}", "/x", "//"]),
        tail=st.sampled_from(["", f"?token={SECRET}", f"#{SECRET}", f"#x?{SECRET}", f"?a@{SECRET}", f"?{SECRET}@a#b"]),
        dialect=st.sampled_from(Dialect),
    )
    def test_nothing_that_can_be_a_credential_is_in_a_traceback(
        self, scheme: str, separator: str, parts: list[str], host: str, path: str, tail: str, dialect: Dialect
    ) -> None:
        userinfo = f"{''.join(parts)}:{self.SECRET}@" if parts else ""
        refused = refusal(f"{scheme}{separator}{userinfo}{host}{path}{tail}", dialect)
        assert refused is None or self.SECRET not in printed(refused)

    def test_a_hidden_location_can_still_be_told_from_another_one(self) -> None:
        with pytest.raises(InvalidLocation) as caught:
            parse_location(f"cinder://user:hunter2@fast/{ID}?token=hunter2")
        assert caught.value.shown == f"cinder://***@fast/{ID}?..."

    @pytest.mark.parametrize(
        "text, dialect, shown",
        [
            ("cinder://user:hun@ter2@fast/7", Dialect.STRICT, "cinder://***@fast/7"),
            ("user:hunter2@fast", Dialect.STRICT, "***@fast"),
            ("user:hun?ter2@fast", Dialect.STRICT, "***?..."),
            ("file:///x", Dialect.STRICT, "file:///x"),
            ("http://[", Dialect.CINDER, "http://["),
            ("cinder://f\u00e4st/7", Dialect.STRICT, "cinder://f\u00e4st/7"),
            ("cinder://fast\n/\u00e4", Dialect.STRICT, r"cinder://fast\n/\xe4"),
            ("x" * 120, Dialect.STRICT, "x" * 120),
            ("x" * 121, Dialect.STRICT, f"{'x' * 120}..."),
        ],
    )
    def test_only_credentials_are_hidden_in_a_location(self, text: str, dialect: Dialect, shown: str) -> None:
        refused = refusal(text, dialect)
        assert refused is not None
        assert refused.shown == shown

    def test_a_special_character_in_a_password_does_not_end_it(self) -> None:
        with pytest.raises(InvalidLocation) as caught:
            parse_location(f"cinder://user:hun#ter2@fast/{ID}")
        assert caught.value.shown == "cinder://***#..."

    def test_an_error_of_the_library_below_does_not_tell_either(self) -> None:
        with pytest.raises(InvalidLocation) as caught:
            parse_location("cinder://user:hunter2@\N{ACCOUNT OF}/x", dialect=Dialect.CINDER)
        assert "hunter2" not in printed(caught.value)

    @given(strategies.location_texts() | st.text(), st.sampled_from(Dialect))
    def test_an_error_is_one_printable_line_of_a_length_worth_reading(self, text: str, dialect: Dialect) -> None:
        refused = refusal(text, dialect)
        assert refused is None or (str(refused).isprintable() and len(refused.shown) <= 123)


@pytest.mark.parametrize(
    "url, part",
    [
        (f"cinder://a/b/{ID}", "what stands before the volume id is not the name of a store"),
        (f"cinder:///{ID}", "what stands before the volume id is not the name of a store"),
        (f"cinder://a/{ID}/b", "it does not end with the id of a volume"),
    ],
)
def test_the_sentence_says_which_part_is_wrong(url: str, part: str) -> None:
    with pytest.raises(InvalidLocation) as refused:
        parse_location(url)
    assert refused.value.reason == part


@pytest.mark.parametrize("before", ["user:secret", "user:sec://ret"])
def test_a_text_that_is_no_scheme_is_not_shown(before: str) -> None:
    with pytest.raises(InvalidLocation) as refused:
        parse_location(f"{before}://fast/{ID}")
    assert refused.value.shown == f"***://fast/{ID}"


def test_each_volume_of_the_locations_is_named_once_and_in_their_order() -> None:
    bare, other = ID.replace("-", ""), "0" * 8 + ID[8:]
    urls = (f"cinder://fast/{bare}", f"cinder://fast/{ID}", "rbd://a/b", f"cinder://{other}", f"cinder://slow/{ID}", "")
    image = Image(id="i", locations=tuple(map(ImageLocation, urls)))
    assert named_volume_ids(image) == (bare, ID, other)


@given(strategies.location_texts())
def test_a_location_that_no_dialect_reads_names_no_volume(url: str) -> None:
    readings = {dialect: refusal(url, dialect) for dialect in Dialect}
    named = named_volume_ids(Image(id="i", locations=(ImageLocation(url),)))
    assert bool(named) is (None in readings.values())
