"""`imagevol doctor` on real services: a host that works fails no check, and each fault is found."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.gathering.backend_settings import has_mixin
from imagevol_core import Rates
from tests.cloud.ports import nothing_left, ports
from tests.cloud.record import Cloud
from tests.cloud.test_command_line import IMAGEVOL, CommandLine


@pytest.fixture
def imagevol(cloud: Cloud) -> CommandLine:
    return CommandLine(cloud, cloud.clouds_yaml)


@pytest.fixture(autouse=True)
def left(cloud: Cloud) -> Iterator[None]:
    with nothing_left(cloud):
        yield


@attrs.frozen
class Answer:
    """What the command said, by rule the worst result."""

    status: int
    results: Mapping[str, str]
    rows: list[Any]

    def text(self, rule: str) -> str:
        return " ".join(row["text"] for row in self.rows if row["rule"] == rule)


def ask(imagevol: CommandLine, *arguments: object, options: tuple[object, ...] = (), **environment: str) -> Answer:
    command = [str(each) for each in (IMAGEVOL, *options, "doctor", *arguments, "-f", "json")]
    ran = subprocess.run(command, env=imagevol.environment | environment, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    rows = json.loads(ran.stdout)
    order = ("skipped", "ok", "warn", "fail")
    results: dict[str, str] = {}
    for row in rows:
        results[row["rule"]] = max(results.get(row["rule"], "skipped"), row["result"], key=order.index)
        assert bool(row["next"]) or row["result"] in ("ok", "skipped")
        assert not row["next"] or row["result"] != "ok"
    assert ran.returncode == (3 if "fail" in results.values() else 0)
    return Answer(ran.returncode, results, rows)


def changed(file: Path, directory: Path, pattern: str, replacement: str) -> Path:
    """A configuration with one thing in it made wrong."""
    text, count = re.subn(pattern, replacement, file.read_text(), count=1, flags=re.DOTALL)
    assert count == 1
    other = directory / file.name
    other.touch(mode=0o600)
    other.write_text(text)
    return other


def glance_conf(cloud: Cloud) -> Path:
    return cloud.directory / "etc/glance/glance-api.conf"


def cinder_conf(cloud: Cloud) -> Path:
    return cloud.directory / "etc/cinder/cinder.conf"


LITTLE = ("--conversion-space", 0)
# What the cloud of the tests is: its Glance shows locations, and its host has one path and perhaps no address.
EXPECTED = {"glance-locations", "host-address", "host-multipath", "digest-fastest", "digest-keeps-up"}


class TestHealthy:
    def test_a_host_that_works_fails_no_check(self, imagevol: CommandLine) -> None:
        images = ports(imagevol.cloud).images
        image = images.create(name="doctor", disk_format="raw")
        try:
            answer = ask(imagevol, *LITTLE)
        finally:
            images.delete(image.id)
        assert answer.status == 0
        assert {rule for rule, result in answer.results.items() if result not in ("ok", "skipped")} <= EXPECTED
        assert {row["subject"] for row in answer.rows} == {
            *("host", "identity", "block-storage", "image", "credentials", "Glance", "measured")
        }
        assert answer.results["glance-locations"] == "warn"

    @pytest.mark.smoke
    def test_a_store_that_works_fails_no_check_and_is_measured(self, imagevol: CommandLine, tmp_path: Path) -> None:
        conf, rates = glance_conf(imagevol.cloud), tmp_path / "rates.json"
        arguments = ("--store", "slow", "--config-file", conf, "--measure", "--rates", rates, *LITTLE)
        answer = ask(imagevol, *arguments)
        assert answer.status == 0
        assert {rule for rule, result in answer.results.items() if result not in ("ok", "skipped")} <= EXPECTED
        measured = Rates.from_dict(json.loads(rates.read_text()))
        assert (measured.volume_type, str(measured.backend).partition("#")[0].rpartition("@")[2]) == ("slow", "slow")
        assert set(measured.digests) == {"md5", "sha1", "sha256", "sha512"}
        assert None not in measured.as_dict().values()
        again = imagevol.run("doctor", *arguments)
        assert (again.returncode, again.stdout) == (1, "")
        assert again.stderr == f"{rates} exists: give another name, or remove it\n"

    def test_a_backend_that_works_fails_no_check(self, imagevol: CommandLine) -> None:
        answer = ask(imagevol, "--backend", "fast", "--config-file", cinder_conf(imagevol.cloud), *LITTLE)
        assert {rule for rule, result in answer.results.items() if result == "fail"} <= {"host-conversion-space"}
        assert answer.results["backend-tenant"] == "ok"
        assert answer.results["backend-mixin"] == "warn"  # the driver of the tests has none
        assert has_mixin("tests.cloud.volume_driver.CloningFileDriver") is True


class TestFaults:
    """Each fault is planted in what works."""

    @pytest.mark.parametrize(
        "pattern, replacement, rule, result",
        [
            (r"(\[slow\].*?)rootwrap_config = [^\n]*", r"\1rootwrap_config = /gone", "host-rootwrap", "fail"),
            (r"(\[oslo_concurrency\].*?)lock_path = [^\n]*", r"\1", "host-lock-path", "fail"),
            (
                r"(\[slow\].*?)cinder_store_password = [^\n]*",
                r"\1cinder_store_password = wrong",
                "access-signs-in",
                "fail",
            ),
            (r"\[slow\]", "[slow]\ncinder_api_insecure = true", "glance-certificates", "warn"),
            (
                r"\[privsep_osbrick\]",
                "[privsep_osbrick]\nhelper_command = /gone/privsep-helper",
                "host-privsep",
                "fail",
            ),
        ],
        ids=["no rootwrap", "no lock path", "a wrong password", "no certificates", "no helper"],
    )
    def test_the_doctor_finds_the_faults_of_a_store(
        self, imagevol: CommandLine, tmp_path: Path, pattern: str, replacement: str, rule: str, result: str
    ) -> None:
        text = glance_conf(imagevol.cloud).read_text()
        base = tmp_path / "base"
        base.mkdir()
        conf = base / "glance-api.conf"
        conf.touch(mode=0o600)
        conf.write_text(re.sub(r"\[privsep_osbrick\]\nhelper_command = [^\n]*", "[privsep_osbrick]", text))
        answer = ask(
            imagevol, "--store", "slow", "--config-file", changed(conf, tmp_path, pattern, replacement), *LITTLE
        )
        assert answer.results[rule] == result

    @pytest.mark.parametrize(
        "pattern, replacement, rule, result",
        [
            (r"enabled_backends = [^\n]*", "enabled_backends = slow", "backend-described", "fail"),
            (r"cinder_internal_tenant_project_id = [^\n]*", "", "backend-tenant", "fail"),
            (r"allowed_direct_url_schemes = [^\n]*", "allowed_direct_url_schemes = file", "backend-file-urls", "warn"),
            (r"\[DEFAULT\]", "[DEFAULT]\nverify_glance_signatures = disabled", "backend-signatures", "warn"),
        ],
    )
    def test_the_doctor_finds_the_faults_of_a_backend(
        self, imagevol: CommandLine, tmp_path: Path, pattern: str, replacement: str, rule: str, result: str
    ) -> None:
        conf = changed(cinder_conf(imagevol.cloud), tmp_path, pattern, replacement)
        answer = ask(imagevol, "--backend", "fast", "--config-file", conf, *LITTLE)
        assert answer.results[rule] == result

    def test_the_doctor_finds_the_faults_of_the_host(self, imagevol: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/grep").symlink_to("/bin/grep")  # os-brick runs it when it is imported
        answer = ask(imagevol, "--conversion-space", 1 << 30, PATH=str(tmp_path / "bin"))
        assert (answer.results["host-qemu-img"], answer.results["host-conversion-space"]) == ("fail", "fail")
        answer = ask(imagevol, *LITTLE, TMPDIR=str(tmp_path), options=("--my-ip", "127.0.0.9"))
        assert answer.results["host-address"] == "warn"
        assert f"{tmp_path} has " in answer.text("host-conversion-space")
        answer = ask(imagevol, *LITTLE, options=("--multipath",))
        assert answer.results["host-multipathd"] == "fail"

    def test_the_doctor_finds_the_faults_of_the_credentials(self, imagevol: CommandLine) -> None:
        answer = ask(imagevol, *LITTLE, options=("--os-cloud", "demo"))
        assert (answer.status, answer.results["access-admin-role"], answer.results["access-service-role"]) == (
            *(0, "warn", "warn"),
        )
        answer = ask(imagevol, *LITTLE, options=("--os-cloud", "nowhere"))
        assert (answer.results["access-signs-in"], answer.results["host-qemu-img"]) == ("fail", "ok")

    def test_the_doctor_finds_the_faults_of_the_services(self, imagevol: CommandLine, tmp_path: Path) -> None:
        clouds = json.loads(imagevol.clouds_yaml.read_text())
        clouds["clouds"]["service"]["block_storage_endpoint_override"] = "http://127.0.0.1:1/v3"
        other = tmp_path / "clouds.yaml"
        other.touch(mode=0o600)
        other.write_text(json.dumps(clouds))
        answer = ask(attrs.evolve(imagevol, clouds_yaml=other), "--measure", *LITTLE)
        assert (answer.results["service-answers"], answer.results["volume-usable"]) == ("fail", "fail")

    def test_the_doctor_finds_the_fault_of_a_volume_and_leaves_nothing_of_it(self, imagevol: CommandLine) -> None:
        answer = ask(imagevol, "--measure", "--volume-type", "no-such-type", *LITTLE)
        assert answer.results["volume-usable"] == "fail"
        assert "no-such-type" in answer.text("volume-usable")


def test_a_store_that_there_is_not_is_refused_with_those_that_there_are(imagevol: CommandLine) -> None:
    ran = imagevol.run("doctor", "--store", "local", "--config-file", glance_conf(imagevol.cloud))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.endswith("these are: fast, slow\n")


@pytest.mark.parametrize("kind", ["table", "yaml", "csv", "value"])
def test_every_format_has_every_check(imagevol: CommandLine, kind: str) -> None:
    ran = imagevol.run("doctor", "-f", kind, *LITTLE)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert {"host-qemu-img", "service-clock", "digest-fastest"} <= set(re.findall(r"[a-z][a-z-]+", ran.stdout))
