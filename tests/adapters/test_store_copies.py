"""Images copied and moved between stores by a journal, killed wherever they may be: resumed, and undone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.gathering.store_copies import StoreCopyGathering
from imagevol_adapters.relocating import Outcome, State
from imagevol_adapters.store_copies import CopyEntry, CopyJournal, StoreCopies, chosen_images, plan_copies
from imagevol_adapters.store_copies.reading import VolumeReader
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryStoreCopies, MemoryVolumes
from imagevol_core import (
    AccessDenied,
    DeadlineExceeded,
    Image,
    InUse,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    ServiceUnreachable,
    Store,
    StoreCatalogue,
)
from imagevol_core.remains import CLONE_OF_KEY
from imagevol_core.store_copies import (
    StoreCopyWay,
    VerifyWish,
    volume_in_store,
)
from tests.adapters.history import Killed

CLOUD = "a-glance"
STORES = StoreCatalogue(
    stores=(
        Store(name="fast", kind="imagevol", volume_type="ssd"),
        Store(name="quick", kind="imagevol", volume_type="ssd-quick"),
        Store(name="slow", kind="cinder", volume_type="hdd"),
        Store(name="files", kind="file"),
    )
)
BACKENDS = {"ssd": "array", "ssd-quick": "array", "hdd": "disks"}
REQUESTS = {"copy_to_store", "change_locations", "delete_from_store"}
ORDERS = {"clone", "wait", "set_readonly", "set_metadata", "delete"}
DATA = {f"image-{number}": bytes([number]) * (1000 + number) for number in range(3)}


@attrs.define
class Killing:
    """A service of which the process is killed that makes the last of so many requests."""

    service: Any
    counted: set[str]
    process: Process

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.service, name)
        return self.process.counting(value) if name in self.counted else value


@attrs.define
class Process:
    """A process, and how many requests it may still make."""

    left: int | None = None
    does_the_last: bool = False
    dead: bool = False

    def counting(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any, **named: Any) -> Any:
            if self.left is not None and not self.dead:
                self.left -= 1
                self.dead = self.left < 0
                if self.dead and self.does_the_last:
                    ask(*arguments, **named)
            if self.dead:
                raise Killed
            return ask(*arguments, **named)

        return asked


class Site:
    """A cloud in memory, and the command that works on it."""

    def __init__(self, catalogue: StoreCatalogue = STORES) -> None:
        self.volumes = MemoryVolumes(
            volume_types=dict.fromkeys(BACKENDS, False),
            extra_specs={name: {"volume_backend_name": backend} for name, backend in BACKENDS.items()},
            capacity_gib=10_000,
        )
        self.glance = MemoryStoreCopies(volumes=self.volumes, catalogue=catalogue)
        self.process = Process()

    def put(self, store: str = "fast", data: dict[str, bytes] = DATA) -> Site:
        for image_id, content in data.items():
            self.glance.put(image_id, content, store=store)
        return self

    @property
    def images(self) -> Any:
        return Killing(self.glance, REQUESTS, self.process)

    @property
    def cinder(self) -> Any:
        return Killing(self.volumes, ORDERS, self.process)

    def gathering(self) -> StoreCopyGathering:
        return StoreCopyGathering(images=self.images, volumes=self.cinder, catalogue=self.glance.catalogue)

    def create(self, path: Path, *image_ids: str, wish: VerifyWish = VerifyWish.AUTO, **wishes: Any) -> CopyJournal:
        chosen = chosen_images(self.images, image_ids, from_store=wishes.get("from_store"))
        plans = list(plan_copies(chosen, gathering=self.gathering(), wish=wish, **wishes))
        possible = [(placed, plan) for placed, plan in plans if plan.possible and plan.steps]
        entries = [CopyEntry.of(plan, stores=placed.stores, wish=wish) for placed, plan in possible]
        return CopyJournal.create(path, cloud=CLOUD, entries=entries)

    def copies(self, journal: CopyJournal) -> StoreCopies:
        return StoreCopies(
            journal=journal,
            images=self.images,
            volumes=self.cinder,
            gathering=self.gathering(),
            read=VolumeReader(volumes=self.cinder, attacher=lambda: MemoryAttacher(volumes=self.volumes)),
            settle_seconds=0.3,
            retry_seconds=0,
        )

    def apply(self, path: Path, *image_ids: str, **wishes: Any) -> list[Outcome]:
        with self.create(path, *image_ids, **wishes) as journal:
            return list(self.copies(journal).apply())

    def resume(self, path: Path) -> list[Outcome]:
        self.process = Process()
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            return list(self.copies(journal).apply())

    def undo(self, path: Path) -> list[Outcome]:
        self.process = Process()
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            return list(self.copies(journal).undo())

    def stores(self) -> dict[str, list[str]]:
        """Where each image is, if all of its data is there."""
        found = {}
        for placed in self.glance.placed():
            for store in placed.stores:
                data = self.glance.data_in(placed.image.id, store)
                assert placed.image.digest is not None
                assert hashlib.sha512(data).hexdigest() == placed.image.digest.value
            found[placed.image.id] = sorted(placed.stores)
        return found

    def nothing_is_left(self) -> bool:
        """Every volume is named by a location, is no part of a procedure, and nothing is attached."""
        named = {volume_in_store(store.name, image.locations) for image in self.images_now() for store in STORES.stores}
        states = {each.metadata.get("imagevol_state") for each in self.volumes.volumes.values()}
        unfinished = "unfinished" in states
        return not ({*self.volumes.volumes} - named) and not unfinished and not self.volumes.attachments

    def images_now(self) -> list[Image]:
        return list(self.glance.images.values())


@contextmanager
def torn(process: Process, after: int, kept: int) -> Iterator[None]:
    """Writing the journal ends with the process, in its line of that number after so many bytes."""
    whole, left = CopyJournal._append, [after]

    def append(journal: CopyJournal, data: bytes) -> None:
        left[0] -= 1
        if left[0] == -1 and not process.dead:
            whole(journal, data[:kept])
            process.dead = True
        if process.dead:
            raise Killed
        whole(journal, data)

    with patch.object(CopyJournal, "_append", append):
        yield


@pytest.fixture(autouse=True, scope="module")
def fast_storage() -> Iterator[None]:
    """No test ends the machine, so that nothing has to reach the storage."""
    with patch("imagevol_adapters.journals.os.fsync"):
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


# How images are moved: by Glance's copy into another kind of volume and into files, and by a clone in the array.
MOVES = {"slow": StoreCopyWay.IMPORT, "files": StoreCopyWay.IMPORT, "quick": StoreCopyWay.CLONE}


class TestKilled:
    """Wherever it is killed, no data is lost, and it goes on or back from there."""

    @given(
        to_store=st.sampled_from(list(MOVES)),
        move=st.booleans(),
        requests=st.none() | st.integers(0, 16),
        last=st.booleans(),
        line=st.integers(1, 14),
        kept=st.integers(0, 200),
        back=st.booleans(),
    )
    def test_a_killed_evacuation_can_be_resumed_to_its_end_or_undone_to_its_beginning(
        self, to_store: str, move: bool, requests: int | None, last: bool, line: int, kept: int, back: bool
    ) -> None:
        site = Site().put()
        with TemporaryDirectory() as directory:
            path = Path(directory) / "journal"
            site.process = Process(requests, last)
            with torn(site.process, line, kept), suppress(Killed):
                site.apply(path, to_store=to_store, from_store="fast", move=move)
            self.end(site, path, back=back, expected=[to_store] if move else sorted({"fast", to_store}))

    def end(self, site: Site, path: Path, *, back: bool, expected: list[str]) -> None:
        outcomes = site.undo(path) if back else site.resume(path)
        assert {each.state for each in outcomes} <= {State.UNDONE if back else State.DONE}
        assert site.stores() == {each: ["fast"] if back else expected for each in DATA}
        assert site.nothing_is_left()
        with CopyJournal.open(path, cloud=CLOUD) as journal:  # no torn line is left in it
            assert {entry.state for entry in journal.entries.values()} <= {State.PLANNED, State.UNDONE, State.DONE}

    @given(
        to_store=st.sampled_from(list(MOVES)),
        requests=st.integers(0, 20),
        last=st.booleans(),
        line=st.integers(0, 14),
        kept=st.integers(0, 200),
    )
    def test_a_killed_undo_is_undone_to_its_end(
        self, to_store: str, requests: int, last: bool, line: int, kept: int
    ) -> None:
        site = Site().put()
        with TemporaryDirectory() as directory:
            path = Path(directory) / "journal"
            site.apply(path, to_store=to_store, from_store="fast", move=True)
            site.process = Process(requests, last)
            with (
                torn(site.process, line, kept),
                suppress(Killed),
                CopyJournal.open(path, cloud=CLOUD) as journal,
            ):
                list(site.copies(journal).undo())
            site.undo(path)
            assert site.stores() == {each: ["fast"] for each in DATA}
            assert site.nothing_is_left()

    @given(st.floats(0, 1, exclude_max=True))
    def test_of_a_plan_that_is_not_whole_nothing_was_changed(self, share: float) -> None:
        site = Site().put()
        with TemporaryDirectory() as directory:
            path = Path(directory) / "journal"
            site.create(path, to_store="slow").close()
            whole = path.read_bytes()
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(RequestRefused, match="ends before its plan does, so that it has changed nothing"):
                site.resume(path)
            assert site.stores() == {each: ["fast"] for each in DATA}


class TestCopies:
    @pytest.mark.parametrize("to_store, way", MOVES.items())
    def test_images_are_copied_and_moved_and_brought_back(self, path: Path, to_store: str, way: StoreCopyWay) -> None:
        site = Site().put()
        before = {image_id: image.locations for image_id, image in site.glance.images.items()}
        with site.create(path, to_store=to_store, from_store="fast", move=True) as journal:
            assert [each.state for each in site.copies(journal).apply()] == [State.DONE] * 3
            assert {entry.made for entry in journal.entries.values()} == {way}
        assert site.stores() == {each: [to_store] for each in DATA}
        assert site.resume(path) == []
        assert [each.image_id for each in site.undo(path)] == ["image-2", "image-1", "image-0"]
        assert site.stores() == {each: ["fast"] for each in DATA}
        assert before.keys() == site.glance.images.keys()
        assert site.nothing_is_left()
        with pytest.raises(RequestRefused, match="has been undone: plan anew"):
            site.resume(path)

    def test_a_copy_that_is_undone_leaves_the_original_as_it_was(self, path: Path) -> None:
        site = Site().put()
        before = {image_id: image.locations for image_id, image in site.glance.images.items()}
        site.apply(path, to_store="slow")
        assert site.stores() == {each: ["fast", "slow"] for each in DATA}
        site.undo(path)
        assert {image_id: image.locations for image_id, image in site.glance.images.items()} == before

    def test_one_image_is_copied_and_the_others_are_left(self, path: Path) -> None:
        site = Site().put()
        site.apply(path, "image-1", to_store="files")
        assert site.stores() == {"image-0": ["fast"], "image-1": ["fast", "files"], "image-2": ["fast"]}

    def test_what_was_there_before_stays_when_the_move_is_undone(self, path: Path) -> None:
        site = Site().put()
        site.apply(path, to_store="slow")
        second = path.with_name("second")
        assert {each.state for each in site.apply(second, to_store="slow", from_store="fast", move=True)} == {
            State.DONE
        }
        assert site.stores() == {each: ["slow"] for each in DATA}
        site.undo(second)
        assert site.stores() == {each: ["fast", "slow"] for each in DATA}

    def test_the_clone_says_what_it_is_and_has_the_type_of_the_store(self, path: Path) -> None:
        site = Site().put()
        site.apply(path, "image-0", to_store="quick")
        image = site.glance.images["image-0"]
        volume = site.volumes.volumes[str(volume_in_store("quick", image.locations))]
        assert image.digest is not None
        assert (volume.volume_type, volume.readonly) == ("ssd-quick", True)
        assert (
            volume.metadata.items()
            >= {
                "glance_image_id": "image-0",
                "image_size": "1000",
                "os_hash_value": image.digest.value,
                "image_owner": "owner",
                "imagevol_state": "finished",
            }.items()
        )

    def test_an_image_that_is_gone_is_no_trouble(self, path: Path) -> None:
        site = Site().put()
        with site.create(path, to_store="quick") as journal:
            del site.glance.images["image-1"]
            assert Outcome("image-1", State.GONE, None) in list(site.copies(journal).apply())

    def test_a_clone_of_an_image_that_is_gone_is_deleted(self, path: Path) -> None:
        site = Site().put()
        site.process = Process(1, does_the_last=True)  # cloned, and not registered
        with suppress(Killed):
            site.apply(path, "image-0", to_store="quick")
        assert not site.nothing_is_left()
        site.volumes.delete(str(volume_in_store("fast", site.glance.images.pop("image-0").locations)))
        assert site.resume(path) == [Outcome("image-0", State.GONE, None)]
        assert site.nothing_is_left()

    def test_a_clone_names_its_source_from_its_beginning_so_that_a_repair_can_delete_it_without_image_and_source(
        self, path: Path
    ) -> None:
        site = Site().put()
        source = str(volume_in_store("fast", site.glance.images["image-0"].locations))
        site.process = Process(1, does_the_last=False)  # cloned, and not waited for
        with suppress(Killed):
            site.apply(path, "image-0", to_store="quick")
        (clone,) = (each for each in site.volumes.volumes.values() if each.status == "creating")
        assert clone.metadata[CLONE_OF_KEY] == clone.source_volume_id == source

    def test_a_clone_that_failed_is_made_again(self, path: Path) -> None:
        site = Site().put()
        site.process = Process(1, does_the_last=False)  # cloned, and not waited for
        with suppress(Killed):
            site.apply(path, "image-0", to_store="quick")
        (begun,) = (each for each in site.volumes.volumes.values() if each.status == "creating")
        site.volumes.volumes[begun.id] = replace(begun, status="error")
        assert site.resume(path) == [Outcome("image-0", State.DONE, None)]
        assert site.nothing_is_left()


class TestVerified:
    """No data is deleted before the other copy was verified."""

    def test_a_copy_that_is_not_the_image_is_deleted_and_the_original_stays(self, path: Path) -> None:
        site = Site().put()
        with site.create(path, "image-0", to_store="quick", from_store="fast", move=True) as journal:
            volume_id = str(volume_in_store("fast", site.glance.images["image-0"].locations))
            site.volumes.contents[volume_id].write(10, memoryview(b"altered"))
            (failed,) = site.copies(journal).apply()
        assert failed.state is State.FAILED
        assert "has been altered" in str(failed.reason)
        site.volumes.contents[volume_id].write(10, memoryview(DATA["image-0"][10:17]))
        assert site.stores()["image-0"] == ["fast"]
        assert site.nothing_is_left()
        assert site.resume(path) == [Outcome("image-0", State.DONE, None)]

    def test_glance_takes_no_copy_that_is_not_the_image(self, path: Path) -> None:
        site = Site().put("files")
        with site.create(path, "image-0", to_store="slow", from_store="files", move=True) as journal:
            site.glance.files["file:///files/image-0"] = b"altered"
            (failed,) = site.copies(journal).apply()
        assert (failed.state, next(iter(site.glance.files))) == (State.FAILED, "file:///files/image-0")
        assert "Glance has not copied image image-0 to store slow" in str(failed.reason)

    def test_a_copy_is_read_if_that_is_asked_for(self, path: Path) -> None:
        site = Site().put()
        with site.create(path, to_store="slow", from_store="fast", move=True, wish=VerifyWish.READ) as journal:
            copies = site.copies(journal)
            read: list[str] = []
            copies.read = lambda volume_id, _: read.append(volume_id)
            list(copies.apply())
        assert len(read) == 3

    def test_what_was_verified_is_not_read_again_if_the_operator_relies_on_it(self, path: Path) -> None:
        site = Site().put()
        with patch.object(MemoryStoreCopies, "delete_from_store", side_effect=InUse("the volume has dependents")):
            (failed,) = site.apply(path, "image-0", to_store="quick", from_store="fast", move=True)
        assert (failed.state, failed.reason) == (State.FAILED, "the volume has dependents")
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            copies = site.copies(journal)
            copies.read, copies.wish = lambda *_: pytest.fail("it was verified before"), VerifyWish.GLANCE
            assert [each.state for each in copies.apply()] == [State.DONE]

    def test_an_image_that_was_changed_meanwhile_keeps_both_copies(self, path: Path) -> None:
        site = Site().put()
        with site.create(path, "image-0", to_store="slow", from_store="fast", move=True) as journal:
            site.glance.images["image-0"] = replace(site.glance.images["image-0"], digest=None)
            (failed,) = site.copies(journal).apply()
        assert failed.state is State.FAILED
        assert "no multihash" in str(failed.reason)
        assert len(site.glance.images["image-0"].locations) == 1

    def test_the_data_of_a_shared_volume_is_not_deleted(self, path: Path) -> None:
        site = Site().put()
        site.apply(path, "image-0", to_store="slow")
        image = site.glance.images["image-0"]
        fast, slow = image.locations
        second = path.with_name("second")
        with site.create(second, "image-0", to_store="slow", from_store="fast", move=True) as journal:
            shared = replace(fast, url=slow.url.replace("slow", "fast"))
            site.glance.images["image-0"] = replace(image, locations=(shared, slow))
            (failed,) = site.copies(journal).apply()
        assert failed.state is State.FAILED
        assert "which Glance would delete" in str(failed.reason)

    def test_where_glance_hides_locations_it_copies_and_deletes_nothing(self, path: Path) -> None:
        site = Site().put()
        site.glance.shows_locations = False
        assert site.apply(path, to_store="quick", from_store="fast", move=True) == []
        outcomes = site.apply(path.with_name("copies"), to_store="quick")
        assert {each.state for each in outcomes} == {State.DONE}
        site.glance.shows_locations = True
        assert site.stores() == {each: ["fast", "quick"] for each in DATA}


class TestTrouble:
    def test_an_import_of_a_killed_process_is_waited_for(self, path: Path) -> None:
        site = Site().put()
        site.glance.looks = 2
        site.process = Process(0, does_the_last=True)
        with suppress(Killed):
            site.apply(path, "image-0", to_store="slow", from_store="fast", move=True)
        assert site.stores()["image-0"] == ["fast"]
        assert site.resume(path) == [Outcome("image-0", State.DONE, None)]
        assert site.stores()["image-0"] == ["slow"]

    def test_a_service_that_does_not_answer_ends_it(self, path: Path) -> None:
        site = Site().put()
        with (
            patch.object(MemoryStoreCopies, "copy_to_store", side_effect=ServiceUnreachable("no answer")),
            pytest.raises(ServiceUnreachable),
        ):
            site.apply(path, to_store="slow")
        assert {each.state for each in site.resume(path)} == {State.DONE}

    @pytest.mark.parametrize("request_name", ["copy_to_store", "delete_from_store"])
    @pytest.mark.parametrize("does_it", [False, True])
    def test_what_glance_fails_at_once_is_asked_for_again_if_it_was_not_done(
        self, path: Path, request_name: str, does_it: bool
    ) -> None:
        site, failures = Site().put(), dict.fromkeys(DATA, 2)
        whole = getattr(MemoryStoreCopies, request_name)

        def failing(glance: MemoryStoreCopies, image_id: str, store: str) -> None:
            failures[image_id] -= 1
            if does_it or failures[image_id] < 0:
                whole(glance, image_id, store)
            if failures[image_id] >= 0:
                raise ServiceFailed("HTTP 500")

        with patch.object(MemoryStoreCopies, request_name, failing):
            outcomes = site.apply(path, to_store="slow", from_store="fast", move=True)
        assert {each.state for each in outcomes} == {State.DONE}
        assert site.stores() == {each: ["slow"] for each in DATA}

    def test_an_image_whose_data_glance_never_deletes_is_in_both_stores_and_the_others_are_moved(
        self, path: Path
    ) -> None:
        site, whole = Site().put(), MemoryStoreCopies.delete_from_store

        def failing(glance: MemoryStoreCopies, image_id: str, store: str) -> None:
            if image_id == "image-1":
                raise ServiceFailed("HTTP 500: the volume has clones")
            whole(glance, image_id, store)

        with patch.object(MemoryStoreCopies, "delete_from_store", failing):
            outcomes = site.apply(path, to_store="slow", from_store="fast", move=True)
        assert [each.state for each in outcomes] == [State.DONE, State.FAILED, State.DONE]
        assert site.stores()["image-1"] == ["fast", "slow"]
        assert site.resume(path) == [Outcome("image-1", State.DONE, None)]

    def test_an_import_that_does_not_end_is_not_waited_for_forever(self, path: Path) -> None:
        site = Site().put()
        with (
            patch.object(MemoryStoreCopies, "_go_on", lambda *_: None),
            pytest.raises(DeadlineExceeded, match="Glance is still importing image image-0"),
        ):
            site.apply(path, "image-0", to_store="slow")

    def test_a_location_that_glance_refuses_leaves_no_clone(self, path: Path) -> None:
        site = Site().put()
        with patch.object(MemoryStoreCopies, "change_locations", side_effect=AccessDenied("not you")):
            (failed,) = site.apply(path, "image-0", to_store="quick")
        assert failed.state is State.FAILED
        assert site.nothing_is_left()

    def test_a_name_that_glance_does_not_show_is_an_error(self, path: Path) -> None:
        with pytest.raises(ResourceNotFound, match="nosuch"):
            Site().put().create(path, "image-0", "nosuch", to_store="slow")

    def test_a_type_that_cinder_does_not_show_is_cloned_into_by_no_one(self, path: Path) -> None:
        site = Site().put()
        with patch.object(MemoryVolumes, "is_encrypted", side_effect=AccessDenied("not you")):
            site.apply(path, "image-0", to_store="quick")
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            assert journal.entries["image-0"].made is StoreCopyWay.IMPORT


class TestSeveral:
    """Several images at once, and all of them end before an error or an interrupt is told."""

    def test_images_are_moved_at_the_same_time_and_back(self, path: Path) -> None:
        data = {f"image-{number:02}": bytes([number]) * 500 for number in range(12)}
        site = Site().put(data=data)
        with site.create(path, to_store="slow", from_store="fast", move=True) as journal:
            copies = site.copies(journal)
            copies.jobs = 4
            assert {each.state for each in copies.apply()} == {State.DONE}
            assert site.stores() == {each: ["slow"] for each in data}
            assert {each.state for each in copies.undo()} == {State.UNDONE}
        assert site.stores() == {each: ["fast"] for each in data}
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            assert {entry.state for entry in journal.entries.values()} == {State.UNDONE}

    def test_an_error_ends_the_waiting_for_the_other_images(self, path: Path) -> None:
        site = Site().put()
        site.glance.looks = 1000

        def copy(glance: MemoryStoreCopies, image_id: str, store: str) -> None:
            if image_id == "image-1":
                raise ServiceUnreachable("no answer")
            whole(glance, image_id, store)

        whole = MemoryStoreCopies.copy_to_store
        with site.create(path, to_store="slow") as journal:
            copies = site.copies(journal)
            copies.jobs, copies.settle_seconds = 2, 60
            with patch.object(MemoryStoreCopies, "copy_to_store", copy), pytest.raises(ServiceUnreachable):
                list(copies.apply())
            assert journal.entries["image-0"].state is State.BEGUN
            assert journal.entries["image-2"].state is State.PLANNED
        site.glance.looks = 0
        assert {each.state for each in site.resume(path)} == {State.DONE}

    def test_an_interrupt_ends_the_waiting(self, path: Path) -> None:
        site = Site().put()
        site.glance.looks = 1000
        with site.create(path, to_store="slow") as journal:
            copies = site.copies(journal)
            copies.jobs, copies.settle_seconds = 2, 60
            with (
                patch("imagevol_adapters.store_copies.several.wait", side_effect=KeyboardInterrupt),
                pytest.raises(KeyboardInterrupt),
            ):
                list(copies.apply())
        site.glance.looks = 0
        assert {each.state for each in site.resume(path)} == {State.DONE}


class TestJournal:
    def test_a_journal_of_another_cloud_or_kind_is_refused(self, path: Path) -> None:
        Site().put().create(path, to_store="slow").close()
        with pytest.raises(RequestRefused, match="is of another cloud"):
            CopyJournal.open(path, cloud="another")
        path.write_text('{"journal":1,"id":"i","cloud":"a-glance","stores":[],"renames":{}}\n')
        with pytest.raises(RequestRefused, match="line 1: it is no line of a journal"):
            CopyJournal.open(path, cloud=CLOUD)

    def test_what_it_says_of_an_image_is_read_again(self, path: Path) -> None:
        with Site().put().create(path, to_store="slow", from_store="fast", move=True) as journal:
            journal.record("image-0", State.BEGUN, made=StoreCopyWay.IMPORT, verified="slow")
            journal.record("image-1", State.FAILED, reason="why not")
            written = journal.entries
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            assert journal.entries == written
