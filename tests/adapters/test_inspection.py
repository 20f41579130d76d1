"""What an image is, told from its bytes: the same however they come, and never an error."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagevol_adapters.inspection.inspector import PART_BYTES, ImageInspector, check, inspect_file
from imagevol_core import Inspection, SafetySettings, UnsafeImage, check_image_safety, failed, partition_faults
from tests.adapters.inspecting import (
    BACKED_HEADER,
    BOCHS,
    CLOOP,
    FILES,
    HOSTILE,
    MIB,
    PARENT,
    luks,
    needed,
    raw,
    with_footer,
    written,
)

ALL = FILES | HOSTILE
MAGICS = [
    *(b"QFI\xfb\0\0\0\3", b"KDMV\1\0\0\0", b"vhdxfile", b"conectix", b"QED\0", b"LUKS\xba\xbe\0\1"),
    *(b"# Disk DescriptorFile\n", b'createType="monolithicSparse"\n', b'createtype="', b"\x55\xaa", b"\x01CD001"),
    *(b"regi\0\0\0\0\1\0\0\0", b"metadata", b"\x7f\x10\xda\xbe", b"\xff" * 8),
]
PLACES = [0, 8, 12, 28, 36, 56, 64, 446, 510, 512, 32768, 32769, 196608, 1 << 20, (1 << 20) + 64]


@pytest.fixture
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A real image, made anew."""
    needed()
    path = tmp_path / "image"
    ALL[request.param][0](path)
    return path


each_image = pytest.mark.parametrize("image", ALL, indirect=True)


def streamed(data: bytes, lengths: list[int]) -> Inspection:
    """What is found while the data pass in parts of these lengths, over and over."""
    inspector, place = ImageInspector(), 0
    while place < len(data):
        for length in lengths:
            inspector.update(memoryview(data)[place : place + length])
            place += length
    return inspector.inspection()


class TestEveryImage:
    """Sound ones pass, hostile ones are refused by the rules that the table names."""

    @pytest.mark.parametrize("name, image", [(name, name) for name in ALL], indirect=["image"])
    def test_an_unsafe_image_is_refused_by_its_rules_and_no_others(self, name: str, image: Path) -> None:
        _, declared, refused = ALL[name]
        inspection = inspect_file(image)
        decision = check_image_safety(inspection, declared_format=declared, size_gib=1)
        assert [verdict.rule for verdict in failed(decision.verdicts)] == refused, inspection

    @each_image
    def test_a_stream_tells_what_the_file_does(self, image: Path) -> None:
        expected = replace(inspect_file(image), cinder=None)  # which only a file tells
        if "iso" not in expected.formats:  # whose descriptor passes with the bytes
            expected = replace(expected, missing_bytes=None)
        data = image.read_bytes()
        for length in (len(data) or 1, PART_BYTES, 4 * MIB, 65536, 4096, 1000):
            assert streamed(data, [length]) == expected, length


class TestAnyBytes:
    """Whatever the bytes, there are facts, and the same ones however they are cut."""

    @given(
        st.binary(max_size=700),
        st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(MAGICS) | st.binary(max_size=40)), max_size=6),
        st.sampled_from([0, 0, 1000, 40_000, 262_144, PART_BYTES, PART_BYTES + 200, 2 * PART_BYTES + 70_000]),
        st.lists(st.sampled_from([1000, 4096, 65536, 100_000, PART_BYTES, 3 * PART_BYTES]), min_size=1, max_size=4),
    )
    @example(b"text " * 120 + "ä".encode(), [], 0, [1000])  # where oslo.utils' own wrapper raises an AttributeError
    @example(b"LUKS\xba\xbe", [], 0, [1000])  # and a struct.error
    def test_any_bytes_can_be_inspected(
        self, beginning: bytes, pieces: list[tuple[int, bytes]], length: int, lengths: list[int]
    ) -> None:
        data = bytearray(beginning.ljust(length, b"\0"))
        for place, piece in pieces:
            if place <= len(data):
                data[place : place + len(piece)] = piece
        whole = replace(inspect_file(io.BytesIO(data)), cinder=None)
        if "iso" not in whole.formats:
            whole = replace(whole, missing_bytes=None)
        assert streamed(bytes(data), lengths) == whole
        assert streamed(bytes(data), [max(1, len(data))]) == whole

    @given(st.binary(max_size=2000), st.lists(st.integers(1, 700), min_size=1, max_size=5))
    def test_bytes_that_come_one_by_one_are_inspected_alike(self, data: bytes, lengths: list[int]) -> None:
        assert streamed(data, lengths) == replace(inspect_file(io.BytesIO(data)), missing_bytes=None, cinder=None)


TOKENS = [
    *(b"#", b"# Disk DescriptorFile\n", b"#" + b"x" * 480, b" ", b"\n", b" \r\n", b"\r\n", b"\t", b"\0", b"x"),
    *(b"version=1\n", b"version=2\r\n", b"version=3\n", b"version=4\n", b"version=1", b"VERSION=1\n", b"CID=1\n"),
    *(b"KDMV\1\0\0\0", b"COWD\1\0\0\0", b"QFI\xfb\0\0\0\1", b"QFI\xfb\0\0\0\3", b"QED\0", b"vhdxfile", b"conectix"),
    *(b"WithoutFreeSpace\2\0\0\0", b"WithouFreSpacExt\2\0\0\0", b"LUKS\xba\xbe\0\1", b"LUKS\xba\xbe\0\2"),
    *(BOCHS[:68], CLOOP[:90], b"\0" * 64 + b"\x7f\x10\xda\xbe", b"bootcode"),
]


class TestProbes:
    """What the installed qemu-img takes for a format of its own is never raw, iso, a kernel or a ramdisk to us."""

    @settings(max_examples=250)
    @given(st.lists(st.sampled_from(TOKENS), max_size=5), st.sampled_from([512, 8192, 100_000]))
    @example([b"# \0", b"\n", b"version=1\n"], 8192)
    def test_raw_data_that_qemu_img_would_take_for_another_format_is_refused(
        self, tokens: list[bytes], length: int
    ) -> None:
        needed()
        data = b"".join(tokens).ljust(length, b"\0")
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            command = ["qemu-img", "info", "--output=json", file.name]
            ran = subprocess.run(command, check=False, capture_output=True)
        taken_for_raw = ran.returncode == 0 and json.loads(ran.stdout)["format"] == "raw"
        if not taken_for_raw:  # also one whose driver then found it unsound
            for declared in ("raw", "iso", "aki", "ari", "ami"):
                assert not check_image_safety(inspect_file(io.BytesIO(data)), declared_format=declared).safe

    @pytest.mark.parametrize("name", ["raw", "iso", "gpt"])
    def test_an_ordinary_raw_disk_is_taken_for_no_other_format(self, name: str, tmp_path: Path) -> None:
        needed()
        FILES[name][0](tmp_path / "image")
        assert inspect_file(tmp_path / "image").probed_as is None


ENTRIES = st.builds(
    struct.pack,
    st.just("<5B3xII"),
    st.sampled_from([0, 0, 0x80, 0x7F]),
    st.sampled_from([0, 0, 1, 254]),
    st.sampled_from([2, 2, 1, 0x42]),
    st.sampled_from([0, 0, 1]),
    st.sampled_from([0, 0, 0xEE, 0x83]),
    st.sampled_from([1, 1, 63]),
    st.just(4095),
)


class TestPartitionTable:
    """What is wrong with a table is said where oslo.utils' check fails, and nowhere else."""

    @given(st.lists(ENTRIES, min_size=4, max_size=4))
    def test_a_partition_table_that_fails_a_check_has_that_fault(self, entries: list[bytes]) -> None:
        disk = bytes(446) + b"".join(entries) + b"\x55\xaa" + bytes(PART_BYTES)
        inspection = inspect_file(io.BytesIO(disk))
        assert inspection.formats == ("gpt",)
        assert inspection.partitions is not None
        assert bool(partition_faults(inspection.partitions)) is bool(inspection.failed_checks)

    def test_a_boot_sector_with_code_in_place_of_a_table_is_told_as_that(self) -> None:
        sector = bytes(440) + b"\xeb\xfe" * 35 + b"\x55\xaa"  # as GRUB's rescue floppy has it
        settings = SafetySettings(nonfatal_checks=frozenset({"mbr"}))
        found = inspect_file(io.BytesIO(sector + bytes(MIB)))
        check(found, declared_format="raw", size_gib=1, what="it", settings=settings)
        with pytest.raises(UnsafeImage, match="entry 1 has the boot flag 0xeb, which must be 0x00 or 0x80"):
            check(found, declared_format="raw", size_gib=1, what="it")


class TestStream:
    """What is told while the bytes still pass."""

    def test_the_first_part_of_a_raw_stream_decides_and_the_rest_is_counted(self) -> None:
        inspector = ImageInspector()
        inspector.update(bytes(PART_BYTES - 1))
        assert not inspector.decided
        for _ in range(3):
            inspector.update(bytes(4 * MIB))
        assert inspector.decided
        assert inspector.inspection() == Inspection(
            formats=("raw",),
            header_parses=True,
            virtual_size_bytes=PART_BYTES - 1 + 12 * MIB,
            failed_checks=frozenset(),
        )

    def test_what_is_not_what_it_is_declared_need_not_be_read_to_its_end(self) -> None:
        inspector = ImageInspector()
        inspector.update(BACKED_HEADER.ljust(4 * MIB, b"\0"))
        assert inspector.decided
        with pytest.raises(UnsafeImage) as caught:
            check(inspector.inspection(), declared_format="raw", size_gib=1, what="image 7")
        assert caught.value.reasons == {
            "content-as-declared": "it is declared 'raw' and its content is 'qcow2'",
            "no-backing-file": "it has a backing file",
        }

    def test_a_format_that_cannot_be_read_is_not_waited_for(self) -> None:
        inspector = ImageInspector()
        header = struct.pack("<4sIIQQQQIQQ", b"KDMV", 3, 0, 4096, 128, 7, 20, 512, 0, (1 << 64) - 1)  # 7, and it is 1
        inspector.update(header.ljust(PART_BYTES, b"\0"))
        assert inspector.decided
        assert inspector.inspection().header_parses is False

    def test_what_was_decided_is_told_again_with_the_length_so_far(self) -> None:
        inspector = ImageInspector()
        sizes = []
        for _ in range(2):
            inspector.update(bytes(PART_BYTES))
            sizes.append(inspector.inspection().virtual_size_bytes)
        assert sizes == [PART_BYTES, 2 * PART_BYTES]

    def test_a_sound_image_raises_nothing(self) -> None:
        check(inspect_file(io.BytesIO(bytes(100))), declared_format="raw", size_gib=None, what="it")

    def test_no_more_is_kept_than_a_few_parts(self, tmp_path: Path) -> None:
        needed()
        with_footer(4096)(tmp_path / "image")  # awaited to the end
        inspector = ImageInspector()
        inspector.update((tmp_path / "image").read_bytes())
        for _ in range(64):
            inspector.update(b"\xff" * PART_BYTES)
        kept = sum(sum(each.context_info.values()) for each in inspector._inspectors.values())
        assert not inspector.decided
        assert kept + len(inspector._held) + len(inspector._head) < 4 * PART_BYTES


class Counting(io.FileIO):
    """A file that says how much was read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        assert data is not None
        self.count += len(data)
        return data


class TestFile:
    """Of a file no more is read than the answer takes."""

    def test_only_the_first_part_of_a_raw_file_and_a_possible_footer_are_read(self, tmp_path: Path) -> None:
        raw(tmp_path / "image")
        os.truncate(tmp_path / "image", 1 << 40)
        with Counting(tmp_path / "image") as file:
            assert inspect_file(file).virtual_size_bytes == 1 << 40
            assert file.count == PART_BYTES + 512

    def test_both_ends_of_a_vmdk_with_a_footer_are_read(self, tmp_path: Path) -> None:
        needed()
        path = tmp_path / "image"
        with_footer(4096)(path)
        image = path.read_bytes()
        path.write_bytes(image[:-1536])
        os.truncate(path, 1 << 30)
        written(path, (1 << 30) - 1536, image[-1536:])
        with Counting(path) as file:
            inspection = inspect_file(file)
            assert file.count <= 3 * PART_BYTES
        assert inspection.failed_checks == frozenset()
        written(path, (1 << 30) - 1024, b"KDMX")
        assert inspect_file(path).failed_checks == frozenset({"footer"})
        written(path, 512, PARENT + b"\0")  # far before the end
        assert inspect_file(path).has_backing_file is True

    def test_the_length_of_an_encrypted_disk_is_what_follows_its_header(self, tmp_path: Path) -> None:
        luks(tmp_path / "image")
        os.truncate(tmp_path / "image", 5 * MIB)
        assert inspect_file(tmp_path / "image").virtual_size_bytes == 3 * MIB
        assert streamed((tmp_path / "image").read_bytes(), [PART_BYTES]).virtual_size_bytes == 3 * MIB

    def test_a_file_is_read_from_its_beginning_wherever_its_position_is(self) -> None:
        file = io.BytesIO(BACKED_HEADER.ljust(512, b"\0"))
        file.seek(300)
        assert inspect_file(file).formats == ("qcow2",)

    def test_what_is_not_there_is_an_error_of_the_operating_system(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            inspect_file(tmp_path / "none")
