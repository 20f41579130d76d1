"""What no command needs of its libraries is not imported, and is there as ever for what asks for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from types import ModuleType

import pytest

from imagevol_adapters import gathering, transfers

COMMAND = """
import sys
from imagevol_adapters.cli.app import Imagevol
app = Imagevol([])
app.options, _ = app.parser.parse_known_args(["--os-auth-url", "http://127.0.0.1:1", "--os-username", "u"])
"""


def imported(program: str, *, env: Sequence[str] = ()) -> list[str]:
    """The names of the modules that a program has imported at its end."""
    command = ["env", *env, sys.executable, "-W", "ignore", "-c", f"{program}\nimport sys\nprint(*sys.modules)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def assert_not_imported(names: Collection[str], modules: Collection[str]) -> None:
    """None of these is among the modules, and each exists: a name that is nothing would never be there."""
    assert [name for name in names if find_spec(name) is None] == []
    assert set(names).isdisjoint(modules)


def test_reading_a_volume_takes_no_decision_about_locations_or_stores() -> None:
    modules = imported("from imagevol_adapters.cinder import CinderVolumes\nimport imagevol_adapters.glance.images")
    assert {"imagevol_adapters.cinder.volumes", "imagevol_adapters.glance.images"} <= set(modules)
    assert_not_imported({"imagevol_core.migration", "imagevol_core.stores", "imagevol_core.uploading"}, modules)


def test_the_credentials_need_none_of_openstacksdks_services() -> None:
    modules = imported(f"{COMMAND}\napp.cloud")
    assert "openstack.config" in modules
    assert [name for name in modules if name.startswith(("openstack.connection", "openstack.compute"))] == []


def test_a_command_imports_no_other_command() -> None:
    modules = imported(f"{COMMAND}\napp.command_manager.find_command(['get', 'x', 'y'])")
    assert "imagevol_adapters.cli.data" in modules
    others = {f"imagevol_adapters.{name}" for name in ("cli.locations", "cli.templates", "gathering", "relocating")}
    assert_not_imported(others, modules)


def test_to_read_a_volume_takes_nothing_that_looks_into_images() -> None:
    modules = imported("from imagevol_adapters.transfers import open_image_volume")
    assert "imagevol_adapters.transfers.serving" in modules
    assert_not_imported(
        {"imagevol_adapters.inspection.inspector", "oslo_utils", "imagevol_adapters.blockmaps"}, modules
    )


def test_the_engine_imports_blake3_only_when_it_makes_one() -> None:
    program = "from imagevol_adapters.engine import Digests, has_blake3\nassert has_blake3()\nDigests(['sha512'])"
    assert_not_imported({"blake3"}, imported(program))
    assert "blake3" in imported(f"{program}\nDigests(['blake3'])")


@pytest.mark.parametrize("package", [transfers, gathering], ids=lambda package: package.__name__)
def test_each_public_name_of_a_package_is_one_of_its_modules(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name).__module__.startswith(f"{package.__name__}.")
    with pytest.raises(AttributeError):
        package.nosuch  # noqa: B018 - it is an error


@pytest.mark.parametrize("package", ["transfers", "gathering", "cinder", "glance", "qemu", "configuration", "tending"])
def test_the_public_names_of_a_package_are_told_before_they_are_imported(package: str) -> None:
    name = f"imagevol_adapters.{package}"
    modules = imported(f"import {name} as package; assert set(package.__all__) <= set(dir(package)), dir(package)")
    assert not [module for module in modules if module.startswith(f"{name}.")]


def test_a_command_starts_without_looking_for_garbage() -> None:
    program = """
import gc
from imagevol_adapters.cli import main
before = gc.get_threshold()
gc.collect()
seen = gc.get_stats()[2]["collections"]
try:
    main(["get", "--help"])
except SystemExit:
    pass
print(gc.get_stats()[2]["collections"] - seen, gc.get_threshold() == before)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "0 True"


def test_to_attach_a_volume_needs_no_resolver_for_green_threads() -> None:
    modules = imported(f"{COMMAND}\napp.attacher")
    assert "os_brick.initiator.connector" in modules
    assert "dns" not in modules


def test_the_environment_says_if_the_resolver_is_wanted() -> None:
    modules = imported(f"{COMMAND}\napp.attacher", env=["EVENTLET_NO_GREENDNS=no"])
    assert ("dns" in modules) is ("eventlet" in modules)


@pytest.mark.parametrize(
    "program",
    [
        "import openstack; openstack.connect; openstack.connection.Connection",
        "import openstack.connection; openstack.connection.Connection",
        "from openstack import connection, connect, enable_logging",
        "from openstack import *; connect",
    ],
)
def test_openstacksdk_is_whole_for_what_asks_for_it(program: str) -> None:
    modules = imported(f"{COMMAND}\napp.cloud\n{program}")
    assert "openstack.connection" in modules


def test_a_name_that_openstacksdk_does_not_have_is_an_error_as_ever() -> None:
    program = "import openstack\ntry: openstack.nosuch\nexcept AttributeError: print('none')"
    assert "none" in imported(f"{COMMAND}\napp.cloud\n{program}")
