"""`imagevol fleet work`: a worker, which does what jobs on a board have for hosts like this one."""

from __future__ import annotations

import argparse
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cliff.command import Command

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.board_option import add_board_options, opened_board
from imagevol_adapters.cli.counts import count_of
from imagevol_adapters.cli.taken_work import add_taken_options, taken_work
from imagevol_adapters.cli.worker_backends import add_worker_backends, worker_backends
from imagevol_core.sentences import amount

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Work"]

_JOBS = 2
_MOST_JOBS = 64
_ENDING = (signal.SIGTERM, signal.SIGINT)


class Work(Command):
    """Do parts of large jobs on this host, until it is stopped: read volumes, or change what you allow.

    The board says which volumes are read, of which images templates are created, and which images are changed or
    copied. What this worker may believe and change is said by its own options. Its credentials must be for the same
    cloud and project as those of the command that made the job. Ctrl-C or SIGTERM ends it, with the exit status 0: what
    it has not ended goes to another worker.
    """

    app: Imagevol

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the board, and what this worker may do."""
        parser = super().get_parser(prog_name)
        add_board_options(parser, required=True, does="do the work that is offered")
        parser.add_argument(
            "--jobs",
            type=count_of("shards", most=_MOST_JOBS),
            default=_JOBS,
            metavar="COUNT",
            help="do at most COUNT shards at once, such as volumes that are read (default: %(default)d)",
        )
        add_worker_backends(parser)
        add_taken_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Work until a signal comes."""
        backends = worker_backends(parsed_args)
        with opened_board(parsed_args) as fleet:
            from imagevol_adapters.fleet import serve, worker_name
            from imagevol_core.sharding import Worker

            stopping = fleet.stopping
            name = worker_name()
            taken = taken_work(self.app, parsed_args, fleet, fleet.limits(name))
            works = {each.kind: each for each in taken}
            worker = Worker(name=name, kinds=frozenset(works), backends=backends)

            def stop() -> None:
                stopping.set()
                for each in works.values():
                    each.stop()

            present = fleet.workers.present(worker, host=socket.gethostname(), jobs=parsed_args.jobs)
            with _told_to_end(stop), present:
                kinds = "; ".join(works)
                tell(
                    f"Worker {worker.name} waits for work on {fleet.locks.service}: {kinds}. Ctrl-C or SIGTERM ends it."
                )
                count = serve(
                    fleet.shards,
                    worker=worker,
                    works={kind: each.work for kind, each in works.items()},
                    jobs=parsed_args.jobs,
                    stopping=stopping,
                )
            tell(f"Worker {worker.name} ended. It took {amount(count, 'shard')}.")


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
