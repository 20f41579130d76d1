"""The kinds of work that `imagevol fleet work` takes: what each needs, and what does it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from imagevol_adapters.cli.counts import count_of, rate
from imagevol_adapters.cli.cp_facts import copy_catalogue, copy_reader
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
from imagevol_core import ImagevolError, RequestRefused, WarmWish
from imagevol_core.sharding import WorkerLimit
from imagevol_core.store_copies import VerifyWish

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
        "`imagevol templates warm --board`, locations changes images for `imagevol locations apply --board`, copies "
        "copies images for `imagevol cp --board`; can be repeated (default: audit)",
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
    _add_copy_options(parser)


def _add_location_options(parser: argparse.ArgumentParser) -> None:
    locations = parser.add_argument_group("With --take locations")
    locations.add_argument(
        "--glance-config-file",
        action="append",
        type=Path,
        metavar="FILE",
        help="read what Glance's stores are from FILE, as `imagevol locations apply --config-file` and `imagevol cp "
        "--config-file` do; can be repeated, and a later one overrules an earlier one (default: "
        f"{GLANCE_API_CONF}; with --take copies, ask Glance)",
    )
    add_renames(locations)


def _add_copy_options(parser: argparse.ArgumentParser) -> None:
    copies = parser.add_argument_group("With --take copies, the same as of `imagevol cp`")
    copies.add_argument("--from-store", metavar="STORE", help="copy only images in STORE")
    copies.add_argument("--to-store", metavar="STORE", help="copy them to STORE")
    copies.add_argument(
        "--move",
        action="store_true",
        help="let Glance delete the data in the store of --from-store after the copy was verified",
    )
    copies.add_argument(
        "--verify",
        choices=[wish.value for wish in VerifyWish],
        help="with --move, verify copies as `imagevol cp --verify` does (default: auto)",
    )


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
    for option, users in _USERS.items():
        if getattr(asked, option.strip("-").replace("-", "_")) and not set(users) & set(names):
            raise RequestRefused(f"{option} is for --take {' or '.join(users)}: pass that too, or leave {option} out")
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

    configuration = glance_configuration(asked.glance_config_file, option="--glance-config-file")
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


def _copies(app: Services, asked: argparse.Namespace, fleet: Fleet, _: WorkerLimits) -> Taken:
    from imagevol_adapters.gathering.store_copies import StoreCopyGathering
    from imagevol_adapters.glance.store_copies import GlanceStoreCopies
    from imagevol_adapters.store_copies.offering import CopyWorker

    if not (asked.from_store and asked.to_store):
        raise RequestRefused("--take copies needs the stores: pass --from-store and --to-store as to `imagevol cp`")
    if not asked.move and (asked.verify or (asked.trust_recorded and "audit" not in asked.take)):
        raise RequestRefused("--verify and --trust-recorded are for copies of --move: pass --move, or leave them out")
    with suppress(ImagevolError, ImportError):  # it is raised where a volume is read
        app.attacher  # noqa: B018 - os-brick imports eventlet: of a thread that does, Python never sees the end
    glance = GlanceStoreCopies(app.images)
    catalogue = copy_catalogue(app, asked.glance_config_file, option="--glance-config-file")
    worker = CopyWorker(
        images=glance,
        volumes=app.volumes,
        gathering=StoreCopyGathering(images=glance, volumes=app.volumes, catalogue=catalogue),
        reader=copy_reader(app, trust_recorded=asked.trust_recorded),
        locks=fleet.locks,
        stopping=fleet.stopping,
        from_store=asked.from_store,
        to_store=asked.to_store,
        move=asked.move,
        wish=VerifyWish(asked.verify or VerifyWish.AUTO),
        settle_seconds=app.options.wait_seconds,
    )
    return Taken(kind=worker.kind(app.cloud_id()), work=worker.work)


TAKEN: Mapping[str, Callable[[Services, argparse.Namespace, Fleet, WorkerLimits], Taken]] = {
    "audit": _audit,
    "templates": _templates,
    "locations": _locations,
    "copies": _copies,
}
"""What makes each work that a worker can take, by its name."""

_USERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "--backend",
            "--backend-from",
            "--rate",
            "--shared-rate",
            "--shared-attachments",
            "--trusted-project",
            "--record-blake3",
        ),
        ("audit",),
    ),
    "--trust-recorded": ("audit", "copies"),
    **dict.fromkeys(("--internal-tenant", "--cinder-config-file"), ("templates",)),
    "--glance-config-file": ("locations", "copies"),
    "--rename": ("locations",),
    **dict.fromkeys(("--from-store", "--to-store", "--move", "--verify"), ("copies",)),
}
