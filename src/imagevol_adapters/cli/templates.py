"""`imagevol templates list`, `warm` and `prune`: the templates of Cinder's backends, and what is done about them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

from cliff.lister import Lister

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import agreed, quiet, tell
from imagevol_adapters.templates import (
    Warmed,
    Warming,
    WarmState,
    images_of,
    place_of,
    plan_warming,
    templates_of,
    warm,
)
from imagevol_core import CacheLimits, ImagevolError, RequestRefused, Template, TemplateStanding, Volume, plan_pruning

__all__ = ["List", "Prune", "Warm"]

_FOUND = 3
_CINDER_CONF = Path("/etc/cinder/cinder.conf")
_TENANT = "cinder_internal_tenant_project_id"

Rows = Iterable[tuple[object, ...]]
Answer = tuple[tuple[str, ...], Rows]
T = TypeVar("T")


class _Templates(Lister):
    """What the commands share: whose the templates are, and which there are."""

    app: Imagevol
    _tenant = ""
    _found = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take whose the templates are."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--internal-tenant",
            metavar="PROJECT_ID",
            help=f"Cinder's {_TENANT}, whose the templates are (default: what --config-file says)",
        )
        parser.add_argument(
            "--config-file",
            type=Path,
            default=_CINDER_CONF,
            metavar="FILE",
            help="Cinder's configuration (default: %(default)s)",
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Give 3 when something was found that is not as it should be."""
        self._tenant = parsed_args.internal_tenant or _configured(parsed_args.config_file)
        status = int(super().run(parsed_args))
        return status or (_FOUND if self._found else 0)

    def _standings(
        self, now: datetime, *, idle: timedelta = timedelta(0), limits: CacheLimits | None = None
    ) -> list[tuple[Volume, TemplateStanding]]:
        volumes: list[Volume] = []
        templates: list[Template] = []
        for volume, template in templates_of(self.app.volumes, project_id=self._tenant, now=now):
            volumes.append(volume)
            templates.append(template)
        images = images_of(_bar(templates, "images", len(templates), " images"), images=self.app.images)
        return list(
            zip(volumes, plan_pruning(templates, images=images, now=now, idle=idle, limits=limits), strict=True)
        )


class List(_Templates):
    """List the templates of all backends, and whether they still are their images; the exit status is 3 if not all."""

    _columns: ClassVar[tuple[str, ...]] = (
        "volume_id",
        "backend",
        "image_id",
        "size_gib",
        "last_used",
        "state",
        "reason",
    )

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        """Ask Cinder for the templates, Glance for their images, and the core what they are."""
        standings = self._standings(datetime.now(UTC))
        self._found = any(standing.rule not in ("ready", "being-made", "busy") for _, standing in standings)
        return self._columns, [_row(volume, standing) for volume, standing in standings]


class Prune(_Templates):
    """Delete the templates that are not their images any more, whose images are gone, or that are above limits."""

    _columns: ClassVar[tuple[str, ...]] = (*List._columns[:5], "outcome", "reason")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the limits."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--max-count", type=_limit, default=0, metavar="NUMBER", help="keep so many on each backend"
        )
        parser.add_argument(
            "--max-size-gb", type=_limit, default=0, metavar="GIB", help="keep so much on each backend, in GiB"
        )
        parser.add_argument(
            "--idle-minutes",
            type=_limit,
            default=10,
            metavar="MINUTES",
            help="keep what was used so recently that it may still be being cloned (default: %(default)s)",
        )
        _add_asking(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        """Plan, show, ask, and delete one after the other."""
        standings = self._standings(
            datetime.now(UTC),
            idle=timedelta(minutes=parsed_args.idle_minutes),
            limits=CacheLimits(max_count=parsed_args.max_count, max_gib=parsed_args.max_size_gb),
        )
        going = [(volume, standing) for volume, standing in standings if standing.goes]
        for volume, standing in going:
            tell(f"template {volume.id} of image {standing.template.entry.image_id} goes: {standing.because}")
        if not going:
            tell("No template has to go.")
        elif parsed_args.dry_run or not agreed(f"Delete {len(going)} templates?", yes=parsed_args.yes):
            self._found = True
            return self._columns, [_row(volume, standing, "planned") for volume, standing in going]
        return self._columns, list(self._deleted(going))

    def _deleted(self, going: Sequence[tuple[Volume, TemplateStanding]]) -> Iterator[tuple[object, ...]]:
        for volume, standing in _bar(going, "prune", len(going), " templates"):
            try:
                self.app.volumes.delete(volume.id)
            except ImagevolError as error:
                self._found = True
                yield (*_row(volume, standing, "failed")[:-1], str(error))
            else:
                yield _row(volume, standing, "deleted")


class Warm(_Templates):
    """Have templates made of images, ahead of the first volume, by volumes that are deleted again.

    The volumes are of the project of the credentials: an image of which a template is made is public, or that project
    owns it.
    """

    _columns: ClassVar[tuple[str, ...]] = (
        "image_id",
        "volume_type",
        "outcome",
        "backend",
        "volume_id",
        "size_gib",
        "reason",
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the images, and where."""
        parser = super().get_parser(prog_name)
        parser.add_argument("image", nargs="+", help="its id or name")
        parser.add_argument(
            "--volume-type",
            action="append",
            metavar="TYPE",
            help="on the backend of this type; may be repeated (default: Cinder's default type)",
        )
        _add_asking(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        """Plan, show, ask, and make one after the other."""
        planned = [
            self._planned(image, volume_type)
            for image in dict.fromkeys(parsed_args.image)
            for volume_type in parsed_args.volume_type or [self.app.volumes.default_volume_type()]
        ]
        for warming in planned:
            tell(_sentence(warming))
        making = [warming for warming in planned if warming.state is WarmState.PLANNED]
        if making and (parsed_args.dry_run or not agreed(f"Make {len(making)} templates?", yes=parsed_args.yes)):
            self._found = True
            warmed = [
                Warmed(warming=each, state=each.state, template=each.template, reason=each.reason) for each in planned
            ]
        else:
            warmed = [
                warm(each, volumes=self.app.volumes, internal_tenant=self._tenant, now=datetime.now(UTC))
                for each in _bar(planned, "warm", len(planned), " images")
            ]
        self._found |= any(each.state in (WarmState.REFUSED, WarmState.FAILED) for each in warmed)
        return self._columns, [_warmed_row(each) for each in warmed]

    def _planned(self, name_or_id: str, volume_type: str | None) -> Warming:
        image = self.app.images.find(name_or_id)
        now = datetime.now(UTC)
        return plan_warming(
            image,
            volume_type=volume_type,
            project_id=self.app.project_id,
            internal_tenant=self._tenant,
            templates=templates_of(self.app.volumes, project_id=self._tenant, now=now, image_id=image.id),
        )


def _row(volume: Volume, standing: TemplateStanding, outcome: str | None = None) -> tuple[object, ...]:
    entry = standing.template.entry
    used = entry.last_used.isoformat(timespec="seconds") if entry.last_used else None
    state = outcome or standing.rule
    return volume.id, place_of(volume), entry.image_id, volume.size_gib, used, state, standing.because


def _warmed_row(warmed: Warmed) -> tuple[object, ...]:
    template, warming = warmed.template, warmed.warming
    return (
        warming.image.id,
        warming.volume_type,
        warmed.state.value,
        place_of(template) if template else None,
        template.id if template else None,
        template.size_gib if template else None,
        warmed.reason,
    )


def _sentence(warming: Warming) -> str:
    about = f"image {warming.image.id}, type {warming.volume_type}"
    if warming.state is WarmState.PLANNED:
        return f"{about}: a template is made by a volume of {warming.size_gib} GiB: {warming.reason}"
    return f"{about}: {warming.state.value}: {warming.reason}"


def _bar(things: Iterable[T], label: str, total: int, unit: str) -> Iterator[T]:
    from tqdm import tqdm

    with closing(tqdm(things, desc=label, total=total, unit=unit, disable=quiet(), file=sys.stderr)) as bar:
        yield from bar


def _add_asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")


def _limit(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than nothing; 0 is no limit")
    return number


def _configured(file: Path) -> str:
    """Read the internal tenant out of Cinder's configuration; nothing else of it is told to anybody."""
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt(_TENANT))
    try:
        conf(
            [f"--config-file={file}"], project="cinder", default_config_files=[], default_config_dirs=[], use_env=False
        )
        found = conf[_TENANT]
    except (cfg.Error, OSError, UnicodeDecodeError):
        found = None
    if not found:
        raise RequestRefused(
            f"whose the templates are is not known: {file} cannot be read, or names no {_TENANT}; "
            "give --internal-tenant"
        )
    return str(found)
