"""What a `RepairImages` must do beside what a `LocationService` does, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from imagevol_adapters.repairing import RepairImages
from imagevol_adapters.testing.conformance.fixtures import NOBODY
from imagevol_core import AccessDenied, Image, ResourceNotFound

__all__ = ["RepairImagesConformance"]

_CLOCKS = timedelta(hours=1)  # by which the clocks of Glance and of this host may differ


class RepairImagesConformance:
    """A `RepairImages` with the credentials of an administrator.

    An example::

        class TestMyImages(RepairImagesConformance):
            @pytest.fixture
            def images(self) -> RepairImages:
                return MyGlance()

            @pytest.fixture
            def new_image(self) -> Callable[[str], str]:
                return make
    """

    @pytest.fixture
    def images(self) -> RepairImages:
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def new_image(self) -> Callable[[str], str]:
        """Makes an image in a status, `active` or `queued`, and gives its id."""
        raise NotImplementedError("override this fixture")

    def test_an_active_image_is_deactivated_and_once_more_is_no_error(
        self, images: RepairImages, new_image: Callable[[str], str]
    ) -> None:
        image_id = new_image("active")
        for _ in range(2):
            images.deactivate(image_id)
            assert [image.status for image in images.listed([image_id])] == ["deactivated"]

    def test_an_image_without_data_is_not_deactivated(
        self, images: RepairImages, new_image: Callable[[str], str]
    ) -> None:
        image_id = new_image("queued")
        with pytest.raises(AccessDenied):
            images.deactivate(image_id)
        assert [image.status for image in images.listed([image_id])] == ["queued"]

    def test_an_image_that_is_deleted_is_not_listed_any_more(
        self, images: RepairImages, new_image: Callable[[str], str]
    ) -> None:
        for status in ("active", "queued"):
            image_id = new_image(status)
            images.delete(image_id)
            assert list(images.listed([image_id])) == []
            with pytest.raises(ResourceNotFound):
                images.delete(image_id)

    def test_what_does_not_exist_is_neither_deactivated_nor_deleted(self, images: RepairImages) -> None:
        with pytest.raises(ResourceNotFound):
            images.deactivate(NOBODY)
        with pytest.raises(ResourceNotFound):
            images.delete(NOBODY)

    def test_those_that_changed_since_a_time_are_listed_with_their_locations(
        self, images: RepairImages, new_image: Callable[[str], str]
    ) -> None:
        image_id, now = new_image("active"), datetime.now(UTC)

        def changed(since: datetime) -> list[Image]:
            return [image for image in images.listed(changed_since=since) if image.id == image_id]

        assert changed(now - _CLOCKS) == list(images.listed([image_id]))
        assert changed(now + _CLOCKS) == []
