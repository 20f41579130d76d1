"""`openstack imagevol …` on real services answers as our own command does, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud.ports import ports
from tests.cloud.record import Cloud
from tests.cloud.test_command_line import IMAGEVOL, CommandLine
from tests.cloud.test_doctor import cinder_conf, glance_conf

OPENSTACK = Path(sys.executable).with_name("openstack")


def ask(cloud: Cloud, *command: object) -> tuple[int, bytes, bytes]:
    environment = CommandLine(cloud, cloud.clouds_yaml).environment
    ran = subprocess.run([str(each) for each in command], env=environment, capture_output=True, check=False)
    return ran.returncode, ran.stdout, ran.stderr


def test_the_answer_is_the_same_byte_for_byte(cloud: Cloud) -> None:
    images = ports(cloud).images
    image = images.create(name="plugged-in", disk_format="raw")
    try:
        for arguments in (
            ("unfinished",),
            ("explain", image.id, "--size", "1", "--volume-type", "fast", "--config-file", cinder_conf(cloud)),
            ("templates", "list", "--config-file", cinder_conf(cloud)),
            ("stores", "check", "--config-file", glance_conf(cloud)),
            ("locations", "plan", "--config-file", glance_conf(cloud)),
        ):
            ours = ask(cloud, IMAGEVOL, *arguments, "-f", "json")
            theirs = ask(cloud, OPENSTACK, "imagevol", *arguments, "-f", "json")
            assert theirs == ours, arguments
            assert ours[1]
    finally:
        images.delete(image.id)


@pytest.mark.parametrize(
    "arguments", [("get", "nosuch", "/tmp/nosuch"), ("validate", "nosuch"), ("explain", "nosuch", "--size", "1")]
)
def test_an_error_is_the_same_line_and_the_same_status(cloud: Cloud, arguments: tuple[str, ...]) -> None:
    assert ask(cloud, OPENSTACK, "imagevol", *arguments) == ask(cloud, IMAGEVOL, *arguments)
