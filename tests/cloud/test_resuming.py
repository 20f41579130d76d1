"""A transfer that is cut, whose service is restarted or whose process is killed goes on, and is right at the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.cutting import cutting
from tests.cloud.ports import PATIENCE_SECONDS, Ports, nothing_left, ports
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.restarting import start, stop
from tests.cloud.test_command_line import CommandLine, imagevol

__all__ = ["imagevol"]

MIB = 1 << 20
SIZE = 192 * MIB


@pytest.fixture(scope="module")
def real(cloud: Cloud) -> Ports:
    return ports(cloud)


@pytest.fixture(autouse=True)
def left(cloud: Cloud) -> Iterator[None]:
    """Every test leaves the cloud as it found it."""
    with nothing_left(cloud):
        yield


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk with data, and with a hole in the middle."""
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    rng = random.Random(41)
    with path.open("wb") as file:
        for _ in range(SIZE // 2 // MIB):
            file.write(rng.randbytes(MIB))
        file.seek(SIZE // 4, os.SEEK_CUR)
        for _ in range(SIZE // 4 // MIB):
            file.write(rng.randbytes(MIB))
    yield path
    path.unlink()


@pytest.fixture
def uploaded(real: Ports, disk: Path) -> Iterator[str]:
    """An image of Glance in a file."""
    image = real.images.create(name="disk", disk_format="raw")
    with disk.open("rb") as file:
        real.images.upload(image.id, iter(lambda: file.read(MIB), b""), size_bytes=SIZE, store="local")
    yield image.id
    real.images.delete(image.id)


def same(one: Path, other: Path) -> bool:
    return subprocess.run(["cmp", one, other], check=False).returncode == 0


def killed_in_the_middle(process: subprocess.Popen[str], journal: Path, steps: int) -> None:
    """Kill a command as soon as its journal has so many steps."""
    with process:
        for _ in ticks(PATIENCE_SECONDS, interval=0.01):
            if journal.exists() and journal.read_bytes().count(b'"at"') >= steps:
                break
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_an_image_is_whole_though_its_connection_is_cut_20_times(
    cloud: Cloud, imagevol: CommandLine, uploaded: str, disk: Path, tmp_path: Path
) -> None:
    rng = random.Random(42)
    with cutting(cloud.image_url, [rng.randrange(2 * MIB, 9 * MIB) for _ in range(20)]) as proxy:
        settings = json.loads(imagevol.clouds_yaml.read_text())
        settings["clouds"]["service"]["image_endpoint_override"] = proxy.url
        (tmp_path / "clouds.yaml").write_text(json.dumps(settings))
        through = CommandLine(cloud, tmp_path / "clouds.yaml")
        got = through.run("get", uploaded, tmp_path / "got", "--through-glance", "--resume")
    assert got.returncode == 0, got.stderr
    assert same(tmp_path / "got", disk)
    assert proxy.cut == 20
    assert proxy.passed_bytes <= SIZE + 20 * 8 * MIB


def test_an_image_is_whole_though_glance_is_restarted(
    cloud: Cloud, imagevol: CommandLine, uploaded: str, disk: Path, tmp_path: Path
) -> None:
    process = imagevol.start(
        *("get", uploaded, tmp_path / "got", "--through-glance", "--resume", "--rate", 48),
        stderr=subprocess.PIPE,
    )
    with process:
        journal = tmp_path / "got.imagevol-journal"
        for _ in ticks(PATIENCE_SECONDS, interval=0.05):
            if journal.exists() and b'"at"' in journal.read_bytes():
                break
        stop(cloud, "glance")
        time.sleep(1)
        start(cloud, "glance")
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert "asking for the rest from byte" in said
    assert same(tmp_path / "got", disk)


@pytest.mark.parametrize("way", [("--through-glance",), ()])
def test_a_get_that_was_killed_goes_on(imagevol: CommandLine, disk: Path, tmp_path: Path, way: tuple[str, ...]) -> None:
    put = imagevol.ask("put", disk, "--register", "killed", "--store", "fast", "--volume-type", "fast")
    arguments = ("get", put["image_id"], tmp_path / "got", "--resume", *way)
    journal = tmp_path / "got.imagevol-journal"
    process = imagevol.start(*arguments, "--rate", 96, stderr=subprocess.DEVNULL)
    killed_in_the_middle(process, journal, 2)
    assert not (tmp_path / "got").exists()
    again = imagevol.run(*arguments)
    assert again.returncode == 0, again.stderr
    assert "Going on at byte " in again.stderr
    assert same(tmp_path / "got", disk)
    assert [path.name for path in tmp_path.iterdir()] == ["got"]
    ports(imagevol.cloud).images.delete(put["image_id"])


@pytest.mark.parametrize("options", [(), ("--register", "resumed", "--store", "fast")])
def test_a_put_that_was_killed_again_and_again_goes_on_in_the_same_volume(
    imagevol: CommandLine, disk: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    journal = tmp_path / "journal"
    arguments = ("put", disk, "--volume-type", "fast", *options, "--journal", journal)
    for number in range(2):
        resume = ("--resume",) if number else ()
        process = imagevol.start(*arguments, *resume, "--rate", 96, stderr=subprocess.DEVNULL)
        killed_in_the_middle(process, journal, 1 + number)
    done = imagevol.run(*arguments, "--resume", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert "Going on at byte " in done.stderr
    put = json.loads(done.stdout)
    assert f'"volume":"{put["volume_id"]}"' in journal.read_text()
    got = imagevol.run("get", put["volume_id"], tmp_path / "got")
    assert (got.returncode, same(tmp_path / "got", disk)) == (0, True)
    services = ports(imagevol.cloud)
    if options:
        assert services.images.get(put["image_id"]).status == "active"
        services.images.delete(put["image_id"])
    else:
        assert imagevol.run("rm", put["volume_id"]).returncode == 0
