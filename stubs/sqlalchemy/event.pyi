from collections.abc import Callable
from typing import Any

def listen(target: Any, identifier: str, fn: Callable[..., Any], *, insert: bool = ...) -> None: ...
