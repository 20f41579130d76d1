"""An image that was cut short is refused, wherever it was cut, unless not one byte of its disk is missing."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from imagevol_adapters.blockmaps import needed_bytes
from imagevol_adapters.inspection.inspector import ImageInspector, inspect_file
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.filling import Examination
from imagevol_core import SafetySettings, UnsafeImage, check_image_safety, failed
from tests.adapters.inspecting import MIB, SIZE, changed, iso, made, needed, qemu_img, stream_optimized, written

# How each is made, and what it is declared to be.
FORMATS = {
    "qcow2": ("qcow2",),
    "qcow2-compressed": ("qcow2", "-c"),
    "qcow2-zstd": ("qcow2", "-c", "-o", "compression_type=zstd"),
    "qcow2-extended": ("qcow2", "-o", "extended_l2=on"),
    "qcow2-extended-large": ("qcow2", "-o", "extended_l2=on,cluster_size=2M"),
    "qcow2-small-clusters": ("qcow2", "-o", "cluster_size=512"),
    "qcow2-large-clusters": ("qcow2", "-o", "cluster_size=2M"),
    "qcow2-old": ("qcow2", "-o", "compat=0.10"),
    "vmdk": ("vmdk",),
    "vmdk-stream": ("vmdk", "-o", "subformat=streamOptimized"),
    "vdi": ("vdi",),
    "vdi-static": ("vdi", "-o", "static=on"),
    "vhd": ("vpc",),
    "vhd-of-its-size": ("vpc", "-o", "force_size=on"),
    "vhd-fixed": ("vpc", "-o", "subformat=fixed"),
    "vhdx": ("vhdx",),
    "vhdx-fixed": ("vhdx", "-o", "subformat=fixed"),
    "vhdx-small-blocks": ("vhdx", "-o", "block_size=1M"),
}
# Where there is data on the disk: at its end or not, in a part of a block or in whole ones.
DISKS = {
    "sparse": (20 * MIB, [(0, 4096), (5 * MIB, 4096)]),
    "odd": (6 * MIB + 1000, [(3 * MIB + 5, 1), (6 * MIB, 900)]),
    "full": (4 * MIB, [(0, MIB), (2 * MIB, 2 * MIB)]),
}


def made_of(disk: tuple[int, list[tuple[int, int]]], how: tuple[str, ...], directory: Path) -> Path:
    """An image of this kind with this data in it."""
    plain, image, chance = directory / "plain", directory / "image", random.Random(5)
    size, pieces = disk
    plain.write_bytes(b"")
    os.truncate(plain, size)
    for offset, length in pieces:
        written(plain, offset, chance.randbytes(length))
    qemu_img("convert", "-f", "raw", "-O", *how, plain, image)
    return image


def declared(how: tuple[str, ...]) -> str:
    return {"vpc": "vhd"}.get(how[0], how[0])


def returned(*arguments: str | Path) -> int:
    """What qemu-img ends with."""
    return subprocess.run(["qemu-img", *arguments], check=False, capture_output=True).returncode


def refusals(image: Path, name: str) -> list[str]:
    """The rules that refuse it."""
    settings = SafetySettings(qemu_features=frozenset({"extended_l2"}))
    decision = check_image_safety(inspect_file(image), declared_format=name, settings=settings)
    return [verdict.rule for verdict in failed(decision.verdicts)]


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_image_is_refused_or_is_the_whole_disk(kind: str, disk: str, tmp_path: Path) -> None:
    needed()
    how = FORMATS[kind]
    image, part, result = made_of(DISKS[disk], how, tmp_path), tmp_path / "part", tmp_path / "result"
    data, chance = image.read_bytes(), random.Random(9)
    assert refusals(image, declared(how)) == []
    qemu_img("convert", "-f", how[0], "-O", "raw", image, result)
    whole, length = result.read_bytes(), len(data)
    least = needed_bytes(io.BytesIO(data), name=declared(how), size_bytes=length)
    assert least is not None
    places = [length - 1, length - 511, length - 512, length - 513, length - 65536, length // 2, least, least - 1]
    places += [chance.randrange(1, length) for _ in range(6)]
    cut = 0
    for place in sorted({place for place in places if 0 < place < length}):
        part.write_bytes(data[:place])
        if refusals(part, declared(how)):
            cut += 1
            continue
        assert returned("convert", "-f", how[0], "-O", "raw", part, result) or result.read_bytes() == whole, place
    assert cut


def test_data_that_no_table_names_may_be_missing(tmp_path: Path) -> None:
    needed()
    image = tmp_path / "image"
    made("qcow2")(image)
    os.truncate(image, 1 << 20)
    assert refusals(image, "qcow2") == []


class TestCompressed:
    """Only the padding after the last compressed cluster may be missing."""

    def image(self, directory: Path) -> tuple[bytes, int]:
        """A compressed qcow2, and where the last stream in it ends."""
        image = made_of(DISKS["sparse"], FORMATS["qcow2-compressed"], directory)
        data = image.read_bytes()
        start = self.last(data)
        inflater = zlib.decompressobj(-15)
        inflater.decompress(data[start:])
        return data, len(data) - len(inflater.unused_data)

    def last(self, data: bytes) -> int:
        """Where the last compressed cluster begins."""
        (tables,) = struct.unpack_from(">Q", data, 40)
        (table,) = struct.unpack_from(">Q", data, tables)
        entries = struct.unpack_from(">8192Q", data, table & ((1 << 56) - 512))
        return max(int(entry) & ((1 << 54) - 1) for entry in entries if entry >> 62 & 1)

    def test_a_compressed_cluster_needs_its_data_and_not_its_padding(self, tmp_path: Path) -> None:
        needed()
        data, end = self.image(tmp_path)
        assert end < len(data)
        path = tmp_path / "part"
        path.write_bytes(data[:end])
        assert refusals(path, "qcow2") == []
        path.write_bytes(data[: end - 1])
        assert refusals(path, "qcow2") == ["not-truncated"]

    def test_more_compressed_clusters_than_fit_a_sector_are_refused(self, tmp_path: Path) -> None:
        needed()
        data, end = self.image(tmp_path)
        (tables,) = struct.unpack_from(">Q", data, 40)
        (table,) = struct.unpack_from(">Q", data, tables)
        image = bytearray(data[:end])
        last = end // 512 * 512
        entries = [1 << 62 | each for each in range(last, last + 100)]
        struct.pack_into(f">{len(entries)}Q", image, table & ((1 << 56) - 512), *entries)
        path = tmp_path / "part"
        path.write_bytes(image)
        assert refusals(path, "qcow2") == ["not-truncated"]


class TestTables:
    """Tables that make no sense say nothing, and take no time."""

    @pytest.mark.parametrize(
        "make, name, offset, data",
        [
            (made("qcow2"), "qcow2", 20, struct.pack(">I", 8)),  # clusters of 256 bytes
            (made("qcow2"), "qcow2", 20, struct.pack(">I", 63)),
            (made("qcow2"), "qcow2", 24, struct.pack(">Q", 1 << 60)),  # no room for so large a disk
            (made("vdi"), "vdi", 0x178, bytes(4)),  # blocks of no bytes
            (made("vpc"), "vhd", 512 + 32, bytes(4)),
            (made("vpc"), "vhd", 16, b"\xff" * 8),
            (made("vmdk"), "vmdk", 20, bytes(8)),
            (made("vmdk"), "vmdk", 44, struct.pack("<I", 513)),
            (made("vmdk"), "vmdk", 12, struct.pack("<Q", 1 << 62)),
            (made("vmdk"), "vmdk", 56, b"\xff" * 8),  # a footer that there is not
            (made("vhdx"), "vhdx", 192 << 10, b"none"),  # of two tables of the regions the other one
            (made("vhdx"), "vhdx", (192 << 10) + 8, bytes(4)),
            (made("vhdx"), "vhdx", (3 << 20) + 10, bytes(2)),  # no metadata
            (made("vhdx"), "vhdx", 3 << 20, b"nothing!"),
        ],
    )
    def test_an_image_with_unreadable_tables_is_not_known_to_be_whole(
        self, make: Callable[[Path], None], name: str, offset: int, data: bytes, tmp_path: Path
    ) -> None:
        needed()
        image = tmp_path / "image"
        changed(make, (offset, data))(image)
        with image.open("rb") as file:
            size_bytes = image.stat().st_size
            found = needed_bytes(file, name=name, size_bytes=size_bytes)
        assert found is None or found > size_bytes or data == b"none"

    def test_tables_of_a_qcow2_do_not_overlap(self) -> None:
        """They begin where a cluster does, or each would be read for every 512 bytes of the file."""
        cluster, count = 1 << 16, 100
        header = bytearray(cluster)
        sizes = (3, 0, 0, 16, count * (cluster // 8) * cluster, 0, count, cluster, 2 * cluster, 1, 0, 0)
        struct.pack_into(">4sIQIIQIIQQIIQ", header, 0, b"QFI\xfb", *sizes)
        struct.pack_into(">QQQII", header, 72, 0, 0, 0, 4, 104)
        for apart, sound in ((cluster, True), (512, False)):
            places = b"".join(struct.pack(">Q", 3 * cluster + apart * index) for index in range(count))
            data = bytes(header) + places.ljust(2 * cluster, b"\0") + bytes(count * cluster)
            assert (needed_bytes(io.BytesIO(data), name="qcow2", size_bytes=len(data)) is None) is not sound

    @pytest.mark.parametrize("name", ["qcow2", "vdi", "vhd", "vhdx", "vmdk"])
    def test_an_empty_file_is_not_known_to_be_whole(self, name: str) -> None:
        assert needed_bytes(io.BytesIO(b""), name=name, size_bytes=0) is None
        assert needed_bytes(io.BytesIO(bytes(4096)), name=name, size_bytes=4096) is None

    def test_a_format_without_tables_says_nothing(self) -> None:
        assert needed_bytes(io.BytesIO(b"data"), name="raw", size_bytes=4) is None

    def test_a_grain_whose_length_is_cut_off_is_missing(self, tmp_path: Path) -> None:
        needed()
        stream_optimized(tmp_path / "image")
        data = (tmp_path / "image").read_bytes()
        (gd,) = struct.unpack_from("<Q", data, 56)
        (gt,) = struct.unpack_from("<I", data, gd * 512)
        last = max(struct.unpack_from("<32I", data, gt * 512)) * 512
        assert needed_bytes(io.BytesIO(data[: last + 6]), name="vmdk", size_bytes=last + 6) == last + 13

    def test_a_disk_of_no_bytes_needs_no_blocks(self, tmp_path: Path) -> None:
        needed()
        for name, how, place in [("vdi", "vdi", 0x170), ("vmdk", "vmdk", 12), ("qcow2", "qcow2", 24)]:
            changed(made(how), (place, bytes(8)))(tmp_path / "image")
            data = (tmp_path / "image").read_bytes()
            found = needed_bytes(io.BytesIO(data), name=name, size_bytes=len(data))
            assert found is not None
            assert found <= len(data)


class TestCheck:
    """What a qcow2's own tables do not say, `qemu-img check` does."""

    def test_a_qcow2_with_errors_is_refused(self, tmp_path: Path) -> None:
        needed()
        image = made_of(DISKS["full"], ("qcow2",), tmp_path)
        (place,) = struct.unpack_from(">Q", image.read_bytes(), 48)
        written(image, place, bytes(8))  # no table counts how often a cluster is used
        with pytest.raises(UnsafeImage) as caught:
            QemuConverter().examine(str(image), declared_format="qcow2", size_gib=1, what="it")
        assert list(caught.value.reasons) == ["tables-sound"]

    def test_a_cluster_that_is_leaked_is_no_error(self, tmp_path: Path) -> None:
        needed()
        image = made_of(DISKS["full"], ("qcow2",), tmp_path)
        data = image.read_bytes()
        (tables,) = struct.unpack_from(">Q", data, 40)
        (table,) = struct.unpack_from(">Q", data, tables)
        written(image, table & ((1 << 56) - 512), bytes(8))  # nothing uses the first cluster any more
        assert returned("check", "-q", "-f", "qcow2", image) == 3
        found = QemuConverter().examine(str(image), declared_format="qcow2", size_gib=1, what="it")
        assert (found.corruptions, found.missing_bytes) == (0, 0)


class TestIso:
    """An ISO says in its first descriptor how long it is."""

    def test_an_iso_that_was_cut_short_is_refused(self, tmp_path: Path) -> None:
        needed()
        image = tmp_path / "image"
        iso(image)
        assert refusals(image, "iso") == []
        os.truncate(image, SIZE - 1)
        assert refusals(image, "iso") == ["not-truncated"]

    def test_a_stream_is_not_refused_before_it_ends(self, tmp_path: Path) -> None:
        needed()
        iso(tmp_path / "image")
        data = memoryview((tmp_path / "image").read_bytes())
        for length, refused in [(SIZE, False), (SIZE - 1, True)]:
            examination = Examination("iso", "image 7")
            examination(data[: SIZE // 2 + 1])
            examination(data[SIZE // 2 + 1 : length])
            if refused:
                with pytest.raises(UnsafeImage, match="not-truncated: the file was cut short"):
                    examination.end()
            else:
                examination.end()

    def test_a_descriptor_of_another_kind_says_nothing(self) -> None:
        inspector = ImageInspector()
        inspector.update(bytes(32768) + b"\xffCD001".ljust(2048, b"\xff") + bytes(MIB))
        assert inspector.inspection().missing_bytes == 0
