"""`imagevol stores`: what it finds, what it writes, and what it leaves alone."""

from __future__ import annotations

import dataclasses
import io
import os
import stat
import sys
import time
from collections.abc import Iterable
from errno import EIO, ENOENT
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.configuration import upgrade as configuration_upgrade
from imagevol_adapters.configuration.stores import credentials, load, read_catalogue
from imagevol_core import (
    AccessDenied,
    ImagevolError,
    ServiceFailed,
    ServiceUnreachable,
    Store,
    StoreCatalogue,
    StoreHost,
)
from tests.adapters.commands import Ran, Run

pytestmark = pytest.mark.usefixtures("no_cloud")

SECRET = "correct-horse"
CREDENTIALS = f"""\
cinder_store_auth_address = http://localhost/v3
cinder_store_user_name = glance
cinder_store_password = {SECRET}
cinder_store_project_name = service
"""
STORES = f"""\
[DEFAULT]
enabled_backends = fast:cinder, slow:cinder
[glance_store]
default_backend = fast
[fast]
cinder_volume_type = ssd
{CREDENTIALS}
[slow]
cinder_volume_type = hdd
{CREDENTIALS}
"""
SINGLE = f"""\
# Mine.
[DEFAULT]
debug = true

[glance_store]
# The stores.
stores = cinder, http
default_store = cinder
{CREDENTIALS}
# Not the stores.
[database]
connection = mysql://root:{SECRET}@localhost/glance
"""
UPGRADED = f"""\
# Mine.
[DEFAULT]
debug = true
enabled_backends = fast:cinder, web:http, slow:cinder

[glance_store]
# The stores.
default_backend = fast

# Not the stores.
[database]
connection = mysql://root:{SECRET}@localhost/glance

[fast]
{CREDENTIALS}cinder_volume_type = ssd

[slow]
{CREDENTIALS}cinder_volume_type = hdd
"""
GOOD_HOST = StoreHost(
    name="here",
    address="192.0.2.7",
    loopback=False,
    lock_path="/var/lock",
    rootwrap_config="/etc/glance/rootwrap.conf",
    rootwrap_config_exists=True,
    privsep_helper="privsep-helper",
    privsep_helper_exists=True,
)
WISHES = ("--name", "cinder=fast", "--name", "http=web", "--new-store", "slow=hdd")


@attrs.define
class Types:
    """The part of Cinder that these commands ask."""

    names: Iterable[str] = ("ssd", "hdd")
    default: str | ImagevolError = "ssd"
    error: ImagevolError | None = None

    def volume_types(self) -> tuple[str, ...]:
        if self.error:
            raise self.error
        return tuple(self.names)

    def default_volume_type(self) -> str:
        if isinstance(self.default, ImagevolError):
            raise self.default
        return self.default


@pytest.fixture
def cinder(monkeypatch: pytest.MonkeyPatch) -> Types:
    types = Types()
    monkeypatch.setattr(Imagevol, "volumes", types)
    monkeypatch.setattr("imagevol_adapters.store_trials.service_volumes", lambda *_, **__: types)
    monkeypatch.setattr("imagevol_adapters.store_trials.host_of", lambda *_, **__: GOOD_HOST)
    return types


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    return write(tmp_path / "glance-api.conf", STORES)


@pytest.fixture
def single(tmp_path: Path) -> Path:
    return write(tmp_path / "glance-api.conf", SINGLE)


def write(path: Path, text: str) -> Path:
    path.touch(mode=0o640)
    path.write_text(text)
    return path


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


class TestCheck:
    def test_the_exit_status_of_stores_without_a_fault_is_0(self, run: Run, cinder: Types, stores: Path) -> None:
        ran = run("stores", "check", "--config-file", stores)
        assert ran == Ran(0, "Store fast works.\nStore slow works.\n", "")

    def test_every_fault_is_told_and_the_status_is_3(self, run: Run, cinder: Types, stores: Path) -> None:
        text = STORES.replace("= hdd", "= ssd").replace("default_backend = fast", "default_backend = none")
        write(stores, text.replace(f"cinder_store_password = {SECRET}\n", "", 1).replace("fast:cinder", "fast:cindr"))
        ran = run("stores", "check", "--config-file", stores)
        assert ran == Ran(
            3,
            "Store fast fails:\n"
            "  kind-known: 'cindr'; known are cinder, file, http, imagevol, rbd, s3, swift, vmware.\n"
            "Store slow works.\n"
            "default-exists: default_backend is 'none', which is none of the stores.\n",
            "",
        )
        cinder.names = ["hdd"]
        write(stores, text.replace(f"cinder_store_password = {SECRET}\n", "", 1))
        ran = run("stores", "check", "--config-file", stores)
        shared = "is also the type of"
        assert ran == Ran(
            3,
            "Store fast fails:\n"
            "  credentials-complete: missing are cinder_store_password.\n"
            "  type-exists: cinder_volume_type is 'ssd', and Cinder has no such type.\n"
            f"  warning, type-unshared: 'ssd' {shared} 'slow': a volume cannot tell them apart.\n"
            "Store slow fails:\n"
            "  type-exists: cinder_volume_type is 'ssd', and Cinder has no such type.\n"
            f"  warning, type-unshared: 'ssd' {shared} 'fast': a volume cannot tell them apart.\n"
            "default-exists: default_backend is 'none', which is none of the stores.\n",
            "",
        )

    def test_a_warning_alone_is_no_fault(self, run: Run, cinder: Types, stores: Path) -> None:
        write(stores, STORES.replace("= hdd", "= ssd"))
        ran = run("stores", "check", "--config-file", stores)
        assert ran.status == 0
        assert ran.out.startswith("Store fast works:\n  warning, type-unshared: ")

    def test_for_a_program_a_verdict_is_a_row(self, run: Run, cinder: Types, stores: Path) -> None:
        rows = run("stores", "check", "--config-file", stores, "-f", "json").json
        assert rows[4] == {
            "store": "fast",
            "not_tried": None,
            "rule": "type-exists",
            "result": "holds",
            "text": "cinder_volume_type is 'ssd', and Cinder has it",
        }
        rules = [row["rule"] for row in rows if row["store"] == "fast"]
        assert {"type-exists", "signs-in", "lock-path-set"} <= set(rules)
        assert [row["store"] for row in rows] == ["fast"] * len(rules) + ["slow"] * len(rules) + [None]
        chosen = run("stores", "check", "--config-file", stores, "-c", "store", "-c", "rule")
        assert chosen.out.startswith("fast name-valid\nfast kind-known\n")

    def test_a_store_that_cinder_or_keystone_does_not_let_in_fails_and_the_rest_is_told(
        self, run: Run, cinder: Types, stores: Path
    ) -> None:
        cinder.error = ServiceUnreachable("Cinder: no answer")
        ran = run("stores", "check", "--config-file", stores)
        assert (ran.status, ran.err) == (3, "")
        assert ran.out.splitlines()[:3] == [
            "Store fast fails:",
            "  type-exists: cinder_volume_type is 'ssd', and Cinder does not answer whether there is one.",
            "  signs-in: Cinder: no answer.",
        ]

    def test_a_wrong_address_of_keystone_is_told_of_each_store(
        self, run: Run, stores: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("imagevol_adapters.store_trials.host_of", lambda *_, **__: GOOD_HOST)
        wrong = "http://me:pa/ss@localhost/v3"
        write(stores, STORES.replace("//localhost/v3", "//127.0.0.1:1/v3", 1).replace("http://localhost/v3", wrong, 1))
        monkeypatch.setattr(time, "sleep", lambda _: None)
        ran = run("stores", "check", "--config-file", stores)
        assert (ran.status, ran.err) == (3, "")
        (refused, malformed) = [line for line in ran.out.splitlines() if line.startswith("  signs-in: ")]
        assert "127.0.0.1:1" in refused
        assert "cinder_store_auth_address: it is not a URL" in malformed
        assert "pa/ss" not in ran.out + ran.err

    def test_a_default_type_that_is_not_known_is_no_fault(self, run: Run, cinder: Types, stores: Path) -> None:
        cinder.default = ServiceFailed("Cinder: its default is wrong")
        assert run("stores", "check", "--config-file", stores) == Ran(0, "Store fast works.\nStore slow works.\n", "")

    def test_a_store_without_credentials_of_its_own_is_not_said_to_work(
        self, run: Run, cinder: Types, single: Path
    ) -> None:
        write(single, "[glance_store]\nstores = cinder, rbd\ndefault_store = cinder\ncinder_volume_type = ssd\n")
        told = "not tried (it has no credentials of its own: Glance uses the token of each request)"
        rbd = "Store rbd is consistent; not tried (imagevol cannot try a store of kind rbd).\n"
        ran = run("stores", "check", "--config-file", single)
        assert ran == Ran(0, f"Store cinder is consistent; {told}.\n{rbd}", "")
        cinder.names = ["hdd"]
        ran = run("stores", "check", "--config-file", single)
        missing = "  type-exists: cinder_volume_type is 'ssd', and Cinder has no such type.\n"
        assert ran == Ran(3, f"Store cinder fails:\n{missing}{rbd}", "")
        cinder.error = ServiceUnreachable("Cinder: no answer")
        assert run("stores", "check", "--config-file", single).err == "Cinder: no answer\n"

    def test_credentials_of_the_command_that_are_no_good_are_an_error_and_no_fault_of_a_store(
        self, run: Run, cinder: Types, single: Path
    ) -> None:
        write(single, "[glance_store]\nstores = cinder\ndefault_store = cinder\ncinder_volume_type = ssd\n")
        cinder.error = AccessDenied("no credentials")
        assert run("stores", "check", "--config-file", single) == Ran(1, "", "no credentials\n")

    def test_a_store_of_files_works_if_its_directories_can_be_written(
        self, run: Run, cinder: Types, tmp_path: Path
    ) -> None:
        there, file, gone = tmp_path / "there", tmp_path / "file", tmp_path / "gone"
        there.mkdir()
        file.touch()
        text = "[glance_store]\nstores = file\nfilesystem_store_datadir{}\n"
        conf = write(tmp_path / "a.conf", text.format(f" = {there}"))
        assert run("stores", "check", "--config-file", conf) == Ran(0, "Store file works.\n", "")
        several = f"s = {file}:200\nfilesystem_store_datadirs = {there}\nfilesystem_store_datadirs = {gone}:7"
        ran = run("stores", "check", "--config-file", write(conf, text.format(several)))
        wrong = f"{file}: it is not a directory; {gone}: there is no such directory: create it, for Glance's user"
        assert ran == Ran(3, f"Store file fails:\n  directories-usable: {wrong}.\n", "")

    @pytest.mark.parametrize(
        "change, rule",
        [
            ({"lock_path": None}, "lock-path-set"),
            ({"rootwrap_config_exists": False}, "rootwrap-config-exists"),
            ({"privsep_helper_exists": False}, "privsep-helper-exists"),
            ({"loopback": True}, "address-reachable"),
        ],
    )
    def test_a_cinder_store_does_not_work_without_what_it_needs_of_the_host(
        self,
        run: Run,
        cinder: Types,
        stores: Path,
        monkeypatch: pytest.MonkeyPatch,
        change: dict[str, Any],
        rule: str,
    ) -> None:
        host = dataclasses.replace(GOOD_HOST, **change)
        monkeypatch.setattr("imagevol_adapters.store_trials.host_of", lambda *_, **__: host)
        ran = run("stores", "check", "--config-file", stores)
        warned = rule == "address-reachable"
        assert ran.status == (0 if warned else 3)
        assert ran.out.startswith(
            f"Store fast works:\n  warning, {rule}: " if warned else f"Store fast fails:\n  {rule}: "
        )

    @pytest.mark.parametrize("name", ["enabled_backends", "config_file", "config_dir"])
    def test_a_store_that_is_named_as_an_option_is_one_line(self, run: Run, tmp_path: Path, name: str) -> None:
        conf = write(tmp_path / "a.conf", f"[DEFAULT]\nenabled_backends = fast:cinder, {name}:cinder\n")
        ran = run("stores", "check", "--config-file", conf)
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert ran.err.startswith(f"{conf}:2, [DEFAULT] enabled_backends: a store cannot be named {name!r}")

    @pytest.mark.parametrize(
        "section, option",
        [
            ("DEFAULT", "enabled_backends"),
            ("glance_store", "default_backend"),
            ("glance_store", "stores"),
            ("fast", "weight"),
            ("fast", "rootwrap_config"),
            ("fast", "cinder_http_retries"),
            ("fast", "cinder_store_password"),
            ("fast", "cinder_store_auth_address"),
            ("local", "filesystem_store_datadir"),
            ("oslo_concurrency", "lock_path"),
            ("privsep_osbrick", "helper_command"),
        ],
    )
    def test_an_option_that_refers_to_itself_is_one_line(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, option: str
    ) -> None:
        monkeypatch.setattr("imagevol_adapters.store_trials.service_volumes", lambda *_, **__: Types())
        both = f"[fast]\n{CREDENTIALS}[local]\n[glance_store]\n"
        backends = "" if option in ("enabled_backends", "stores") else "enabled_backends = fast:cinder, local:file\n"
        text = f"[DEFAULT]\n{backends}{both}[{section}]\n{option} = ${option}\n"
        if section not in ("DEFAULT", "glance_store"):
            text = text.replace(f"= ${option}", f"= ${section}.{option}")
        ran = run("stores", "check", "--config-file", write(tmp_path / "a.conf", text))
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert f"[{section}] {option}: it refers to " in ran.err

    def test_the_example_of_the_specification_has_a_comment_in_its_volume_type(
        self, run: Run, cinder: Types, stores: Path
    ) -> None:
        write(stores, STORES.replace("= ssd", "= ssd # as per old cinder.conf"))
        ran = run("stores", "check", "--config-file", stores)
        told = (
            "  type-exists: cinder_volume_type is 'ssd # as per old cinder.conf', and Cinder has no such type; "
            "oslo.config takes a comment after a value for a part of it: put the comment on a line of its own.\n"
        )
        assert ran == Ran(3, f"Store fast fails:\n{told}Store slow works.\n", "")

    def test_a_file_that_is_malformed_is_one_line(self, run: Run, tmp_path: Path) -> None:
        file = write(tmp_path / "a.conf", f"[fast]\npassword {SECRET}\n")
        ran = run("stores", "check", "--config-file", file)
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert ran.err.startswith(f"{file}:2: ")
        assert SECRET not in ran.err
        for command in (("check", "--config-file", file), ("upgrade-config", file)):
            ran = run("--debug", "stores", *command)
            assert (ran.status, "Traceback" in ran.err, SECRET in ran.err) == (1, True, False)


class TestUpgrade:
    def test_a_fifo_and_a_device_are_refused_at_once(self, run: Run, tmp_path: Path) -> None:
        fifo, device = tmp_path / "fifo", tmp_path / "device"
        os.mkfifo(fifo)
        device.symlink_to("/dev/zero")
        for file, kind in ((fifo, "a FIFO"), (device, "a character device")):
            for command in (("check", "--config-file", file), ("upgrade-config", file)):
                ran = run("stores", *command)
                assert (ran.status, ran.err) == (1, f"{file}: it is {kind}, not a file\n")

    def test_the_new_file_is_written_beside_the_old_one_with_the_same_mode_and_oslo_config_reads_it(
        self, run: Run, cinder: Types, single: Path
    ) -> None:
        ran = run("stores", "upgrade-config", single, *WISHES)
        new = single.with_name("glance-api.conf.new")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines()[-1] == (
            f"{new} is written. Check it, put it in the place of {single}, and restart Glance."
        )
        assert (new.read_text(), single.read_text()) == (UPGRADED, SINGLE)
        assert stat.S_IMODE(new.stat().st_mode) == 0o640
        assert names(single.parent) == {single.name, new.name}
        conf = load([new])
        catalogue = read_catalogue(conf)
        assert catalogue == StoreCatalogue(
            stores=(
                Store(name="fast", kind="cinder", volume_type="ssd"),
                Store(name="web", kind="http", readonly=True),
                Store(name="slow", kind="cinder", volume_type="hdd"),
            ),
            default="fast",
        )
        assert set(map(len, credentials(conf, catalogue).values())) == {4}
        assert run("stores", "check", "--config-file", new).status == 0

    def test_no_secret_is_shown(self, run: Run, cinder: Types, single: Path) -> None:
        upgrade = ("stores", "upgrade-config", single, *WISHES, "--dry-run")
        for wishes in (
            (*upgrade, "-f", "json"),
            (*upgrade, "-f", "yaml"),
            (*upgrade, "-f", "table"),
            ("--debug", *upgrade),
        ):
            ran = run(*wishes)
            assert ran.status == 0
            assert SECRET not in ran.out + ran.err
        assert "+cinder_store_password = ***\n" in ran.out
        assert names(single.parent) == {single.name}

    def test_for_a_program_the_edits_are_data(self, run: Run, cinder: Types, single: Path) -> None:
        plan = run("stores", "upgrade-config", single, *WISHES, "--dry-run", "-f", "json").json
        assert (plan["file"], plan["written"], plan["kept"]) == (str(single), None, None)
        assert plan["edits"][0] == {
            "section": "DEFAULT",
            "option": "enabled_backends",
            "before": None,
            "after": "fast:cinder, web:http, slow:cinder",
            "why": "it names every store and its driver",
        }
        assert {edit["after"] for edit in plan["edits"] if "password" in edit["option"]} == {"***", None}
        assert {verdict["result"] for verdict in plan["verdicts"]} == {"holds"}

    def test_what_is_missing_is_told_and_nothing_is_written(self, run: Run, cinder: Types, single: Path) -> None:
        cinder.default = ServiceUnreachable("Cinder: nobody answers")
        ran = run("stores", "upgrade-config", single, "--name", "cinder=fast", "--give-up", "http", "--default", "none")
        assert ran == Ran(
            3,
            f"{single} cannot be upgraded like this:\n"
            "  default-named: default_backend: 'none' is given, which is none of the stores; name one of 'fast'.\n"
            "  type-known: cinder_volume_type: it is not set; find out the default volume type of Cinder, and give "
            "that.\n",
            "Cinder: nobody answers\n",
        )
        assert names(single.parent) == {single.name}

    def test_cinder_is_not_asked_what_is_given(self, run: Run, single: Path) -> None:
        ran = run("stores", "upgrade-config", single, *WISHES, "--volume-type", "ssd")
        assert (ran.status, ran.err) == (0, "")
        assert single.with_name("glance-api.conf.new").read_text() == UPGRADED

    def test_a_configuration_of_several_stores_needs_no_upgrade(self, run: Run, stores: Path) -> None:
        assert run("stores", "upgrade-config", stores) == Ran(
            0,
            f"In {stores} there is nothing to do:\n"
            "  warning, single-store: enabled_backends is 'fast:cinder, slow:cinder'.\n",
            "",
        )
        assert names(stores.parent) == {stores.name}

    def test_an_upgrade_in_place_keeps_the_old_file_and_a_link_stays_a_link(
        self, run: Run, cinder: Types, single: Path, tmp_path: Path
    ) -> None:
        link = tmp_path / "link.conf"
        link.symlink_to(single)
        before = single.stat()
        ran = run("stores", "upgrade-config", link, *WISHES, "--in-place", "--yes", "-f", "json")
        kept = single.with_name("glance-api.conf.orig")
        assert (ran.status, ran.json["written"], ran.json["kept"]) == (0, str(link), str(kept))
        assert link.is_symlink()
        assert (single.read_text(), kept.read_text(), kept.stat().st_ino) == (UPGRADED, SINGLE, before.st_ino)
        assert stat.S_IMODE(single.stat().st_mode) == 0o640
        assert names(tmp_path) == {single.name, kept.name, link.name}

    def test_a_failed_upgrade_in_place_leaves_all_as_it_was(
        self, run: Run, cinder: Types, single: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path, target: Path) -> None:
            raise OSError(EIO, "Input/output error")

        monkeypatch.setattr(Path, "replace", refuse)
        ran = run("stores", "upgrade-config", single, *WISHES, "--in-place", "--yes")
        assert (ran.status, ran.err.count("\n")) == (1, 1)
        assert ran.err.startswith(f"{single} cannot be written: Input/output error; ")
        assert (single.read_text(), names(single.parent)) == (SINGLE, {single.name})

    @pytest.mark.parametrize("answer, replaced", [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
    def test_an_upgrade_in_place_shows_the_plan_and_asks_first(
        self, run: Run, cinder: Types, single: Path, monkeypatch: pytest.MonkeyPatch, answer: str, replaced: bool
    ) -> None:
        terminal = io.StringIO(answer)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)
        ran = run("stores", "upgrade-config", single, *WISHES, "--in-place")
        assert ran.status == (0 if replaced else 1)
        assert "+cinder_store_password = ***\n" in ran.err
        assert (single.read_text() == UPGRADED) is replaced

    def test_an_upgrade_in_place_does_nothing_without_a_terminal_to_ask_on(
        self, run: Run, cinder: Types, single: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
        ran = run("stores", "upgrade-config", single, *WISHES, "--in-place")
        assert (ran.status, ran.err.splitlines()[-1]) == (
            1,
            "standard input is not a terminal: give --yes to replace the file, or --dry-run to look only",
        )
        assert (single.read_text(), names(single.parent)) == (SINGLE, {single.name})

    @pytest.mark.parametrize(
        "wishes, there", [((), "glance-api.conf.new"), (("--in-place", "--yes"), "glance-api.conf.orig")]
    )
    def test_what_is_there_is_never_written_over(
        self, run: Run, cinder: Types, single: Path, wishes: tuple[str, ...], there: str
    ) -> None:
        other = write(single.with_name(there), "mine")
        ran = run("stores", "upgrade-config", single, *WISHES, *wishes)
        assert (ran.status, ran.err.count("\n"), str(other) in ran.err) == (1, 1, True)
        assert (single.read_text(), other.read_text(), names(single.parent)) == (SINGLE, "mine", {single.name, there})

    def test_a_file_that_was_changed_meanwhile_is_left_alone(
        self, run: Run, cinder: Types, single: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hold = configuration_upgrade._hold_references

        def meanwhile(upgrade: configuration_upgrade.FileUpgrade) -> None:
            hold(upgrade)
            write(single, SINGLE + "# more\n")

        monkeypatch.setattr(configuration_upgrade, "_hold_references", meanwhile)
        ran = run("stores", "upgrade-config", single, *WISHES, "--volume-type", "ssd", "--in-place", "--yes")
        assert ran == Ran(1, "", f"{single} has been changed meanwhile, and is left as it is; begin again\n")
        assert (single.read_text(), names(single.parent)) == (SINGLE + "# more\n", {single.name})

    @pytest.mark.parametrize("mount_point, refused", [("$cinder_volume_type/x", False), ("$default_store/x", True)])
    def test_a_reference_that_would_be_lost_is_refused(
        self, run: Run, single: Path, mount_point: str, refused: bool
    ) -> None:
        more = f"cinder_volume_type = ssd\ncinder_mount_point_base = /mnt/{mount_point}\n"
        write(single, SINGLE.replace("cinder_store_user", f"{more}cinder_store_user"))
        ran = run("stores", "upgrade-config", single, *WISHES[:4], "--dry-run")
        says = (
            f"{single}, [glance_store] cinder_mount_point_base: "
            "it refers to an option, and would be something else in [fast]; write it out\n"
        )
        assert (ran.status, ran.err) == ((1, says) if refused else (0, ""))

    @pytest.mark.parametrize("text, says", [(None, os.strerror(ENOENT)), (b"\xff", "not all of it is text in UTF-8")])
    def test_a_file_that_cannot_be_read_is_one_line(
        self, run: Run, tmp_path: Path, text: bytes | None, says: str
    ) -> None:
        file = tmp_path / "a.conf"
        if text is not None:
            file.write_bytes(text)
        assert run("stores", "upgrade-config", file) == Ran(1, "", f"{file}: {says}\n")

    def test_a_directory_that_cannot_be_written_is_one_line(self, run: Run, cinder: Types, single: Path) -> None:
        new = single.parent / "none" / "new.conf"
        ran = run("stores", "upgrade-config", single, *WISHES, "--output", new)
        reason = os.strerror(ENOENT)
        assert ran == Ran(1, "", f"{new} cannot be written: {reason}; give a new file in a directory with room\n")

    @pytest.mark.parametrize("where", [(), ("--output", "{single}.new")])
    def test_a_file_that_exists_is_left_as_it_is_and_the_line_says_what_to_do(
        self, run: Run, cinder: Types, single: Path, where: tuple[str, ...]
    ) -> None:
        new = single.with_name(f"{single.name}.new")
        new.write_text("mine")
        ran = run("stores", "upgrade-config", single, *WISHES, *(word.format(single=single) for word in where))
        assert ran == Ran(1, "", f"{new} exists already: move it away, or name another file with --output\n")
        assert new.read_text() == "mine"

    def test_a_wish_that_is_not_a_pair_is_a_wrong_option(self, run: Run, single: Path) -> None:
        ran = run("stores", "upgrade-config", single, "--name", "fast")
        assert ran.status == 2
        assert "'fast' is not of the form NAME=VALUE" in ran.err

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    def test_the_new_file_keeps_the_owner_of_the_old_one(self, run: Run, cinder: Types, single: Path) -> None:
        os.chown(single, 12345, 54321)
        run("stores", "upgrade-config", single, *WISHES)
        run("stores", "upgrade-config", single, *WISHES, "--in-place", "--yes")
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in single.parent.iterdir()}
        assert (owners, len(names(single.parent))) == ({(12345, 54321)}, 3)
