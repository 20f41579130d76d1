from typing import Any

class API:
    def delete(self, context: Any, volume: Any) -> None: ...
