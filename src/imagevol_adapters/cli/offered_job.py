"""A job of a command that is offered to the workers of many hosts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.board_option import opened_board
from imagevol_core import RequestRefused

if TYPE_CHECKING:
    from imagevol_adapters.fleet import Fleet, JobOffer
    from imagevol_adapters.fleet.journalled import LetGo, OfferedJournal

__all__ = ["going_on", "offer_of", "refuse_unused", "taken_back", "tell_offer"]


def refuse_unused(asked: argparse.Namespace, *, works_here: bool = False) -> None:
    """Refuse an option of a board, or with a board, that nothing would look at.

    Args:
        asked: the options of the command.
        works_here: whether the command does some of the work itself, also with --board.

    Raises:
        RequestRefused: there is one.
    """
    if asked.board_password_file and not asked.board:
        raise RequestRefused("--board-password-file is for --board: pass --board")
    if asked.board and not works_here and getattr(asked, "jobs", None):
        raise RequestRefused("with --board the workers do the work: pass --jobs to `imagevol fleet work`")


class EndOffer(Protocol):
    """Takes the images of a journal off a board."""

    def __call__(self, *, board: str, let_go: LetGo) -> None:
        """Return when no worker changes one any more."""


@contextmanager
def going_on(job: str) -> Iterator[None]:
    """Tell, if the command is interrupted, what becomes of its job.

    Args:
        job: its name.
    """
    try:
        yield
    except KeyboardInterrupt:
        tell(
            f"Stopped early. The workers go on with what is offered. Run the same command again, or end the job with "
            f"`imagevol fleet cancel {job}`."
        )
        raise


def offer_of(fleet: Fleet, *, job: str, kind: str, take: str, more: str = "") -> JobOffer:
    """Give how a job is offered, and tell what `tell_offer` tells.

    Args:
        fleet: on which it is offered.
        job: its name.
        kind: of its shards.
        take: what a worker must be told to take.
        more: what else the workers need.

    Raises:
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error.
    """
    from imagevol_adapters.fleet import JobOffer

    tell_offer(fleet, job=job, kind=kind, take=take, more=more)
    return JobOffer(shards=fleet.shards, job_records=fleet.jobs, job=job, kind=kind)


def tell_offer(fleet: Fleet, *, job: str, kind: str, take: str, more: str = "") -> None:
    """Tell the name of a job, and how to start a worker if none of its kind lives.

    Args:
        fleet: on which it is offered.
        job: its name.
        kind: of its shards.
        take: what a worker must be told to take.
        more: what else the workers need.

    Raises:
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error.
    """
    tell(f"Job {job} on {fleet.locks.service}: workers do it.")
    if not any(kind in each.worker.kinds for each in fleet.workers.workers()):
        start = f"imagevol fleet work --board {fleet.name} --take {take}"
        tell(f"No worker takes it yet. Start `{start}` for the same cloud and project{more}.")


def taken_back(journal: OfferedJournal, job: str, asked: argparse.Namespace, end_offer: EndOffer) -> None:
    """With --board, take the images of a job off the board, and wait for the workers that are changing some.

    Args:
        journal: of the job.
        job: its name.
        asked: the options of the command.
        end_offer: does so, and writes it into the journal.

    Raises:
        ImagevolError: the job is on another board, another process feeds it, a worker does not end, or the board cannot
            be used.
    """
    if asked.board is None:
        return
    with opened_board(asked) as fleet:
        journal.check_board(fleet.name)
        tell(f"Taking job {job} off {fleet.name}, and waiting for its workers.")
        with fleet.jobs.feeding(job, kind="", total=0):  # or a feeder would offer again what is taken off
            end_offer(board=fleet.name, let_go=partial(fleet.shards.let_go, job))
