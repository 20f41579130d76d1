"""`clone_image` for any Cinder volume driver ([clone], [template]).

A driver inherits `ImageCloneMixin` before Cinder's own base class, and gets strict clones of image volumes, and
templates where the operator turns them on.  What cannot be done here falls through to Cinder's own copy, always: no
error of this module fails a request.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

from cinder import context as cinder_context
from cinder import exception, objects
from cinder import utils as cinder_utils
from cinder.volume import volume_utils
from oslo_config import cfg

from imagevol_adapters.brick_opening import open_device
from imagevol_adapters.cleanup import released
from imagevol_adapters.configuration.backend_options import OPTIONS
from imagevol_adapters.devices.ceph import closed_anyway
from imagevol_adapters.driver.by_template import TEMPLATE_WAYS, ByTemplate, told
from imagevol_adapters.driver.cloning import ModelUpdate, Request, clone
from imagevol_adapters.driver.counting import counts_of
from imagevol_adapters.driver.facts import image_facts
from imagevol_adapters.driver.service import CinderService, settings_of
from imagevol_adapters.driver.services import Services, gives_data, locks_of_cinder, range_of
from imagevol_adapters.gathering import CreationFacts
from imagevol_adapters.metrics import LEFT
from imagevol_adapters.ports import Device
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_core import AttachFailed, CreationPlan, CreationStep, DeviceStalled, Policy, TemplateAction, Way, failed

__all__ = ["ImageCloneMixin"]

LOG = logging.getLogger(__name__)

_CARRIED_OUT = TEMPLATE_WAYS | {Way.CLONE_IMAGE_VOLUME}


class ImageCloneMixin:
    """A base class for Cinder drivers: `clone_image` clones image volumes and templates.  Name it before the driver.

    The driver supplies what every driver has: `create_volume`, `delete_volume`, `create_cloned_volume`, which brings
    the clone to the size of the new volume, and `initialize_connection` with the methods that belong to it.  A driver
    that can open a volume on this host in another way overrides `imagevol_open_volume`::

        class CloningRBDDriver(ImageCloneMixin, RBDDriver):
            "An RBDDriver that clones images."
    """

    configuration: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Register the options in the backend's section."""
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)

    @classmethod
    def get_driver_options(cls) -> list[cfg.Opt]:
        """Give the options of the driver and of the mixin.  A class that overrides this must add those of the mixin."""
        theirs = getattr(super(), "get_driver_options", list)  # there are none of the mixin alone
        return [*theirs(), *OPTIONS]

    def set_initialized(self) -> None:
        """Warn once if Cinder would clone what the strict rules refuse."""
        super().set_initialized()  # type: ignore[misc]  # Cinder's base class has it
        settings = settings_of(self)
        schemes = (settings.clones.allowed_direct_url_schemes, settings.cinders_clones.allowed_direct_url_schemes)
        if all("cinder" in allowed for allowed in schemes):
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
        """Create a volume from an image by a clone, if possible ([clone], [template]).

        Args:
            context: the context of the request.
            volume: the new volume, with its final size.
            image_location: the image's direct URL and its locations.
            image_meta: what Glance says of the image.
            image_service: reads the image from Glance.

        Returns:
            The update for Cinder's record of the volume, and True.  If no clone was possible, what the driver's own
            `clone_image` returns, which mostly is `(None, False)`: Cinder then goes on.
        """
        try:
            image = image_facts(image_meta, image_location)
            request = Request(context=context, volume=volume, image=image, image_service=image_service)
            made = _image_cloned(self, request)
        except Exception:  # an error here would fail the request, which Cinder can do without us
            LOG.exception("Volume %s: Cinder goes on by itself", volume.id)
            made = None
            counts_of(self).failed()
        if made is not None:
            return made, True
        counts_of(self).volume(LEFT)
        own: tuple[ModelUpdate, bool] = super().clone_image(  # type: ignore[misc]  # Cinder's base class has it
            context, volume, image_location, image_meta, image_service
        )
        return own

    @contextmanager
    def imagevol_open_volume(self, context: Any, volume: Any, *, writable: bool) -> Iterator[Device]:
        """Open a volume of this backend on this host while the context lasts.

        If a call of the device has not returned at the end, the volume stays attached, and the log names it.
        Connecting and disconnecting have no deadline: each is one call of Cinder's driver, which also exports it.

        Args:
            context: the context of an administrator.
            volume: the volume.
            writable: whether the volume will be written.

        Yields:
            The open device.  It is closed, and the volume is disconnected, when the context ends, whatever happened.
        """
        multipath = self.configuration.use_multipath_for_image_xfer
        enforced = self.configuration.enforce_multipath_for_image_xfer
        properties = volume_utils.brick_get_connector_properties(multipath, enforced)
        driver: Any = self
        info, volume = driver._attach_volume(context, volume, properties)
        device, opening_hangs = None, False

        def detach() -> None:
            if opening_hangs or (device is not None and device.left_open):
                raise AttachFailed(
                    "a call of its device has not returned; repair the storage, restart cinder-volume, and then "
                    "disconnect the device"
                )
            with closed_anyway(info["device"]["path"]):
                driver._detach_volume(context, info, volume, properties, force=True)

        with released(f"the attachment of volume {volume.id} to {socket.gethostname()}", detach):
            path = info["device"]["path"]
            # A file or a block device is root's, and for as long this service's; what is no path, as an RBD image, is.
            ours = cinder_utils.temporary_chown(path) if isinstance(path, str) else nullcontext()
            seconds = self.configuration.image_clone_stall_seconds
            try:
                with ours, open_device(path, writable=writable, name=volume.id, seconds=seconds) as device:
                    yield device
            except DeviceStalled:
                opening_hangs = device is None  # a thread of this process opens it yet
                raise

    def imagevol_services(self) -> Services:
        """Give the locks, the converter and the access to Glance.  Do not override this in a driver."""
        seconds = self.configuration.image_clone_stall_seconds
        return Services(
            locks=locks_of_cinder(),
            converter=QemuConverter(stall_seconds=seconds),
            gives_data=partial(gives_data, seconds=seconds),
            range_of=partial(range_of, seconds=seconds),
        )


def _image_cloned(driver: Any, request: Request) -> ModelUpdate:
    """Ask for one plan, and walk its steps until one has made the volume, or the next one is Cinder's own."""
    service = CinderService(driver=driver, request=request)
    facts = service.gathered()
    plan = facts.plan()
    _log(request, plan)
    for step in plan.steps:
        if step.way is Way.CLONE_CACHED and not _cinder_clones(facts, step):
            LOG.info("%s: Cinder would not clone cached volume %s: passing on", request.about, step.source)
            continue
        if step.way not in _CARRIED_OUT:
            LOG.info("%s: %s is left to Cinder", request.about, step.way.value)
            break
        if step.way in TEMPLATE_WAYS:
            made = ByTemplate(service=service).carried_out(step)
        else:
            made = _clone_image_volume(driver, request, step)
        if made is not None:
            return made
    LOG.info("%s: neither cloned nor made from a template", request.about)
    return None


def _cinder_clones(facts: CreationFacts, cached: CreationStep) -> bool:
    """Whether Cinder, which compares dates only, would clone a cached volume too."""
    return any(step.way is cached.way and step.source == cached.source for step in facts.plan(Policy.UPSTREAM).steps)


def _clone_image_volume(driver: Any, request: Request, step: CreationStep) -> ModelUpdate:
    with suppress(exception.VolumeNotFound):  # deleted just now
        source = objects.Volume.get_by_id(cinder_context.get_admin_context(), step.source)
        made = clone(driver, request, source, "image volume")
        if made is not None:
            counts_of(driver).created(step.way)
        return made
    return None


def _log(request: Request, plan: CreationPlan) -> None:
    """Say what was planned, and which rules stand in the way of what was not."""
    if plan.refused:
        LOG.info("%s: nothing is tried: %s", request.about, plan.refused)
    steps = ", ".join(f"{step.way.value} {step.source or ''}".rstrip() for step in plan.steps)
    LOG.info("%s: the plan is: %s", request.about, steps or "nothing")
    if not plan.clone.eligible:
        LOG.info("%s: no image volume is cloned: %s", request.about, "; ".join(map(str, failed(plan.clone.verdicts))))
    if plan.template.action in (TemplateAction.COPY, TemplateAction.USE):  # of others, the lock decides again
        told(request, plan)
