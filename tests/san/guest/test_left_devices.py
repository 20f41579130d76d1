"""A device that a killed process left is disconnected by the commands of docs/production/after-a-kill.md."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest

from imagevol_adapters.brick import BrickAttacher
from imagevol_adapters.ports import AccessMode, Attachment
from tests.san.guest.storage import MIB, NAMESPACE, Volume, by_iscsi, by_nvme_tcp

PAGE = Path(__file__).parents[3] / "docs/production/after-a-kill.md"
MARK = '<!--- skip: next "tests/san runs it" -->'
VOLUME_ID = "77f0d3c1-6f5a-4f0e-9c0b-3e439b390f5b"
SERIAL = "0f5b0b8f-4d11-4e43-9b39-6f5a1f0e3c0b"
SECONDS = 120  # that a command may take


def commands(section: str) -> Iterator[tuple[str, str]]:
    """Give each command of a section that is run here, and what the page says that it prints."""
    (text,) = re.findall(rf"^### {re.escape(section)}\n(.*?)^##", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for block in re.findall(rf"{re.escape(MARK)}\s*?\n([ ]*```console\n.*?)\n[ ]*```", text, re.DOTALL):
        for command in textwrap.dedent(block).partition("\n")[2].removeprefix("$ ").split("\n$ "):
            line, _, printed = command.partition("\n")
            yield line, printed


def follow(section: str, instead: Mapping[str, str]) -> None:
    """Run the commands of a section with what is on this machine in the place of what the page shows."""

    def here(text: str) -> str:
        for shown, real in instead.items():
            text = text.replace(shown, real)
        return text

    for line, printed in ((here(line), here(printed)) for line, printed in commands(section)):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=SECONDS)
        said = done.stdout + done.stderr
        print(f"$ {line}\n{said}")
        wanted, found = (
            re.sub(r"[ ]+(?=\n)", "", re.sub(r"[ ]{2,}", " ", text + "\n")) for text in (printed, said.rstrip())
        )
        assert doctest.OutputChecker().check_output(wanted, found, doctest.ELLIPSIS), (line, wanted, found)


def disks() -> set[str]:
    """The disks of this machine."""
    listed = subprocess.run(
        ["lsblk", "--nodeps", "--noheadings", "-o", "NAME"], capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


def left_by_a_killed_process(attacher: BrickAttacher, connection: Mapping[str, Any]) -> str:
    """Connect a volume in a process that ends without a word; give the name of its disk."""
    before = disks()
    attachment = Attachment(id="an-attachment", volume_id=VOLUME_ID, connection=connection)
    child = os.fork()
    if not child:
        with attacher.open(attachment, mode=AccessMode.WRITE):
            os._exit(0)
    os.waitpid(child, 0)
    subprocess.run(["udevadm", "settle"], check=True)
    (left,) = disks() - before
    return left


@pytest.fixture
def left(pool: None) -> Iterator[Volume]:
    made = Volume(f"volume-{VOLUME_ID}", 1024 * MIB)
    yield made
    made.remove()


def test_an_iscsi_device_is_disconnected_by_hand_and_another_one_stays(
    left: Volume, volume: Volume, attacher: BrickAttacher
) -> None:
    with (
        by_iscsi(volume) as another,
        attacher.open(Attachment(id="another", volume_id=volume.name, connection=another), mode=AccessMode.READ),
        by_iscsi(left) as connection,
    ):
        disk = left_by_a_killed_process(attacher, connection)
        follow("iSCSI by hand", {"192.0.2.10": "127.0.0.1", SERIAL: str(uuid5(NAMESPACE, left.name))})
        assert (disk, "sda" in disks(), disk in disks()) == ("sdb", True, False)
        sessions = subprocess.run(["iscsiadm", "--mode", "session"], capture_output=True, text=True, check=False)
        assert VOLUME_ID not in sessions.stdout


def test_an_nvme_tcp_device_is_disconnected_by_hand(left: Volume, attacher: BrickAttacher) -> None:
    with by_nvme_tcp(left) as connection:
        disk = left_by_a_killed_process(attacher, connection)
        instead = {
            "nvme1": disk.removesuffix("n1"),
            "nvme-subsys1": "nvme-subsys0",
            f"nqn.nvme-subsystem-1-{VOLUME_ID}": connection["target_nqn"],
            VOLUME_ID: connection["vol_uuid"],
            "192.0.2.10": "127.0.0.1",
        }
        follow("NVMe-TCP by hand", instead)
        assert disk not in disks()
