"""`imagevol fleet status`, `workers`, `cancel` and `retry`: the jobs on a board, and who does them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from cliff.command import Command
from cliff.lister import Lister

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.board_option import add_board_options, opened_board
from imagevol_adapters.cli.columns import (
    COUNT,
    COUNT_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME_OR_NULL,
    Column,
    Shown,
    one_of,
    or_null,
    record,
)
from imagevol_adapters.cli.html_option import add_html_option, write_html
from imagevol_adapters.cli.schemas import Schema, json_list
from imagevol_adapters.cli.short_kind import short_kind
from imagevol_core import RequestRefused
from imagevol_core.sentences import amount, said

if TYPE_CHECKING:
    from imagevol_adapters.fleet import Fleet, JobState
    from imagevol_adapters.reporting import Contents
    from imagevol_core.sharding import ShardRecord

__all__ = ["Cancel", "Retry", "Status", "Workers"]

_HOUR = 3600
_STRUCTURED = ("json", "yaml")
_TEXTS_OR_NULL: Schema = or_null(json_list(TEXT))
_RATE: Schema = {"type": ["number", "null"], "minimum": 0}


class Status(Shown, Lister):
    """List the jobs on a board: how far each is, which workers have its shards, and what failed, with the reason.

    A job without a feeder is one whose command ended early or was killed: the workers do what is offered, and nothing
    follows. Run its command again with --resume, or cancel the job. JSON has each kind whole. A table has it short,
    with a code that only the same kind has.
    """

    app: Imagevol
    _page: Contents | None = None
    matters_less = ("kind", "held", "set_aside", "in_use", "offered", "rate")
    columns: ClassVar[tuple[Column, ...]] = (
        Column("job", TEXT, "The name of the job."),
        Column(
            "state",
            one_of("running", "cancelled", "not-fed"),
            "Whether its command offers shards: it does, it is about to end, or there is none.",
        ),
        Column("total", COUNT_OR_NULL, "How many shards it has; null if no command has written that."),
        Column("done", COUNT, "How many are done, those of earlier runs too."),
        Column("failed", COUNT, "How many were set aside after too many failed attempts."),
        Column(
            "offered",
            COUNT,
            "How many are free for a worker, without those of `in_use`.",
        ),
        Column(
            "held",
            json_list(
                record(
                    Column("worker", TEXT, "The name of the worker."),
                    Column("shards", json_list(TEXT), "The ids of the shards that it is doing."),
                )
            ),
            "What is being done.",
        ),
        Column(
            "set_aside",
            json_list(
                record(
                    Column("shard", TEXT, "The id of the shard."),
                    Column("reason", TEXT_OR_NULL, "Why it failed."),
                )
            ),
            "What was set aside and can be tried again.",
        ),
        Column(
            "in_use",
            json_list(
                record(
                    Column("shard", TEXT, "The id of the shard."),
                    Column("reason", TEXT_OR_NULL, "What has the volume, as far as that is known."),
                )
            ),
            "What waits because its volume was in use elsewhere; it is tried again by itself.",
        ),
        Column("kind", TEXT_OR_NULL, "The kind of its work, with the cloud; only a worker of this kind does it."),
        Column("rate", _RATE, "How many shards are done an hour, since the command began; null if not known."),
        Column("seconds_left", COUNT_OR_NULL, "How long the rest takes at this rate; null if not known."),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the job and the board."""
        parser = super().get_parser(prog_name)
        parser.add_argument("job", nargs="?", metavar="JOB", help="list only JOB (default: all jobs)")
        add_board_options(parser, required=True, does="look at the jobs")
        add_html_option(parser, besides="; it has the workers too")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterable[tuple[object, ...]]]:
        """Ask the board."""
        if parsed_args.html is not None:
            from imagevol_adapters.reporting import check_library

            check_library()
        with opened_board(parsed_args) as fleet:
            from imagevol_adapters.fleet import look_at_jobs

            states = look_at_jobs(fleet.shards, fleet.jobs, job=parsed_args.job)
            names, rows = self.names(), [_job(each) for each in states]
            if parsed_args.html is not None:
                self._page = _page(self.app.typed, fleet, [dict(zip(names, row, strict=True)) for row in rows])
        return names, rows if parsed_args.formatter in _STRUCTURED else [_told(names, row) for row in rows]

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any) -> int:
        """Write the page too.  If that fails, the jobs are shown, and if those cannot be shown, the page is written."""
        try:
            return int(super().produce_output(parsed_args, column_names, data))
        finally:
            if self._page is not None:
                write_html(parsed_args.html, self._page)


class Workers(Shown, Lister):
    """List the workers that live, and what each is doing.

    A worker that was killed is listed until its lease ends. If a shard is held by a worker that is not listed, another
    worker takes it when the lease ends. JSON has each kind whole. A table has it short, with a code that only the same
    kind has.
    """

    app: Imagevol
    matters_less = ("kinds", "backends", "last_seen")
    columns: ClassVar[tuple[Column, ...]] = (
        Column("worker", TEXT, "The name of the worker."),
        Column("host", TEXT, "The name of its host."),
        Column("jobs", COUNT, "How many shards it does at once, at most."),
        Column("backends", _TEXTS_OR_NULL, "The backends that its host can attach; null if it tries all."),
        Column("last_seen", TIME_OR_NULL, "When it last said that it lives, by the clock of its host."),
        Column("kinds", json_list(TEXT), "The kinds of work that it does."),
        Column(
            "held",
            json_list(
                record(Column("job", TEXT, "The name of the job."), Column("shard", TEXT, "The id of the shard."))
            ),
            "What it is doing.",
        ),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the board."""
        parser = super().get_parser(prog_name)
        add_board_options(parser, required=True, does="look at the workers")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterable[tuple[object, ...]]]:
        """Ask the board."""
        with opened_board(parsed_args) as fleet:
            names, rows = self.names(), list(_workers(fleet))
        return names, rows if parsed_args.formatter in _STRUCTURED else [_told(names, row) for row in rows]


class Cancel(Command):
    """End a job: take its shards off the board, and tell its command to end.

    What was found stays in the journal of the command, which can go on with it later. A worker that is reading a volume
    of the job reads it to its end, and its result is not used. With --unreadable, no job ends: records are taken off
    the board that are no records of this release.
    """

    app: Imagevol

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the job and the board."""
        parser = super().get_parser(prog_name)
        parser.add_argument("job", nargs="?", metavar="JOB", help="end JOB")
        parser.add_argument(
            "--unreadable",
            action="store_true",
            help="in place of JOB, take away what cannot be read, which another program or release has written",
        )
        add_board_options(parser, required=True, does="end a job")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Change the board."""
        if (parsed_args.job is not None) is parsed_args.unreadable:
            raise RequestRefused("give either JOB or --unreadable")
        with opened_board(parsed_args) as fleet:
            if parsed_args.unreadable:
                from imagevol_adapters.fleet import remove_unreadable_limits

                boards = (fleet.shards.readable, fleet.jobs.readable, fleet.workers.readable)
                count = sum(each.remove_unreadable() for each in boards) + remove_unreadable_limits(fleet.limit_board)
                were = "was" if count == 1 else "were"
                tell(f"{amount(count, 'record')} that cannot be read {were} taken off the board.")
                return
            from imagevol_adapters.fleet import cancel_job

            count = cancel_job(parsed_args.job, shards=fleet.shards, jobs=fleet.jobs)
            fed = fleet.jobs.is_fed(parsed_args.job)
        ends = " Its command ends within seconds." if fed else ""
        tell(f"Job {parsed_args.job} was cancelled: {amount(count, 'shard')} taken off the board.{ends}")


class Retry(Command):
    """Offer shards again that were set aside after too many failed attempts."""

    app: Imagevol

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the job, the shard and the board."""
        parser = super().get_parser(prog_name)
        parser.add_argument("job", metavar="JOB", help="try shards of JOB again")
        parser.add_argument("shard", nargs="?", metavar="SHARD", help="try only SHARD again (default: all of them)")
        add_board_options(parser, required=True, does="try shards again")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Change the board."""
        ids = None if parsed_args.shard is None else [parsed_args.shard]
        with opened_board(parsed_args) as fleet:
            from imagevol_adapters.fleet import retry_shards

            count = retry_shards(parsed_args.job, shards=fleet.shards, ids=ids)
        tell(f"Job {parsed_args.job}: {amount(count, 'shard')} offered again.")


def _job(state: JobState) -> tuple[object, ...]:
    written = state.record
    kind = written.kind if written else state.shards[0].shard.kind
    rate = written.rate if written else None
    left = written.left_seconds if written and state.is_fed else None
    return (
        state.job,
        state.state,
        written.total if written else None,
        state.done,
        state.failed,
        state.free,
        [{"worker": worker, "shards": list(ids)} for worker, ids in sorted(state.held.items())],
        _reasons(state.set_aside),
        _reasons(state.in_use),
        kind,
        None if rate is None else round(rate * _HOUR, 1),
        None if left is None else max(0, round(left)),
    )


def _page(typed: Sequence[str], fleet: Fleet, jobs: Sequence[Mapping[str, Any]]) -> Contents:
    from imagevol_adapters.cli.fleet_page import board_contents

    workers = [dict(zip(Workers.names(), row, strict=True)) for row in _workers(fleet)]
    return board_contents(typed, board=fleet.name, jobs=jobs, workers=workers)


def _reasons(records: Iterable[ShardRecord]) -> list[dict[str, str | None]]:
    return [{"shard": each.shard.id, "reason": each.reason} for each in records]


def _workers(fleet: Fleet) -> Iterator[tuple[object, ...]]:
    held: dict[str, list[dict[str, str]]] = {}
    for each in fleet.shards.records():
        if each.holder is not None:
            held.setdefault(each.holder, []).append({"job": each.shard.job, "shard": each.shard.id})
    for listed in fleet.workers.workers():
        worker = listed.worker
        yield (
            worker.name,
            listed.host,
            listed.jobs,
            None if worker.backends is None else sorted(worker.backends),
            _time(listed.seen_at),
            sorted(worker.kinds),
            held.get(worker.name, []),
        )


def _time(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # any program can write it
        return None


def _told(names: tuple[str, ...], row: tuple[object, ...]) -> tuple[object, ...]:
    """Give a row as a person reads it."""
    return tuple(_text(_SHOWN.get(name, _same)(value)) for name, value in zip(names, row, strict=True))


def _same(value: object) -> object:
    return value


_SHOWN: Mapping[str, Callable[[Any], object]] = {
    "backends": lambda backends: "all" if backends is None else backends,
    "kind": lambda kind: None if kind is None else short_kind(kind),
    "kinds": lambda kinds: [short_kind(kind) for kind in kinds],
}


def _text(value: object) -> object:
    if value is None:
        return "not known"
    if isinstance(value, str):
        return said(value)
    if isinstance(value, list):
        return "; ".join(str(_text(each)) for each in value)
    if isinstance(value, Mapping):
        first, second = value.values()
        return f"{_text(first)}: {_text(second)}"
    return value
