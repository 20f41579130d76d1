"""Asks the Cinder that is installed, or an earlier one that is unpacked, where its cache looks for a new volume.

Its own manager makes the cache, as when cinder-volume starts, and its own flow asks the cache: what the cache is told
of its driver, and when, is Cinder's.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from typing import Any
from unittest import mock

from tests.upstream.asking import serve
from tests.upstream.cinder_ways_worker import fill_cache, target_volume
from tests.upstream.cinder_worker import CONF, CONTEXT, create_tables, create_volume, database

driver = import_module("cinder.volume.driver")
volume_manager = import_module("cinder.volume.manager")


class WithinPools(driver.VolumeDriver):  # type: ignore[misc, name-defined]
    """Clones within a pool, and says so once it is asked."""

    across = False

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        return {"volume_backend_name": "fast", "clone_across_pools": self.across}


class AcrossPools(WithinPools):
    """Clones from one pool into another."""

    across = True


@cache
def manager(kind: type[WithinPools]) -> Any:
    """As cinder-volume makes it; then it asks the driver what that can do (`init_host`)."""
    made = volume_manager.VolumeManager(volume_driver=f"{kind.__module__}.{kind.__name__}", host="node@fast")
    made.driver.init_capabilities()
    return made


def find(target: dict[str, Any], clone_across_pools: bool, entries: list[dict[str, Any]]) -> Any:
    """Let a volume be created from an image: give the volumes of the entries that the filters of the lookup find."""
    fill_cache(entries, [])
    its = manager(AcrossPools if clone_across_pools else WithinPools)
    task = create_volume.CreateVolumeFromSpecTask(its, its.db, its.driver, its.image_volume_cache)
    looks = mock.Mock(return_value=None)
    with mock.patch.object(its.image_volume_cache, "db", mock.Mock(image_volume_cache_get_and_update_last_used=looks)):
        task._create_from_image_cache(CONTEXT, CONTEXT, target_volume(target), "i", {})
    return [entry["volume_id"] for entry in database.image_volume_cache_get_all(CONTEXT, **looks.call_args.kwargs)]


if __name__ == "__main__":
    logging.disable()
    database.main_context_manager.configure(thread_checkin=False)  # there is but this thread: it need not yield
    create_tables()
    CONF.set_override("image_volume_cache_enabled", True, group="backend_defaults")
    CONF.set_override("enabled_backends", ["fast"])
    with (
        mock.patch("cinder.rpc.get_notifier"),
        mock.patch("cinder.rpc.get_client"),
        mock.patch("cinder.utils.notifications_enabled", return_value=False),
    ):
        serve({"find": find})
