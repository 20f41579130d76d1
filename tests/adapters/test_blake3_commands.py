"""`put`, `get` and `audit` with BLAKE3: alone, recorded later, and said plainly where it cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from blake3 import blake3

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from tests.adapters.commands import Ran, Run

DATA = b"data" * 5000
BLAKE3 = blake3(DATA).hexdigest()
USAGE = 2


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, no_cloud: None) -> MemoryVolumes:
    volumes = MemoryVolumes(project_id="p", volume_types={"fast": False})
    monkeypatch.setattr(Imagevol, "volumes", volumes)
    monkeypatch.setattr(Imagevol, "images", MemoryImages(volumes=volumes, project_id="p", stores=("fast",)))
    monkeypatch.setattr(Imagevol, "attacher", MemoryAttacher(volumes=volumes))
    monkeypatch.setattr(Imagevol, "project_id", "p")
    return volumes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(DATA)
    return path


def test_a_file_is_stored_with_blake3_alone_and_comes_back_verified(
    run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
) -> None:
    put = run("put", file, "--digests", "blake3", "-f", "json").json
    assert put["digest"] == put["blake3"] == f"blake3:{BLAKE3}"
    (volume,) = memory.volumes.values()
    assert {"os_hash_value", "checksum"}.isdisjoint(volume.metadata)
    assert run("get", volume.id, tmp_path / "back") == Ran(0, "", "")
    assert (tmp_path / "back").read_bytes() == DATA


def test_a_digest_that_the_file_must_have_can_be_a_blake3(run: Run, memory: MemoryVolumes, file: Path) -> None:
    assert run("put", file, "--digest", f"blake3:{BLAKE3}").status == 0
    assert run("put", file, "--digest", f"blake3:{'0b' * 32}").status != 0
    assert run("put", file, "--digest", "blake3:0b").status == USAGE
    assert len(memory.volumes) == 1


def test_glance_serves_no_volume_without_its_digests(run: Run, memory: MemoryVolumes, file: Path) -> None:
    ran = run("put", file, "--digests", "blake3", "--register", "disk")
    assert ran.status != 0
    assert ran.err.endswith("--digests blake3 makes no digest for Glance: leave it out, or leave out --register\n")
    assert memory.volumes == {}


def test_a_first_read_records_a_blake3_if_that_is_asked_for(
    run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
) -> None:
    volume_id = run("put", file, "-f", "json").json["volume_id"]
    memory.unset_metadata(volume_id, ["imagevol_blake3"])
    assert run("get", volume_id, tmp_path / "one") == Ran(0, "", "")
    assert "imagevol_blake3" not in memory.get(volume_id).metadata
    for refused in (("--offset", 5), ("--length", 5), ("--resume",), ("--through-glance",)):
        assert run("get", volume_id, tmp_path / "no", "--record-blake3", *refused).status != 0
    assert run("get", volume_id, tmp_path / "two", "--record-blake3") == Ran(0, "", "")
    assert memory.get(volume_id).metadata["imagevol_blake3"] == BLAKE3


def test_a_read_that_is_resumed_is_verified_by_the_blake3(
    run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
) -> None:
    volume_id = run("put", file, "--digests", "blake3", "-f", "json").json["volume_id"]
    assert run("get", volume_id, tmp_path / "back", "--resume").status == 0
    assert (tmp_path / "back").read_bytes() == DATA


def test_without_the_package_one_line_says_how_to_install_it(
    run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)
    said = "blake3 is not installed: pip install 'imagevol[blake3]'\n"
    for words in (("--digests", "blake3"), ("--digest", f"blake3:{BLAKE3}")):
        ran = run("put", file, *words)
        assert ran.status != 0
        assert ran.err.endswith(said)
        assert ran.err.count("\n") == 1
    put = run("put", file, "-f", "json").json
    assert put["blake3"] is None
    ran = run("get", put["volume_id"], tmp_path / "back", "--record-blake3")
    assert ran.err.endswith(said)
    assert run("get", put["volume_id"], tmp_path / "back") == Ran(0, "", "")


def test_an_audit_records_only_what_it_reads(run: Run, memory: MemoryVolumes) -> None:
    ran = run("audit", "--record-blake3")
    assert ran.err.endswith(
        "--record-blake3, --trust-recorded and --board are for --deep: pass --deep, or leave them out\n"
    )
    ran = run("audit", "--deep", "--trust-recorded")
    assert ran.err.endswith("relies on records in trusted projects: pass --trusted-project\n")
