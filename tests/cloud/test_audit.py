"""`imagevol audit` on real services: a healthy cloud has no finding, and each fault is found with its subjects."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from signal import SIGINT
from subprocess import PIPE
from typing import Any

import pytest

from imagevol_adapters.cinder.whole_cloud import WholeCinder
from imagevol_adapters.gathering import gather_audit
from imagevol_core import AuditSettings, CacheEntry
from tests.cloud.database import run_sql
from tests.cloud.faults import FAULTS, Site
from tests.cloud.ports import nothing_left
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.templating import in_local, remove_templates, template
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import PATIENCE_SECONDS, User, image_volume

ONLY_DATABASES = ("cache-entry-without-volume",)  # no API shows it


@pytest.fixture
def service(template_cloud: Cloud) -> Iterator[User]:
    """The user of the stores."""
    with nothing_left(template_cloud), ExitStack() as undo:
        undo.callback(remove_templates, template_cloud)
        yield User(template_cloud, "service", undo)


@pytest.fixture
def site(service: User) -> Site:
    """Where faults are planted."""
    cloud = service.cloud

    def make_template() -> tuple[str, str]:
        image_id = in_local(service)
        configuration = ("--config-file", cloud.directory / "etc/cinder/cinder.conf")
        warmed = CommandLine(cloud, cloud.clouds_yaml).run(
            *("templates", "warm", image_id, "--volume-type", "fast", "--yes", *configuration)
        )
        assert warmed.returncode == 0, warmed.stderr
        return image_id, template(cloud, image_id).id

    return Site(service=service, make_template=make_template, run_sql=partial(run_sql, cloud))


def audit(cloud: Cloud, *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """The exit status, what a program reads, and what the operator is told."""
    ran = CommandLine(cloud, cloud.clouds_yaml).run(
        "audit",
        *("--config-file", cloud.directory / "etc/glance/glance-api.conf"),
        *("--trusted-project", cloud.project_ids["service"], "--only-glance", *arguments, "-f", "json"),
        *("--temporary-directory", cloud.directory / "conversion"),
    )
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout), ran.stderr


def found(rows: list[dict[str, Any]]) -> dict[str, list[frozenset[tuple[str, str]]]]:
    """What is found by rule, with the subjects of each finding."""
    subjects: dict[str, list[frozenset[tuple[str, str]]]] = {}
    for row in rows:
        subjects.setdefault(row["rule"], []).append(
            frozenset((subject["kind"], subject["id"]) for subject in row["subjects"])
        )
    return subjects


def test_a_healthy_cloud_has_no_finding_and_each_fault_is_found(site: Site, tmp_path: Path) -> None:
    """A cloud of images in volumes and elsewhere, a template, clones, and a user's volume with a user's metadata."""
    cloud, service = site.service.cloud, site.service
    with ExitStack() as undo:
        site.image()
        service.image(store="slow")
        service.volume(site.make_template()[0])
        user = User(cloud, "demo", undo)
        user.volume(user.image(store="local"))
        forged = user.cinder.volumes.create(1, volume_type="fast", metadata={"imagevol_template": "made up"})
        undo.callback(service.real.volumes.delete, forged.id)
        user.settled(forged)

        status, rows, said = audit(cloud, "--deep", "--jobs", 2)
        assert (status, rows) == (0, []), said
        assert "0 findings" in said

        planted = {rule: plant(site).subjects for rule, plant in FAULTS.items()}
        journal = tmp_path / "journal"
        status, rows, said = audit(cloud, "--stuck-after", 0, "--deep", "--journal", journal)
        assert status == 3
        assert found(rows) == {rule: [planted[rule]] for rule in FAULTS if rule not in ONLY_DATABASES}, said
        assert len(re.findall("was not read", said)) == 2, said  # the volume that is gone, and the one that is reserved
        again = audit(cloud, "--stuck-after", 0, "--deep", "--journal", journal, "--resume")
        assert (again[0], found(again[1])) == (status, found(rows))
        assert {row["id"] for row in again[1]} == {row["id"] for row in rows}

        (subject,) = planted["cache-entry-without-volume"]
        program = gather_audit(
            images=service.real.images,
            volumes=WholeCinder(service.real.volumes),
            settings=AuditSettings(now=datetime.now(UTC)),
            entries=[CacheEntry(volume_id=subject[1], image_id="gone", size_gib=1)],
        )
        (entry,) = [each for each in program.findings() if each.kind in ONLY_DATABASES]
        assert {(each.kind, each.id) for each in entry.subjects} == {subject}


def test_a_cloud_with_the_drivers_of_upstream_has_no_finding(cloud: Cloud) -> None:
    """Its stores are upstream's; its image volumes are made by uploads, by Cinder's cache and by clones."""
    with nothing_left(cloud), ExitStack() as undo:
        service, user = User(cloud, "service", undo), User(cloud, "demo", undo)
        service.image(store="fast")
        user.image(store="slow")
        undo.callback(_forget_cached, service)
        user.volume(user.image(store="local"))
        status, rows, said = audit(cloud)
        assert (status, rows) == (0, []), said


def _forget_cached(service: User) -> None:
    """Delete what Cinder's cache has made in its internal tenant."""
    for volume in service.cinder.volumes.list():
        if volume.name.startswith("image-") and volume.source_volid:
            service.real.volumes.delete(volume.id)


def test_an_interrupt_ends_a_deep_audit_and_lets_the_volume_go(cloud: Cloud, tmp_path: Path) -> None:
    """It goes on with what its journal does not have."""
    arguments = (
        *("audit", "--config-file", cloud.directory / "etc/glance/glance-api.conf"),
        *("--trusted-project", cloud.project_ids["service"], "--deep", "--journal", tmp_path / "journal"),
    )
    command = CommandLine(cloud, cloud.clouds_yaml)
    with nothing_left(cloud), ExitStack() as undo:
        service = User(cloud, "service", undo)
        volume_id = image_volume(service, service.image())
        running = command.start(*arguments, "--rate", 0.1, "-f", "json", stdout=PIPE, stderr=PIPE)
        assert any(service.real.volumes.get(volume_id).status == "in-use" for _ in ticks(PATIENCE_SECONDS))
        running.send_signal(SIGINT)
        out, said = running.communicate(timeout=PATIENCE_SECONDS)
        assert (running.returncode, out) == (130, "")
        assert said.splitlines()[-2:] == [
            "Stopped early. The journal has 0 volumes. Continue with the same command and --resume.",
            "interrupted",
        ]
        assert service.real.volumes.get(volume_id).status == "available"
        resumed = command.run(*arguments, "--resume", "-f", "json")
        assert (resumed.returncode, json.loads(resumed.stdout)) == (0, []), resumed.stderr


def test_a_deep_audit_that_is_killed_reads_each_volume_once_or_again_if_its_line_was_not_written(
    cloud: Cloud, tmp_path: Path
) -> None:
    """Killed with -9 at random moments, and then left to its end."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, journal = random.Random(seed), tmp_path / "journal"
    arguments = (
        *("audit", "--config-file", cloud.directory / "etc/glance/glance-api.conf", "--deep", "--jobs", 4),
        *("--trusted-project", cloud.project_ids["service"], "--journal", journal, "-f", "json"),
    )
    command = CommandLine(cloud, cloud.clouds_yaml)

    def lines() -> list[str]:
        return journal.read_text().splitlines() if journal.exists() else []

    def resume() -> tuple[str, ...]:
        return ("--resume",) if journal.exists() else ()

    with nothing_left(cloud), ExitStack() as undo:
        service = User(cloud, "service", undo)
        volume_ids = {image_volume(service, service.image(bytes(5000) + bytes([number]) * 5000)) for number in range(4)}
        for _ in range(2):
            before = lines()
            running = command.start(*arguments, *resume(), stdout=PIPE, stderr=PIPE)
            for _ in ticks(PATIENCE_SECONDS):
                if running.poll() is not None or len(lines()) > max(len(before), 1):
                    break
            time.sleep(chance.uniform(0, 0.5))
            running.kill()
            running.communicate()
            assert lines()[: len(before)] == before
        ended = command.run(*arguments, *resume())
        assert (ended.returncode, json.loads(ended.stdout)) == (0, []), ended.stderr
        read = [json.loads(line)["volume"] for line in lines()[1:]]
        assert sorted(read) == sorted(volume_ids)
