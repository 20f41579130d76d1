"""`get` by an image's name or id holds the data to Glance's digest of the image, whatever the volume says of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.testing.memory import MemoryImages, MemoryVolumes
from imagevol_core import Digest, Image
from tests.adapters.commands import Ran, Run
from tests.adapters.test_blake3_commands import BLAKE3, DATA, file, memory

__all__ = ["file", "memory"]

OF_THE_VOLUME = ("imagevol_blake3", "os_hash_algo", "os_hash_value", "checksum")
FORGED = b"evil" * (len(DATA) // 4)


@pytest.fixture
def volume_id(run: Run, memory: MemoryVolumes, file: Path) -> str:
    assert run("put", file, "--register", "disk").status == 0
    (volume,) = memory.volumes.values()
    return volume.id


@pytest.fixture
def image(volume_id: str) -> Image:
    return Imagevol.images.find("disk")  # type: ignore[attr-defined, no-any-return]


def without_digests(memory: MemoryVolumes, volume_id: str) -> None:
    """As Glance's own driver writes a volume."""
    memory.unset_metadata(volume_id, OF_THE_VOLUME)


def given_digest(image: Image, digest: Digest | None) -> None:
    images: MemoryImages = Imagevol.images  # type: ignore[assignment]
    images.images[image.id] = replace(image, digest=digest)


@pytest.mark.parametrize("options", [(), ("--resume",), ("--record-blake3",)])
@pytest.mark.parametrize("by", ["name", "id"])
def test_data_that_has_not_glances_digest_is_refused_although_the_volume_records_none(
    run: Run, memory: MemoryVolumes, volume_id: str, image: Image, tmp_path: Path, by: str, options: tuple[str, ...]
) -> None:
    without_digests(memory, volume_id)
    memory.contents[volume_id].write(0, memoryview(b"evil"))
    ran = run("get", "disk" if by == "name" else image.id, tmp_path / "back", *options)
    assert ran.status != 0
    assert not (tmp_path / "back").exists()
    assert "imagevol_blake3" not in memory.get(volume_id).metadata


@pytest.mark.parametrize("options", [(), ("--resume",)])
def test_data_and_blake3_that_were_both_forged_are_refused(
    run: Run, memory: MemoryVolumes, volume_id: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    memory.contents[volume_id].write(0, memoryview(FORGED))
    memory.set_metadata(volume_id, {"imagevol_blake3": blake3(FORGED).hexdigest()})
    assert run("get", "disk", tmp_path / "back", *options).status != 0
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("options", [(), ("--resume",)])
def test_an_image_whose_digest_only_glance_knows_is_verified_and_can_be_resumed(
    run: Run, memory: MemoryVolumes, volume_id: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    without_digests(memory, volume_id)
    assert run("get", "disk", tmp_path / "back", *options) == Ran(0, "", "")
    assert (tmp_path / "back").read_bytes() == DATA


def test_the_size_that_glance_has_is_read_if_the_volume_records_none(
    run: Run, memory: MemoryVolumes, volume_id: str, tmp_path: Path
) -> None:
    memory.unset_metadata(volume_id, [*OF_THE_VOLUME, "image_size"])
    for number, options in enumerate(((), ("--resume",))):
        assert run("get", "disk", tmp_path / str(number), *options) == Ran(0, "", "")
        assert (tmp_path / str(number)).read_bytes() == DATA


def test_a_blake3_is_recorded_with_glances_digest_after_that_verified_the_data(
    run: Run, memory: MemoryVolumes, volume_id: str, image: Image, tmp_path: Path
) -> None:
    without_digests(memory, volume_id)
    assert run("get", "disk", tmp_path / "back", "--record-blake3") == Ran(0, "", "")
    metadata = memory.get(volume_id).metadata
    assert metadata["imagevol_blake3"] == BLAKE3
    assert image.digest is not None
    assert metadata["os_hash_value"] == image.digest.value


def test_an_image_without_a_digest_in_glance_is_verified_by_its_volume(
    run: Run, memory: MemoryVolumes, volume_id: str, image: Image, tmp_path: Path
) -> None:
    given_digest(image, None)
    assert run("get", "disk", tmp_path / "good") == Ran(0, "", "")
    memory.contents[volume_id].write(0, memoryview(FORGED))
    assert run("get", "disk", tmp_path / "bad").status != 0


@pytest.mark.parametrize("options", [(), ("--resume",), ("--through-glance",), ("--through-glance", "--resume")])
def test_with_require_digest_an_image_that_cannot_be_verified_is_refused(
    run: Run, memory: MemoryVolumes, volume_id: str, image: Image, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert run("get", "disk", tmp_path / "verified", "--require-digest", *options).status == 0
    without_digests(memory, volume_id)
    given_digest(image, None)
    assert run("get", "disk", tmp_path / "read", *options).status == 0
    ran = run("get", "disk", tmp_path / "refused", "--require-digest", *options)
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["disk.raw", "read", "verified"]


def test_require_digest_is_refused_for_a_part_which_no_digest_covers(run: Run, volume_id: str, tmp_path: Path) -> None:
    for part in (("--offset", "1"), ("--length", "1")):
        assert run("get", volume_id, tmp_path / "part", "--require-digest", *part).status == 1
    assert not (tmp_path / "part").exists()


def test_a_digest_that_cannot_be_made_here_is_refused_before_anything_is_kept(
    run: Run, memory: MemoryVolumes, volume_id: str, image: Image, tmp_path: Path
) -> None:
    given_digest(image, Digest("nosuch", "0b" * 64))
    for options in ((), ("--resume",), ("--resume", "--through-glance")):
        ran = run("get", "disk", tmp_path / "back", *options)
        assert ran.status != 0
        assert "nosuch" in ran.err
        assert ran.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["disk.raw"]


@pytest.mark.parametrize(
    "by, readonly, unset, reason",
    [
        ("volume", False, ("imagevol_blake3",), "it is not read-only, so its data may have changed"),
        ("volume", True, OF_THE_VOLUME, "was not verified by the multihash of its image"),
        ("volume", True, (), "records one already"),
        ("image", False, ("imagevol_blake3",), "it is not read-only, so its data may have changed"),
        ("image", True, (), "records one already"),
    ],
)
def test_a_read_that_records_no_blake3_although_one_is_wanted_says_why(
    run: Run,
    memory: MemoryVolumes,
    volume_id: str,
    tmp_path: Path,
    by: str,
    readonly: bool,
    unset: tuple[str, ...],
    reason: str,
) -> None:
    memory.unset_metadata(volume_id, unset)
    memory.set_readonly(volume_id, readonly=readonly)
    before = memory.get(volume_id).metadata
    ran = run("get", volume_id if by == "volume" else "disk", tmp_path / "back", "--record-blake3")
    assert ran.status == 0
    (line,) = [line for line in ran.err.splitlines() if "BLAKE3" in line]
    assert line.startswith(f"No BLAKE3 was recorded: volume {volume_id} ")
    assert line.endswith(f"{reason}.")
    assert memory.get(volume_id).metadata == before
