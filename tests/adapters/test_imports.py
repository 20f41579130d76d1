"""What no command needs of its libraries is not imported, and is there as ever for what asks for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

COMMAND = """
import sys
from imagevol_adapters.cli.app import Imagevol
app = Imagevol([])
app.options, _ = app.parser.parse_known_args(["--os-auth-url", "http://127.0.0.1:1", "--os-username", "u"])
"""


def imported(program: str, *, env: Sequence[str] = ()) -> list[str]:
    """The names of the modules that a program has imported at its end."""
    command = ["env", *env, sys.executable, "-W", "ignore", "-c", f"{program}\nprint(*sys.modules)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_credentials_need_none_of_openstacksdks_services() -> None:
    modules = imported(f"{COMMAND}\napp.cloud")
    assert "openstack.config" in modules
    assert [name for name in modules if name.startswith(("openstack.connection", "openstack.compute"))] == []


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
