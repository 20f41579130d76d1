from collections.abc import Mapping
from typing import Any

class InitiatorConnector:
    @staticmethod
    def factory(
        protocol: str,
        root_helper: str,
        *,
        use_multipath: bool = ...,
        device_scan_attempts: int = ...,
        conn: Mapping[str, Any] = ...,
    ) -> InitiatorConnector: ...
    def connect_volume(self, connection_properties: Mapping[str, Any]) -> dict[str, Any]: ...
    def disconnect_volume(
        self,
        connection_properties: Mapping[str, Any],
        device_info: Mapping[str, Any] | None,
        force: bool = ...,
        ignore_errors: bool = ...,
    ) -> None: ...
    def extend_volume(self, connection_properties: Mapping[str, Any]) -> int | None: ...

def get_connector_properties(
    root_helper: str,
    my_ip: str,
    multipath: bool,
    enforce_multipath: bool,
    host: str | None = ...,
) -> dict[str, Any]: ...
