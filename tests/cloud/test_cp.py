"""Images copied and moved between the stores of a real Glance: resumed after a kill, undone, every byte compared."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from cinderclient.client import Client as CinderClient

from imagevol_adapters.fleet import JobOffer
from imagevol_adapters.gathering import gather_catalogue
from imagevol_adapters.gathering.store_copies import StoreCopyGathering
from imagevol_adapters.glance.store_copies import GlanceStoreCopies
from imagevol_adapters.ports import Claim
from imagevol_adapters.relocating import State
from imagevol_adapters.store_copies import CopyEntry, CopyJournal, StoreCopies, chosen_images, plan_copies
from imagevol_adapters.store_copies.offering import CopyWorker, kind_of, offered_copies
from imagevol_adapters.store_copies.reading import VolumeReader
from imagevol_adapters.store_ports import StoreCopyService
from imagevol_adapters.testing.conformance import StoreCopyServiceConformance
from imagevol_adapters.testing.memory import MemoryShards
from imagevol_core.store_copies import VerifyWish
from tests.adapters.serving import Board, serving
from tests.adapters.watching import CHANGES, Watched
from tests.cloud import restarting
from tests.cloud.bringup import running
from tests.cloud.ports import Ports, inventory, ports, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION
from tests.cloud.test_command_line import CommandLine

MANY = 200


@attrs.frozen
class Stores:
    """A Glance with two stores on one backend, one on another, and two of files."""

    cloud: Cloud
    ports: Ports
    imagevol: CommandLine

    def image(self, store: str, data: bytes) -> str:
        images = self.ports.images
        image = images.create(name=f"in {store}", disk_format="raw")
        images.upload(image.id, [data], size_bytes=len(data), store=store)
        return image.id

    def put(self, store: str, contents: Sequence[bytes], jobs: int = 3) -> dict[str, bytes]:
        """Images in a store, by their ids."""
        with ThreadPoolExecutor(jobs) as pool:
            return dict(zip(pool.map(lambda data: self.image(store, data), contents), contents, strict=True))

    def stores(self, image_ids: Sequence[str]) -> list[str]:
        """Where the images are; one sentence for all, because they shall be alike."""
        found = GlanceStoreCopies(self.ports.images).placed()
        return sorted({",".join(sorted(placed.stores)) for placed in found if placed.image.id in image_ids})

    def whole(self, images: dict[str, bytes]) -> bool:
        """Whether Glance gives out the bytes of each image."""

        def digest(image_id: str) -> str:
            found = hashlib.sha256()
            for part in self.ports.images.read(image_id):
                found.update(part)
            return found.hexdigest()

        with ThreadPoolExecutor(2) as pool:
            found = pool.map(digest, images)
            return list(found) == [hashlib.sha256(data).hexdigest() for data in images.values()]

    def run(self, *arguments: object) -> tuple[int, list[dict[str, Any]]]:
        ran = self.imagevol.run("cp", *arguments, "-f", "json")
        assert ran.stdout, ran.stderr
        return ran.returncode, json.loads(ran.stdout)

    def killed(self, journal: Path, lines: int, *arguments: object) -> None:
        """The command, killed as soon as its journal has so many lines."""
        process = self.imagevol.start("cp", *arguments, "--journal", journal, "--yes")
        for _ in ticks(300, interval=0.002):
            if process.poll() is not None or (journal.exists() and journal.read_bytes().count(b"\n") >= lines):
                break
        process.kill()
        assert process.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def whole_cloud(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud of its own, since its Glance gets more stores."""
    with running(tmp_path_factory.mktemp("stores"), keep_logs=True) as cloud:
        types = CinderClient("3.60", session=sign_in(cloud, "admin"), region_name=REGION).volume_types
        types.create("quick").set_keys({"volume_backend_name": "fast"})
        parser = ConfigParser(interpolation=None, default_section="")
        parser.read(restarting.configuration_file(cloud))
        (cloud.directory / "glance/spare").mkdir()
        sections = {
            "DEFAULT": {"enabled_backends": f"{parser['DEFAULT']['enabled_backends']},quick:cinder,spare:file"},
            "quick": {**parser["fast"], "cinder_volume_type": "quick"},
            "spare": {"filesystem_store_datadir": f"{cloud.directory}/glance/spare"},
        }
        with restarting.glance_with(cloud, sections) as changed:
            yield changed


@pytest.fixture
def stores(whole_cloud: Cloud) -> Iterator[Stores]:
    """Its stores; every test leaves the cloud as it found it."""
    site = Stores(whole_cloud, ports(whole_cloud), CommandLine(whole_cloud, whole_cloud.clouds_yaml))
    before = inventory(whole_cloud)
    yield site
    for image in list(site.ports.images.listed()):
        site.ports.images.delete(image.id)
    for _ in ticks(60):
        if inventory(whole_cloud) == before:
            break
    assert inventory(whole_cloud) == before


class TestGlanceStoreCopies(StoreCopyServiceConformance):
    source, target = "local", "spare"

    @pytest.fixture
    def copies(self, stores: Stores) -> StoreCopyService:
        return GlanceStoreCopies(stores.ports.images)

    @pytest.fixture
    def image_id(self, stores: Stores) -> str:
        return stores.image(self.source, b"data" * 1000)


def contents(count: int, size_bytes: int = 100_000) -> list[bytes]:
    return [os.urandom(size_bytes + number) for number in range(count)]


@pytest.mark.parametrize(
    "source, target, way, verification",
    [
        ("fast", "slow", "import", "written"),
        ("fast", "quick", "clone", "read"),
        ("fast", "local", "import", "written"),
        ("spare", "fast", "import", "written"),
    ],
)
def test_images_are_moved_and_taken_back_and_each_is_whole(
    stores: Stores, tmp_path: Path, source: str, target: str, way: str, verification: str
) -> None:
    images = stores.put(source, contents(2))
    volumes = {each for each in inventory(stores.cloud) if each.startswith("volume")}
    arguments = (*images, "--to-store", target, "--from-store", source, "--move")
    status, planned = stores.run(*arguments, "--dry-run")
    assert (status, {(row["state"], row["way"], row["verification"]) for row in planned}) == (
        3,
        {("planned", way, verification)},
    )
    status, moved = stores.run(*arguments, "--journal", tmp_path / "journal", "--jobs", 2, "--yes")
    assert (status, {row["state"] for row in moved}) == (0, {"done"}), moved
    assert stores.stores([*images]) == [target]
    assert stores.whole(images)
    status, undone = stores.run("--undo", "--journal", tmp_path / "journal", "--yes")
    assert (status, {row["state"] for row in undone}) == (0, {"undone"}), undone
    assert stores.stores([*images]) == [source]
    assert stores.whole(images)
    after = {each for each in inventory(stores.cloud) if each.startswith("volume")}
    assert len(after) == len(volumes)


def test_one_image_is_copied_and_its_copy_is_read_on_this_host(stores: Stores, tmp_path: Path) -> None:
    (image_id,) = images = stores.put("local", contents(1))
    status, copied = stores.run(image_id, "--to-backend", "rig@slow", "--yes")
    assert (status, copied[0]["state"], stores.stores([image_id])) == (0, "done", ["local,slow"])
    journal = ("--journal", tmp_path / "journal", "--yes")
    status, moved = stores.run(image_id, "--to-store", "slow", "--move", "--verify", "read", *journal)
    assert (status, moved[0]["way"], moved[0]["verification"]) == (0, "nothing", "read"), moved
    assert stores.stores([image_id]) == ["slow"]
    assert stores.whole(images)


def test_what_cannot_be_copied_is_said_and_nothing_is_changed(stores: Stores) -> None:
    images = stores.put("local", contents(1))
    (image_id,) = images
    for target, part in (("nosuch", "Glance has no store 'nosuch'"), ("local", "is in store 'local'")):
        status, (row,) = stores.run(image_id, "--to-store", target, "--yes")
        assert (status, row["state"], part in row["reason"]) == (
            (3, "refused", True) if target == "nosuch" else (0, "done", True)
        )
    stores.ports.images.client().images.deactivate(image_id)
    status, (row,) = stores.run(image_id, "--to-store", "spare", "--yes")
    assert (status, row["state"]) == (3, "refused")
    stores.ports.images.client().images.reactivate(image_id)
    assert stores.stores([image_id]) == ["local"]


@pytest.mark.parametrize("target", ["slow", "quick", "spare"])
def test_workers_move_images_and_the_shard_of_each_is_lost_once(stores: Stores, tmp_path: Path, target: str) -> None:
    """The board is in this process; that each shard is lost is left to one worker, which then goes on with another."""
    images = stores.put("fast", contents(4))
    volumes = {each for each in inventory(stores.cloud) if each.startswith("volume")}
    ports, glance, board = stores.ports, GlanceStoreCopies(stores.ports.images), Board(MemoryShards(most_failures=3))
    gathering = StoreCopyGathering(images=glance, volumes=ports.volumes, catalogue=gather_catalogue(ports.images))
    reader = VolumeReader(volumes=ports.volumes, attacher=lambda: ports.attacher)
    lost = Counter[str]()

    def work(claim: Claim) -> Mapping[str, Any]:
        def lose(_: str) -> None:
            if target != "spare" and not lost[claim.shard.id]:  # which no host could read
                board.shards.lose(claim)
            lost[claim.shard.id] += 1

        worker = CopyWorker(
            images=Watched(glance, CHANGES, lose),
            volumes=ports.volumes,
            gathering=gathering,
            reader=reader,
            locks=board.locks,
            stopping=board.stopping,
            from_store="fast",
            to_store=target,
            move=True,
        )
        return worker.work(claim)

    chosen = chosen_images(glance, [*images], from_store="fast")
    plans = plan_copies(chosen, gathering=gathering, to_store=target, from_store="fast", move=True)
    entries = [CopyEntry.of(plan, stores=placed.stores, wish=VerifyWish.AUTO) for placed, plan in plans]
    with CopyJournal.create(tmp_path / "journal", cloud="this cloud", entries=entries) as journal:
        copies = StoreCopies(journal=journal, images=glance, volumes=ports.volumes, gathering=gathering, read=reader)
        kind = kind_of(copies, "this cloud")
        offer = JobOffer(shards=board.shards, job_records=board.jobs, job=journal.job, kind=kind)
        let_go = partial(board.shards.let_go, journal.job)
        with serving(board.shards, {kind: work}, jobs=2):
            outcomes = list(offered_copies(copies, offer=offer, board="this board", let_go=let_go))
        assert {(each.state, each.reason) for each in outcomes} == {(State.DONE, None)}
        assert (stores.stores([*images]), stores.whole(images), len(lost)) == ([target], True, 4)
        assert {each.state for each in copies.undo()} == {State.UNDONE}
    assert (stores.stores([*images]), stores.whole(images)) == (["fast"], True)
    after = {each for each in inventory(stores.cloud) if each.startswith("volume")}
    assert len(after) == len(volumes)


@pytest.mark.parametrize("target, lines", [("slow", 6), ("slow", 9), ("quick", 6), ("quick", 8)])
def test_killed_in_the_middle_it_is_resumed_and_undone(stores: Stores, tmp_path: Path, target: str, lines: int) -> None:
    images = stores.put("fast", contents(3))
    journal = tmp_path / "journal"
    stores.killed(journal, lines, "--from-store", "fast", "--to-store", target, "--move")
    status, resumed = stores.run("--resume", "--journal", journal, "--yes")
    assert (status, {row["state"] for row in resumed}) == (0, {"done"}), resumed
    assert stores.stores([*images]) == [target]
    assert stores.whole(images)
    status, undone = stores.run("--undo", "--journal", journal, "--yes")
    assert (status, {row["state"] for row in undone}) == (0, {"undone"}), undone
    assert stores.stores([*images]) == ["fast"]
    assert stores.whole(images)


def test_200_images_leave_a_store_with_a_kill_in_the_middle_and_come_back(stores: Stores, tmp_path: Path) -> None:
    images = stores.put("local", contents(MANY, 10_000), jobs=4)
    journal = tmp_path / "journal"
    stores.killed(journal, MANY + 2 + 3 * MANY // 2, "--from-store", "local", "--to-store", "spare", "--move")
    assert stores.whole(images)
    status, resumed = stores.run("--resume", "--journal", journal, "--yes")
    assert (status, {row["state"] for row in resumed}) == (0, {"done"})
    assert 0 < len(resumed) < MANY
    assert stores.stores([*images]) == ["spare"]
    assert stores.whole(images)
    status, undone = stores.run("--undo", "--journal", journal, "--yes")
    assert (status, len(undone), {row["state"] for row in undone}) == (0, MANY, {"undone"})
    assert stores.stores([*images]) == ["local"]
    assert stores.whole(images)
