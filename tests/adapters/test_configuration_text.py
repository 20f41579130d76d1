"""Editing a configuration file: oslo.config reads what the edits say, and all other lines are as they were."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from imagevol_adapters.configuration.text import ConfigurationText, difference
from imagevol_core import ConfigurationEdit, InvalidConfiguration

FILE = """\
# Ours.
[DEFAULT]
debug = true
  ; of the value

[glance_store]
# Which.
stores: cinder , file
cinder_volume_type=ssd   
filesystem_store_datadirs = /a:1
cinder_mount_point_base = "  /mnt"
    x
#cinder_store_password = horse
filesystem_store_datadirs = /b:2

[DEFAULT]
log_file = /log"""  # noqa: W291 - white space at the end of a line is kept too


def parse(text: str) -> ConfigurationText:
    return ConfigurationText.parse(text, name="glance-api.conf")


def edit(section: str, option: str, before: str | None, after: str | None) -> ConfigurationEdit:
    return ConfigurationEdit(section=section, option=option, before=before, after=after, why="")


def read_by_oslo(text: str) -> dict[str, dict[str, list[str]]]:
    """Every value of every option, as oslo.config finds them in a file."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "glance-api.conf"
        file.write_bytes(text.encode())
        normalized: dict[str, dict[str, list[str]]] = {}
        parser = cfg.ConfigParser(str(file), {})
        parser._add_normalized(normalized)
        parser.parse()
        return normalized


class TestReading:
    def test_a_value_is_what_oslo_config_reads(self) -> None:
        assert parse(FILE).values() == {
            "DEFAULT": {"debug": "true\n; of the value", "log_file": "/log"},
            "glance_store": {
                "stores": "cinder , file",
                "cinder_volume_type": "ssd",
                "filesystem_store_datadirs": "/b:2",
                "cinder_mount_point_base": "  /mnt\nx",
            },
        }

    @pytest.mark.parametrize(
        "text, line",
        [
            ("[a]\n\nhorse\n", 3),
            ("[a]\n = horse\n", 2),
            ("[a]\n= horse\n", 2),
            ("# 1\nx = horse\n  2\n", 2),
            ("[a] # horse\n", 1),
            ("[]\n", 1),
        ],
    )
    def test_what_oslo_config_would_refuse_is_refused_with_the_line_and_not_its_content(
        self, text: str, line: int
    ) -> None:
        with pytest.raises(InvalidConfiguration) as raised:
            parse(text)
        assert raised.value.where == f"glance-api.conf:{line}"
        assert raised.value.reason
        assert "horse" not in raised.value.reason
        assert raised.value.__context__ is None


class TestEditing:
    def test_what_moves_is_written_as_it_was_and_the_rest_stays(self) -> None:
        moving = ["cinder_mount_point_base", "filesystem_store_datadirs"]
        values = parse(FILE).values()["glance_store"]
        edits = [
            edit("DEFAULT", "enabled_backends", None, "fast:cinder"),
            edit("glance_store", "stores", values["stores"], None),
            edit("glance_store", "cinder_volume_type", "ssd", "hdd"),
            *(edit("fast", option, None, values[option]) for option in moving),
            *(edit("glance_store", option, values[option], None) for option in moving),
        ]
        assert str(parse(FILE).edited(edits)) == (
            "# Ours.\n[DEFAULT]\ndebug = true\n  ; of the value\n\n"
            "[glance_store]\n# Which.\ncinder_volume_type=hdd\n#cinder_store_password = horse\n\n"
            "[DEFAULT]\nlog_file = /log\nenabled_backends = fast:cinder\n\n"
            '[fast]\ncinder_mount_point_base = "  /mnt"\n    x\n'
            "filesystem_store_datadirs = /a:1\nfilesystem_store_datadirs = /b:2\n"
        )

    @pytest.mark.parametrize("text", ["", "[a]", "# only this", "[a]\r\nx = 1", "[a]\rx = 1\r"])
    def test_line_ends_are_those_of_the_file(self, text: str) -> None:
        end = "\r\n" if "\r\n" in text else "\r" if "\r" in text else "\n"
        edited = str(parse(text).edited([edit("b", "y", None, "2")]))
        kept = text if text.endswith(end) or not text else text + end
        assert edited == f"{kept}{end if text else ''}[b]{end}y = 2{end}"

    def test_a_last_line_without_an_end_gets_one_when_it_moves_up(self) -> None:
        edits = [edit("b", "x", None, "1"), edit("a", "x", "1", None)]
        assert str(parse("[b]\ny = 1\n# end\n[a]\nx = 1").edited(edits)) == "[b]\ny = 1\nx = 1\n# end\n[a]\n"

    @pytest.mark.parametrize("value", ["a\n\nb", "a\n b", "a\r", "a\n"])
    def test_a_value_that_no_line_can_set_is_refused(self, value: str) -> None:
        with pytest.raises(InvalidConfiguration, match=r"glance-api.conf, \[a\] x: no line sets this value"):
            parse("[a]\n").edited([edit("a", "x", None, value)])


class TestDifference:
    def test_a_difference_shows_no_secret_wherever_it_is(self) -> None:
        text = (
            "[database]\nconnection = mysql://root:horse@host/glance\n# cinder_store_password = horse\n"
            "cinder_store_auth_address = http://me:horse@host\nhttp_proxy_information = https:horse@proxy\n"
            "cinder_store_password = horse\n  horse\nlog = 1\n"
        )
        told = difference(parse(text), parse(text).edited([edit("database", "log", "1", None)]))
        assert told == (
            "--- glance-api.conf\n+++ glance-api.conf\n@@ -5,4 +5,3 @@\n http_proxy_information = ***\n"
            " cinder_store_password = ***\n     ***\n-log = ***\n"
        )
        whole = difference(parse(""), parse(text))
        assert "horse" not in whole
        assert "+cinder_store_auth_address = http://***@host\n" in whole

    @pytest.mark.parametrize(
        "line, shown",
        [
            ("# the old password is: correct horse", "# ***"),
            ("#correct horse", "#***"),
            ("; cinder_store_user_name = horse", "; ***"),
            ("#", "#"),
            ("what_is_this: horse", "what_is_this: ***"),
            ("mypw=horse", "mypw=***"),
            (
                "cinder_store_auth_address = http://me:cor/rect@ho@rse@host/v3",
                "cinder_store_auth_address = http://***@host/v3",
            ),
            ("cinder_store_auth_address = http://me:correct horse@host", "cinder_store_auth_address = http://***@host"),
            ("cinder_store_auth_address = me:correct horse@host", "cinder_store_auth_address = ***@host"),
            (
                "cinder_endpoint_template =\n  http://me:horse\n  @host",
                "cinder_endpoint_template =***\n    ***\n    ***",
            ),
            ("stores = file,\n  cinder", "stores = file,\n  cinder"),
            ("enabled_backends = fast:cinder", "enabled_backends = fast:cinder"),
            ("cinder_store_user_name = glance", "cinder_store_user_name = glance"),
        ],
    )
    def test_only_what_is_known_to_be_no_secret_is_shown(self, line: str, shown: str) -> None:
        told = difference(parse(""), parse(f"[a]\n{line}\n"))
        assert told.splitlines()[4:] == [f"+{each}" for each in shown.splitlines()]


# Laws, for whatever oslo.config takes.

NAMES = st.sampled_from(["x", "y", "cinder_volume_type", "X", "a-b", "password"])
SECTIONS = st.sampled_from(["DEFAULT", "default", "glance_store", "Glance_Store", "a b", "a]b"])
WORDS = st.text(st.sampled_from("ab =:#;[]'\"$%\\\t\u00a0\u2028é"), max_size=6)
GAPS = st.sampled_from(["", " ", "  ", "\t"])
END = st.sampled_from(["\n", "\n", "\r\n"])  # a lone \r and a \n that come together are one end
BLANK = st.tuples(GAPS, END).map("".join)
COMMENT = st.tuples(st.sampled_from("#;"), WORDS, END).map("".join)
CONTINUATION = st.tuples(st.sampled_from([" ", "\t"]), WORDS.filter(str.strip), END).map("".join)
SETTING = st.tuples(
    st.tuples(NAMES, GAPS, st.sampled_from("=:"), GAPS, WORDS, END).map("".join),
    st.lists(st.tuples(st.sampled_from([" ", "\t"]), WORDS.filter(str.strip), END).map("".join), max_size=2).map(
        "".join
    ),
).map("".join)
HEADER = st.tuples(st.just("["), SECTIONS, st.just("]"), GAPS, END).map("".join)
SECTION = st.tuples(HEADER, st.lists(SETTING | SETTING | COMMENT | BLANK, max_size=6).map("".join)).map("".join)
FILES = st.tuples(
    st.lists(BLANK | COMMENT, max_size=2).map("".join),
    st.lists(
        st.tuples(HEADER, st.lists(SETTING | SETTING | COMMENT | BLANK, max_size=6).map("".join)).map("".join),
        max_size=4,
    ).map("".join),
    st.sampled_from(["", "# no end"]),
).map("".join)


@dataclass(frozen=True)
class Case:
    """A file, and what is to be done to it."""

    text: ConfigurationText
    edits: tuple[ConfigurationEdit, ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    text = parse(draw(FILES))
    present = [(section, option) for section, options in text.values().items() for option in options]
    values = text.values()
    edits = []
    for section, option in present:
        before = values[section][option]
        match draw(st.sampled_from(["keep", "remove", "move", "move", "set"])):
            case "remove":
                edits.append(edit(section, option, before, None))
            case "set":
                edits.append(edit(section, option, before, draw(WORDS)))
            case "move" if (option, None) not in {(other.option, other.after) for other in edits}:
                edits.append(edit("new", option, None, before))
                edits.append(edit(section, option, before, None))
    sections = draw(st.lists(st.sampled_from(["DEFAULT", "glance_store", "other"]), unique=True))
    edits += (edit(section, "enabled_backends", None, draw(WORDS)) for section in sections)
    return Case(text=text, edits=tuple(draw(st.permutations(edits))))


class TestLaws:
    @given(FILES)
    def test_a_configuration_is_read_as_oslo_config_reads_it(self, file: str) -> None:
        by_oslo = read_by_oslo(file)
        values = {section: {name: all_[-1] for name, all_ in options.items()} for section, options in by_oslo.items()}
        assert parse(file).values() == values
        assert str(parse(file)) == file

    def test_oslo_config_reads_what_the_edits_say_and_no_other_line_differs(self) -> None:
        kinds = Counter[str]()

        @given(cases())
        def holds(case: Case) -> None:
            after = case.text.edited(case.edits)
            wanted = read_by_oslo(str(case.text))
            owned = set[int]()
            removed = [one for one in case.edits if one.after is None]
            values = {(one.option, one.before): wanted[one.section][one.option] for one in reversed(removed)}
            for one in case.edits:
                kinds["removed" if one.after is None else "moved" if one.section == "new" else "set"] += 1
                options = wanted.setdefault(one.section, {})
                for found in case.text.of(one.section, one.option):
                    owned.update(found.lines)
                if one.after is None:
                    del options[one.option]
                elif one.section == "new":
                    options[one.option] = values[one.option, one.after]
                else:
                    options[one.option] = [*options.get(one.option, [])[:-1], one.after]
            assert read_by_oslo(str(after)) == wanted
            kept = [line.rstrip("\r\n") for number, line in enumerate(case.text.lines) if number not in owned]
            lines = iter(line.rstrip("\r\n") for line in after.lines)
            assert all(line in lines for line in kept)  # in this order

        holds()
        assert min(kinds[kind] for kind in ("removed", "moved", "set")) > settings().max_examples // 20
