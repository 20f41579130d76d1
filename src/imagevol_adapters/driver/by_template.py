"""The steps of a plan that go over a template: clone it, make it first, or wait until another request has made it.

Not in the mixin itself: a driver may have methods of these names.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from cinder import context as cinder_context
from cinder import exception
from cinder.volume.volume_utils import extract_host
from oslo_config import cfg

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.driver.cloning import ModelUpdate, Request, clone, discard
from imagevol_adapters.driver.counting import counts_of
from imagevol_adapters.driver.service import CinderService, settings_of
from imagevol_adapters.driver.services import Services
from imagevol_adapters.driver.templates import Templates, image_of
from imagevol_adapters.engine import Limits
from imagevol_adapters.error_text import one_line
from imagevol_adapters.ports import Device, Lock
from imagevol_adapters.tending.templates import MAKING
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import (
    CreationPlan,
    CreationStep,
    DeadlineExceeded,
    ImagevolError,
    InUse,
    ServiceStalled,
    SourceStalled,
    TemplateAction,
    TransferStalled,
    Way,
)

__all__ = ["TEMPLATE_WAYS", "ByTemplate", "told"]

LOG = logging.getLogger(__name__)

TEMPLATE_WAYS = frozenset({Way.CLONE_TEMPLATE, Way.CREATE_TEMPLATE, Way.AWAIT_TEMPLATE})

_TRIES = 3  # to find a template that stays while it is cloned
_COUNTING_SECONDS = 60  # to count, evict and enter the templates of a backend, which takes milliseconds


@attrs.define(eq=False)
class _Making:
    """A template that this process is making, or is waiting for another process to make."""

    ended: threading.Event = attrs.field(factory=threading.Event)
    succeeded: bool = False


@attrs.define(eq=False)
class _Attempt:
    """The making of one template.

    Attributes:
        template: the volume.
        locked: holds the lock of its image until it is closed.
        hangs: whether a call of the template's device has not returned.
    """

    template: Any
    locked: ExitStack
    hangs: bool = False


_kept: list[ExitStack] = []
"""The locks of templates whose devices hang. This process holds them as long as it runs."""
_makings: dict[str, _Making] = {}
"""By the name of the lock. The requests of a process wait for one of them, and then all go on at once."""
_guard = threading.Lock()


@attrs.frozen(kw_only=True)
class ByTemplate:
    """Carries out the step of a plan that goes over a template.

    Only making and removing a template exclude each other, by the lock of its image. Clones need no lock: a volume
    that is cloned from a template says so, and then the template is not removed. Where it goes all the same, Cinder
    says that it is being deleted: then the clone is not used.

    Facts can change while a lock is awaited or a template is cloned. Then they are gathered again, the same plan is
    asked for again, and its step over a template is carried out in place of the first one.

    Args:
        service: gathers the facts.
    """

    service: CinderService

    @property
    def driver(self) -> Any:
        """The driver of the backend."""
        return self.service.driver

    @property
    def request(self) -> Request:
        """What is asked for."""
        return self.service.request

    @property
    def services(self) -> Services:
        """The operator's locks, and a converter."""
        return self.service.services

    def carried_out(self, step: CreationStep) -> ModelUpdate:
        """Clone the image's template; None where that fails, and then nothing is left of it.

        Args:
            step: of a plan; its way is one of `TEMPLATE_WAYS`.
        """
        try:
            return self._cloned(Templates(self.request.volume), step)
        except DeadlineExceeded as error:
            LOG.warning("%s: no template: another request is still making it: %s", self.request.about, error)
        except (ImagevolError, exception.CinderException) as error:
            LOG.warning("%s: no template: %s", self.request.about, one_line(error))
        except Exception:
            LOG.exception("%s: giving up on the template", self.request.about)
        return None

    def _cloned(self, templates: Templates, step: CreationStep | None) -> ModelUpdate:
        for _ in range(_TRIES):
            if step is None:
                break
            is_new = False
            if step.way is Way.CLONE_TEMPLATE:
                template = self._there(templates, step)
            else:
                template, is_new = self._awaited(templates, step)
                if template is None:
                    break
            if template is not None:
                update, again = self._clone(templates, template, is_new=is_new)
                if update is not None:
                    counts_of(self.driver).created(_taken(step.way, is_new=is_new))
                if update is not None or not again:
                    return update
            step = self._planned("the template is gone or has all its clones")
        return None

    def _there(self, templates: Templates, step: CreationStep) -> Any:
        """Give the template that can be cloned at once; None where it is gone. No lock is needed for that."""
        if step.remove_after:  # they were being cloned when they were superseded
            self._tried("older templates of the image stay", partial(self._tidied, templates, step))
        return templates.get(step.source)

    def _tidied(self, templates: Templates, step: CreationStep) -> None:
        with ExitStack() as locked:
            if self._locked(templates, self.request.image.id, locked):
                self._superseded_removed(templates, step.remove_after)

    def _planned(self, changed: str, service: CinderService | None = None) -> CreationStep | None:
        """Gather again, ask again, and give the step over a template; None where there is none any more."""
        LOG.info("%s: %s: the facts are gathered again, and the plan is made again", self.request.about, changed)
        plan = (service or self.service).gathered().plan()
        told(self.request, plan)
        return template_step(plan)

    def _awaited(self, templates: Templates, step: CreationStep) -> tuple[Any, bool]:
        """Make the template, or wait for another request that makes it; give it, and whether it was made here.

        Which request of this process it is makes no difference: the others do not try again where it fails.
        """
        name = templates.lock_name(self.request.image.id)
        wait_seconds = (step.wait or settings_of(self.driver).templates.longest_making).total_seconds()
        with _guard:
            is_first = name not in _makings
            making = _makings.setdefault(name, _Making())
        if not is_first:
            LOG.info("%s: waits for the template, which another request is making", self.request.about)
            if not making.ended.wait(wait_seconds):
                raise DeadlineExceeded("the template is not there", seconds=wait_seconds)
            if not making.succeeded:
                LOG.info("%s: no template: it could not be made while this volume waited for it", self.request.about)
                return None, False
            made = self._planned("another request has made the template")
            return (templates.get(made.source) if made and made.way is Way.CLONE_TEMPLATE else None), False
        template, is_new = None, False
        try:
            with ExitStack() as locked:
                lock = locked.enter_context(self.services.locks.held(name, wait_seconds=wait_seconds))
                template, is_new = self._made(templates, lock, locked)
                making.succeeded = template is not None
        except ImagevolError as error:
            if template is None:
                raise
            LOG.warning("%s: template %s is ready, but: %s", self.request.about, template.id, error)
        finally:
            with _guard:
                del _makings[name]
            making.ended.set()
        return template, is_new

    def _made(self, templates: Templates, lock: Lock, locked: ExitStack) -> tuple[Any, bool]:
        """Give the template of the image, and whether it was made now; while no other request makes or removes it."""
        with ExitStack() as undo:  # around the lock of the backend, which may be lost when it is given back
            with self.services.locks.held(f"imagevol-templates-{templates.place}", wait_seconds=_COUNTING_SECONDS):
                step = self._with_room(templates)
                if step is None:
                    return None, False
                making = step.way is Way.CREATE_TEMPLATE
                if making:
                    template = templates.create(self.request.image, step.size_gib or 1)
                    attempt = _Attempt(template=template, locked=locked)
                    undo.enter_context(
                        undone_on_failure(f"template {template.id}", partial(self._given_up, templates, attempt))
                    )
                else:
                    template = templates.get(step.source)
            if making:
                self._fill(templates, attempt, lock)
        self._superseded_removed(templates, step.remove_after)
        return template, making

    def _given_up(self, templates: Templates, attempt: _Attempt) -> None:
        """Delete a template that could not be made.

        If a call of its device hangs, Cinder could give its place to another volume before a late write comes. Then
        the template stays, and so does its lock, until this process has ended: the next request deletes it then.

        Raises:
            InUse: it stays.
        """
        if not attempt.hangs:
            templates.remove(attempt.template)
            return
        _kept.append(attempt.locked.pop_all())
        self._tried("other requests wait for it", partial(templates.stall, attempt.template))
        raise InUse("its device hangs; do not delete it before the storage answers and cinder-volume was restarted")

    def _with_room(self, templates: Templates) -> CreationStep | None:
        """Plan under the locks, and make room; what is being cloned or made stays, and then the plan is made again."""
        service = attrs.evolve(self.service, holds_lock=True)
        while True:
            step = self._planned("the lock of the template is held", service)
            there = {volume.id: volume for volume in templates.all()}
            going = [there[volume_id] for volume_id in (step.remove_first if step else ()) if volume_id in there]
            with ExitStack() as locked:
                kept = next((each.id for each in going if not self._may_go(templates, each, locked)), None)
                if kept is None:
                    for each in going:
                        self._removed(templates, each)
                    return step
            LOG.info("%s: template %s is being made or replaced, and stays", self.request.about, kept)
            service = attrs.evolve(service, busy=service.busy | {kept})

    def _removed(self, templates: Templates, template: Any) -> None:
        """Remove a template that goes before another is made; only what makes room is needed for that."""
        about = self.request.about
        if template.status in MAKING and image_of(template) != self.request.image.id:
            LOG.info("%s: template %s was left half made, and goes", about, template.id)
            self._tried(f"template {template.id} stays", partial(self._evicted, templates, template))
            return
        self._evicted(templates, template)
        LOG.info("%s: template %s makes room", about, template.id)

    def _superseded_removed(self, templates: Templates, volume_ids: Sequence[str]) -> None:
        """Remove what a newer template of the image has superseded, unless it is being cloned."""
        going = [each for each in templates.all() if each.id in set(volume_ids)] if volume_ids else []
        being_cloned = templates.being_cloned() if going else frozenset()
        for old in going:
            if old.id in being_cloned:
                LOG.info("%s: template %s is superseded, and stays while it is cloned", self.request.about, old.id)
            else:
                LOG.info("%s: template %s is superseded, and goes", self.request.about, old.id)
                self._tried(f"template {old.id} stays", partial(self._evicted, templates, old))

    def _evicted(self, templates: Templates, template: Any) -> None:
        templates.remove(template)
        counts_of(self.driver).evicted()

    def _clone(self, templates: Templates, template: Any, *, is_new: bool) -> tuple[ModelUpdate, bool]:
        """Clone a template; give what the driver says, and where that is nothing, whether to look for another."""
        self._tried("its last use is not noted", partial(templates.touch, template))
        self._tried("it may be removed meanwhile", partial(templates.reserve, template))
        update, again = None, False
        try:
            update, again = self._clone_that_stays(templates, template, is_new=is_new)
        finally:
            if update is None:
                self._tried("it counts as being cloned until the volume is there", templates.release)
        return update, again

    def _clone_that_stays(self, templates: Templates, template: Any, *, is_new: bool) -> tuple[ModelUpdate, bool]:
        about, exhausted = self.request.about, False

        def retire() -> None:
            nonlocal exhausted
            exhausted = True
            LOG.info("%s: template %s has all the clones that it may: another replaces it", about, template.id)
            self._tried("that is not noted", partial(templates.retire, template))

        what = "new template" if is_new else "template"
        update = clone(self.driver, self.request, template, what, exhausted=retire)
        if exhausted:
            return None, not is_new
        stayed = False
        try:
            stayed = templates.has(template)
        finally:
            if update is not None and not stayed:
                discard(self.driver, self.request)
        if not stayed:
            LOG.info("%s: template %s was removed meanwhile: looking for another", about, template.id)
        return (update if stayed else None), not stayed

    def _tried(self, otherwise: str, action: Callable[[], object]) -> None:
        """Do what is not needed for the volume; where that fails, the next request tries again."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - also one of the database's
            LOG.warning("%s: %s: %s", self.request.about, otherwise, one_line(error))

    def _may_go(self, templates: Templates, other: Any, locked: ExitStack) -> bool:
        image_id = image_of(other)
        return image_id == self.request.image.id or self._locked(templates, image_id, locked)

    def _locked(self, templates: Templates, image_id: str, locked: ExitStack) -> bool:
        """Keep others from making or removing an image's template until `locked` is closed, unless one does now."""
        try:
            locked.enter_context(self.services.locks.held(templates.lock_name(image_id), wait_seconds=0))
        except DeadlineExceeded:
            return False
        return True

    def _fill(self, templates: Templates, attempt: _Attempt, lock: Lock) -> None:
        """Bring the image into a template, and publish it when it is there and the lock was never lost."""
        image, template = self.request.image, attempt.template
        template.update(self.driver.create_volume(template) or {})
        template.save()
        device: Device | None = None
        try:
            opened = self.driver.imagevol_open_volume(cinder_context.get_admin_context(), template, writable=True)
            with counts_of(self.driver).filling(image.size_bytes), opened as device:
                blake3 = fill_device(
                    self._data,
                    device,
                    image=image,
                    converter=self.services.converter,
                    directory=Path(cfg.CONF.image_conversion_dir),
                    suffix=extract_host(template.service_topic_queue),  # Cinder deletes such files when it starts
                    safety=settings_of(self.driver).safety,
                    limits=Limits(stall_seconds=self.driver.configuration.image_clone_stall_seconds),
                )
        except BaseException as error:
            attempt.hangs = _hangs(device, error)
            raise
        lock.ensure_held()
        templates.publish(template, image, blake3=blake3)
        LOG.info("%s: template %s holds the image, %d GiB", self.request.about, template.id, template.size)

    def _data(self, offset: int) -> Iterable[bytes]:
        """Give the image's data from an offset on."""
        context, image_id = self.request.context, self.request.image.id
        if offset:
            return self.services.range_of(context, image_id, offset)
        whole: Iterable[bytes] = self.request.image_service.download(context, image_id)
        return whole


def _hangs(device: Device | None, error: BaseException) -> bool:
    """Whether a call of a device may not have returned: the device tells, or else the error."""
    stalled = isinstance(error, TransferStalled) and not isinstance(error, SourceStalled | ServiceStalled)
    return stalled if device is None else bool(getattr(device, "left_open", stalled))


def _taken(way: Way, *, is_new: bool) -> Way:
    """The way that was taken: a template that the plan creates can be there by then."""
    if is_new:
        return Way.CREATE_TEMPLATE
    return Way.CLONE_TEMPLATE if way is Way.CREATE_TEMPLATE else way


def template_step(plan: CreationPlan) -> CreationStep | None:
    """Give the step of a plan that goes over a template; None if there is none."""
    return next((step for step in plan.steps if step.way in TEMPLATE_WAYS), None)


def told(request: Request, plan: CreationPlan) -> None:
    """Say in the log what was decided of the template."""
    if plan.template.action is TemplateAction.COPY:
        LOG.info("%s: template: copy: %s", request.about, plan.template.because)
    else:
        LOG.info("%s: template: %s: %s", request.about, plan.template.action.value, plan.template.because)
