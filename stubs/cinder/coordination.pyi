class Coordinator:
    def start(self) -> None: ...

COORDINATOR: Coordinator
