from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from glance_store.capabilities import StoreCapability
from oslo_config import cfg

_F = TypeVar("_F", bound=Callable[..., object])

class Store(StoreCapability):
    OPTIONS: Sequence[cfg.Opt] | None
    WRITE_CHUNKSIZE: int
    conf: cfg.ConfigOpts
    backend_group: str | None
    _url_prefix: str | None
    def __init__(self, conf: cfg.ConfigOpts, backend: str | None = ...) -> None: ...
    @property
    def url_prefix(self) -> str | None: ...
    @property
    def weight(self) -> int: ...
    def configure(self, re_raise_bsc: bool = ...) -> None: ...

class BackendGroupConfiguration:
    def __init__(
        self, store_opts: Sequence[cfg.Opt], config_group: str | None = ..., conf: cfg.ConfigOpts | None = ...
    ) -> None: ...
    def __getattr__(self, opt_name: str) -> Any: ...

def back_compat_add(store_add_fun: _F) -> _F: ...
