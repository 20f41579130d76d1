"""The kinds of work that `imagevol fleet work` takes: what each needs, and what does it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from imagevol_adapters.cli.counts import count_of, rate
from imagevol_adapters.cli.deep_reader import DeepReader, add_reading_options, check_projects, check_trust
from imagevol_adapters.cli.locations_facts import GLANCE_API_CONF, catalogue_of, glance_configuration
from imagevol_adapters.cli.renames import add_renames, given_renames
from imagevol_adapters.cli.services import Services
from imagevol_adapters.cli.templates_facts import (
    CINDER_CONF,
    TENANT,
    internal_tenant,
    read_configuration,
    warmer_of,
    wishes_of,
)
from imagevol_adapters.cli.trust_option import add_trusted_projects
from imagevol_adapters.ports import WorkerLimits
from imagevol_core import RequestRefused, WarmWish
from imagevol_core.sharding import WorkerLimit

if TYPE_CHECKING:
    from imagevol_adapters.fleet import Fleet
    from imagevol_adapters.fleet.running import Work

__all__ = ["TAKEN", "Taken", "add_taken_options", "taken_work"]

_MIB = 1 << 20
_MOST_ATTACHMENTS = 10_000


@attrs.frozen(kw_only=True)
class Taken:
    """A kind of work that a worker takes.

    Attributes:
        kind: as a shard names it.
        work: does a shard.
        stop: called when the worker shall end.
    """

    kind: str
    work: Work
    stop: Callable[[], object] = lambda: None


def add_taken_options(parser: argparse.ArgumentParser) -> None:
    """Take which work is done, and what each kind of it may do."""
    parser.add_argument(
        "--take",
        action="append",
        choices=list(TAKEN),
        help="take this work: audit reads volumes for `imagevol audit --deep --board`, templates creates templates for "
        "`imagevol templates warm --board`, locations changes images for `imagevol locations apply --board`; can be "
        "repeated (default: audit)",
    )
    audit = parser.add_argument_group("With --take audit")
    add_reading_options(audit)
    add_trusted_projects(audit)
    audit.add_argument(
        "--shared-rate",
        type=rate,
        metavar="MIB",
        help="read at most MIB mebibytes a second, all workers on the board together that have this option; the last "
        "one that was started says how many (default: no limit)",
    )
    audit.add_argument(
        "--shared-attachments",
        type=count_of("volumes", most=_MOST_ATTACHMENTS),
        metavar="COUNT",
        help="have at most COUNT volumes of a backend attached at once, all workers on the board together that have "
        "this option; pass the same COUNT to each (default: no limit)",
    )
    templates = parser.add_argument_group("With --take templates")
    templates.add_argument(
        "--internal-tenant",
        metavar="PROJECT_ID",
        help=f"use PROJECT_ID as the project of the templates (default: {TENANT} of --cinder-config-file)",
    )
    templates.add_argument(
        "--cinder-config-file",
        type=Path,
        metavar="FILE",
        help="read Cinder's configuration from FILE, as `imagevol templates warm --config-file` does (default: "
        f"{CINDER_CONF})",
    )
    _add_location_options(parser)


def _add_location_options(parser: argparse.ArgumentParser) -> None:
    locations = parser.add_argument_group("With --take locations")
    locations.add_argument(
        "--glance-config-file",
        action="append",
        type=Path,
        metavar="FILE",
        help="read what Glance's stores are from FILE, as `imagevol locations apply --config-file` does; can be "
        f"repeated, and a later one overrules an earlier one (default: {GLANCE_API_CONF})",
    )
    add_renames(locations)


def taken_work(app: Services, asked: argparse.Namespace, fleet: Fleet, limits: WorkerLimits) -> list[Taken]:
    """Give the work that a worker takes.

    Args:
        app: the services.
        asked: the options of the command.
        fleet: what all workers share; its `stopping` is set when the worker shall end.
        limits: of all workers.

    Raises:
        RequestRefused: an option is for work that is not taken, or cannot be used.
        ImagevolError: the host or a service lacks what the work needs.
    """
    names = list(dict.fromkeys(asked.take or ["audit"]))
    for name, options in _OPTIONS.items():
        given = [option for option in options if getattr(asked, option.strip("-").replace("-", "_"))]
        if given and name not in names:
            raise RequestRefused(f"{given[0]} is for --take {name}: pass that too, or leave {given[0]} out")
    return [TAKEN[name](app, asked, fleet, limits) for name in names]


def _audit(app: Services, asked: argparse.Namespace, _: Fleet, limits: WorkerLimits) -> Taken:
    from imagevol_adapters.fleet import EVERY_BACKEND, limited
    from imagevol_adapters.gathering import deep_kind, deep_work

    check_trust(asked)
    check_projects(app, asked.trusted_project)
    reader = DeepReader(app, asked, shared=None if asked.shared_rate is None else limits.pace([EVERY_BACKEND]))
    app.attacher  # noqa: B018 - a host that lacks os-brick says so now, and takes nothing
    work = deep_work(reader.read_offered, images=app.images)
    if asked.shared_rate is not None:
        limits.limit(EVERY_BACKEND, WorkerLimit(bytes_per_second=asked.shared_rate * _MIB))
    if asked.shared_attachments is not None:
        work = limited(work, limits, attachments=asked.shared_attachments)
    return Taken(kind=deep_kind(app.cloud_id()), work=work, stop=reader.limits.cancelled.set)


def _templates(app: Services, asked: argparse.Namespace, fleet: Fleet, _: WorkerLimits) -> Taken:
    from imagevol_adapters.tending import warm_kind, warm_work

    file = asked.cinder_config_file or CINDER_CONF
    configuration = read_configuration(file, tenant=asked.internal_tenant)
    tenant = internal_tenant(asked.internal_tenant, lambda: configuration, file=file, option="--cinder-config-file")

    def wishes(image_id: str, volume_type: str | None) -> list[WarmWish]:
        types = [] if volume_type is None else [volume_type]
        return wishes_of(app, configuration, map(app.images.find, [image_id]), types)

    work = warm_work(warmer_of(app, tenant), wishes=wishes, stopping=fleet.stopping)
    return Taken(kind=warm_kind(app.cloud_id()), work=work)


def _locations(app: Services, asked: argparse.Namespace, fleet: Fleet, _: WorkerLimits) -> Taken:
    from imagevol_adapters.relocating import Changer, plan_id
    from imagevol_adapters.relocating.offering import location_kind, location_work

    configuration = glance_configuration(asked.glance_config_file or [GLANCE_API_CONF])
    catalogue = catalogue_of(app, configuration)
    renames = given_renames(asked.rename, catalogue)
    changer = Changer(
        images=app.images,
        volumes=app.volumes,
        catalogue=catalogue,
        delayed_delete=bool(configuration.delayed_delete),
    )
    return Taken(
        kind=location_kind(app.cloud_id(), plan=plan_id(catalogue, renames)),
        work=location_work(changer, renames=renames, locks=fleet.locks, stopping=fleet.stopping),
    )


TAKEN: Mapping[str, Callable[[Services, argparse.Namespace, Fleet, WorkerLimits], Taken]] = {
    "audit": _audit,
    "templates": _templates,
    "locations": _locations,
}
"""What makes each work that a worker can take, by its name."""

_OPTIONS = {
    "audit": (
        "--backend",
        "--rate",
        "--shared-rate",
        "--shared-attachments",
        "--trusted-project",
        "--trust-recorded",
        "--record-blake3",
    ),
    "templates": ("--internal-tenant", "--cinder-config-file"),
    "locations": ("--glance-config-file", "--rename"),
}
