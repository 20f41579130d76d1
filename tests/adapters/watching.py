"""A service whose changes are noted, for tests that break them off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

__all__ = ["CHANGES", "VOLUME_CHANGES", "Watched"]

CHANGES = {"copy_to_store", "change_locations", "delete_from_store"}
VOLUME_CHANGES = {"clone", "set_readonly", "set_metadata", "delete"}


@attrs.define
class Watched:
    """A service, of which each call to change something is noted, and can be broken off."""

    service: Any
    names: set[str]
    note: Callable[[str], object]

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.service, name)
        if name not in self.names:
            return value

        def noted(*arguments: Any, **named: Any) -> Any:
            self.note(name)
            return value(*arguments, **named)

        return noted
