import builtins
from collections.abc import Mapping
from typing import Any

class Volume:
    id: str
    name: str | None
    size: int
    status: str
    metadata: dict[str, str]
    volume_type: str | None
    def to_dict(self) -> dict[str, Any]: ...
    def __getattr__(self, name: str) -> Any: ...

class VolumeManager:
    def create(
        self,
        size: int | None,
        *,
        name: str | None = ...,
        description: str | None = ...,
        volume_type: str | None = ...,
        metadata: Mapping[str, str] | None = ...,
        imageRef: str | None = ...,
        source_volid: str | None = ...,
    ) -> Volume: ...
    def get(self, volume_id: str) -> Volume: ...
    def list(
        self,
        detailed: bool = ...,
        search_opts: Mapping[str, Any] | None = ...,
        marker: str | None = ...,
        limit: int | None = ...,
        sort: str | None = ...,
    ) -> list[Volume]: ...
    def extend(self, volume: str | Volume, new_size: int) -> object: ...
    def set_metadata(self, volume: str | Volume, metadata: Mapping[str, str]) -> object: ...
    def delete_metadata(self, volume: str | Volume, keys: builtins.list[str]) -> object: ...
    def update_readonly_flag(self, volume: str | Volume, flag: bool) -> object: ...
    def upload_to_image(
        self,
        volume: str | Volume,
        force: bool,
        image_name: str,
        container_format: str,
        disk_format: str,
        visibility: str,
        protected: bool,
    ) -> tuple[Any, dict[str, Any]]: ...
    def reset_state(self, volume: str | Volume, state: str | None, attach_status: str | None = ...) -> object: ...
    def delete(self, volume: str | Volume, cascade: bool = ...) -> object: ...
    def force_delete(self, volume: str | Volume) -> object: ...
