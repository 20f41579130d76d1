"""What a cinder store needs of this host is found where Glance and os-brick look for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from imagevol_adapters.configuration.stores import load, read_catalogue
from imagevol_adapters.store_trials import host_of, try_store
from imagevol_core import StoreHost


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory for programs, with nothing on the path and beside Python."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    monkeypatch.setattr("sys.executable", str(tmp_path / "none/python"))
    return directory


def host(tmp_path: Path, text: str = "") -> StoreHost:
    file = tmp_path / "glance-api.conf"
    file.write_text(f"[DEFAULT]\nenabled_backends = fast:cinder\n[fast]\n{text}")
    return host_of(load([file]), section="fast")


def program(path: Path) -> str:
    path.touch(mode=0o755)
    return str(path)


class TestHost:
    @pytest.mark.parametrize(
        "text, lock_path",
        [
            ("", None),
            ("[oslo_concurrency]\nlock_path = /a\n", "/a"),
            ("[oslo_concurrency]\nlock_path = /a\n[os_brick]\nlock_path = /b\n", "/b"),
        ],
    )
    def test_os_bricks_lock_path_is_its_own_or_that_of_all(
        self, tmp_path: Path, text: str, lock_path: str | None
    ) -> None:
        assert host(tmp_path, text).lock_path == lock_path

    def test_the_file_of_rootwrap_is_the_one_that_the_option_names(self, tmp_path: Path) -> None:
        file = tmp_path / "rootwrap.conf"
        text = f"rootwrap_config = {file}\n"
        assert (host(tmp_path, text).rootwrap_config, host(tmp_path, text).rootwrap_config_exists) == (str(file), False)
        file.touch()
        assert host(tmp_path, text).rootwrap_config_exists
        assert host(tmp_path).rootwrap_config == "/etc/glance/rootwrap.conf"

    def test_the_helper_is_looked_for_where_rootwrap_looks(self, tmp_path: Path, no_programs: Path) -> None:
        rootwrap = tmp_path / "rootwrap.conf"
        text = f"rootwrap_config = {rootwrap}\n"
        rootwrap.write_text(f"[DEFAULT]\nexec_dirs=/nowhere,{no_programs}\n")
        assert not host(tmp_path, text).privsep_helper_exists
        program(no_programs / "privsep-helper")
        found = host(tmp_path, text)
        assert (found.privsep_helper, found.privsep_helper_exists) == ("privsep-helper", True)
        rootwrap.write_text("%%% malformed")
        assert not host(tmp_path, text).privsep_helper_exists

    @pytest.mark.parametrize("before", ["", "sudo ", "sudo glance-rootwrap /etc/glance/rootwrap.conf "])
    def test_the_helper_of_a_command_is_the_one_that_is_run_at_last(
        self, tmp_path: Path, no_programs: Path, before: str
    ) -> None:
        helper = str(no_programs / "privsep-helper")
        text = f"[privsep_osbrick]\nhelper_command = {before}{helper} --config-file /a\n"
        assert (host(tmp_path, text).privsep_helper, host(tmp_path, text).privsep_helper_exists) == (helper, False)
        program(no_programs / "privsep-helper")
        assert host(tmp_path, text).privsep_helper_exists

    @pytest.mark.parametrize("command, name", [("my-helper -x", "my-helper"), ("it's my-helper", "it's")])
    def test_another_privsep_helper_is_taken_as_it_is(self, tmp_path: Path, command: str, name: str) -> None:
        assert host(tmp_path, f"[privsep_osbrick]\nhelper_command = {command}\n").privsep_helper == name

    @pytest.mark.parametrize("address, loopback", [("127.0.1.1", True), ("192.0.2.7", False), (None, False)])
    def test_the_address_is_that_of_the_hosts_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None, loopback: bool
    ) -> None:
        def address_of(_: str) -> str:
            if address is None:
                raise socket.gaierror(-2, "Name or service not known")
            return address

        monkeypatch.setattr("imagevol_adapters.store_trials.address_of", address_of)
        found = host(tmp_path)
        assert (found.name, found.address, found.loopback) == (socket.gethostname(), address, loopback)


class TestDirectories:
    def test_a_directory_that_this_user_cannot_write_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)  # as for a user who is not root
        file = tmp_path / "glance-api.conf"
        file.write_text(f"[glance_store]\nstores = file\nfilesystem_store_datadir = {tmp_path}\n")
        conf = load([file])
        catalogue = read_catalogue(conf)
        trial = try_store(conf, catalogue.stores[0], catalogue)
        assert "run this command as Glance's user" in str(trial.directories[str(tmp_path)])

    def test_a_path_that_cannot_be_looked_at_is_told(self, tmp_path: Path) -> None:
        file, path = tmp_path / "glance-api.conf", f"/{'x' * 300}"
        file.write_text(f"[glance_store]\nstores = file\nfilesystem_store_datadir = {path}\n")
        conf = load([file])
        catalogue = read_catalogue(conf)
        trial = try_store(conf, catalogue.stores[0], catalogue)
        assert str(trial.directories[path]).startswith("it cannot be looked at: ")
