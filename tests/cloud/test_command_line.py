"""The command line as an operator runs it: a process of its own, on real services."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sysconfig
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from cinderclient.client import Client as CinderClient
from glanceclient.v2.client import Client as GlanceClient

from imagevol_adapters.ports import AccessMode
from imagevol_core import Policy
from imagevol_core.cloning import REQUEST_RULES, VOLUME_RULES
from tests.cloud.ports import PATIENCE_SECONDS, inventory, nothing_left, ports, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION
from tests.pages.report_pages import Page, unpacked
from tests.schemas import check_answer

IMAGEVOL = Path(sysconfig.get_path("scripts")) / "imagevol"
MIB, GIB = 1 << 20, 1 << 30


def without_volume(said: str) -> str:
    """What a command said, but for the line in which `put` names its volume."""
    return re.sub(r"(?m)^Storing (the image|image \S+) in volume \S+\.\n", "", said)


@attrs.frozen
class CommandLine:
    """`imagevol` with credentials as a store has them."""

    cloud: Cloud
    clouds_yaml: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return kept | {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml), "OS_CLOUD": "service"}

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(IMAGEVOL), *map(str, arguments)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def ask(self, *arguments: object) -> Any:
        """What a command answers to a program; it must succeed without a word, but for the volume that it creates."""
        ran = self.run(*arguments, "-f", "json")
        assert (ran.returncode, without_volume(ran.stderr)) == (0, "")
        check_answer((*arguments, "-f", "json"), ran.stdout)
        return json.loads(ran.stdout)

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        # Where the tests were started in the background, the shell lets them ignore interrupts; a user does not.
        command: list[str] = ["env", "--default-signal=INT", str(IMAGEVOL), *map(str, arguments)]
        return subprocess.Popen(command, env=self.environment, text=True, **options)


@pytest.fixture
def imagevol(cloud: Cloud) -> CommandLine:
    return CommandLine(cloud, cloud.clouds_yaml)


@pytest.fixture(autouse=True)
def left(cloud: Cloud) -> Iterator[None]:
    """Every test leaves the cloud as it found it."""
    with nothing_left(cloud):
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(os.urandom(3 * MIB) + bytes(2 * MIB) + b"end")
    return path


@pytest.fixture
def put(imagevol: CommandLine, file: Path) -> Iterator[dict[str, Any]]:
    """An image volume that goes with the test."""
    put: dict[str, Any] = imagevol.ask("put", file)
    yield put
    if f"volume {put['volume_id']}" in inventory(imagevol.cloud):
        assert imagevol.run("rm", put["volume_id"]).returncode == 0


@pytest.mark.smoke
def test_a_file_goes_into_a_volume_and_comes_back_and_away(imagevol: CommandLine, file: Path, tmp_path: Path) -> None:
    put = imagevol.ask("put", file, "--volume-type", "slow")
    assert (put["size_bytes"], put["volume_type"]) == (file.stat().st_size, "slow")
    for arguments, expected in (
        (("get", put["volume_id"], tmp_path / "back"), file.read_bytes()),
        (
            ("get", put["volume_id"], tmp_path / "part", "--offset", MIB, "--length", 7),
            file.read_bytes()[MIB : MIB + 7],
        ),
    ):
        ran = imagevol.run(*arguments)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        assert Path(str(arguments[2])).read_bytes() == expected
    ran = imagevol.run("rm", put["volume_id"])
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.fixture
def multiattach(cloud: Cloud) -> Iterator[str]:
    """A volume type whose volumes may be attached several times."""
    cinder: Any = CinderClient("3.60", session=sign_in(cloud, "admin"), region_name=REGION)
    kind = cinder.volume_types.create("multiattach")
    kind.set_keys({"volume_backend_name": "fast", "multiattach": "<is> True"})
    yield kind.name
    cinder.volume_types.delete(kind)


@pytest.mark.parametrize("kind", ["fast", "multiattach"])
def test_several_read_one_image_at_once(
    imagevol: CommandLine, file: Path, tmp_path: Path, kind: str, multiattach: str
) -> None:
    volume_id = imagevol.ask("put", file, "--volume-type", kind)["volume_id"]
    targets = [tmp_path / f"back-{number}" for number in range(4)]
    readers = [imagevol.start("get", volume_id, target, stderr=subprocess.PIPE) for target in targets]
    ended = [(reader.communicate(timeout=300)[1], reader.returncode) for reader in readers]
    assert [status for _, status in ended] == [0] * 4, ended
    assert [target.read_bytes() == file.read_bytes() for target in targets] == [True] * 4
    told = {line for err, _ in ended for line in err.splitlines()}
    assert imagevol.run("rm", volume_id).returncode == 0
    assert told <= {f"Volume {volume_id} is in use: waiting up to 274 s to attach it"}


def test_a_command_that_must_not_wait_names_at_once_what_has_the_volume(
    cloud: Cloud, imagevol: CommandLine, put: dict[str, Any], tmp_path: Path
) -> None:
    volumes = ports(cloud).volumes
    attachment = volumes.attach(put["volume_id"], connector={"host": "elsewhere"}, mode=AccessMode.READ)
    try:
        ran = imagevol.run("--attach-attempts", 1, "get", put["volume_id"], tmp_path / "back")
    finally:
        volumes.detach(attachment)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert f"attachment delete {attachment.id}" in ran.stderr


@pytest.mark.parametrize("store", ["fast", "slow"])
def test_a_registered_image_is_explained_rule_by_rule(
    cloud: Cloud, imagevol: CommandLine, file: Path, store: str
) -> None:
    put = imagevol.ask("put", file, "--register", "explained", "--store", store, "--volume-type", store)
    ask = ("explain", put["image_id"], "--size", 1, "--trusted-project", cloud.project_ids["service"])
    try:
        near = imagevol.ask(*ask, "--host", cloud.backend_hosts[store])
        assert (near["eligible"], near["sources"], near["extend_to_gib"]) == (True, [put["volume_id"]], 1)
        assert {verdict["rule"] for verdict in near["verdicts"]} == {
            *(rule.id for rule in REQUEST_RULES[Policy.STRICT]),
            *(rule.id for rule in VOLUME_RULES[Policy.STRICT]),
        }
        assert all(verdict["result"] == "holds" for verdict in near["verdicts"])
        far = imagevol.ask(*ask, "--host", "rig@elsewhere#pool")
        assert (far["eligible"], far["sources"]) == (False, [])
        failed = [(one["rule"], one["subject"]) for one in far["verdicts"] if one["result"] == "fails"]
        assert failed == [("volume-same-backend", put["volume_id"])]
        sentences = imagevol.run(*ask, "--host", "rig@elsewhere#pool").stdout
        assert sentences.startswith("The image's data is copied into the volume.\n")
        assert "volume-same-backend" in sentences
    finally:
        GlanceClient(session=sign_in(cloud, "admin"), region_name=REGION).images.delete(put["image_id"])


def test_a_report_has_each_image_in_each_pool_and_what_an_audit_finds(
    cloud: Cloud, imagevol: CommandLine, file: Path, tmp_path: Path
) -> None:
    page, name, trusted = tmp_path / "report.html", "<script>planted()</script>", cloud.project_ids["service"]
    put = imagevol.ask("put", file, "--register", name, "--store", "fast", "--volume-type", "fast")
    try:
        imagevol.ask("report", "--html", page, "--trusted-project", trusted)
        shown = Page(page.read_bytes())
        pools = [pool.name for pool in ports(cloud, "admin").volumes.pools()]
        assert shown.data["places"] == pools
        (found,) = [each for each in unpacked(shown.data) if each["id"] == put["image_id"]]
        ways = dict(zip(pools, found["ways"], strict=True))
        assert (found["name"], ways[cloud.backend_hosts["fast"]]) == (name, "clone-image-volume")
        assert ways[cloud.backend_hosts["slow"]] == "copy"
        assert f"from {put['volume_id']}" in found["reasons"]
        assert [each for each in shown.data["findings"] if put["volume_id"] in json.dumps(each)] == []
        metrics = tmp_path / "audit.prom"
        ran = imagevol.run("audit", "--trusted-project", trusted, "--html", page, "--metrics", metrics, "-f", "json")
        assert ran.returncode in (0, 3)
        ids = [each["id"] for each in json.loads(ran.stdout)]
        assert [each["id"] for each in Page(page.read_bytes()).data["findings"]] == ids
        assert "imagevol_audit_last_success_timestamp_seconds " in metrics.read_text()
    finally:
        GlanceClient(session=sign_in(cloud, "admin"), region_name=REGION).images.delete(put["image_id"])


def test_a_registered_image_has_the_attributes_that_were_given(cloud: Cloud, imagevol: CommandLine, file: Path) -> None:
    wishes = (
        *("--container-format", "ovf", "--min-disk", 3, "--min-ram", 512, "--protected", "--hidden"),
        *("--property", "os_distro=debian", "--property", "hw_disk_bus=a=b", "--tag", "one", "--tag", "two"),
    )
    put = imagevol.ask("put", file, "--register", "disk", "--store", "fast", "--volume-type", "fast", *wishes)
    glance: Any = GlanceClient(session=sign_in(cloud, "admin"), region_name=REGION)
    image = glance.images.get(put["image_id"])
    glance.images.update(image["id"], protected=False)
    glance.images.delete(image["id"])
    names = ("status", "container_format", "min_disk", "min_ram", "protected", "os_hidden", "os_distro", "hw_disk_bus")
    assert [image[name] for name in names] == ["active", "ovf", 3, 512, True, True, "debian", "a=b"]
    assert sorted(image["tags"]) == ["one", "two"]


@pytest.mark.parametrize("wish", ["os_glance_import_task=1", "deleted=1", f"long={'x' * 70000}"])
def test_a_property_that_glance_refuses_is_refused_before_a_byte_moves(
    imagevol: CommandLine, file: Path, wish: str
) -> None:
    ran = imagevol.run(
        "put", file, "--register", "disk", "--store", "fast", "--volume-type", "fast", "--property", wish
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert len(ran.stderr.splitlines()) == 1, ran.stderr


def test_a_user_who_is_no_administrator_is_told_whose_credentials_list_templates(
    cloud: Cloud, imagevol: CommandLine
) -> None:
    command = [str(IMAGEVOL), "templates", "list", "--internal-tenant", cloud.project_ids["service"]]
    environment = imagevol.environment | {"OS_CLOUD": "demo"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1), ran.stderr
    assert "credentials with the admin role" in ran.stderr


@pytest.mark.parametrize(
    "wishes, says",
    [
        (
            ("--register", "disk", "--store", "nosuch"),
            "Glance has no store 'nosuch': give one of 'fast', 'slow', 'local'",
        ),
        (("--register", "disk", "--store", "local"), "keeps no images in volumes"),
        (("--register", "disk", "--store", "slow", "--volume-type", "fast"), "give the volume type 'slow'"),
        (("--register", "disk", "--store", "slow"), "give the volume type 'slow'"),
        (("--owner", "not-a-project"), "no project"),
        (("--owner", "0123456789abcdef0123456789abcdef"), "no project with the id"),
    ],
)
def test_a_store_and_an_owner_that_cannot_be_are_refused_before_a_byte_moves(
    cloud: Cloud, file: Path, wishes: tuple[str, ...], says: str
) -> None:
    with nothing_left(cloud):
        ran = CommandLine(cloud, cloud.clouds_yaml).run("--os-cloud", "admin", "put", file, *wishes)
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
        assert says in ran.stderr


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "1</dev/null"])
def test_nothing_is_made_if_its_name_could_not_be_shown(imagevol: CommandLine, file: Path, redirection: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f'exec "$0" put "$1" {redirection}', str(IMAGEVOL), str(file)],
        env=imagevol.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1), ran.stderr


@pytest.fixture(scope="module")
def dead_region(cloud: Cloud) -> Iterator[str]:
    """A region in which Keystone says that there are services, and none answers."""
    keystone, at = sign_in(cloud, "admin"), {"endpoint_override": cloud.auth_url}
    region = keystone.post("/regions", json={"region": {"id": "Dead"}}, **at).json()["region"]["id"]
    endpoints = [
        keystone.post("/endpoints", json={"endpoint": endpoint}, **at).json()["endpoint"]["id"]
        for service in keystone.get("/services", **at).json()["services"]
        if service["type"] in ("block-storage", "image")
        for endpoint in [
            {
                "service_id": service["id"],
                "interface": "public",
                "region_id": region,
                "url": "http://127.0.0.1:1/v3" if service["type"] == "block-storage" else "http://127.0.0.1:1",
            }
        ]
    ]
    yield region
    for endpoint_id in endpoints:
        keystone.delete(f"/endpoints/{endpoint_id}", **at)
    keystone.delete(f"/regions/{region}", **at)


class TestBadInput:
    """One line on stderr that says what to do, status 1, nothing left behind; a traceback only with --debug."""

    @staticmethod
    def holds(imagevol: CommandLine, *arguments: object, says: str) -> None:
        before = inventory(imagevol.cloud)
        ran = imagevol.run(*arguments)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert without_volume(ran.stderr).count("\n") == 1
        assert re.search(says, ran.stderr), ran.stderr
        debugged = imagevol.run("--debug", *arguments)
        assert (debugged.returncode, debugged.stdout) == (1, "")
        assert "Traceback (most recent call last)" in debugged.stderr
        for password in passwords(imagevol.cloud):
            assert password not in ran.stderr + debugged.stderr
        assert inventory(imagevol.cloud) == before

    def test_a_missing_file_is_one_line_that_says_what_to_do(self, imagevol: CommandLine, tmp_path: Path) -> None:
        self.holds(imagevol, "put", tmp_path / "none.raw", says=f"none.raw cannot be read: {os.strerror(errno.ENOENT)}")

    def test_a_keystone_that_does_not_answer_is_one_line(self, imagevol: CommandLine, file: Path) -> None:
        self.holds(
            imagevol, "--os-auth-url", "http://127.0.0.1:1/v3", "put", file, says="check the URL, and that the service"
        )

    @pytest.mark.parametrize(
        "arguments, service",
        [
            ("put {file}", "Cinder"),
            ("rm 5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47", "Cinder"),
            ("put {file} --register disk", "Glance"),
            ("explain disk --size 1 --host h@b#p", "Glance"),
        ],
    )
    def test_a_service_that_does_not_answer_is_one_line(
        self, imagevol: CommandLine, file: Path, tmp_path: Path, dead_region: str, arguments: str, service: str
    ) -> None:
        clouds = json.loads(imagevol.clouds_yaml.read_text())
        clouds["clouds"]["service"]["region_name"] = dead_region
        clouds_yaml = tmp_path / "clouds.yaml"
        clouds_yaml.write_text(json.dumps(clouds))
        self.holds(
            attrs.evolve(imagevol, clouds_yaml=clouds_yaml),
            *arguments.format(file=file).split(),
            says=f"^{service}.*{os.strerror(errno.ECONNREFUSED)}.*check .*that the service runs$",
        )

    @pytest.mark.parametrize(
        "arguments",
        [
            ("put", "{file}"),
            ("rm", "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"),
            ("explain", "x", "--size", "1", "--host", "h@b#p"),
        ],
    )
    def test_a_wrong_password_is_one_line(self, imagevol: CommandLine, file: Path, arguments: tuple[str, ...]) -> None:
        self.holds(
            imagevol,
            *("--os-password", "wrong"),
            *(argument.format(file=file) for argument in arguments),
            says="401.*check",
        )

    def test_a_volume_in_error_is_one_line(self, imagevol: CommandLine, put: dict[str, Any], tmp_path: Path) -> None:
        cinder = CinderClient("3.60", session=sign_in(imagevol.cloud, "admin"), region_name=REGION)
        cinder.volumes.reset_state(put["volume_id"], "error")
        self.holds(imagevol, "get", put["volume_id"], tmp_path / "back", says=f"volume {put['volume_id']}.* error")
        assert not (tmp_path / "back").exists()

    def test_a_full_backend_is_one_line_and_leaves_nothing(self, imagevol: CommandLine, tmp_path: Path) -> None:
        with (tmp_path / "huge.raw").open("wb") as huge:
            huge.truncate(2000 * GIB)
        self.holds(imagevol, "put", tmp_path / "huge.raw", says="is 'error' and should be 'available'")

    def test_an_altered_volume_is_one_line_and_leaves_no_file(
        self, imagevol: CommandLine, put: dict[str, Any], tmp_path: Path
    ) -> None:
        stored = next(imagevol.cloud.directory.glob(f"volumes/*/volume-{put['volume_id']}"))
        with stored.open("r+b") as volume:
            volume.seek(MIB)
            volume.write(b"altered")
        self.holds(imagevol, "get", put["volume_id"], tmp_path / "back", says="has been altered")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.raw"]


def passwords(cloud: Cloud) -> list[str]:
    clouds = json.loads(cloud.clouds_yaml.read_text())["clouds"]
    return [clouds[name]["auth"]["password"] for name in clouds]


@pytest.mark.parametrize("moment", ["volume", "attachment"])
def test_an_interrupt_in_the_middle_leaves_nothing(imagevol: CommandLine, tmp_path: Path, moment: str) -> None:
    with (tmp_path / "large.raw").open("wb") as large:
        large.truncate(8 * GIB)
    before = inventory(imagevol.cloud)
    with imagevol.start("put", tmp_path / "large.raw", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as putting:
        for _ in ticks(PATIENCE_SECONDS):
            if any(thing.startswith(moment) for thing in inventory(imagevol.cloud) - before):
                break
        putting.send_signal(signal.SIGINT)
        out, err = putting.communicate(timeout=PATIENCE_SECONDS)
    assert (putting.returncode, out, without_volume(err)) == (130, "", "interrupted\n")


def killed(imagevol: CommandLine, volume_id: str | None, *arguments: object) -> str:
    """Kill a command as soon as a volume is in use, and give the volume."""
    before = inventory(imagevol.cloud)
    volumes = ports(imagevol.cloud).volumes
    with imagevol.start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        for _ in ticks(PATIENCE_SECONDS):
            made = [thing.split()[1] for thing in inventory(imagevol.cloud) - before if thing.startswith("volume ")]
            found = volumes.find([volume_id] if volume_id else made)
            if found and found[0].status == "in-use":
                break
        running.kill()
        _, said = running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert volume_id or found[0].id in said
    assert volumes.get(found[0].id).status == "in-use"
    return found[0].id


def test_what_a_killed_get_was_reading_is_read_by_the_next(
    imagevol: CommandLine, put: dict[str, Any], file: Path, tmp_path: Path
) -> None:
    killed(imagevol, put["volume_id"], "get", put["volume_id"], tmp_path / "half", "--rate", 0.1)
    ran = imagevol.run("get", put["volume_id"], tmp_path / "back")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    assert re.fullmatch(rf"Volume {put['volume_id']}: attachment \S+ was taken back: its process \d+ .*\n", ran.stderr)


def test_what_a_killed_get_was_reading_is_deleted(imagevol: CommandLine, put: dict[str, Any], tmp_path: Path) -> None:
    killed(imagevol, put["volume_id"], "get", put["volume_id"], tmp_path / "half", "--rate", 0.1)
    assert imagevol.run("rm", put["volume_id"]).returncode == 0


def test_what_a_killed_put_was_writing_is_found_and_deleted(imagevol: CommandLine, file: Path) -> None:
    volume_id = killed(imagevol, None, "put", file, "--register", "killed", "--rate", 0.1)
    listed = imagevol.run("unfinished", "-f", "json")
    assert (listed.returncode, listed.stderr) == (3, "")
    (found,) = json.loads(listed.stdout)
    told = {key: found[key] for key in ("volume_id", "volume_status", "procedure", "process", "image_status")}
    assert told == {
        "volume_id": volume_id,
        "volume_status": "in-use",
        "procedure": "register",
        "process": "dead",
        "image_status": "queued",
    }
    assert found["attachments"]
    ran = imagevol.run("rm", volume_id)
    assert ran.returncode == 0, ran.stderr
    assert f"openstack image delete {found['image_id']}" in ran.stderr
    ports(imagevol.cloud).images.delete(found["image_id"])
    assert imagevol.ask("unfinished") == []


def test_what_is_not_removed_comes_with_what_can_be_done(imagevol: CommandLine, file: Path) -> None:
    put = imagevol.ask("put", file, "--register", "cached", "--store", "fast", "--volume-type", "fast")
    real = ports(imagevol.cloud)
    disk = real.volumes.create(size_gib=1, name="disk", volume_type="slow", image_id=put["image_id"])
    real.volumes.wait(disk.id)
    (cached,) = [each for each in real.volumes.named(f"image-{put['image_id']}") if each.volume_type == "slow"]
    ran = imagevol.run("rm", cached.id)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert f"clone of volume {disk.id}" in ran.stderr, cached
    attachment = real.volumes.attach(disk.id, connector={"host": "elsewhere"}, mode=AccessMode.READ)
    ran = imagevol.run("rm", disk.id)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert f"attachment delete {attachment.id}" in ran.stderr
    real.volumes.detach(attachment)
    for volume_id in (disk.id, cached.id):
        real.volumes.delete(volume_id)
    real.images.delete(put["image_id"])


def test_a_progress_bar_is_shown_on_a_terminal(imagevol: CommandLine, put: dict[str, Any], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb") as terminal:
        with imagevol.start("get", put["volume_id"], tmp_path / "back", stderr=theirs) as getting:
            os.close(theirs)
            shown = b""
            with suppress(OSError):  # how Linux says that nobody has the other end any more
                while part := terminal.read1():
                    shown += part
        assert getting.returncode == 0
    assert b"get: 100%" in shown
