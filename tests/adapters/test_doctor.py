"""What `imagevol doctor` looks at: a host, services, settings and a volume, in memory; and what it writes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
from requests_mock import ANY, Mocker

from imagevol_adapters import doctoring
from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cleanup import leftovers
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.configuration.stores import load
from imagevol_adapters.doctoring import (
    access_facts,
    digest_rates,
    glance_facts,
    host_facts,
    pools_of,
    service_facts,
    shows_locations,
    try_volume,
)
from imagevol_adapters.gathering import BackendSettings
from imagevol_adapters.gathering.backend_settings import has_mixin
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryDevice, MemoryImages, MemoryLocations, MemoryVolumes
from imagevol_core import (
    AttachFailed,
    DoctorAccess,
    DoctorFacts,
    DoctorHost,
    DoctorService,
    Image,
    InvalidConfiguration,
    PlacedType,
    Rates,
    ServiceFailed,
    ServiceUnreachable,
    StoreCatalogue,
    StoreHost,
    diagnose,
)
from tests.adapters.commands import Run
from tests.adapters.rest import CINDER, GLANCE, offer_cinder, offer_glance, session

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Connecting(MemoryAttacher):
    """A host with this connector."""

    tells: ClassVar[Mapping[str, Any]] = {"host": "node", "ip": "192.0.2.7"}

    def connector(self) -> Mapping[str, Any]:
        return self.tells


def host(tmp_path: Path, tells: Mapping[str, Any] | None = None, **wishes: Any) -> DoctorHost:
    attacher = Connecting(volumes=MemoryVolumes())
    if tells is not None:
        attacher.tells = tells  # type: ignore[misc]
    asked: dict[str, Any] = {
        "attacher": attacher,
        "pools": None,
        "multipath": False,
        "conversion_directory": tmp_path,
        "conversion_wanted_bytes": 7,
    }
    return host_facts(**asked | wishes)


class TestHost:
    def test_what_it_tells_cinder_says_which_initiators_it_has(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("imagevol_adapters.doctoring.host.find_spec", lambda _: None)
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
        assert host(tmp_path).initiators == frozenset()
        tells = {"ip": "127.0.1.1", "initiator": "iqn.x", "wwpns": ["5"], "nqn": "nqn.x"}
        seen = host(tmp_path, tells, multipath=True)
        assert seen.initiators == {"iscsi", "fibre_channel", "nvmeof"}
        assert (seen.address, seen.loopback, seen.multipath) == ("127.0.1.1", True, True)
        found = importlib.util.find_spec("json")
        monkeypatch.setattr("imagevol_adapters.doctoring.host.find_spec", lambda _: found)
        monkeypatch.setattr(shutil, "which", lambda name, **_: f"/sbin/{name}")
        assert host(tmp_path).initiators == {"rbd", "nfs"}

    def test_a_host_that_tells_nothing_says_why(self, tmp_path: Path) -> None:
        class Broken(MemoryAttacher):
            def connector(self) -> Mapping[str, Any]:
                raise AttachFailed("no initiator name")

        seen = host(tmp_path, attacher=Broken(volumes=MemoryVolumes()))
        assert (seen.connector_error, seen.address) == ("no initiator name", None)

    @pytest.mark.parametrize("address", ["", "no address at all"])
    def test_an_odd_address_is_no_loopback_address(self, tmp_path: Path, address: str) -> None:
        assert (host(tmp_path, {"ip": address}).address or "", host(tmp_path, {"ip": address}).loopback) == (
            *(address, False),
        )

    @pytest.mark.parametrize(
        "listening, runs",
        [
            ("Num RefCount\n0: 2 0 00010000 0001 01 18071 @/org/kernel/linux/storage/multipathd\n", True),
            ("Num RefCount\n0: 2 0 00010000 0001 01 18071 /run/multipathd.socket\n", True),
            ("Num RefCount\n0: 2 0 00010000 0001 01 18071 /run/systemd/notify\n", False),
            (None, False),
        ],
    )
    def test_multipathd_runs_if_it_can_be_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: str | None, runs: bool
    ) -> None:
        file = tmp_path / "unix"
        if listening is not None:
            file.write_text(listening)
        monkeypatch.setattr("imagevol_adapters.doctoring.host._SOCKETS", file)
        assert host(tmp_path).multipathd is runs

    def test_the_host_becomes_root_in_the_way_that_it_has(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = StoreHost(
            name="node",
            address=None,
            loopback=False,
            lock_path="/locks",
            rootwrap_config="/r.conf",
            rootwrap_config_exists=True,
            privsep_helper="/bin/helper",
            privsep_helper_exists=True,
        )
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert host(tmp_path).becomes_root == "this process"
        monkeypatch.setattr(os, "geteuid", lambda: 42)
        seen = host(tmp_path, store_host=store)
        assert seen.becomes_root == "/bin/helper"
        assert (seen.lock_path, seen.rootwrap_config, seen.rootwrap_config_exists) == ("/locks", "/r.conf", True)
        assert (seen.privsep_helper, seen.privsep_helper_exists) == ("/bin/helper", True)
        monkeypatch.setattr(shutil, "which", lambda *_, **__: "/bin/sudo")
        assert host(tmp_path).becomes_root == "sudo"
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
        assert (host(tmp_path).becomes_root, host(tmp_path).qemu_img) == (None, None)

    def test_room_is_told_where_it_can_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert (host(tmp_path).conversion_free_bytes or 0) > 0
        assert host(tmp_path, conversion_directory=tmp_path / "none").conversion_free_bytes is None
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert host(tmp_path).conversion_free_bytes is None

    def test_pools_and_protocols_are_of_one_backend_or_all(self, tmp_path: Path) -> None:
        pools = [
            Pool(name="cluster@fast#one", protocols=("NVMe-TCP", "nvmeof")),
            Pool(name="node@fast#two", protocols=("FC",)),
            Pool(name="node@slow#one", protocols=("ceph", "StorPool")),
            Pool(name="node@old"),
        ]
        seen = {}
        for backend in (None, "fast", "old", "none"):
            facts = host(tmp_path, pools=pools_of(pools, backend=backend))
            seen[backend] = (facts.pools, facts.protocols, facts.other_protocols)
        assert seen == {
            None: (4, {"nvmeof", "fibre_channel", "rbd"}, {"storpool"}),
            "fast": (2, {"nvmeof", "fibre_channel"}, frozenset()),
            "old": (1, frozenset(), frozenset()),
            "none": (0, frozenset(), frozenset()),
        }
        unknown = host(tmp_path, pools=None)
        assert (unknown.pools, unknown.protocols, unknown.other_protocols) == (None, None, frozenset())


class TestServices:
    def test_a_service_says_what_it_offers(self) -> None:
        with Mocker() as http:
            offer_cinder(http, newest="3.62")
            facts = service_facts(session(CINDER), service_type="block-storage", wanted="3.54")
        assert facts == DoctorService(name="block-storage", url=CINDER, newest="3.62", wanted="3.54")

    @pytest.mark.parametrize(
        "date, ahead",
        [
            (format_datetime(NOON, usegmt=True), 0),
            (format_datetime(NOON + timedelta(hours=1), usegmt=True), 3600),
            (format_datetime(NOON - timedelta(days=1), usegmt=True), -86400),
            ("Thu, 01 Jan 2026 12:00:00 -0000", 0),
            ("yesterday", None),
            ("", None),
            ("Thu, 99 Jan 99999999999 12:00:00 GMT", None),
        ],
    )
    def test_its_clock_is_compared_with_the_middle_of_the_request(self, date: str, ahead: float | None) -> None:
        times = iter([NOON, NOON + timedelta(seconds=1)])
        with Mocker() as http:
            offer_glance(http, date=date)
            facts = service_facts(session(GLANCE), service_type="image", now=lambda: next(times))
        assert facts.error is None
        assert facts.clock_seconds == ahead

    def test_the_newest_api_of_glance_is_told(self) -> None:
        with Mocker() as http:
            offer_glance(http, newest="v2.17")
            assert service_facts(session(GLANCE), service_type="image").newest == "2.17"

    def test_a_service_that_does_not_answer_says_why_and_no_password(self) -> None:
        url = "http://me:hunter2@cinder.test/v3"
        with Mocker() as http:
            http.get(ANY, exc=requests.ConnectionError("refused"))
            facts = service_facts(session(url), service_type="block-storage", endpoint_override=url)
        assert facts.error is not None
        assert "check the URL, and that the service runs" in facts.error
        assert "hunter2" not in repr(facts)

    def test_the_project_of_credentials_that_are_only_a_token_is_not_known(self) -> None:
        assert access_facts(session(CINDER)) == DoctorAccess(project_id=None, roles=None)


class TestSettings:
    def test_the_settings_that_glance_shows_are_collected(self, tmp_path: Path) -> None:
        file = tmp_path / "glance-api.conf"
        file.write_text("[DEFAULT]\nenabled_backends = fast:cinder\n[fast]\n")
        facts = glance_facts(load([file]), section="fast")
        assert (facts.shows_locations, facts.insecure, facts.hashing_algorithm) == (False, False, "sha512")
        file.write_text(
            "[DEFAULT]\nenabled_backends = fast:cinder\nshow_multiple_locations = true\nhashing_algorithm = sha256\n"
            "[fast]\ncinder_api_insecure = true\n"
        )
        facts = glance_facts(load([file]), section="fast")
        assert (facts.shows_locations, facts.insecure, facts.hashing_algorithm) == (True, True, "sha256")

    def test_what_cinder_says_of_a_backend(self, tmp_path: Path) -> None:
        file = tmp_path / "cinder.conf"
        file.write_text(
            "[DEFAULT]\nenabled_backends = fast\nstate_path = /srv\nallowed_direct_url_schemes = cinder,file\n"
            "cinder_internal_tenant_project_id = t\ncinder_internal_tenant_user_id = u\n"
            "verify_glance_signatures = disabled\n"
            "[backend_defaults]\nimage_volume_cache_enabled = true\nimage_template_enabled = true\n"
            "[fast]\nimage_template_enabled = false\nimage_upload_use_internal_tenant = true\n"
        )
        settings = BackendSettings.read(file, "fast")
        assert settings.conversion_directory == Path("/srv/conversion")
        facts = settings.facts
        assert (facts.described, facts.schemes) == (True, ("cinder", "file"))
        assert (facts.tenant, facts.tenant_user) == ("t", "u")
        assert facts.verifies_signatures is False
        assert facts.needs_tenant == ("image_volume_cache_enabled", "image_upload_use_internal_tenant")
        other = BackendSettings.read(file, "slow").facts
        assert (other.described, other.needs_tenant) == (False, ())

    @pytest.mark.parametrize("option", ["cinder_internal_tenant_project_id", "cinder_internal_tenant_user_id"])
    def test_half_of_the_internal_tenant_is_none(self, tmp_path: Path, option: str) -> None:
        file = tmp_path / "cinder.conf"
        file.write_text(f"[DEFAULT]\nenabled_backends = fast\n{option} = t\n[fast]\nimage_template_enabled = true\n")
        diagnosis = diagnose(DoctorFacts(backend=BackendSettings.read(file, "fast").facts))
        assert [line.verdict.rule for line in diagnosis.lines if not line.verdict.ok] == ["backend-tenant"]

    def test_what_cinder_says_of_clones(self, tmp_path: Path) -> None:
        file = tmp_path / "cinder.conf"
        file.write_text(
            "[DEFAULT]\nenabled_backends = fast\nallowed_direct_url_schemes = cinder\n"
            "[backend_defaults]\nvolume_driver = nosuch.Driver\nimage_clone_trusted_projects = a,b\n"
            "[fast]\nimage_clone_direct_url_schemes = file\n"
        )
        facts = BackendSettings.read(file, "fast").facts
        assert (facts.driver, facts.mixin, facts.clone_schemes, facts.trusted) == ("nosuch.Driver", None, ("file",), 2)
        other = BackendSettings.read(file, "slow").facts
        assert (other.driver, other.mixin) == (None, None)

    @pytest.mark.parametrize(
        "driver, found",
        [
            ("collections.OrderedDict", False),
            ("collections.Nosuch", None),
            ("nosuch", None),
            ("a\0b", None),
        ],
    )
    def test_whether_a_driver_has_the_mixin_is_found_by_loading_it(self, driver: str, found: bool | None) -> None:
        assert has_mixin(driver) is found

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfiguration, match=r"none: it cannot be read: No such file or directory: give the"):
            BackendSettings.read(tmp_path / "none", "fast")

    def test_a_directory_with_a_nul_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "cinder.conf"
        file.write_text("[DEFAULT]\nenabled_backends = fast\nimage_conversion_dir = /a\0b\n[fast]\n")
        with pytest.raises(InvalidConfiguration, match="image_conversion_dir: it has a NUL in it"):
            BackendSettings.read(file, "fast")

    @pytest.mark.parametrize(
        "name",
        ["image_conversion_dir", "cinder_internal_tenant_project_id", "state_path", "config_dir", "backend_defaults"],
    )
    def test_a_backend_that_is_named_as_an_option_is_refused(self, tmp_path: Path, name: str) -> None:
        file = tmp_path / "cinder.conf"
        file.write_text(f"[DEFAULT]\nenabled_backends = fast, {name}\n[fast]\n")
        for asked in ("fast", name):
            with pytest.raises(InvalidConfiguration, match=f"cinder.conf:2, .*cannot be named '{name}'"):
                BackendSettings.read(file, asked)

    def test_glance_itself_says_whether_it_shows_locations(self) -> None:
        glance = MemoryLocations(volumes=MemoryVolumes(), catalogue=StoreCatalogue(stores=()))
        assert shows_locations(glance) is None
        glance.images["i"] = Image(id="i", status="queued")
        assert shows_locations(glance) is True
        glance.shows_locations = False
        assert shows_locations(glance) is False


class TestMeasuring:
    def test_each_digest_that_is_known_has_a_speed(self) -> None:
        rates = digest_rates(["md5", "sha256", "no-such-digest"], seconds=0)
        assert set(rates) == {"md5", "sha256"}
        assert min(rates.values()) > 0

    def test_a_volume_is_measured_and_is_gone(self) -> None:
        volumes = MemoryVolumes()
        trial = try_volume(volumes, MemoryAttacher(volumes=volumes), volume_type="memory", size_bytes=9 << 20)
        assert (trial.error, trial.same) == (None, True)
        assert trial.volume is not None
        assert (trial.volume.volume_type, trial.volume.host) == ("memory", volumes.host)
        assert set(trial.measured) == set(Rates(host="x").as_dict()) - {
            *("rates", "host", "volume_type", "backend", "digests")
        }
        assert (volumes.volumes, volumes.attachments) == ({}, {})

    def test_an_encrypted_volume_fails_as_it_does_when_an_image_is_stored(self) -> None:
        volumes = MemoryVolumes(volume_types={"secret": True})
        trial = try_volume(volumes, MemoryAttacher(volumes=volumes), volume_type="secret", size_bytes=4 << 20)
        assert trial.error is not None
        assert "of type secret is encrypted" in trial.error
        assert set(trial.measured) == {"create_seconds", "delete_seconds"}
        assert volumes.volumes == {}

    def test_while_it_is_there_it_says_which_procedure_made_it(self) -> None:
        seen: list[str] = []

        class Watched(MemoryVolumes):
            def create(self, **wishes: Any) -> Any:
                volume = MemoryVolumes.create(self, **wishes)
                seen.append(volume.metadata["imagevol_procedure"])
                return volume

        volumes = Watched()
        try_volume(volumes, MemoryAttacher(volumes=volumes), size_bytes=4 << 20)
        assert seen == ["doctor"]

    def test_a_device_that_loses_what_is_written_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        volumes = MemoryVolumes()
        attacher = MemoryAttacher(volumes=volumes)
        monkeypatch.setattr(MemoryDevice, "write", lambda _self, _offset, data: len(data))
        assert try_volume(volumes, attacher, size_bytes=4 << 20).same is False

    def test_wherever_it_fails_nothing_is_left_and_it_says_why(self) -> None:
        steps = Steps()
        volumes = MemoryVolumes()
        try_volume(steps.volumes(volumes), steps.attacher(MemoryAttacher(volumes=volumes)), size_bytes=4 << 20)
        assert len(steps.taken) > 8
        for number in range(len(steps.taken)):
            failing, volumes = Steps(fail_at=number), MemoryVolumes()
            attacher = MemoryAttacher(volumes=volumes)
            trial = try_volume(failing.volumes(volumes), failing.attacher(attacher), size_bytes=4 << 20)
            assert trial.error is not None
            assert "failed on purpose" in trial.error
            left = [*volumes.volumes, *volumes.attachments]
            assert all(each in trial.error for each in left), steps.taken[number]

    @pytest.mark.parametrize("request_name", ["create", "clone", "attach"])
    @pytest.mark.parametrize("fault", [KeyboardInterrupt, lambda: ServiceUnreachable("the answer was lost")])
    def test_a_lost_answer_leaves_nothing(
        self, monkeypatch: pytest.MonkeyPatch, request_name: str, fault: Callable[[], BaseException]
    ) -> None:
        volumes = MemoryVolumes()
        before = volumes.wait(volumes.create(size_gib=1, name="of another").id)
        _lose_the_answer(monkeypatch, request_name, fault)
        with suppress(KeyboardInterrupt):
            trial = try_volume(volumes, MemoryAttacher(volumes=volumes), size_bytes=4 << 20)
            assert trial.error == "the answer was lost"
        assert (list(volumes.volumes), volumes.attachments) == ([before.id], {})

    def test_what_a_lost_answer_leaves_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        volumes = MemoryVolumes()
        _lose_the_answer(monkeypatch, "create", KeyboardInterrupt)

        def stuck(*_: object, **__: object) -> None:
            raise ServiceFailed("it is stuck")

        monkeypatch.setattr(MemoryVolumes, "delete", stuck)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            try_volume(volumes, MemoryAttacher(volumes=volumes))
        (left,) = volumes.volumes
        assert left in "".join(leftovers(interrupted.value))


def _lose_the_answer(monkeypatch: pytest.MonkeyPatch, request_name: str, fault: Callable[[], BaseException]) -> None:
    answer = getattr(MemoryVolumes, request_name)

    def unanswered(*arguments: Any, **named: Any) -> None:
        answer(*arguments, **named)
        raise fault()

    monkeypatch.setattr(MemoryVolumes, request_name, unanswered)


class Volumes(MemoryVolumes):
    """A Cinder in memory that says where it is, and knows its pools."""

    session: ClassVar[Any] = None
    region_name: ClassVar[str] = "RegionOne"
    interface: ClassVar[str] = "public"
    endpoint_override: ClassVar[None] = None
    types: ClassVar[tuple[PlacedType, ...]] = ()

    def pools(self) -> tuple[Pool, ...]:
        return (Pool(name="node@fast#one", protocols=("memory",), backend_name="FAST"),)

    def placed_types(self) -> tuple[PlacedType, ...]:
        return self.types

    def default_volume_type(self) -> None:
        return None


class Images(MemoryImages):
    interface: ClassVar[str] = "public"
    endpoint_override: ClassVar[None] = None

    def listed(self, image_ids: Any = None, *, locations_needed: bool = True, changed_since: Any = None) -> Any:
        return iter(list(self.images.values()))


Answering = Callable[..., None]


@pytest.fixture
def cinder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Volumes:
    """The application's services in memory, which all answer, on a host that has what it needs."""
    volumes = Volumes()
    monkeypatch.setattr(Imagevol, "volumes", volumes)
    monkeypatch.setattr(Imagevol, "images", Images(volumes=volumes))
    monkeypatch.setattr(Imagevol, "attacher", Connecting(volumes=volumes))
    monkeypatch.setattr(doctoring, "access_facts", lambda _: DoctorAccess(project_id="p", roles=frozenset({"admin"})))

    def answers(_session: Any, *, service_type: str, **_: Any) -> DoctorService:
        return DoctorService(name=service_type, url="https://cloud.example", newest="3.70", clock_seconds=0)

    monkeypatch.setattr(doctoring, "service_facts", answers)
    monkeypatch.setattr(doctoring, "digest_rates", lambda _: {"sha256": 2e9, "sha512": 1e9})
    monkeypatch.setattr("imagevol_adapters.doctoring.host.qemu_img_version", lambda: (7, 2, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return volumes


@pytest.mark.usefixtures("no_cloud")
class TestCommand:
    def test_a_host_that_works_is_told_what_could_be_better(self, cinder: Volumes, run: Run) -> None:
        ran = run("doctor", "--conversion-space", 0, "-f", "json")
        assert (ran.status, ran.err) == (0, "")
        assert {row["result"] for row in ran.json} == {"ok", "warn", "skipped"}
        (tried,) = [row for row in ran.json if row["rule"] == "volume-usable"]
        assert (tried["result"], tried["next"]) == ("skipped", "Try a volume with --measure.")
        (digest,) = [row for row in ran.json if row["rule"] == "digest-fastest"]
        assert digest == {
            "subject": "measured",
            "rule": "digest-fastest",
            "result": "warn",
            "text": "sha512 takes in 1000 MB/s on one core, and sha256 2000 MB/s",
            "next": "Set hashing_algorithm = sha256 in glance-api.conf.",
        }
        assert cinder.volumes == {}

    def test_a_check_that_fails_is_in_the_exit_status(self, cinder: Volumes, run: Run) -> None:
        assert run("doctor", "--conversion-space", 1 << 30, "-f", "json").status == 3

    def test_a_volume_is_measured_only_if_that_is_asked(self, cinder: Volumes, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "rates.json"
        ran = run("doctor", "--measure", "--rates", file, "--conversion-space", 0, "-f", "json")
        assert (ran.status, ran.err) == (0, "")
        rates = Rates.from_dict(json.loads(file.read_text()))
        assert (rates.volume_type, rates.backend, rates.digests) == (
            "memory",
            cinder.host,
            {"sha256": 2e9, "sha512": 1e9},
        )
        assert rates.attach_seconds is not None
        assert cinder.volumes == {}
        refused = run("doctor", "--rates", file)
        assert (refused.status, refused.out) == (1, "")
        assert refused.err == f"{file} exists: give another name, or remove it\n"

    def test_rates_that_cannot_be_written_are_refused_before_anything_is_measured(
        self, cinder: Volumes, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctoring, "try_volume", None)
        ran = run("doctor", "--measure", "--rates", tmp_path / "none/rates.json")
        assert (ran.status, ran.out) == (1, "")
        assert (
            ran.err == f"{tmp_path}/none/rates.json cannot be written: choose a directory that this user can write to\n"
        )

    @pytest.mark.parametrize("name", ["a\0b", "n" * 300])
    def test_a_name_that_no_file_can_have_is_an_error_in_one_line(
        self, cinder: Volumes, run: Run, tmp_path: Path, name: str
    ) -> None:
        ran = run("doctor", "--rates", tmp_path / name)
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)

    def test_a_measurement_that_fails_writes_no_rates(self, cinder: Volumes, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "rates.json"
        asked = ("doctor", "--measure", "--rates", file, "--conversion-space", 0, "-f", "json")
        ran = run(*asked, "--volume-type", "nosuch")
        assert ran.status == 3
        assert ran.err == f"{file} is not written, because measuring failed.\n"
        assert not file.exists()
        assert run(*asked, "--volume-type", "memory").status == 0
        assert file.exists()

    def test_a_backend_is_measured_with_a_volume_of_its_own(
        self, cinder: Volumes, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        conf = tmp_path / "cinder.conf"
        conf.write_text(f"[DEFAULT]\nenabled_backends = fast\nimage_conversion_dir = {tmp_path}\n[fast]\n")
        monkeypatch.setattr(cinder, "host", "node@fast#one")
        asked = ("doctor", "--backend", "fast", "--config-file", conf, "--measure", "--conversion-space", 0)
        seen: list[str | None] = []
        create = Volumes.create

        def created(self: Volumes, **wishes: Any) -> Any:
            seen.append(wishes["volume_type"])
            return create(self, **wishes)

        monkeypatch.setattr(Volumes, "create", created)
        for types, used in (((PlacedType(name="memory", backend_name="FAST"),), ["memory"]), ((), [])):
            seen.clear()
            monkeypatch.setattr(Volumes, "types", types)
            ran = run(*asked, "-f", "json")
            (line,) = [row for row in ran.json if row["rule"] == "volume-usable"]
            assert (line["result"], seen) == ("ok" if types else "fail", used)
        assert "no volume type puts its volumes only on backend fast" in line["text"]

    def test_a_volume_that_is_on_another_backend_is_no_measurement(
        self, cinder: Volumes, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        conf, rates = tmp_path / "cinder.conf", tmp_path / "rates.json"
        conf.write_text(f"[DEFAULT]\nenabled_backends = fast\nimage_conversion_dir = {tmp_path}\n[fast]\n")
        monkeypatch.setattr(cinder, "host", "node@slow#one")
        asked = ("--config-file", conf, "--measure", "--rates", rates, "--volume-type", "memory")
        ran = run("doctor", "--backend", "fast", *asked, "--conversion-space", 0, "-f", "json")
        (line,) = [row for row in ran.json if row["rule"] == "volume-usable"]
        assert (ran.status, line["result"]) == (3, "fail")
        assert line["text"] == "the volume was in node@slow#one, and not on backend fast"
        assert not rates.exists()

    def test_a_volume_type_without_a_measurement_is_refused(self, cinder: Volumes, run: Run) -> None:
        ran = run("doctor", "--volume-type", "fast")
        assert (ran.status, ran.out) == (1, "")
        assert ran.err == "--volume-type is for --measure: give both, or neither\n"

    def test_without_a_cloud_the_host_is_checked_all_the_same(
        self, cinder: Volumes, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctoring, "access_facts", lambda _: DoctorAccess(error="401"))
        ran = run("doctor", "--measure", "--conversion-space", 0, "-f", "json")
        assert ran.status == 3
        failed = [row["rule"] for row in ran.json if row["result"] == "fail"]
        assert failed == ["access-signs-in", "volume-usable"]
        assert cinder.volumes == {}

    @pytest.mark.parametrize(
        "wrong",
        [
            ("--store", "a", "--backend", "b"),
            ("--conversion-space", "much"),
            ("--conversion-space", "-1"),
            ("--nonsense",),
        ],
    )
    def test_a_wrong_option_is_a_wrong_usage(self, cinder: Volumes, run: Run, wrong: tuple[str, ...]) -> None:
        assert run("doctor", *wrong).status == 2

    def test_a_store_that_is_not_in_volumes_is_refused(self, cinder: Volumes, run: Run, tmp_path: Path) -> None:
        conf = tmp_path / "glance-api.conf"
        conf.write_text("[DEFAULT]\nenabled_backends = local:file, fast:cinder\n[local]\n[fast]\n")
        for name in ("local", "none"):
            ran = run("doctor", "--store", name, "--config-file", conf)
            assert (ran.status, ran.out) == (1, "")
            assert ran.err == f"{name} is not a cinder store of {conf}; these are: fast\n"

    def test_a_store_without_credentials_is_checked_with_those_of_the_command(
        self, cinder: Volumes, run: Run, tmp_path: Path
    ) -> None:
        conf = tmp_path / "glance-api.conf"
        conf.write_text("[DEFAULT]\nenabled_backends = fast:cinder\n[fast]\nrootwrap_config = /none\n")
        ran = run("doctor", "--store", "fast", "--config-file", conf, "--conversion-space", 0, "-f", "json")
        results = {row["rule"]: row["result"] for row in ran.json}
        assert (ran.status, results["host-rootwrap"], results["host-lock-path"]) == (3, "fail", "fail")
        assert results["access-project"] == "ok"

    @pytest.mark.parametrize("several", ["true", "false"])
    @pytest.mark.parametrize(
        "about, text",
        [
            ("--store", "enabled_backends = fast:cinder\n[fast]\ncinder_use_multipath ="),
            ("--backend", "enabled_backends = fast\n[fast]\nuse_multipath_for_image_xfer ="),
            ("--backend", "enabled_backends = fast\n[fast]\n[backend_defaults]\nuse_multipath_for_image_xfer ="),
        ],
    )
    def test_several_paths_are_wanted_as_the_checked_configuration_says(
        self,
        cinder: Volumes,
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        about: str,
        text: str,
        several: str,
    ) -> None:
        monkeypatch.setattr("imagevol_adapters.doctoring.host._SOCKETS", tmp_path / "none")
        conf = tmp_path / "a.conf"
        conf.write_text(f"[DEFAULT]\n{text} {several}\n")
        ran = run("doctor", about, "fast", "--config-file", conf, "-f", "json")
        (line,) = [row for row in ran.json if row["rule"] == "host-multipathd"]
        assert line["result"] == ("fail" if several == "true" else "ok")

    @pytest.mark.parametrize(
        "text",
        [
            "[fast]\nrootwrap_config = /a\0b\n",
            "[fast]\ncinder_volume_type = a\0b\n",
            "[fast]\n[oslo_concurrency]\nlock_path = /a\0b\n",
            "[fast]\n[privsep_osbrick]\nhelper_command = /a\0b\n",
        ],
    )
    def test_a_store_with_a_nul_in_a_value_is_refused_in_one_line(
        self, cinder: Volumes, run: Run, tmp_path: Path, text: str
    ) -> None:
        conf = tmp_path / "glance-api.conf"
        conf.write_text(f"[DEFAULT]\nenabled_backends = fast:cinder\n{text}")
        ran = run("doctor", "--store", "fast", "--config-file", conf)
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert ran.err.startswith(f"{conf}:")
        assert "it has a NUL in it" in ran.err

    def test_a_backend_is_checked_by_its_configuration(self, cinder: Volumes, run: Run, tmp_path: Path) -> None:
        conf = tmp_path / "cinder.conf"
        conf.write_text(f"[DEFAULT]\nenabled_backends = fast\nimage_conversion_dir = {tmp_path}\n[fast]\n")
        arguments = ("doctor", "--config-file", conf, "--conversion-space", 0, "-f", "json")
        ran = run(*arguments, "--backend", "fast")
        assert (ran.status, ran.err) == (0, "")
        assert [row["rule"] for row in ran.json if row["subject"] == "backend fast"] == [
            *("backend-described", "backend-tenant", "backend-mixin", "backend-clones", "backend-strict"),
            *("backend-file-urls", "backend-signatures"),
        ]
        assert run(*arguments, "--backend", "slow").status == 3

    def test_a_backend_without_a_pool_fails(self, cinder: Volumes, run: Run, tmp_path: Path) -> None:
        conf = tmp_path / "cinder.conf"
        conf.write_text(f"[DEFAULT]\nenabled_backends = down\nimage_conversion_dir = {tmp_path}\n[down]\n")
        ran = run(*("doctor", "--config-file", conf, "--conversion-space", 0, "-f", "json", "--backend", "down"))
        assert ran.status == 3
        assert [row["rule"] for row in ran.json if row["result"] == "fail"] == ["host-pools"]
