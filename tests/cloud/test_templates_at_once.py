"""Templates while several volumes are made at once, by one cinder-volume and by two ([template])."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from imagevol_core import GIB
from tests.cloud import restarting
from tests.cloud.ports import nothing_left
from tests.cloud.record import Cloud
from tests.cloud.templating import (
    held_back,
    in_local,
    left,
    remove_templates,
    slow_clones,
    template,
    the_beginning,
    until_said,
)
from tests.cloud.users import DATA, User, content

MIB = 1 << 20

Users = Callable[[str], User]


@pytest.fixture
def users(template_cloud: Cloud) -> Iterator[Users]:
    with nothing_left(template_cloud), ExitStack() as undo:
        undo.callback(remove_templates, template_cloud)
        yield lambda name: User(template_cloud, name, undo)


@pytest.fixture
def demo(users: Users) -> User:
    return users("demo")


def test_a_template_that_is_being_cloned_stays_and_another_makes_room(demo: User) -> None:
    """`slow` has two at the most."""
    images = [in_local(demo, random.Random(seed).randbytes(MIB)) for seed in range(4)]
    for image_id in images[:2]:
        demo.volume(image_id, "slow")
    first, second = (template(demo.cloud, image_id) for image_id in images[:2])
    with slow_clones(demo.cloud, "slow", seconds=600):
        clones = [demo.asked(images[0], "slow")]
        until_said(demo, clones[0], f"template: use: volume {first.id} is the image")
        clones.append(demo.asked(images[2], "slow"))
        until_said(demo, clones[1], "holds the image")
        assert f"template {second.id} makes room" in demo.said(clones[1])
        third = template(demo.cloud, images[2])
        copied = demo.volume(images[3], "slow")
        assert [demo.cinder.volumes.get(clone.id).status for clone in clones] == ["creating"] * 2
    assert "template: copy" in demo.said(copied)
    for seed, volume in ((0, clones[0]), (2, clones[1]), (3, copied)):
        assert content(demo.real, demo.settled(volume).id, MIB)[1] == random.Random(seed).randbytes(MIB)
    assert left(demo.cloud, second.id) == {first.id, third.id}


def test_a_template_that_is_deleted_while_it_is_cloned_costs_another_try(demo: User, users: Users) -> None:
    image_id = in_local(demo)
    demo.volume(image_id)
    gone = template(demo.cloud, image_id)
    with slow_clones(demo.cloud, "fast", seconds=600):
        asked = demo.asked(image_id)
        until_said(demo, asked, f"template: use: volume {gone.id} is the image")
        users("admin").cinder.volumes.delete(gone.id)
    volume = demo.settled(asked)
    made = template(demo.cloud, image_id)
    assert f"template {gone.id} was removed meanwhile" in demo.said(volume)
    assert f"cloned from new template {made.id}" in demo.said(volume)
    assert content(demo.real, volume.id)[1] == DATA


# Two cinder-volume processes


@pytest.fixture
def everybody(cluster: Cloud) -> Iterator[User]:
    with nothing_left(cluster), ExitStack() as undo:
        undo.callback(remove_templates, cluster)
        yield User(cluster, "demo", undo)


def test_twenty_volumes_at_once_on_two_cinder_volumes_make_one_template(everybody: User) -> None:
    image_id = in_local(everybody)
    asked = [everybody.asked(image_id) for _ in range(20)]
    made = [everybody.settled(volume) for volume in asked]
    assert [volume.status for volume in made] == ["available"] * 20
    only = template(everybody.cloud, image_id)
    logs = [log.read_text(errors="replace") for log in (everybody.cloud.directory / "log").glob("cinder-volume-*.log")]
    assert sum(log.count(f"from image {image_id}: template {only.id} holds the image") for log in logs) == 1
    assert all(f"cloned from template {only.id}" in log for log in logs)
    assert sum(log.count(f"template {only.id}") - 1 for log in logs) >= 19
    for volume in (made[0], made[-1]):
        assert content(everybody.real, volume.id) == (GIB, DATA)


def test_the_next_request_recovers_from_a_creator_that_was_killed(everybody: User) -> None:
    """In the middle of the image, which Glance is still reading."""
    cloud = everybody.cloud
    image_id = in_local(everybody)
    with held_back(cloud, image_id):
        everybody.asked(image_id)
        with the_beginning(cloud, image_id):
            half = template(cloud, image_id)
            assert half.status == "creating"
            victim = maker(cloud, image_id)
            os.kill(cloud.pids[victim], signal.SIGKILL)
    volume = everybody.volume(image_id)
    assert (volume.status, content(everybody.real, volume.id)) == ("available", (GIB, DATA))
    whole = template(cloud, image_id)
    assert f"cloned from new template {whole.id}" in everybody.said(volume)
    assert whole.id != half.id
    restarting.start(cloud, victim)  # which then finds what it was doing, and calls it failed


def maker(cloud: Cloud, image_id: str) -> str:
    """Which cinder-volume makes the template."""
    making = f"from image {image_id}: template: create"
    (found,) = (
        name
        for name in cloud.pids
        if name.startswith("cinder-volume") and making in cloud.log(name).read_text(errors="replace")
    )
    return found
