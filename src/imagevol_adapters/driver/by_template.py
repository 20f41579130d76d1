"""A new volume that is cloned from its image's template, which is made if it must be ([template]).

Not in the mixin itself: a driver may have methods of these names.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from cinder import context as cinder_context
from cinder import exception
from oslo_config import cfg

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.driver.facts import volume_facts
from imagevol_adapters.driver.services import Services
from imagevol_adapters.driver.templates import Templates, removable, template_facts
from imagevol_adapters.error_text import one_line
from imagevol_adapters.ports import Lock
from imagevol_adapters.templates import MAKING
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import (
    DeadlineExceeded,
    Image,
    ImagevolError,
    TemplateAction,
    TemplateDecision,
    TemplateSettings,
    decide_template,
)

__all__ = ["ByTemplate", "ModelUpdate", "Request", "clone"]

LOG = logging.getLogger(__name__)

ModelUpdate = dict[str, Any] | None

_failed_at: dict[str, float] = {}
"""When making a template failed in this process, by the name of its lock, while somebody may still wait for it."""

_COUNTING_SECONDS = 60  # to count, evict and enter the templates of a backend, which takes milliseconds


@attrs.frozen(kw_only=True)
class Request:
    """One call of `clone_image`."""

    context: Any
    volume: Any
    image: Image
    image_service: Any

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
        try:
            driver.delete_volume(request.volume)
        except Exception as failure:  # noqa: BLE001 - the next way says what is wrong with it
            LOG.warning("%s: what is left of that clone could not be deleted: %s", request.about, one_line(failure))
        if isinstance(error, exception.SnapshotLimitReached):
            exhausted()
        return None
    LOG.info("%s: cloned from %s %s", request.about, what, source.id)
    return dict(update or {})


@attrs.frozen(kw_only=True)
class ByTemplate:
    """The way over a template.

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
        """Clone the image's template, which is made if it must be, by one at a time on all hosts.

        Who waited while another failed to make it does not try again: each would wait for all before it.
        """
        templates = Templates(self.request.volume)
        name, asked_at = _lock_name(templates, self.request.image.id), time.monotonic()
        made = None
        try:
            with self.services.locks.held(name, wait_seconds=self.settings.longest_making.total_seconds()) as lock:
                if _failed_at.get(name, -math.inf) >= asked_at:
                    LOG.info(
                        "%s: no template: it could not be made while this volume waited for it", self.request.about
                    )
                else:
                    with self._failure_noted(name):
                        made = self._cloned_of_template(templates, lock)
        except DeadlineExceeded as error:
            LOG.warning("%s: no template: others are making it, or cloning it: %s", self.request.about, error)
        except (ImagevolError, exception.CinderException) as error:
            done = "no template" if made is None else "cloned, but"
            LOG.warning("%s: %s: %s", self.request.about, done, one_line(error))
        except Exception:  # also where the lock is let go: the volume may be made by then, and must not be made again
            LOG.exception("%s: no more is done about its template", self.request.about)
        return made

    @contextmanager
    def _failure_noted(self, name: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            now = time.monotonic()
            for old in [
                each for each, at in _failed_at.items() if now - at > self.settings.longest_making.total_seconds()
            ]:
                del _failed_at[old]
            _failed_at[name] = now
            raise

    def _cloned_of_template(self, templates: Templates, lock: Lock) -> ModelUpdate:
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
        elif decision.action is TemplateAction.USE:
            self._tried("its last use is not noted", partial(templates.touch, template))
        else:
            return None
        for old in superseded:
            LOG.info("%s: template %s is superseded, and goes", self.request.about, old.id)
            self._tried(f"template {old.id} stays", partial(templates.remove, old))

        def exhausted() -> None:
            LOG.info("%s: template %s has all the clones that it may, and goes", self.request.about, template.id)
            self._tried(f"template {template.id} stays", partial(templates.remove, template))

        what = "new template" if making else "template"
        return clone(self.driver, self.request, template, what, exhausted=exhausted)

    def _living_others(self, templates: Templates) -> dict[str, Any]:
        """Give the templates of other images, when what their makers have left that died is removed."""
        others = templates.others(self.request.image.id)
        for other in [each for each in others.values() if each.status in MAKING]:
            with ExitStack() as locked:  # that of its image, which its maker holds
                if self._locked(templates, other, locked):
                    LOG.info("%s: template %s: its maker is gone, and so it goes", self.request.about, other.id)
                    self._tried(f"template {other.id} stays", partial(templates.remove, other))
                    others = templates.others(self.request.image.id)
        return others

    def _admitted(self, templates: Templates, present: Any, others: Mapping[str, Any]) -> TemplateDecision:
        """Decide, and make room; what is being cloned stays, and then the next one goes, or none."""
        busy: frozenset[str] = frozenset()
        while True:
            decision = self._decide(present, others, busy)
            going = [others[volume_id] for volume_id in decision.remove_first if volume_id in others]
            with ExitStack() as locked:
                kept = next((other.id for other in going if not self._locked(templates, other, locked)), None)
                if kept is None:
                    for other in going:
                        templates.remove(other)
                        LOG.info("%s: template %s makes room", self.request.about, other.id)
                    break
            LOG.info("%s: template %s is being cloned, and stays", self.request.about, kept)
            busy |= {kept}
        if present is not None and present.id in decision.remove_first:  # what a dead maker left
            templates.remove(present)
        return decision

    def _tried(self, otherwise: str, action: Callable[[], object]) -> None:
        """Do what is not needed for the volume; where that fails, the next request tries again."""
        try:
            action()
        except exception.CinderException as error:
            LOG.warning("%s: %s: %s", self.request.about, otherwise, one_line(error))

    def _locked(self, templates: Templates, other: Any, locked: ExitStack) -> bool:
        """Keep a template from being cloned until `locked` is closed, unless somebody is cloning it now."""
        image_id = template_facts(other, now=datetime.now(UTC)).entry.image_id
        if image_id == self.request.image.id:  # whose lock is held already
            return True
        try:
            locked.enter_context(self.services.locks.held(_lock_name(templates, image_id), wait_seconds=0))
        except DeadlineExceeded:
            return False
        return True

    def _decide(self, present: Any, others: Mapping[str, Any], busy: frozenset[str]) -> TemplateDecision:
        """Ask the core again, now that nobody else changes what it looks at."""
        now = datetime.now(UTC)
        decision = decide_template(
            self.request.image,
            target=volume_facts(self.request.volume),
            template=present and template_facts(present, now=now),
            settings=self.settings,
            others=[
                replace(template_facts(other, now=now).entry, in_use=other.id in busy or not removable(other))
                for other in others.values()
            ],
        )
        LOG.info("%s: template: %s: %s", self.request.about, decision.action.value, decision.because)
        return decision

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
            )
        lock.ensure_held()
        templates.publish(template, image)
        LOG.info("%s: template %s holds the image, %d GiB", self.request.about, template.id, template.size)

    def _downloaded(self) -> Iterable[bytes]:
        chunks: Iterable[bytes] = self.request.image_service.download(self.request.context, self.request.image.id)
        return chunks


def _lock_name(templates: Templates, image_id: str) -> str:
    return f"imagevol-template-{templates.place}-{image_id}"
