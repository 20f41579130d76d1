"""What a driver with `ImageCloneMixin` must do as its plan says, a sentence each ([clone], [template])."""
# ruff: noqa: D102, S101

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from cinder.db import api as database

from imagevol_adapters.driver.cloning import Request
from imagevol_adapters.driver.facts import image_facts
from imagevol_adapters.driver.service import CinderService
from imagevol_adapters.driver.templates import Templates
from imagevol_adapters.testing.conformance.driver.backend import DATA, Backend, Content, WithDriver
from imagevol_adapters.testing.conformance.driver.clones import LOGGER, at
from imagevol_adapters.testing.conformance.driver.templates import templates, the_template
from imagevol_core import TemplateSettings, Way

__all__ = ["PlanConformance"]

_REST_SECONDS = 1
_PATIENCE_SECONDS = 60


class PlanConformance(WithDriver):
    """A driver that asks for one plan, and walks its steps."""

    def test_the_whole_plan_is_in_the_log_before_anything_is_tried(
        self, templating: Backend, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger=LOGGER)
        templating.allow_clones()
        image = templating.images.add(DATA)
        source = templating.image_volume(image)
        templating.made(image, at(source))
        plan = f"the plan is: clone-image-volume {source.id}, create-template, copy"
        assert plan in caplog.text
        assert caplog.text.index(plan) < caplog.text.index(f"cloned from image volume {source.id}")

    def test_an_image_in_the_image_cache_of_cinder_is_left_to_cinder_and_gets_no_template(
        self, templating: Backend, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger=LOGGER)
        image = templating.images.add(DATA)
        cached = enter_into_cache(templating, image, image["updated_at"])
        templating.falls_through(templating.cinder.volume(), image)
        assert f"the plan is: clone-cached {cached}, create-template, copy" in caplog.text
        assert templates(templating) == []

    def test_a_stale_volume_in_the_image_cache_of_cinder_keeps_no_template_from_being_made(
        self, templating: Backend
    ) -> None:
        image = templating.images.add(DATA)
        enter_into_cache(templating, image, image["updated_at"] - timedelta(days=1))
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert the_template(templating, image)

    def test_a_cached_volume_that_cinder_would_not_clone_is_passed_over(self, templating: Backend) -> None:
        """Cinder looks at the two that were used last; when both are out of date, it clones no third one."""
        image = templating.images.add(DATA)
        enter_into_cache(templating, image, image["updated_at"])
        for days in (1, 2):
            enter_into_cache(templating, image, image["updated_at"] - timedelta(days=days))
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert the_template(templating, image)

    def test_without_an_internal_tenant_nothing_is_in_the_image_cache(
        self, templating: Backend, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger=LOGGER)
        image = templating.images.add(DATA)
        enter_into_cache(templating, image, image["updated_at"])
        templating.cinder.set("cinder_internal_tenant_user_id", None, section=None)
        templating.falls_through(templating.cinder.volume(), image)
        assert "clone-cached" not in caplog.text

    def test_a_template_that_another_process_makes_is_awaited_for_the_rest_of_the_time_that_it_may_take(
        self, templating: Backend
    ) -> None:
        image = templating.images.add(DATA)
        known = Templates(templating.cinder.volume())
        half = known.create(image_facts(image, None), 1)
        begun = datetime.now(UTC) - TemplateSettings().longest_making + timedelta(seconds=_REST_SECONDS)
        half.update({"created_at": begun})
        half.save()
        locks, answers = templating.driver.imagevol_services().locks, list[Any]()
        waiting = threading.Thread(
            target=lambda: answers.append(templating.clone_image(templating.cinder.volume(), image)), daemon=True
        )
        with locks.held(known.lock_name(image["id"]), wait_seconds=0):
            waiting.start()
            waiting.join(_PATIENCE_SECONDS)
            assert answers == [(None, False)]
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert the_template(templating, image).id != half.id

    def test_what_a_dead_process_has_left_of_another_image_goes_first_by_the_plan_that_makes_a_template(
        self, templating: Backend
    ) -> None:
        image, other = templating.images.add(DATA), templating.images.add(DATA[1:])
        known = Templates(templating.cinder.volume())
        left = known.create(image_facts(other, None), 1)
        request = Request(
            context=templating.cinder.admin,
            volume=templating.cinder.volume(),
            image=image_facts(image, None),
            image_service=None,
        )
        service = CinderService(driver=templating.driver, request=request, holds_lock=True)
        locks = templating.driver.imagevol_services().locks
        assert first_to_go(service) == (left.id,)
        assert first_to_go(attrs.evolve(service, busy=frozenset({left.id}))) == ()
        with locks.held(known.lock_name(other["id"]), wait_seconds=0):
            assert first_to_go(service) == ()


def first_to_go(service: CinderService) -> tuple[str, ...]:
    """Give what the plan removes before it makes the template."""
    (step,) = (step for step in service.gathered().plan().steps if step.way is Way.CREATE_TEMPLATE)
    return step.remove_first


def enter_into_cache(backend: Backend, image: dict[str, Any], updated_at: datetime) -> str:
    """Enter a volume into Cinder's image cache, which is enabled; give its id."""
    backend.cinder.set("image_volume_cache_enabled", True)
    image["updated_at"] = image["updated_at"].replace(microsecond=0)  # Cinder's database keeps seconds
    volume = backend.image_volume(image)
    naive = updated_at.replace(tzinfo=None, microsecond=0)
    database.image_volume_cache_create(backend.cinder.admin, volume.host, None, image["id"], naive, volume.id, 1)
    return str(volume.id)
