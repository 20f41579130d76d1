"""`imagevol locations` in this process, on services in memory: what is asked, what is told, which status it gives."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.locations import _STALE
from imagevol_adapters.relocating import plan_images
from imagevol_core import ImageLocation, StoreCatalogue
from tests.adapters.commands import Ran, metrics_in, ran
from tests.adapters.history import MemoryHistory
from tests.adapters.test_relocating import STORES, THEIRS, V, W, X, at, cloud, locations, nothing_held

GLANCE_API_CONF = """
[DEFAULT]
enabled_backends = fast:imagevol,fast2:imagevol
[fast]
cinder_volume_type = ssd
[fast2]
cinder_volume_type = nvme
"""

Run = Callable[..., Ran]


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def glance(monkeypatch: pytest.MonkeyPatch) -> MemoryHistory:
    """The application's services, in memory."""
    glance = cloud()
    monkeypatch.setattr(Imagevol, "cloud_id", lambda _: "a-cloud")
    monkeypatch.setattr(MemoryHistory, "default_volume_type", lambda _: "ssd", raising=False)
    monkeypatch.setattr(Imagevol, "images", glance)
    monkeypatch.setattr(Imagevol, "volumes", glance)
    return glance


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "glance-api.conf"
    path.write_text(GLANCE_API_CONF)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], conf: Path) -> Run:
    def run(what: str, *arguments: object, configuration: Path = conf) -> Ran:
        return ran(capsys, "locations", what, "--config-file", configuration, *arguments)

    return run


def states(ran: Ran) -> list[tuple[str, str]]:
    return [(row["image_id"], row["state"]) for row in ran.json]


class TestPlan:
    def test_a_plan_says_what_will_be_done_and_how_and_changes_nothing(self, run: Run, glance: MemoryHistory) -> None:
        before = locations(glance)
        glance.images["a"] = replace(glance.images["a"], name="debian\x1b[2J")
        planned = run("plan", "-f", "json")
        assert planned.status == 3
        assert planned.json[0] == {
            "image_id": "a",
            "image_name": "debian\\x1b[2J",
            "position": 0,
            "outcome": "change",
            "way": "show",
            "before": {"url": f"cinder://{V}", "store": None},
            "after": {"url": f"cinder://fast/{V}", "store": "fast"},
            "reason": "Glance comes to them by itself when the image is shown",
        }
        assert planned.err.splitlines() == [
            "3 images with 3 locations: 2 change, 1 repair",
            _STALE,
        ]
        assert locations(glance) == before

    def test_a_person_reads_urls(self, run: Run, glance: MemoryHistory) -> None:
        assert f"cinder://slow/{W} in store fast" in run("plan", "-f", "table").out

    def test_without_a_fault_the_plan_is_empty(self, run: Run, glance: MemoryHistory) -> None:
        glance.images = {"a": replace(glance.images["a"], locations=(at(f"cinder://fast/{V}", "fast"),))}
        planned = run("plan", "-f", "json")
        assert (planned.status, planned.json, planned.err) == (0, [], "1 image with 1 location: 1 keep\n")
        assert [row["outcome"] for row in run("plan", "--all", "-f", "json").json] == ["keep"]

    def test_an_import_that_is_not_finished_is_told_as_that(self, run: Run, glance: MemoryHistory) -> None:
        placeholder = ImageLocation(
            "pending://parallel-import/a/slow", {"store": "slow", "os_glance_parallel_import": "pending"}
        )
        importing = {"os_glance_importing_to_stores": "slow,local"}
        found = replace(glance.images["a"], locations=(*glance.images["a"].locations, placeholder))
        glance.images = {"a": found, "b": replace(found, id="b", locations=(), properties=importing)}
        planned = run("plan", "-f", "json")
        assert planned.status == 3
        assert [(row["outcome"], row["before"]["url"], row["way"]) for row in planned.json] == [
            ("change", f"cinder://{V}", "refused"),
            ("import-unfinished", placeholder.url, None),
        ]
        assert "image b: its import to slow, local is not finished" in planned.err

    def test_the_policy_upstream_shows_what_glance_does_by_itself(self, run: Run, glance: MemoryHistory) -> None:
        planned = run("plan", "--policy", "upstream", "-f", "json")
        assert [(row["image_id"], row["way"], row["outcome"]) for row in planned.json] == [("a", None, "change")]

    def test_a_store_without_a_type_has_that_of_cinders_default(
        self, run: Run, glance: MemoryHistory, conf: Path
    ) -> None:
        conf.write_text(GLANCE_API_CONF.replace("cinder_volume_type = ssd", ""))
        glance.images = {"a": glance.images["a"]}
        assert [row["after"]["store"] for row in run("plan", "-f", "json").json] == ["fast"]

    @pytest.mark.parametrize("rename", ["a", "a=", "=b"])
    def test_a_rename_without_two_names_is_refused_in_a_line(
        self, run: Run, glance: MemoryHistory, rename: str
    ) -> None:
        planned = run("plan", "--rename", rename)
        assert (planned.status, planned.err) == (
            1,
            f"--rename {rename}: it is OLD=NEW, and each store has one new name\n",
        )

    @pytest.mark.parametrize("command", ["plan", "apply"])
    def test_a_rename_to_a_store_that_there_is_not_is_refused_with_those_that_there_are(
        self, run: Run, glance: MemoryHistory, command: str, tmp_path: Path
    ) -> None:
        options = ("--journal", tmp_path / "journal", "--yes") if command == "apply" else ()
        before = locations(glance)
        refused = run(command, *options, "--rename", "quick=nosuch")
        assert (refused.status, refused.out) == (1, "")
        assert refused.err == (
            "--rename quick=nosuch: Glance is configured with no store nosuch; its stores are fast, fast2\n"
        )
        assert locations(glance) == before

    def test_a_credential_in_a_location_is_not_shown(self, run: Run, glance: MemoryHistory) -> None:
        secret = ImageLocation("s3://key:hunter2@host/bucket", {"store": "s3"})
        glance.images["a"] = replace(glance.images["a"], locations=(*glance.images["a"].locations, secret))
        for output in ("json", "table"):
            planned = run("plan", "--all", "-f", output)
            assert "hunter2" not in planned.out + planned.err


class TestMetrics:
    def test_a_plan_and_a_change_are_counted_by_outcome(self, run: Run, glance: MemoryHistory, tmp_path: Path) -> None:
        file, journal = tmp_path / "locations.prom", tmp_path / "journal"
        options = ("--journal", journal, "--yes", "--metrics", file)
        assert run("plan", "--metrics", file).status == 3
        planned = {name: count for name, count in metrics_in(file, "locations_planned").items() if count}
        assert planned == {"change": 2, "repair": 1}
        none = dict.fromkeys(("done", "failed", "gone", "undone"), 0)
        succeeded = "command_last_success_timestamp_seconds"
        for command, found in ((("apply",), {"done": 3}), (("apply", "--resume"), {})):
            assert run(*command, *options).status == 0
            assert metrics_in(file, "locations_images") == none | found
            assert metrics_in(file, succeeded)["locations apply"] > 1e9
        undone = run("undo", *options, "-f", "json")  # not all, because Glance has several stores by now
        counted = Counter(state for _, state in states(undone))
        assert (undone.status, counted["failed"] > 0) == (3, True)
        assert metrics_in(file, "locations_images") == none | counted
        assert metrics_in(file, succeeded) == {"locations undo": 0}

    def test_a_question_that_was_not_answered_changes_no_metrics(
        self, run: Run, glance: MemoryHistory, tmp_path: Path
    ) -> None:
        file = tmp_path / "locations.prom"
        assert run("apply", "--journal", tmp_path / "journal", "--dry-run", "--metrics", file).status == 3
        assert not file.exists()


class TestApplyAndUndo:
    def test_an_image_that_was_listed_twice_is_changed_once(
        self, run: Run, glance: MemoryHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        twice = [*glance.listed()] * 2
        monkeypatch.setattr(MemoryHistory, "listed", lambda _: iter(twice))
        monkeypatch.setattr("imagevol_adapters.cli.locations.plan_images", partial(plan_images, page_size=1))
        planned = run("apply", "--journal", tmp_path / "journal", "--dry-run", "-f", "json")
        assert (planned.status, states(planned)) == (3, [(each, "planned") for each in "abc"])

    def test_a_plan_is_shown_confirmed_applied_and_undone(
        self, run: Run, glance: MemoryHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, journal = locations(glance), tmp_path / "journal"
        monkeypatch.setattr("sys.stdin", Terminal("n\n"))
        declined = run("apply", "--journal", journal, "-f", "json")
        assert (declined.status, states(declined)) == (3, [(each, "planned") for each in "abc"])
        what = f"cinder://slow/{W} in store fast becomes cinder://fast/{W} in store fast (move)"
        assert f"image b (not known): {what}\n" in declined.err
        assert declined.json[1]["reason"] == what
        assert declined.err.endswith("Change 3 images? [y/N] ")
        assert not journal.exists()
        assert locations(glance) == before

        monkeypatch.setattr("sys.stdin", Terminal("y\n"))
        applied = run("apply", "--journal", journal, "-f", "json")
        assert (applied.status, states(applied)) == (0, [(each, "done") for each in "abc"])
        resumed = run("apply", "--journal", journal, "--resume", "-f", "json")
        assert (resumed.status, resumed.err) == (0, "There is nothing left to change.\n")

        for arguments, status in ((("--dry-run",), 3), ((), 1)):
            monkeypatch.setattr("sys.stdin", io.StringIO())
            assert run("undo", "--journal", journal, *arguments).status == status
        glance.catalogue = StoreCatalogue(stores=STORES.stores, multi=False)
        single = tmp_path / "single.conf"
        single.write_text("[glance_store]\nstores = imagevol\ndefault_store = cinder\n")
        undone = run("undo", "--journal", journal, "--yes", "-f", "json", configuration=single)
        assert (undone.status, states(undone)) == (0, [(each, "undone") for each in "cba"])
        assert locations(glance) == before
        nothing = run("undo", "--journal", journal, "--yes", "-f", "json", configuration=single)
        assert (nothing.status, nothing.err) == (0, "There is nothing to undo.\n")
        assert nothing_held(glance)

    def test_a_change_that_is_in_the_output_is_not_logged_again(
        self, run: Run, glance: MemoryHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        glance.images = {key: replace(image, name=f"name of {key}") for key, image in glance.images.items()}
        journal = tmp_path / "journal"
        change = f"cinder://slow/{W} in store fast becomes cinder://fast/{W} in store fast"

        def asked(*arguments: object) -> Ran:
            monkeypatch.setattr("sys.stdin", Terminal("n\n"))
            return run(*arguments, "--journal", journal, "-f", "json")

        def told(ran: Ran) -> tuple[bool, list[str | None], list[str]]:
            reasons = [row["reason"] for row in ran.json if row["image_id"] == "b"]
            assert all(row["image_name"] == f"name of {row['image_id']}" for row in ran.json)
            return "image b" in ran.err, reasons, [row["state"] for row in ran.json]

        assert told(asked("apply", "--dry-run")) == (False, [f"{change} (move)"], ["planned"] * 3)
        assert told(asked("apply")) == (True, [f"{change} (move)"], ["planned"] * 3)
        assert told(asked("apply", "--yes")) == (False, [None], ["done"] * 3)
        back = f"cinder://fast/{W} in store fast becomes cinder://slow/{W} in store fast again"
        assert told(asked("undo", "--dry-run")) == (False, [back], ["done"] * 3)
        declined = asked("undo")
        assert told(declined) == (True, [back], ["done"] * 3)
        assert f"image b (name of b): {back}\n" in declined.err

    def test_a_refused_change_is_reported_and_the_others_are_made(
        self, run: Run, glance: MemoryHistory, tmp_path: Path, conf: Path
    ) -> None:
        conf.write_text(GLANCE_API_CONF.replace("imagevol", "cinder"))
        glance.catalogue = THEIRS
        applied = run("apply", "--journal", tmp_path / "journal", "--yes", "-f", "json")
        assert (applied.status, states(applied)) == (3, [("a", "done")])
        assert applied.err.count("cannot be told not to") == 2
        again = run("apply", "--journal", tmp_path / "another", "--yes", "-f", "json")
        assert (again.status, again.json) == (3, [])
        assert again.err.endswith("There is nothing that can be changed.\n")
        assert not (tmp_path / "another").exists()
        assert set(glance.volumes) == {V, W, X}

    def test_deletion_that_is_delayed_is_seen_in_the_configuration(
        self, run: Run, glance: MemoryHistory, conf: Path
    ) -> None:
        conf.write_text(GLANCE_API_CONF.replace("[DEFAULT]", "[DEFAULT]\ndelayed_delete = true"))
        assert [row["way"] for row in run("plan", "-f", "json").json] == ["show", "refused", "refused"]

    def test_a_failed_change_is_tried_again_by_resume(
        self, run: Run, glance: MemoryHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        glance.held_back = frozenset({W})
        journal = tmp_path / "journal"
        applied = run("apply", "--journal", journal, "--yes", "-f", "json")
        assert (applied.status, states(applied)) == (3, [("a", "done"), ("b", "failed"), ("c", "done")])
        glance.held_back = frozenset()
        dry = run("apply", "--journal", journal, "--resume", "--dry-run", "-f", "json")
        assert (dry.status, states(dry)) == (3, [("b", "failed")])
        resumed = run("apply", "--journal", journal, "--resume", "--yes", "-f", "json")
        assert (resumed.status, json.loads(resumed.out)) == (
            0,
            [{"image_id": "b", "image_name": None, "state": "done", "reason": None}],
        )


def test_a_progress_bar_is_shown_only_on_a_terminal(
    run: Run, glance: MemoryHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("imagevol_adapters.cli.progress.quiet", lambda: False)
    assert "apply: 100%" in run("apply", "--journal", tmp_path / "journal", "--yes").err


def test_an_interrupted_apply_says_how_to_go_on(
    run: Run, glance: MemoryHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("imagevol_adapters.relocating.Migration.apply", interrupted)
    ran = run("apply", "--journal", tmp_path / "journal", "--yes")
    assert ran.status == 130
    assert ran.err.splitlines()[-2:] == [
        "Stopped early. Continue with `apply --resume`, or revert with `undo`.",
        "interrupted",
    ]
