"""The facts that the running cinder-volume has: its database, its configuration and its locks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import attrs
from cinder import context as cinder_context
from cinder import objects
from cinder.db import api as database
from oslo_config import cfg

from imagevol_adapters.driver.cloning import Request
from imagevol_adapters.driver.facts import cache_entry, volume_facts
from imagevol_adapters.driver.services import Services
from imagevol_adapters.driver.templates import Templates, image_of, removable
from imagevol_adapters.gathering import CinderSettings, CreationFacts, gather_cinder_settings, gather_creation
from imagevol_adapters.ports import Locks
from imagevol_adapters.processes import is_running_here
from imagevol_adapters.tending.templates import template_of
from imagevol_core import Backend, CacheEntry, DeadlineExceeded, ImagevolError, Template, Volume

__all__ = ["CinderService", "settings_of"]


@attrs.frozen(kw_only=True)
class CinderService:
    """What this cinder-volume knows of one request: a `CreationSource`.

    Args:
        driver: of the backend.
        request: one call of `clone_image`.
        holds_lock: whether this thread holds the lock of the image's template, so that no other process makes one.
        busy: the ids of templates that another process is known to be making or removing.
    """

    driver: Any
    request: Request
    holds_lock: bool = False
    busy: frozenset[str] = frozenset()

    def gathered(self) -> CreationFacts:
        """Collect the facts as they are now."""
        across = bool(getattr(self.driver, "capabilities", {}).get("clone_across_pools"))
        return gather_creation(
            self.request.image,
            target=volume_facts(self.request.volume),
            backend=Backend(clone_across_pools=across),
            settings=settings_of(self.driver),
            source=self,
        )

    @property
    def services(self) -> Services:
        """The operator's locks, a converter, and Glance's word on the requester; only templates need them."""
        services: Services = self.driver.imagevol_services()
        return services

    @property
    def project_id(self) -> str | None:
        """The project of the requester."""
        project_id: str | None = self.request.context.project_id
        return project_id

    @property
    def sees_templates(self) -> bool:
        """Cinder's own database has all templates."""
        return True

    def find(self, volume_ids: Iterable[str]) -> Iterator[Volume]:
        """Give those of the volumes that exist."""
        wanted = list(volume_ids)
        if wanted:
            found = objects.VolumeList.get_all(cinder_context.get_admin_context(), filters={"id": wanted})
            yield from map(volume_facts, found)

    def templates(self, target: Volume) -> Iterator[Template]:  # noqa: ARG002 - it is the volume of the request
        """Give all templates of the backend, and which of them cannot be removed now."""
        known, now = Templates(self.request.volume), datetime.now(UTC)
        being_cloned = known.being_cloned()
        for volume in known.all():
            template = template_of(volume_facts(volume), now=now)
            in_use = volume.id in being_cloned | self.busy or not removable(volume)
            template = replace(template, entry=replace(template.entry, in_use=in_use))
            if template.being_made_for is not None:
                alive = volume.id in self.busy or self._maker_alive(known, image_of(volume))
                if template.stalled and is_running_here(volume.metadata):  # its thread may outlive its lock
                    alive = True
                template = replace(template, maker_alive=alive)
            yield template

    def cache_entries(self) -> list[CacheEntry]:
        """Give what is in Cinder's image cache."""
        found = database.image_volume_cache_get_all(cinder_context.get_admin_context())
        return [cache_entry(each) for each in found]

    def gives_data(self, image_id: str) -> bool:
        """Ask Glance with the requester's own token."""
        return self.services.gives_data(self.request.context, image_id)

    def _maker_alive(self, known: Templates, image_id: str) -> bool | None:
        """Whether another process makes an image's template: as long as it does, it holds the lock.

        Of another image that matters only if a template is about to be made, and is not asked before.
        """
        of_request = image_id == self.request.image.id
        if of_request and self.holds_lock:
            return False
        return _is_held(self.services.locks, known.lock_name(image_id)) if of_request or self.holds_lock else None


def settings_of(driver: Any) -> CinderSettings:
    """Collect what the operator has configured for a driver's backend."""
    return gather_cinder_settings(driver.configuration, cfg.CONF)


def _is_held(locks: Locks, name: str) -> bool | None:
    try:
        with locks.held(name, wait_seconds=0):
            return False
    except DeadlineExceeded:
        return True
    except ImagevolError:  # the lock service does not tell
        return None
