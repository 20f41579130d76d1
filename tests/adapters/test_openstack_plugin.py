"""`openstack imagevol …` is the same commands; here without python-openstackclient, which they do not need."""

from __future__ import annotations

import argparse
import inspect
import io
import logging
import subprocess
import sys
from importlib.metadata import distribution
from types import SimpleNamespace
from typing import Any

import pytest

from imagevol_adapters.cli import openstack_plugin
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.openstack_plugin import OpenStackServices
from imagevol_adapters.cli.services import ATTACHING, add_attaching_options
from imagevol_adapters.processes import origin
from imagevol_adapters.testing.memory import MemoryImages, MemoryVolumes
from imagevol_core import AccessDenied
from tests.adapters.commands import Run, logging_as_before

pytestmark = pytest.mark.usefixtures("no_cloud")
OURS = {each.name: each for each in distribution("imagevol").entry_points.select(group="imagevol.commands")}
THEIRS = {each.name: each for each in distribution("imagevol").entry_points.select(group="openstack.imagevol.v1")}


class Application:
    """What the plug-in uses of the application of `openstack`."""

    NAME = "openstack"
    LOG = logging.getLogger("openstack")

    def __init__(self) -> None:
        self.stdout = io.StringIO()
        self.options = argparse.Namespace(verbose_level=1, debug=False)
        self.cloud = SimpleNamespace(get_region_name=lambda: "one")
        self.authenticated = 0
        self.client_manager = SimpleNamespace(session="the session")
        self.command_manager = SimpleNamespace(namespace="openstack.cli")

    def prepare_to_run_command(self, command: Any) -> None:
        assert command.auth_required
        self.authenticated += 1


def made(name: str) -> Any:
    """Make a command as `openstack` does, which looks first whether it takes its name."""
    factory: Any = THEIRS[f"imagevol_{name}"].load()
    assert "cmd_name" in inspect.signature(factory.__init__).parameters
    return factory(Application(), None, cmd_name="x")


def ran(name: str, *arguments: str) -> tuple[int, str]:
    """Run a command as `openstack` does."""
    application: Any = Application()
    command: Any = THEIRS[f"imagevol_{name}"].load()(application, application.options, cmd_name=f"imagevol {name}")
    asked = command.get_parser(f"openstack imagevol {name}").parse_args(arguments)
    with logging_as_before():
        return command.run(asked), application.stdout.getvalue()


def test_every_command_is_plugged_in_and_no_other() -> None:
    assert set(THEIRS) == {f"imagevol_{name}" for name in OURS}


@pytest.mark.parametrize("name", OURS)
def test_each_is_the_same_command(name: str) -> None:
    ours, theirs = OURS[name].load(), type(made(name))
    assert issubclass(theirs, ours)
    assert (theirs.__doc__, theirs.__name__) == (ours.__doc__, ours.__name__)


@pytest.mark.parametrize("name", OURS)
def test_each_takes_its_own_options_and_those_for_attaching(name: str) -> None:
    application: Any = Application()
    parser = made(name).get_parser("x")
    found = {action.dest for action in parser._actions}
    own = {action.dest for action in OURS[name].load()(application, None, cmd_name="x").get_parser("x")._actions}
    assert found == own | set(ATTACHING)
    assert not own & set(ATTACHING)


def test_the_names_of_the_options_for_attaching_are_all_of_them() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_attaching_options(parser)
    assert tuple(action.dest for action in parser._actions) == ATTACHING


def test_the_answer_is_the_same_byte_for_byte(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = MemoryVolumes()
    volumes.create(size_gib=1, name="left", metadata=origin("put", None).to_volume())
    for kind in (Imagevol, OpenStackServices):
        monkeypatch.setattr(kind, "volumes", volumes)
        monkeypatch.setattr(kind, "images", MemoryImages(volumes=volumes))
    for form in ("json", "yaml", "csv", "table", "value"):
        ours = run("unfinished", "-f", form)
        assert ran("unfinished", "-f", form) == (ours.status, ours.out)
        assert ours.out


def test_the_session_and_the_cloud_are_those_of_openstack() -> None:
    application = Application()
    services: Any = OpenStackServices(application, ("get",))
    assert application.authenticated == 0
    assert (services.session, services.session, application.authenticated) == ("the session", "the session", 1)
    assert services.cloud is application.cloud
    assert (services.stdout, services.typed) == (application.stdout, ("get",))
    with pytest.raises(AttributeError):
        services.nonsense  # noqa: B018 - it is an error


def test_credentials_that_openstack_cannot_use_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Application, command: Any) -> None:
        raise RuntimeError("Missing value auth-url\nrequired for auth plugin password.")

    monkeypatch.setattr(Application, "prepare_to_run_command", refused)
    with pytest.raises(AccessDenied) as error:
        OpenStackServices(Application(), ()).session  # noqa: B018 - it is an error
    assert str(error.value) == (
        "Missing value auth-url required for auth plugin password. Name a cloud of clouds.yaml with OS_CLOUD or "
        "--os-cloud"
    )


def test_the_options_for_attaching_count(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []
    command = made("unfinished")

    def act(self: Any, parsed_args: argparse.Namespace) -> Any:
        seen.append(self.app.options)
        return ("a",), iter([])

    monkeypatch.setattr(OURS["unfinished"].load(), "take_action", act)
    assert command.auth_required is False
    ran("unfinished", "--my-ip", "192.0.2.7", "--wait-seconds", "7")
    assert (seen[0].my_ip, seen[0].wait_seconds, seen[0].multipath, seen[0].verbose_level) == ("192.0.2.7", 7, False, 1)


@pytest.mark.parametrize(
    "verbose_level, heard",
    [(1, ["what the application says"]), (2, ["no iSCSI initiator", "what the application says"])],
)
def test_what_libraries_say_is_heard_only_if_more_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, verbose_level: int, heard: list[str]
) -> None:
    def act(self: Any, parsed_args: argparse.Namespace) -> Any:
        logging.getLogger("os_brick.initiator.linuxscsi").warning("no iSCSI initiator")
        self.app.LOG.error("what the application says")
        return ("a",), iter([])

    monkeypatch.setattr(OURS["unfinished"].load(), "take_action", act)
    options = argparse.Namespace(verbose_level=verbose_level, debug=False)
    monkeypatch.setattr(Application, "options", property(lambda _: options, lambda *_: None), raising=False)
    ran("unfinished")
    assert caplog.messages == heard


def test_an_interrupt_says_what_is_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def act(self: Any, parsed_args: argparse.Namespace) -> Any:
        error = KeyboardInterrupt()
        error.add_note("left behind: volume 7ad3")
        raise error

    monkeypatch.setattr(OURS["unfinished"].load(), "take_action", act)
    with pytest.raises(KeyboardInterrupt):
        ran("unfinished")
    assert caplog.messages == ["interrupted", "left behind: volume 7ad3"]


def test_what_openstack_imports_at_its_start_imports_nothing_else_of_ours_and_no_library() -> None:
    program = """
import importlib.metadata, sys
before = set(sys.modules)
for each in importlib.metadata.distribution("imagevol").entry_points:
    if each.group.startswith("openstack."):
        each.load()
print(*sorted(name for name in set(sys.modules) - before if name.partition(".")[0] not in sys.stdlib_module_names))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [
        "imagevol_adapters",
        "imagevol_adapters.cli",
        "imagevol_adapters.cli.openstack_extension",
    ]


def test_what_a_plug_in_must_have() -> None:
    (entry_point,) = distribution("imagevol").entry_points.select(group="openstack.cli.extension")
    extension = entry_point.load()
    parser = extension.build_option_parser(argparse.ArgumentParser())
    assert entry_point.name == extension.API_NAME
    assert getattr(parser.parse_args([]), extension.API_VERSION_OPTION) == ""
    assert extension.make_client(None) is None
    assert extension.DEFAULT_API_VERSION in extension.API_VERSIONS
    assert set(extension.COMMANDS) == {name.replace("-", "_") for name in OURS}
    assert not hasattr(extension, "check_api_version")
    with pytest.raises(AttributeError):
        openstack_plugin.nosuch  # noqa: B018 - it is an error
