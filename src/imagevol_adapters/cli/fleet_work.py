"""`imagevol fleet work`: a worker, which does what jobs on a board have for hosts like this one."""

from __future__ import annotations

import argparse
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

from cliff.command import Command

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.board_option import add_board_options, opened_board
from imagevol_adapters.cli.counts import count_of
from imagevol_adapters.cli.deep_reader import DeepReader, add_rate_option, check_projects
from imagevol_adapters.cli.trust_option import add_trust_option
from imagevol_core import RequestRefused
from imagevol_core.sentences import amount

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Work"]

_JOBS = 2
_MOST_JOBS = 64
_ENDING = (signal.SIGTERM, signal.SIGINT)


class Work(Command):
    """Do parts of large jobs on this host, until it is stopped: read volumes for `imagevol audit --deep --board`.

    The board says which volumes are read. What this worker may believe and change is said by its own options, and its
    credentials must be for the same cloud and project as those of the command that made the job. Ctrl-C or SIGTERM ends
    it, with the exit status 0: the volumes that it is reading go to another worker.
    """

    app: Imagevol

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the board, and what this worker may do."""
        parser = super().get_parser(prog_name)
        add_board_options(parser, required=True, does="do the work that is offered")
        parser.add_argument(
            "--jobs",
            type=count_of("volumes", most=_MOST_JOBS),
            default=_JOBS,
            metavar="COUNT",
            help="read at most COUNT volumes at once (default: %(default)d)",
        )
        add_rate_option(parser)
        parser.add_argument(
            "--trusted-project",
            action="append",
            default=[],
            metavar="PROJECT_ID",
            help="trust the metadata of the volumes of project PROJECT_ID, in which no user creates volumes; can be "
            "repeated",
        )
        add_trust_option(parser, when="--trusted-project")
        parser.add_argument(
            "--record-blake3",
            action="store_true",
            help="write a BLAKE3 into the metadata of each volume that records none and whose data is that of its "
            "image; only in a project of --trusted-project",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Work until a signal comes."""
        if parsed_args.trust_recorded and not parsed_args.trusted_project:
            raise RequestRefused("--trust-recorded relies on records in trusted projects: pass --trusted-project")
        with opened_board(parsed_args) as fleet:
            from imagevol_adapters.fleet import serve, worker_name
            from imagevol_adapters.gathering import deep_kind, deep_work
            from imagevol_core.sharding import Worker

            check_projects(self.app, parsed_args.trusted_project)
            reader, stopping = DeepReader(self.app, parsed_args), Event()
            kind = deep_kind(self.app.cloud_id())
            self.app.attacher  # noqa: B018 - a host that lacks os-brick says so now, and takes nothing
            worker = Worker(name=worker_name(), kinds=frozenset({kind}))

            def stop() -> None:
                stopping.set()
                reader.limits.cancelled.set()

            present = fleet.workers.present(worker, host=socket.gethostname(), jobs=parsed_args.jobs)
            with _told_to_end(stop), present:
                tell(
                    f"Worker {worker.name} waits for work on {fleet.locks.service}: {kind}. Ctrl-C or SIGTERM ends it."
                )
                count = serve(
                    fleet.shards,
                    worker=worker,
                    works={kind: deep_work(reader.read_offered, images=self.app.images)},
                    jobs=parsed_args.jobs,
                    stopping=stopping,
                )
            tell(f"Worker {worker.name} ended. It took {amount(count, 'volume')}.")


@contextmanager
def _told_to_end(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` on the first signal to end; a second one is an interrupt, as of every command."""

    def handle(_: int, __: FrameType | None) -> None:
        for number in _ENDING:
            signal.signal(number, signal.default_int_handler)
        stop()

    before = {number: signal.signal(number, handle) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
