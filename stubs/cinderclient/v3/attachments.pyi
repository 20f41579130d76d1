from collections.abc import Mapping
from typing import Any

class VolumeAttachment:
    id: str
    volume_id: str
    status: str
    instance: str | None
    attached_at: str
    connection_info: dict[str, Any]
    def to_dict(self) -> dict[str, Any]: ...

class VolumeAttachmentManager:
    def create(
        self,
        volume_id: str,
        connector: Mapping[str, Any] | None,
        instance_id: str | None = ...,
        mode: str = ...,
    ) -> dict[str, Any]: ...
    def update(self, id: str, connector: Mapping[str, Any]) -> VolumeAttachment: ...
    def complete(self, attachment: str) -> None: ...
    def show(self, id: str) -> VolumeAttachment: ...
    def list(
        self,
        detailed: bool = ...,
        search_opts: Mapping[str, Any] | None = ...,
        marker: str | None = ...,
        limit: int | None = ...,
    ) -> list[VolumeAttachment]: ...
    def delete(self, attachment: str) -> object: ...
