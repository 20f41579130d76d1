"""What a driver with `ImageCloneMixin` must do for several volumes at once, a sentence each ([template])."""
# ruff: noqa: D102, S101

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from imagevol_adapters.driver.templates import Templates
from imagevol_adapters.testing.conformance.driver.backend import DATA, FELL_THROUGH, Backend, Content, WithDriver
from imagevol_adapters.testing.conformance.driver.clones import ERRORS, LOGGER
from imagevol_adapters.testing.conformance.driver.templates import OTHER, templates, the_template
from imagevol_adapters.testing.conformance.fixtures import write
from imagevol_core import TEMPLATE_KEY

__all__ = ["SideBySideConformance"]

PATIENCE_SECONDS = 60


class SideBySideConformance(WithDriver):
    """A driver, and a template that several volumes are cloned from at the same time."""

    def test_two_clones_of_one_template_are_made_at_the_same_time(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = templating.images.add(DATA)
        templating.made(image)
        meet_in_the_clone(templating, monkeypatch, 2)
        for volume in at_once(templating, [image] * 2):
            assert templating.content(volume) == Content.of(DATA)

    def test_the_volumes_that_waited_for_a_template_are_cloned_at_the_same_time(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = templating.images.add(DATA)
        meet_in_the_clone(templating, monkeypatch, 3)
        for volume in at_once(templating, [image] * 3):
            assert templating.content(volume) == Content.of(DATA)
        assert templating.images.downloads == [image["id"]]

    def test_a_volume_that_waited_for_a_template_that_could_not_be_made_does_not_try_again(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger=LOGGER)
        image = templating.images.add(DATA)
        templating.images.data[image["id"]] = OSError("the connection broke")
        waiting: list[Any] = []
        open_volume = templating.driver.imagevol_open_volume

        def opening(context: Any, volume: Any, *, writable: bool) -> Any:
            if not waiting:
                second = templating.cinder.volume()
                waiting.append(threads.submit(templating.clone_image, second, image))
                until(lambda: f"Volume {second.id} from image {image['id']}: waits for the template" in caplog.text)
            return open_volume(context, volume, writable=writable)

        with monkeypatch.context() as patched, ThreadPoolExecutor() as threads:
            patched.setattr(templating.driver, "imagevol_open_volume", opening)
            assert templating.clone_image(templating.cinder.volume(), image) == FELL_THROUGH
            assert waiting[0].result() == FELL_THROUGH
        assert templating.images.downloads == [image["id"]]
        templating.images.data[image["id"]] = DATA
        assert templating.content(templating.made(image)) == Content.of(DATA)

    @pytest.mark.parametrize("fails", [False, True], ids=["the clone is whole", "the clone fails"])
    def test_a_template_that_is_deleted_while_it_is_cloned_costs_another_try(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch, fails: bool
    ) -> None:
        image = templating.images.add(DATA)
        templating.made(image)
        gone = the_template(templating, image)
        real = templating.driver.create_cloned_volume

        def cloning(volume: Any, source: Any) -> Any:
            update = real(volume, source)
            if source.id == gone.id:
                with templating.driver.imagevol_open_volume(templating.cinder.admin, volume, writable=True) as device:
                    write(device, 0, b"of something half deleted")
                    device.flush()
                Templates(volume).remove(source)
                if fails:
                    raise ERRORS[0]
            return update

        monkeypatch.setattr(templating.driver, "create_cloned_volume", cloning)
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert the_template(templating, image).id != gone.id

    def test_a_template_that_is_being_cloned_is_not_deleted_to_make_room(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        templating.cinder.set("image_template_max_count", 1)
        image, other = templating.images.add(DATA), templating.images.add(OTHER)
        templating.made(image)
        answers: list[Any] = []
        real = templating.driver.create_cloned_volume

        def cloning(volume: Any, source: Any) -> Any:
            if not answers:
                answers.append(None)
                answers[0] = templating.clone_image(templating.cinder.volume(), other)
            return real(volume, source)

        monkeypatch.setattr(templating.driver, "create_cloned_volume", cloning)
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert answers == [FELL_THROUGH]
        assert the_template(templating, image)
        assert templating.content(templating.made(other)) == Content.of(OTHER)
        assert [each.metadata[TEMPLATE_KEY] for each in templates(templating)] == [other["id"]]

    def test_a_superseded_template_that_is_being_cloned_stays_until_the_next_volume(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = templating.images.add(DATA)
        templating.made(image)
        old = the_template(templating, image)
        changed = {**templating.images.add(OTHER), "id": image["id"]}
        newer: list[Any] = []
        real = templating.driver.create_cloned_volume

        def cloning(volume: Any, source: Any) -> Any:
            if not newer:
                newer.append(None)
                newer[0] = templating.made(changed)
            return real(volume, source)

        monkeypatch.setattr(templating.driver, "create_cloned_volume", cloning)
        templating.images.data[image["id"]] = OTHER
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.content(newer[0]) == Content.of(OTHER)
        assert old.id in {template.id for template in templates(templating)}
        assert templating.content(templating.made(changed)) == Content.of(OTHER)
        assert the_template(templating, image).id != old.id


def at_once(backend: Backend, images: Sequence[dict[str, Any]]) -> list[Any]:
    """Give volumes that the driver makes from these images at the same time."""
    with ThreadPoolExecutor(len(images)) as threads:
        return list(threads.map(backend.made, images))


def meet_in_the_clone(backend: Backend, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let no clone go on before this many are being made."""
    real = backend.driver.create_cloned_volume
    barrier = threading.Barrier(number, timeout=PATIENCE_SECONDS)

    def cloning(volume: Any, source: Any) -> Any:
        barrier.wait()
        return real(volume, source)

    monkeypatch.setattr(backend.driver, "create_cloned_volume", cloning)


def until(holds: Callable[[], bool]) -> None:
    """Return as soon as something holds."""
    for _ in range(PATIENCE_SECONDS * 100):
        if holds():
            return
        time.sleep(0.01)
    raise TimeoutError
