"""`imagevol templates list`, `warm` and `prune`: the templates of Cinder's backends, and what is done about them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

import attrs
from cliff.lister import Lister

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import agreed, tell
from imagevol_adapters.cli.board_option import add_board_options, opened_board
from imagevol_adapters.cli.columns import COUNT, COUNT_OR_NULL, TEXT, TEXT_OR_NULL, TIME_OR_NULL, Column, Shown, one_of
from imagevol_adapters.cli.metrics_option import add_metrics_option, check_metrics, write_outcomes
from imagevol_adapters.cli.offered_job import going_on, offer_of, refuse_unused
from imagevol_adapters.cli.only_glance_option import add_only_glance_option
from imagevol_adapters.cli.output import Named
from imagevol_adapters.cli.progress import counted
from imagevol_adapters.cli.schemas import Schema, json_enum
from imagevol_adapters.cli.templates_facts import (
    CINDER_CONF,
    TENANT,
    internal_tenant,
    read_configuration,
    warmer_of,
    wishes_of,
)
from imagevol_adapters.cli.templates_options import ONLY_GLANCE, add_asking, add_backend, at_least_one, limit
from imagevol_adapters.tending.templates import images_of, place_of, templates_of
from imagevol_core import (
    CacheLimits,
    Image,
    ImagevolError,
    PruningOutcome,
    RequestRefused,
    Template,
    TemplateStanding,
    Volume,
    WarmWish,
    plan_pruning,
)
from imagevol_core.sentences import amount, duration, said

if TYPE_CHECKING:
    from imagevol_adapters.gathering.cinder_configuration import CinderConfiguration
    from imagevol_adapters.tending.warming import Warmed, Warmer

__all__ = ["List", "Prune", "Warm"]

_FOUND = 3
_JOBS = 4

Rows = Iterable[tuple[object, ...]]
Answer = tuple[tuple[str, ...], Rows]
T = TypeVar("T")


@attrs.frozen
class Standing:
    """A template as it is shown."""

    volume: Volume
    kept: TemplateStanding
    image_name: str | None


_LONGEST_MINUTES = 1000 * 366 * 24 * 60  # no template was used that long ago


class _Templates(Shown, Lister):
    """What the commands share: the internal tenant, and which templates there are."""

    app: Imagevol
    matters_less = ("size_gib", "image_name", "volume_type")
    _configuration_file = CINDER_CONF
    _given_tenant: str | None = None
    _metrics: Path | None = None
    _found = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the internal tenant."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--internal-tenant",
            metavar="PROJECT_ID",
            help=f"use PROJECT_ID as the project of the templates (default: {TENANT} of --config-file)",
        )
        parser.add_argument(
            "--config-file",
            type=Path,
            default=CINDER_CONF,
            metavar="FILE",
            help="read Cinder's configuration from FILE (default: %(default)s)",
        )
        add_metrics_option(parser)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Give 3 when something was found that is not as it should be."""
        self._configuration_file = parsed_args.config_file
        self._given_tenant = parsed_args.internal_tenant
        self._metrics = parsed_args.metrics
        check_metrics(self._metrics)
        status = int(super().run(parsed_args))
        return status or (_FOUND if self._found else 0)

    @cached_property
    def _configuration(self) -> CinderConfiguration:
        """What the operator has configured."""
        return read_configuration(self._configuration_file, tenant=self._given_tenant)

    @property
    def _tenant(self) -> str:
        return internal_tenant(self._given_tenant, lambda: self._configuration, file=self._configuration_file)

    def _standings(
        self,
        now: datetime,
        *,
        backend: str | None,
        idle: timedelta = timedelta(0),
        limits: CacheLimits | None = None,
        all_go: bool = False,
        only_glance: bool,
    ) -> list[Standing]:
        volumes: list[Volume] = []
        templates: list[Template] = []
        elsewhere: set[str] = set()
        for volume, template in templates_of(self.app.volumes, project_id=self._tenant, now=now):
            if not _is_on(volume, backend):
                elsewhere.add(said(place_of(volume)))
                continue
            volumes.append(volume)
            templates.append(template)
        if backend is not None and not volumes:
            others = f"; there are templates on {', '.join(sorted(elsewhere))}" if elsewhere else ""
            tell(f"No template is on {said(backend)}{others}.")
        if not volumes and not elsewhere and self.app.has_project(self._tenant) is False:
            where = "--internal-tenant" if self._given_tenant else f"{TENANT} in {self._configuration_file}"
            raise RequestRefused(f"Keystone has no project {said(self._tenant)}: give the id of a project in {where}")
        images = images_of(
            counted(templates, phase="images", total=len(templates), unit="images"), images=self.app.images
        )
        standings = plan_pruning(
            templates, images=images, now=now, idle=idle, limits=limits, all_go=all_go, only_glance=only_glance
        )
        found = [images[template.entry.image_id] for template in templates]
        names = [_name(image) if isinstance(image, Image) else None for image in found]
        return list(map(Standing, volumes, standings, names))


_TEMPLATE = (
    Column("volume_id", TEXT, "The id of the template, a volume."),
    Column("backend", TEXT_OR_NULL, "The pool or cluster that it is in."),
    Column("image_id", TEXT, "The id of its image."),
    Column("image_name", TEXT_OR_NULL, "The name of its image; null if it has none, or Glance has no such image."),
    Column("size_gib", COUNT, "Its size in GiB."),
    Column("last_used", TIME_OR_NULL, "When it was cloned last."),
)


def _states() -> Schema:
    from imagevol_core import Policy
    from imagevol_core.templates import PRUNING_RULES

    return one_of(*(rule.id for rule in PRUNING_RULES[Policy.STRICT]))


def _warm_states() -> Schema:
    from imagevol_adapters.tending.warming import WarmState

    return json_enum(WarmState)


class List(_Templates):
    """List the templates, and whether each is current; the exit status is 3 if one is not."""

    columns: ClassVar[tuple[Column, ...]] = (
        *_TEMPLATE,
        Column("state", _states, "`ready` if it is current, else the id of the rule that it breaks."),
        Column("reason", TEXT, "The facts that decided, as a sentence; it can change."),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the backend."""
        parser = super().get_parser(prog_name)
        add_backend(parser, "list")
        add_only_glance_option(parser, text=ONLY_GLANCE)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        """Ask Cinder for the templates, Glance for their images, and the core what they are."""
        standings = self._standings(datetime.now(UTC), backend=parsed_args.backend, only_glance=parsed_args.only_glance)
        self._found = any(standing.kept.outcome in _WRONG for standing in standings)
        write_outcomes(self._metrics, "templates list", "found", (standing.kept.rule for standing in standings))
        return self.names(), [_row(standing) for standing in standings]


class Prune(Named, _Templates):
    """Delete templates that are out of date, orphaned or over the limits."""

    columns: ClassVar[tuple[Column, ...]] = (
        *_TEMPLATE,
        Column("outcome", one_of("planned", "deleted", "failed"), "What was done; `planned` with --dry-run or a no."),
        Column("reason", TEXT, "Why it has to go, or what failed; it can change."),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the limits."""
        parser = super().get_parser(prog_name)
        add_backend(parser, "delete")
        add_only_glance_option(parser, text=ONLY_GLANCE)
        parser.add_argument(
            "--all",
            action="store_true",
            help="delete current templates too, for example after image_template_enabled was set to false; templates "
            "that are in use stay",
        )
        parser.add_argument(
            "--max-count",
            type=limit,
            default=0,
            metavar="NUMBER",
            help="keep at most NUMBER templates per backend (default: no limit)",
        )
        parser.add_argument(
            "--max-size-gb",
            type=limit,
            default=0,
            metavar="GIB",
            help="keep templates of at most GIB in total per backend, in GiB (default: no limit)",
        )
        parser.add_argument(
            "--idle-minutes",
            type=limit,
            default=10,
            metavar="MINUTES",
            help="keep templates used in the last MINUTES minutes (default: %(default)s)",
        )
        add_asking(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        """Plan, ask, and delete one after the other."""
        if parsed_args.all and (parsed_args.max_count or parsed_args.max_size_gb):
            raise RequestRefused("--all deletes every template: leave --max-count and --max-size-gb out")
        standings = self._standings(
            datetime.now(UTC),
            backend=parsed_args.backend,
            idle=timedelta(minutes=min(parsed_args.idle_minutes, _LONGEST_MINUTES)),
            limits=CacheLimits(max_count=parsed_args.max_count, max_gib=parsed_args.max_size_gb),
            all_go=parsed_args.all,
            only_glance=parsed_args.only_glance,
        )
        going = [standing for standing in standings if standing.kept.goes]
        if going and not (parsed_args.dry_run or parsed_args.yes):
            for each in going:
                entry = each.kept.template.entry
                tell(f"template {each.volume.id} of image {entry.image_id} ({each.image_name}): {each.kept.because}")
        stay = _busy(standings, parsed_args.idle_minutes) + _elsewhere(standings)
        if parsed_args.all and len(going) < len(standings):
            self._found = True
        if not going:
            tell(f"No template has to be deleted.{stay}")
            if parsed_args.dry_run:
                return self.names(), []
        elif parsed_args.dry_run or not agreed(f"Delete {amount(len(going), 'template')}?", yes=parsed_args.yes):
            self._found = True
            return self.names(), [_row(standing, "planned") for standing in going]
        elif parsed_args.all and stay:
            tell(stay.strip())
        rows = list(self._deleted(going))
        write_outcomes(self._metrics, "templates prune", "pruned", (str(row[-2]) for row in rows))
        return self.names(), rows

    def _deleted(self, going: Sequence[Standing]) -> Iterator[tuple[object, ...]]:
        for standing in counted(going, phase="prune", total=len(going), unit="templates"):
            try:
                self.app.volumes.delete(standing.volume.id)
            except ImagevolError as error:
                self._found = True
                yield (*_row(standing, "failed")[:-1], str(error))
            else:
                yield _row(standing, "deleted")


class Warm(Named, _Templates):
    """Create templates ahead of time, using temporary volumes.

    The volumes belong to the project of the credentials. Glance must give that project the data of the images.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("image_id", TEXT, "The id of the image."),
        Column("image_name", TEXT_OR_NULL, "Its name."),
        Column("volume_type", TEXT_OR_NULL, "The volume type that was asked for."),
        Column("outcome", _warm_states, "What has become of the template."),
        Column("backend", TEXT_OR_NULL, "The pool or cluster of the template; null if no pool serves the volume type."),
        Column("volume_id", TEXT_OR_NULL, "The id of the template; null if there is none."),
        Column("size_gib", COUNT_OR_NULL, "Its size in GiB."),
        Column("reason", TEXT_OR_NULL, "Why, as a sentence; it can change."),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the images, and where."""
        parser = super().get_parser(prog_name)
        parser.add_argument("image", nargs="+", help="create a template of this image, given by its id or name")
        parser.add_argument(
            "--volume-type",
            action="append",
            metavar="TYPE",
            help="create the template on the backend of volume type TYPE; can be repeated (default: Cinder's default "
            "type)",
        )
        parser.add_argument(
            "--jobs",
            type=at_least_one,
            metavar="COUNT",
            help=f"create COUNT templates at the same time (default: {_JOBS}; with --board, the workers decide)",
        )
        add_asking(parser)
        add_board_options(
            parser, required=False, does="let the workers of `imagevol fleet work` create the templates, and offer them"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        """Plan, ask, create several at once, and look at all of them again."""
        from imagevol_adapters.tending.warming import WarmState

        refuse_unused(parsed_args)
        warmer = warmer_of(self.app, self._tenant)
        warmed: list[Warmed] = warmer.planned(self._wishes(parsed_args.image, parsed_args.volume_type))
        making = sum(each.state is WarmState.PLANNED for each in warmed)
        if making and not (parsed_args.dry_run or parsed_args.yes):
            for each in warmed:
                tell(_sentence(each))
        if making and (parsed_args.dry_run or not agreed(f"Create {amount(making, 'template')}?", yes=parsed_args.yes)):
            self._found = True
        elif making:
            with self._created(warmer, warmed, parsed_args) as created:
                warmed = warmer.checked(counted(created, phase="warm", total=len(warmed), unit="images"))
        self._found |= any(each.state in (WarmState.REFUSED, WarmState.FAILED) for each in warmed)
        if not any(each.state is WarmState.PLANNED for each in warmed):
            write_outcomes(self._metrics, "templates warm", "warmed", (each.state.value for each in warmed))
        return self.names(), [_warmed_row(each) for each in warmed]

    @contextmanager
    def _created(
        self, warmer: Warmer, planned: Sequence[Warmed], asked: argparse.Namespace
    ) -> Iterator[Iterator[Warmed]]:
        """Have the templates created, here or by the workers of many hosts."""
        from imagevol_adapters.tending import offered_templates, warm_job, warm_kind

        with ExitStack() as until:
            if asked.board is None:
                created = warmer.warmed(planned, jobs=asked.jobs or _JOBS)
            else:
                fleet = until.enter_context(opened_board(asked))
                kind = warm_kind(self.app.cloud_id())
                job = warm_job(kind, [each.plan.wish for each in planned])
                offer = offer_of(fleet, job=job, kind=kind, take="templates")
                created = offered_templates(planned, warmer=warmer, offer=offer)
                until.enter_context(going_on(job))
            yield until.enter_context(closing(created))

    def _wishes(self, names_or_ids: Iterable[str], volume_types: Sequence[str] | None) -> list[WarmWish]:
        """Collect the facts, and tell of which pools the configuration says nothing."""
        images = map(self.app.images.find, dict.fromkeys(names_or_ids))
        wishes = wishes_of(self.app, self._configuration, images, volume_types or ())
        for pools in {wish.target.volume_type: wish.pools for wish in wishes}.values():
            unknown = [pool.name for pool in pools if not self._configuration.describes(pool.name)]
            if unknown:
                names = ", ".join(map(said, unknown))
                assumed = "assuming that templates are enabled there and have no limits"
                tell(f"{self._configuration_file} does not describe {names}: {assumed}")
        return wishes


_WRONG = (PruningOutcome.GOES, PruningOutcome.UNKNOWN, PruningOutcome.ELSEWHERE)


def _busy(standings: Iterable[Standing], idle_minutes: int) -> str:
    """Say how many templates stay for now, whatever the limits are."""
    busy = sum(standing.kept.outcome is PruningOutcome.BUSY for standing in standings)
    if not busy:
        return ""
    verb = "stays" if busy == 1 else "stay"
    idle = duration(60 * idle_minutes)
    return f" {amount(busy, 'template')} {verb} for now: in use, or last used less than {idle} ago (--idle-minutes)."


def _elsewhere(standings: Iterable[Standing]) -> str:
    """Say how many templates stay because another Glance may have their images."""
    count = sum(standing.kept.outcome is PruningOutcome.ELSEWHERE for standing in standings)
    if not count:
        return ""
    return f" {amount(count, 'template')} without an image in this Glance left alone: see --only-glance."


def _row(standing: Standing, outcome: str | None = None) -> tuple[object, ...]:
    entry = standing.kept.template.entry
    used = entry.last_used.isoformat(timespec="seconds") if entry.last_used else None
    return (
        standing.volume.id,
        place_of(standing.volume),
        entry.image_id,
        standing.image_name,
        standing.volume.size_gib,
        used,
        outcome or standing.kept.rule,
        standing.kept.because,
    )


def _warmed_row(warmed: Warmed) -> tuple[object, ...]:
    template, wish = warmed.template, warmed.plan.wish
    return (
        wish.image.id,
        _name(wish.image),
        wish.target.volume_type,
        warmed.state.value,
        warmed.place,
        template.id if template else None,
        template.size_gib if template else None,
        warmed.reason,
    )


def _sentence(warmed: Warmed) -> str:
    wish = warmed.plan.wish
    about = f"image {wish.image.id} ({_name(wish.image)}), type {wish.target.volume_type}, {warmed.place or 'no pool'}"
    return f"{about}: {warmed.state.value}: {warmed.reason}"


def _name(image: Image) -> str | None:
    return None if image.name is None else said(image.name)


def _is_on(volume: Volume, backend: str | None) -> bool:
    """Whether a volume is on a backend, which is named with or without its pool."""
    place = place_of(volume) or ""
    return backend is None or backend in (place, place.partition("#")[0])
