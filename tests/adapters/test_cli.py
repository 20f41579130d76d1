"""The command line, in this process and on ports in memory: status, one line for every error, no credential."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imagevol_adapters import transfers
from imagevol_adapters.cli import data, main
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import storing
from imagevol_core import (
    AccessDenied,
    DeviceFailed,
    RequestRefused,
    ServiceFailed,
    Store,
    StoreCatalogue,
    Volume,
    patience_seconds,
)
from tests.adapters.commands import Ran, Run
from tests.adapters.hostile_urls import HOSTILE_PASSWORDS, shows_a_piece
from tests.adapters.inspecting import gpt, iso

PASSWORD = "hunter2-that-nobody-may-see"
CREDENTIALS = (
    *("--os-auth-url", "http://127.0.0.1:1/v3", "--os-username", "u", "--os-password", PASSWORD),
    *("--os-project-name", "p", "--os-user-domain-id", "default", "--os-project-domain-id", "default"),
)
DATA = bytes(range(256)) * 1000


pytestmark = pytest.mark.usefixtures("no_cloud")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryVolumes:
    """The application's services, in memory."""
    volumes = MemoryVolumes(project_id="p", host="node@fast#one", volume_types={"fast": False, "secret": True})
    monkeypatch.setattr(Imagevol, "volumes", volumes)
    monkeypatch.setattr(Imagevol, "images", MemoryImages(volumes=volumes, project_id="p", stores=("fast",)))
    monkeypatch.setattr(Imagevol, "attacher", MemoryAttacher(volumes=volumes))
    monkeypatch.setattr(Imagevol, "project_id", "p")
    monkeypatch.setattr(Imagevol, "has_project", lambda _, project_id: project_id in ("p", "q"))
    return volumes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(DATA)
    return path


class TestRoundTrip:
    def test_a_file_goes_into_a_volume_and_comes_back_and_away(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
    ) -> None:
        put = run("put", file, "--owner", "q", "-f", "json")
        assert put.status == 0
        assert set(put.json) == {"volume_id", "image_id", "size_bytes", "volume_type", "digest", "blake3", "seconds"}
        (volume,) = memory.volumes.values()
        assert put.json["volume_id"] == volume.id
        assert put.json["image_id"] == volume.metadata["image_id"]
        assert put.json["digest"] == f"sha512:{volume.metadata['os_hash_value']}"
        assert put.json["blake3"] == f"blake3:{volume.metadata['imagevol_blake3']}"
        assert volume.metadata["image_owner"] == "q"
        assert run("get", volume.id, tmp_path / "back") == Ran(0, "", "")
        assert (tmp_path / "back").read_bytes() == DATA
        assert run("get", volume.id, tmp_path / "part", "--offset", 100, "--length", 500) == Ran(0, "", "")
        assert (tmp_path / "part").read_bytes() == DATA[100:600]
        assert run("rm", volume.id) == Ran(0, "", "")
        assert memory.volumes == {}
        assert {path.name for path in tmp_path.iterdir()} == {"disk.raw", "back", "part"}

    @pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
    def test_the_mode_of_a_file_that_was_read_follows_the_umask(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path, umask: int, mode: int
    ) -> None:
        volume_id = run("put", file, "-f", "json").json["volume_id"]
        before = os.umask(umask)
        try:
            assert run("get", volume_id, tmp_path / "back") == Ran(0, "", "")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "back").stat().st_mode) == mode

    def test_an_image_is_read_by_its_name_or_id(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
    ) -> None:
        put = run("put", file, "--register", "disk", "--store", "fast", "-f", "json").json
        for name in ("disk", put["image_id"], put["volume_id"]):
            assert run("get", name, tmp_path / name) == Ran(0, "", "")
            assert (tmp_path / name).read_bytes() == DATA

    def test_an_image_goes_to_the_standard_output(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volume_id = run("put", file, "-f", "json").json["volume_id"]
        monkeypatch.chdir(tmp_path)
        with (tmp_path / "out").open("w") as out:
            monkeypatch.setattr(sys, "stdout", out)
            ran = run("get", volume_id, "-")
        assert (ran.status, ran.err) == (0, "")
        assert (tmp_path / "out").read_bytes() == DATA
        assert not (tmp_path / "-").exists()

    def test_an_image_does_not_go_to_a_terminal(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volume_id = run("put", file, "-f", "json").json["volume_id"]
        terminal = TestProgress.Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        ran = run("get", volume_id, "-")
        assert (ran.status, terminal.getvalue(), len(ran.err.splitlines())) == (1, "", 1)

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_a_file_that_there_is_no_room_for_is_named(
        self,
        run: Run,
        memory: MemoryVolumes,
        file: Path,
        tmp_path: Path,
        number: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def full(*_: object) -> int:
            raise DeviceFailed("writing at byte 0 failed") from OSError(number, os.strerror(number))

        volume_id = run("put", file, "-f", "json").json["volume_id"]
        monkeypatch.setattr(PathDevice, "write", full)
        ran = run("get", volume_id, tmp_path / "back")
        assert (ran.status, len(ran.err.splitlines())) == (1, 1)
        assert ran.err.startswith(f"{tmp_path / 'back'} cannot be written: ")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.raw"]

    def test_a_file_may_have_the_longest_name_that_there_is(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
    ) -> None:
        volume_id = run("put", file, "-f", "json").json["volume_id"]
        assert run("get", volume_id, tmp_path / ("x" * 255)) == Ran(0, "", "")
        assert (tmp_path / ("x" * 255)).read_bytes() == DATA

    def test_an_image_is_registered_and_its_volume_is_not_removed(
        self, run: Run, memory: MemoryVolumes, file: Path
    ) -> None:
        put = run("put", file, "--register", "disk", "--store", "fast", "--visibility", "public", "-f", "json")
        image = memory.images.get(put.json["image_id"])  # type: ignore[union-attr]
        assert (image.status, image.owner, image.visibility) == ("active", "p", "public")
        removed = run("rm", put.json["volume_id"])
        assert removed.status == 1
        assert "openstack image delete" in removed.err

    def test_a_registered_image_has_the_attributes_that_were_given(
        self, run: Run, memory: MemoryVolumes, file: Path
    ) -> None:
        wishes = (
            *("--container-format", "ovf", "--min-disk", 3, "--min-ram", 512, "--protected", "--hidden"),
            *("--property", "os_distro=debian", "--property", "hw_disk_bus=a=b", "--tag", "one", "--tag", "two"),
        )
        put = run("put", file, "--register", "disk", "--store", "fast", *wishes, "-f", "json")
        assert put.status == 0
        images = memory.images
        assert isinstance(images, MemoryImages)
        image = images.get(put.json["image_id"])
        assert (image.status, image.container_format, image.min_disk_gib) == ("active", "ovf", 3)
        assert image.properties == {"os_distro": "debian", "hw_disk_bus": "a=b"}
        asked = images.attributes[image.id]
        assert (asked.min_ram_mib, asked.protected, asked.hidden, asked.tags) == (512, True, True, ("one", "two"))

    @pytest.mark.parametrize("step", ["add_location", "protect"])
    def test_a_failure_leaves_no_protected_image(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        def refused(*_: object, **__: object) -> None:
            raise ServiceFailed("the network is down")

        monkeypatch.setattr(MemoryImages, step, refused)
        assert run("-q", "put", file, "--register", "disk", "--protected") == Ran(1, "", "the network is down\n")
        assert isinstance(memory.images, MemoryImages)
        assert (memory.images.images, memory.volumes) == ({}, {})

    def test_a_file_that_is_not_what_it_is_said_to_be_is_refused_in_a_line(
        self, run: Run, memory: MemoryVolumes, file: Path
    ) -> None:
        file.write_bytes(b"QFI\xfb" + bytes(5 << 20))
        for disk_format in ("raw", "vdi"):
            put = run("put", file, "--disk-format", disk_format)
            assert (put.status, put.err.count("\n")) == (1, 1)
            assert "is refused: " in put.err
        assert memory.volumes == {}

    @pytest.mark.parametrize(
        "arguments, says",
        [
            (("-", "--disk-format", "qcow2"), "the standard input can be raw or iso"),
            (("disk.raw", "--store", "fast"), "give --register NAME too"),
            (("disk.raw", "--visibility", "public"), "give --register NAME too"),
            (("disk.raw", "--container-format", "bare"), "give --register NAME too"),
            (("disk.raw", "--min-disk", "0"), "give --register NAME too"),
            (("disk.raw", "--min-ram", "1"), "give --register NAME too"),
            (("disk.raw", "--protected"), "give --register NAME too"),
            (("disk.raw", "--hidden"), "give --register NAME too"),
            (("disk.raw", "--property", "a=b"), "give --register NAME too"),
            (("disk.raw", "--tag", "a"), "give --register NAME too"),
        ],
    )
    def test_options_that_exclude_each_other_are_refused(
        self, run: Run, memory: MemoryVolumes, arguments: tuple[str, ...], says: str
    ) -> None:
        put = run("put", *arguments)
        assert (put.status, put.err.count("\n"), memory.volumes) == (1, 1, {})
        assert says in put.err

    def test_an_image_from_a_pipe_is_stored(
        self, run: Run, memory: MemoryVolumes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reading, writing = os.pipe()
        os.write(writing, DATA[:5000])
        os.close(writing)
        with open(reading) as pipe:  # noqa: PTH123 - a descriptor
            monkeypatch.setattr(sys, "stdin", pipe)
            put = run("put", "-", "--thin", "--no-checksum", "--rate", "1000", "-f", "json")
        (volume,) = memory.volumes.values()
        assert (put.status, put.err, put.json["size_bytes"]) == (0, f"Storing the image in volume {volume.id}.\n", 5000)
        assert "checksum" not in volume.metadata
        assert memory.contents[volume.id].read(0, 5009) == DATA[:5000] + bytes(9)

    def test_a_file_that_is_an_iso_is_told_the_option_that_it_needs(
        self, run: Run, memory: MemoryVolumes, file: Path
    ) -> None:
        iso(file)
        put = run("put", file)
        assert (put.status, put.err.count("\n")) == (1, 1)
        assert put.err.endswith(": give --disk-format iso\n")
        assert run("put", file, "--disk-format", "iso").status == 0

    @pytest.mark.parametrize("options", [(), ("--register", "disk", "--store", "fast")])
    @pytest.mark.parametrize(
        "data, says",
        [
            (b"", "the standard input is refused: has-data: it is empty\n"),
            (
                b"QFI\xfb\0\0\0\3" + bytes(16) + (1 << 30).to_bytes(8, "big") + bytes(5 << 12),
                "the standard input is refused: content-as-declared: ",
            ),
        ],
        ids=["nothing", "a qcow2"],
    )
    def test_a_refusal_names_the_standard_input(
        self,
        run: Run,
        memory: MemoryVolumes,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        data: bytes,
        says: str,
        options: tuple[str, ...],
    ) -> None:
        (tmp_path / "data").write_bytes(data)
        with (tmp_path / "data").open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            put = run("-q", "put", "-", *options)
        assert (put.status, put.out, memory.volumes) == (1, "", {})
        assert put.err.startswith(says)

    def test_a_refusal_names_the_file(self, run: Run, memory: MemoryVolumes, file: Path) -> None:
        file.write_bytes(b"")
        assert run("put", file).err == f"{file} is refused: has-data: it is empty\n"

    def test_a_partition_table_that_is_not_sound_is_accepted_with_an_option(
        self, run: Run, memory: MemoryVolumes, file: Path
    ) -> None:
        gpt(file, bootable=0x7F)
        put = run("put", file)
        assert (put.status, put.err.count("\n")) == (1, 1)
        assert "gpt_safety_checks_nonfatal = mbr" in put.err
        assert run("put", file, "--gpt-safety-checks-nonfatal", "gptmbr").status == 1
        assert memory.volumes == {}
        assert run("put", file, "--gpt-safety-checks-nonfatal", "mbr,gptmbr").status == 0

    @pytest.mark.parametrize("options", [(), ("--register", "disk", "--store", "fast")])
    def test_a_file_with_another_digest_than_is_asked_for_is_refused(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        digest, wrong = hashlib.sha256(DATA).hexdigest(), hashlib.sha256(b"other").hexdigest()
        listing = tmp_path / "SHA256SUMS"
        listing.write_text(f"{wrong}  other.raw\n{digest} *disk.raw\n")
        assert run("put", file, "--digest", f"sha256:{digest}", *options).status == 0
        assert run("put", file, "--checksum-file", listing, *options).status == 0
        stored = dict(memory.volumes)
        listing.write_text(f"{digest}  other.raw\n{wrong}  ./disk.raw\n")
        for option in (("--digest", f"sha256:{wrong}"), ("--checksum-file", listing)):
            put = run("-q", "put", file, *option, *options)
            assert (put.status, put.err.count("\n")) == (1, 1)
            assert wrong in put.err
        assert dict(memory.volumes) == stored

    def test_what_comes_through_a_pipe_is_compared_with_the_only_digest_of_a_list(
        self, run: Run, memory: MemoryVolumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listing = tmp_path / "list"
        for data_, status in [(DATA[:5000], 0), (b"other", 1)]:
            listing.write_text(f"{hashlib.sha256(DATA[:5000]).hexdigest()}  it\n")
            reading, writing = os.pipe()
            os.write(writing, data_)
            os.close(writing)
            with open(reading) as pipe:  # noqa: PTH123 - a descriptor
                monkeypatch.setattr(sys, "stdin", pipe)
                assert run("put", "-", "--checksum-file", listing).status == status
        assert len(memory.volumes) == 1

    def test_without_an_owner_the_image_is_the_callers(self, run: Run, memory: MemoryVolumes, file: Path) -> None:
        run("put", file)
        assert [volume.metadata["image_owner"] for volume in memory.volumes.values()] == ["p"]


class TestErrors:
    """One line on stderr that says what to do, and status 1; a traceback only with --debug."""

    @pytest.mark.parametrize(
        "arguments",
        [
            pytest.param("put {here}/none.raw", id="a missing file"),
            pytest.param("put {here}", id="a directory"),
            pytest.param("put /dev/null", id="a device without a size"),
            pytest.param("put {here}/pipe", id="a FIFO"),
            pytest.param("put {here}/empty", id="an empty file"),
            pytest.param("put {here}/empty --register disk --store fast", id="an empty file to be registered"),
            pytest.param("put {here}/packed", id="a compressed file"),
            pytest.param(
                "put {here}/disk.raw --register disk --property size=1", id="a property with the name of an attribute"
            ),
            pytest.param("put {here}/disk.raw --checksum-file {here}/none", id="no list of checksums"),
            pytest.param("put {here}/disk.raw --checksum-file {here}/disk.raw", id="what is no list of checksums"),
            pytest.param("put {here}/disk.raw --checksum-file {here}/huge.raw", id="a list of checksums without end"),
            pytest.param("put {here}/disk.raw --checksum-file /dev/zero", id="a device as a list of checksums"),
            pytest.param("put {here}/huge.raw", id="a full backend"),
            pytest.param("put {here}/disk.raw --volume-type none", id="an unknown type"),
            pytest.param("put {here}/disk.raw --volume-type secret", id="an encrypted type"),
            pytest.param("put {here}/disk.raw --register disk --store no/store", id="no store's name"),
            pytest.param("get no-such-volume {here}/new", id="get an unknown volume"),
            pytest.param("get {plain} {here}/disk.raw", id="a file that exists"),
            pytest.param("get {plain} {here}/none/new", id="a directory that is missing"),
            pytest.param("put {here}/disk.raw --volume-type nosuch", id="an unknown volume type"),
            pytest.param("get {plain} {here}/new --offset=-1", id="a negative offset"),
            pytest.param(f"get {{plain}} {{here}}/new --offset={1 << 50}", id="an offset beyond the end"),
            pytest.param("get {busy} {here}/new", id="a volume in use"),
            pytest.param("rm {plain}", id="a volume that holds no image"),
            pytest.param("rm no-such-volume", id="rm an unknown volume"),
            pytest.param("explain no-such-image --size 1 --host node@fast#one", id="an unknown image"),
        ],
    )
    def test_bad_input_is_one_line_and_leaves_nothing(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path, arguments: str
    ) -> None:
        plain, busy = (memory.wait(memory.create(size_gib=1, name=name).id).id for name in ("plain", "busy"))
        memory.attach(busy, connector={}, mode=AccessMode.READ)
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "empty").touch()
        (tmp_path / "packed").write_bytes(gzip.compress(DATA))
        with (tmp_path / "huge.raw").open("wb") as huge:
            huge.truncate(200 << 30)
        words = arguments.format(here=tmp_path, plain=plain, busy=busy).split()
        before = dict(memory.volumes), dict(memory.attachments), set(tmp_path.iterdir())
        ran = run("-q", *words)
        assert (ran.status, ran.out) == (1, "")
        assert ran.err.endswith("\n")
        assert ran.err.strip().isprintable()
        debugged = run("--debug", *words)
        assert (debugged.status, debugged.out) == (1, "")
        assert "Traceback (most recent call last)" in debugged.err
        assert (dict(memory.volumes), dict(memory.attachments), set(tmp_path.iterdir())) == before

    def test_what_could_not_be_cleaned_up_is_in_the_line(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = Steps(fail_at=6, lasting=True, fault=lambda: ServiceFailed("the network is down"))
        monkeypatch.setattr(Imagevol, "volumes", steps.volumes(memory))
        monkeypatch.setattr(Imagevol, "attacher", steps.attacher(MemoryAttacher(volumes=memory)))
        ran = run("-q", "put", file)
        assert ran.status == 1
        assert ran.err.strip().isprintable()
        for name in (*memory.volumes, *memory.attachments):
            assert name in ran.err

    def test_a_file_that_is_not_what_was_stored_does_not_appear(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
    ) -> None:
        volume_id = run("put", file, "-f", "json").json["volume_id"]
        memory.contents[volume_id].write(0, memoryview(b"!"))
        ran = run("get", volume_id, tmp_path / "back")
        assert ran.status == 1
        assert f"volume {volume_id} has been altered" in ran.err
        assert list(tmp_path.iterdir()) == [file]

    def test_a_file_that_exists_is_told_apart_from_a_directory_without_room(
        self, run: Run, memory: MemoryVolumes, file: Path
    ) -> None:
        assert run("get", "7", file) == Ran(1, "", f"{file} exists already: give the name of a new file\n")

    def test_a_file_that_somebody_else_made_meanwhile_is_not_replaced(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volume_id = run("put", file, "-f", "json").json["volume_id"]
        detach = MemoryVolumes.detach

        def meanwhile(*arguments: Any) -> None:
            (tmp_path / "back").write_text("theirs")
            detach(*arguments)

        monkeypatch.setattr(MemoryVolumes, "detach", meanwhile)
        assert run("get", volume_id, tmp_path / "back").status == 1
        assert (tmp_path / "back").read_text() == "theirs"
        assert {path.name for path in tmp_path.iterdir()} == {"disk.raw", "back"}

    @pytest.mark.parametrize(
        "arguments",
        [
            ("put",),
            ("put", "--no-such-option", "x"),
            ("put", "x", "--visibility", "secret"),
            ("put", "x", "--gpt-safety-checks-nonfatal", "mbr,banned"),
            ("put", "x", "--register", "y", "--property", "colour"),
            ("put", "x", "--register", "y", "--property", "=red"),
            ("put", "x", "--register", "y", "--min-disk", "-1"),
            ("put", "x", "--register", "y", "--min-ram", "some"),
            ("put", "x", "--register", "y", "--container-format", "box"),
            ("get", "x"),
            (),
            ("put", "x", "--register", "n" * 256),
            ("put", "x", "--register", "n", "--tag", "t" * 256),
            ("put", "x", "--register", "n", "--property", f"{'k' * 256}=v"),
            *(("get", "x", "y", "--rate", rate) for rate in ("0", "-1", "nan", "inf", "fast")),
            ("put", "x", "--rate", "0"),
            *(("put", "x", "--digest", digest) for digest in ("sha256", "sha256:12", "rot13:12", "sha256:" + "x" * 64)),
            ("get", "x", "y", "--offset", "lots"),
            ("explain", "x"),
            *(("explain", "x", "--size", "1", "--host", host) for host in ("nosuch", "@fast#one", "node@")),
            ("no-such-command",),
        ],
    )
    def test_a_wrong_option_is_status_2(self, run: Run, memory: MemoryVolumes, arguments: tuple[str, ...]) -> None:
        ran = run(*arguments)
        assert ran.status == 2
        assert ran.out + ran.err
        assert "Traceback" not in ran.err

    def test_an_interrupt_is_status_130_and_leaves_nothing(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(_: object) -> Iterator[bytes]:
            yield DATA[:1000]
            raise KeyboardInterrupt

        monkeypatch.setattr(storing, "pieces", interrupted)
        assert run("-q", "put", file) == Ran(130, "", "interrupted\n")
        assert (memory.volumes, memory.attachments) == ({}, {})

    @pytest.mark.parametrize("request_name", ["create", "attach"])
    def test_an_interrupt_before_cinders_answer_leaves_nothing(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch, request_name: str
    ) -> None:
        answer = getattr(MemoryVolumes, request_name)

        def unanswered(*arguments: Any, **named: Any) -> None:
            answer(*arguments, **named)
            raise KeyboardInterrupt

        monkeypatch.setattr(MemoryVolumes, request_name, unanswered)
        assert run("-q", "put", file) == Ran(130, "", "interrupted\n")
        assert (memory.volumes, memory.attachments) == ({}, {})

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("it is closed")])
    def test_a_standard_error_that_cannot_be_written_fails_no_put(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        class Full(io.StringIO):
            def write(self, text: str) -> int:
                raise error

        real, begun = tell, list[str]()

        def told(line: str) -> None:
            begun.append(line)
            with redirect_stderr(Full()):
                real(line)

        monkeypatch.setattr(data, "tell", told)
        ran = run("put", file, "-f", "json")
        assert ran.status == 0
        (volume_id,) = memory.volumes
        assert (ran.json["volume_id"], len(begun)) == (volume_id, 1)

    def test_an_interrupt_says_what_could_not_be_cleaned_up(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = Steps(fail_at=6, fault=KeyboardInterrupt)
        monkeypatch.setattr(Imagevol, "attacher", steps.attacher(MemoryAttacher(volumes=memory)))
        monkeypatch.setattr(Imagevol, "volumes", steps.volumes(memory))
        monkeypatch.setattr(
            MemoryVolumes, "delete", lambda *_, **__: (_ for _ in ()).throw(ServiceFailed("the network is down"))
        )
        ran = run("-q", "put", file)
        (volume_id,) = memory.volumes
        assert ran == Ran(130, "", f"interrupted\nleft behind: volume {volume_id} (the network is down)\n")


class TestProgress:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def test_a_progress_bar_is_shown_on_a_terminal(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = self.Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        assert run("put", file).status == 0
        assert "put: 100%" in terminal.getvalue()

    def test_no_progress_bar_is_shown_without_a_terminal(self, run: Run, memory: MemoryVolumes, file: Path) -> None:
        assert "%" not in run("put", file).err


class TestIdAtOnce:
    """The log of a job that is killed names what the job was creating."""

    @pytest.mark.parametrize("register", [(), ("--register", "disk")])
    def test_the_volume_is_named_before_a_byte_is_written(
        self,
        run: Run,
        memory: MemoryVolumes,
        file: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        register: tuple[str, ...],
    ) -> None:
        seen: list[str] = []

        def killed(*_: object, **__: object) -> None:
            seen.append(capsys.readouterr().err)
            raise KeyboardInterrupt

        def known(volumes: MemoryVolumes, **how: Any) -> Volume:
            volume = create(volumes, **how)
            created.append(volume.id)
            return volume

        created: list[str] = []
        create = MemoryVolumes.create
        monkeypatch.setattr(MemoryVolumes, "create", known)
        monkeypatch.setattr(MemoryVolumes, "attach", killed)
        run("put", file, *register)
        assert len(seen) == len(created) == 1
        assert created[0] in seen[0]

    def test_the_standard_output_has_one_id(self, run: Run, memory: MemoryVolumes, file: Path) -> None:
        put = run("put", file, "--register", "disk", "-f", "value", "-c", "volume_id")
        (volume_id,) = memory.volumes
        assert put.out == f"{volume_id}\n"
        (image_id,) = memory.images.images  # type: ignore[union-attr]
        assert put.err == f"Storing image {image_id} in volume {volume_id}.\n"

    def test_the_option_quiet_is_obeyed(self, run: Run, memory: MemoryVolumes, file: Path) -> None:
        assert run("-q", "put", file).err == ""


class TestUnverified:
    def test_get_says_that_nothing_could_be_verified_if_the_volume_records_no_digest(
        self, run: Run, memory: MemoryVolumes, tmp_path: Path
    ) -> None:
        volume_id = memory.wait(memory.create(size_gib=1, name="disk", metadata={"image_size": "5"}).id).id
        whole = run("get", volume_id, tmp_path / "whole")
        assert (whole.status, whole.out, whole.err.count("\n")) == (0, "", 1)
        assert whole.err.startswith(f"Not verified: volume {volume_id} records no digest.")
        assert run("get", volume_id, tmp_path / "part", "--length", 3) == Ran(0, "", "")
        assert run("-q", "get", volume_id, tmp_path / "quiet") == Ran(0, "", "")


class TestCredentials:
    @pytest.fixture(autouse=True)
    def no_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A request that found no service is sent again at once."""
        monkeypatch.setattr(time, "sleep", lambda _: None)

    @pytest.mark.parametrize("level", [(), ("-v",), ("-v", "-v"), ("--debug",)])
    @pytest.mark.parametrize(
        "command",
        [("rm", "7"), ("put", "{file}"), ("explain", "x", "--size", "1", "--host", "h@b#p"), ("get", "7", "y")],
    )
    def test_no_output_shows_a_password(
        self, run: Run, file: Path, level: tuple[str, ...], command: tuple[str, ...]
    ) -> None:
        ran = run(*level, *CREDENTIALS, *(word.format(file=file) for word in command))
        assert ran.status == 1
        assert "check the URL, and that the service runs" in ran.err
        assert PASSWORD not in ran.out + ran.err

    @pytest.mark.parametrize("level", [(), ("--debug",)])
    @pytest.mark.parametrize("password", HOSTILE_PASSWORDS)
    def test_no_output_shows_a_password_in_the_auth_url(self, run: Run, level: tuple[str, ...], password: str) -> None:
        url = f"http://127.0.0.1:{password}@127.0.0.1:1/v3"
        ran = run(*level, *CREDENTIALS, "--os-auth-url", url, "rm", "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47")
        assert ran.status == 1
        assert not shows_a_piece(ran.out + ran.err)

    @pytest.mark.parametrize("password", HOSTILE_PASSWORDS)
    def test_no_output_shows_a_password_in_an_endpoint_override(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, password: str
    ) -> None:
        url = f"http://127.0.0.1:{password}@127.0.0.1:1/v3".replace("\n", "\t")
        monkeypatch.setenv("OS_BLOCK_STORAGE_ENDPOINT_OVERRIDE", url)
        ran = run("--debug", *CREDENTIALS, "rm", "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47")
        assert ran.status == 1
        assert not shows_a_piece(ran.out + ran.err)

    def test_without_credentials_the_error_says_how_to_give_them(self, run: Run) -> None:
        ran = run("rm", "x")
        assert ran.status == 1
        assert "OS_CLOUD or --os-cloud" in ran.err

    def test_an_unknown_cloud_is_named(self, run: Run) -> None:
        ran = run("--os-cloud", "heaven", "rm", "x")
        assert ran.status == 1
        assert "heaven" in ran.err


class TestPutWishes:
    """What cannot be is refused before a byte moves."""

    @pytest.fixture
    def stores(self, memory: MemoryVolumes, monkeypatch: pytest.MonkeyPatch) -> None:
        stores = (Store(name="fast", kind="cinder", volume_type="fast"), Store(name="slow", kind="file"))
        monkeypatch.setattr(MemoryImages, "catalogue", lambda _: StoreCatalogue(stores=stores))
        monkeypatch.setattr(MemoryImages, "store_names", lambda _: ("fast", "slow"))
        monkeypatch.setattr(MemoryVolumes, "default_volume_type", lambda _: "secret", raising=False)

    @pytest.mark.parametrize(
        "wishes, says",
        [
            (("--register", "disk", "--store", "nosuch"), "Glance has no store 'nosuch': give one of 'fast', 'slow'"),
            (("--register", "disk", "--store", "slow"), "keeps no images in volumes"),
            (("--register", "disk", "--store", "fast", "--volume-type", "secret"), "give the volume type 'fast'"),
            (("--register", "disk", "--store", "fast"), "give the volume type 'fast'"),
            (("--owner", "not-a-project"), "Keystone has no project with the id 'not-a-project'"),
            (("--register", "disk", "--owner", "not-a-project"), "Keystone has no project"),
            (("--owner", ""), "Keystone does not tell these credentials whether there is a project ''"),
        ],
    )
    @pytest.mark.usefixtures("stores")
    def test_a_put_that_cannot_succeed_is_refused_in_one_line_and_leaves_nothing(
        self, run: Run, memory: MemoryVolumes, tmp_path: Path, wishes: tuple[str, ...], says: str
    ) -> None:
        put = run("put", tmp_path / "not-even-looked-for", *wishes)
        assert (put.status, put.out, put.err.count("\n")) == (1, "", 1)
        assert says in put.err
        images: Any = memory.images
        assert (memory.volumes, images.images) == ({}, {})

    @pytest.mark.usefixtures("stores")
    def test_a_put_with_attributes_that_are_valid_is_done(self, run: Run, memory: MemoryVolumes, file: Path) -> None:
        put = run("put", file, "--register", "disk", "--store", "fast", "--volume-type", "fast", "--owner", "q")
        assert (put.status, len(memory.volumes)) == (0, 1)

    def test_a_user_who_cannot_see_the_details_of_stores_can_store(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forbidden(_: MemoryImages) -> StoreCatalogue:
            raise AccessDenied("Glance: 403")

        monkeypatch.setattr(MemoryImages, "catalogue", forbidden)
        assert run("put", file, "--register", "disk", "--store", "fast").status == 0
        assert run("put", file, "--register", "disk", "--store", "nosuch").status == 1

    def test_a_project_that_keystone_does_not_tell_of_is_taken_if_it_looks_like_one(
        self, run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Imagevol, "has_project", lambda *_: None)
        assert run("put", file, "--owner", "0123456789abcdef0123456789abcdef").status == 0
        assert run("put", file, "--owner", "not-a-project").status == 1


@pytest.mark.filterwarnings("ignore")  # what libraries deprecate, as `main` has it
class TestThisHost:
    """How volumes come to this host can be chosen for every command."""

    def app(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Imagevol:
        monkeypatch.setattr("imagevol_adapters.brick.become_privileged", lambda _: None)
        monkeypatch.setattr(Imagevol, "session", None)
        monkeypatch.setattr(Imagevol, "_interface", lambda *_: "public")
        monkeypatch.setattr(
            Imagevol, "cloud", SimpleNamespace(config={}, get_region_name=lambda: None, get_endpoint=lambda _: None)
        )
        app = Imagevol([])
        app.options, _ = app.parser.parse_known_args(arguments)
        return app

    def test_by_default_a_command_waits_for_volumes_and_uses_one_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = self.app(monkeypatch)
        assert patience_seconds(app.volumes.attach_attempts) > 240
        assert (app.attacher.ip, app.attacher.multipath, app.attacher.enforce_multipath) == (None, False, False)

    def test_the_options_about_this_host_are_obeyed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = self.app(monkeypatch, "--my-ip", "192.0.2.7", "--multipath", "--attach-attempts", "1")
        assert app.volumes.attach_attempts == 1
        assert (app.attacher.ip, app.attacher.multipath, app.attacher.enforce_multipath) == ("192.0.2.7", True, False)

    def test_enforcing_multipath_also_turns_it_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        attacher = self.app(monkeypatch, "--enforce-multipath").attacher
        assert (attacher.multipath, attacher.enforce_multipath) == (True, True)

    @pytest.mark.parametrize("count", ["0", "-1", "some"])
    def test_less_than_one_attempt_is_a_wrong_option(self, run: Run, count: str) -> None:
        refused = run(f"--attach-attempts={count}", "rm", "7")
        assert refused.status == 2
        assert f"'{count}' is no count: give 1 or more" in refused.err


def test_the_command_is_installed_and_starts_silently() -> None:
    command = Path(sysconfig.get_path("scripts")) / "imagevol"
    ran = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"imagevol {version('imagevol')}\n"
    assert ran.stderr == ""


def test_an_unexpected_error_is_one_line_that_names_what_is_left(
    run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object, **__: object) -> None:
        error = ZeroDivisionError("nobody thought of it")
        error.add_note("left behind: volume 7")
        raise error

    monkeypatch.setattr(transfers, "store_image_file", defect)
    assert run("put", file) == Ran(1, "", "nobody thought of it\nleft behind: volume 7\n")
    assert "Traceback" in run("--debug", "put", file).err


def test_without_its_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "imagevol_adapters.cli.app", raising=False)
    monkeypatch.setitem(sys.modules, "cliff.app", None)
    assert main(["--help"]) == 1
    assert capsys.readouterr() == ("", "cliff.app is not installed: pip install 'imagevol[cli]'\n")


class TestMetrics:
    @staticmethod
    def values(file: Path) -> dict[str, float]:
        families = text_string_to_metric_families(file.read_text())
        return {
            f"{sample.name.removeprefix('imagevol_command_')} {sample.labels['command']}": sample.value
            for family in families
            for sample in family.samples
        }

    def test_put_and_get_write_what_they_moved(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
    ) -> None:
        metrics = tmp_path / "imagevol.prom"
        put = run("put", file, "--metrics", metrics, "-f", "json")
        found = self.values(metrics)
        assert (put.status, found["transfer_bytes put"]) == (0, len(DATA))
        assert found["transfer_seconds put"] >= put.json["seconds"]
        assert found["last_success_timestamp_seconds put"] > 1e9
        assert run("get", put.json["volume_id"], tmp_path / "back", "--metrics", metrics) == Ran(0, "", "")
        assert self.values(metrics)["transfer_bytes get"] == len(DATA)

    def test_a_file_that_cannot_be_written_is_refused_before_anything_is_done(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
    ) -> None:
        ran = run("put", file, "--metrics", tmp_path / "none" / "x.prom")
        assert (ran.status, ran.out, memory.volumes) == (1, "", {})

    def test_metrics_that_are_lost_later_do_not_fail_the_command(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise RequestRefused("no space is left")

        monkeypatch.setattr("imagevol_adapters.metrics.textfile.replace_file", full)
        ran = run("put", file, "--metrics", tmp_path / "x.prom", "-f", "json")
        assert (ran.status, len(memory.volumes)) == (0, 1)
        assert "The command has succeeded, but its metrics are lost: no space is left" in ran.err

    def test_a_failure_leaves_the_time_of_the_last_success(
        self, run: Run, memory: MemoryVolumes, file: Path, tmp_path: Path
    ) -> None:
        metrics = tmp_path / "imagevol.prom"
        run("put", file, "--metrics", metrics)
        before = metrics.read_bytes()
        assert run("put", tmp_path / "none", "--metrics", metrics).status == 1
        assert metrics.read_bytes() == before
