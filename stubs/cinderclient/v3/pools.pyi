from typing import Any

class Pool:
    def to_dict(self) -> dict[str, Any]: ...

class PoolManager:
    def list(self, detailed: bool = ...) -> list[Pool]: ...
