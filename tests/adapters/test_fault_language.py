"""Each fault does to a call what its name says, whatever the port."""

from __future__ import annotations

from typing import Any

import pytest

from imagevol_adapters.ports import AccessMode
from imagevol_adapters.testing.fault_language import (
    Fault,
    Faults,
    Killed,
    at,
    composed,
    dies,
    dies_after,
    fails,
    first_of,
    late,
    loses_answer,
    old,
    on,
    seeded,
    stalls,
    twice,
)
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import store_image
from imagevol_core import AccessDenied, DeadlineExceeded, ServiceFailed, ServiceUnreachable


@pytest.fixture
def volumes() -> MemoryVolumes:
    return MemoryVolumes()


def create(volumes: MemoryVolumes, fault: Fault) -> Any:
    return Faults(on("volumes.create", fault)).volumes(volumes).create(size_gib=1, name="disk")


@pytest.mark.parametrize(
    "fault, error, made",
    [
        (fails(), ServiceFailed, 0),
        (fails(AccessDenied), AccessDenied, 0),
        (stalls(), DeadlineExceeded, 0),
        (loses_answer(), ServiceUnreachable, 1),
        (composed(twice(), loses_answer()), ServiceUnreachable, 1),
        (composed(loses_answer(), twice()), ServiceUnreachable, 2),
        (dies(), Killed, 0),
        (dies_after(), Killed, 1),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_call_goes_wrong_before_or_after_it_is_done(
    volumes: MemoryVolumes, fault: Fault, error: type[BaseException], made: int
) -> None:
    with pytest.raises(error):
        create(volumes, fault)
    assert len(volumes.volumes) == made


def test_what_is_done_twice_gives_the_second_answer(volumes: MemoryVolumes) -> None:
    answer = create(volumes, twice())
    assert list(volumes.volumes)[1:] == [answer.id]


def test_what_is_given_in_parts_is_done_once() -> None:
    images = MemoryImages(volumes=MemoryVolumes())
    image = images.create(name="image", disk_format="raw")
    Faults(on("*", twice())).images(images).upload(image.id, iter([b"data"]), size_bytes=4)
    assert b"".join(images.read(image.id)) == b"data"


def test_while_an_answer_is_late_others_go_on(volumes: MemoryVolumes) -> None:
    seen: list[int] = []
    assert create(volumes, late(lambda: seen.append(len(volumes.volumes)))).id in volumes.volumes
    assert seen == [1]


def test_an_answer_in_parts_breaks_off_after_the_first() -> None:
    images = MemoryImages(volumes=MemoryVolumes())
    ids = {images.create(name="image", disk_format="raw").id for _ in range(3)}
    faults = Faults(on("glance.listed", loses_answer()))
    listed = faults.port(images, "glance").listed()
    assert next(listed).id in ids
    with pytest.raises(ServiceUnreachable):
        next(listed)


def test_an_old_answer_is_the_first_that_was_given(volumes: MemoryVolumes) -> None:
    volume = volumes.create(size_gib=1, name="disk")
    faults = Faults(first_of(on("volumes.get", old(), nth=1), on("volumes.named", old())))
    watched = faults.volumes(volumes)
    before = watched.get(volume.id)
    volumes.wait(volume.id)
    assert watched.get(volume.id) == before
    assert watched.get(volume.id).status == "available"
    assert watched.named("disk") == ()


def test_an_old_list_is_given_in_parts_as_a_new_one(volumes: MemoryVolumes) -> None:
    images = MemoryImages(volumes=volumes)
    watched = Faults(on("glance.listed", old(), nth=1)).port(images, "glance")
    image = images.create(name="image", disk_format="raw")
    assert list(watched.listed()) == [image]
    images.delete(image.id)
    assert list(watched.listed()) == [image]
    assert list(watched.listed()) == []


def test_a_call_that_changes_something_is_never_old(volumes: MemoryVolumes) -> None:
    assert create(volumes, old()).id in volumes.volumes


def test_a_worker_that_died_makes_no_call_that_would_clean_up(volumes: MemoryVolumes) -> None:
    attacher = MemoryAttacher(volumes=volumes)
    faults = Faults(on("volumes.set_readonly", dies()))
    with pytest.raises(Killed):
        store_image(
            iter([b"data"]),
            image_id="i",
            image_owner="p",
            size_bytes=4,
            volumes=faults.volumes(volumes),
            attacher=faults.attacher(attacher),
        )
    assert faults.dead
    assert len(volumes.volumes) == 1
    assert faults.calls[-1] == "volumes.set_readonly"


def test_a_worker_that_dies_in_an_attachment_leaves_the_device_connected(volumes: MemoryVolumes) -> None:
    attacher = MemoryAttacher(volumes=volumes)
    volume = volumes.wait(volumes.create(size_gib=1, name="disk").id)
    attachment = volumes.attach(volume.id, connector=attacher.connector(), mode=AccessMode.WRITE)
    faults = Faults(on("device.flush", dies()))
    with pytest.raises(Killed), faults.attacher(attacher).open(attachment, mode=AccessMode.WRITE) as device:
        device.flush()
    assert attacher.connected == {attachment.id: volume.id}


def test_a_plan_names_a_call_by_its_number_its_name_or_a_pattern(volumes: MemoryVolumes) -> None:
    for plan in (at(1, fails()), on("volumes.c*", fails(), nth=1), on("volumes.create", fails(), nth=1)):
        watched = Faults(plan).volumes(volumes)
        watched.create(size_gib=1, name="first")
        with pytest.raises(ServiceFailed):
            watched.create(size_gib=1, name="second")
        watched.create(size_gib=1, name="third")


def test_a_seed_brings_the_same_faults_about_again(volumes: MemoryVolumes) -> None:
    def brought(seed: int) -> list[tuple[str, str]]:
        faults = Faults(seeded(seed, [twice(), old()], rate=0.5))
        watched = faults.volumes(volumes)
        for _ in range(20):
            watched.named("disk")
        return faults.brought

    assert brought(1) == brought(1) != brought(2)
    assert 0 < len(brought(1)) < 20


def test_what_comes_before_a_call_sees_it_and_others_may_end_the_worker_there(volumes: MemoryVolumes) -> None:
    seen: list[str] = []

    def before(call: Any) -> None:
        seen.append(call.name)
        faults.dead = len(seen) == 2

    faults = Faults(lambda _: None, before=before)
    watched = faults.volumes(volumes)
    watched.create(size_gib=1, name="first")
    with pytest.raises(Killed):
        watched.create(size_gib=1, name="second")
    assert len(volumes.volumes) == 1
