"""The stores of a glance-api.conf: what oslo.config reads of them, here and in a Glance that runs."""

from __future__ import annotations

import os
import textwrap
from errno import EACCES, ENOTDIR
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from oslo_config import cfg

from imagevol_adapters.configuration import stores as configuration
from imagevol_adapters.configuration.stores import credentials, load, read_catalogue
from imagevol_core import InvalidConfiguration, Store, StoreCatalogue

SECRET = "correct-horse"
MULTI = f"""\
    [DEFAULT]
    enabled_backends = fast:cinder, slow:imagevol, web:http, local:file

    [glance_store]
    default_backend = fast

    [fast]
    cinder_volume_type = ssd
    weight = 7
    cinder_store_auth_address = http://localhost/v3
    cinder_store_user_name = glance
    cinder_store_password = {SECRET}
    cinder_store_project_name =

    [slow]
    cinder_volume_type = ${{fast.cinder_volume_type}}-slow
"""
SINGLE = """\
    [glance_store]
    stores = cinder, http
    default_store = cinder
    cinder_volume_type = ssd
    cinder_store_application_credential_id = 7
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The file of several stores."""
    return write(tmp_path / "glance-api.conf", MULTI)


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text))
    return path


def read_all(*files: Path) -> object:
    conf = load(files)
    return credentials(conf, read_catalogue(conf))


class TestReading:
    def test_each_store_is_read_from_its_section(self, written: Path) -> None:
        assert read_catalogue(load([written])) == StoreCatalogue(
            stores=(
                Store(name="fast", kind="cinder", volume_type="ssd", weight=7),
                Store(name="slow", kind="imagevol", volume_type="ssd-slow"),
                Store(name="web", kind="http", readonly=True),
                Store(name="local", kind="file"),
            ),
            default="fast",
        )

    def test_each_driver_of_a_glance_with_one_store_is_a_store(self, tmp_path: Path) -> None:
        conf = load([write(tmp_path / "a.conf", SINGLE)])
        catalogue = StoreCatalogue(
            stores=(
                Store(name="cinder", kind="cinder", volume_type="ssd"),
                Store(name="http", kind="http", readonly=True),
            ),
            default="cinder",
            multi=False,
        )
        assert read_catalogue(conf) == catalogue
        assert credentials(conf, catalogue) == {"cinder": {"cinder_store_application_credential_id"}}

    def test_the_default_of_a_single_store_glance_is_the_driver_of_its_scheme(self, tmp_path: Path) -> None:
        conf = load([write(tmp_path / "a.conf", "[glance_store]\nstores = http, swift\ndefault_store = swift+https\n")])
        assert read_catalogue(conf).default == "swift"

    def test_what_is_not_configured_is_as_in_glance(self, tmp_path: Path) -> None:
        assert read_catalogue(load([write(tmp_path / "a.conf", "")])) == StoreCatalogue(
            stores=(Store(name="file", kind="file"), Store(name="http", kind="http", readonly=True)),
            default="file",
            multi=False,
        )

    def test_later_files_overrule_and_a_directory_is_all_its_files_in_order(self, written: Path) -> None:
        directory = written.parent / "glance-api.conf.d"
        directory.mkdir()
        write(directory / "20.conf", "[fast]\nweight = 20\n")
        write(directory / "10.conf", "[fast]\nweight = 10\ncinder_volume_type = nvme\n")
        write(directory / "30.txt", "[fast]\nweight = 30\n")
        fast = read_catalogue(load([written, directory])).get("fast")
        assert fast == Store(name="fast", kind="cinder", volume_type="nvme", weight=20)

    def test_neither_the_global_configuration_nor_the_environment_matters(
        self, written: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = dict.fromkeys(cfg.CONF)
        monkeypatch.setenv("OS_GLANCE_STORE__DEFAULT_BACKEND", "slow")
        assert read_catalogue(load([written])).default == "fast"
        assert dict.fromkeys(cfg.CONF) == before

    def test_a_configuration_that_nobody_has_filled_has_no_stores(self) -> None:
        conf = cfg.ConfigOpts()
        assert read_catalogue(conf) == StoreCatalogue(stores=(), multi=False)

    @pytest.mark.parametrize("driver", ["no_such_module:Store", "builtins:object"])
    def test_without_a_usable_driver_the_stores_are_the_same(
        self, written: Path, monkeypatch: pytest.MonkeyPatch, driver: str
    ) -> None:
        with_drivers = load([written])
        catalogue = read_catalogue(with_drivers)
        broken = EntryPoint(name="cinder", value=driver, group="glance_store.drivers")
        monkeypatch.setattr(configuration, "entry_points", lambda **_: [broken])
        assert read_catalogue(load([written])) == catalogue
        assert credentials(load([written]), catalogue) == credentials(with_drivers, catalogue)

    def test_two_drivers_may_share_their_options(self, tmp_path: Path) -> None:
        conf = load([write(tmp_path / "a.conf", SINGLE.replace("cinder, http", "cinder, imagevol"))])
        assert [store.volume_type for store in read_catalogue(conf).stores] == ["ssd", "ssd"]

    def test_a_reserved_store_that_is_configured_is_shown(self, tmp_path: Path) -> None:
        conf = load([write(tmp_path / "a.conf", "[DEFAULT]\nenabled_backends = os_glance_tasks_store:file\n")])
        assert [store.name for store in read_catalogue(conf).stores] == ["os_glance_tasks_store"]


class TestCredentials:
    def test_the_credentials_of_a_store_are_the_names_of_the_options_that_are_set(self, written: Path) -> None:
        conf = load([written])
        assert credentials(conf, read_catalogue(conf)) == {
            "fast": {"cinder_store_auth_address", "cinder_store_user_name", "cinder_store_password"},
            "slow": frozenset(),
        }


class TestErrors:
    @pytest.mark.parametrize(
        "text, where",
        [
            ("[DEFAULT]\n\ndebug true\n", "{file}:3"),
            (f"[fast]\ncinder_store_password {SECRET}\n", "{file}:2"),
            (f"[fast\ncinder_store_password = {SECRET}\n", "{file}:1"),
            ("debug = true\n", "{file}:1"),
            ("[DEFAULT]\nenabled_backends = fast\n", "{file}:2, [DEFAULT] enabled_backends"),
            ("[DEFAULT]\nenabled_backends = fast:cinder\n[fast]\nweight = much\n", "{file}:4, [fast] weight"),
        ],
    )
    def test_what_is_malformed_is_one_line_with_its_place_and_no_secret(
        self, tmp_path: Path, text: str, where: str
    ) -> None:
        file = write(tmp_path / "a.conf", text)
        with pytest.raises(InvalidConfiguration) as raised:
            read_all(file)
        assert raised.value.where == where.format(file=file)
        assert raised.value.reason.isprintable()
        assert "horse" not in str(raised.value)
        assert raised.value.__context__ is None  # a traceback shows that too

    def test_a_dollar_sign_that_refers_to_nothing_is_told_as_that(self, tmp_path: Path) -> None:
        text = "[DEFAULT]\nenabled_backends = fast:cinder\n[fast]\ncinder_store_password = pa$horse\n"
        file = write(tmp_path / "a.conf", text)
        with pytest.raises(InvalidConfiguration) as raised:
            read_all(file)
        assert str(raised.value) == (
            f"{file}:4, [fast] cinder_store_password: it refers to an option that does not exist; "
            "a dollar sign is written $$"
        )
        assert raised.value.__context__ is None

    def test_the_error_names_the_file_whose_value_counts(self, written: Path) -> None:
        directory = written.parent / "glance-api.conf.d"
        directory.mkdir()
        last = write(directory / "10.conf", "[fast]\nweight = little\nweight = much\n")
        other = written.parent / "more.d"
        other.mkdir()
        with pytest.raises(InvalidConfiguration) as raised:
            read_all(written, directory, other)
        assert raised.value.where == f"{last}:3, [fast] weight"

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfiguration) as raised:
            load([tmp_path / "none.conf"])
        assert str(raised.value) == f"{tmp_path}/none.conf: there is no such file"

    def test_a_file_that_may_not_be_read_is_named(self, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(parser: cfg.ConfigParser) -> None:
            raise PermissionError(EACCES, "Permission denied")

        monkeypatch.setattr(cfg.ConfigParser, "parse", refuse)
        with pytest.raises(InvalidConfiguration) as raised:
            load([written])
        assert str(raised.value) == f"{written}: it may not be read; do it as root, or as Glance's user"

    def test_what_is_no_file_is_named(self, written: Path) -> None:
        with pytest.raises(InvalidConfiguration) as raised:
            load([written / "x"])
        assert str(raised.value) == f"{written}/x: {os.strerror(ENOTDIR)}"

    @pytest.mark.parametrize("in_directory", [False, True])
    def test_a_fifo_a_device_and_an_endless_file_are_refused_at_once(self, tmp_path: Path, in_directory: bool) -> None:
        fifo, device, long = (tmp_path / name / "odd.conf" for name in ("fifo", "device", "long"))
        for path in (fifo, device, long):
            path.parent.mkdir()
        os.mkfifo(fifo)
        device.symlink_to("/dev/zero")
        with long.open("wb") as file:
            file.truncate(1 << 40)  # of zeros, on no disk
        for path, reason in (
            (fifo, "it is a FIFO, not a file"),
            (device, "it is a character device, not a file"),
            (long, "it is longer than 16777216 bytes"),
        ):
            with pytest.raises(InvalidConfiguration) as raised:
                load([path.parent if in_directory else path])
            assert str(raised.value) == f"{path}: {reason}"

    @pytest.mark.parametrize("name", ["a\0b", "a" * 300, "\x1b[2J", ""])
    def test_a_name_that_no_file_has_is_refused_in_one_line(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InvalidConfiguration) as raised:
            load([tmp_path / "there" / name])
        assert str(raised.value).isprintable()

    def test_a_file_that_is_not_text_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.conf").write_bytes(b"[DEFAULT]\ndebug = \xff\n")
        with pytest.raises(InvalidConfiguration) as raised:
            load([tmp_path / "a.conf"])
        assert str(raised.value) == f"{tmp_path}/a.conf: not all of it is text in UTF-8"
