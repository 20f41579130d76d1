from collections.abc import Sequence

from glance_store import driver
from oslo_config import cfg

class Store(driver.Store):
    OPTIONS: Sequence[cfg.Opt]
