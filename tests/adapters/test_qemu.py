"""qemu-img, the real one: what it may see, what it may do, and what is left when it ends early."""

from __future__ import annotations

import errno
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagevol_adapters.inspection.inspector import inspect_file
from imagevol_adapters.ports import Converter
from imagevol_adapters.qemu import converter as qemu
from imagevol_adapters.qemu.converter import QemuConverter, qemu_img_features, qemu_img_version
from imagevol_core import (
    GIB,
    ConversionFailed,
    CopyPlan,
    CopySource,
    CopyTarget,
    FreshThin,
    InvalidFact,
    MissingProgram,
    Policy,
    SourceFailed,
    TransferCancelled,
    UnsafeImage,
    ZeroHandling,
    plan_copy,
)
from tests.adapters.ending import wait_for_end
from tests.adapters.inspecting import (
    FILES,
    HOSTILE,
    MIB,
    SIZE,
    backed,
    changed,
    made,
    needed,
    qemu_img,
    stream_optimized,
    with_footer,
)

ALL = FILES | HOSTILE
CONVERTER = QemuConverter()
ROOM = 8 * MIB
DISK = bytes(MIB) + random.Random(7).randbytes(2 * MIB) + bytes(2 * MIB) + b"end".ljust(MIB, b"\0")


@pytest.fixture(autouse=True)
def _needed() -> None:
    needed()
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed; the Debian package is util-linux")


@pytest.fixture(params=["file", "device"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file, or a block device over one, that holds what somebody left there and that only root may open."""
    path = tmp_path / "target"
    path.write_bytes(b"\xff" * ROOM)
    path.chmod(0o600)
    if request.param == "file":
        yield path
        return
    if os.geteuid() != 0:
        pytest.skip("not root: there is no loop device")
    made = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    device = Path(made.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a script in qemu-img's place, which finds the last argument in `$target`."""

    def put(script: str) -> None:
        path = tmp_path / "programs" / "qemu-img"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\nfor target; do :; done\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return put


def written(path: Path) -> bytes:
    """All that is there, past what was cached before."""
    with path.open("rb") as file:
        if path.is_block_device():
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def planned(image: Path, target: Path, name: str, size: int | None = None, **changes: object) -> CopyPlan:
    """How this image gets there."""
    source = CopySource(path=str(image), format=name, size_bytes=image.stat().st_size, virtual_size_bytes=size)
    device = target.is_block_device()
    there = CopyTarget(path=str(target), size_bytes=ROOM, block_device=device, direct_io=device)
    return plan_copy(source, target=replace(there, **changes))  # type: ignore[arg-type]


class TestConversion:
    """The target holds the disk, and behind it what it held."""

    @pytest.mark.parametrize("zeros", ZeroHandling)
    @pytest.mark.parametrize("name", ["qcow2", "vmdk", "vhd", "vhdx", "vdi"])
    def test_after_a_conversion_the_whole_target_is_right(
        self, name: str, zeros: ZeroHandling, target: Path, tmp_path: Path
    ) -> None:
        disk, image = tmp_path / "disk", tmp_path / "image"
        disk.write_bytes(DISK)
        qemu_img("convert", "-f", "raw", "-O", {"vhd": "vpc"}.get(name, name), disk, image)
        image.chmod(0o600)
        inspection = CONVERTER.examine(str(image), declared_format=name, size_gib=1, what="the image")
        size = inspection.virtual_size_bytes
        assert size is not None
        before = b"\xff" * ROOM
        if zeros is ZeroHandling.SKIP:
            before = bytes(ROOM)
            target.write_bytes(before)
        proof = FreshThin(path=str(target)) if zeros is ZeroHandling.SKIP else None
        plan = planned(image, target, name, size, zero=proof, can_punch=zeros is ZeroHandling.PUNCH)
        assert plan.zeros is zeros
        CONVERTER.convert(plan, size_bytes=size)
        assert written(target) == DISK + bytes(size - len(DISK)) + before[size:]

    def test_a_compressed_image_is_made_that_only_its_owner_reads(self, tmp_path: Path) -> None:
        disk, image, again = tmp_path / "disk", tmp_path / "image", tmp_path / "again"
        disk.write_bytes(DISK)
        plan = plan_copy(
            CopySource(path=str(disk), format="raw", size_bytes=len(DISK)),
            target=CopyTarget(path=str(image), format="qcow2", compress=True),
        )
        CONVERTER.convert(plan, size_bytes=len(DISK))
        assert image.stat().st_mode & 0o777 == 0o600
        qemu_img("convert", "-f", "qcow2", "-O", "raw", image, again)
        assert again.read_bytes() == DISK

    def test_many_threads_fit_into_the_memory_that_it_may_map(self, target: Path, tmp_path: Path) -> None:
        disk, image = tmp_path / "disk", tmp_path / "image"
        disk.write_bytes(random.Random(7).randbytes(MIB) * 256)
        os.truncate(target if not target.is_block_device() else tmp_path / "target", 256 * MIB)
        if target.is_block_device():
            subprocess.run(["losetup", "--set-capacity", target], check=True)
        qemu_img("convert", "-f", "raw", "-O", "qcow2", disk, image)
        plan = planned(image, target, "qcow2", 256 * MIB, size_bytes=256 * MIB)
        if target.is_block_device():
            assert {"-W", "none"} <= set(plan.argv)
        converter = QemuConverter(address_space_bytes=384 * MIB)  # which leaves twice that for a larger disk's tables
        for _ in range(3):
            converter.convert(plan, size_bytes=256 * MIB)
        assert written(target) == disk.read_bytes()

    def test_the_class_fits_the_port_of_converters(self) -> None:
        converter: Converter = CONVERTER
        assert converter is CONVERTER


class TestHostile:
    """What a rule refuses, qemu-img never sees."""

    @pytest.mark.parametrize("name", [name for name, (_, _, refused) in ALL.items() if refused])
    def test_an_image_cannot_be_examined_without_qemu_img(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make, declared, refused = ALL[name]
        make(tmp_path / "image")
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        with pytest.raises(UnsafeImage, match=r"^image 7 is refused: ") as caught:
            CONVERTER.examine(str(tmp_path / "image"), declared_format=declared, size_gib=1, what="image 7")
        assert list(caught.value.reasons) == refused

    @pytest.mark.parametrize("name", [name for name, (_, _, refused) in ALL.items() if not refused])
    def test_qemu_img_is_asked_only_what_the_inspection_does_not_tell(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make, declared, _ = ALL[name]
        make(tmp_path / "image")
        told = CONVERTER.examine(str(tmp_path / "image"), declared_format=declared, size_gib=1, what="it")
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        if declared in ("vmdk", "vhd", "vhdx", "qcow2"):
            with pytest.raises(MissingProgram, match=r"^qemu-img is not installed: apt-get install qemu-utils$"):
                CONVERTER.examine(str(tmp_path / "image"), declared_format=declared, size_gib=1, what="it")
        else:
            again = CONVERTER.examine(str(tmp_path / "image"), declared_format=declared, size_gib=1, what="it")
            assert again == told

    def test_the_size_that_qemu_img_sees_decides(self, tmp_path: Path) -> None:
        image = tmp_path / "image"
        with_footer(2 * GIB // 512)(image)
        with pytest.raises(UnsafeImage) as caught:
            CONVERTER.examine(str(image), declared_format="vmdk", size_gib=1, what="it")
        assert caught.value.reasons == {
            "virtual-size-fits": f"its virtual size is {2 * GIB} bytes and the volume has 1 GiB"
        }

    @pytest.mark.parametrize(
        "said, reasons",
        [
            (
                '"format-specific": {"data": {"create-type": "monolithicFlat"}}',
                {"vmdk-subformat": "its createType is 'monolithicFlat'"},
            ),
            ('"backing-filename": "/x"', {"no-backing-file": "it has a backing file"}),
        ],
    )
    def test_the_backing_file_that_qemu_img_sees_decides(
        self, said: str, reasons: dict[str, str], tmp_path: Path, program: Callable[[str], None]
    ) -> None:
        stream_optimized(tmp_path / "image")
        program(f"echo '{{\"virtual-size\": 1, {said}}}'")
        with pytest.raises(UnsafeImage) as caught:
            CONVERTER.examine(str(tmp_path / "image"), declared_format="vmdk", size_gib=1, what="it")
        assert caught.value.reasons == reasons

    @pytest.mark.parametrize(
        "said",
        [
            *("", "[]", "{}", '{"virtual-size": null}', '{"virtual-size": -1}', '{"virtual-size": 1e400}'),
            '{"virtual-size": NaN}',
            "[" * 100_000,
        ],
        ids=lambda said: said[:24],
    )
    def test_an_answer_that_is_none_is_a_failure(
        self, said: str, tmp_path: Path, program: Callable[[str], None]
    ) -> None:
        stream_optimized(tmp_path / "image")
        program(f"echo '{said}'")
        with pytest.raises(ConversionFailed, match=r"^qemu-img says what cannot be read: "):
            CONVERTER.examine(str(tmp_path / "image"), declared_format="vmdk", size_gib=1, what="it")

    def test_an_image_that_cannot_be_read_is_not_examined(self, tmp_path: Path) -> None:
        with pytest.raises(SourceFailed, match=f"^image 7 cannot be read: {os.strerror(errno.ENOENT)}$"):
            CONVERTER.examine(str(tmp_path / "none"), declared_format="raw", size_gib=1, what="image 7")

    @pytest.mark.parametrize(
        "make, name",
        [(backed, "qcow2"), (HOSTILE["vmdk-sibling"][0], "vmdk"), (HOSTILE["vmdk-text-sibling"][0], "vmdk")],
    )
    def test_qemu_img_cannot_reach_another_file_that_an_image_names(
        self, make: Callable[[Path], None], name: str, tmp_path: Path
    ) -> None:
        if os.geteuid() != 0:
            pytest.skip("not root: who is not may open their own files")
        image, target, secret = tmp_path / "image", tmp_path / "target", tmp_path / "image.plain"
        make(image)
        secret.write_bytes(b"secret".ljust(SIZE, b"\0"))
        secret.chmod(0o600)
        target.write_bytes(bytes(ROOM))
        plan = planned(image, target, name, SIZE)
        subprocess.run(plan.argv, check=True, capture_output=True)
        assert target.read_bytes().startswith(b"secret")  # which is what it does unless it is confined
        target.write_bytes(bytes(ROOM))
        with pytest.raises(ConversionFailed):
            CONVERTER.convert(plan, size_bytes=SIZE)
        assert target.read_bytes() == bytes(ROOM)

    def test_a_disk_that_is_the_difference_to_another_one_is_refused(self, tmp_path: Path) -> None:
        image, target = tmp_path / "image", tmp_path / "target"
        HOSTILE["vhd-differencing"][0](image)
        qemu_img("convert", "-f", "vpc", "-O", "raw", image, target)
        assert not any(target.read_bytes())


def table_at(path: Path) -> int:
    """Where a qcow2's table of tables is."""
    return int(struct.unpack(">Q", path.read_bytes()[40:48])[0])


def cyclic(path: Path) -> None:
    """A qcow2 of which the first table is its own second one, and every cluster."""
    made("qcow2")(path)
    place = table_at(path)
    entry = struct.pack(">Q", place | 1 << 63)
    changed(lambda _: None, (place, entry * 8192))(path)


def one_cluster(path: Path) -> None:
    """A qcow2 of 7 MiB that is the header's own cluster, over and over."""
    made("qcow2")(path)
    place, end = table_at(path), path.stat().st_size + 65535 & ~65535
    clusters = struct.pack(">Q", 1 << 63 | 65536) * 112
    changes = [(24, struct.pack(">Q", 7 * MIB)), (place, struct.pack(">Q", 1 << 63 | end)), (end, clusters)]
    changed(lambda _: None, *changes)(path)
    os.truncate(path, end + 65536)


def header(offset: int, data: bytes) -> Callable[[Path], None]:
    return changed(made("qcow2"), (offset, data))


class TestFeatures:
    """A qcow2 that asks more of its readers is read where the installed qemu-img can."""

    def image(self, directory: Path) -> Path:
        made("qcow2", "-o", "extended_l2=on")(directory / "image")
        return directory / "image"

    def test_a_qcow2_with_extended_entries_is_converted(self, tmp_path: Path) -> None:
        found = CONVERTER.examine(str(self.image(tmp_path)), declared_format="qcow2", size_gib=1, what="it")
        assert (found.version, found.features) == (3, frozenset({"extended_l2"}))

    def test_a_qcow2_with_extended_entries_is_refused_if_qemu_img_does_not_know_them(
        self, tmp_path: Path, program: Callable[[str], None]
    ) -> None:
        image = self.image(tmp_path)
        program('echo "  encryption=<bool>  - no extended_l2=<bool>"')
        with pytest.raises(UnsafeImage) as caught:
            CONVERTER.examine(str(image), declared_format="qcow2", size_gib=1, what="it")
        assert list(caught.value.reasons) == ["features-known"]

    def test_qemu_img_is_asked_for_its_features_once(self, tmp_path: Path, program: Callable[[str], None]) -> None:
        program(f'echo asked >> {tmp_path}/asked; echo "  extended_l2=<bool (on/off)>"')
        assert qemu_img_features() == qemu_img_features() == {"extended_l2"}
        assert (tmp_path / "asked").read_text() == "asked\n"


class TestHarmless:
    """Of what no rule refuses, qemu-img under its limits makes nothing worse than an error."""

    @pytest.mark.parametrize(
        "make, name, says",
        [
            (cyclic, "qcow2", "tables-sound"),
            (one_cluster, "qcow2", "tables-sound"),
            (header(36, struct.pack(">I", 1 << 31)), "qcow2", "."),
            (header(36, struct.pack(">I", (32 << 20) // 8)), "qcow2", "tables-sound"),
            (header(40, struct.pack(">Q", 1 << 62)), "qcow2", "not-truncated"),
            (header(48, struct.pack(">QI", 65536, 1 << 30)), "qcow2", "."),
            (header(100, struct.pack(">I", 1 << 31)), "qcow2", "."),
            (header(20, struct.pack(">I", 31)), "qcow2", "not-truncated"),
            (header(60, struct.pack(">IQ", 1 << 31, 65536)), "qcow2", "."),
            (changed(made("vdi"), (0x180, struct.pack("<I", 0x3FFFFFFF))), "vdi", "."),
        ],
    )
    def test_a_conversion_of_damaged_data_ends_with_the_disk_or_with_one_line(
        self, make: Callable[[Path], None], name: str, says: str, tmp_path: Path
    ) -> None:
        image, target = tmp_path / "image", tmp_path / "target"
        make(image)
        target.write_bytes(b"\xff" * ROOM)
        size = inspect_file(image).virtual_size_bytes
        assert size is not None

        def convert() -> None:
            CONVERTER.examine(str(image), declared_format=name, size_gib=1, what="it")
            CONVERTER.convert(planned(image, target, name, size), size_bytes=size)

        with pytest.raises((ConversionFailed, UnsafeImage), match=says) as caught:
            convert()
        assert str(caught.value).isprintable()
        assert target.read_bytes() == b"\xff" * ROOM

    def test_only_the_end_of_a_long_output_of_qemu_img_is_kept(
        self, tmp_path: Path, program: Callable[[str], None]
    ) -> None:
        made("qcow2")(tmp_path / "image")
        program('i=0; while [ $i -lt 20000 ]; do echo "ERROR cluster $i"; i=$((i+1)); done >&2; exit 1')
        with pytest.raises(ConversionFailed, match=r"^ERROR") as caught:
            CONVERTER.examine(str(tmp_path / "image"), declared_format="qcow2", size_gib=1, what="it")
        assert "19999" not in str(caught.value)


class TestRun:
    """What qemu-img is given: its command and nothing else."""

    def plan(self, tmp_path: Path) -> CopyPlan:
        """A command that a script can answer."""
        (tmp_path / "image").touch()
        (tmp_path / "target").touch()
        return planned(tmp_path / "image", tmp_path / "target", "qcow2", SIZE)

    def told(self, tmp_path: Path, converter: QemuConverter = CONVERTER) -> list[str]:
        """What the script wrote to the target."""
        converter.convert(self.plan(tmp_path), size_bytes=2 * GIB)
        return (tmp_path / "target").read_text().splitlines()

    def test_qemu_img_runs_the_command_of_the_plan(self, tmp_path: Path, program: Callable[[str], None]) -> None:
        program('printf "%s\\n" qemu-img "$@" > "$target"')
        assert self.told(tmp_path) == list(self.plan(tmp_path).argv)

    def test_qemu_img_runs_under_limits(self, tmp_path: Path, program: Callable[[str], None]) -> None:
        program('{ ulimit -H -v; ulimit -H -t; ulimit -H -c; } > "$target"')
        converter = QemuConverter(address_space_bytes=GIB // 2, cpu_seconds=100, cpu_seconds_per_gib=11)
        assert self.told(tmp_path, converter) == [str(GIB // 2 // 1024), "122", "0"]

    def test_qemu_img_does_not_run_as_root(self, tmp_path: Path, program: Callable[[str], None]) -> None:
        program('id -u > "$target"')
        (uid,) = self.told(tmp_path)
        assert uid == ("65534" if os.geteuid() == 0 else str(os.geteuid()))

    def test_qemu_img_gets_no_secret_of_the_environment(
        self, tmp_path: Path, program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OS_PASSWORD", "secret")
        program('{ env; cat; pwd; } > "$target"')
        *variables, place = self.told(tmp_path)
        assert place == "/"
        names = {line.partition("=")[0] for line in variables}
        assert names <= {"PATH", "PYTHONPATH", "LC_ALL", "MALLOC_ARENA_MAX", "PWD", "OLDPWD", "SHLVL", "_"}
        assert "LC_ALL=C" in variables

    def test_the_operators_prefix_comes_first_and_is_not_confined(
        self, tmp_path: Path, program: Callable[[str], None]
    ) -> None:
        program('id -u >> "$target"')
        script = tmp_path / "prefix"
        script.write_text(f'#!/bin/sh\nid -u > {tmp_path}/target\npwd >> {tmp_path}/target\nexec "$@"\n')
        script.chmod(0o755)
        plan = self.plan(tmp_path)
        CONVERTER.convert(replace(plan, argv=(str(script), *plan.argv)), size_bytes=SIZE)
        first, place, second = (tmp_path / "target").read_text().split()
        assert (first, place) == (str(os.geteuid()), "/")
        assert second == ("65534" if first == "0" else first)

    def test_qemu_img_can_open_the_keys_that_it_is_given(self, tmp_path: Path, program: Callable[[str], None]) -> None:
        keys = [tmp_path / "key,1", tmp_path / "key 2"]
        for key in keys:
            key.write_text(key.name)
            key.chmod(0o600)
        image = tmp_path / "im,age"
        image.write_text("image")
        program(f'cat "{keys[0]}" "{keys[1]}" "{image}" > "$target"')
        plan = plan_copy(
            CopySource(path=str(image), format="luks", virtual_size_bytes=SIZE, key_file=str(keys[0])),
            target=CopyTarget(path=str(tmp_path / "new"), format="luks", key_file=str(keys[1])),
        )
        CONVERTER.convert(plan, size_bytes=SIZE)
        assert (tmp_path / "new").read_text() == "key,1key 2image"


class TestFailure:
    """One line, no paths, no process, no file."""

    def plan(self, tmp_path: Path, **changes: object) -> CopyPlan:
        """A target that is yet to be made."""
        (tmp_path / "image").touch()
        return planned(tmp_path / "image", tmp_path / "new", "qcow2", SIZE, size_bytes=None, **changes)

    @pytest.mark.parametrize(
        "script, says",
        [
            (
                "echo first >&2; echo \"qemu-img: error while writing '$target': /etc/key: No space left\" >&2; exit 1",
                "qemu-img: error while writing the target: (a path): No space left",
            ),
            (
                "echo \"qemu-img: Could not open '$target': no lock\" >&2; echo 'Is it in use?' >&2; exit 1",
                "qemu-img: Could not open the target: no lock Is it in use?",
            ),
            ("echo 'qemu-img: the first' >&2; echo 'qemu-img: the last' >&2; exit 1", "qemu-img: the last"),
            ("exit 3", "qemu-img ended with 3"),
            ('printf "a\\033[2Jb\\n\\n" >&2; exit 1', "a?[2Jb"),
            ("echo out; exit 1", "out"),
            (f"printf '{'x' * 400}' >&2; exit 1", "x" * 300 + "…"),
        ],
    )
    def test_a_failure_of_qemu_img_is_one_line(
        self, script: str, says: str, tmp_path: Path, program: Callable[[str], None]
    ) -> None:
        program(script)
        with pytest.raises(ConversionFailed) as caught:
            CONVERTER.convert(self.plan(tmp_path), size_bytes=SIZE)
        assert str(caught.value) == says
        assert not (tmp_path / "new").exists()

    def test_a_path_that_begins_as_another_is_not_taken_for_it(
        self, tmp_path: Path, program: Callable[[str], None]
    ) -> None:
        image, target = tmp_path / "image", tmp_path / "image.raw"
        image.touch()
        program(f"echo \"read '{image}', wrote '{target}'\" >&2; exit 1")
        with pytest.raises(ConversionFailed, match=r"^read the source, wrote the target$"):
            CONVERTER.convert(planned(image, target, "qcow2", SIZE, size_bytes=None), size_bytes=SIZE)

    def test_a_question_that_fails_is_about_the_image(self, tmp_path: Path, program: Callable[[str], None]) -> None:
        stream_optimized(tmp_path / "image")
        program("echo \"qemu-img: Could not open '$target': Invalid argument\" >&2; exit 1")
        with pytest.raises(ConversionFailed, match=r"^qemu-img: Could not open the image: Invalid argument$"):
            CONVERTER.examine(str(tmp_path / "image"), declared_format="vmdk", size_gib=1, what="it")

    def test_qemu_img_is_ended_at_its_limit_of_cpu_time(self, tmp_path: Path, program: Callable[[str], None]) -> None:
        program("while :; do :; done")
        with pytest.raises(
            ConversionFailed, match=r"^qemu-img was killed; it may compute for 1 second, or memory was short$"
        ):
            QemuConverter(cpu_seconds=1, cpu_seconds_per_gib=0).convert(self.plan(tmp_path), size_bytes=SIZE)

    @pytest.mark.parametrize("exists", [True, False])
    @pytest.mark.parametrize("how", [TransferCancelled, KeyboardInterrupt, ValueError])
    def test_a_conversion_that_is_ended_early_leaves_nothing(
        self, how: type[BaseException], exists: bool, tmp_path: Path, program: Callable[[str], None]
    ) -> None:
        program('echo "$$" > "$target"; sleep 1000 & echo "$!" >> "$target"; wait')
        target, pids = tmp_path / "new", []
        if exists:
            target.touch()

        def cancelled() -> bool:
            """Wait for both processes, then end it."""
            if target.exists() and target.read_text().count("\n") == 2:
                pids.extend(target.read_text().split())
                if how is TransferCancelled:
                    return True
                raise how
            return False

        with pytest.raises(how):
            CONVERTER.convert(self.plan(tmp_path), size_bytes=SIZE, cancelled=cancelled)
        assert target.exists() is exists
        assert len(pids) == 2
        for pid in pids:  # of which the second is waited for by nobody of ours
            wait_for_end(int(pid))

    def test_a_file_that_another_program_made_meanwhile_is_not_deleted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "new").write_text("theirs")
        monkeypatch.setattr(os.path, "lexists", lambda _: False)
        with pytest.raises(ConversionFailed, match=f"^the target cannot be made: {os.strerror(errno.EEXIST)}$"):
            CONVERTER.convert(self.plan(tmp_path), size_bytes=SIZE)
        assert (tmp_path / "new").read_text() == "theirs"

    def test_a_plan_that_is_refused_is_not_run(self, tmp_path: Path) -> None:
        plan = replace(self.plan(tmp_path))
        refused = planned(tmp_path / "image", tmp_path / "new", "qcow2", SIZE, size_bytes=512)
        assert refused.refused
        for each, says in [
            (refused, "CopyPlan: it is refused: fails source-fits: "),
            (replace(plan, refused=refused.refused), "CopyPlan: it is refused: fails source-fits: "),
            (replace(plan, argv=()), "CopyPlan: it has no command of qemu-img"),
            (planned(tmp_path / "image", tmp_path / "new", "raw"), "CopyPlan: it has no command of qemu-img"),
            (replace(plan, policy=Policy.UPSTREAM), "CopyPlan: it is what Cinder runs"),
        ]:
            with pytest.raises(InvalidFact, match=f"^{says}"):
                CONVERTER.convert(each, size_bytes=SIZE)
        assert not (tmp_path / "new").exists()

    def test_without_qemu_img_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = self.plan(tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        with pytest.raises(MissingProgram, match=r"^qemu-img is not installed: apt-get install qemu-utils$"):
            CONVERTER.convert(plan, size_bytes=SIZE)
        with pytest.raises(MissingProgram):
            qemu_img_version()
        assert not (tmp_path / "new").exists()


class TestVersion:
    """Which one is installed."""

    def test_the_version_is_the_one_that_qemu_img_prints(self) -> None:
        assert f"version {'.'.join(map(str, qemu_img_version()))}" in qemu_img("--version")

    def test_a_qemu_img_that_prints_no_version_has_none(self, program: Callable[[str], None]) -> None:
        program("echo nonsense")
        with pytest.raises(ConversionFailed, match=r"^qemu-img does not say its version: nonsense$"):
            qemu.qemu_img_version()
