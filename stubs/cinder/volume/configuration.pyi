from collections.abc import Sequence
from typing import Any

from oslo_config.cfg import Opt

SHARED_CONF_GROUP: str

class Configuration:
    def __init__(self, volume_opts: Sequence[Opt], config_group: str | None = ...) -> None: ...
    def append_config_values(self, volume_opts: Sequence[Opt]) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
