"""What a `LocationService` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import pytest

from imagevol_adapters.ports import AccessMode
from imagevol_adapters.relocating import LocationService, VolumeHolder
from imagevol_adapters.testing.conformance.fixtures import NOBODY
from imagevol_adapters.waiting import wait_until
from imagevol_core import HOLD, AccessDenied, Image, ImageLocation, RequestRefused, ResourceNotFound, ServiceFailed

__all__ = ["HISTORIES", "STORES", "History", "LocationServiceConformance"]

STORES: Mapping[str, str] = {"fast": "fast", "fast2": "fast2", "twin": "twin", "twin2": "twin"}
"""The stores that the Glance of the suite has, in this order, each with the type of its volumes."""


class History(NamedTuple):
    """An image as an operator finds it.

    Attributes:
        volume_type: of the volume that has its data.
        saved: the URL and the store of each location as it is saved, `V` for the id of the volume.
        shown: what becomes of them when the image is shown; None where they stay.
        overruled: the same with the driver of glance_store, where that is different.
    """

    volume_type: str
    saved: tuple[tuple[str, str | None], ...]
    shown: tuple[tuple[str, str | None], ...] | None = None
    overruled: tuple[tuple[str, str | None], ...] | None = None


HISTORIES: Mapping[str, History] = {
    "from one store": History("fast", (("cinder://V", None),), (("cinder://fast/V", "fast"),)),
    "from one store, of a store whose name begins with another's": History(
        "fast2", (("cinder://V", None),), (("cinder://fast2/V", "fast2"),), (("cinder://fast2/V", "fast"),)
    ),
    "from one store, of a type of no store": History("lonely", (("cinder://V", None),)),
    "from one store, of a type of two stores": History("twin", (("cinder://V", None),), (("cinder://twin/V", "twin"),)),
    "of a store that was renamed": History("fast", (("cinder://old/V", "old"),), (("cinder://fast/V", "fast"),)),
    "of a store that was retired": History("lonely", (("cinder://old/V", "old"),)),
    "without a store, of a type of no store": History(
        "lonely", (("cinder://fast/V", None),), (("cinder://fast/V", "fast"),)
    ),
    "retyped, with its store": History("fast2", (("cinder://twin/V", "twin"),)),
    "retyped, without a store": History("twin", (("cinder://fast/V", None),), (("cinder://twin/V", "twin"),)),
    "the URL names another store than the metadata": History("fast", (("cinder://twin/V", "fast"),)),
    "in order": History("fast", (("cinder://fast/V", "fast"),)),
    "two locations, one of them old": History(
        "fast",
        (("cinder://twin/V", "twin"), ("cinder://V", None)),
        (("cinder://twin/V", "twin"), ("cinder://fast/V", "fast")),
    ),
}
_CHANGED: Mapping[str, History] = {
    name: History("fast", saved)
    for name, saved in {
        "queued": (),
        "added to": (("cinder://fast/V", "fast"),),
        "added in front": (("cinder://fast/V", "fast"), ("cinder://twin/V", "twin")),
        "replaced": (("cinder://fast/V", "fast"),),
        "refused": (("cinder://fast/V", "fast"), ("cinder://twin/V", "twin")),
        "the last": (("cinder://fast/V", "fast"),),
        "removed": (("cinder://fast/V", "fast"), ("cinder://twin/V", "twin")),
        "reserved": (("cinder://fast/V", "fast"), ("cinder://twin/V", "twin")),
        "held": (("cinder://fast/V", "fast"), ("cinder://twin/V", "twin")),
        "old, and changed": (("cinder://V", None),),
    }.items()
}


class LocationServiceConformance:
    """A `LocationService` whose Glance has `STORES`, with images that are older than these.

    Before the tests, each image of `images_needed` is made, with its locations saved as the history says, and with a
    volume of 1 GiB whose `image_size` says so.  A Glance with one store takes any `cinder://` URL and any metadata, and
    keeps them; then it is given the stores.

    Attributes:
        driver: the store driver, `imagevol` or `cinder`, which is glance_store's.
        images_needed: the histories of all images, by name.
        wait_seconds: how long a volume may take to be deleted: Glance deletes in the background.

    An example::

        class TestMyLocations(LocationServiceConformance):
            @pytest.fixture
            def locations(self) -> LocationService:
                return MyGlance()

            @pytest.fixture
            def volumes(self) -> VolumeHolder:
                return MyVolumes()

            @pytest.fixture
            def image_ids(self) -> Mapping[str, str]:
                return {name: make(history) for name, history in self.images_needed.items()}
    """

    driver: ClassVar[str] = "imagevol"
    wait_seconds: ClassVar[float] = 60
    images_needed: ClassVar[Mapping[str, History]] = {**HISTORIES, **_CHANGED}

    @pytest.fixture
    def locations(self) -> LocationService:
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def volumes(self) -> VolumeHolder:
        """Cinder, with credentials that see the volumes of the images."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def image_ids(self) -> Mapping[str, str]:
        """The id of the image of each history."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def hiding(self, locations: LocationService) -> LocationService:
        """The same Glance while it shows no locations, which `show_multiple_locations` decides."""
        raise NotImplementedError("override this fixture")

    @pytest.mark.parametrize("name", HISTORIES)
    def test_a_list_shows_locations_as_they_are_saved_and_showing_the_image_migrates_them(
        self, locations: LocationService, image_ids: Mapping[str, str], name: str
    ) -> None:
        history = HISTORIES[name]
        before = saved(locations, image_ids[name])
        volume_id = before.locations[0].url[-36:]
        assert before.locations == places(history.saved, volume_id)
        assert saved(locations, image_ids[name]) == before
        overruled = history.overruled if self.driver == "cinder" else None
        expected = places(overruled or history.shown or history.saved, volume_id)
        assert locations.get(image_ids[name]).locations == expected
        after = saved(locations, image_ids[name])
        assert after.locations == expected
        assert (after.updated_at == before.updated_at) is (history.shown is None)
        assert locations.get(image_ids[name]) == after

    def test_all_images_are_listed_or_those_of_the_given_ids_that_exist(
        self, locations: LocationService, image_ids: Mapping[str, str]
    ) -> None:
        assert set(image_ids.values()) <= {image.id for image in locations.listed()}
        some = [image_ids["in order"], image_ids["added to"]]
        assert {image.id for image in locations.listed([*some, NOBODY, "no-id-at-all", ".."])} == {*some}
        assert list(locations.listed([NOBODY])) == list(locations.listed([])) == []

    def test_an_image_that_does_not_exist_is_not_found(self, locations: LocationService) -> None:
        with pytest.raises(ResourceNotFound):
            locations.get(NOBODY)
        with pytest.raises(ResourceNotFound):
            locations.change_locations(NOBODY, [{"op": "remove", "path": "/locations/0"}])

    def test_a_queued_image_becomes_active_with_its_first_location(
        self, locations: LocationService, image_ids: Mapping[str, str]
    ) -> None:
        image_id, volume_id = image_ids["queued"], _volume_id(locations, image_ids["in order"])
        assert (saved(locations, image_id).status, saved(locations, image_id).locations) == ("queued", ())
        for refused in ("remove", "odd"):
            with pytest.raises(RequestRefused):
                locations.change_locations(image_id, [{"op": refused, "path": "/locations/0"}])
        locations.change_locations(image_id, [_add(f"cinder://{volume_id}", {})])
        image = saved(locations, image_id)
        assert (image.status, image.size_bytes) == ("active", 1 << 30)
        assert image.locations == places((("cinder://fast/V", "fast"),), volume_id)

    def test_an_added_location_is_of_the_store_of_its_volume_whatever_it_says(
        self, locations: LocationService, image_ids: Mapping[str, str]
    ) -> None:
        image_id = image_ids["added to"]
        volume_id = _volume_id(locations, image_id)
        for number, url in enumerate(("cinder://V", "cinder://old/V", "cinder://twin2/V", "cinder://fast2/V")):
            sent = {"store": "twin2", "number": str(number)}
            locations.change_locations(image_id, [_add(url.replace("V", volume_id), sent)])
            added = ImageLocation(f"cinder://fast/{volume_id}", {**sent, "store": "fast"})
            assert saved(locations, image_id).locations[-1] == added

    def test_a_location_that_is_added_in_front_comes_last(
        self, locations: LocationService, image_ids: Mapping[str, str]
    ) -> None:
        there = saved(locations, image_ids["added in front"]).locations
        added = ImageLocation(there[0].url, {"store": "fast", "number": "first"})
        locations.change_locations(image_ids["added in front"], [_add(added.url, added.metadata, at="0")])
        assert saved(locations, image_ids["added in front"]).locations == (*there, added)

    def test_metadata_is_replaced_where_the_urls_stay_and_nothing_is_deleted(
        self, locations: LocationService, volumes: VolumeHolder, image_ids: Mapping[str, str]
    ) -> None:
        image_id = image_ids["replaced"]
        volume_id = _volume_id(locations, image_id)
        sent = [{"url": f"cinder://old/{volume_id}", "metadata": {"store": "twin", "new": "yes"}}]
        locations.change_locations(image_id, [{"op": "replace", "path": "/locations", "value": sent}])
        expected = ImageLocation(f"cinder://fast/{volume_id}", {"store": "fast", "new": "yes"})
        assert saved(locations, image_id).locations == (expected,)
        assert [volume.status for volume in volumes.find([volume_id])] == ["available"]

    def test_a_change_that_is_refused_changes_nothing(
        self, locations: LocationService, volumes: VolumeHolder, image_ids: Mapping[str, str]
    ) -> None:
        image_id = image_ids["refused"]
        before = saved(locations, image_id)
        volume_id = before.locations[0].url[-36:]
        for operation in (
            _add(before.locations[0].url, before.locations[0].metadata),
            _add(f"cinder://fast/{NOBODY}", {"store": "fast"}),
            _add("cinder://fast/no-id-at-all", {"store": "fast"}),
            _add("file:///etc/passwd", {"store": "local"}),
            _add("unknown://somewhere", {}),
            _add(f"cinder://fast/{volume_id}", {"store": "fast", "x": "y"}, at="first"),
            {"op": "remove", "path": "/locations/2"},
            {"op": "remove", "path": "/locations/first"},
            {"op": "replace", "path": "/locations", "value": [_sent(before.locations[0])]},
            {"op": "odd", "path": "/locations/0"},
        ):
            with pytest.raises(RequestRefused):
                locations.change_locations(image_id, [operation])
            assert saved(locations, image_id) == before, operation
        with pytest.raises(AccessDenied):
            locations.change_locations(image_id, [{"op": "replace", "path": "/locations", "value": []}])
        assert saved(locations, image_id) == before
        assert volumes.find([volume_id])

    def test_the_last_location_is_not_removed(
        self, locations: LocationService, volumes: VolumeHolder, image_ids: Mapping[str, str]
    ) -> None:
        before = saved(locations, image_ids["the last"])
        with pytest.raises(AccessDenied):
            locations.change_locations(before.id, [{"op": "remove", "path": "/locations/0"}])
        assert saved(locations, before.id) == before
        assert volumes.find([before.locations[0].url[-36:]])

    def test_a_removed_location_takes_its_volume_with_it_also_if_another_location_names_it(
        self, locations: LocationService, volumes: VolumeHolder, image_ids: Mapping[str, str]
    ) -> None:
        image_id = image_ids["removed"]
        kept, removed = saved(locations, image_id).locations
        locations.change_locations(image_id, [{"op": "remove", "path": "/locations/1"}])
        assert saved(locations, image_id).locations == (kept,)
        wait_until(
            lambda: [volume.status for volume in volumes.find([removed.url[-36:]])],
            lambda statuses: not statuses,
            what="the volume is not deleted",
            seconds=self.wait_seconds,
        )

    def test_the_volume_of_a_location_that_is_reserved_stays_and_the_location_too(
        self, locations: LocationService, volumes: VolumeHolder, image_ids: Mapping[str, str]
    ) -> None:
        before = saved(locations, image_ids["reserved"])
        volume_id = before.locations[0].url[-36:]
        reservation = volumes.reserve(volume_id, mode=AccessMode.READ)
        try:
            with pytest.raises(ServiceFailed):
                locations.change_locations(before.id, [{"op": "remove", "path": "/locations/1"}])
            assert saved(locations, before.id) == before
            assert volumes.find([volume_id])
        finally:
            volumes.detach(reservation)

    def test_the_driver_of_this_library_deletes_no_volume_that_is_held(
        self, locations: LocationService, volumes: VolumeHolder, image_ids: Mapping[str, str]
    ) -> None:
        if self.driver != "imagevol":
            pytest.skip("only the driver of this library looks whether a volume is held")
        image_id = image_ids["held"]
        kept, removed = saved(locations, image_id).locations
        volume_id = removed.url[-36:]
        volumes.set_metadata(volume_id, {HOLD: "a move"})
        try:
            locations.change_locations(image_id, [{"op": "remove", "path": "/locations/1"}])
            assert saved(locations, image_id).locations == (kept,)
            assert [volume.metadata.get(HOLD) for volume in volumes.find([volume_id])] == ["a move"]
        finally:
            volumes.unset_metadata(volume_id, [HOLD])

    def test_old_locations_are_migrated_before_they_are_changed(
        self, locations: LocationService, image_ids: Mapping[str, str]
    ) -> None:
        image_id = image_ids["old, and changed"]
        volume_id = _volume_id(locations, image_id)
        old = [{"url": f"cinder://{volume_id}", "metadata": {"x": "y"}}]
        locations.change_locations(image_id, [{"op": "replace", "path": "/locations", "value": old}])
        expected = ImageLocation(f"cinder://fast/{volume_id}", {"x": "y", "store": "fast"})
        assert saved(locations, image_id).locations == (expected,)

    def test_a_glance_that_shows_no_locations_lists_none_and_changes_none(
        self, hiding: LocationService, image_ids: Mapping[str, str]
    ) -> None:
        with pytest.raises(AccessDenied):
            list(hiding.listed([image_ids["in order"]]))
        for operation in (
            _add(f"cinder://fast/{NOBODY}", {"store": "fast"}),
            {"op": "remove", "path": "/locations/0"},
            {"op": "replace", "path": "/locations", "value": [{"url": f"cinder://{NOBODY}", "metadata": {}}]},
        ):
            with pytest.raises(AccessDenied):
                hiding.change_locations(image_ids["in order"], [operation])


def saved(locations: LocationService, image_id: str) -> Image:
    """Give the image as it is saved, by the list, which changes nothing."""
    (image,) = locations.listed([image_id])
    return image


def places(of: Sequence[tuple[str, str | None]], volume_id: str) -> tuple[ImageLocation, ...]:
    """Give the locations of a history."""
    return tuple(ImageLocation(url.replace("V", volume_id), {"store": store} if store else {}) for url, store in of)


def _volume_id(locations: LocationService, image_id: str) -> str:
    return saved(locations, image_id).locations[0].url[-36:]


def _sent(location: ImageLocation) -> dict[str, Any]:
    return {"url": location.url, "metadata": dict(location.metadata)}


def _add(url: str, metadata: Mapping[str, str], *, at: str = "-") -> dict[str, Any]:
    return {"op": "add", "path": f"/locations/{at}", "value": {"url": url, "metadata": dict(metadata)}}
