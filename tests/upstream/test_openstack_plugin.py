"""`openstack imagevol …` beside the commands of python-openstackclient and of all plug-ins that are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

OPENSTACK = Path(sys.executable).with_name("openstack")


def test_no_command_has_the_name_of_another_plug_in() -> None:
    groups = {group for group in entry_points().groups if group.startswith("openstack.")}
    assert "openstack.volume.v3" in groups
    ours = {each.name for each in entry_points(group="openstack.imagevol.v1")}
    assert len(ours) > 10
    for group in groups - {"openstack.imagevol.v1"}:
        others = {each.name for each in entry_points(group=group)}
        assert not ours & others
        if group not in ("openstack.cli.base", "openstack.cli.extension"):
            assert not {name for name in others if name.split("_")[0] == "imagevol"}, group
    plugs = [each.name for each in entry_points(group="openstack.cli.extension")]
    assert plugs.count("imagevol") == 1
    assert "imagevol" not in {each.name for each in entry_points(group="openstack.cli.base")}


@pytest.mark.parametrize("command", ["doctor", "explain", "locations plan", "stores upgrade-config", "validate"])
def test_the_help_is_that_of_our_own_command_and_asks_no_cloud(command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    ran = subprocess.run(
        [OPENSTACK, "imagevol", *command.split(), "--help"],
        env=environment | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"openstack imagevol {command}" in ran.stdout
    assert "--attach-attempts COUNT" in ran.stdout
    assert ran.stderr == ""
