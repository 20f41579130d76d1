"""Migrations by a journal, killed wherever they may be: resumed to the same end, undone to the same beginning."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from errno import EIO, ENOSPC
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.ports import Attachment
from imagevol_adapters.relocating import Journal, Migration, Outcome, State, plan_images
from imagevol_adapters.testing.memory import MemoryLocations
from imagevol_core import (
    HOLD,
    Image,
    ImageLocation,
    InUse,
    InvalidFact,
    MigrationTotals,
    NoAnswer,
    RequestRefused,
    ServiceFailed,
    ServiceUnreachable,
    Store,
    StoreCatalogue,
)
from tests.adapters.history import Killed, MemoryHistory

CLOUD = "a-glance"
V, W, X = (
    "1a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1",
    "2a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1",
    "3a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1",
)
STORES = StoreCatalogue(
    stores=(
        Store(name="fast", kind="imagevol", volume_type="ssd"),
        Store(name="fast2", kind="imagevol", volume_type="nvme"),
    )
)
ONE = StoreCatalogue(stores=(Store(name="imagevol", kind="imagevol"),), multi=False)
THEIRS = replace(STORES, stores=tuple(replace(store, kind="cinder") for store in STORES.stores))


def at(url: str, store: str | None = None) -> ImageLocation:
    return ImageLocation(url, {"store": store} if store else {})


def cloud(catalogue: StoreCatalogue = STORES) -> MemoryHistory:
    """One image that Glance migrates, one that is moved, and one half way between."""
    cloud = MemoryHistory(catalogue)
    cloud.image("a", at(f"cinder://{V}"), volume_type="ssd")
    cloud.image("b", at(f"cinder://slow/{W}", "fast"), volume_type="ssd")
    cloud.image("c", at(f"cinder://{X}", "fast"), volume_type="nvme")
    return cloud


WANTED = {
    "a": at(f"cinder://fast/{V}", "fast"),
    "b": at(f"cinder://fast/{W}", "fast"),
    "c": at(f"cinder://fast2/{X}", "fast2"),
}


def locations(cloud: MemoryHistory) -> dict[str, tuple[ImageLocation, ...]]:
    return {image.id: image.locations for image in cloud.listed()}


def migration(cloud: MemoryHistory, journal: Journal) -> Migration:
    return Migration(journal=journal, images=cloud, volumes=cloud, catalogue=cloud.catalogue, settle_seconds=0)


def create(cloud: MemoryHistory, path: Path) -> Journal:
    planned = plan_images(cloud.listed(), catalogue=cloud.catalogue, volume_types=cloud.types_of)
    changes = [each.changes for each in planned if each.possible]
    return Journal.create(path, cloud=CLOUD, catalogue=cloud.catalogue, renames={}, changes=changes)


def apply(cloud: MemoryHistory, path: Path) -> list[Outcome]:
    with create(cloud, path) as journal:
        return list(migration(cloud, journal).apply())


def resume(cloud: MemoryHistory, path: Path) -> list[Outcome]:
    with Journal.open(path, cloud=CLOUD) as journal:
        return list(migration(cloud, journal).apply())


def undo(cloud: MemoryHistory, path: Path) -> list[Outcome]:
    with Journal.open(path, cloud=CLOUD) as journal:
        return list(migration(cloud, journal).undo())


def nothing_held(cloud: MemoryHistory) -> bool:
    return not cloud.attachments and not any(HOLD in volume.metadata for volume in cloud.volumes.values())


@contextmanager
def torn(glance: MemoryHistory, after: int, kept: int) -> Iterator[None]:
    """Writing the journal ends with the process, in its line of that number after so many bytes."""
    whole, left = Journal._append, [after]

    def append(journal: Journal, data: bytes) -> None:
        left[0] -= 1
        if left[0] == -1 and not glance.dead:
            whole(journal, data[:kept])
            glance.dead = True
        if glance.dead:
            raise Killed
        whole(journal, data)

    with patch.object(Journal, "_append", append):
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


class TestKilled:
    """Wherever it is killed, nothing is lost, and it goes on or back from there."""

    @given(
        requests=st.none() | st.integers(0, 20),
        after=st.booleans(),
        line=st.integers(1, 16),
        kept=st.integers(0, 400),
        back=st.booleans(),
    )
    def test_a_killed_migration_can_be_resumed_to_its_end_or_undone_to_its_beginning(
        self, requests: int | None, after: bool, line: int, kept: int, back: bool
    ) -> None:
        glance = cloud()
        history = locations(glance)
        with TemporaryDirectory() as directory:
            path = Path(directory) / "journal"
            glance.requests_left, glance.killed_after = requests, after
            with torn(glance, line, kept), suppress(Killed):
                apply(glance, path)
            glance.revive()
            assert len(glance.volumes) == 3
            assert all(glance.images[each].locations for each in history)
            resumed = undo(glance_back(glance), path) if back else resume(glance, path)
            assert all(outcome.state is (State.UNDONE if back else State.DONE) for outcome in resumed)
            assert locations(glance) == (history if back else {key: (value,) for key, value in WANTED.items()})
            assert len(glance.volumes) == 3
            assert nothing_held(glance)
            with Journal.open(path, cloud=CLOUD) as journal:  # no torn line is left in it
                assert {entry.state for entry in journal.entries.values()} <= {State.PLANNED, State.UNDONE, State.DONE}

    def test_a_reservation_that_is_not_in_the_journal_is_found_and_given_back(self, path: Path) -> None:
        glance = cloud()
        glance.requests_left, glance.killed_after = 2, True
        with suppress(Killed):
            apply(glance, path)
        assert len(glance.attachments) == 1
        glance.revive()
        resume(glance, path)
        assert nothing_held(glance)

    def test_a_reservation_that_passes_was_anothers(self, path: Path) -> None:
        glance = cloud()
        glance.requests_left = 5
        with suppress(Killed):
            apply(glance, path)
        glance.revive()
        seen = [(Attachment(id="theirs", volume_id=W, connection={}),), ()]
        glance.attachments["theirs"] = Attachment(id="theirs", volume_id=V, connection={})
        with patch.object(MemoryHistory, "reservations", lambda *_: seen.pop(0)):
            resume(glance, path)
        assert list(glance.attachments) == ["theirs"]

    def test_what_may_still_be_removed_stays_held_until_it_is(self, path: Path) -> None:
        glance = cloud()
        glance.requests_left = 4  # the fifth removes the old location
        with suppress(Killed):
            apply(glance, path)
        glance.revive()
        assert len(glance.images["b"].locations) == 2
        glance.images["b"] = replace(glance.images["b"], status="deactivated")
        failed, _ = resume(glance, path)
        assert (failed.image_id, failed.state) == ("b", State.FAILED)
        assert "of the volumes of image b (a request may be under way" in str(failed.reason)
        assert HOLD in glance.volumes[W].metadata
        glance.images["b"] = replace(glance.images["b"], status="active")
        assert resume(glance, path) == [Outcome("b", State.DONE, None)]
        assert nothing_held(glance)

    @given(st.floats(0, 1, exclude_max=True))
    def test_a_journal_whose_plan_is_incomplete_has_changed_nothing(self, share: float) -> None:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "journal"
            create(cloud(), path).close()
            whole = path.read_bytes()
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(RequestRefused, match="ends before its plan does, so that it has changed nothing"):
                resume(cloud(), path)


def glance_back(glance: MemoryHistory) -> MemoryHistory:
    """The operator has given Glance its former configuration."""
    glance.catalogue = ONE
    return glance


class TestApply:
    def test_each_image_is_changed_in_its_way_and_the_last_is_changed_back_first(self, path: Path) -> None:
        glance = cloud()
        history = locations(glance)
        assert apply(glance, path) == [Outcome(each, State.DONE, None) for each in "abc"]
        assert locations(glance) == {key: (value,) for key, value in WANTED.items()}
        assert resume(glance, path) == []
        assert undo(glance_back(glance), path) == [Outcome(each, State.UNDONE, None) for each in "cba"]
        assert locations(glance) == history
        assert undo(glance, path) == []
        with pytest.raises(RequestRefused, match="has been undone"):
            resume(glance, path)
        assert nothing_held(glance)

    def test_what_is_in_use_or_held_by_another_is_told_and_tried_again(self, path: Path) -> None:
        glance = cloud()
        glance.held_back = frozenset({W})
        glance.set_metadata(X, {HOLD: "another"})
        assert [(outcome.image_id, outcome.state) for outcome in apply(glance, path)] == [
            ("a", State.DONE),
            ("b", State.FAILED),
            ("c", State.FAILED),
        ]
        assert not glance.attachments
        assert glance.volumes[X].metadata[HOLD] == "another"
        glance.held_back = frozenset()
        glance.unset_metadata(X, [HOLD])
        assert resume(glance, path) == [Outcome("b", State.DONE, None), Outcome("c", State.DONE, None)]

    def test_what_glance_refuses_to_remove_is_let_go(self, path: Path) -> None:
        glance = cloud()
        with patch.object(MemoryLocations, "_delete", side_effect=RequestRefused("not while it is shared")):
            outcomes = {outcome.image_id: outcome.state for outcome in apply(glance, path)}
        assert outcomes == {"a": State.DONE, "b": State.FAILED, "c": State.FAILED}
        assert nothing_held(glance)

    def test_an_image_that_is_gone_is_no_trouble(self, path: Path) -> None:
        glance = cloud()
        with create(glance, path) as journal:
            del glance.images["b"]
            assert Outcome("b", State.GONE, None) in list(migration(glance, journal).apply())

    def test_an_image_that_somebody_has_changed_is_left_as_it_is(self, path: Path) -> None:
        glance = cloud()
        with create(glance, path) as journal:
            glance.images["a"] = replace(glance.images["a"], locations=(at(f"cinder://elsewhere/{V}", "fast2"),))
            outcome = next(migration(glance, journal).apply())
        assert outcome.state is State.FAILED
        assert "is there as planned" in str(outcome.reason)

    def test_a_copy_that_has_come_meanwhile_stays(self, path: Path) -> None:
        glance = cloud()
        copy = at(f"cinder://fast2/{X}", "fast2")
        with create(glance, path) as journal:
            glance.images["a"] = replace(glance.images["a"], locations=(*glance.images["a"].locations, copy))
            next(migration(glance, journal).apply())
        assert glance.images["a"].locations == (WANTED["a"], copy)

    def test_without_an_answer_of_cinders_it_ends(self, path: Path) -> None:
        glance = cloud()
        with create(glance, path) as journal:
            silent = patch.object(MemoryHistory, "types_of", lambda _, ids: dict.fromkeys(ids, NoAnswer("down")))
            with silent, pytest.raises(ServiceUnreachable, match=r"image a is left as it is: .*'down'"):
                list(migration(glance, journal).apply())
        assert locations(glance) == locations(cloud())

    def test_what_glance_does_otherwise_than_predicted_ends_it(self, path: Path) -> None:
        glance = cloud()
        with create(glance, path) as journal:
            glance.catalogue = replace(STORES, stores=(Store(name="other", kind="imagevol", volume_type="ssd"),))
            with pytest.raises(ServiceFailed, match=f"made cinder://other/{V} in store other of its locations"):
                list(replace_catalogue(migration(glance, journal)).apply())
            assert journal.entries["a"].state is State.BEGUN

    def test_a_credential_in_a_location_is_not_told(self, path: Path) -> None:
        glance = cloud()
        glance.image("a", at(f"cinder://{V}"), at("swift://account:user:hunter2@host/c/o", "fast2"), volume_type="ssd")
        with create(glance, path) as journal:
            glance.catalogue = replace(STORES, stores=(Store(name="other", kind="imagevol", volume_type="ssd"),))
            with pytest.raises(ServiceFailed, match=r"swift://\*\*\*@host/c/o in store fast2") as caught:
                list(replace_catalogue(migration(glance, journal)).apply())
        assert "hunter2" not in str(caught.value)

    def test_a_driver_that_deletes_what_is_held_deletes_nothing_that_is_reserved(self, path: Path) -> None:
        glance = cloud()
        del glance.images["a"], glance.images["c"]
        with create(glance, path) as journal:
            glance.catalogue = THEIRS
            with pytest.raises(ServiceFailed) as caught:
                list(replace_catalogue(migration(glance, journal)).apply())
            left = f"hold {journal.id} of the volumes of image b (a request may be under way that would delete them"
        assert left in str(caught.value)
        assert W in glance.volumes
        assert not nothing_held(glance)
        assert len(glance.images["b"].locations) == 2
        glance.catalogue = STORES
        assert resume(glance, path) == [Outcome("b", State.DONE, None)]
        assert nothing_held(glance)


def replace_catalogue(migration: Migration) -> Migration:
    """Who applies believes that Glance has the stores that it should have."""
    migration.catalogue = STORES
    return migration


def planned(**changes: Any) -> bytes:
    """A line of a journal's plan, of which something is odd."""
    change = {
        "position": 0,
        "outcome": "change",
        "before": {"url": f"cinder://{V}", "metadata": {}},
        "after": {"url": f"cinder://fast/{V}", "metadata": {"store": "fast"}},
    }
    return json.dumps({"image": "a", "changes": [change | changes]}).encode()


class TestJournal:
    """A file that somebody keeps: it says what is wrong with it."""

    def test_a_journal_is_readable_for_its_owner_only_and_records_the_old_locations(self, path: Path) -> None:
        apply(cloud(), path)
        assert path.stat().st_mode & 0o777 == 0o600
        head, first, *_ = map(json.loads, path.read_text().splitlines())
        assert (head["cloud"], head["stores"]) == (CLOUD, [["fast", "ssd"], ["fast2", "nvme"]])
        assert first["changes"] == [
            {
                "position": 0,
                "outcome": "change",
                "before": {"url": f"cinder://{V}", "metadata": {}},
                "after": {"url": f"cinder://fast/{V}", "metadata": {"store": "fast"}},
            }
        ]

    def test_a_journal_is_never_written_over(self, path: Path) -> None:
        path.write_text("mine")
        with pytest.raises(RequestRefused, match="exists: give another name"):
            create(cloud(), path)
        assert path.read_text() == "mine"

    @pytest.mark.parametrize("where", ["missing/journal", "."])
    def test_a_journal_that_cannot_be_created_is_an_error(self, tmp_path: Path, where: str) -> None:
        with pytest.raises(RequestRefused, match="cannot be opened"):
            resume(cloud(), tmp_path / where)
        with pytest.raises(RequestRefused, match=r"cannot be written|exists"):
            create(cloud(), tmp_path / where)

    def test_two_processes_cannot_use_one_journal(self, path: Path) -> None:
        with create(cloud(), path), pytest.raises(InUse, match="in use by another process"):
            resume(cloud(), path)

    def test_the_name_of_another_cloud_is_shown_on_one_printable_line(self, path: Path) -> None:
        apply(cloud(), path)
        path.write_text(path.read_text().replace('"a-glance"', '"\\u001b[2J\\nforged"', 1))
        with pytest.raises(RequestRefused, match="another cloud") as refused:
            resume(cloud(), path)
        assert str(refused.value).isprintable()

    def test_a_journal_belongs_to_one_cloud_and_one_plan(self, path: Path) -> None:
        apply(cloud(), path)
        with pytest.raises(RequestRefused, match="it names a-glance, and the credentials lead to another:"):
            Journal.open(path, cloud="another")
        with Journal.open(path, cloud=CLOUD) as journal:
            journal.check_plan(catalogue=THEIRS, renames={})
            with pytest.raises(RequestRefused, match="of another plan: its stores were"):
                journal.check_plan(catalogue=ONE, renames={})
            with pytest.raises(RequestRefused, match="of another plan: its renames were"):
                journal.check_plan(catalogue=STORES, renames={"a": "b"})

    @pytest.mark.parametrize(
        "line, text",
        [
            (1, b'{"journal":2}'),
            (1, b"[]"),
            (2, b'{"image":"a"}'),
            (2, b'{"image":"a","changes":[{"outcome":"odd"}]}'),
            (6, b'{"image":"nobody","state":"done"}'),
            (6, b'{"image":"a","state":"odd"}'),
            (7, b"\xff"),
            (7, b""),
            (1, b"[" * 100_000),
            (1, b"9" * 5000),
            (1, b'{"journal":1,"id":7,"cloud":"a-glance","stores":[],"renames":{}}'),
            (1, b'{"journal":1,"id":"j","cloud":["a-glance"],"stores":[],"renames":{}}'),
            (1, b'{"journal":1,"id":"j","cloud":"a-glance","stores":7,"renames":{}}'),
            (1, b'{"journal":1,"id":"j","cloud":"a-glance","stores":[],"renames":{"a":null}}'),
            (2, b'{"image":"a","changes":' + b"[" * 100_000),
            (2, b'{"image":["a"],"changes":[]}'),
            (2, planned(before={"url": 7, "metadata": {}})),
            (2, planned(before={"url": None, "metadata": {}})),
            (2, planned(before={"url": "cinder://x", "metadata": []})),
            (2, planned(before={"url": "cinder://x", "metadata": {"store": ["fast"]}})),
            (2, planned(before="cinder://x")),
            (2, planned(position="0")),
            (2, planned(position=1.5)),
            (6, b'{"image":"a","state":["done"]}'),
            (6, b'{"image":["a"],"state":"done"}'),
            (6, b'{"image":"a","state":"failed","reason":["x"]}'),
            (6, b'{"image":"a","state":"begun","attachments":{"v":{}}}'),
            (6, b'{"image":"a","state":"begun","attachments":["v"]}'),
        ],
        ids=lambda value: repr(value)[:60],
    )
    def test_a_line_of_a_journal_that_cannot_be_read_is_named(self, path: Path, line: int, text: bytes) -> None:
        apply(cloud(), path)
        lines = path.read_bytes().splitlines()
        lines[line - 1] = text
        path.write_bytes(b"\n".join(lines) + b"\n")
        with pytest.raises(RequestRefused, match=f"journal {path}, line {line}: it is no line of a journal") as caught:
            Journal.open(path, cloud=CLOUD)
        assert len(str(caught.value)) < 1000
        assert str(caught.value).isprintable()

    def test_a_journal_that_is_no_file_is_refused_at_once(self, tmp_path: Path) -> None:
        fifo, device = tmp_path / "fifo", Path("/dev/zero")
        os.mkfifo(fifo)
        for path, kind in ((fifo, "a FIFO"), (device, "a character device")):
            with pytest.raises(RequestRefused, match=f"journal {path} cannot be opened: it is {kind}, not a file"):
                Journal.open(path, cloud=CLOUD)

    def test_a_file_of_one_endless_line_is_refused_and_left_as_it_is(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(1 << 40)  # of zeros, on no disk
        with pytest.raises(RequestRefused, match="line 1: it is no line of a journal"):
            Journal.open(path, cloud=CLOUD)
        assert path.stat().st_size == 1 << 40

    @pytest.mark.parametrize("name", ["jour\0nal", "jour\nnal", "j" * 300])
    def test_a_name_that_no_file_has_is_refused_in_one_line(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(RequestRefused) as caught:
            resume(cloud(), tmp_path / name)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("name", ["jour\0nal", "j" * 300])
    def test_a_name_that_no_file_can_have_is_refused_before_anything_is_changed(
        self, tmp_path: Path, name: str
    ) -> None:
        glance = cloud()
        with pytest.raises(RequestRefused, match="cannot be written") as caught:
            create(glance, tmp_path / name)
        assert str(caught.value).isprintable()
        assert locations(glance) == locations(cloud())

    def test_a_full_disk_ends_it_before_the_change(self, path: Path) -> None:
        glance = cloud()
        with create(glance, path) as journal:
            full = patch("imagevol_adapters.journals.os.fsync", side_effect=OSError(28, "No space left"))
            with full, pytest.raises(ServiceFailed, match="cannot be written: No space left"):
                list(migration(glance, journal).apply())
        assert locations(glance) == locations(cloud())

    @pytest.mark.parametrize("lasting", [True, False])
    @pytest.mark.parametrize("line", range(1, 11))
    def test_a_disk_that_is_full_in_the_middle_of_a_line_ends_it_and_leaves_no_torn_one(
        self, path: Path, line: int, lasting: bool
    ) -> None:
        glance, write, writes = cloud(), os.write, count(1)

        def written(descriptor: int, data: bytes) -> int:
            number = next(writes)
            if number == line + 1 or (lasting and number > line):
                raise OSError(ENOSPC, "No space left")
            return write(descriptor, data[:10] if number == line else data)

        with create(glance, path) as journal:
            full = patch("imagevol_adapters.journals.os.write", written)
            with full, pytest.raises(ServiceFailed, match="cannot be written: No space left"):
                list(migration(glance, journal).apply())
        assert path.read_bytes().endswith(b"}\n")
        assert all(outcome.state is State.DONE for outcome in resume(glance, path))
        assert locations(glance) == {key: (value,) for key, value in WANTED.items()}
        assert nothing_held(glance)

    def test_a_torn_line_that_cannot_be_taken_away_is_named(self, path: Path) -> None:
        with create(cloud(), path) as journal:
            full = patch("imagevol_adapters.journals.os.fsync", side_effect=OSError(ENOSPC, "No space left"))
            stuck = patch("imagevol_adapters.journals.os.ftruncate", side_effect=OSError(EIO, "Broken"))
            with full, stuck, pytest.raises(ServiceFailed, match=f"left behind: a torn line in journal {path} "):
                journal.record("a", State.BEGUN)


class TestPlanning:
    """Facts in pages; each image with the answers of its own page."""

    @pytest.mark.parametrize("page_size", [1, 2, 1000])
    def test_a_plan_does_not_depend_on_the_size_of_the_pages(self, page_size: int) -> None:
        glance, totals = cloud(), MigrationTotals()
        glance.images["empty"] = Image(id="empty")
        planned = list(
            plan_images(
                glance.listed(), catalogue=STORES, volume_types=glance.types_of, page_size=page_size, totals=totals
            )
        )
        ways = [(each.image.id, each.relocation.way.value) for each in planned if each.relocation]
        assert ways == [("a", "show"), ("b", "move"), ("c", "move")]
        assert (totals.images, totals.locations) == (3, 3)

    @pytest.mark.parametrize("page_size, planned", [(1, "abca"), (2, "abca"), (1000, "abc")])
    def test_an_image_that_is_hidden_meanwhile_is_no_trouble(self, page_size: int, planned: str) -> None:
        glance, totals = cloud(), MigrationTotals()
        first, *others = glance.listed()
        plan = plan_images(
            [first, *others, replace(first, locations=(WANTED["a"],))],
            catalogue=STORES,
            volume_types=glance.types_of,
            page_size=page_size,
            totals=totals,
        )
        found = [(each.image.id, each.possible) for each in plan]
        assert found == [*((each, True) for each in "abc"), ("a", False)][: len(planned)]
        assert totals.images == len(planned)

    def test_a_page_of_nothing_is_refused(self) -> None:
        with pytest.raises(InvalidFact):
            list(plan_images([], catalogue=STORES, volume_types=cloud().types_of, page_size=0))
