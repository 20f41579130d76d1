"""`imagevol locations apply --board` and `undo --board`: changes that workers make on many hosts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.board_option import opened_board
from imagevol_adapters.cli.offered_job import offer_of, taken_back
from imagevol_adapters.relocating import Journal, Migration, Outcome, State
from imagevol_core.sentences import amount

__all__ = ["applied", "changes_taken_back"]

_MORE = ", with Glance's configuration in --glance-config-file and the same --rename"


@contextmanager
def applied(migration: Migration, asked: argparse.Namespace, *, cloud: str) -> Iterator[Iterator[Outcome]]:
    """Give what comes of each image of a journal: changed here, or with --board by workers.

    Args:
        migration: with the journal.
        asked: the options of the command.
        cloud: names the cloud, as a journal has it.

    Raises:
        ImagevolError: the board cannot be used.
    """
    if asked.board is None:
        yield migration.apply()
        return
    from imagevol_adapters.relocating.offering import location_kind, offered_changes

    journal = migration.journal
    with opened_board(asked) as fleet:
        journal.check_board(fleet.name)  # before a worker is asked for that would have nothing to do
        kind = location_kind(cloud, plan=journal.plan_id)
        offer = offer_of(fleet, job=journal.job, kind=kind, take="locations", more=_MORE)
        changes = offered_changes(
            migration, offer=offer, board=fleet.name, let_go=partial(fleet.shards.let_go, journal.job)
        )
        try:
            with closing(changes) as outcomes:
                yield outcomes
        finally:
            _tell_begun(journal)


def changes_taken_back(journal: Journal, asked: argparse.Namespace) -> None:
    """With --board, take the images of a journal off the board, and wait for the workers that are changing some.

    Args:
        journal: any.
        asked: the options of the command.

    Raises:
        ImagevolError: a worker does not end, or the board cannot be used.
    """
    from imagevol_adapters.relocating.offering import end_offer

    taken_back(journal, journal.job, asked, partial(end_offer, journal))


def _tell_begun(journal: Journal) -> None:
    """Tell how many images have begun and not ended, if there are any."""
    if begun := sum(entry.state is State.BEGUN for entry in journal.entries.values()):
        tell(
            f"{amount(begun, 'image')} of the journal began and did not end. Their volumes may stay reserved until "
            "you go on with --resume, or change all back with undo."
        )
