"""Passwords that libraries and people read differently in a URL, and how a text shows that it has a piece of one."""

from __future__ import annotations

__all__ = ["HOSTILE_PASSWORDS", "shows_a_piece"]

HOSTILE_PASSWORDS = (
    *("hq7zw9", "hq7/zw9", "hq7@zw9", "12/hq7zw9", "12@hq7zw9", "hq7zw9#x", "?hq7zw9", "12#hq7zw9"),
    *("12?hq7zw9", "[hq7zw9", "hq7zw9]", "hq7 zw9", "%zzhq7zw9", "hq7zw9:x", "x:hq7zw9/y@z", "//hq7zw9"),
    *("\\hq7zw9", "1\thq7zw9", "hq7\nzw9", "\u00e9/hq7zw9", "12/a b hq7zw9"),
)


def shows_a_piece(text: str) -> bool:
    """Tell whether a text has a piece of one of these passwords in it."""
    return "hq7" in text or "zw9" in text
