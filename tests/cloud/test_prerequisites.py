"""What is missing on a machine is said in one line that can be typed."""

from pathlib import Path

import pytest

from tests.cloud import prerequisites

pytestmark = pytest.mark.smoke


def test_missing_programs_are_named_by_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "qemu-img").touch(mode=0o755)
    monkeypatch.setattr(prerequisites, "SYSTEM_PATH", str(tmp_path))
    command = (
        "apt-get install --yes --no-install-recommends "
        "cryptsetup-bin e2fsprogs fdisk mariadb-server-core mount util-linux xfsprogs"
    )
    assert f"Debian packages are missing: run `{command}`" in prerequisites.problems()


def test_the_broker_is_needed_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "BROKER", {"no-such-program": "rabbitmq-server"})
    assert not any("rabbitmq-server" in problem for problem in prerequisites.problems())
    (problem,) = (line for line in prerequisites.problems(broker=True) if "rabbitmq-server" in line)
    assert problem.endswith(" rabbitmq-server`")
    assert "rabbitmq-server" in prerequisites.missing_packages(broker=True)
    assert "rabbitmq-server" not in prerequisites.missing_packages()


@pytest.mark.parametrize("there", [None, "#!/bin/sh\nexit 0\n"])
def test_what_is_installed_starts_no_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: str | None
) -> None:
    policy = tmp_path / "policy-rc.d"
    if there:
        policy.write_text(there)
        policy.chmod(0o755)
    monkeypatch.setattr(prerequisites, "POLICY", policy)
    asked = f"{policy}; test $? = {0 if there else 101}"  # as a package does it, before it starts something
    monkeypatch.setattr(prerequisites, "install_command", lambda _: ["sh", "-c", asked])
    prerequisites.install([])
    assert (policy.read_text() if policy.exists() else None) == there


def test_a_python_without_the_services_is_told_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(prerequisites.SERVICES, "no_such_service", "Nova")
    (problem,) = (line for line in prerequisites.problems() if "has no" in line)
    assert "Nova: run `make demo` once" in problem
