"""What a `StoreCopyService` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from imagevol_adapters.store_ports import PlacedImage, StoreCopyService
from imagevol_adapters.testing.conformance.fixtures import NOBODY
from imagevol_adapters.waiting import wait_until
from imagevol_core import AccessDenied, RequestRefused, ResourceNotFound

__all__ = ["StoreCopyServiceConformance"]

_TASK = "os_glance_import_task"


class StoreCopyServiceConformance:
    """A `StoreCopyService` whose Glance has two stores, and shows locations.

    Attributes:
        source: the store that the image of each test is in.
        target: another store.
        wait_seconds: how long a copy may take.

    An example::

        class TestMyCopies(StoreCopyServiceConformance):
            @pytest.fixture
            def copies(self) -> StoreCopyService:
                return MyGlance()

            @pytest.fixture
            def image_id(self) -> str:
                return make_an_active_image(store=self.source)
    """

    source: ClassVar[str] = "one"
    target: ClassVar[str] = "two"
    wait_seconds: ClassVar[float] = 60

    @pytest.fixture
    def copies(self) -> StoreCopyService:
        """Give the service."""
        raise NotImplementedError

    @pytest.fixture
    def image_id(self, copies: StoreCopyService) -> str:
        """Give an active image with a few bytes in `source`."""
        raise NotImplementedError

    def _copied(self, copies: StoreCopyService, image_id: str) -> PlacedImage:
        copies.copy_to_store(image_id, self.target)
        return wait_until(
            lambda: self._placed(copies, image_id),
            lambda placed: _TASK not in placed.image.properties,
            what=f"image {image_id} is being copied",
            seconds=self.wait_seconds,
        )

    def _placed(self, copies: StoreCopyService, image_id: str) -> PlacedImage:
        (placed,) = copies.placed([image_id])
        return placed

    def test_an_image_is_placed_in_its_store_with_its_location(self, copies: StoreCopyService, image_id: str) -> None:
        placed = self._placed(copies, image_id)
        assert (placed.image.id, placed.stores, placed.locations_shown) == (image_id, (self.source,), True)
        assert [location.metadata["store"] for location in placed.image.locations] == [self.source]
        assert image_id in [each.image.id for each in copies.placed()]

    def test_an_image_that_there_is_not_is_placed_nowhere(self, copies: StoreCopyService) -> None:
        assert list(copies.placed([])) == list(copies.placed([NOBODY, "no id"])) == []

    def test_it_offers_to_copy_images(self, copies: StoreCopyService) -> None:
        assert "copy-image" in (copies.import_methods() or ())

    def test_an_image_that_was_copied_is_in_both_stores_and_stays_the_same(
        self, copies: StoreCopyService, image_id: str
    ) -> None:
        before, after = self._placed(copies, image_id), self._copied(copies, image_id)
        assert sorted(after.stores) == sorted([self.source, self.target])
        assert before.image.digest is not None
        assert (after.image.digest, after.image.size_bytes, after.image.status) == (
            before.image.digest,
            before.image.size_bytes,
            "active",
        )

    def test_an_image_is_not_copied_to_a_store_that_it_is_in(self, copies: StoreCopyService, image_id: str) -> None:
        with pytest.raises(RequestRefused):
            copies.copy_to_store(image_id, self.source)
        assert self._placed(copies, image_id).stores == (self.source,)

    def test_an_image_is_not_copied_to_a_store_that_there_is_not(self, copies: StoreCopyService, image_id: str) -> None:
        with pytest.raises(RequestRefused):
            copies.copy_to_store(image_id, "nosuch")
        assert self._placed(copies, image_id).stores == (self.source,)

    def test_an_image_that_there_is_not_is_neither_copied_nor_deleted(self, copies: StoreCopyService) -> None:
        with pytest.raises(ResourceNotFound):
            copies.copy_to_store(NOBODY, self.target)
        with pytest.raises(ResourceNotFound):
            copies.delete_from_store(NOBODY, self.target)

    def test_the_data_in_the_only_store_is_not_deleted(self, copies: StoreCopyService, image_id: str) -> None:
        with pytest.raises(AccessDenied):
            copies.delete_from_store(image_id, self.source)
        assert self._placed(copies, image_id).stores == (self.source,)

    def test_the_data_is_deleted_in_one_store_and_stays_in_the_other(
        self, copies: StoreCopyService, image_id: str
    ) -> None:
        self._copied(copies, image_id)
        copies.delete_from_store(image_id, self.source)
        placed = self._placed(copies, image_id)
        assert (placed.stores, len(placed.image.locations)) == ((self.target,), 1)

    def test_only_an_image_that_does_not_exist_is_gone(self, copies: StoreCopyService, image_id: str) -> None:
        assert not copies.is_gone(image_id)
        assert copies.is_gone(NOBODY)

    def test_what_was_changed_since_a_time_is_given(self, copies: StoreCopyService, image_id: str) -> None:
        changed = self._placed(copies, image_id).image.updated_at
        since = changed or datetime(2000, 1, 1, tzinfo=UTC)
        assert image_id in {placed.image.id for placed in copies.changed(since)}
        assert changed is None or list(copies.changed(since + timedelta(days=1))) == []
