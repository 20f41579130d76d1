"""What Cinder's own inspector makes of a file; `tests/upstream/test_safety.py` compares it with Cinder's."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from imagevol_adapters.inspection.inspector import ImageInspector, inspect_file
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_core import CinderInspection, MissingProgram, SourceFailed
from tests.adapters.inspecting import (
    FILES,
    HOSTILE,
    MIB,
    ONE_FILE,
    SIZE,
    descriptor,
    fixed_vhd,
    holding,
    luks,
    made,
    needed,
    part,
    raw,
    sparse,
    with_footer,
    written,
)

ALL = FILES | HOSTILE

# What oslo.utils takes for a format that Cinder does not see in it.
RAW = {
    *("gpt", "iso", "luks-as-raw", "fixed-vhd", "fixed-vhd-with-gpt", "flat", "vmdk-footer", "vmdk-without-its-end"),
    *("short-qcow2", "short-vdi", "short-vhd", "short-vhdx", "short-vmdk", "vhdx-points-nowhere", "empty"),
}
FOUND = {
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vmdk-stream": "vmdk",
    "vhd": "vhd",
    "vhdx": "vhdx",
    "vdi": "vdi",
    "qed": "qed",
}
UNSAFE = {"backed", "data-file", "unknown-features", "qed", "vmdk-extent"}
MONOLITHIC = 'createType="monolithicSparse"'


def examined(make: Callable[[Path], None], folder: Path) -> CinderInspection:
    """What Cinder finds in a file, qemu-img included."""
    needed()
    make(folder / "image")
    found = QemuConverter().examine_as_cinder(str(folder / "image"), what="image 7").cinder
    assert found is not None
    return found


def encrypted(path: Path) -> None:
    """A LUKS disk of 1 MiB that qemu-img can open: the header has eight key slots, of which none is used."""
    luks(path)
    slots = (struct.pack(">II32xII", 0xDEAD, 0, 8 + 504 * number, 4000) for number in range(8))
    written(path, 164, struct.pack(">I", 1000) + b"".rjust(40, b"0") + b"".join(slots))
    os.truncate(path, 2 * MIB + MIB)


class TestInspector:
    """What it takes a file for."""

    @pytest.mark.parametrize("name, expected", [*((name, "raw") for name in sorted(RAW)), *FOUND.items()])
    def test_the_inspector_finds_the_format_that_cinder_finds(self, name: str, expected: str, tmp_path: Path) -> None:
        needed()
        ALL[name][0](tmp_path / "image")
        found = inspect_file(tmp_path / "image").cinder
        assert found is not None
        assert found.format == expected

    @pytest.mark.parametrize("name", sorted(UNSAFE))
    def test_the_inspector_finds_an_image_unsafe_that_reads_another_file_or_has_unknown_features(
        self, name: str, tmp_path: Path
    ) -> None:
        needed()
        ALL[name][0](tmp_path / "image")
        found = inspect_file(tmp_path / "image").cinder
        assert found is not None
        assert found.safe is False

    @pytest.mark.parametrize("line", ["what is this", "# ä"])
    def test_a_descriptor_that_cinder_cannot_read_is_neither_safe_nor_unsafe(self, line: str, tmp_path: Path) -> None:
        sparse(descriptor(line, MONOLITHIC, ONE_FILE))(tmp_path / "image")
        assert inspect_file(tmp_path / "image").cinder == CinderInspection(format="vmdk", safe=None)

    def test_a_stream_does_not_tell_it(self) -> None:
        inspector = ImageInspector()
        inspector.update(bytes(2 * MIB))
        assert inspector.inspection().cinder is None

    def test_the_size_of_what_is_raw_to_cinder_is_the_length_of_the_file(self, tmp_path: Path) -> None:
        needed()
        for make in (with_footer(SIZE // 512), fixed_vhd(raw)):
            make(tmp_path / "image")
            found = inspect_file(tmp_path / "image").cinder
            length = (tmp_path / "image").stat().st_size
            assert found == CinderInspection(format="raw", safe=True, virtual_size_bytes=length)


class TestWithQemuImg:
    """What Cinder then asks qemu-img, and what qemu-img says."""

    @pytest.mark.parametrize("name", ["qcow2", "vmdk", "vhdx", "vdi"])
    def test_a_sound_image_is_opened_and_says_its_size(self, name: str, tmp_path: Path) -> None:
        found = examined(made(name), tmp_path)
        assert found == CinderInspection(format=name, safe=True, opens=True, virtual_size_bytes=SIZE)

    @pytest.mark.parametrize("name", ["huge", "huge-vdi", "qcow", "qcow-of-a-later-version", "vmdk-sibling"])
    def test_what_qemu_img_cannot_open_is_told(self, name: str, tmp_path: Path) -> None:
        assert examined(HOSTILE[name][0], tmp_path).opens is False

    @pytest.mark.parametrize("name", ["backed", "data-file", "qed", "vhd"])
    def test_what_cinder_does_not_ask_is_not_asked(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needed()
        ALL[name][0](tmp_path / "image")
        monkeypatch.setenv("PATH", "")
        found = QemuConverter().examine_as_cinder(str(tmp_path / "image"), what="image 7").cinder
        assert found is not None
        assert found.opens is None

    def test_an_encrypted_disk_is_raw_and_has_the_size_that_qemu_img_says_if_it_reads_it(self, tmp_path: Path) -> None:
        found = examined(encrypted, tmp_path)
        assert found == CinderInspection(format="raw", safe=True, opens=True, virtual_size_bytes=MIB)
        found = examined(part(luks, 1000), tmp_path)  # no key in it
        assert found == CinderInspection(format="raw", safe=True, opens=True, virtual_size_bytes=1024)

    def test_without_qemu_img_it_says_which_package_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        holding(bytes(MIB))(tmp_path / "image")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(MissingProgram, match="qemu-utils"):
            QemuConverter().examine_as_cinder(str(tmp_path / "image"), what="image 7")

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SourceFailed, match=f"^image 7 cannot be read: {os.strerror(2)}$"):
            QemuConverter().examine_as_cinder(str(tmp_path / "none"), what="image 7")
