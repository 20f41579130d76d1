from typing import Any

NVME_CTRL_SYSFS_PATH: str
DEV_SEARCH_PATH: str

class NVMeOFConnProps:
    def __init__(self, conn_props: dict[str, Any], find_controllers: bool = ...) -> None: ...
    def get_devices(self, only_live: bool = ...) -> list[str]: ...

class NVMeOFConnector: ...
