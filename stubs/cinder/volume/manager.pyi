from typing import Any

from oslo_config.cfg import Opt

volume_backend_opts: list[Opt]

class VolumeManager:
    def _clone_image_volume(self, ctx: Any, volume: Any, image_meta: dict[str, Any]) -> Any: ...
