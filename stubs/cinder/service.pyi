from typing import Self

class Service:
    service_id: int | None
    origin_service_id: int

    @classmethod
    def create(
        cls,
        host: str | None = None,
        binary: str | None = None,
        *,
        service_name: str | None = None,
        coordination: bool = False,
        cluster: str | None = None,
    ) -> Self: ...
    def start(self) -> None: ...
    def report_state(self) -> None: ...

class WSGIService:
    def __init__(self, name: str) -> None: ...
    def start(self) -> None: ...
