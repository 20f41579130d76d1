"""Asks the code of the installed glance_store."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from tests.upstream.asking import serve

# By name: where types are checked there is no glance_store.
store = import_module("glance_store._drivers.cinder.store")


def parse(url: str) -> Any:
    """Give the volume id that glance_store reads in a location."""
    location = store.StoreLocation({}, None)
    location.parse_uri(url)
    return location.volume_id


if __name__ == "__main__":
    logging.disable()
    serve({"parse": parse})
