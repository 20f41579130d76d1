"""How the rules put a fact into a sentence: on one line, also if a user wrote it, and never taken for another fact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta

__all__ = ["amount", "answered", "duration", "listed", "quoted", "said", "things"]


def said(value: object) -> str:
    r"""Give a value on one line: users write some of them, and a terminal obeys what it is shown.

    >>> said("raw"), said("red" + chr(27)), said(None)
    ('raw', 'red\\x1b', 'not known')
    """
    if value is None:
        return "not known"
    text = str(value)
    return text if text.isprintable() else ascii(text)[1:-1]


def quoted(value: str | None) -> str:
    """Give a value in quotation marks, where a sentence would otherwise run into it.

    >>> quoted("raw"), quoted(None)
    ("'raw'", 'not known')
    """
    return "not known" if value is None else repr(value)


def things(number: int, thing: str) -> str:
    """Give the noun for so many of a thing.

    >>> things(0, "image"), things(1, "image"), things(2, "image")
    ('images', 'image', 'images')
    """
    return thing if number == 1 else f"{thing}s"


def amount(number: int | None, thing: str) -> str:
    """Say how many there are of a thing, in the singular if it is one.

    >>> amount(0, "image"), amount(1, "image"), amount(2, "byte"), amount(None, "byte")
    ('0 images', '1 image', '2 bytes', 'an unknown number of bytes')
    """
    return f"an unknown number of {thing}s" if number is None else f"{number} {things(number, thing)}"


_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))
_TENTHS_BELOW_SECONDS = 10


def duration(length: float | timedelta) -> str:
    """Say how long a time is: in the largest unit of which it has two, or exactly one.

    Args:
        length: in seconds, or as a difference of times.

    >>> duration(0.25), duration(1), duration(24), duration(90), duration(300), duration(663.2)
    ('0.2 seconds', '1 second', '24 seconds', '90 seconds', '5 minutes', '11 minutes')
    >>> duration(timedelta(hours=1)), duration(timedelta(hours=24)), duration(timedelta(days=9, seconds=1))
    ('1 hour', '1 day', '9 days')
    """
    seconds = length.total_seconds() if isinstance(length, timedelta) else float(length)
    if not math.isfinite(seconds):
        return f"{seconds} seconds"
    for unit_seconds, unit in _UNITS:
        if seconds == unit_seconds or seconds >= 2 * unit_seconds:
            return amount(round(seconds / unit_seconds), unit)
    if abs(seconds) < _TENTHS_BELOW_SECONDS and round(seconds, 1) != round(seconds):
        return f"{seconds:.1f} seconds"
    return amount(round(seconds), "second")


def listed(values: Iterable[str]) -> str:
    """Give several values in quotation marks, or say that there is none.

    >>> listed(["fast", "slow"]), listed([])
    ("'fast', 'slow'", 'none')
    """
    return ", ".join(map(repr, values)) or "none"


def answered(value: bool | None, yes: str, no: str) -> str:
    """Give one of two sentences, or say that it is not known which of them is true.

    >>> answered(True, "it is encrypted", "it is not encrypted")
    'it is encrypted'
    >>> answered(None, "it is encrypted", "it is not encrypted")
    'it is not known whether it is encrypted'
    """
    return f"it is not known whether {yes}" if value is None else yes if value else no
