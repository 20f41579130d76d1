"""A confined command has no more than it was given: no root, no file, no network, and no life of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagevol_adapters.qemu.confinement import confined
from tests.adapters.ending import wait_for_end

NOBODY = "65534"
DAC_OVERRIDE = 1 << 1


@pytest.fixture(autouse=True)
def _needed() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed; the Debian package is util-linux")


@pytest.fixture
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: who is not has no more than their own rights to begin with")


def said(*command: str, files: list[Path] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it confined to these files."""
    argv = confined(command, files=map(str, files or []))
    return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@contextmanager
def running(*command: str) -> Iterator[Path]:
    """The directory in /proc of a command that runs confined, once it does."""
    with subprocess.Popen(confined(command, files=[])) as process:
        try:
            proc = Path("/proc", str(process.pid))
            while (proc / "comm").read_text().strip() != command[0]:
                assert process.poll() is None
                time.sleep(0.01)
            yield proc
        finally:
            process.kill()


def status(proc: Path) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = (proc / "status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.usefixtures("_root")
class TestRoot:
    """Run by root, it is not root and sees nothing that it was not given."""

    def test_a_confined_program_has_no_rights_and_cannot_get_them_back(self) -> None:
        with running("sleep", "1000") as proc:
            told = status(proc)
        assert told["Uid"] == told["Gid"] == " ".join([NOBODY] * 4)
        assert told["Groups"] == ""
        assert told["NoNewPrivs"] == "1"
        for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(told[which], 16) == DAC_OVERRIDE, which

    def test_a_confined_program_has_no_network(self) -> None:
        with running("sleep", "1000") as proc:
            assert (proc / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()

    def test_a_confined_program_reads_and_writes_the_named_files_and_no_others(self, tmp_path: Path) -> None:
        given, other = tmp_path / "given", tmp_path / "other"
        for path in (given, other):
            path.write_text("old")
            path.chmod(0o600)
        assert said("cat", str(given), files=[given]).stdout == "old"
        assert said("sh", "-c", f"echo new > {given}", files=[given]).returncode == 0
        assert given.read_text() == "new\n"
        for path in (other, Path("/etc/shadow"), Path("/etc/passwd"), Path("/proc/self/environ")):
            done = said("cat", str(path), files=[given])
            assert (done.returncode, done.stdout) == (1, "")
            assert said("test", "-e", str(path), files=[given]).returncode == 1

    def test_a_confined_program_sees_programs_and_libraries_and_changes_nothing(self, tmp_path: Path) -> None:
        seen = set(said("ls", "/").stdout.split())
        assert seen <= {"bin", "lib", "lib32", "lib64", "usr", "dev"}
        assert set(said("ls", "/usr").stdout.split()) <= {"bin", "lib", "lib32", "lib64"}
        assert said("ls", "/dev").stdout.split() == ["null"]
        for path in ("/new", "/usr/bin/new", "/dev/new"):
            assert said("touch", path).returncode == 1
            assert (
                said("test", "-w", str(Path(path).parent)).returncode == 1
            )  # which is so of what is read-only, to root

    @pytest.mark.parametrize("name", ["a space", "a'quote", 'a"quote', "$HOME", "a\nline", "-n", "a,comma", "--"])
    def test_a_path_with_odd_characters_is_taken_as_it_is(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / name / name
        path.parent.mkdir()
        path.write_text("data")
        assert said("cat", str(path), files=[path]).stdout == "data"

    def test_a_symbolic_link_can_be_named_as_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("data")
        link = tmp_path / "link"
        link.symlink_to("data")
        assert said("cat", str(link), files=[link]).stdout == "data"

    def test_an_open_file_is_read_whatever_is_at_its_path_by_then(self, tmp_path: Path) -> None:
        path, other = tmp_path / "file", tmp_path / "other"
        path.write_text("data")
        path.chmod(0o600)
        other.write_text("evil")
        with path.open("rb") as file:
            argv = confined(["cat", str(path)], files=[str(path)], descriptors={str(path): file.fileno()})
            other.replace(path)
            done = subprocess.run(argv, pass_fds=[file.fileno()], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("data", "")

    def test_a_confined_program_sees_of_proc_only_its_own_descriptors(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("data")
        with (tmp_path / "file").open("rb") as file:
            number = file.fileno()
            look = ["sh", "-c", "echo /*; ls /fd; cat /fd/../environ /fd/../../1/environ 2>&1"]
            argv = confined(look, files=[], descriptors={"/none": number})
            done = subprocess.run(argv, pass_fds=[number], capture_output=True, text=True, check=False)
        root, *rest = done.stdout.splitlines()
        assert set(root.split()) <= {"/bin", "/lib", "/lib32", "/lib64", "/usr", "/dev", "/fd"}
        assert str(number) in rest
        assert "PATH=" not in done.stdout

    def test_no_other_process_sees_the_confinement(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        argv = shlex.join(confined(["cat", str(tmp_path / "file")], files=[str(tmp_path / "file")]))
        mounts = "cat /proc/self/mountinfo"
        # As systemd makes it; a / that is no mount, as in a chroot, has no way to be shared.
        shared = "for at in / /sys; do mount --make-private $at && mount --make-shared $at || true; done 2>/dev/null"
        script = f'{shared}; before=$({mounts}); {argv} || exit; [ "$before" = "$({mounts})" ]'
        host = ("unshare", "--mount", "--propagation", "unchanged")
        subprocess.run([*host, "sh", "-c", script], check=True)

    def test_a_file_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        done = said("true", files=[tmp_path / "none"])
        assert done.returncode != 0
        assert not (tmp_path / "none").exists()


class TestAnybody:
    """Whoever runs it, it ends with them and has no way to more rights."""

    def test_an_open_file_is_read_whatever_is_at_its_path_by_then(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        path, other = tmp_path / "file", tmp_path / "other"
        path.write_text("data")
        other.write_text("evil")
        with path.open("rb") as file:
            argv = confined(["cat", str(path)], files=[str(path)], descriptors={str(path): file.fileno()})
            other.replace(path)
            done = subprocess.run(argv, pass_fds=[file.fileno()], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("data", "")

    def test_without_root_a_program_keeps_its_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        argv = confined(["cat", "x"], files=["/x"])
        assert argv == ["setpriv", "--no-new-privs", "--pdeathsig", "KILL", "--", "cat", "x"]

    @pytest.mark.parametrize("uid", ["own", "other"])
    def test_a_confined_program_ends_with_the_process_that_started_it(
        self, uid: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if uid == "other":
            monkeypatch.setattr(os, "geteuid", lambda: 1000)
        argv = confined(["sleep", "1000"], files=[])
        script = f"import subprocess; p = subprocess.Popen({argv!r}); print(p.pid, flush=True); p.wait()"
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            proc = Path("/proc", parent.stdout.readline().strip())
            while (proc / "comm").read_text().strip() != "sleep":
                assert parent.poll() is None
                time.sleep(0.01)
            parent.send_signal(signal.SIGKILL)
        wait_for_end(int(proc.name))
