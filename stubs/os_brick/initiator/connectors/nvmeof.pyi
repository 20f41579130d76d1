from typing import Any

from os_brick.initiator.connector import InitiatorConnector

NVME_CTRL_SYSFS_PATH: str
DEV_SEARCH_PATH: str

class NVMeOFConnProps:
    def __init__(self, conn_props: dict[str, Any], find_controllers: bool = ...) -> None: ...
    def get_devices(self, only_live: bool = ...) -> list[str]: ...

class NVMeOFConnector(InitiatorConnector):
    def _try_disconnect_all(self, conn_props: NVMeOFConnProps) -> None: ...
