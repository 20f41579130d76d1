"""`imagevol validate`: what is named, what is tried, what is told."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from imagevol_adapters import validating
from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cli import configured_store
from imagevol_adapters.cli import validate as command
from imagevol_adapters.cli.app import Imagevol
from imagevol_core import AccessDenied, PlacedType, ServiceFailed
from tests.adapters.commands import Run
from tests.adapters.lying import Backend, ClonesNothing, Host

pytestmark = pytest.mark.usefixtures("no_cloud")


class Cloud(Backend):
    """Two backends, and a type for each."""

    types: ClassVar[tuple[PlacedType, ...]] = (
        PlacedType(name="secret", backend_name="FAST", encrypted=True),
        PlacedType(name="any"),
        PlacedType(name="memory", backend_name="FAST"),
    )

    def pools(self) -> tuple[Pool, ...]:
        return (
            Pool(name="node@fast#one", backend_name="FAST"),
            Pool(name="node@slow#one", backend_name="SLOW"),
        )

    def placed_types(self) -> tuple[PlacedType, ...]:
        return self.types

    def default_volume_type(self) -> str:
        return "any"


@pytest.fixture
def cinder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cloud:
    return use(Cloud(host="node@fast#one"), monkeypatch, tmp_path)


def use(volumes: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cloud:
    monkeypatch.setattr(Imagevol, "volumes", volumes)
    monkeypatch.setattr(Imagevol, "attacher", Host(volumes=volumes))
    for module in (configured_store, command):
        monkeypatch.setattr(module, "GLANCE_API_CONF", tmp_path / "none/glance-api.conf")
    return volumes


def store(tmp_path: Path, name: str = "fast", more: str = "cinder_volume_type = memory") -> Path:
    conf = tmp_path / "glance-api.conf"
    conf.write_text(f"[DEFAULT]\nenabled_backends = {name}:cinder, local:file\n[{name}]\n{more}\n[local]\n")
    return conf


def test_a_backend_that_can_be_trusted(cinder: Cloud, run: Run) -> None:
    ran = run("validate", "fast", "--no-suites", "-f", "json")
    assert (ran.status, ran.err) == (0, "")
    rows = {row["rule"]: row for row in ran.json}
    assert [set(row) for row in ran.json] == [{"subject", "rule", "result", "text", "next"}] * len(rows)
    assert {row["result"] for row in ran.json} == {"ok", "skipped"}
    assert rows["on-the-backend"]["text"] == "the volumes were in node@fast#one"
    assert rows["not-encrypted"]["text"] == "volumes of type memory are not encrypted"
    assert [row["subject"] for row in ran.json][-1] == "setting"
    assert (cinder.volumes, cinder.attachments) == ({}, {})


def test_a_backend_that_cannot_be_trusted_is_in_the_exit_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Lying(Cloud, ClonesNothing):
        pass

    use(Lying(host="node@fast#one"), monkeypatch, tmp_path)
    ran = run("validate", "fast", "--no-suites", "-f", "json")
    assert (ran.status, ran.err) == (3, "")
    results = {row["rule"]: row["result"] for row in ran.json}
    assert (results["clone-same"], results["setting-templates"], results["setting-store"]) == ("fail", "warn", "ok")


def test_a_store_is_tried_with_its_own_volume_type(cinder: Cloud, run: Run, tmp_path: Path) -> None:
    arguments = ("validate", "gold", "--config-file", store(tmp_path, "gold"), "--no-suites", "-f", "json")
    ran = run(*arguments)
    assert (ran.status, ran.err) == (0, "")
    ran = run(*arguments, "--volume-type", "encrypted")
    assert ran.status == 3
    assert next(row["rule"] for row in ran.json if row["result"] == "fail") == "not-encrypted"


def test_a_name_that_is_neither_is_refused_with_those_that_there_are(cinder: Cloud, run: Run, tmp_path: Path) -> None:
    conf = store(tmp_path)
    ran = run("validate", "none", "--config-file", conf)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        f"none is no cinder store of {conf}, and Cinder's scheduler knows no pool of backend none; these backends have "
        "pools: fast, slow\n"
    )


def test_a_backend_that_no_type_is_only_of_is_refused(cinder: Cloud, run: Run) -> None:
    ran = run("validate", "slow")
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "no volume type puts its volumes only on backend slow: give one with --volume-type" in ran.err
    assert cinder.volumes == {}


def test_volumes_on_another_backend_are_no_proof(cinder: Cloud, run: Run) -> None:
    ran = run("validate", "slow", "--volume-type", "memory", "--no-suites", "-f", "json")
    assert ran.status == 3
    assert [row["rule"] for row in ran.json if row["result"] == "fail"] == ["on-the-backend"]


def test_a_configuration_that_cannot_be_read_is_an_error(cinder: Cloud, run: Run, tmp_path: Path) -> None:
    ran = run("validate", "fast", "--config-file", tmp_path / "gone.conf")
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)


def test_a_user_who_is_no_administrator_is_told_what_is_missing(
    cinder: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Cloud) -> tuple[Pool, ...]:
        raise AccessDenied("Cinder, the pools of its scheduler: 403; use credentials that may do this")

    monkeypatch.setattr(Cloud, "pools", refused)
    ran = run("validate", "fast")
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("a", "b"),
        ("fast", "--clones", "0"),
        ("fast", "--clones", "many"),
        ("fast", "--seconds", "86401"),
        ("fast", "--seconds", "9"),
    ],
)
def test_a_wrong_option_is_a_wrong_usage(cinder: Cloud, run: Run, wrong: tuple[str, ...]) -> None:
    assert run("validate", *wrong).status == 2
    assert cinder.volumes == {}


def test_an_interrupt_deletes_what_there_is(cinder: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cloud, "extend", interrupted)
    ran = run("validate", "fast", "--no-suites")
    assert (ran.status, ran.out) == (130, "")
    assert cinder.volumes == {}


def test_what_an_interrupt_leaves_is_told(cinder: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def stuck(*_: Any, **__: Any) -> None:
        raise ServiceFailed("it is stuck")

    monkeypatch.setattr(Cloud, "attach", interrupted)
    monkeypatch.setattr(Cloud, "delete", stuck)
    ran = run("validate", "fast", "--no-suites")
    assert ran.status == 130
    (left,) = cinder.volumes
    assert f"left behind: volume {left}" in ran.err


def test_what_it_tries_is_told_on_a_terminal_only(cinder: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("validate", "fast", "--no-suites", "-f", "json").err == ""
    monkeypatch.setattr(command, "quiet", lambda: False)
    assert "Trying: clones." in run("validate", "fast", "--no-suites", "-f", "json").err
    assert validating.__all__ == ["try_backend"]


def test_a_timer_that_os_brick_left_at_an_interrupt_keeps_no_process(
    cinder: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_timeout() -> None: ...

    on_timeout.__module__ = "os_brick.privileged.rootwrap"
    timers: list[threading.Timer] = []

    def interrupted(*_: Any, **__: Any) -> None:
        timers.append(threading.Timer(600, on_timeout))
        timers[0].start()
        raise KeyboardInterrupt

    monkeypatch.setattr(Cloud, "extend", interrupted)
    try:
        assert run("validate", "fast", "--no-suites").status == 130
        timers[0].join(10)
        assert not timers[0].is_alive()
    finally:
        timers[0].cancel()
