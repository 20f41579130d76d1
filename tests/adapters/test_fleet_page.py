"""`imagevol fleet status --html`: the jobs and the workers of a board as a page, on a board in memory."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import attrs
import pytest

from imagevol_adapters.cli.board_option import BOARD_PASSWORD
from imagevol_adapters.cli.fleet_page import board_contents
from imagevol_adapters.fleet import LeasedWorkers
from imagevol_adapters.gathering import deep_kind
from imagevol_adapters.reporting import BEGINS, html_page
from imagevol_adapters.testing.memory import MemoryBoard, MemoryLocks
from imagevol_core.sharding import Shard, Worker
from tests.adapters.commands import Run
from tests.adapters.serving import URL, Board
from tests.pages.report_pages import COMMENT, IMG, SCRIPT, Page

pytest.importorskip("jinja2")
pytestmark = pytest.mark.usefixtures("no_cloud")

KIND = deep_kind("Glance 1f3a at north, Cinder 77b0 at north, project 9c2e5a7b8d1f4a6c9e0b3d5f7a9c1e3b")
SHORT = r"audit --deep at north, project 9c2e5a7b \([0-9a-f]{4}\)"
PASSWORD = "pa55word-of-the-board"


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board.of_commands(monkeypatch)


@pytest.fixture
def in_work(board: Board) -> Iterator[Board]:
    """A board with a job that has a feeder, one that has none, and two workers."""
    for number, job in ((1, "audit-1"), (2, "audit-1"), (3, "audit-1"), (4, "audit-2")):
        board.shards.submit(Shard(job=job, id=f"volume-{number}", kind=KIND))
    claims = [board.shards.claim(Worker(name=name, kinds=frozenset({KIND}))) for name in ("a", "b", "one", "d")]
    done, failed, _, waits = claims
    assert done
    assert failed
    assert waits
    done.done({})
    failed.failed("sector\n7 cannot be read")
    waits.in_use("attachment a1 of host node-9")
    now = iter((1000.0, 1900.0))
    jobs = board.jobs = attrs.evolve(board.jobs, clock=lambda: next(now))
    workers = board.workers = LeasedWorkers(MemoryBoard(), MemoryLocks(), clock=lambda: 60.0)
    one = Worker(name="one", kinds=frozenset({KIND}))
    two = Worker(name="two", kinds=frozenset({KIND}), backends=frozenset({"node-2@fast"}))
    with ExitStack() as until:
        feeding = until.enter_context(jobs.feeding("audit-1", kind=KIND, total=400))
        feeding.count(kept=10)
        feeding.count(done=80)
        feeding.tell()
        until.enter_context(workers.present(one, host="node-1", jobs=4))
        until.enter_context(workers.present(two, host="node-2", jobs=1))
        yield board


def rows(page: bytes) -> list[dict[str, str]]:
    """Give the rows of the page's tables: what a cell has, by the heading of its column."""
    found = []
    for row in re.findall(r"<tr>(<td .*?)</tr>", page.decode(), re.DOTALL):
        cells = re.findall(r'<td data-label="([^"]*)"[^>]*>(.*?)</td>', row, re.DOTALL)
        found.append({label: Page(content.encode()).text.strip() for label, content in cells})
    return found


class TestPage:
    def test_it_has_the_jobs_what_failed_and_the_workers(self, in_work: Board, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "status.html"
        ran = run("fleet", "status", "--board", URL, "--html", file, "-f", "json")
        assert (ran.status, ran.err) == (0, "")
        assert [each["job"] for each in ran.json] == ["audit-1", "audit-2"]
        first, second, failed, waits, one, two = rows(file.read_bytes())
        end = first.pop("Estimated end")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC, in 58 minutes", end)
        assert re.fullmatch(SHORT, first.pop("Work"))
        assert first == {
            "Job": "audit-1",
            "State": "running",
            "Done": "91 of 400",
            "Being done": "1",
            "Failed": "1",
            "Done an hour": "320.0",
        }
        unknown = (second["State"], second["Done"], second["Done an hour"], second["Estimated end"])
        assert unknown == ("not-fed", "0 of not known", "not known", "not known")
        assert failed == {
            "Job": "audit-1",
            "Shard": "volume-2",
            "State": "failed",
            "Reason": "sector\\n7 cannot be read",
        }
        assert (waits["Job"], waits["State"], waits["Reason"]) == ("audit-2", "waits", "attachment a1 of host node-9")
        assert re.fullmatch(SHORT, one.pop("Takes"))
        assert one == {
            "Worker": "one",
            "Host": "node-1",
            "Backends": "all",
            "Being done": "1 of 4",
            "Last seen": "1970-01-01 00:01 UTC",
        }
        assert (two["Backends"], two["Being done"]) == ("node-2@fast", "0 of 1")
        text = Page(file.read_bytes()).text
        assert all(each in text for each in ("2 jobs", "2 workers", "1 failed shard", f"Jobs on {URL}", "Made at"))

    def test_a_job_that_is_named_is_the_only_one(self, in_work: Board, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "status.html"
        assert run("fleet", "status", "audit-2", "--board", URL, "--html", file).status == 0
        assert [each["Job"] for each in rows(file.read_bytes()) if "Job" in each] == ["audit-2", "audit-2"]

    def test_an_empty_board_has_a_page_that_says_so(self, board: Board, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "status.html"
        assert run("fleet", "status", "--board", URL, "--html", file).status == 0
        text = Page(file.read_bytes()).text
        assert "There is no job on the board." in text
        assert "No worker lives." in text

    def test_it_asks_for_nothing_over_the_network_and_is_not_loaded_again(
        self, in_work: Board, run: Run, tmp_path: Path
    ) -> None:
        file = tmp_path / "status.html"
        run("fleet", "status", "--board", URL, "--html", file)
        page = Page(file.read_bytes())
        assert page.policy.startswith("default-src 'none'; ")
        asking = {"src", "href", "srcset", "data", "action", "poster", "background"}
        assert [tag for tag, attributes in page.elements if asking & attributes.keys()] == []
        assert [attributes for _, attributes in page.elements if attributes.get("http-equiv") == "refresh"] == []

    def test_the_password_of_the_board_is_not_in_it(
        self, in_work: Board, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "status.html"
        monkeypatch.setenv(BOARD_PASSWORD, PASSWORD)
        asked = f"redis://{PASSWORD}@board.example.com:6379"  # where a person takes a password for a user
        assert run("fleet", "status", "--board", asked, "--html", file).status == 0
        assert PASSWORD in in_work.urls[0]
        page = file.read_text()
        assert PASSWORD not in page
        assert "board.example.com:6379" in page

    def test_without_the_option_the_workers_are_not_asked_for(
        self, board: Board, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(LeasedWorkers, "workers", None)
        assert run("fleet", "status", "--board", URL).status == 0


HOSTILE = f"{SCRIPT}{IMG}{COMMENT}</script></td></table>{{{{7*7}}}}"


class TestHostile:
    def test_what_a_program_wrote_on_the_board_is_a_text(self, board: Board, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "status.html"
        for number in range(2):
            board.shards.submit(Shard(job=HOSTILE, id=f"{HOSTILE}{number}", kind=HOSTILE))
            claim = board.shards.claim(Worker(name=HOSTILE, kinds=frozenset({HOSTILE})))
            assert claim
            if not number:
                claim.failed(f"{HOSTILE}\n\u202e\x1b[2J")
        worker = Worker(name=HOSTILE, kinds=frozenset({HOSTILE}), backends=frozenset({HOSTILE}))
        with board.workers.present(worker, host=HOSTILE, jobs=1):
            assert run("fleet", "status", "--board", URL, "--html", file).status == 0
        page = Page(file.read_bytes())
        tags = [tag for tag, _ in page.elements]
        assert (tags.count("script"), tags.count("img"), tags.count("table")) == (2, 0, 3)
        job, shard, listed = rows(file.read_bytes())
        cells = (job["Job"], job["Work"], shard["Job"], shard["Shard"], listed["Worker"], listed["Host"])
        assert set(cells) == {HOSTILE, f"{HOSTILE}0"}
        assert "\\u202e\\x1b[2J" in shard["Reason"]

    def test_long_texts_and_many_rows_are_cut_and_the_page_says_so(self) -> None:
        def job(number: int) -> Mapping[str, object]:
            return {
                "job": f"{number} {'x' * 1000}",
                "kind": "x" * 1000,
                "state": "running",
                "done": 1,
                "total": 1 << 53,
                "failed": 2,
                "held": [],
                "rate": 0.1,
                "seconds_left": 1 << 80,
                "set_aside": [{"shard": "x" * 1000, "reason": "y" * 5000}, {"shard": "a\nb", "reason": None}],
                "in_use": [],
            }

        worker = {
            "worker": "x" * 1000,
            "host": "x" * 1000,
            "jobs": 1,
            "backends": ["x" * 1000] * 50,
            "kinds": ["x" * 1000] * 50,
            "last_seen": None,
            "held": [],
        }
        found = board_contents(["fleet"], board=URL, jobs=[*map(job, range(250))], workers=[worker] * 250)
        assert found.jobs is not None
        assert (len(found.jobs), len(found.shards), len(found.workers)) == (200, 200, 200)
        assert found.notes == [
            "Only 200 of 250 jobs are shown. `imagevol fleet status -f json` has all.",
            "Only 200 of 500 shards that failed or wait are shown. `imagevol fleet status -f json` has all.",
            "Only 200 of 250 workers are shown. `imagevol fleet workers -f json` has all.",
        ]
        assert found.counts == {"jobs": 250, "workers": 250, "failed shards": 500}
        assert found.jobs[0].ends_at is None
        page = html_page(found)
        assert "x" * 1000 not in page.decode().replace("x" * 999 + "…", "")
        assert "y" * 1000 not in page.decode()
        assert {each["Shard"] for each in rows(page) if "Shard" in each} == {f"{'x' * 199}…", "a\\nb"}
        assert "not known" in {each["Last seen"] for each in rows(page) if "Last seen" in each}


class TestWriting:
    def test_an_earlier_page_is_replaced_in_one_step(self, in_work: Board, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "status.html"
        file.write_bytes(BEGINS + b"of an earlier run")
        before = file.stat().st_ino
        assert run("fleet", "status", "--board", URL, "--html", file).status == 0
        assert b"of an earlier run" not in file.read_bytes()
        assert file.stat().st_ino != before
        assert [each.name for each in tmp_path.iterdir()] == ["status.html"]

    @pytest.mark.parametrize("name", ["none/status.html", "other.html", "directory"])
    def test_a_file_that_cannot_be_written_is_one_line_and_the_jobs_are_shown(
        self, in_work: Board, run: Run, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "other.html").write_text("<!doctype html>\nnot ours")
        (tmp_path / "directory").mkdir()
        ran = run("fleet", "status", "--board", URL, "--html", tmp_path / name)
        assert (ran.status, len(ran.err.splitlines())) == (1, 1)
        assert f"{tmp_path / name} cannot be written: " in ran.err
        assert "audit-1" in ran.out
        assert (tmp_path / "other.html").read_text() == "<!doctype html>\nnot ours"
        assert sorted(each.name for each in tmp_path.iterdir()) == ["directory", "other.html"]

    def test_a_write_that_fails_leaves_the_earlier_page_and_the_jobs_are_shown(
        self, in_work: Board, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, os.strerror(28))

        file = tmp_path / "status.html"
        file.write_bytes(earlier := BEGINS + b"of an earlier run")
        monkeypatch.setattr(os, "fsync", full)
        ran = run("fleet", "status", "--board", URL, "--html", file)
        assert (ran.status, "No space left" in ran.err, "audit-1" in ran.out) == (1, True, True)
        assert file.read_bytes() == earlier
        assert [each.name for each in tmp_path.iterdir()] == ["status.html"]

    def test_an_output_that_is_lost_does_not_lose_the_page(
        self, in_work: Board, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "status.html"
        with Path("/dev/full").open("w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            ran = run("fleet", "status", "--board", URL, "--html", file)
            with suppress(OSError):
                full.close()
        assert (ran.status, ran.err) == (1, "the standard output cannot be written: No space left on device\n")
        assert "audit-1" in Page(file.read_bytes()).text

    def test_without_jinja2_the_extra_is_named_before_the_board_is_asked(
        self, in_work: Board, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "jinja2", None)
        ran = run("fleet", "status", "--board", URL, "--html", tmp_path / "status.html")
        assert (ran.status, ran.out, len(ran.err.splitlines()), in_work.urls) == (1, "", 1, [])
        assert "imagevol[report]" in ran.err
        assert list(tmp_path.iterdir()) == []
