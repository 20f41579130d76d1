"""The records of a board, without those that cannot be read: any program that reaches the service can write there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import attrs

from imagevol_adapters.ports import ShardBoard
from imagevol_core import ServiceFailed
from imagevol_core.sentences import amount, said

__all__ = ["Readable"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

_NAMED, _LONGEST_KEY = 3, 80


@attrs.define(eq=False)
class Readable(Generic[T]):
    """What a board says that can be read.  What cannot is passed over, and named in the log once.

    Args:
        board: of texts.
        what: each is the record of this.
        record: reads a text; raises `ServiceFailed`.
        key: gives the key that belongs to a record; under any other key it is no record.

    >>> from imagevol_adapters.fleet import LocalBoard
    >>> from imagevol_adapters.fleet.recorded import key_of_shard, record_of, text_of_record
    >>> from imagevol_core.sharding import Shard, ShardRecord
    >>> board = LocalBoard()
    >>> readable = Readable(board, "shard", record_of, lambda record: key_of_shard(record.shard))
    >>> record = ShardRecord(shard=Shard(job="audit", id="7ad3", kind="deep"))
    >>> board.create("audit/7ad3", text_of_record(record)), board.create("audit/1", text_of_record(record))
    (True, True)
    >>> list(readable.all()), readable.remove_unreadable(), list(board.all())
    (['audit/7ad3'], 1, ['audit/7ad3'])
    """

    board: ShardBoard
    what: str
    record: Callable[[str], T]
    key: Callable[[T], str]
    _told: frozenset[str] = attrs.field(default=frozenset(), init=False)
    _read: dict[str, tuple[str, T | None]] = attrs.field(factory=dict, init=False, repr=False)  # by key

    def all(self) -> dict[str, T]:
        """Give each record by its key, in the order of the keys."""
        return self.of(self.board.all())

    def of(self, texts: Mapping[str, str]) -> dict[str, T]:
        """Give the records that these texts of the board say.

        Args:
            texts: by key.
        """
        found = {key: self.read(key, text) for key, text in sorted(texts.items())}
        self._read = {key: (text, found[key]) for key, text in texts.items()}
        unread = [key for key, record in found.items() if record is None]
        if not self._told.issuperset(unread):
            names = ", ".join(said(key[:_LONGEST_KEY]) or "''" for key in unread[:_NAMED])
            more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
            LOG.warning(
                "%s on the board cannot be read and %s passed over: %s%s. Use the same release of imagevol on all "
                "hosts, or remove %s with `imagevol fleet cancel --unreadable`",
                amount(len(unread), f"{self.what} record"),
                "is" if len(unread) == 1 else "are",
                names,
                more,
                "it" if len(unread) == 1 else "them",
            )
        self._told = frozenset(unread)
        return {key: record for key, record in found.items() if record is not None}

    def read(self, key: str, text: str) -> T | None:
        """Give the record that a text says; None if it cannot be read, or belongs to another key.

        Args:
            key: of the text.
            text: as it is on the board.
        """
        known = self._read.get(key)
        if known is not None and known[0] == text:
            return known[1]
        try:
            record = self.record(text)
        except ServiceFailed:
            found = None
        else:
            found = record if self.key(record) == key else None
        self._read[key] = text, found
        return found

    def get(self, key: str) -> T | None:
        """Give one record; None if there is none that can be read.

        Args:
            key: of the record.
        """
        text = self.board.get(key)
        return None if text is None else self.read(key, text)

    def remove_unreadable(self) -> int:
        """Take away what cannot be read, and give how many records that were."""
        texts = self.board.all().items()
        return sum(self.read(key, text) is None and self.board.replace(key, text, None) for key, text in texts)
