"""How a library's errors become ours, in one place for each seam.

A table says which error of a library becomes which of ours; the library's own stays as `__cause__`.  Tables are walked
in order, so the special stands before the general.  The last row of a seam's table is of every error: a library may
raise what it does not define, as when a service answers what it never should.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from imagevol_adapters.error_text import hide_userinfo, one_line
from imagevol_core import ImagevolError
from imagevol_core.sentences import said

__all__ = ["Table", "translated"]

Table = Sequence[tuple[type[Exception], Callable[[str], ImagevolError], str]]
"""Rows of a library's error, ours, and what to do about it, which may be nothing that is not in the text."""


@contextmanager
def translated(table: Table, *, doing: str, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Turn the errors of a table into ours, with what was being done before them and what to do after.

    Args:
        table: which becomes which.
        doing: for the sentence, as `Cinder, volume X`.
        secrets: what the library was given and must not be shown.

    >>> from imagevol_core import ServiceFailed
    >>> with translated([(KeyError, ServiceFailed, "look there")], doing="Cinder, volume 7"):
    ...     {}["size"]
    Traceback (most recent call last):
    imagevol_core.errors.ServiceFailed: Cinder, volume 7: KeyError: 'size'; look there
    """
    try:
        yield
    except ImagevolError:
        raise  # some are the operating system's errors too
    except tuple(kind for kind, _, _ in table) as error:
        make, advice = next((make, advice) for kind, make, advice in table if isinstance(error, kind))
        hide_userinfo(error)
        text = f"{said(doing)}: {one_line(error, secrets=secrets)}"
        raise make(f"{text.rstrip('.')}; {advice}" if advice else text) from error
