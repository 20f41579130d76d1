"""A process that is killed before its attachment is complete is known on its host all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from requests_mock import Mocker

from imagevol_adapters.attaching_records import AttachingRecords
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.ports import AccessMode
from imagevol_core import ProcessRecord, ServiceFailed
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
