from typing import Any

from cinder.volume.configuration import Configuration

class VolumeDriver:
    configuration: Configuration
    _stats: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
