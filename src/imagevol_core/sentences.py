"""How the rules put a fact into a sentence: on one line, whoever wrote it, and never taken for another fact."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["listed", "quoted", "said", "yes_no"]


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


def listed(values: Iterable[str]) -> str:
    """Give several values in quotation marks, or say that there is none.

    >>> listed(["fast", "slow"]), listed([])
    ("'fast', 'slow'", 'none')
    """
    return ", ".join(map(repr, values)) or "none"


def yes_no(value: bool | None) -> str:
    """Answer a question of which the answer may not be known.

    >>> yes_no(True), yes_no(False), yes_no(None)
    ('yes', 'no', 'not known')
    """
    return {True: "yes", False: "no", None: "not known"}[value]
