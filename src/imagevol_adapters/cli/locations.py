"""`imagevol locations plan`, `apply` and `undo`: what becomes of the locations when stores are renamed or split."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cliff.lister import Lister

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import agreed, tell
from imagevol_adapters.cli.board_option import add_board_options
from imagevol_adapters.cli.columns import COUNT, TEXT, TEXT_OR_NULL, Column, Shown, or_null, record
from imagevol_adapters.cli.location_column import LocationColumn, location_text
from imagevol_adapters.cli.locations_board import applied, changes_taken_back
from imagevol_adapters.cli.locations_facts import GLANCE_API_CONF, catalogue_of, glance_configuration
from imagevol_adapters.cli.metrics_option import add_metrics_option, check_metrics, write_outcomes
from imagevol_adapters.cli.offered_job import refuse_unused
from imagevol_adapters.cli.output import Named
from imagevol_adapters.cli.progress import counted
from imagevol_adapters.cli.renames import add_renames, given_renames
from imagevol_adapters.cli.schemas import json_enum
from imagevol_adapters.file_deadline import is_there
from imagevol_adapters.relocating import Journal, Migration, Outcome, PlannedImage, State, plan_images
from imagevol_core import (
    Image,
    LocationChange,
    LocationOutcome,
    MigrationTotals,
    Policy,
    RelocationWay,
    RequestRefused,
    ServiceError,
    StoreCatalogue,
    unfinished_imports,
)
from imagevol_core.sentences import amount, said

if TYPE_CHECKING:
    from oslo_config import cfg

    from imagevol_adapters.relocating.journal import Entry

__all__ = ["Apply", "Plan", "Undo"]

_FOUND = 3
_QUIET = (LocationOutcome.KEEP, LocationOutcome.NOT_CINDER)
_STALE = (
    "Changing an image's locations changes its updated_at. Cinder then treats its cached copy as stale and caches the "
    "image again when it is next used."
)
_NAMES_A_PAGE = 50  # of images; their ids are in a URL


class _Locations(Shown, Lister):
    """What the commands share: the stores of Glance, the plan, the question."""

    app: Imagevol
    _config_files: Sequence[Path] | None = None
    _metrics: Path | None = None
    _found = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the configuration of Glance."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--config-file",
            action="append",
            type=Path,
            metavar="FILE",
            help="Glance's configuration, which says what its stores are; may be repeated, and a later one overrules "
            f"an earlier one (default: {GLANCE_API_CONF})",
        )
        add_metrics_option(parser)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Give 3 when something was found that is not as it should be."""
        self._config_files = parsed_args.config_file
        self._metrics = parsed_args.metrics
        check_metrics(self._metrics)
        status = int(super().run(parsed_args))
        return status or (_FOUND if self._found else 0)

    @cached_property
    def _importing(self) -> dict[str, tuple[str, ...]]:
        """The stores to which an image is being imported, by its id, as far as images were listed."""
        return {}

    @cached_property
    def _configuration(self) -> cfg.ConfigOpts:
        return glance_configuration(self._config_files)

    @cached_property
    def _catalogue(self) -> StoreCatalogue:
        return catalogue_of(self.app, self._configuration)

    @property
    def _delayed_delete(self) -> bool:
        return bool(self._configuration.delayed_delete)

    def _planned(
        self, renames: dict[str, str], totals: MigrationTotals, policy: Policy = Policy.STRICT
    ) -> Iterator[PlannedImage]:
        images = self.app.images.listed()
        with closing(counted(images, phase="plan", unit="images")) as listed:
            yield from plan_images(
                map(self._noticed, listed),
                catalogue=self._catalogue,
                volume_types=self.app.volumes.types_of,
                renames=renames,
                policy=policy,
                delayed_delete=self._delayed_delete,
                totals=totals,
            )

    def _noticed(self, image: Image) -> Image:
        """The image, of which it is remembered whether an import of it is not finished."""
        if stores := unfinished_imports(image):
            self._importing[image.id] = stores
        return image

    def _tell(self, line: str) -> None:
        """To the operator, not into what a program reads."""
        tell(line)

    def _tell_totals(self, totals: MigrationTotals) -> None:
        counted = ", ".join(f"{count} {outcome.value}" for outcome, count in totals.outcomes.most_common() if count)
        self._tell(
            f"{amount(totals.images, 'image')} with {amount(totals.locations, 'location')}: "
            f"{counted or 'nothing to plan'}"
        )
        for image_id, stores in self._importing.items():
            self._tell(
                f"image {image_id}: its import to {', '.join(stores)} is not finished: plan again when it is; if no "
                "import is under way, it was interrupted: delete the image, or import it again"
            )

    @cached_property
    def _names(self) -> dict[str, str | None]:
        """The names of the images, as far as images were listed."""
        return {}

    def _name(self, image_ids: Sequence[str]) -> None:
        """List images for their names: where anything else looks at an image, Glance migrates its locations."""
        for start in range(0, len(image_ids), _NAMES_A_PAGE):
            for image in self.app.images.listed(image_ids[start : start + _NAMES_A_PAGE]):
                self._names[image.id] = image.name

    def _agreed(self, question: str, plan: Sequence[tuple[str, str]], parsed_args: argparse.Namespace) -> bool:
        """Ask whether to go on, after the plan was shown; nothing is asked or shown if the answer was given.

        Args:
            question: what is asked.
            plan: each image, and what becomes of it.
            parsed_args: with the answer, if it was given.
        """
        if not (parsed_args.yes or parsed_args.dry_run):
            for image_id, what in plan:
                self._tell(f"image {image_id} ({said(self._names.get(image_id))}): {what}")
        return not parsed_args.dry_run and agreed(question, yes=parsed_args.yes)

    def _carry_out(self, outcomes: Iterator[Outcome], total: int, label: str) -> list[Outcome]:
        with closing(counted(outcomes, phase=label, total=total, unit="images")) as carried_out:
            try:
                done = list(carried_out)
            except (ServiceError, KeyboardInterrupt):
                self._tell("Stopped early. Continue with `apply --resume`, or revert with `undo`.")
                raise
        write_outcomes(self._metrics, f"locations {label}", "images", (outcome.state.value for outcome in done))
        return done

    def _migration(self, journal: Journal) -> Migration:
        return Migration(
            journal=journal,
            images=self.app.images,
            volumes=self.app.volumes,
            catalogue=self._catalogue,
            delayed_delete=self._delayed_delete,
        )

    def _answer(self, outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        self._found |= any(outcome.state is State.FAILED for outcome in outcomes)
        return self.names(), [
            (outcome.image_id, _shown(self._names.get(outcome.image_id)), outcome.state.value, outcome.reason)
            for outcome in outcomes
        ]

    def _unchanged(self, left: Sequence[Entry], plan: Sequence[tuple[str, str]]) -> tuple[Any, Any]:
        """The answer if nothing is changed: how far each image has come, and what would become of it."""
        self._found = True
        reasons = [
            f"{entry.reason}; {what}" if entry.reason else what for entry, (_, what) in zip(left, plan, strict=True)
        ]
        return self._answer(
            [Outcome(entry.image_id, entry.state, why) for entry, why in zip(left, reasons, strict=True)]
        )


_IMAGE = (
    Column("image_id", TEXT, "The id of the image."),
    Column("image_name", TEXT_OR_NULL, "Its name."),
)
_LOCATION = record(
    Column("url", TEXT, "Its URL, without what can be a credential."),
    Column("store", TEXT_OR_NULL, "The store that its metadata names."),
)
_CHANGED = (
    *_IMAGE,
    Column("state", json_enum(State), "How far the change of the image has come."),
    Column("reason", TEXT_OR_NULL, "What failed or was planned, as a sentence; null if it is done. It can change."),
)


class Plan(_Locations):
    """Say what the locations of all images become under today's stores, and how; this changes nothing."""

    matters_less = ("position", "image_name")
    columns: ClassVar[tuple[Column, ...]] = (
        *_IMAGE,
        Column("position", COUNT, "Which of the locations of the image it is, counted from 0."),
        Column("outcome", json_enum(LocationOutcome), "What becomes of the location."),
        Column("way", or_null(json_enum(RelocationWay)), "How it becomes so; null if it stays as it is."),
        Column("before", _LOCATION, "The location as it is."),
        Column("after", _LOCATION, "The location as it will be."),
        Column("reason", TEXT, "Why, as a sentence; it can change."),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take what has become of the stores."""
        parser = super().get_parser(prog_name)
        add_renames(parser)
        parser.add_argument(
            "--policy",
            choices=[Policy.STRICT.value, Policy.UPSTREAM.value],  # of Glance no earlier release is known
            default=Policy.STRICT.value,
            help="strict: what the specification says, made safe; upstream: what Glance 33.0.0 does by itself when an "
            "image is shown (default: strict)",
        )
        parser.add_argument("--all", action="store_true", help="list also the locations that need no change")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Plan page by page."""
        return self.names(), self._rows(parsed_args)

    def _rows(self, parsed_args: argparse.Namespace) -> Iterator[tuple[object, ...]]:
        totals = MigrationTotals()
        policy = Policy(parsed_args.policy)
        for planned in self._planned(given_renames(parsed_args.rename, self._catalogue), totals, policy):
            for change in planned.changes:
                told = change.alters or change.outcome not in _QUIET
                self._found |= told
                if told or parsed_args.all:
                    yield _row(planned, change)
        self._tell_totals(totals)
        write_outcomes(self._metrics, "locations plan", "planned", (each.value for each in totals.outcomes.elements()))
        if any(totals.outcomes[outcome] for outcome in (LocationOutcome.CHANGE, LocationOutcome.REPAIR)):
            self._tell(_STALE)


class Apply(Named, _Locations):
    """Change the locations of all images as planned, by a journal from which it can be undone."""

    columns: ClassVar[tuple[Column, ...]] = _CHANGED

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take what has become of the stores, and the journal."""
        parser = super().get_parser(prog_name)
        add_renames(parser)
        _add_journal(parser, "a file that does not exist yet, which is written before each change; keep it")
        parser.add_argument(
            "--resume",
            action="store_true",
            help="go on with that journal where it was broken off, and try again what has failed",
        )
        add_board_options(
            parser, required=False, does="let the workers of `imagevol fleet work` change the images, and offer them"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Plan, show, ask, and change one image after the other."""
        refuse_unused(parsed_args)
        if parsed_args.resume:
            return self._resume(parsed_args)
        if is_there(parsed_args.journal):
            raise RequestRefused(
                f"journal {parsed_args.journal} exists: give another name, or go on with it by --resume"
            )
        totals = MigrationTotals()
        possible = {}  # by image: one that was listed twice is changed once, by the later plan
        for planned in self._planned(given_renames(parsed_args.rename, self._catalogue), totals):
            self._names[planned.image.id] = planned.image.name
            if planned.possible:
                possible[planned.image.id] = planned
            self._tell_unchanged(planned)
        self._tell_totals(totals)
        if not possible:
            self._tell("There is nothing that can be changed.")
            write_outcomes(self._metrics, "locations apply", "images", ())
            return self._answer([])
        self._tell(_STALE)
        plan = [(image_id, "; ".join(_changes(planned))) for image_id, planned in possible.items()]
        if not self._agreed(f"Change {amount(len(possible), 'image')}?", plan, parsed_args):
            self._found = True
            return self._answer([Outcome(image_id, State.PLANNED, what) for image_id, what in plan])
        with Journal.create(
            parsed_args.journal,
            cloud=self.app.cloud_id(),
            catalogue=self._catalogue,
            renames=given_renames(parsed_args.rename, self._catalogue),
            changes=[planned.changes for planned in possible.values()],
        ) as journal:
            return self._applied(self._migration(journal), len(possible), parsed_args)

    def _applied(
        self, migration: Migration, total: int, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        with applied(migration, parsed_args, cloud=self.app.cloud_id()) as outcomes:
            return self._answer(self._carry_out(outcomes, total, "apply"))

    def _resume(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        with Journal.open(parsed_args.journal, cloud=self.app.cloud_id()) as journal:
            journal.check_plan(catalogue=self._catalogue, renames=given_renames(parsed_args.rename, self._catalogue))
            if parsed_args.board is None:
                journal.check_not_offered()
            migration = self._migration(journal)
            left = migration.to_apply()
            self._name([entry.image_id for entry in left])
            plan = [(entry.image_id, "; ".join(map(_becomes, entry.changes))) for entry in left]
            if not left:
                write_outcomes(self._metrics, "locations apply", "images", ())
                self._tell("There is nothing left to change.")
                if parsed_args.dry_run:
                    return self._answer([])
            elif not self._agreed(f"Change {amount(len(left), 'image')}?", plan, parsed_args):
                return self._unchanged(left, plan)
            return self._applied(migration, len(left), parsed_args)

    def _tell_unchanged(self, planned: PlannedImage) -> None:
        """Tell of what stays as it is although something is wrong with it: it is not among the answers."""
        about = f"image {planned.image.id} ({said(planned.image.name)})"
        for change in planned.changes:
            if change.alters and not planned.possible and planned.relocation is not None:
                way = planned.relocation.way.value
                self._tell(f"{about}: {_becomes(change)} ({way}): {planned.relocation.reason}")
                self._found = True
            elif not change.alters and change.outcome not in _QUIET:
                self._tell(f"{about}: {location_text(change.before)} stays: {change.verdicts[-1].text}")
                self._found = True


class Undo(Named, _Locations):
    """Change back what a journal has changed, the last first."""

    columns: ClassVar[tuple[Column, ...]] = _CHANGED

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the journal."""
        parser = super().get_parser(prog_name)
        _add_journal(parser, "what `imagevol locations apply` has written")
        add_board_options(
            parser, required=False, does="first take what `imagevol locations apply --board` has offered off the board,"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Show, ask, and change back one image after the other."""
        refuse_unused(parsed_args)
        with Journal.open(parsed_args.journal, cloud=self.app.cloud_id()) as journal:
            if parsed_args.board is None:
                journal.check_not_offered()
            migration = self._migration(journal)
            left = migration.to_undo()
            self._name([entry.image_id for entry in left])
            plan = [
                (entry.image_id, "; ".join(f"{_becomes(each.undo())} again" for each in entry.changes))
                for entry in left
            ]
            if not left:
                write_outcomes(self._metrics, "locations undo", "images", ())
                self._tell("There is nothing to undo.")
                if parsed_args.dry_run:
                    return self._answer([])
            elif not self._agreed(f"Change {amount(len(left), 'image')} back?", plan, parsed_args):
                return self._unchanged(left, plan)
            changes_taken_back(journal, parsed_args)
            return self._answer(self._carry_out(migration.undo(), len(left), "undo"))


def _row(planned: PlannedImage, change: LocationChange) -> tuple[object, ...]:
    relocation = planned.relocation if change.alters else None
    return (
        planned.image.id,
        _shown(planned.image.name),
        change.position,
        change.outcome.value,
        relocation.way.value if relocation else None,
        LocationColumn(change.before),
        LocationColumn(change.after),
        relocation.reason if relocation else change.verdicts[-1].text,
    )


def _changes(planned: PlannedImage) -> list[str]:
    """What becomes of the locations of an image that can be changed."""
    way = f" ({planned.relocation.way.value})" if planned.relocation else ""
    return [f"{_becomes(change)}{way}" for change in planned.changes if change.alters]


def _becomes(change: LocationChange) -> str:
    return f"{location_text(change.before)} becomes {location_text(change.after)}"


def _shown(name: str | None) -> str | None:
    return None if name is None else said(name)


def _add_journal(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--journal", type=Path, required=True, metavar="FILE", help=text)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")
