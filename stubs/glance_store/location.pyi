from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

class Location:
    store_location: Any
    def __init__(
        self,
        store_name: str,
        store_location_class: type[StoreLocation],
        conf: cfg.ConfigOpts,
        uri: str | None = ...,
        image_id: str | None = ...,
        store_specs: Mapping[str, Any] | None = ...,
        backend: str | None = ...,
    ) -> None: ...

class StoreLocation:
    specs: Mapping[str, Any]
    backend_group: str | None
    def __init__(
        self, store_specs: Mapping[str, Any], conf: cfg.ConfigOpts, backend_group: str | None = ...
    ) -> None: ...
