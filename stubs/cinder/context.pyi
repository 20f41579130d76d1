from typing import Any

def get_admin_context() -> Any: ...
def get_internal_tenant_context() -> Any | None: ...

class RequestContext:
    project_id: str
    auth_token: str | None
    def __init__(
        self, user_id: str | None = ..., project_id: str | None = ..., is_admin: bool | None = ..., **kwargs: Any
    ) -> None: ...
