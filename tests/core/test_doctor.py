"""Whether a host can do its job: each rule with facts that hold and facts that do not, and the file of rates."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from imagevol_core import (
    DoctorAccess,
    DoctorBackend,
    DoctorFacts,
    DoctorGlance,
    DoctorHost,
    DoctorService,
    DoctorTrial,
    InvalidFact,
    Rates,
    Result,
    diagnose,
    rule_tables,
)

HOST = DoctorHost(
    becomes_root="this process",
    address="192.0.2.7",
    initiators=frozenset({"iscsi", "nfs"}),
    pools=2,
    protocols=frozenset({"iscsi"}),
    multipath=True,
    multipathd=True,
    qemu_img="7.2.0",
    conversion_directory="/var/tmp",
    conversion_free_bytes=2 << 30,
    conversion_wanted_bytes=1 << 30,
    lock_path="/run/lock",
    rootwrap_config="/etc/glance/rootwrap.conf",
    rootwrap_config_exists=True,
    privsep_helper="privsep-helper",
    privsep_helper_exists=True,
)
SERVICE = DoctorService(
    name="block-storage", url="https://cinder.example", newest="3.71", wanted="3.54", clock_seconds=-0.5
)
ACCESS = DoctorAccess(project_id="p", roles=frozenset({"admin", "service"}))
GLANCE = DoctorGlance(shows_locations=False, insecure=False, hashing_algorithm="sha256")
BACKEND = DoctorBackend(
    name="fast",
    described=True,
    schemes=(),
    tenant="t",
    tenant_user="u",
    needs_tenant=("templates",),
    driver="acme.Driver",
    mixin=True,
    clone_schemes=("cinder",),
    trusted=1,
)
RATES = Rates(
    host="node",
    volume_type="ssd",
    backend="node@fast#pool",
    digests={"md5": 6e8, "sha256": 1.5e9, "sha512": 7e8},
    write_bytes_per_second=5e8,
    read_bytes_per_second=9e8,
    create_seconds=1,
    clone_seconds=2.5,
    attach_seconds=3,
    detach_seconds=0,
    delete_seconds=1,
)
TRIAL = DoctorTrial(rates=RATES, hashing_algorithm="sha256", volume=True, same=True)
SOUND = DoctorFacts(host=HOST, services=(SERVICE,), access=ACCESS, glance=GLANCE, backend=BACKEND, trial=TRIAL)
LOOPBACK = "its URL begins with http, and what is sent to it does not leave this host"
FAULTS: list[tuple[str, str, Result, dict[str, Any], str]] = [
    (
        "host-becomes-root",
        "host",
        Result.FAILS,
        {"becomes_root": None},
        "connecting a volume needs root, and this user can become root neither by sudo nor by privsep",
    ),
    ("host-connector", "host", Result.FAILS, {"connector_error": "no iqn."}, "no iqn"),
    (
        "host-pools",
        "host",
        Result.FAILS,
        {"pools": 0, "protocols": frozenset()},
        "the backends have no pools that Cinder's scheduler knows",
    ),
    (
        "host-initiators",
        "host",
        Result.FAILS,
        {"protocols": frozenset({"rbd", "nfs"})},
        "the backends use nfs, rbd, and this host has nothing for rbd",
    ),
    (
        "host-multipathd",
        "host",
        Result.FAILS,
        {"multipathd": False},
        "volumes are connected by several paths, and multipathd does not run",
    ),
    (
        "host-multipath",
        "host",
        Result.WARNS,
        {"multipath": False},
        "the backends use iscsi, and volumes are connected by one path only",
    ),
    ("host-address", "host", Result.WARNS, {"address": None}, "this host's name has no address"),
    (
        "host-address",
        "host",
        Result.WARNS,
        {"address": "127.0.1.1", "loopback": True},
        "Cinder is given 127.0.1.1, by which no other host reaches this one",
    ),
    (
        "host-qemu-img",
        "host",
        Result.FAILS,
        {"qemu_img": None},
        "qemu-img is not installed, so only raw images can be stored",
    ),
    (
        "host-conversion-space",
        "host",
        Result.FAILS,
        {"conversion_free_bytes": None},
        "images are converted in /var/tmp, which this user cannot write to",
    ),
    (
        "host-conversion-space",
        "host",
        Result.FAILS,
        {"conversion_free_bytes": (1 << 30) - 1},
        "/var/tmp has 1023 MiB free, and 1024 MiB are wanted",
    ),
    ("host-lock-path", "host", Result.FAILS, {"lock_path": None}, "lock_path of [oslo_concurrency] is not set"),
    ("host-lock-path", "host", Result.FAILS, {"lock_path": ""}, "lock_path of [oslo_concurrency] is not set"),
    (
        "host-rootwrap",
        "host",
        Result.FAILS,
        {"rootwrap_config_exists": False},
        "rootwrap_config is /etc/glance/rootwrap.conf, and there is no such file",
    ),
    (
        "host-privsep",
        "host",
        Result.FAILS,
        {"privsep_helper_exists": False},
        "the store becomes root by privsep-helper, which is not found",
    ),
    ("service-answers", "services", Result.FAILS, {"error": "refused."}, "refused"),
    ("service-microversion", "services", Result.FAILS, {"newest": "3.53"}, "it offers API 3.53; 3.54 is needed"),
    (
        "service-microversion",
        "services",
        Result.FAILS,
        {"newest": None},
        "it does not say which API it offers; 3.54 is needed",
    ),
    ("service-microversion", "services", Result.FAILS, {"newest": "latest"}, "it offers API latest; 3.54 is needed"),
    ("service-clock", "services", Result.WARNS, {"clock_seconds": 6}, "its clock is 6 seconds ahead of this host's"),
    ("service-clock", "services", Result.WARNS, {"clock_seconds": -60}, "its clock is 1 minute behind this host's"),
    (
        "service-encrypted",
        "services",
        Result.WARNS,
        {"url": "http://cinder.example"},
        "its URL begins with http: passwords and image data can be read on the way",
    ),
    (
        "service-encrypted",
        "services",
        Result.WARNS,
        {"url": None},
        "its URL begins with nothing: passwords and image data can be read on the way",
    ),
    *(
        (
            "service-encrypted",
            "services",
            Result.WARNS,
            {"url": f"http://{name}:9292"},
            "its URL begins with http: passwords and image data can be read on the way",
        )
        for name in ("localhost.evil.example", "127.evil.example", "127.0.0.1.nip.io", "[::1234]", "[::2]", "10.0.0.1")
    ),
    ("service-encrypted", "services", Result.WARNS, {"url": "http://["}, "its URL cannot be read"),
    ("access-signs-in", "access", Result.FAILS, {"error": "401."}, "401"),
    ("access-project", "access", Result.FAILS, {"project_id": None}, "they are for no project, and a volume needs one"),
    (
        "access-service-role",
        "access",
        Result.WARNS,
        {"roles": frozenset({"admin"})},
        "their roles are 'admin': Glance lets only services register a location in the Location API",
    ),
    (
        "access-admin-role",
        "access",
        Result.WARNS,
        {"roles": frozenset({"service"})},
        "their roles are 'service': Cinder hides where volumes are, and Glance hides the images of other projects",
    ),
    (
        "glance-locations",
        "glance",
        Result.WARNS,
        {"shows_locations": True},
        "show_multiple_locations is true: the owner of an image can exchange its data (OSSN-0065)",
    ),
    (
        "glance-certificates",
        "glance",
        Result.WARNS,
        {"insecure": True},
        "cinder_api_insecure is true: a host that pretends to be Cinder gets the store's password",
    ),
    (
        "backend-described",
        "backend",
        Result.FAILS,
        {"described": False},
        "enabled_backends of cinder.conf does not name fast",
    ),
    (
        "backend-tenant",
        "backend",
        Result.FAILS,
        {"tenant": None},
        "templates need the internal tenant, and cinder.conf does not set cinder_internal_tenant_project_id",
    ),
    (
        "backend-file-urls",
        "backend",
        Result.WARNS,
        {"schemes": ("file",)},
        "allowed_direct_url_schemes lists 'file': a location can name any file of the cinder-volume host",
    ),
    (
        "backend-signatures",
        "backend",
        Result.WARNS,
        {"verifies_signatures": False},
        "verify_glance_signatures is disabled: signed images are used unverified",
    ),
    ("volume-usable", "trial", Result.FAILS, {"error": "no valid host."}, "no valid host"),
    (
        "volume-usable",
        "trial",
        Result.FAILS,
        {"same": False},
        "what was read from the volume is not what had been written to it",
    ),
    (
        "volume-usable",
        "trial",
        Result.FAILS,
        {"same": None},
        "what was read from the volume is not what had been written to it",
    ),
    (
        "digest-fastest",
        "trial",
        Result.WARNS,
        {"hashing_algorithm": "sha512"},
        "sha512 takes in 700 MB/s on one core, and sha256 1500 MB/s",
    ),
    (
        "digest-keeps-up",
        "trial",
        Result.WARNS,
        {"hashing_algorithm": "md5"},
        "md5 takes in 600 MB/s, and the device 900 MB/s",
    ),
    (
        "attach-prompt",
        "trial",
        Result.WARNS,
        {"rates": replace(RATES, detach_seconds=31)},
        "attaching takes 3 seconds, and detaching 31 seconds",
    ),
]


FAULTS += [
    (
        "backend-mixin",
        "backend",
        Result.WARNS,
        {"mixin": False},
        "volume_driver is acme.Driver, without ImageCloneMixin: the options of clones and templates do nothing",
    ),
    (
        "backend-clones",
        "backend",
        Result.WARNS,
        {"clone_schemes": ()},
        "image_clone_direct_url_schemes lists none: no volume is cloned from an image volume",
    ),
    (
        "backend-clones",
        "backend",
        Result.WARNS,
        {"mixin": None, "trusted": 0},
        (
            "image_clone_direct_url_schemes lists 'cinder', and image_clone_trusted_projects names no project, so no "
            "image volume is trusted"
        ),
    ),
    (
        "backend-clones",
        "backend",
        Result.WARNS,
        {"mixin": False},
        "allowed_direct_url_schemes lists none: no volume is cloned from an image volume",
    ),
    (
        "backend-strict",
        "backend",
        Result.WARNS,
        {"schemes": ("cinder",)},
        "allowed_direct_url_schemes lists 'cinder': Cinder clones also what the strict rules refuse",
    ),
    (
        "digest-fastest",
        "trial",
        Result.WARNS,
        {"rates": replace(RATES, digests={"sha256": 1.2e9, "sha512": 1e9}), "hashing_algorithm": "sha512"},
        "sha512 takes in 1000 MB/s on one core, and sha256 1200 MB/s",
    ),
    (
        "backend-tenant",
        "backend",
        Result.FAILS,
        {"tenant_user": None},
        "templates need the internal tenant, and cinder.conf does not set cinder_internal_tenant_user_id",
    ),
    (
        "backend-tenant",
        "backend",
        Result.FAILS,
        {"tenant": None, "tenant_user": "", "needs_tenant": ("a", "b")},
        (
            "a, b need the internal tenant, and cinder.conf does not set cinder_internal_tenant_project_id and "
            "cinder_internal_tenant_user_id"
        ),
    ),
]


def test_a_sound_host_is_able_and_has_nothing_to_do() -> None:
    diagnosis = diagnose(SOUND)
    assert diagnosis.able
    assert {line.verdict.result for line in diagnosis.lines} == {Result.HOLDS}
    assert {line.next for line in diagnosis.lines} == {None}
    assert {line.verdict.rule: line.verdict.text for line in diagnosis.lines} == {
        "host-becomes-root": "os-brick works as root through this process",
        "host-connector": "os-brick tells what Cinder must know of this host",
        "host-pools": "the backends have 2 pools that Cinder's scheduler knows",
        "host-initiators": "the backends use iscsi",
        "host-multipathd": "multipathd runs",
        "host-multipath": "volumes are connected by several paths",
        "host-address": "Cinder is given 192.0.2.7",
        "host-qemu-img": "qemu-img has version 7.2.0",
        "host-conversion-space": "/var/tmp has 2048 MiB free, and 1024 MiB are wanted",
        "host-lock-path": "lock_path of [oslo_concurrency] is /run/lock",
        "host-rootwrap": "rootwrap_config is /etc/glance/rootwrap.conf",
        "host-privsep": "the store becomes root by privsep-helper",
        "service-answers": "it answers at https://cinder.example",
        "service-microversion": "it offers API 3.71; 3.54 is needed",
        "service-clock": "its clock and this host's agree within 5 seconds",
        "service-encrypted": "what is sent to it cannot be read on the way",
        "access-signs-in": "Keystone accepts them",
        "access-project": "they are for project p",
        "access-service-role": "their roles are 'admin', 'service'",
        "access-admin-role": "their roles are 'admin', 'service'",
        "glance-locations": "show_multiple_locations is false",
        "glance-certificates": "cinder_api_insecure is false",
        "backend-described": "cinder.conf describes it",
        "backend-tenant": "the internal tenant is project t, user u",
        "backend-mixin": "volume_driver is acme.Driver, with ImageCloneMixin",
        "backend-clones": "image_clone_direct_url_schemes lists 'cinder'",
        "backend-strict": "allowed_direct_url_schemes lists none",
        "backend-file-urls": "allowed_direct_url_schemes lists none",
        "backend-signatures": "verify_glance_signatures is enabled",
        "volume-usable": "a volume was created, attached, written, read back, cloned and deleted",
        "digest-fastest": "sha256 takes in 1500 MB/s",
        "digest-keeps-up": "sha256 takes in 1500 MB/s, and the device 900 MB/s",
        "attach-prompt": "attaching takes 3 seconds, and detaching 0 seconds",
    }


@pytest.mark.parametrize(
    "rule, text",
    [
        ("host-initiators", "the protocols of the backends are not known; this host has iscsi, nfs"),
        ("host-multipath", "the protocols of the backends are not known"),
    ],
)
def test_without_a_pool_no_protocol_is_known(rule: str, text: str) -> None:
    host = replace(HOST, pools=0, protocols=frozenset(), multipath=False)
    diagnosis = diagnose(DoctorFacts(host=host))
    assert {line.verdict.rule: line.verdict.text for line in diagnosis.lines}[rule] == text
    assert not diagnosis.able


def test_every_rule_is_asked_and_has_a_fault_here() -> None:
    rules = [rule.id for table in rule_tables() if table.name.startswith("Doctor: ") for rule in table.rules]
    assert [line.verdict.rule for line in diagnose(SOUND).lines] == rules
    assert {fault[0] for fault in FAULTS} == set(rules)


@pytest.mark.parametrize("rule, part, result, changes, text", FAULTS)
def test_a_fault_is_said_with_its_next_step(
    rule: str, part: str, result: Result, changes: dict[str, Any], text: str
) -> None:
    sound = getattr(SOUND, part)
    wrong: Any = (replace(sound[0], **changes),) if part == "services" else replace(sound, **changes)
    diagnosis = diagnose(replace(SOUND, **{part: wrong}))
    line = next(each for each in diagnosis.lines if each.verdict.rule == rule)
    assert line.verdict.result is result
    assert line.verdict.text == text
    assert line.next is not None
    assert line.next[0].isupper()
    assert line.next.endswith(".")
    assert diagnosis.able is (result is Result.WARNS)


@pytest.mark.parametrize(
    "part, changes, rule, text",
    [
        (
            "host",
            {"protocols": None},
            "host-initiators",
            "the protocols of the backends are not known; this host has iscsi, nfs",
        ),
        ("host", {"protocols": frozenset()}, "host-initiators", "the backends use none"),
        (
            "host",
            {"protocols": frozenset(), "other_protocols": frozenset({"storpool"})},
            "host-initiators",
            "the backends use storpool; what they need on a host is not known of storpool",
        ),
        ("host", {"pools": None}, "host-pools", "Cinder does not tell these credentials its pools"),
        ("host", {"pools": 1}, "host-pools", "the backends have 1 pool that Cinder's scheduler knows"),
        (
            "host",
            {"protocols": None, "multipath": False},
            "host-multipath",
            "the protocols of the backends are not known",
        ),
        (
            "host",
            {"protocols": frozenset({"nfs"}), "multipath": False},
            "host-multipath",
            "no backend has several paths",
        ),
        ("host", {"multipath": False, "multipathd": False}, "host-multipathd", "multipathd is not needed"),
        (
            "host",
            {"conversion_free_bytes": 1 << 30},
            "host-conversion-space",
            "/var/tmp has 1024 MiB free, and 1024 MiB are wanted",
        ),
        ("host", {"rootwrap_config": None, "lock_path": None}, "host-lock-path", "no store is checked"),
        ("host", {"rootwrap_config": None}, "host-rootwrap", "no store is checked"),
        ("host", {"privsep_helper": None}, "host-privsep", "no store is checked"),
        ("services", {"wanted": None, "newest": None}, "service-microversion", "it does not say which API it offers"),
        ("services", {"newest": "v3.54"}, "service-microversion", "it offers API v3.54; 3.54 is needed"),
        ("services", {"newest": "4.0"}, "service-microversion", "it offers API 4.0; 3.54 is needed"),
        ("services", {"clock_seconds": None}, "service-clock", "it does not tell its time"),
        ("services", {"clock_seconds": 5}, "service-clock", "its clock and this host's agree within 5 seconds"),
        ("services", {"clock_seconds": -5}, "service-clock", "its clock and this host's agree within 5 seconds"),
        (
            "services",
            {"url": "http://127.0.0.1:1"},
            "service-encrypted",
            LOOPBACK,
        ),
        (
            "services",
            {"url": "http://[::1]:1"},
            "service-encrypted",
            LOOPBACK,
        ),
        (
            "services",
            {"url": "HTTP://LOCALHOST"},
            "service-encrypted",
            LOOPBACK,
        ),
        ("glance", {"shows_locations": None}, "glance-locations", "show_multiple_locations is not known"),
        ("glance", {"insecure": None}, "glance-certificates", "cinder_api_insecure is not known"),
        ("backend", {"tenant": None, "needs_tenant": ()}, "backend-tenant", "no option needs the internal tenant"),
        ("trial", {"volume": False, "same": None, "error": "x"}, "volume-usable", "no volume was tried"),
        ("trial", {"hashing_algorithm": "sha3"}, "digest-fastest", "the speed of sha3 was not measured"),
        (
            "trial",
            {"rates": replace(RATES, digests={"sha256": 5e12})},
            "digest-fastest",
            "sha256 takes in 5000000 MB/s",
        ),
        (
            "trial",
            {"hashing_algorithm": "sha3"},
            "digest-keeps-up",
            "the digest and the device were not measured together",
        ),
        ("trial", {"rates": Rates(host="n")}, "attach-prompt", "no volume was attached"),
        (
            "backend",
            {"mixin": False, "schemes": ("cinder",), "trusted": 0},
            "backend-clones",
            "allowed_direct_url_schemes lists 'cinder'",
        ),
        (
            "backend",
            {"mixin": None},
            "backend-mixin",
            "volume_driver is acme.Driver, which cannot be loaded on this host by the Python of this command",
        ),
        (
            "trial",
            {"rates": replace(RATES, attach_seconds=30)},
            "attach-prompt",
            "attaching takes 30 seconds, and detaching 0 seconds",
        ),
        ("trial", {"rates": replace(RATES, attach_seconds=None)}, "attach-prompt", "no volume was attached"),
        (
            "trial",
            {"rates": replace(RATES, digests={"sha512": 7e8}), "hashing_algorithm": "sha512"},
            "digest-fastest",
            "the speed of sha512 was not measured",
        ),
        (
            "trial",
            {"rates": replace(RATES, digests={"sha256": 8.3e8, "sha512": 7e8}), "hashing_algorithm": "sha512"},
            "digest-fastest",
            "sha512 takes in 700 MB/s",
        ),
        (
            "trial",
            {"rates": Rates(host="n", digests={"sha256": 1e9})},
            "digest-keeps-up",
            "the digest and the device were not measured together",
        ),
        (
            "trial",
            {"rates": replace(RATES, digests={"sha256": 9e8})},
            "digest-keeps-up",
            "sha256 takes in 900 MB/s, and the device 900 MB/s",
        ),
    ],
)
def test_a_value_at_the_limit_or_one_that_is_not_known_is_no_fault(
    part: str, changes: dict[str, Any], rule: str, text: str
) -> None:
    sound = getattr(SOUND, part)
    other: Any = (replace(sound[0], **changes),) if part == "services" else replace(sound, **changes)
    line = next(each for each in diagnose(replace(SOUND, **{part: other})).lines if each.verdict.rule == rule)
    assert line.verdict.result is Result.HOLDS
    assert line.verdict.text == text
    assert line.next is None or not line.looked


@pytest.mark.parametrize(
    "part, changes, rules",
    [
        ("host", {"pools": None}, {"host-pools"}),
        ("host", {"protocols": None, "multipath": False}, {"host-initiators", "host-multipath"}),
        ("host", {"protocols": None}, {"host-initiators"}),
        ("host", {"rootwrap_config": None}, {"host-lock-path", "host-rootwrap"}),
        ("host", {"privsep_helper": None}, {"host-privsep"}),
        ("services", {"clock_seconds": None}, {"service-clock"}),
        ("glance", {"shows_locations": None}, {"glance-locations"}),
        ("backend", {"mixin": None}, {"backend-mixin"}),
        ("glance", {"insecure": None}, {"glance-certificates"}),
        ("trial", {"volume": False}, {"volume-usable"}),
        ("trial", {"hashing_algorithm": "sha3"}, {"digest-fastest", "digest-keeps-up"}),
        ("trial", {"rates": replace(RATES, attach_seconds=None)}, {"attach-prompt"}),
        (
            "trial",
            {"rates": replace(RATES, write_bytes_per_second=None, read_bytes_per_second=None)},
            {"digest-keeps-up"},
        ),
    ],
)
def test_what_was_not_looked_at_is_not_said_to_be_well(part: str, changes: dict[str, Any], rules: set[str]) -> None:
    sound = getattr(SOUND, part)
    other: Any = (replace(sound[0], **changes),) if part == "services" else replace(sound, **changes)
    lines = diagnose(replace(SOUND, **{part: other})).lines
    assert {line.verdict.rule for line in lines if not line.looked} == rules
    assert all(line.looked for line in diagnose(SOUND).lines)


@pytest.mark.parametrize(
    "part, changes",
    [
        ("host", {"pools": 1}),
        ("trial", {"rates": replace(RATES, digests={"sha256": 1.5e9})}),
        ("trial", {"rates": replace(RATES, write_bytes_per_second=None)}),
        ("trial", {"rates": replace(RATES, read_bytes_per_second=None)}),
    ],
)
def test_as_little_as_a_rule_needs_is_enough_for_it_to_have_been_looked_at(part: str, changes: dict[str, Any]) -> None:
    facts = replace(SOUND, **{part: replace(getattr(SOUND, part), **changes)})
    assert all(line.looked for line in diagnose(facts).lines)


def test_roles_that_are_not_known_are_no_roles() -> None:
    lines = diagnose(DoctorFacts(access=replace(ACCESS, roles=None))).lines
    assert [line.verdict.text for line in lines if line.next] == ["their roles are not known"] * 2


def test_a_service_that_does_not_answer_is_asked_nothing_else() -> None:
    lines = diagnose(DoctorFacts(services=(replace(SERVICE, error="refused"), SERVICE))).lines
    assert [line.verdict.rule for line in lines][:2] == ["service-answers"] * 2
    assert {line.verdict.subject for line in lines} == {"block-storage"}


def test_a_check_of_facts_that_are_not_known_is_left_out() -> None:
    assert diagnose(DoctorFacts()).lines == ()
    subjects = [line.verdict.subject for line in diagnose(SOUND).lines]
    assert list(dict.fromkeys(subjects)) == [
        "host",
        "block-storage",
        "credentials",
        "Glance",
        "backend fast",
        "measured",
    ]


class TestRates:
    """The file of rates, which other commands read."""

    def test_rates_that_are_written_can_be_read(self) -> None:
        written = json.loads(json.dumps(RATES.as_dict()))
        assert written == {
            "rates": 1,
            "host": "node",
            "volume_type": "ssd",
            "backend": "node@fast#pool",
            "digests": {"md5": 6e8, "sha256": 1.5e9, "sha512": 7e8},
            "write_bytes_per_second": 5e8,
            "read_bytes_per_second": 9e8,
            "create_seconds": 1,
            "clone_seconds": 2.5,
            "attach_seconds": 3,
            "detach_seconds": 0,
            "delete_seconds": 1,
        }
        assert Rates.from_dict(written | {"later": 1}) == RATES
        assert Rates.from_dict({"rates": 1, "host": "node"}) == Rates(host="node")

    @pytest.mark.parametrize(
        "written",
        [
            None,
            [],
            "x",
            {},
            {"rates": 2, "host": "n"},
            {"rates": 1},
            {"rates": 1, "host": 7},
            {"rates": 1, "host": "n", "digests": [1]},
            {"rates": 1, "host": "n", "digests": {"md5": "fast"}},
            {"rates": 1, "host": "n", "volume_type": 7},
            {"rates": 1, "host": "n", "backend": []},
            {"rates": 1, "host": "n", "attach_seconds": "1"},
            {"rates": 1, "host": "n", "attach_seconds": -1},
            {"rates": 1, "host": "n", "attach_seconds": True},
            {"rates": 1, "host": "n", "write_bytes_per_second": 0},
            {"rates": 1, "host": "n", "read_bytes_per_second": float("inf")},
            {"rates": 1, "host": "n", "read_bytes_per_second": float("nan")},
            {"rates": 1, "host": "n", "digests": {"md5": 10**400}},
        ],
    )
    def test_a_file_that_holds_no_rates_is_refused(self, written: Any) -> None:
        with pytest.raises(InvalidFact):
            Rates.from_dict(written)

    @pytest.mark.parametrize(
        "written, text",
        [
            ({}, 'rates: it is not an object with "rates": 1; write it with `imagevol doctor`'),
            (
                {"rates": 1, "host": 7},
                "rates: it has no host or no digests; write it with `imagevol doctor --rates FILE`",
            ),
            ({"rates": 1, "host": "n", "backend": 7}, "rates, backend: it is not a string"),
            (
                {"rates": 1, "host": "n", "digests": {"md5": "x" * 99}},
                f"md5: {'x' * 40} is not a time or a speed that was measured",
            ),
        ],
    )
    def test_the_error_of_a_file_of_rates_says_what_is_wrong(self, written: Any, text: str) -> None:
        with pytest.raises(InvalidFact) as refused:
            Rates.from_dict(written)
        assert str(refused.value) == text

    def test_the_largest_and_the_smallest_rate_can_be_read(self) -> None:
        rates = Rates(host="n", write_bytes_per_second=1e18, attach_seconds=0, detach_seconds=1e18)
        assert Rates.from_dict(rates.as_dict()) == rates
        with pytest.raises(InvalidFact):
            replace(rates, write_bytes_per_second=1.1e18)

    def test_rates_do_not_change_with_the_mapping_that_they_were_made_of(self) -> None:
        digests = {"md5": 1.0}
        rates = Rates(host="n", digests=digests)
        digests["md5"] = 2.0
        assert rates.digests == {"md5": 1.0}
