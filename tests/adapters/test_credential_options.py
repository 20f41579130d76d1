"""The options for credentials are those of every OpenStack client, and cost no import that help does not need."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
from openstack.config import OpenStackConfig

from imagevol_adapters.cli.credentials import add_credential_options
from tests.adapters.commands import Run

pytestmark = [
    pytest.mark.usefixtures("no_cloud"),
    pytest.mark.filterwarnings("ignore:Support for InfluxDB"),  # openstacksdk tells this to all
]

ENVIRONMENT = {
    "OS_AUTH_URL": "https://keystone.example/v3",
    "OS_CACERT": "/etc/ssl/ca.pem",
    "OS_CERT": "/etc/ssl/cert.pem",
    "OS_KEY": "/etc/ssl/key.pem",
    "OS_PASSWORD": "hunter2",
    "OS_PROJECT_NAME": "demo",
    "OS_TENANT_ID": "4242",
    "OS_TLS_CIPHERS": "HIGH",
    "OS_TLS_MIN_VERSION": "1.2",
    "OS_USER_DOMAIN_ID": "default",
    "OS_USER_NAME": "alice",
}
WRONG = ("get", "--nonsense"), ("nonsense",)
HELP = (
    ("--help",),
    ("--version",),
    ("put", "--help"),
    ("doctor", "--help"),
    ("locations", "plan", "--help"),
    ("templates", "warm", "--help"),
)
PROGRAM = """
import sys
from imagevol_adapters.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
heavy = ("cinderclient", "glanceclient", "keystoneauth1", "openstack", "os_brick", "oslo_concurrency", "oslo_config",
         "oslo_utils", "requests", "taskflow", "tqdm", "eventlet")
print("IMPORTED", [name for name in heavy if name in sys.modules])
"""

Options = dict[tuple[str, ...], tuple[str, object, object, object]]


def options(parser: argparse.ArgumentParser) -> Options:
    return {
        tuple(action.option_strings): (action.dest, action.default, action.nargs, action.choices)
        for action in parser._actions
    }


def ours(*arguments: str) -> Options:
    parser = argparse.ArgumentParser()
    add_credential_options(parser, arguments)
    return options(parser)


def openstacksdks(*arguments: str) -> Options:
    parser = argparse.ArgumentParser()
    OpenStackConfig(load_yaml_config=False).register_argparse_arguments(parser, list(arguments))
    return options(parser)


@pytest.mark.parametrize("environment", [{}, ENVIRONMENT], ids=["empty", "full"])
@pytest.mark.parametrize("arguments", [(), ("--os-auth-type", "v3applicationcredential")], ids=["default", "other"])
def test_the_options_are_those_of_openstacksdk(
    environment: dict[str, str], arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected, found = openstacksdks(*arguments), ours(*arguments)
    # openstacksdk's own default would go before the type that `clouds.yaml` names for the cloud.
    auth_type = ("--os-auth-type", "--os-auth-plugin")
    assert expected.pop(auth_type)[0] == found.pop(auth_type)[0] == "os_auth_type"
    assert found == expected


def test_an_unknown_authentication_type_is_a_usage_error_in_one_line(run: Run) -> None:
    ran = run("--os-auth-type", "v9magic", "explain", "image", "--size", "1")
    assert ran.status == 2
    assert "unknown authentication type v9magic" in ran.err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [*HELP, *WRONG], ids=" ".join)
def test_help_and_wrong_options_import_no_library_of_the_services(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "IMPORTED []"


def test_help_does_not_read_the_files_of_all_distributions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> None:
        raise AssertionError("the files of all distributions were read")

    monkeypatch.setattr("cliff.command.packages_distributions", read)
    assert run("--help").status == 0
    assert run("put", "--help").status == 0


class TestCloudsYaml:
    """A `clouds.yaml` that is wrong keeps only commands that need it from running, each with one line."""

    @pytest.fixture(params=["{", "- a\n- b\n", "clouds: 7\n", "clouds:\n  one: 7\n", "\0", "clouds:\n  other: {}\n"])
    def broken(self, request: pytest.FixtureRequest, no_cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
        Path(os.environ["OS_CLIENT_CONFIG_FILE"]).write_text(request.param)
        monkeypatch.setenv("OS_CLOUD", "one")

    @pytest.mark.usefixtures("broken")
    def test_help_needs_no_clouds_yaml(self, run: Run) -> None:
        assert run("--help").status == 0

    @pytest.mark.usefixtures("broken")
    def test_a_faulty_clouds_yaml_is_one_line(self, run: Run) -> None:
        ran = run("explain", "image", "--size", "1", "--host", "node@fast#pool")
        assert (ran.status, ran.out, len(ran.err.splitlines())) == (1, "", 1)
        assert "clouds.yaml" in ran.err

    def test_the_authentication_type_of_the_cloud_counts(self, run: Run) -> None:
        """As with every client, a cloud may name a type that needs no password."""
        Path(os.environ["OS_CLIENT_CONFIG_FILE"]).write_text(
            "clouds:\n  one:\n    auth_type: v3applicationcredential\n    auth:\n"
            "      auth_url: http://127.0.0.1:1/v3\n      application_credential_id: a\n"
            "      application_credential_secret: b\n"
        )
        ran = run("--os-cloud", "one", "explain", "image", "--size", "1", "--host", "node@fast#pool")
        assert ran.status == 1
        assert "127.0.0.1:1" in ran.err
