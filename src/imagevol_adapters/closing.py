"""Closing what others hand over: files, generators, responses of a service, and what has nothing to close.

A response that stays open keeps what it is read from.  An image volume, for one, stays attached until its reader closes
the response.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

__all__ = ["Closeable", "close", "closed_on_failure", "closing"]

T = TypeVar("T")


def close(source: object) -> None:
    """Close an iterable, a file or a response; what cannot be closed is left alone.

    What python-glanceclient gives has no `close`.  The response in it is found and closed.

    >>> import io
    >>> file = io.BytesIO(b"data")
    >>> close(file), file.closed
    (None, True)
    >>> close([b"data"])
    """
    with _closers(source):
        pass


@contextmanager
def closing(source: object) -> Iterator[None]:
    """Close a source at the end of the context, however it ends.

    If the context ends with an error and closing fails too, the first error is raised, and names the second in a note.

    >>> data = iter([b"data"])
    >>> with closing(data):
    ...     next(data)
    b'data'
    """
    with _closers(source) as closers, _closed_on_failure(closers):
        yield


@contextmanager
def closed_on_failure(source: object) -> Iterator[None]:
    """Close a source if the context ends with an error, which goes on."""
    with _closed_on_failure(_closers(source)):
        yield


@contextmanager
def _closed_on_failure(closers: ExitStack) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        try:
            closers.close()
        except Exception as failure:  # noqa: BLE001 - the first error is the one to raise
            error.add_note(f"closing the source failed: {' '.join(str(failure).split()) or type(failure).__name__}")
        raise


class Closeable(Iterator[T], Generic[T]):
    """The items of a generator.  Its source is closed with it, and as soon as it ends or fails.

    A generator alone closes nothing if it is closed before its first item.

    >>> import io
    >>> file = io.BytesIO(b"one line")
    >>> lines = Closeable((line.upper() for line in file), file)
    >>> lines.close()
    >>> file.closed
    True
    """

    def __init__(self, items: Iterable[T], source: object) -> None:
        """Take the items, and what they are read from."""
        self._items = iter(items)
        self._closers = _closers(source)
        self._closed = False

    def __next__(self) -> T:
        """Give the next item; there is none after `close`."""
        if self._closed:
            raise StopIteration
        try:
            return next(self._items)
        except StopIteration:
            self.close()
            raise
        except BaseException:
            with closed_on_failure(self):
                raise

    def close(self) -> None:
        """Close the items and their source, once."""
        if self._closed:
            return
        self._closed = True
        with self._closers:
            close(self._items)


def _closers(source: object) -> ExitStack:
    """Give what closes a source; to be asked for before it is read: a generator that has ended does not tell."""
    closers = ExitStack()
    for each in (source, *_read_by_glanceclient(source)):
        closer = getattr(each, "close", None)
        if callable(closer):
            closers.callback(closer)
    return closers


def _read_by_glanceclient(source: object) -> Iterator[Any]:
    """Yield all that an iteration of python-glanceclient reads from: in the end the response of requests.

    Its `IterableWithLength` cannot be closed, and its generators do not close what they read from.
    """
    held: list[Any] = []
    if inspect.isgenerator(source):
        frame = source.gi_frame  # None once it has ended
        if frame is not None and _of_glanceclient(frame.f_globals.get("__name__")):
            held = list(inspect.getgeneratorlocals(source).values())
    elif _of_glanceclient(type(source).__module__):
        held = [getattr(source, "iterable", None)]
    for each in held:
        if inspect.isgenerator(each) or hasattr(each, "iter_content") or _of_glanceclient(type(each).__module__):
            yield each
            yield from _read_by_glanceclient(each)


def _of_glanceclient(module: object) -> bool:
    return str(module).startswith("glanceclient.")
