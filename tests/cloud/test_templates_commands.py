"""`imagevol templates` on real services: templates are made ahead, listed and pruned ([template])."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from imagevol_core import TEMPLATE_KEY
from tests.cloud.ports import nothing_left
from tests.cloud.record import Cloud
from tests.cloud.templating import forget_hash, in_local, remove_templates, template, templates, touch
from tests.cloud.test_command_line import CommandLine
from tests.cloud.test_templates import OTHER
from tests.cloud.users import User


@pytest.fixture
def service(template_cloud: Cloud) -> Iterator[User]:
    """Whom the commands' credentials are of: the images are of its project."""
    with nothing_left(template_cloud), ExitStack() as undo:
        undo.callback(remove_templates, template_cloud)
        yield User(template_cloud, "service", undo)


def asked(cloud: Cloud, *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    """The exit status, and what a program reads."""
    config = ("--config-file", cloud.directory / "etc/cinder/cinder.conf")
    ran = CommandLine(cloud, cloud.clouds_yaml).run("templates", *arguments, *config, "-f", "json")
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def outcomes(rows: list[dict[str, Any]], key: str = "outcome") -> list[tuple[str, Any, str]]:
    return [(row["image_id"], row["volume_id"], row[key]) for row in rows]


@pytest.mark.smoke
def test_a_template_that_is_made_ahead_serves_the_first_volume(service: User) -> None:
    cloud, image_id = service.cloud, in_local(service)
    status, rows = asked(cloud, "warm", image_id, "--volume-type", "fast", "--dry-run")
    assert (status, outcomes(rows), templates(cloud)) == (3, [(image_id, None, "planned")], [])
    for outcome in ("made", "ready"):
        status, rows = asked(cloud, "warm", image_id, "--volume-type", "fast", "--yes")
        made = template(cloud, image_id)
        assert (status, outcomes(rows)) == (0, [(image_id, made.id, outcome)])
    assert f"cloned from template {made.id}" in service.said(service.volume(image_id))


def test_an_administrator_has_the_template_of_another_projects_image_made_and_its_owner_is_served(
    service: User,
) -> None:
    with ExitStack() as undo:
        demo = User(service.cloud, "demo", undo)
        private = in_local(demo)
        status, rows = asked(service.cloud, "warm", private, "--volume-type", "fast", "--yes")
        made = template(service.cloud, private)
        assert (status, outcomes(rows)) == (0, [(private, made.id, "made")])
        assert f"cloned from template {made.id}" in demo.said(demo.volume(private, "fast"))


def test_what_can_have_no_template_is_refused_and_what_needs_none_is_left_alone(service: User) -> None:
    cloud, deactivated, in_a_volume = service.cloud, in_local(service), service.image(store="fast")
    service.glance.images.deactivate(deactivated)
    status, rows = asked(cloud, "warm", deactivated, in_a_volume, "--volume-type", "fast", "--yes")
    assert (status, outcomes(rows)) == (3, [(deactivated, None, "refused"), (in_a_volume, None, "not-needed")])
    assert rows[0]["reason"] == "the image's status is deactivated"
    assert templates(cloud) == []
    secret = User(cloud, "admin", ExitStack()).cinder.volume_types.create("encrypted")
    try:
        secret.set_keys({"volume_backend_name": "fast"})
        luks = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}
        User(cloud, "admin", ExitStack()).cinder.volume_encryption_types.create(secret, luks)
        status, rows = asked(cloud, "warm", in_local(service), "--volume-type", "encrypted", "--yes")
        assert (status, [row["outcome"] for row in rows]) == (3, ["refused"])
    finally:
        User(cloud, "admin", ExitStack()).cinder.volume_types.delete(secret)


def test_a_type_that_cinder_has_not_is_an_error_before_a_volume_is_made(service: User) -> None:
    config = ("--config-file", service.cloud.directory / "etc/cinder/cinder.conf")
    command = CommandLine(service.cloud, service.cloud.clouds_yaml)
    ran = command.run("templates", "warm", in_local(service), "--volume-type", "nosuch", "--yes", *config)
    assert (ran.returncode, ran.stderr) == (
        1,
        "volume type nosuch does not exist, or these credentials cannot see it\n",
    )


def test_no_more_is_planned_than_the_limits_of_the_backend_leave_room_for(service: User) -> None:
    """`slow` has two templates at the most."""
    cloud, images = service.cloud, [in_local(service, bytes([number]) * 1000) for number in range(4)]
    status, rows = asked(cloud, "warm", *images, "--volume-type", "slow", "--yes", "--jobs", 4)
    found = {row["image_id"]: row["outcome"] for row in rows}
    assert (status, [found[image_id] for image_id in images]) == (3, ["made", "made", "refused", "refused"])
    assert sorted(volume.metadata[TEMPLATE_KEY] for volume in templates(cloud)) == sorted(images[:2])


def test_what_is_stale_or_of_no_image_is_listed_and_pruned_and_what_is_a_users_is_not(service: User) -> None:
    cloud = service.cloud
    kept, stale, gone = in_local(service), in_local(service), in_local(service, OTHER)
    forget_hash(cloud, stale)
    assert asked(cloud, "warm", kept, stale, gone, "--volume-type", "fast", "--yes")[0] == 0
    made = {image_id: template(cloud, image_id).id for image_id in (kept, stale, gone)}
    status, rows = asked(cloud, "list")
    assert (status, sorted(outcomes(rows, "state"))) == (0, sorted((*each, "ready") for each in made.items()))
    touch(service, stale)
    service.glance.images.delete(gone)
    with ExitStack() as undo:
        forged = User(cloud, "demo", undo).cinder.volumes.create(1, metadata={TEMPLATE_KEY: gone})
        undo.callback(service.real.volumes.delete, forged.id)
        elsewhere = dict(outcome[::2] for outcome in outcomes(asked(cloud, "list")[1], "state"))
        assert elsewhere == {kept: "ready", stale: "stale", gone: "image-elsewhere"}
        status, rows = asked(cloud, "list", "--only-glance")
        states = {kept: "ready", stale: "stale", gone: "image-gone"}
        assert (status, sorted(outcomes(rows, "state"))) == (
            3,
            sorted((image_id, made[image_id], state) for image_id, state in states.items()),
        )
        assert asked(cloud, "prune", "--yes") == (0, [])  # all were used just now
        status, rows = asked(cloud, "prune", "--idle-minutes", 0, "--yes", "--only-glance")
        assert (status, sorted(outcomes(rows))) == (0, sorted((each, made[each], "deleted") for each in (stale, gone)))
        assert {volume.id for volume in templates(cloud)} == {made[kept], forged.id}


def test_above_a_limit_the_least_recently_used_go(service: User) -> None:
    cloud, images = service.cloud, [in_local(service), in_local(service, OTHER)]
    assert asked(cloud, "warm", *images, "--volume-type", "fast", "--yes")[0] == 0
    service.volume(images[0])
    unused = template(cloud, images[1])
    status, rows = asked(cloud, "prune", "--max-count", 1, "--idle-minutes", 0, "--yes")
    assert (status, outcomes(rows)) == (0, [(images[1], unused.id, "deleted")])
