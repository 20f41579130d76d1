from collections.abc import Mapping
from typing import Any

from cinderclient.v3.volume_types import VolumeType

class VolumeEncryptionType:
    def to_dict(self) -> dict[str, Any]: ...

class VolumeEncryptionTypeManager:
    def get(self, volume_type: str | VolumeType) -> VolumeEncryptionType: ...
    def create(self, volume_type: str | VolumeType, specs: Mapping[str, object]) -> object: ...
