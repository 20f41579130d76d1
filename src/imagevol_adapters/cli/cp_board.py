"""`imagevol cp --board`: images that workers copy on many hosts, and what is taken off the board before an undo."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.board_option import opened_board
from imagevol_adapters.cli.offered_job import offer_of, taken_back
from imagevol_core.sentences import amount

if TYPE_CHECKING:
    from imagevol_adapters.relocating import Outcome
    from imagevol_adapters.store_copies import CopyJournal, StoreCopies

__all__ = ["copied", "copies_taken_back"]

_MORE = ", with the same --from-store, --to-store, --move and --verify"


@contextmanager
def copied(copies: StoreCopies, asked: argparse.Namespace, *, cloud: str) -> Iterator[Iterator[Outcome]]:
    """Give what comes of each image of a journal: copied by this command, or with --board by workers.

    Args:
        copies: with the journal.
        asked: the options of the command.
        cloud: names the cloud, as a journal has it.

    Raises:
        ImagevolError: the board cannot be used.
    """
    if asked.board is None:
        yield copies.apply()
        return
    from imagevol_adapters.store_copies.offering import kind_of, offered_copies

    journal, kind = copies.journal, kind_of(copies, cloud)
    with opened_board(asked) as fleet:
        journal.check_board(fleet.name)  # before a worker is asked for that would have nothing to do
        offer = offer_of(fleet, job=journal.job, kind=kind, take="copies", more=_MORE)
        let_go = partial(fleet.shards.let_go, journal.job)
        try:
            with closing(offered_copies(copies, offer=offer, board=fleet.name, let_go=let_go)) as outcomes:
                yield outcomes
        finally:
            _tell_begun(journal)


def copies_taken_back(journal: CopyJournal, asked: argparse.Namespace) -> None:
    """With --board, take the images of a journal off the board, and wait for the workers that are copying some.

    Args:
        journal: any.
        asked: the options of the command.

    Raises:
        ImagevolError: a worker does not end, or the board cannot be used.
    """
    from imagevol_adapters.store_copies.offering import end_offer

    taken_back(journal, journal.job, asked, partial(end_offer, journal))


def _tell_begun(journal: CopyJournal) -> None:
    """Tell how many images have begun and not ended, if there are any."""
    from imagevol_adapters.relocating import State

    if begun := sum(entry.state is State.BEGUN for entry in journal.entries.values()):
        tell(
            f"{amount(begun, 'image')} of the journal began and did not end. Glance may still be copying: go on with "
            "--resume, or take all back with --undo."
        )
