"""`imagevol audit --repair` on real services: killed again and again, it repairs each fault and nothing else."""

from __future__ import annotations

import json
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from tests.cloud import restarting
from tests.cloud.faults import FAULTS, Site
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.test_audit import ONLY_DATABASES, audit, service, site
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import User

__all__ = ["service", "site"]

BY_HAND = {"record-differs"}
LEFT_TO_A_PERSON = {"content-differs"}  # the image is deactivated, and its data is still wrong
LINES_OF_A_PLAN = 2 + len(FAULTS) - len(ONLY_DATABASES)  # its head, a line for each finding, and its end
PATIENCE_SECONDS = 120
DATA = b"the image" * 1000  # what `Site.image` stores


def options(cloud: Cloud) -> list[object]:
    return [
        *("audit", "--config-file", cloud.directory / "etc/glance/glance-api.conf", "-f", "json", "--yes"),
        *("--trusted-project", cloud.project_ids["service"], "--only-glance", "--stuck-after", 0),
        *("--temporary-directory", cloud.directory / "conversion"),
    ]


def lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def killed_after(command: CommandLine, arguments: list[object], journal: Path, more: int) -> bool:
    """Run a command and kill it with -9 when it has written so many lines; tell whether it was killed."""
    before = lines(journal)
    with command.start(*arguments, stdout=-3, stderr=-3) as process:
        for _ in ticks(PATIENCE_SECONDS):
            if process.poll() is not None:
                return False
            if lines(journal) >= before + more:
                process.kill()
                return True
        process.kill()
    raise AssertionError("it has neither ended nor written")


def repaired(command: CommandLine, cloud: Cloud, journal: Path) -> dict[str, dict[str, Any]]:
    """Repair what is found, killed again and again; give what the journal says of each finding at the end."""
    first = [*options(cloud), "--deep", "--include-likely", "--repair", "--repair-journal", journal]
    assert killed_after(command, first, journal, LINES_OF_A_PLAN + 1)
    for more in count(2):  # so that it is killed at the beginning of a step, and at its end
        if not killed_after(command, [*options(cloud), "--resume-repair", journal], journal, more):
            break
    planned: dict[str, dict[str, Any]] = {}
    for line in journal.read_text().splitlines():
        value = json.loads(line)
        if "kind" in value:
            planned[value["finding"]] = {"rule": value["kind"]}
        elif "finding" in value:
            planned[value["finding"]] |= value
    return {each["rule"]: each for each in planned.values()}


def test_each_fault_is_repaired_by_a_process_that_is_killed_again_and_again(site: Site, tmp_path: Path) -> None:
    cloud, service = site.service.cloud, site.service
    drivers = {"DEFAULT": {"enabled_backends": "fast:imagevol,slow:imagevol,local:file"}}
    with restarting.glance_with(cloud, drivers), ExitStack() as undo:
        healthy = [site.image()[0], service.image(DATA, store="slow")]
        user = User(cloud, "demo", undo)
        metadata = {"image_id": "made up", "imagevol_procedure": "add", "imagevol_state": "unfinished"}
        forged = user.cinder.volumes.create(1, volume_type="fast", metadata=metadata)
        undo.callback(service.real.volumes.delete, forged.id)
        user.settled(forged)
        planted = {rule: plant(site).subjects for rule, plant in FAULTS.items() if rule not in ONLY_DATABASES}

        ended = repaired(CommandLine(cloud, cloud.clouds_yaml), cloud, tmp_path / "journal")
        states = {rule: (each["state"], each.get("reason")) for rule, each in ended.items()}
        assert states == dict.fromkeys(planted.keys() - BY_HAND, ("done", None))
        _, rows, said = audit(cloud, "--deep", "--stuck-after", 0)
        assert {row["rule"] for row in rows if row["repair"]} <= LEFT_TO_A_PERSON, said
        for rule in ("owner-differs", "size-differs", "store-differs", "not-read-only", "volume-in-two-images"):
            healthy += [name for kind, name in planted[rule] if kind == "image"]
        assert {b"".join(service.real.images.read(image_id)) for image_id in healthy} == {DATA}
        assert service.real.volumes.find([forged.id])
