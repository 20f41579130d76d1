"""`imagevol stores`: what is wrong with the stores of a Glance, and how one store becomes several."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from cliff.columns import FormattableColumn
from cliff.formatters.base import ListFormatter
from cliff.lister import Lister
from cliff.show import ShowOne

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.columns import TEXT, TEXT_OR_NULL, Column, Shown, record, verdict
from imagevol_adapters.cli.output import Named
from imagevol_adapters.cli.schemas import json_enum, json_list
from imagevol_core import (
    HIDDEN,
    AccessDenied,
    ImagevolError,
    RequestRefused,
    Result,
    StoreCatalogue,
    Verdict,
    check_stores,
    shown_value,
)
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.configuration.upgrade import FileUpgrade
    from imagevol_core import StoreTrial

__all__ = ["Check", "SentencesFormatter", "UpgradeConfig"]

_FOUND = 3  # the exit status when there is something to mend
_GLANCE_API_CONF = Path("/etc/glance/glance-api.conf")


class Check(Shown, Lister):
    """Try every store that Glance is configured with, and list every fault; the exit status is 3 if there is any.

    Run it as Glance's user on Glance's host. It signs in with each store's own credentials, asks for its volume type,
    and looks at its directories and at what os-brick needs of this host. It changes nothing.
    """

    app: Imagevol
    columns: ClassVar[tuple[Column, ...]] = (
        Column("store", TEXT_OR_NULL, "The name of the store; null if the rule is about all stores."),
        Column("not_tried", TEXT_OR_NULL, "Why the store was not tried; null if it was."),
        Column("rule", TEXT, "The id of the rule."),
        Column("result", json_enum(Result), "What the rule says."),
        Column("text", TEXT, "The facts that decided, as a sentence; it can change."),
    )
    _status = 0

    @property
    def formatter_namespace(self) -> str:
        """The usual formats, and sentences."""
        return "imagevol.formatter.verdicts"

    @property
    def formatter_default(self) -> str:
        """Sentences, unless a program asks."""
        return "sentences"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take what Glance is started with."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--config-file",
            type=Path,
            action="append",
            metavar="FILE",
            help="what Glance reads, a file or a directory of files; may be repeated, and a later one overrules "
            f"(default: {_GLANCE_API_CONF})",
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Say by the exit status whether something was found."""
        return super().run(parsed_args) or self._status

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterable[tuple[object, ...]]]:
        """Read the files, ask Cinder, and ask the core."""
        from imagevol_adapters.configuration.stores import credentials
        from imagevol_adapters.gathering import gather_catalogue, with_default_type
        from imagevol_adapters.gathering.configured_stores import ConfiguredStores
        from imagevol_adapters.store_trials import try_store

        stores = ConfiguredStores.read(parsed_args.config_file or [_GLANCE_API_CONF])
        catalogue, conf = gather_catalogue(stores), stores.conf
        given = credentials(conf, catalogue)
        trials = {store.name: try_store(conf, store, catalogue) for store in catalogue.stores}
        default_type, types = self._cinder_says(catalogue, trials)
        check = check_stores(
            with_default_type(catalogue, lambda: default_type),
            credentials=given,
            volume_types=types,
            trials=trials,
        )
        self._status = _FOUND if check.faults else 0
        return self.names(), [
            (verdict.subject, _not_tried(trials, verdict.subject), verdict.rule, verdict.result.value, verdict.text)
            for verdict in check.verdicts
        ]

    def _cinder_says(
        self, catalogue: StoreCatalogue, trials: Mapping[str, StoreTrial]
    ) -> tuple[str | None, tuple[str, ...] | None]:
        """The default volume type and the names of all; None for what Cinder does not answer.

        This command's own credentials are used for the stores that have none.

        Raises:
            AccessDenied: there are no such credentials, or a service refuses them.
        """
        default_type = next(filter(None, (trial.default_volume_type for trial in trials.values())), None)
        types = None
        if any(store.is_cinder and trials[store.name].not_tried for store in catalogue.stores):
            try:
                types = self.app.volumes.volume_types()
                default_type = default_type or self.app.volumes.default_volume_type()
            except AccessDenied:  # of this command's own credentials: it is no fault of a store
                raise
            except ImagevolError as error:  # what needs no Cinder is told all the same
                self.app.LOG.warning(error)
        return default_type, types


class SentencesFormatter(ListFormatter):
    """Each store, and what is wrong with it."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """There is nothing to choose."""

    def emit_list(
        self,
        column_names: Sequence[str],
        data: Iterable[Sequence[Any]],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        """Print it; columns that were chosen are printed as they are."""
        if tuple(column_names) == Check.names():
            lines = _about_stores(
                (Verdict(rule, Result(result), store, text), not_tried) for store, not_tried, rule, result, text in data
            )
        else:
            lines = (" ".join(map(str, row)) for row in data)
        for line in lines:
            print(line, file=stdout)


class UpgradeConfig(Named, Shown, ShowOne):
    """Turn the glance-api.conf of a single-store Glance into one of several stores, and write that to a new file."""

    app: Imagevol
    columns: ClassVar[tuple[Column, ...]] = (
        Column("file", TEXT, "The file that was read."),
        Column("written", TEXT_OR_NULL, "The file that was written; null if nothing was."),
        Column("kept", TEXT_OR_NULL, "With --in-place, the file that has what was there before."),
        Column(
            "edits",
            json_list(
                record(
                    Column("section", TEXT, "The section of the option."),
                    Column("option", TEXT, "The name of the option."),
                    Column("before", TEXT_OR_NULL, "Its value before, hidden if it can be secret; null if not set."),
                    Column(
                        "after", TEXT_OR_NULL, "Its value after, hidden if it can be secret; null if it is removed."
                    ),
                    Column("why", TEXT, "Why it changes; it can change."),
                )
            ),
            "Every option that changes.",
        ),
        Column("verdicts", lambda: json_list(verdict()), "Every rule that was asked."),
    )
    _status = 0

    @property
    def formatter_namespace(self) -> str:
        """The usual formats, and sentences."""
        return "imagevol.formatter.explanation"

    @property
    def formatter_default(self) -> str:
        """Sentences, unless a program asks."""
        return "sentences"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the file, and what it does not say."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", type=Path, help="the glance-api.conf that has the options of the stores")
        parser.add_argument(
            "--name",
            type=_pair,
            action="append",
            default=[],
            metavar="DRIVER=STORE",
            help="what the store of a driver in `stores` will be called, as cinder=fast; one for each driver",
        )
        parser.add_argument(
            "--give-up",
            action="append",
            default=[],
            metavar="DRIVER",
            help="a driver whose store shall be no more; images in it can then not be read",
        )
        parser.add_argument(
            "--new-store",
            type=_pair,
            action="append",
            default=[],
            metavar="STORE=TYPE",
            help="one more cinder store, whose volumes are of this type; all else is as for the present one",
        )
        parser.add_argument("--default", metavar="STORE", help="the default store; the present one if not given")
        parser.add_argument(
            "--volume-type",
            metavar="TYPE",
            help="Cinder's default type, of which the present volumes are where cinder_volume_type is not set; Cinder "
            "is asked if it is not given",
        )
        place = parser.add_mutually_exclusive_group()
        place.add_argument("--output", type=Path, metavar="FILE", help="a new file (default: the name and .new)")
        place.add_argument(
            "--in-place", action="store_true", help="replace the file; what it was is kept, by the name and .orig"
        )
        place.add_argument("--dry-run", action="store_true", help="show what would be changed, and write nothing")
        parser.add_argument("--yes", action="store_true", help="with --in-place: do not ask")
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Say by the exit status whether it was refused."""
        return super().run(parsed_args) or self._status

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Plan, show, write."""
        from imagevol_adapters.configuration.upgrade import write_beside, write_in_place

        upgrade = self._plan(parsed_args, parsed_args.volume_type)
        if parsed_args.volume_type is None and upgrade.plan.needs_volume_type:
            upgrade = self._plan(parsed_args, self._default_volume_type())
        self._status = _FOUND if upgrade.plan.refused else 0
        lines = list(_about_upgrade(upgrade))
        written = kept = None
        if upgrade.plan.edits and parsed_args.in_place:
            if not parsed_args.yes:
                self._ask(lines)
                lines = []
            written, kept = upgrade.file, write_in_place(upgrade)
            lines.append(f"{written} is replaced, and what it was is {kept}. Check it, and restart Glance.")
        elif upgrade.plan.edits and not parsed_args.dry_run:
            written = parsed_args.output or upgrade.file.with_name(f"{upgrade.file.name}.new")
            write_beside(upgrade, written)
            lines.append(f"{written} is written. Check it, put it in the place of {upgrade.file}, and restart Glance.")
        return self.names(), (
            str(upgrade.file),
            written and str(written),
            kept and str(kept),
            _edits(upgrade),
            Explained(([verdict.as_dict() for verdict in upgrade.plan.verdicts], lines)),
        )

    def _plan(self, asked: argparse.Namespace, default_volume_type: str | None) -> FileUpgrade:
        from imagevol_adapters.configuration.upgrade import plan_file_upgrade

        return plan_file_upgrade(
            asked.file,
            names=dict(asked.name) | dict.fromkeys(asked.give_up),
            default_volume_type=default_volume_type,
            new_stores={name: {"cinder_volume_type": volume_type} for name, volume_type in asked.new_store},
            default=asked.default,
        )

    def _default_volume_type(self) -> str | None:
        try:
            return self.app.volumes.default_volume_type()
        except ImagevolError as error:
            self.app.LOG.warning(error)
            return None

    def _ask(self, lines: Iterable[str]) -> None:
        """Show what would be done, and go on only with a yes."""
        for line in lines:
            print(line, file=sys.stderr)
        if not sys.stdin.isatty():
            raise RequestRefused(
                "standard input is not a terminal: give --yes to replace the file, or --dry-run to look only"
            )
        print("Replace it? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise RequestRefused("the file is left as it is")


class Explained(FormattableColumn[Any]):
    """What a program reads, and the lines that a person does."""

    def human_readable(self) -> str:
        """The lines."""
        return "\n".join(self._value[1])

    def machine_readable(self) -> Any:
        """The data."""
        return self._value[0]


def _not_tried(trials: Mapping[str, StoreTrial], store: str | None) -> str | None:
    """Why a store was not tried; None if it was, or if the verdict is about all stores."""
    return None if store is None else trials[store].not_tried


def _about_stores(rows: Iterable[tuple[Verdict, str | None]]) -> Iterator[str]:
    for (store, not_tried), group in groupby(rows, key=lambda row: (row[0].subject, row[1])):
        against = [verdict for verdict, _ in group if verdict.faults]
        if store is None:
            yield from (f"{verdict.rule}: {verdict.text}." for verdict in against)
            continue
        works = f"is consistent; not tried ({said(not_tried)})" if not_tried else "works"
        state = works if all(verdict.ok for verdict in against) else "fails"
        yield f"Store {store} {state}{':' if against else '.'}"
        yield from _listed(against)


def _about_upgrade(upgrade: FileUpgrade) -> Iterator[str]:
    against = [verdict for verdict in upgrade.plan.verdicts if verdict.faults]
    if upgrade.plan.refused:
        yield f"{upgrade.file} cannot be upgraded like this:"
    elif upgrade.plan.edits:
        yield upgrade.difference.rstrip("\n")
        if HIDDEN in upgrade.difference:
            yield f"Comments and values that may be secret are shown as {HIDDEN}; the file has them unchanged."
    else:
        yield f"In {upgrade.file} there is nothing to do:"
    yield from _listed(against)


def _listed(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for each in verdicts:
        yield f"  {'warning, ' if each.ok else ''}{each.rule}: {each.text}."


def _edits(upgrade: FileUpgrade) -> list[dict[str, str | None]]:
    return [
        {
            "section": edit.section,
            "option": edit.option,
            "before": shown_value(edit.option, edit.before),
            "after": shown_value(edit.option, edit.after),
            "why": edit.why,
        }
        for edit in upgrade.plan.edits
    ]


def _pair(text: str) -> tuple[str, str]:
    first, equals, second = text.partition("=")
    if not (first and equals and second):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return first, second
