"""A process that is killed before its attachment is complete is known on its host all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from requests_mock import Mocker

from imagevol_adapters.attaching_records import AttachingRecords
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.processes import this_process
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_adapters.transfers.reclaiming import named, reclaim
from imagevol_core import ProcessRecord, ServiceFailed, VolumeBusy
from tests.adapters.rest import CINDER, offer_cinder, session

pytestmark = pytest.mark.usefixtures("clock")

KILLED = ProcessRecord(boot_id="3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11", namespaces="4.5", pid=7, started=123)
CONNECTOR = {"host": "here", "mountpoint": KILLED.to_text("glance_store")}


@pytest.fixture
def http() -> Iterator[Mocker]:
    """A Cinder with a volume that is about to be attached; of an incomplete attachment it shows no process."""
    with Mocker() as http:
        offer_cinder(http)
        attachment: dict[str, Any] = {
            "id": "a1",
            "volume_id": "7",
            "status": "attaching",
            "instance": None,
            "connection_info": {},
        }
        http.get(f"{CINDER}/volumes/7", json={"volume": {"id": "7", "status": "attaching", "attachments": []}})
        http.get(f"{CINDER}/attachments/detail", json={"attachments": [attachment]})
        http.post(f"{CINDER}/attachments", json={"attachment": attachment})
        http.put(f"{CINDER}/attachments/a1", json={"attachment": attachment})
        http.post(f"{CINDER}/attachments/a1/action", json={})
        http.delete(f"{CINDER}/attachments/a1", json={"attachments": []})
        yield http


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def cinder(locks: Path | None) -> CinderVolumes:
    return CinderVolumes(session=session(CINDER), retries=0, records=AttachingRecords(lambda: locks))


def holder(volumes: CinderVolumes) -> ProcessRecord | None:
    (facts,) = volumes.holders("7")
    return facts.process


def test_the_process_of_an_attachment_that_is_not_complete_is_known_on_its_host(http: Mocker, locks: Path) -> None:
    cinder(locks).attach("7", connector=CONNECTOR, mode=AccessMode.READ)
    assert holder(cinder(locks)) == KILLED


def test_it_is_not_known_on_another_host(http: Mocker, locks: Path, tmp_path: Path) -> None:
    cinder(locks).attach("7", connector=CONNECTOR, mode=AccessMode.READ)
    assert holder(cinder(tmp_path / "of another host")) is None
    assert holder(cinder(None)) is None


def test_a_complete_attachment_leaves_no_file(http: Mocker, locks: Path) -> None:
    volumes = cinder(locks)
    volumes.complete(volumes.attach("7", connector=CONNECTOR, mode=AccessMode.READ))
    assert list(locks.iterdir()) == []


def test_an_attachment_that_is_taken_back_leaves_no_file(http: Mocker, locks: Path) -> None:
    attachment = cinder(locks).attach("7", connector=CONNECTOR, mode=AccessMode.READ)
    http.delete(f"{CINDER}/attachments/a1", status_code=404)
    cinder(locks).detach(attachment)
    assert list(locks.iterdir()) == []


def test_an_attachment_that_fails_leaves_no_file(http: Mocker, locks: Path) -> None:
    http.put(f"{CINDER}/attachments/a1", status_code=500)
    with pytest.raises(ServiceFailed):
        cinder(locks).attach("7", connector=CONNECTOR, mode=AccessMode.READ)
    assert list(locks.iterdir()) == []


def test_a_volume_is_attached_also_if_nothing_can_be_kept(http: Mocker, locks: Path) -> None:
    locks.write_text("a file")
    assert cinder(locks).attach("7", connector=CONNECTOR, mode=AccessMode.READ).id == "a1"
    assert holder(cinder(locks)) is None


def test_what_another_user_could_have_written_is_not_believed(http: Mocker, locks: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    forged.write_text(CONNECTOR["mountpoint"])
    locks.mkdir(mode=0o700)
    (locks / "imagevol-attaching-a1").symlink_to(forged)
    assert holder(cinder(locks)) is None
    if os.geteuid() == 0:
        (locks / "imagevol-attaching-a1").unlink()
        os.chown(forged.rename(locks / "imagevol-attaching-a1"), 1234, 1234)
        assert holder(cinder(locks)) is None


def test_a_process_that_does_not_name_itself_leaves_no_file(http: Mocker, locks: Path) -> None:
    cinder(locks).attach("7", connector={"host": "here", "mountpoint": "/dev/vdb"}, mode=AccessMode.READ)
    assert not locks.exists() or list(locks.iterdir()) == []


def reserved(http: Mocker) -> None:
    """Let Cinder show a volume that an attachment reserves since now, of which nothing else is known."""
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    volume = {"id": "7", "size": 1, "status": "reserved", "metadata": {}, "attachments": [], "updated_at": now}
    attachment: dict[str, Any] = {
        "id": "a1",
        "volume_id": "7",
        "status": "reserved",
        "instance": None,
        "connection_info": {},
    }
    http.get(f"{CINDER}/volumes/7", json={"volume": volume})
    http.get(f"{CINDER}/attachments/detail", json={"attachments": [attachment]})
    http.get(f"{CINDER}/attachments/a1", json={"attachment": attachment})


ATTACH = """
import sys
from pathlib import Path
from imagevol_adapters.attaching_records import AttachingRecords
from imagevol_adapters.transfers.reclaiming import named
with AttachingRecords(lambda: Path(sys.argv[1])).reserving("7", named({"mountpoint": "glance_store"})):
    print("asked", flush=True)
    sys.stdin.read()
"""


class TestBeforeAnAttachmentHasAnId:
    """Cinder may have reserved the volume when the process that asked for that is killed."""

    def killed(self, locks: Path) -> None:
        command = [sys.executable, "-W", "ignore", "-c", ATTACH, str(locks)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n"
            process.kill()

    def test_what_a_killed_process_reserved_is_taken_back(self, http: Mocker, locks: Path) -> None:
        self.killed(locks)
        reserved(http)
        taken = reclaim("7", volumes=cinder(locks), attacher=MemoryAttacher(volumes=MemoryVolumes()))
        assert taken.attachment_ids == ("a1",)
        assert list(locks.iterdir()) == []

    def test_the_next_attachment_takes_it_back(self, http: Mocker, locks: Path) -> None:
        self.killed(locks)
        reserved(http)
        http.post(f"{CINDER}/attachments", status_code=400, json={"badRequest": {"message": "in use"}})
        volumes = cinder(locks)

        def when_busy() -> bool:
            http.post(f"{CINDER}/attachments", json={"attachment": {"id": "a2"}})
            attacher = MemoryAttacher(volumes=MemoryVolumes())
            return reclaim("7", volumes=volumes, attacher=attacher).attachment_ids == ("a1",)

        http.put(f"{CINDER}/attachments/a2", json={"attachment": {"id": "a2", "connection_info": {}}})
        attached = volumes.attach("7", connector=named({}), mode=AccessMode.READ, when_busy=when_busy)
        assert attached.id == "a2"
        assert [path.name for path in locks.iterdir()] == ["imagevol-attaching-a2"]

    def test_what_was_reserved_long_after_its_request_is_another_programs(self, http: Mocker, locks: Path) -> None:
        self.killed(locks)
        (note,) = locks.iterdir()
        os.utime(note, (0, 0))
        reserved(http)
        assert holder(cinder(locks)) is None

    def test_a_process_that_runs_may_have_it_though_another_that_asked_was_killed(
        self, http: Mocker, locks: Path
    ) -> None:
        self.killed(locks)
        reserved(http)
        volumes = cinder(locks)
        with AttachingRecords(lambda: locks).reserving("7", named({})):
            assert holder(volumes) == this_process()
        assert list(locks.iterdir()) == []

    def test_a_refusal_leaves_no_file(self, http: Mocker, locks: Path) -> None:
        http.post(f"{CINDER}/attachments", status_code=400, json={"badRequest": {"message": "in use"}})
        http.get(f"{CINDER}/volumes/7", json={"volume": {"id": "7", "size": 1, "status": "in-use", "metadata": {}}})
        with pytest.raises(VolumeBusy):
            cinder(locks).attach("7", connector=CONNECTOR, mode=AccessMode.READ)
        assert list(locks.iterdir()) == []

    def test_an_interrupt_leaves_the_note_until_the_process_has_ended(self, http: Mocker, locks: Path) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        http.post(f"{CINDER}/attachments", json=interrupted)
        with pytest.raises(KeyboardInterrupt):
            cinder(locks).attach("7", connector=CONNECTOR, mode=AccessMode.READ)
        reserved(http)
        assert holder(cinder(locks)) == KILLED

    def test_a_deleted_volume_leaves_no_file(self, http: Mocker, locks: Path) -> None:
        self.killed(locks)
        http.delete(f"{CINDER}/volumes/7", status_code=202)
        available = {"id": "7", "size": 1, "status": "available", "metadata": {}}
        http.get(f"{CINDER}/volumes/7", json={"volume": available})
        cinder(locks).delete("7", wait=False)
        assert list(locks.iterdir()) == []
