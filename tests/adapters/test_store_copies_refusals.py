"""No copy between stores deletes the only data of an image, whatever happened since, and however little is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import pytest

from imagevol_adapters.gathering.named_volumes import NamedVolumes
from imagevol_adapters.relocating import Outcome, State
from imagevol_adapters.store_copies import CopyJournal
from imagevol_adapters.store_copies.reading import VolumeReader
from imagevol_adapters.store_ports import PlacedImage
from imagevol_adapters.testing.memory import MemoryStoreCopies
from imagevol_core import HOLD, AccessDenied, Image, ImageLocation, ImagevolError, RequestRefused
from imagevol_core.store_copies import VerifyWish, volume_in_store
from tests.adapters.history import Killed
from tests.adapters.test_store_copies import CLOUD, MOVES, STORES, Process, Site

MOVE: dict[str, Any] = {"from_store": "fast", "move": True}


@pytest.fixture(autouse=True)
def fast_storage() -> Iterator[None]:
    """No test ends the machine, so that nothing has to reach the storage."""
    with patch("imagevol_adapters.journals.os.fsync"):
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def site() -> Site:
    return Site().put()


def volume(site: Site, image_id: str, store: str) -> str:
    return str(volume_in_store(store, site.glance.images[image_id].locations))


def change(site: Site, image_id: str, **changes: Any) -> None:
    site.glance.images[image_id] = replace(site.glance.images[image_id], **changes)


def share(site: Site) -> str:
    """Let two images name one volume."""
    one = site.glance.images["image-0"]
    change(site, "image-1", locations=one.locations, size_bytes=one.size_bytes, digest=one.digest)
    return volume(site, "image-0", "fast")


def not_deleted(site: Site, path: Path, to_store: str) -> Outcome:
    """Copy an image whose other copy is then not deleted by Glance."""
    with patch.object(MemoryStoreCopies, "delete_from_store", side_effect=AccessDenied("policy")):
        (outcome,) = site.apply(path, "image-0", to_store=to_store, **MOVE)
    assert outcome.state is State.FAILED
    return outcome


def another_volume(site: Site, store: str, volume_type: str) -> ImageLocation:
    made = site.volumes.create(size_gib=1, name="another", volume_type=volume_type)
    site.volumes.wait(made.id)
    return ImageLocation(f"cinder://{store}/{made.id}", {"store": store})


@contextmanager
def seen(alter: Callable[[PlacedImage], PlacedImage | None]) -> Iterator[None]:
    """What Glance shows is altered."""
    whole = MemoryStoreCopies.placed

    def placed(glance: MemoryStoreCopies, image_ids: Sequence[str] | None = None) -> Iterator[PlacedImage]:
        return filter(None, map(alter, list(whole(glance, image_ids))))

    with patch.object(MemoryStoreCopies, "placed", placed):
        yield


def unseen(placed: PlacedImage) -> PlacedImage | None:
    return None if placed.image.id == "image-0" else placed


def hidden(placed: PlacedImage) -> PlacedImage:
    return attrs.evolve(placed, image=replace(placed.image, locations=()), locations_shown=False)


def storeless(placed: PlacedImage) -> PlacedImage:
    return attrs.evolve(placed, stores=())


class TestUnseen:
    """What is not shown is not gone, and nothing is deleted because of it."""

    @pytest.mark.parametrize("alter", [unseen, hidden])
    def test_an_undo_that_does_not_see_the_image_or_its_locations_keeps_its_only_data(
        self, site: Site, path: Path, alter: Callable[[PlacedImage], PlacedImage | None]
    ) -> None:
        site.apply(path, "image-0", to_store="quick", **MOVE)
        with seen(alter):
            (failed,) = site.undo(path)
        assert failed.state is State.FAILED
        assert site.stores()["image-0"] == ["quick"]
        assert site.undo(path) == [Outcome("image-0", State.UNDONE, None)]
        assert site.stores()["image-0"] == ["fast"]

    @pytest.mark.parametrize("alter", [unseen, hidden])
    def test_a_resume_that_does_not_see_the_image_or_its_locations_keeps_its_only_data(
        self, site: Site, path: Path, alter: Callable[[PlacedImage], PlacedImage | None]
    ) -> None:
        whole = CopyJournal.record

        def record(journal: CopyJournal, image_id: str, state: State, **changes: Any) -> Any:
            if state is State.DONE:
                raise Killed
            return whole(journal, image_id, state, **changes)

        with patch.object(CopyJournal, "record", record), suppress(Killed):
            site.apply(path, "image-0", to_store="quick", **MOVE)
        with seen(alter):
            (failed,) = site.resume(path)
        assert failed.state is State.FAILED
        assert site.stores()["image-0"] == ["quick"]
        assert site.resume(path) == [Outcome("image-0", State.DONE, None)]

    def test_a_resume_where_locations_are_hidden_keeps_both_copies_and_says_what_to_do(
        self, site: Site, path: Path
    ) -> None:
        not_deleted(site, path, "quick")
        with seen(hidden):
            (failed,) = site.resume(path)
        assert "set show_multiple_locations = true" in str(failed.reason)
        assert site.stores()["image-0"] == ["fast", "quick"]

    def test_an_image_that_is_not_shown_for_a_moment_is_copied_by_a_resume(self, site: Site, path: Path) -> None:
        with site.create(path, "image-0", to_store="slow", **MOVE) as journal, seen(unseen):
            (failed,) = site.copies(journal).apply()
        assert failed.state is State.FAILED
        assert site.resume(path) == [Outcome("image-0", State.DONE, None)]
        assert site.stores()["image-0"] == ["slow"]

    def test_an_image_is_gone_only_for_credentials_that_see_every_image(self, site: Site, path: Path) -> None:
        with site.create(path, "image-0", to_store="quick") as journal:
            del site.glance.images["image-0"]
            site.glance.sees_all = False
            assert [each.state for each in site.copies(journal).apply()] == [State.FAILED]
        site.glance.sees_all = True
        assert site.resume(path) == [Outcome("image-0", State.GONE, None)]

    @pytest.mark.parametrize("back", [False, True])
    @pytest.mark.parametrize("alter", [unseen, hidden, storeless])
    @pytest.mark.parametrize("to_store", MOVES)
    def test_one_wrong_answer_at_any_moment_loses_neither_data_nor_the_image_from_sight(
        self, tmp_path: Path, to_store: str, alter: Callable[[PlacedImage], PlacedImage | None], back: bool
    ) -> None:
        for moment in range(14):
            site, path, looks = Site().put(), tmp_path / str(moment), iter(range(1000))

            def once(placed: PlacedImage, looks: Iterator[int] = looks, moment: int = moment) -> PlacedImage | None:
                at = placed.image.id == "image-0" and next(looks) == moment
                return alter(placed) if at else placed

            with ExitStack() as stack:
                if back:
                    site.apply(path, "image-0", to_store=to_store, **MOVE)
                    with seen(once), suppress(ImagevolError):
                        outcomes = site.undo(path)
                else:
                    journal = stack.enter_context(site.create(path, "image-0", to_store=to_store, **MOVE))
                    with seen(once), suppress(ImagevolError):
                        outcomes = list(site.copies(journal).apply())
            expected, end = (["fast"], State.UNDONE) if back else ([to_store], State.DONE)
            assert {each.state for each in outcomes} <= {end, State.FAILED}, moment
            assert outcomes[0].state is State.FAILED or site.stores()["image-0"] == expected, moment
            assert (site.undo if back else site.resume)(path) in ([], [Outcome("image-0", end, None)]), moment
            assert site.stores()["image-0"] == expected, moment
            assert site.nothing_is_left(), moment


class TestRegistered:
    """A clone that was the data of an image is never deleted as left over."""

    def test_a_clone_that_another_image_has_by_now_stays(self, site: Site, path: Path) -> None:
        site.apply(path, "image-0", to_store="quick")
        clone = volume(site, "image-0", "quick")
        one = site.glance.images["image-0"]
        change(site, "image-0", locations=one.locations[:1])
        change(site, "image-1", locations=one.locations[1:], size_bytes=one.size_bytes, digest=one.digest)
        site.undo(path)
        assert clone in site.volumes.volumes

    def test_a_clone_that_was_registered_stays_when_its_image_is_gone(self, site: Site, path: Path) -> None:
        not_deleted(site, path, "quick")
        clone = volume(site, "image-0", "quick")
        del site.glance.images["image-0"]
        assert site.resume(path) == [Outcome("image-0", State.GONE, None)]
        assert clone in site.volumes.volumes


class TestKept:
    """The copy that remains is the one that was verified, and its volume exists."""

    @pytest.mark.parametrize("to_store", ["slow", "quick"])
    def test_a_copy_whose_volume_is_lost_since_it_was_verified_is_not_relied_on(
        self, site: Site, path: Path, to_store: str
    ) -> None:
        not_deleted(site, path, to_store)
        site.volumes.delete(volume(site, "image-0", to_store))
        (failed,) = site.resume(path)
        assert "does not exist" in str(failed.reason)
        assert site.glance.data_in("image-0", "fast")

    def test_a_copy_that_became_another_volume_since_it_was_verified_is_read(self, site: Site, path: Path) -> None:
        not_deleted(site, path, "slow")
        site.volumes.delete(volume(site, "image-0", "slow"))
        (fast, _) = site.glance.images["image-0"].locations
        other = another_volume(site, "slow", "hdd")
        change(site, "image-0", locations=(fast, other))
        (failed,) = site.resume(path)
        assert failed.state is State.FAILED
        assert site.glance.data_in("image-0", "fast")
        assert volume(site, "image-0", "slow") in site.volumes.volumes

    def test_an_undo_keeps_the_copy_if_the_volume_of_the_original_is_lost(self, site: Site, path: Path) -> None:
        site.apply(path, "image-0", to_store="slow")
        site.volumes.delete(volume(site, "image-0", "fast"))
        assert [each.state for each in site.undo(path)] == [State.FAILED]
        assert site.glance.data_in("image-0", "slow")

    def test_an_undo_reads_what_was_put_in_the_place_of_the_original(self, site: Site, path: Path) -> None:
        site.apply(path, "image-0", to_store="slow", **MOVE)
        (slow,) = site.glance.images["image-0"].locations
        change(site, "image-0", locations=(slow, another_volume(site, "fast", "ssd")))
        assert [each.state for each in site.undo(path)] == [State.FAILED]
        assert site.glance.data_in("image-0", "slow")


class TestOverwritten:
    """What an earlier run verified, or what was there first, is read again before the other copy is deleted."""

    def overwrite(self, site: Site, store: str) -> None:
        site.volumes.contents[volume(site, "image-0", store)].write(0, memoryview(b"other data"))

    @pytest.mark.parametrize("to_store", ["slow", "quick"])
    def test_a_copy_that_was_overwritten_since_it_was_verified_is_not_relied_on(
        self, site: Site, path: Path, to_store: str
    ) -> None:
        not_deleted(site, path, to_store)
        self.overwrite(site, to_store)
        (failed,) = site.resume(path)
        assert failed.state is State.FAILED
        assert site.glance.data_in("image-0", "fast")
        assert volume(site, "image-0", to_store) in site.volumes.volumes  # a person looks which data is right

    def test_a_copy_that_glance_wrote_before_a_kill_is_read(self, site: Site, path: Path) -> None:
        whole = CopyJournal.record

        def record(journal: CopyJournal, image_id: str, state: State, **changes: Any) -> Any:
            if changes.get("verified"):
                raise Killed
            return whole(journal, image_id, state, **changes)

        with patch.object(CopyJournal, "record", record), suppress(Killed):
            site.apply(path, "image-0", to_store="slow", **MOVE)
        self.overwrite(site, "slow")
        assert [each.state for each in site.resume(path)] == [State.FAILED]
        assert site.glance.data_in("image-0", "fast")

    @pytest.mark.parametrize("to_store", ["slow", "quick"])
    def test_an_undo_keeps_the_copy_if_the_original_was_overwritten(
        self, site: Site, path: Path, to_store: str
    ) -> None:
        site.apply(path, "image-0", to_store=to_store)
        self.overwrite(site, "fast")
        assert [each.state for each in site.undo(path)] == [State.FAILED]
        assert site.glance.data_in("image-0", to_store)

    def test_on_a_host_that_cannot_read_it_is_said_how_to_go_on(self, site: Site, path: Path) -> None:
        not_deleted(site, path, "slow")
        with patch.object(VolumeReader, "__call__", side_effect=RequestRefused("no initiator")):
            (failed,) = site.resume(path)
        assert "no initiator" in str(failed.reason)
        assert "--verify glance" in str(failed.reason)
        assert site.stores()["image-0"] == ["fast", "slow"]
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            copies = site.copies(journal)
            copies.wish = VerifyWish.GLANCE
            assert [each.state for each in copies.apply()] == [State.DONE]
        assert site.stores()["image-0"] == ["slow"]


class TestMarked:
    """The mark of a journal may be copied: only a clone of what the journal has cloned is its own."""

    def marked(self, site: Site, path: Path, source: str | None) -> str:
        """A volume with the marks of a journal that is about to clone an image volume."""
        site.process = Process(1)
        with suppress(Killed):
            site.apply(path, "image-0", to_store="quick")
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            marks = {"imagevol_journal": journal.id, "glance_image_id": "image-0"}
        for clone in site.volumes.with_metadata(marks):
            site.volumes.delete(clone.id)
        made = site.volumes.create(size_gib=1, name="a colleague's", volume_type="ssd-quick", metadata=marks)
        site.volumes.wait(made.id)
        site.volumes.volumes[made.id] = replace(site.volumes.volumes[made.id], source_volume_id=source)
        return made.id

    @pytest.mark.parametrize("source", [None, "another"])
    def test_a_volume_that_is_no_clone_of_the_source_is_neither_registered_nor_deleted(
        self, site: Site, path: Path, source: str | None
    ) -> None:
        marked = self.marked(site, path, source)
        assert [each.state for each in site.resume(path)] == [State.DONE]
        assert volume(site, "image-0", "quick") != marked
        site.undo(path)
        assert marked in site.volumes.volumes


class TestLeaving:
    """What is deleted is this image's, and nothing else needs it."""

    @pytest.mark.parametrize("to_store", MOVES)
    @pytest.mark.parametrize("image_ids", [(), ("image-0",), ("image-1",)])
    def test_a_volume_that_two_images_name_is_not_deleted(
        self, site: Site, path: Path, to_store: str, image_ids: tuple[str, ...]
    ) -> None:
        shared = share(site)
        site.apply(path, *image_ids, to_store=to_store, **MOVE)
        assert shared in site.volumes.volumes
        assert {volume(site, each, "fast") for each in ("image-0", "image-1")} == {shared}

    def test_a_volume_that_another_image_has_since_the_plan_is_not_deleted(self, site: Site, path: Path) -> None:
        with site.create(path, to_store="slow", **MOVE) as journal:
            shared = share(site)
            assert State.FAILED in {each.state for each in site.copies(journal).apply()}
        assert shared in site.volumes.volumes

    def test_a_volume_that_another_image_gets_between_two_moves_is_not_deleted(self, site: Site, path: Path) -> None:
        whole = MemoryStoreCopies.delete_from_store

        def delete(glance: MemoryStoreCopies, image_id: str, store: str) -> None:
            whole(glance, image_id, store)
            if image_id == "image-0":
                change(site, "new", locations=site.glance.images["image-1"].locations)

        site.glance.images["new"] = Image(id="new", status="active")
        wanted = volume(site, "image-1", "fast")
        with patch.object(MemoryStoreCopies, "delete_from_store", delete):
            outcomes = {each.image_id: each for each in site.apply(path, to_store="slow", **MOVE)}
        assert "image 'new' names it as well" in str(outcomes["image-1"].reason)
        assert wanted in site.volumes.volumes

    def test_a_change_that_is_made_while_the_images_are_listed_is_seen_later(self, site: Site) -> None:
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        locations = site.glance.images["image-2"].locations
        for image_id, hours in (("image-0", 0), ("image-1", 0), ("image-2", 3)):
            change(site, image_id, updated_at=noon + timedelta(hours=hours))
        named, wanted = NamedVolumes(site.glance), volume(site, "image-2", "fast")
        with patch("imagevol_adapters.gathering.named_volumes._FIRST", 2):
            assert named.by(wanted) == ("image-2",)
            change(site, "image-0", locations=locations, updated_at=noon + timedelta(hours=1))
            assert named.by(wanted) == ("image-0", "image-2")

    def test_a_volume_that_a_migration_holds_is_not_deleted(self, site: Site, path: Path) -> None:
        with site.create(path, "image-0", to_store="slow", **MOVE) as journal:
            held = volume(site, "image-0", "fast")
            site.volumes.set_metadata(held, {HOLD: "a migration"})
            (failed,) = site.copies(journal).apply()
        assert "is held by 'a migration'" in str(failed.reason)
        assert volume(site, "image-0", "fast") == held
        let_go = {key: value for key, value in site.volumes.volumes[held].metadata.items() if key != HOLD}
        site.volumes.volumes[held] = replace(site.volumes.volumes[held], metadata=let_go)
        assert site.resume(path) == [Outcome("image-0", State.DONE, None)]

    @pytest.mark.parametrize("kind", ["imagevol", "cinder"])
    @pytest.mark.parametrize("metadata", [{}, {"image_id": "another"}, {"glance_image_id": "another"}])
    @pytest.mark.parametrize("readonly", [True, False])
    def test_a_volume_of_a_user_or_of_another_image_is_not_deleted(
        self, path: Path, kind: str, metadata: dict[str, str], readonly: bool
    ) -> None:
        stores = tuple(replace(each, kind=kind) if each.name == "fast" else each for each in STORES.stores)
        site = Site(replace(STORES, stores=stores)).put()
        users = volume(site, "image-0", "fast")
        site.volumes.volumes[users] = replace(
            site.volumes.volumes[users], project_id="a-user", metadata=metadata, readonly=readonly
        )
        site.apply(path, to_store="slow", **MOVE)
        assert users in site.volumes.volumes
        assert volume(site, "image-0", "fast") == users
