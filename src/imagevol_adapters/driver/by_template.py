"""A new volume that is cloned from its image's template, which is made if it must be ([template]).

Not in the mixin itself: a driver may have methods of these names.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from cinder import context as cinder_context
from cinder import exception
from oslo_config import cfg

from imagevol_adapters.backend_options import safety_settings
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.driver.facts import volume_facts
from imagevol_adapters.driver.services import Services
from imagevol_adapters.driver.templates import Templates, removable, template_facts
from imagevol_adapters.error_text import one_line
from imagevol_adapters.ports import Lock
from imagevol_adapters.templates import MAKING, template_of
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import (
    TEMPLATE_KEY,
    CacheEntry,
    DeadlineExceeded,
    Image,
    ImagevolError,
    Template,
    TemplateAction,
    TemplateDecision,
    TemplateSettings,
    decide_template,
)

__all__ = ["ByTemplate", "ModelUpdate", "Request", "clone"]

LOG = logging.getLogger(__name__)

ModelUpdate = dict[str, Any] | None

_TRIES = 3  # to find a template that stays while it is cloned
_COUNTING_SECONDS = 60  # to count, evict and enter the templates of a backend, which takes milliseconds


@attrs.frozen(kw_only=True)
class Request:
    """One call of `clone_image`, and whether Glance gave the requester the image's data; None if it was not asked."""

    context: Any
    volume: Any
    image: Image
    image_service: Any
    requester_reads: bool | None = None

    @property
    def about(self) -> str:
        """Begins a line of the log."""
        return f"Volume {self.volume.id} from image {self.image.id}"


def clone(
    driver: Any, request: Request, source: Any, what: str, *, exhausted: Callable[[], object] = lambda: None
) -> ModelUpdate:
    """Clone a volume; None where that fails, and then nothing is left of it.

    Args:
        driver: of the backend.
        request: what is asked for.
        source: of what.
        what: names the source in the log.
        exhausted: called where the storage allows no more clones of the source.
    """
    try:
        update = driver.create_cloned_volume(request.volume, source)
    except Exception as error:  # noqa: BLE001 - drivers raise what they like, and there are other ways
        LOG.warning("%s: cloning %s %s failed: %s", request.about, what, source.id, one_line(error))
        discard(driver, request)
        if isinstance(error, exception.SnapshotLimitReached):
            exhausted()
        return None
    LOG.info("%s: cloned from %s %s", request.about, what, source.id)
    return dict(update or {})


def discard(driver: Any, request: Request) -> None:
    """Delete what there is of a clone that is not used."""
    try:
        driver.delete_volume(request.volume)
    except Exception as failure:  # noqa: BLE001 - the next way says what is wrong with it
        LOG.warning("%s: what is left of that clone could not be deleted: %s", request.about, one_line(failure))


@attrs.define(eq=False)
class _Making:
    """A template that this process is making, or is waiting for another process to make."""

    ended: threading.Event = attrs.field(factory=threading.Event)
    succeeded: bool = False


_makings: dict[str, _Making] = {}
"""By the name of the lock. The requests of a process wait for one of them, and then all go on at once."""
_guard = threading.Lock()


@attrs.frozen(kw_only=True)
class ByTemplate:
    """The way over a template.

    Only making and removing a template exclude each other, by the lock of its image. Clones need no lock: a volume
    that is cloned from a template says so, and then the template is not removed. Where it goes all the same, Cinder
    says that it is being deleted: then the clone is not used, and the template is looked for again.

    Args:
        driver: of the backend.
        request: what is asked for.
        settings: what the operator allows.
        services: the operator's locks, and a converter.
    """

    driver: Any
    request: Request
    settings: TemplateSettings
    services: Services

    def made(self) -> ModelUpdate:
        """Clone the image's template, which is made first if there is none."""
        try:
            return self._cloned(Templates(self.request.volume))
        except DeadlineExceeded as error:
            LOG.warning("%s: no template: another request is still making it: %s", self.request.about, error)
        except (ImagevolError, exception.CinderException) as error:
            LOG.warning("%s: no template: %s", self.request.about, one_line(error))
        except Exception:
            LOG.exception("%s: no more is done about its template", self.request.about)
        return None

    def _cloned(self, templates: Templates) -> ModelUpdate:
        for _ in range(_TRIES):
            template, is_new = self._ready(templates), False
            if template is None:
                template, is_new = self._awaited(templates)
            if template is None:
                break
            update, again = self._clone(templates, template, is_new=is_new)
            if update is not None or not again:
                return update
        return None

    def _ready(self, templates: Templates) -> Any:
        """Give the template that can be cloned at once; None where there is none. No lock is needed for that."""
        present, *superseded = templates.of(self.request.image.id) or [None]
        if present is None:
            return None
        decision = self._decide(template_of(volume_facts(present), now=datetime.now(UTC)))
        if decision.action is not TemplateAction.USE:
            return None
        self._told(decision)
        if superseded:  # and were being cloned when they were
            self._tried("older templates of the image stay", partial(self._tidied, templates))
        return present

    def _tidied(self, templates: Templates) -> None:
        with ExitStack() as locked:
            if self._locked(templates, self.request.image.id, locked):
                self._superseded_removed(templates, templates.of(self.request.image.id)[1:])

    def _awaited(self, templates: Templates) -> tuple[Any, bool]:
        """Make the template, or wait for another request that makes it; give it, and whether it was made here.

        Which request of this process it is makes no difference: the others do not try again where it fails.
        """
        name, wait_seconds = _lock_name(templates, self.request.image.id), self.settings.longest_making.total_seconds()
        with _guard:
            is_first = name not in _makings
            making = _makings.setdefault(name, _Making())
        if not is_first:
            LOG.info("%s: waits for the template, which another request is making", self.request.about)
            if not making.ended.wait(wait_seconds):
                raise DeadlineExceeded("the template is not there", seconds=wait_seconds)
            if making.succeeded:
                return self._ready(templates), False
            LOG.info("%s: no template: it could not be made while this volume waited for it", self.request.about)
            return None, False
        template, is_new = None, False
        try:
            with self.services.locks.held(name, wait_seconds=wait_seconds) as lock:
                template, is_new = self._made(templates, lock)
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

    def _made(self, templates: Templates, lock: Lock) -> tuple[Any, bool]:
        """Give the template of the image, and whether it was made now; while no other request makes or removes it."""
        with ExitStack() as undo:  # around the lock of the backend, which may be lost when it is given back
            with self.services.locks.held(f"imagevol-templates-{templates.place}", wait_seconds=_COUNTING_SECONDS):
                of_image, others = templates.of(self.request.image.id), self._living_others(templates)
                present, superseded = next(iter(of_image), None), of_image[1:]
                decision = self._admitted(templates, present, others | {old.id: old for old in superseded})
                making = decision.action in (TemplateAction.CREATE, TemplateAction.REPLACE)
                template: Any = present
                if making:
                    template = templates.create(self.request.image, decision.size_gib or 1)
                    undo.enter_context(
                        undone_on_failure(f"template {template.id}", partial(templates.remove, template))
                    )
            if making:
                self._fill(templates, template, lock)
        if making:
            superseded += [present] if decision.remove_after else []
        elif decision.action is not TemplateAction.USE:
            return None, False
        self._superseded_removed(templates, superseded)
        return template, making

    def _superseded_removed(self, templates: Templates, superseded: Iterable[Any]) -> None:
        """Remove what a newer template of the image has superseded, unless it is being cloned."""
        being_cloned = templates.being_cloned() if superseded else ()
        for old in superseded:
            if old.id in being_cloned:
                LOG.info("%s: template %s is superseded, and stays while it is cloned", self.request.about, old.id)
            else:
                LOG.info("%s: template %s is superseded, and goes", self.request.about, old.id)
                self._tried(f"template {old.id} stays", partial(templates.remove, old))

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

    def _living_others(self, templates: Templates) -> dict[str, Any]:
        """Give the templates of other images, when what their makers have left that died is removed."""
        others = templates.others(self.request.image.id)
        for other in [each for each in others.values() if each.status in MAKING]:
            with ExitStack() as locked:  # that of its image, which its maker holds
                if self._locked(templates, _image_of(other), locked):
                    LOG.info("%s: template %s: its maker is gone, and so it goes", self.request.about, other.id)
                    self._tried(f"template {other.id} stays", partial(templates.remove, other))
                    others = templates.others(self.request.image.id)
        return others

    def _admitted(self, templates: Templates, present: Any, others: Mapping[str, Any]) -> TemplateDecision:
        """Decide, and make room; what is being cloned or made stays, and then the next one goes, or none."""
        busy, now = templates.being_cloned(), datetime.now(UTC)
        while True:
            entries = [
                replace(template_facts(other, now=now).entry, in_use=other.id in busy or not removable(other))
                for other in others.values()
            ]
            decision = self._decide(present and template_facts(present, now=now), entries)
            going = [others[volume_id] for volume_id in decision.remove_first if volume_id in others]
            with ExitStack() as locked:
                kept = next((other.id for other in going if not self._may_go(templates, other, locked)), None)
                if kept is None:
                    for other in going:
                        templates.remove(other)
                        LOG.info("%s: template %s makes room", self.request.about, other.id)
                    break
            LOG.info("%s: template %s is being made or replaced, and stays", self.request.about, kept)
            busy |= {kept}
        self._told(decision)
        if present is not None and present.id in decision.remove_first:  # what a dead maker left
            templates.remove(present)
        return decision

    def _tried(self, otherwise: str, action: Callable[[], object]) -> None:
        """Do what is not needed for the volume; where that fails, the next request tries again."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - also one of the database's
            LOG.warning("%s: %s: %s", self.request.about, otherwise, one_line(error))

    def _may_go(self, templates: Templates, other: Any, locked: ExitStack) -> bool:
        image_id = _image_of(other)
        return image_id == self.request.image.id or self._locked(templates, image_id, locked)

    def _locked(self, templates: Templates, image_id: str, locked: ExitStack) -> bool:
        """Keep others from making or removing an image's template until `locked` is closed, unless one does now."""
        try:
            locked.enter_context(self.services.locks.held(_lock_name(templates, image_id), wait_seconds=0))
        except DeadlineExceeded:
            return False
        return True

    def _decide(self, template: Template | None, others: Iterable[CacheEntry] = ()) -> TemplateDecision:
        """Ask the core, for what there is now."""
        return decide_template(
            self.request.image,
            target=volume_facts(self.request.volume),
            template=template,
            settings=self.settings,
            others=others,
            requester_reads=self.request.requester_reads,
        )

    def _told(self, decision: TemplateDecision) -> None:
        LOG.info("%s: template: %s: %s", self.request.about, decision.action.value, decision.because)

    def _fill(self, templates: Templates, template: Any, lock: Lock) -> None:
        """Bring the image into a template, and publish it when it is there and the lock was never lost."""
        admin = cinder_context.get_admin_context()
        image = self.request.image
        template.update(self.driver.create_volume(template) or {})
        template.save()
        with self.driver.imagevol_open_volume(admin, template, writable=True) as device:
            fill_device(
                self._downloaded(),
                device,
                image=image,
                converter=self.services.converter,
                directory=Path(cfg.CONF.image_conversion_dir),
                safety=safety_settings(self.driver.configuration),
            )
        lock.ensure_held()
        templates.publish(template, image)
        LOG.info("%s: template %s holds the image, %d GiB", self.request.about, template.id, template.size)

    def _downloaded(self) -> Iterable[bytes]:
        chunks: Iterable[bytes] = self.request.image_service.download(self.request.context, self.request.image.id)
        return chunks


def _image_of(template: Any) -> str:
    return str(template.metadata[TEMPLATE_KEY])


def _lock_name(templates: Templates, image_id: str) -> str:
    return f"imagevol-template-{templates.place}-{image_id}"
