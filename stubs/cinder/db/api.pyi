from typing import Any

main_context_manager: Any
