"""The stores of a real Glance: their configuration checked against a real Cinder, and one store made into several."""

from __future__ import annotations

import io
import os
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cinderclient.client import Client as CinderClient
from glanceclient.v2.client import Client as GlanceClient

from imagevol_adapters.cinder import volume_types
from imagevol_adapters.cinder import volumes as cinder
from tests.cloud import services
from tests.cloud.bringup import running
from tests.cloud.ports import PATIENCE_SECONDS, sign_in
from tests.cloud.processes import belongs_to, ticks, wait_until
from tests.cloud.record import Cloud
from tests.cloud.rest import answers
from tests.cloud.settings import REGION, Settings, Site
from tests.cloud.test_command_line import CommandLine, passwords

WORKS = "Store fast works.\nStore slow works.\nStore local works.\n"
DATA = os.urandom(3 << 20) + bytes(1 << 20) + b"end"


@pytest.fixture
def imagevol(cloud: Cloud) -> CommandLine:
    return CommandLine(cloud, cloud.clouds_yaml)


def volumes(cloud: Cloud, name: str) -> cinder.CinderVolumes:
    return cinder.CinderVolumes(session=sign_in(cloud, name), region_name=REGION)


def configuration(cloud: Cloud) -> Path:
    return cloud.directory / "etc/glance/glance-api.conf"


def changed(cloud: Cloud, directory: Path, pattern: str, replacement: str) -> Path:
    """Glance's configuration with one thing in it made wrong."""
    text, count = re.subn(pattern, replacement, configuration(cloud).read_text(), count=1, flags=re.DOTALL)
    assert count == 1
    file = directory / "glance-api.conf"
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def told(output: str) -> str:
    """What is said of stores, without that of a host whose name is on a loopback address, as here it may be."""
    return re.sub(
        r"(Store \w+ works):\n  warning, address-reachable: [^\n]*",
        r"\1.",
        re.sub(r"(?<!works:)\n  warning, address-reachable: [^\n]*", "", output),
    )


class TestVolumeTypes:
    def test_all_volume_types_are_found_however_long_the_pages_are(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        types = CinderClient("3.60", session=sign_in(cloud, "admin"), region_name=REGION).volume_types
        hidden = types.create("hidden", is_public=False)
        try:
            for page in (1, 2, 1000):
                monkeypatch.setattr(volume_types, "_PAGE", page)
                names = volumes(cloud, "admin").volume_types()
                assert (len(names), {"fast", "slow", "hidden"} - set(names)) == (len(set(names)), set())
            assert "hidden" not in volumes(cloud, "demo").volume_types()
            assert volumes(cloud, "demo").default_volume_type() == "fast"
        finally:
            types.delete(hidden)


class TestCheck:
    @pytest.mark.smoke
    def test_the_stores_of_a_glance_that_works_have_no_fault(self, imagevol: CommandLine) -> None:
        ran = imagevol.run("stores", "check", "--config-file", configuration(imagevol.cloud))
        assert (ran.returncode, told(ran.stdout), ran.stderr) == (0, WORKS, "")

    @pytest.mark.parametrize(
        "pattern, replacement, line",
        [
            pytest.param(
                "cinder_volume_type = slow",
                "cinder_volume_type = none",
                "type-exists: cinder_volume_type is 'none', and Cinder has no such type",
                marks=pytest.mark.smoke,
            ),
            (
                r"(\[slow\].*?)cinder_store_password = [^\n]*",
                r"\1",
                "credentials-complete: missing are cinder_store_password",
            ),
            (
                r"(\[slow\].*?)cinder_store_password = [^\n]*",
                r"\1cinder_store_password = wrong",
                "signs-in: ",
            ),
            (
                r"(\[slow\].*?)cinder_store_auth_address = [^\n]*",
                r"\1cinder_store_auth_address = http://127.0.0.1:1/v3",
                "signs-in: ",
            ),
            (r"(\[slow\].*?)rootwrap_config = [^\n]*", r"\1rootwrap_config = /gone", "rootwrap-config-exists: "),
        ],
        ids=["a wrong type", "no password", "a wrong password", "a dead Keystone", "no rootwrap"],
    )
    def test_a_fault_of_one_store_is_told(
        self, imagevol: CommandLine, tmp_path: Path, pattern: str, replacement: str, line: str
    ) -> None:
        file = changed(imagevol.cloud, tmp_path, pattern, replacement)
        ran = imagevol.run("stores", "check", "--config-file", file)
        fast, fails, *faults, local = told(ran.stdout).splitlines()
        assert (ran.returncode, fast, fails, local) == (
            3,
            "Store fast works.",
            "Store slow fails:",
            "Store local works.",
        )
        assert any(fault.strip().startswith(line) for fault in faults)
        assert not [word for word in passwords(imagevol.cloud) if word in ran.stdout + ran.stderr]

    def test_a_directory_that_is_missing_is_told(self, imagevol: CommandLine, tmp_path: Path) -> None:
        file = changed(
            imagevol.cloud,
            tmp_path,
            r"(\[local\].*?)filesystem_store_datadir = [^\n]*",
            r"\1filesystem_store_datadir = /gone",
        )
        ran = imagevol.run("stores", "check", "--config-file", file)
        assert ran.returncode == 3
        assert "Store local fails:\n  directories-usable: /gone: there is no such directory" in ran.stdout

    def test_the_helper_and_the_locks_of_os_brick_are_looked_for(self, imagevol: CommandLine, tmp_path: Path) -> None:
        file = changed(imagevol.cloud, tmp_path, r"helper_command = [^\n]*", "helper_command = /gone/privsep-helper")
        file.write_text(file.read_text().replace("lock_path", "other_path"))
        ran = imagevol.run("stores", "check", "--config-file", file)
        assert ran.returncode == 3
        assert (ran.stdout.count("  lock-path-set: "), ran.stdout.count("  privsep-helper-exists: ")) == (2, 2)


@pytest.fixture(scope="module")
def old(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud whose Glance has one store."""
    directory = tmp_path_factory.mktemp("single")
    with running(directory, Settings(several_stores=False), keep_logs=True) as cloud:
        yield cloud


class TestUpgrade:
    """Glance with one store, which then becomes several."""

    def test_an_image_from_before_is_downloaded_after(self, old: Cloud) -> None:
        imagevol, file = CommandLine(old, old.clouds_yaml), configuration(old)
        assert (
            told(imagevol.run("stores", "check", "--config-file", file).stdout)
            == "Store cinder works.\nStore file works.\n"
        )
        glance = GlanceClient(session=sign_in(old, "admin"), region_name=REGION)
        image = upload(glance, "before")
        (url,) = (location["url"] for location in glance.images.get(image)["locations"])
        assert re.fullmatch("cinder://[0-9a-f-]{36}", url)
        before = file.read_text()

        wishes = ("--name", "cinder=fast", "--name", "file=local", "--new-store", "slow=slow")
        shown = imagevol.run("stores", "upgrade-config", file, *wishes, "--dry-run")
        assert (shown.returncode, shown.stderr, file.read_text()) == (0, "", before)
        ran = imagevol.run("stores", "upgrade-config", file, *wishes, "--in-place", "--yes")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert not [word for word in passwords(old) if word in shown.stdout + ran.stdout]
        assert file.with_name("glance-api.conf.orig").read_text() == before
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert told(imagevol.run("stores", "check", "--config-file", file).stdout) == WORKS.replace(
            "Store slow works.\nStore local works.\n", "Store local works.\nStore slow works.\n"
        )

        restart_glance(old)
        assert {store["id"] for store in glance.images.get_stores_info()["stores"]} == {"fast", "slow", "local"}
        assert download(glance, image) == DATA
        (location,) = glance.images.get(image)["locations"]
        assert (location["url"], location["metadata"]) == (
            url.replace("cinder://", "cinder://fast/"),
            {"store": "fast"},
        )
        for store in ("fast", "slow", "local"):
            assert glance.images.get(upload(glance, "after", store=store))["stores"] == store
        assert glance.images.get(upload(glance, "after"))["stores"] == "fast"


def upload(glance: GlanceClient, name: str, store: str | None = None) -> str:
    image: str = glance.images.create(name=name, disk_format="raw", container_format="bare")["id"]
    glance.images.upload(image, io.BytesIO(DATA), backend=store)
    assert download(glance, image) == DATA
    return image


def download(glance: GlanceClient, image: str) -> bytes:
    return b"".join(glance.images.data(image) or ())


def restart_glance(cloud: Cloud) -> None:
    """End Glance, and start it on its configuration as it is now."""
    pid = cloud.pids["glance"]
    os.kill(pid, signal.SIGTERM)
    for _ in ticks(PATIENCE_SECONDS):
        if not belongs_to(pid, cloud.directory):
            break
    ports = {"glance": int(cloud.image_url.rpartition(":")[2])}
    site = Site(directory=cloud.directory, settings=Settings(), ports=ports, passwords={})
    wait_until(lambda: answers(cloud.image_url), process=services.glance(site), seconds=PATIENCE_SECONDS)
