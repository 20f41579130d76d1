"""Runs Cinder's own unit tests of volumes from images: on the drivers that they come with, or on ours.

A process can do one of both, once.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from oslo_config import cfg

from tests.upstream.asking import serve
from tests.upstream.their_tests import OURS, run_suites

SUITES = (
    "image.test_cache",
    "volume.flows.test_create_volume_flow",
    "volume.test_driver",
    "volume.test_image",
    "volume.test_volume_reimage",
)


def run(ours: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Run the suites: give by the test's name how it ended, whether it came to our driver, and whether it had to.

    Args:
        ours: whether our driver is in the place of theirs.
        options: of our driver.
    """
    unit = import_module("cinder.tests.unit")
    create_volume: Any = import_module("cinder.volume.flows.manager.create_volume")
    if ours:
        import_module("tests.upstream.cinder_suite_stand_in")
        cfg.set_defaults(import_module("imagevol_adapters.driver").OPTIONS, **options)
    watch = {"ours": (f"{OURS}/driver/mixin.py", "clone_image"), "asks": (create_volume.__file__, "_create_from_image")}
    return run_suites(unit.__name__, SUITES, watch=watch)


if __name__ == "__main__":
    logging.disable()
    serve({"run": run})
