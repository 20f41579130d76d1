from collections.abc import Mapping

class Message:
    id: str
    created_at: str
    event_id: str
    resource_uuid: str | None
    user_message: str

class MessageManager:
    def list(self, *, search_opts: Mapping[str, str] | None = ...) -> list[Message]: ...
