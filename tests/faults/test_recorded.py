"""What the runs record is what the page shows, and a later run replaces only what it tried again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.recorded import DIRECTORY, Figure, Row, Tally, options, record, recorded


def row(fault: str, **facts: object) -> Row:
    return Row(**{"fault": fault, "what": "put", "tried": 1, "outcomes": {"whole": 1}, "seed": 7} | facts)  # type: ignore[arg-type]


def test_a_later_run_replaces_the_rows_of_what_it_tried_again_and_no_other(tmp_path: Path) -> None:
    record("killing", [row("killed"), row("failed")], directory=tmp_path)
    record("killing", [row("killed", seed=8), row("killed", what="get")], directory=tmp_path)
    assert recorded("killing", directory=tmp_path) == [
        row("failed"),
        row("killed", what="get"),
        row("killed", seed=8),
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["killing.json"]


def test_a_record_says_of_which_release_and_day_it_is(tmp_path: Path) -> None:
    record("killing", [row("killed")], directory=tmp_path)
    assert json.loads((tmp_path / "killing.json").read_text()).keys() == {"release", "date", "rows"}


def test_a_record_with_figures_is_of_one_run(tmp_path: Path) -> None:
    record("load", [row("an earlier one")], directory=tmp_path)
    record("load", [row("a later one")], directory=tmp_path, figures=[Figure("threads", 4, 5)])
    assert recorded("load", directory=tmp_path) == [row("a later one")]
    shown = json.loads((tmp_path / "load.json").read_text())["figures"]
    assert shown == [{"what": "threads", "before": 4, "after": 5}]


def test_a_run_that_records_nothing_writes_nothing(tmp_path: Path) -> None:
    record("killing", [row("killed")], directory=options("").parse_args(["--no-record"]).directory)
    assert options("").parse_args([]).directory == DIRECTORY
    assert recorded("killing", directory=tmp_path) == []


def test_a_tally_counts_each_outcome_and_what_was_left() -> None:
    tally = Tally(seed=7)
    for outcome, left in [("whole", 0), ("absent", 0), ("whole", 2)]:
        tally.add("killed", "put", outcome, left_behind=left)
    tally.add("killed", "get", "error")
    assert tally.rows() == [
        row("killed", tried=3, outcomes={"whole": 2, "absent": 1}, left_behind=2),
        row("killed", what="get", outcomes={"error": 1}),
    ]


def test_each_try_of_a_row_has_an_outcome() -> None:
    with pytest.raises(ValueError, match="2 tries"):
        row("killed", tried=2)


@pytest.mark.parametrize("file", sorted(DIRECTORY.glob("*.json")), ids=lambda file: file.stem)
def test_what_is_committed_can_be_read(file: Path) -> None:
    assert json.loads(file.read_text()).keys() - {"figures"} == {"release", "date", "rows"}
    assert recorded(file.stem)
