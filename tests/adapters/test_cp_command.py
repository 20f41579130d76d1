"""`imagevol cp` in this process, on services in memory: what is asked, what is told, which status it gives."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from glanceclient.exc import HTTPInternalServerError

from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.cp import Cp
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryStoreCopies, MemoryVolumes
from imagevol_core import RequestRefused, ResourceNotFound, ServiceFailed, ServiceUnreachable
from tests.adapters.commands import Ran, Run, metrics_in
from tests.adapters.test_store_copies import DATA, STORES, Site

IDS = {name: f"{number}a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1" for number, name in enumerate(DATA)}
NAMED = {IDS[name]: content for name, content in DATA.items()}


class Glance:
    """What the command asks of Glance beside its copies."""

    def __init__(self, glance: MemoryStoreCopies) -> None:
        self.glance = glance

    def catalogue(self) -> Any:
        return self.glance.catalogue

    def find(self, name: str) -> Any:
        if name not in IDS:
            raise ResourceNotFound("image", name)
        return self.glance.images[IDS[name]]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """The application's services, in memory."""
    site = Site(STORES).put(data=NAMED)
    pools = (Pool(name="node@array#one", backend_name="array"), Pool(name="node@disks#one", backend_name="disks"))
    monkeypatch.setattr(MemoryVolumes, "pools", lambda _: pools, raising=False)
    monkeypatch.setattr(Imagevol, "cloud_id", lambda _: "a-cloud")
    monkeypatch.setattr(Imagevol, "images", Glance(site.glance))
    monkeypatch.setattr(Imagevol, "volumes", site.volumes)
    monkeypatch.setattr(Imagevol, "attacher", MemoryAttacher(volumes=site.volumes))
    monkeypatch.setattr(Cp, "_glance", site.glance)
    monkeypatch.setattr("imagevol_adapters.journals.os.fsync", lambda _: None)
    return site


@pytest.fixture
def cp(run: Run) -> Run:
    return partial(run, "cp", "-f", "json")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def states(ran: Ran) -> dict[str, str]:
    return {row["image_id"]: row["state"] for row in ran.json}


def test_one_image_is_copied_without_a_journal(site: Site, cp: Run) -> None:
    ran = cp("image-1", "--to-store", "files", "--yes")
    assert (ran.status, states(ran)) == (0, {IDS["image-1"]: "done"})
    assert ran.json[0] | {"reason": None} == {
        "image_id": IDS["image-1"],
        "image_name": IDS["image-1"],
        "state": "done",
        "way": "import",
        "to_store": "files",
        "leaves": None,
        "verification": None,
        "glance_bytes": 1001,
        "host_bytes": 0,
        "reason": None,
    }
    assert site.stores()[IDS["image-1"]] == ["fast", "files"]
    again = cp(IDS["image-1"], "--to-store", "files", "--yes")
    assert (again.status, again.json[0]["way"], again.json[0]["state"]) == (0, "nothing", "done")
    assert again.err.splitlines()[-1] == "There is nothing to copy."


def test_a_store_is_evacuated_and_taken_back(site: Site, cp: Run, journal: Path) -> None:
    arguments = ("--from-store", "fast", "--to-store", "quick", "--move")
    dry = cp(*arguments, "--dry-run")
    assert (dry.status, set(states(dry).values()), journal.exists()) == (3, {"planned"}, False)
    assert {(row["way"], row["verification"], row["leaves"]) for row in dry.json} == {("clone", "read", "fast")}
    assert dry.err == ("3 images to copy: Glance copies 0 bytes through its staging area, this host reads 3003 bytes\n")
    moved = cp(*arguments, "--journal", journal, "--yes")
    assert (moved.status, set(states(moved).values())) == (0, {"done"})
    assert site.stores() == {each: ["quick"] for each in NAMED}
    assert cp("--resume", "--journal", journal, "--yes").err.splitlines()[-1] == "There is nothing to resume."
    shown = cp("--undo", "--journal", journal, "--dry-run")
    assert (shown.status, set(states(shown).values())) == (3, {"done"})
    undone = cp("--undo", "--journal", journal, "--yes")
    assert (undone.status, set(states(undone).values())) == (0, {"undone"})
    assert site.stores() == {each: ["fast"] for each in NAMED}
    refused = cp("--resume", "--journal", journal, "--yes")
    assert (refused.status, "has been undone" in refused.err) == (1, True)


def test_an_image_that_cannot_be_copied_is_told_and_the_others_are_copied(site: Site, cp: Run, journal: Path) -> None:
    image = site.glance.images[IDS["image-0"]]
    site.glance.images[image.id] = replace(image, status="deactivated")
    ran = cp("--from-store", "fast", "--to-store", "slow", "--journal", journal, "--yes")
    assert (ran.status, sorted(states(ran).values())) == (3, ["done", "done", "refused"])
    assert "the status of the image is 'deactivated'" in ran.err


def test_what_fails_is_tried_again_and_what_stops_says_how_to_go_on(
    site: Site, cp: Run, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise ServiceUnreachable("Glance does not answer")

    with monkeypatch.context() as down:
        down.setattr(MemoryStoreCopies, "copy_to_store", silent)
        stopped = cp("--from-store", "fast", "--to-store", "slow", "--journal", journal, "--yes")
    assert stopped.status == 1
    assert f"Continue with `imagevol cp --resume --journal {journal}`" in stopped.err
    resumed = cp("--resume", "--journal", journal, "--yes")
    assert (resumed.status, set(states(resumed).values())) == (0, {"done"})
    assert site.stores() == {each: ["fast", "slow"] for each in NAMED}


def test_the_metrics_have_images_bytes_and_seconds_by_way_and_outcome(
    site: Site, cp: Run, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, succeeded = tmp_path / "cp.prom", "command_last_success_timestamp_seconds"
    site.glance.images[IDS["image-0"]] = replace(site.glance.images[IDS["image-0"]], status="deactivated")
    copy = MemoryStoreCopies.copy_to_store

    def failing(glance: MemoryStoreCopies, image_id: str, store: str) -> None:
        if image_id == IDS["image-1"]:
            raise RequestRefused("no space is left")
        copy(glance, image_id, store)

    cells = ("done files clone", "done files import", "failed files clone", "failed files import")
    none = dict.fromkeys((*cells, "done files none", "refused files none"), 0)
    options = ("--journal", journal, "--metrics", file, "--yes")
    with monkeypatch.context() as full:
        full.setattr(MemoryStoreCopies, "copy_to_store", failing)
        assert cp("--from-store", "fast", "--to-store", "files", *options).status == 3
    found = {"done files import": 1, "failed files import": 1, "refused files none": 1}
    assert metrics_in(file, "cp_images") == none | found
    assert metrics_in(file, "cp_transfer_bytes") == {"files clone": 0, "files import": len(NAMED[IDS["image-2"]])}
    assert metrics_in(file, "cp_transfer_seconds")["files import"] >= 0
    assert metrics_in(file, succeeded) == {"cp": 0}
    assert cp("--resume", *options).status == 0
    assert metrics_in(file, "cp_images") == none | {"done files import": 1}
    assert metrics_in(file, succeeded)["cp"] > 1e9


def test_a_copy_that_stops_early_leaves_the_metrics_of_the_last_run(
    site: Site, cp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise ServiceUnreachable("Glance does not answer")

    file = tmp_path / "cp.prom"
    assert cp("image-0", "--to-store", "files", "--yes", "--metrics", file).status == 0
    before = file.read_bytes()
    monkeypatch.setattr(MemoryStoreCopies, "copy_to_store", silent)
    assert cp("image-1", "--to-store", "files", "--yes", "--metrics", file).status == 1
    assert file.read_bytes() == before


def test_this_host_is_looked_at_before_there_are_threads(
    site: Site, cp: Run, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that imports os-brick, and so eventlet, cannot be joined: the command would never end."""
    made: list[threading.Thread] = []

    def attacher(_: Imagevol) -> MemoryAttacher:
        made.append(threading.current_thread())
        return MemoryAttacher(volumes=site.volumes)

    monkeypatch.setattr(Imagevol, "attacher", property(attacher))
    moved = cp("--from-store", "fast", "--to-store", "quick", "--move", "--journal", journal, "--jobs", 2, "--yes")
    assert (moved.status, set(states(moved).values())) == (0, {"done"})
    assert made[0] is threading.main_thread()


@pytest.mark.parametrize(
    "backend, part",
    [
        ("node@array", "backend node@array has the volumes of 3 stores"),
        ("node@tape", "Cinder has no backend node@tape: give one of 'node@array', 'node@disks'"),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_backend_that_is_of_no_single_store_is_refused(
    cp: Run, monkeypatch: pytest.MonkeyPatch, backend: str, part: str
) -> None:
    more = replace(STORES.stores[0], name="more")
    monkeypatch.setattr(Cp, "_catalogue", replace(STORES, stores=(*STORES.stores, more)))
    ran = cp("image-0", "--to-backend", backend, "--yes")
    assert (ran.status, part in ran.err) == (1, True)


def test_the_store_of_a_backend_is_found(site: Site, cp: Run) -> None:
    ran = cp("image-0", "--to-backend", "node@disks", "--yes")
    assert (ran.status, site.stores()[IDS["image-0"]]) == (0, ["fast", "slow"])


@pytest.mark.parametrize(
    "arguments, part",
    [
        (("image-0",), "name the store with --to-store STORE"),
        (("--to-store", "slow"), "name images, or with --from-store STORE all images of a store"),
        (("image-0", "--to-store", "slow", "--move", "--yes"), "name a journal with --journal FILE"),
        (("image-0", "image-1", "--to-store", "slow", "--yes"), "name a journal with --journal FILE"),
        (("--resume",), "name the journal with --journal FILE"),
        (
            ("image-0", "--to-store", "slow", "--yes", "--trust-recorded"),
            "--trust-recorded is for copies that this host",
        ),
        (
            ("--undo", "--journal", "x", "--verify", "glance", "--trust-recorded"),
            "--trust-recorded is for copies that this host reads",
        ),
        (("--undo", "--journal", "x", "image-0"), "the journal says what is copied"),
        (("--undo", "--journal", "x", "--metrics", "x.prom"), "leave it out with --undo and --dry-run"),
        (("image-0", "--to-store", "slow", "--dry-run", "--metrics", "x.prom"), "leave it out with --undo"),
        (("image-0", "--to-store", "slow", "--yes", "--metrics", "none/x.prom"), "none"),
        (("nosuch", "--to-store", "slow", "--yes"), "nosuch"),
        (("image-0", "--to-store", "slow"), "nothing was changed: give --yes"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_changed(
    site: Site, cp: Run, arguments: tuple[str, ...], part: str
) -> None:
    ran = cp(*arguments)
    assert (ran.status, part in ran.err) == (1, True)
    assert site.stores() == {each: ["fast"] for each in NAMED}


def test_a_journal_that_exists_is_not_overwritten(site: Site, cp: Run, journal: Path) -> None:
    journal.write_text("mine")
    ran = cp("--from-store", "fast", "--to-store", "slow", "--journal", journal, "--yes")
    assert (ran.status, journal.read_text()) == (1, "mine")
    assert site.stores() == {each: ["fast"] for each in NAMED}


def test_jobs_are_a_count(site: Site, cp: Run) -> None:
    assert [cp("image-0", "--to-store", "slow", "--jobs", jobs).status for jobs in ("0", "65", "x")] == [2, 2, 2]
    assert site.stores() == {each: ["fast"] for each in NAMED}


def test_a_glance_that_does_not_tell_its_stores_is_helped(site: Site, cp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def catalogue(_: Glance) -> Any:
        raise ServiceFailed(said) from cause

    cause: Exception = HTTPInternalServerError()
    said = "Glance, the details of its stores: HTTP 500 Internal Server Error"
    monkeypatch.setattr(Glance, "catalogue", catalogue)
    ran = cp("image-0", "--to-store", "slow", "--yes")
    assert (ran.status, ran.out, len(ran.err.splitlines())) == (1, "", 1)
    assert ran.err.startswith("Glance, the details of its stores: HTTP 500 Internal Server Error; if a store has the")
    assert ran.err.endswith("or pass Glance's configuration with --config-file\n")
    cause, said = OSError(), "Glance, the details of its stores: invalid path: /ca.pem; check the CA file"
    assert cp("image-0", "--to-store", "slow", "--yes").err == f"{said}\n"


def test_the_stores_can_be_read_from_a_configuration(site: Site, cp: Run, tmp_path: Path) -> None:
    conf = tmp_path / "glance-api.conf"
    conf.write_text(
        "[DEFAULT]\nenabled_backends = fast:imagevol,files:file\n[fast]\ncinder_volume_type = ssd\n"
        "[files]\nfilesystem_store_datadir = /x\n"
    )
    ran = cp("image-0", "--to-store", "slow", "--config-file", conf, "--yes")
    assert (ran.status, ran.json[0]["state"]) == (3, "refused")
    assert json.loads(ran.out)[0]["reason"] == "Glance has no store 'slow': give one of 'fast', 'files'"
    assert len(site.glance.images[IDS["image-0"]].locations) == 1
