"""A service does what it is asked, and its answer is lost: what was created is found, and nothing active loses data."""

from __future__ import annotations

from typing import Any

import pytest

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.tending import Warmer
from imagevol_adapters.testing.fault_language import (
    Call,
    Faults,
    Killed,
    Plan,
    composed,
    dies,
    fails,
    first_of,
    loses_answer,
    old,
    on,
    twice,
)
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import register_clone, register_image
from imagevol_core import (
    AccessDenied,
    ServiceFailed,
    ServiceUnreachable,
    TemplateSettings,
    Volume,
    WarmPool,
    WarmWish,
    parse_location,
)

SETTINGS = TemplateSettings(enabled=True, internal_tenant=True, trusted_projects=frozenset({"internal"}))


class Cloud:
    def __init__(self) -> None:
        self.volumes = MemoryVolumes()
        self.images = MemoryImages(volumes=self.volumes)
        self.attacher = MemoryAttacher(volumes=self.volumes)

    def register(self, plan: Plan, **wishes: Any) -> Faults:
        """Register an image, while calls go wrong; before each call no active image has lost its data."""
        faults = Faults(plan, before=self.look)
        ports: dict[str, Any] = {
            "images": faults.images(self.images),
            "volumes": faults.volumes(self.volumes),
            "attacher": faults.attacher(self.attacher),
        }
        try:
            register_image(iter([b"data"]), name="image", size_bytes=4, **ports, **wishes)
        finally:
            self.look(None)
        return faults

    def look(self, _: Call | None) -> None:
        for image in self.images.images.values():
            for location in image.locations if image.status == "active" else ():
                assert parse_location(location.url).volume_id in self.volumes.volumes


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def test_an_image_whose_creation_was_not_answered_is_found_and_deleted(cloud: Cloud) -> None:
    with pytest.raises(ServiceUnreachable) as raised:
        cloud.register(on("images.create", loses_answer()))
    assert raised.value.leftovers == ()
    assert cloud.images.images == {}


def test_an_image_of_another_request_of_this_process_stays(cloud: Cloud) -> None:
    cloud.register(lambda _: None)
    other = cloud.images.images.copy()
    with pytest.raises(ServiceUnreachable):
        cloud.register(on("images.create", loses_answer()))
    assert cloud.images.images == other


def test_an_image_that_cannot_be_looked_for_is_named(cloud: Cloud) -> None:
    with pytest.raises(ServiceUnreachable) as raised:
        cloud.register(first_of(on("images.create", loses_answer()), on("images.with_properties", fails())))
    assert any("image image" in leftover for leftover in raised.value.leftovers)


@pytest.mark.parametrize("unlisted", [("images.create", "images.with_properties"), ("volumes.create", "volumes.named")])
def test_what_is_not_listed_yet_is_named_if_no_answer_came(cloud: Cloud, unlisted: tuple[str, str]) -> None:
    created, listed = unlisted
    with pytest.raises(ServiceUnreachable) as raised:
        cloud.register(first_of(on(created, loses_answer()), on(listed, old())))
    assert any("has created it (it is not listed" in leftover for leftover in raised.value.leftovers)


def test_nothing_is_named_if_the_service_answered_that_it_failed_and_nothing_is_listed(cloud: Cloud) -> None:
    with pytest.raises(ServiceFailed) as raised:
        cloud.register(on("volumes.create", fails()))
    assert raised.value.leftovers == ()


def test_an_image_that_can_have_no_mark_is_named(cloud: Cloud) -> None:
    refused = first_of(on("images.create", fails(AccessDenied), nth=0), on("images.create", loses_answer(), nth=1))
    with pytest.raises(ServiceUnreachable) as raised:
        cloud.register(refused)
    assert any("image image" in leftover for leftover in raised.value.leftovers)


def test_an_image_that_was_registered_has_no_mark_left(cloud: Cloud) -> None:
    cloud.register(lambda _: None, attributes=ImageAttributes(properties={"os_distro": "debian"}))
    (image,) = cloud.images.images.values()
    assert image.properties == {"os_distro": "debian"}


def test_an_image_whose_registration_was_not_answered_goes_before_its_data(cloud: Cloud) -> None:
    with pytest.raises(ServiceUnreachable) as raised:
        cloud.register(on("images.add_location", loses_answer()))
    assert raised.value.leftovers == ()
    assert (cloud.images.images, cloud.volumes.volumes) == ({}, {})


def test_an_active_image_that_cannot_be_deleted_keeps_its_data_and_both_are_named(cloud: Cloud) -> None:
    plan = first_of(on("images.add_location", loses_answer()), on("images.delete", fails()))
    with pytest.raises(ServiceUnreachable) as raised:
        cloud.register(plan)
    (image_id,), (volume_id,) = cloud.images.images, cloud.volumes.volumes
    named = " ".join(raised.value.leftovers)
    assert image_id in named
    assert volume_id in named


@pytest.mark.parametrize("killed_at", ["images.delete", "volumes.delete"])
def test_no_active_image_loses_its_data_if_the_process_is_killed_while_it_cleans_up(
    cloud: Cloud, killed_at: str
) -> None:
    with pytest.raises((ServiceUnreachable, Killed)):
        cloud.register(first_of(on("images.add_location", loses_answer()), on(killed_at, dies())))


@pytest.mark.parametrize("fault", [loses_answer(), composed(loses_answer(), twice())], ids=lambda fault: fault.name)
def test_a_temporary_volume_of_warming_whose_creation_was_not_answered_is_found_and_deleted(
    cloud: Cloud, fault: Any
) -> None:
    image = cloud.images.create(name="image", disk_format="raw")
    cloud.images.upload(image.id, [b"data"], size_bytes=4)
    other = cloud.volumes.create(size_gib=1, name=f"warm-{image.id}")
    target = Volume(id="-", size_gib=1, project_id="memory", volume_type="memory", encrypted=False)
    pool = WarmPool(name=cloud.volumes.host, template_settings=SETTINGS)
    faults = Faults(on("volumes.create", fault))
    warmer = Warmer(
        volumes=faults.port(cloud.volumes, "volumes"),
        images=cloud.images,
        internal_tenant="internal",
        wait_seconds=0,
    )
    wish = WarmWish(image=cloud.images.get(image.id), target=target, pools=(pool,), requester_reads=True)
    planned = warmer.planned([wish])
    (warmed,) = warmer.warmed(planned, jobs=1)
    assert faults.brought, planned
    assert warmed.state.value == "failed"
    assert list(cloud.volumes.volumes) == [other.id]


def test_all_that_a_repeated_request_created_is_deleted_also_if_one_cannot_be(cloud: Cloud) -> None:
    plan = first_of(on("volumes.create", composed(loses_answer(), twice())), on("volumes.delete", fails(), nth=0))
    with pytest.raises(ServiceUnreachable) as raised:
        cloud.register(plan)
    (left,) = cloud.volumes.volumes
    assert [leftover for leftover in raised.value.leftovers if left in leftover]


def test_all_clones_that_a_repeated_request_made_are_deleted_also_if_one_cannot_be(cloud: Cloud) -> None:
    volume = cloud.volumes.wait(cloud.volumes.create(size_gib=1, name="disk").id)
    image = cloud.images.create(name="image", disk_format="raw")
    faults = Faults(
        first_of(
            on("volumes.clone", composed(loses_answer(), twice())),
            on("volumes.delete", fails(), nth=0),
            on("images.upload", fails()),
        )
    )
    with pytest.raises(ServiceFailed) as raised:
        register_clone(
            volume.id,
            image_id=image.id,
            images=faults.images(cloud.images),
            volumes=faults.volumes(cloud.volumes),
            attacher=faults.attacher(cloud.attacher),
        )
    (left,) = cloud.volumes.volumes.keys() - {volume.id}
    assert [leftover for leftover in raised.value.leftovers if left in leftover]


def test_an_error_of_the_program_is_no_answer_either(cloud: Cloud) -> None:
    """An interrupt at the creation of the image leaves none."""
    with pytest.raises(KeyboardInterrupt):
        cloud.register(on("images.create", loses_answer(KeyboardInterrupt)))
    assert cloud.images.images == {}
