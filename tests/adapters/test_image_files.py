"""Image files of every format into volumes that are files here: the disk, then zeros, whatever the volume held."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Limits, Source, pieces
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.testing.faults import FaultyDevice
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import (
    StoredImage,
    StoreSettings,
    register_image,
    register_image_file,
    store_image,
    store_image_file,
)
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import (
    GIB,
    ContentMismatch,
    ConversionFailed,
    CopyPlan,
    DeviceFailed,
    Digest,
    FreshThin,
    Image,
    InvalidFact,
    RequestRefused,
    SafetySettings,
    SourceFailed,
    TransferCancelled,
    UnsafeImage,
)
from tests.adapters.inspecting import SIZE, backed, changed, fixed_vhd, gpt, iso, made, needed, qemu_img, void
from tests.adapters.reading import read

MIB = 1 << 20
DISK = b"disk" * (MIB // 8) + bytes(MIB) + b"end." * (MIB // 8)
OLD = b"\xff" * (4 * MIB)
FORMATS = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhdx": "vhdx", "vdi": "vdi"}  # as qemu-img calls them
assert len(DISK) == SIZE


@pytest.fixture(autouse=True)
def _needed() -> None:
    needed()


@attrs.frozen
class FileAttacher:
    """A host on which each volume is a file that holds what somebody left."""

    volumes: MemoryVolumes
    directory: Path
    behind: Callable[[Device], Device] = lambda device: device

    def connector(self) -> Mapping[str, Any]:
        return {"host": "here"}

    @contextmanager
    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> Iterator[Device]:
        path = self.path(attachment.volume_id)
        if not path.exists():
            path.write_bytes(OLD)
            os.truncate(path, self.volumes.get(attachment.volume_id).size_gib * GIB)
        with PathDevice.open(path, writable=mode is AccessMode.WRITE) as device:
            yield self.behind(device)
        if mode is AccessMode.WRITE:  # what a Glance in memory looks at
            with path.open("rb") as file:
                self.volumes.contents[attachment.volume_id].write(0, memoryview(file.read(len(OLD))))

    def disconnect(self, attachment: Attachment) -> None:
        raise NotImplementedError

    def is_left(self, attachment: Attachment) -> bool:
        return False

    def leaving(self, volume_id: str) -> AbstractContextManager[object]:
        return nullcontext()

    def path(self, volume_id: str) -> Path:
        return self.directory / f"volume-{volume_id}"


@attrs.frozen
class World:
    volumes: MemoryVolumes
    attacher: FileAttacher

    def store(self, path: Path, disk_format: str, **wishes: Any) -> StoredImage:
        wishes = {"converter": QemuConverter(), **wishes}
        return store_image_file(
            path,
            disk_format=disk_format,
            image_id="i",
            image_owner="p",
            volumes=self.volumes,
            attacher=self.attacher,
            **wishes,
        )

    def stream(self, data: Source, disk_format: str) -> StoredImage:
        return store_image(
            data,
            image_id="i",
            image_owner="p",
            size_bytes=None,
            volumes=self.volumes,
            attacher=self.attacher,
            declared_format=disk_format,
        )

    def content(self, volume_id: str) -> bytes:
        """What the volume holds, without the zeros at its end."""
        path = self.attacher.path(volume_id)
        assert path.stat().st_size == self.volumes.get(volume_id).size_gib * GIB
        held, zeros = bytearray(), 0
        with path.open("rb") as file:
            for piece in pieces(file):
                length = len(piece) if isinstance(piece, bytes) else piece.length
                if not isinstance(piece, bytes) or piece == bytes(length):
                    zeros += length
                else:
                    held += bytes(zeros) + piece
                    zeros = 0
        return bytes(held).rstrip(b"\0")


@pytest.fixture
def world(tmp_path: Path) -> World:
    volumes = MemoryVolumes()
    return World(volumes, FileAttacher(volumes, tmp_path))


@pytest.fixture
def image(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        disk, path = tmp_path / "disk", tmp_path / f"image.{name}"
        disk.write_bytes(DISK)
        if name == "raw":
            return disk
        qemu_img("convert", "-f", "raw", "-O", FORMATS[name], disk, path)
        return path

    return make


@pytest.mark.parametrize("name", FORMATS)
def test_the_volume_holds_the_disk_and_then_zeros(world: World, image: Callable[[str], Path], name: str) -> None:
    stored = world.store(image(name), name)
    assert world.content(stored.volume.id) == DISK
    assert (stored.volume.size_gib, stored.volume.readonly, stored.volume.status) == (1, True, "available")
    size_bytes = stored.record.size_bytes or 0
    assert size_bytes >= SIZE  # some formats count in cylinders
    disk = DISK + bytes(size_bytes - SIZE)
    assert str(stored.record.digest) == f"sha512:{hashlib.sha512(disk).hexdigest()}"
    assert stored.record.checksum == hashlib.md5(disk).hexdigest()
    assert stored.report.size_bytes == size_bytes


@pytest.mark.parametrize("creator", [b"qemu", b"qem2", b"win ", b"vpc ", b"wa\0\0"])
def test_a_fixed_vhd_is_the_disk_that_qemu_img_makes_of_it(world: World, creator: bytes, tmp_path: Path) -> None:
    path, disk = tmp_path / "image.vhd", tmp_path / "disk"
    fixed_vhd(lambda path: void(path.write_bytes(DISK)), creator)(path)
    qemu_img("convert", "-f", "vpc", "-O", "raw", path, disk)
    stored = world.store(path, "vhd")
    assert world.content(stored.volume.id) == disk.read_bytes().rstrip(b"\0") == DISK
    assert stored.record.size_bytes == disk.stat().st_size
    assert b"conectix" not in world.content(stored.volume.id)


def test_a_fixed_vhd_is_not_taken_for_a_raw_disk(world: World, tmp_path: Path) -> None:
    path = tmp_path / "image.vhd"
    fixed_vhd(lambda path: void(path.write_bytes(DISK)))(path)
    says = "it is declared 'raw' and its content is 'vhd'"
    with pytest.raises(UnsafeImage, match=says):
        world.store(path, "raw")
    with pytest.raises(UnsafeImage, match=says):
        world.stream([path.read_bytes()], "raw")
    assert world.volumes.volumes == {}


def test_a_path_may_be_relative(
    world: World, image: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("qcow2", "vmdk"):  # of a VMDK qemu-img is asked too
        assert world.content(world.store(Path(image(name).name), name).volume.id) == DISK


def test_the_bytes_of_an_iso_are_the_disk(world: World, tmp_path: Path) -> None:
    path = tmp_path / "image.iso"
    iso(path)
    stored = world.store(path, "iso")
    assert world.content(stored.volume.id) == path.read_bytes().rstrip(b"\0")


def test_a_part_of_a_sector_would_show_what_the_volume_held(world: World, image: Callable[[str], Path]) -> None:
    path = image("qcow2")
    with path.open("r+b") as file:
        file.seek(24)  # the header's size of the disk
        file.write((SIZE - 24).to_bytes(8, "big"))
    with pytest.raises(RequestRefused, match=rf"the source has {SIZE - 24} bytes as a disk"):
        world.store(path, "qcow2")
    assert world.volumes.volumes == {}


@attrs.frozen(kw_only=True)
class Meanwhile(QemuConverter):
    """Something happens between the inspection of a file and its conversion."""

    happens: Callable[[Path], object]

    def convert(self, plan: CopyPlan, **wishes: Any) -> None:
        self.happens(Path(plan.argv[-2]))
        super().convert(plan, **wishes)


def open_for_writing(path: Path) -> None:
    """What another process is told that does not want to wait."""
    with pytest.raises(BlockingIOError):
        os.open(path, os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.parametrize("happens", [open_for_writing, os.utime, Path.unlink])
def test_a_file_that_is_changed_while_it_is_converted_is_no_image(
    world: World, image: Callable[[str], Path], happens: Callable[[Path], object]
) -> None:
    with pytest.raises((SourceFailed, ConversionFailed)):
        world.store(image("qcow2"), "qcow2", converter=Meanwhile(happens=happens))
    assert world.volumes.volumes == {}


@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vdi"])
@pytest.mark.parametrize("digest", [False, True])
def test_the_file_that_was_inspected_is_the_file_that_is_converted(
    world: World, image: Callable[[str], Path], name: str, digest: bool, tmp_path: Path
) -> None:
    good, evil, link = image(name), tmp_path / "evil", tmp_path / "link"
    (tmp_path / "other").write_bytes(b"evil" * (SIZE // 4))
    qemu_img("convert", "-f", "raw", "-O", FORMATS[name], tmp_path / "other", evil)
    link.symlink_to(good)

    def point(path: Path) -> None:
        new = tmp_path / "new"
        new.symlink_to(path)
        new.replace(link)

    wanted = Digest("sha256", hashlib.sha256(good.read_bytes()).hexdigest()) if digest else None
    stored = world.store(link, name, converter=Meanwhile(happens=lambda _: point(evil)), digest=wanted)
    assert world.content(stored.volume.id) == DISK


@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_that_is_open_for_writing_is_no_image_yet(
    world: World, image: Callable[[str], Path], mapped: bool
) -> None:
    path = image("qcow2")
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        if mapped:  # which needs no open file, and changes the content without another time of change
            file.close()
        with pytest.raises(SourceFailed, match="open for writing in another process"):
            world.store(path, "qcow2")
        memory.flush()
    assert world.volumes.volumes == {}


def test_what_was_converted_is_flushed_before_it_is_an_image(
    world: World, image: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: PathDevice) -> None:
        raise DeviceFailed("the cable is out")

    monkeypatch.setattr(PathDevice, "flush", broken)
    with pytest.raises(DeviceFailed, match="the cable is out"):
        world.store(image("qcow2"), "qcow2", settings=StoreSettings(zero_proof=lambda path: FreshThin(path=path)))
    assert world.volumes.volumes == {}


def test_a_volume_that_is_proven_zero_is_not_zeroed(world: World, image: Callable[[str], Path]) -> None:
    settings = StoreSettings(zero_proof=lambda path: FreshThin(path=path))
    stored = world.store(image("qcow2"), "qcow2", settings=settings)
    with world.attacher.path(stored.volume.id).open("rb") as file:
        content = file.read(4 * MIB)
    assert content[: MIB // 2] == DISK[: MIB // 2]
    assert content[SIZE:] == OLD[SIZE:]


@pytest.mark.parametrize(
    "zeroed", [lambda _, length: length, lambda _, length: length // 2, lambda *_: 0], ids=["all", "half", "nothing"]
)
def test_qemu_img_skips_zeros_only_where_the_whole_volume_was_read_back_as_zero(
    world: World, image: Callable[[str], Path], zeroed: Callable[[int, int], int]
) -> None:
    ran: list[CopyPlan] = []

    class Watched(QemuConverter):
        def convert(self, plan: CopyPlan, **wishes: Any) -> None:
            ran.append(plan)
            super().convert(plan, **wishes)

    attacher = attrs.evolve(world.attacher, behind=lambda device: FaultyDevice(device, zeroed=zeroed))
    stored = attrs.evolve(world, attacher=attacher).store(image("qcow2"), "qcow2", converter=Watched())
    assert world.content(stored.volume.id) == DISK
    (plan,) = ran
    honest = zeroed(0, 2) == 2
    assert ("--target-is-zero" in plan.argv) is honest
    assert ("-S" in plan.argv) is not honest


@pytest.mark.parametrize("make, disk_format", [(backed, "qcow2"), (made("qcow2"), "vmdk"), (made("qcow2"), "raw")])
def test_what_a_rule_refuses_leaves_nothing(
    world: World, tmp_path: Path, make: Callable[[Path], None], disk_format: str
) -> None:
    path = tmp_path / "hostile"
    make(path)
    with pytest.raises(UnsafeImage):
        world.store(path, disk_format)
    assert world.volumes.volumes == {}


def test_a_stream_that_is_something_else_is_refused_long_before_its_end(
    world: World, image: Callable[[str], Path]
) -> None:
    read = 0

    def stream() -> Iterator[bytes]:
        nonlocal read
        yield image("qcow2").read_bytes()
        for _ in range(60):
            read += 1
            yield bytes(MIB)

    with pytest.raises(UnsafeImage, match="content-as-declared"):
        store_image(
            stream(),
            image_id="i",
            image_owner="p",
            size_bytes=None,
            volumes=world.volumes,
            attacher=MemoryAttacher(volumes=world.volumes),
            declared_format="raw",
        )
    assert read < 10
    assert world.volumes.volumes == {}


@pytest.mark.parametrize("name", ["raw", "qcow2"])
def test_a_file_with_another_digest_is_no_image(world: World, image: Callable[[str], Path], name: str) -> None:
    path = image(name)
    digest = Digest("sha256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert world.store(path, name, digest=digest).volume.readonly
    os.truncate(path, path.stat().st_size // 2)  # of a qcow2, what is missing are zeros to qemu-img
    stored = set(world.volumes.volumes)
    with pytest.raises(ContentMismatch, match=r"is not the expected data: .* was given"):
        world.store(path, name, digest=digest)
    assert set(world.volumes.volumes) == stored


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "raw"])
def test_a_file_that_was_cut_short_is_no_image(world: World, image: Callable[[str], Path], name: str) -> None:
    path = image(name)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UnsafeImage, match="not-truncated"):
        world.store(path, name)
    assert world.volumes.volumes == {}


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "raw"])
def test_a_device_is_not_filled_from_an_image_that_was_cut_short(
    image: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    data, target = image(name).read_bytes(), tmp_path / "target"
    facts = Image(id="7", disk_format=name, container_format="bare", updated_at=datetime.now(UTC))

    def fill(length: int) -> bytes:
        target.write_bytes(OLD)
        with PathDevice.open(target, writable=True) as device:
            fill_device([data[:length]], device, image=facts, converter=QemuConverter(), directory=tmp_path)
        return target.read_bytes()

    assert fill(len(data)) == DISK.ljust(len(OLD), b"\0")
    with pytest.raises(UnsafeImage, match="not-truncated"):
        fill(len(data) // 2)
    assert target.read_bytes() == OLD


def test_the_file_of_an_image_that_is_converted_has_the_ending_that_the_service_knows(
    image: Callable[[str], Path], tmp_path: Path
) -> None:
    seen: list[str] = []

    class Looking(QemuConverter):
        def convert(self, *args: Any, **how: Any) -> None:
            seen.extend(path.name for path in directory.iterdir())
            super().convert(*args, **how)

    directory, target = tmp_path / "conversion", tmp_path / "target"
    directory.mkdir()
    target.write_bytes(OLD)
    facts = Image(id="7", disk_format="qcow2", container_format="bare", updated_at=datetime.now(UTC))
    with PathDevice.open(target, writable=True) as device:
        data = [image("qcow2").read_bytes()]
        fill_device(data, device, image=facts, converter=Looking(), directory=directory, suffix="node@fast")
    (name,) = seen
    assert name.endswith("node@fast")
    assert list(directory.iterdir()) == []


def test_a_partition_table_that_is_not_sound_is_accepted_where_that_is_allowed(world: World, tmp_path: Path) -> None:
    path, target = tmp_path / "disk", tmp_path / "target"
    changed(gpt, (446 + 16 + 4, b"\x0c"))(path)  # a second entry beside that of the GPT
    refused = "entry 2 of type 0x0c stands beside the one of a GPT"
    safety = SafetySettings(nonfatal_checks=frozenset({"mbr", "gptmbr"}))
    facts = Image(id="7", disk_format="raw", container_format="bare", updated_at=datetime.now(UTC))

    def fill(safety: SafetySettings | None) -> None:
        target.write_bytes(OLD)
        with PathDevice.open(target, writable=True) as device:
            fill_device(
                [path.read_bytes()], device, image=facts, converter=QemuConverter(), directory=tmp_path, safety=safety
            )

    with pytest.raises(UnsafeImage, match=refused):
        world.store(path, "raw")
    with pytest.raises(UnsafeImage, match=refused):
        fill(None)
    assert world.volumes.volumes == {}
    assert world.content(world.store(path, "raw", settings=StoreSettings(safety=safety)).volume.id)
    fill(safety)
    assert target.read_bytes() == path.read_bytes().ljust(len(OLD), b"\0")


class Failing(QemuConverter):
    """qemu-img that finds out too late."""

    def convert(self, *_: Any, **__: Any) -> None:
        raise ConversionFailed("it is full")


def test_a_conversion_that_fails_leaves_nothing(world: World, image: Callable[[str], Path]) -> None:
    with pytest.raises(ConversionFailed, match="it is full"):
        world.store(image("qcow2"), "qcow2", converter=Failing())
    assert world.volumes.volumes == {}


def test_a_conversion_that_is_cancelled_leaves_nothing(world: World, image: Callable[[str], Path]) -> None:
    limits = Limits()
    limits.cancelled.set()
    with pytest.raises(TransferCancelled):
        world.store(image("qcow2"), "qcow2", limits=limits)
    assert world.volumes.volumes == {}


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_file_that_is_not_there_is_an_error(world: World, tmp_path: Path, disk_format: str) -> None:
    with pytest.raises(SourceFailed, match="cannot be read"):
        world.store(tmp_path / "none", disk_format)
    assert world.volumes.volumes == {}


def test_a_volume_whose_device_no_command_can_open_gets_the_disk_all_the_same(
    world: World, image: Callable[[str], Path]
) -> None:
    stored = store_image_file(
        image("qcow2"),
        disk_format="qcow2",
        image_id="i",
        image_owner="p",
        volumes=world.volumes,
        attacher=MemoryAttacher(volumes=world.volumes),
        converter=QemuConverter(),
    )
    assert read(world.volumes.contents[stored.volume.id], 0, len(DISK) + MIB) == DISK + bytes(MIB)


def test_a_digest_that_is_not_known_is_refused(world: World, image: Callable[[str], Path]) -> None:
    with pytest.raises(InvalidFact, match="'rot13' is not known here"):
        world.store(image("qcow2"), "qcow2", settings=StoreSettings(hash_algorithm="rot13"))
    assert world.volumes.volumes == {}


@pytest.mark.parametrize("as_stream", [False, True])
def test_an_iso_becomes_an_iso_of_glance(world: World, as_stream: bool, tmp_path: Path) -> None:
    images = MemoryImages(volumes=world.volumes, project_id="p", stores=("fast",))
    path = tmp_path / "image.iso"
    iso(path)
    wishes: dict[str, Any] = {
        "disk_format": "iso",
        "name": "disk",
        "images": images,
        "volumes": world.volumes,
        "attacher": world.attacher,
        "store": "fast",
    }
    if as_stream:
        registered, _ = register_image([path.read_bytes()], size_bytes=None, **wishes)
    else:
        registered, _ = register_image_file(path, converter=QemuConverter(), **wishes)
    assert (registered.disk_format, registered.size_bytes) == ("iso", SIZE)


def test_a_stream_that_must_be_converted_is_not_registered(world: World) -> None:
    images = MemoryImages(volumes=world.volumes, project_id="p", stores=("fast",))
    with pytest.raises(RequestRefused, match="give its file to register_image_file"):
        register_image(
            [b"data"],
            disk_format="qcow2",
            size_bytes=None,
            name="disk",
            images=images,
            volumes=world.volumes,
            attacher=world.attacher,
        )
    assert images.images == {}


def test_an_image_file_becomes_a_raw_image_of_glance(world: World, image: Callable[[str], Path]) -> None:
    images = MemoryImages(volumes=world.volumes, project_id="p", stores=("fast",))
    registered, stored = register_image_file(
        image("qcow2"),
        disk_format="qcow2",
        name="disk",
        images=images,
        volumes=world.volumes,
        attacher=world.attacher,
        converter=QemuConverter(),
        store="fast",
    )
    assert (registered.status, registered.disk_format, registered.size_bytes) == ("active", "raw", SIZE)
    assert registered.digest == stored.record.digest
