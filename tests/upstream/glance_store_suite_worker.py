"""Runs glance_store's own unit tests of its cinder driver: on that driver, or with ours in its place.

A process can do one of both, once: the tests replace a module of glance_store's when they are imported.
"""

from __future__ import annotations

import logging
import tempfile
from importlib import import_module
from typing import Any

from oslo_concurrency import lockutils

from tests.upstream.asking import serve
from tests.upstream.their_tests import OURS, run_suites

SUITES = ("test_cinder_store", "test_multistore_cinder")


def run(ours: bool) -> dict[str, Any]:
    """Run both suites: give by the test's name how it ended, and whether it came to a function of ours."""
    if ours:
        import_module("tests.upstream.glance_store_stand_in")
    with tempfile.TemporaryDirectory() as locks:
        lockutils.set_defaults(locks)
        return run_suites("glance_store.tests.unit.cinder", SUITES, watch={"ours": (OURS, "")})


if __name__ == "__main__":
    logging.disable()
    serve({"run": run})
