"""`clone_image` for any Cinder volume driver ([clone], [template]).

A driver inherits `ImageCloneMixin` before Cinder's own base class, and gets strict clones of image volumes, and
templates where the operator turns them on.  What cannot be done here falls through to Cinder's own copy, always: no
error of this module fails a request.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from cinder import context as cinder_context
from cinder import exception, objects
from cinder.volume import volume_utils
from oslo_config import cfg

from imagevol_adapters.brick import open_device
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.coordination import ToozLocks, from_conf
from imagevol_adapters.driver.facts import image_facts, volume_facts
from imagevol_adapters.driver.options import OPTIONS, clone_settings, template_settings
from imagevol_adapters.driver.templates import Templates, template_facts
from imagevol_adapters.ports import Converter, Device, Lock, Locks
from imagevol_adapters.qemu import QemuConverter
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import (
    Backend,
    CreationPlan,
    DeadlineExceeded,
    Dialect,
    Image,
    ImagevolError,
    InvalidLocation,
    TemplateAction,
    TemplateDecision,
    Way,
    decide_template,
    failed,
    parse_location,
    plan_creation,
)

__all__ = ["ImageCloneMixin"]

LOG = logging.getLogger(__name__)

_TEMPLATE_WAYS = (Way.CLONE_TEMPLATE, Way.CREATE_TEMPLATE, Way.AWAIT_TEMPLATE)

ModelUpdate = dict[str, Any] | None


@attrs.frozen(kw_only=True)
class _Request:
    """One call of `clone_image`."""

    context: Any
    volume: Any
    image: Image
    image_service: Any

    @property
    def about(self) -> str:
        return f"Volume {self.volume.id} from image {self.image.id}"


class ImageCloneMixin:
    """What a Cinder driver inherits, before `cinder.volume.driver.VolumeDriver` or its like.

    The driver supplies what every driver has: `create_volume`, `delete_volume` and `create_cloned_volume`, which brings
    the clone to the size of the new volume, as Cinder asks of it.  How a volume is opened on this host is
    `open_volume`; by default as Cinder itself does it, with `initialize_connection` and os-brick.

        class SolidFireDriver(ImageCloneMixin, san.SanISCSIDriver):
            ...
    """

    configuration: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Register the options in the backend's section."""
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)

    @staticmethod
    def get_driver_options() -> list[cfg.Opt]:
        """Give the options, for a driver that publishes its own."""
        return list(OPTIONS)

    def set_initialized(self) -> None:
        """Warn once of a configuration in which the strict rules decide nothing."""
        super().set_initialized()  # type: ignore[misc]  # Cinder's base class has it
        settings = clone_settings(self.configuration, cfg.CONF)
        if "cinder" in settings.allowed_direct_url_schemes and "cinder" in cfg.CONF.allowed_direct_url_schemes:
            LOG.warning(
                "Backend %s: `cinder` is in allowed_direct_url_schemes, so that Cinder clones image volumes that this "
                "driver refuses. To have the strict rules, take it out of there, and put it into "
                "image_clone_direct_url_schemes in the backend's section",
                self.configuration.config_group,
            )

    def clone_image(
        self,
        context: Any,
        volume: Any,
        image_location: Any,
        image_meta: Any,
        image_service: Any,
    ) -> tuple[ModelUpdate, bool]:
        """Make a volume from an image without copying the image into it, if that can be ([clone], [template]).

        Args:
            context: of the request.
            volume: the new one, with its final size.
            image_location: the image's direct URL and its locations.
            image_meta: what Glance says of the image.
            image_service: reads it.

        Returns:
            What changes in Cinder's record of the volume, and whether it is the image now.  Where nothing of the above
            could be done, what the driver itself does, which mostly is `(None, False)`: Cinder goes on.
        """
        try:
            image = image_facts(image_meta, image_location)
            made = self._made(_Request(context=context, volume=volume, image=image, image_service=image_service))
        except Exception:  # an error here would fail the request, which Cinder can do without us
            LOG.exception("Volume %s: Cinder goes on by itself", volume.id)
            made = None
        if made is not None:
            return made, True
        own: tuple[ModelUpdate, bool] = super().clone_image(  # type: ignore[misc]  # Cinder's base class has it
            context, volume, image_location, image_meta, image_service
        )
        return own

    @contextmanager
    def open_volume(self, context: Any, volume: Any, *, writable: bool) -> Iterator[Device]:
        """Open a volume of this backend on this host while the context lasts.

        Args:
            context: of an administrator.
            volume: which one.
            writable: whether it is to be written.
        """
        multipath = self.configuration.use_multipath_for_image_xfer
        enforced = self.configuration.enforce_multipath_for_image_xfer
        properties = volume_utils.brick_get_connector_properties(multipath, enforced)
        driver: Any = self
        info, volume = driver._attach_volume(context, volume, properties)
        try:
            with open_device(info["device"]["path"], writable=writable, name=volume.id) as device:
                yield device
        finally:
            driver._detach_volume(context, info, volume, properties, force=True)

    # The ways, in the order of the plan.

    def _made(self, request: _Request) -> ModelUpdate:
        plan = self._plan(request)
        self._explain(request, plan)
        for step in plan.steps:
            if step.way is Way.CLONE_IMAGE_VOLUME and step.source is not None:
                source = objects.Volume.get_by_id(cinder_context.get_admin_context(), step.source)
                made = self._cloned(request, source, "image volume")
            elif step.way in _TEMPLATE_WAYS:
                made = self._by_template(request)
            else:
                break
            if made is not None:
                return made
        LOG.info("%s: neither cloned nor made from a template", request.about)
        return None

    def _plan(self, request: _Request) -> CreationPlan:
        templates = template_settings(self.configuration, cfg.CONF)
        return plan_creation(
            request.image,
            target=volume_facts(request.volume),
            volumes=[volume_facts(volume) for volume in _named(request.image)],
            backend=Backend(clone_across_pools=bool(getattr(self, "capabilities", {}).get("clone_across_pools"))),
            clone_settings=clone_settings(self.configuration, cfg.CONF),
            template_settings=templates,
        )

    def _explain(self, request: _Request, plan: CreationPlan) -> None:
        """One line for each way that is not gone, with every rule that stands in it."""
        if plan.refused:
            LOG.info("%s: nothing is tried: %s", request.about, plan.refused)
        if not plan.clone.eligible:
            LOG.info(
                "%s: no image volume is cloned: %s", request.about, "; ".join(map(str, failed(plan.clone.verdicts)))
            )
        if plan.template.action is TemplateAction.COPY:
            LOG.info("%s: no template: %s", request.about, plan.template.because)

    def _cloned(self, request: _Request, source: Any, what: str) -> ModelUpdate:
        """Clone a volume; None where that fails, and then nothing is left of it."""
        driver: Any = self
        try:
            update = driver.create_cloned_volume(request.volume, source)
        except Exception as error:  # noqa: BLE001 - drivers raise what they like, and there are other ways
            LOG.warning("%s: cloning %s %s failed: %s", request.about, what, source.id, error)
            try:
                driver.delete_volume(request.volume)
            except Exception as failure:  # noqa: BLE001 - the next way says what is wrong with it
                LOG.warning("%s: what is left of that clone could not be deleted: %s", request.about, failure)
            return None
        LOG.info("%s: cloned from %s %s", request.about, what, source.id)
        return dict(update or {})

    def _by_template(self, request: _Request) -> ModelUpdate:
        """Clone the image's template, which is made if it must be, by one at a time on all hosts."""
        templates = Templates(request.volume)
        settings = template_settings(self.configuration, cfg.CONF)
        name, wait_seconds = _lock_name(templates, request.image.id), settings.longest_making.total_seconds()
        made: ModelUpdate = None  # kept, if the lock is found to be lost only after that
        try:
            with self._locks().held(name, wait_seconds=wait_seconds) as lock:
                present, others = templates.of(request.image.id), templates.others(request.image.id)
                decision = self._decide(request, present, others)
                if decision.action in (TemplateAction.CREATE, TemplateAction.REPLACE):
                    made = self._by_new_template(request, templates, decision, present, others, lock)
                elif decision.action is TemplateAction.USE:
                    made = self._by_present_template(request, templates, present)
        except DeadlineExceeded as error:
            LOG.warning("%s: no template: somebody else is making it: %s", request.about, error)
        except (ImagevolError, exception.CinderException) as error:
            LOG.warning("%s: %s: %s", request.about, "no template" if made is None else "cloned, but", error)
        return made

    def _decide(self, request: _Request, present: Any, others: Mapping[str, Any]) -> TemplateDecision:
        """Ask the core again, now that nobody else changes what it looks at."""
        now = datetime.now(UTC)
        decision = decide_template(
            request.image,
            target=volume_facts(request.volume),
            template=present and template_facts(present, now=now),
            settings=template_settings(self.configuration, cfg.CONF),
            others=[template_facts(other, now=now).entry for other in others.values()],
        )
        LOG.info("%s: template: %s: %s", request.about, decision.action.value, decision.because)
        return decision

    def _by_present_template(self, request: _Request, templates: Templates, present: Any) -> ModelUpdate:
        made = self._cloned(request, present, "template")
        if made is not None:
            with _volume_stays(request):
                templates.touch(present)
        return made

    def _by_new_template(
        self,
        request: _Request,
        templates: Templates,
        decision: TemplateDecision,
        present: Any,
        others: Mapping[str, Any],
        lock: Lock,
    ) -> ModelUpdate:
        for volume_id in decision.remove_first:
            if volume_id not in others:  # what a dead maker left
                templates.remove(present)
            elif not self._evicted(templates, others[volume_id]):
                LOG.info("%s: no template: template %s is being cloned, and there is no room", request.about, volume_id)
                return None
        template = self._filled(request, templates, decision.size_gib or 1, lock)
        made = self._cloned(request, template, "new template")
        if decision.remove_after:
            with _volume_stays(request):
                templates.remove(present)
        return made

    def _evicted(self, templates: Templates, other: Any) -> bool:
        """Remove another image's template, unless somebody is cloning it now."""
        image_id = template_facts(other, now=datetime.now(UTC)).entry.image_id
        try:
            with self._locks().held(_lock_name(templates, image_id), wait_seconds=0):
                templates.remove(other)
        except DeadlineExceeded:
            return False
        LOG.info("Template %s of image %s makes room", other.id, image_id)
        return True

    def _filled(self, request: _Request, templates: Templates, size_gib: int, lock: Lock) -> Any:
        """Make a template, and publish it when it holds the image and the lock was never lost."""
        driver: Any = self
        admin = cinder_context.get_admin_context()
        image = request.image
        template = templates.create(image, size_gib)
        with ExitStack() as undo:
            undo.enter_context(undone_on_failure(f"template {template.id}", lambda: templates.remove(template)))
            template.update(driver.create_volume(template) or {})
            template.save()
            with self.open_volume(admin, template, writable=True) as device:
                fill_device(
                    _downloaded(request),
                    device,
                    image=image,
                    converter=self._converter(),
                    directory=Path(cfg.CONF.image_conversion_dir),
                )
            lock.ensure_held()
            templates.publish(template, image)
        LOG.info("%s: template %s holds the image, %d GiB", request.about, template.id, size_gib)
        return template

    # What a test may give in place of the operator's.

    def _locks(self) -> Locks:
        return locks_of_cinder()

    def _converter(self) -> Converter:
        return QemuConverter()


@contextmanager
def _volume_stays(request: _Request) -> Iterator[None]:
    """Let what comes after a clone fail: to fall through would leave the clone where Cinder makes its copy."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the volume is made
        LOG.warning("%s: it is made, and what was to be done then failed: %s", request.about, error)


@functools.cache
def locks_of_cinder() -> ToozLocks:
    """Give the locks of the operator's own lock service: one member of it for all backends of a process."""
    return from_conf(cfg.CONF)


def _lock_name(templates: Templates, image_id: str) -> str:
    return f"imagevol-template-{templates.place}-{image_id}"


def _named(image: Image) -> Iterator[Any]:
    """The volumes that the image's locations name, by whichever reading, as far as they exist."""
    admin = cinder_context.get_admin_context()
    volume_ids: dict[str, None] = {}
    for location in image.locations:
        for dialect in Dialect:
            try:
                volume_ids[parse_location(location.url, dialect=dialect).volume_id] = None
            except InvalidLocation:
                continue
    for volume_id in volume_ids:
        try:
            yield objects.Volume.get_by_id(admin, volume_id)
        except exception.VolumeNotFound:
            continue


def _downloaded(request: _Request) -> Iterable[bytes]:
    chunks: Iterable[bytes] = request.image_service.download(request.context, request.image.id)
    return chunks
