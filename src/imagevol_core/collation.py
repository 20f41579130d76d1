"""How Cinder's database compares names and ids, which are compared exactly everywhere else.

On MariaDB and MySQL, Cinder's tables have the collation `utf8mb3_general_ci`: it ignores case, and spaces at the end.
"""

from __future__ import annotations

from typing import overload

__all__ = ["in_database"]


@overload
def in_database(text: str) -> str: ...
@overload
def in_database(text: str | None) -> str | None: ...
def in_database(text: str | None) -> str | None:
    """Give a text as the database compares it: two texts are one to it if this makes them equal.

    >>> in_database("Node@FAST#one ") == in_database("node@fast#one")
    True
    >>> in_database(None) is None
    True
    """
    return None if text is None else text.rstrip(" ").lower()
