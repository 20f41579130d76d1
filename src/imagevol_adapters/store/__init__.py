"""A glance_store driver that keeps images in volumes: `enabled_backends = fast:imagevol` ([store], [multi]).

It has the options, the URLs and the volumes of glance_store's own cinder driver, so that either reads and deletes what
the other stored.  Each call collects facts, asks the core, and lets a transfer do it.
"""

from imagevol_adapters.store.driver import Store
from imagevol_adapters.store.locations import StoreLocation

__all__ = ["Store", "StoreLocation"]
