"""What reads an image volume for `imagevol audit --deep` and for `imagevol fleet work`."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from imagevol_adapters.cli.counts import rate
from imagevol_adapters.cli.services import Services
from imagevol_adapters.cli.trust_option import add_trust_option
from imagevol_core import DeepCheck, MissingDependency, RequestRefused
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.engine import Limits
    from imagevol_adapters.gathering import DeepTarget

__all__ = ["DeepReader", "add_reading_options", "check_projects", "check_trust"]

_ATTACH_ATTEMPTS = 5  # half a minute


class DeepReader:
    """Reads image volumes on this host.

    Attributes:
        limits: of all volumes together.
    """

    def __init__(
        self, app: Services, asked: argparse.Namespace, *, shared: Callable[[int], float] | None = None
    ) -> None:
        """Take the services, what is believed and recorded, and how fast the volumes are read.

        Args:
            app: the services.
            asked: the options of the command.
            shared: tells how long to wait for what other processes read too; see `Limits`.

        Raises:
            MissingDependency: a BLAKE3 must be recorded, and its package is not installed.
        """
        from imagevol_adapters.engine import BLAKE3, has_blake3

        if asked.record_blake3 and not has_blake3():
            raise MissingDependency(BLAKE3, BLAKE3)
        self._app = app
        self._asked = asked
        limits = app.limits(asked.rate)
        self.limits: Limits = limits if shared is None else limits.sharing(shared)  # all jobs share it

    @functools.cached_property
    def _check(self) -> Callable[..., DeepCheck]:
        """Reads a volume; os-brick is imported here, so that a command that reads none does without it."""
        from imagevol_adapters.transfers import check_image_volume

        # So that a volume that a dead process has does not hold up all others for minutes.
        attempts = min(self._app.options.attach_attempts, _ATTACH_ATTEMPTS)
        volumes = attrs.evolve(self._app.volumes, attach_attempts=attempts)
        return partial(check_image_volume, volumes=volumes, attacher=self._app.attacher, limits=self.limits)

    def read(self, target: DeepTarget, **options: Any) -> DeepCheck:
        """Read a volume.

        Args:
            target: which, and what it should hold.
            options: of `check_image_volume`, in place of what this has.

        Raises:
            ImagevolError: it cannot be read.
        """
        return self._check(
            target.volume_id,
            size_bytes=target.size_bytes,
            algorithm=target.algorithm,
            image=target.image,
            trusted_projects=frozenset(self._asked.trusted_project),
            record=self._asked.record_blake3,
            trust_recorded=self._asked.trust_recorded,
            **options,
        )

    def read_offered(self, target: DeepTarget, check: Callable[[], None]) -> DeepCheck:
        """Read a volume that a board names; one that no image names only in a project that this program trusts.

        Args:
            target: which, and what it should hold.
            check: asked now and then; what it raises ends the reading, as after `imagevol fleet cancel`.

        Raises:
            RequestRefused: no image names it, and its project is not trusted.  A forged shard can name any volume.
            ImagevolError: it cannot be read.
        """
        from imagevol_adapters.fleet import asking

        if target.image is None:
            project_id = self._app.volumes.get(target.volume_id).project_id
            if project_id not in self._asked.trusted_project:
                raise RequestRefused(
                    f"volume {said(target.volume_id)} is not read, because no image names it: if you trust project "
                    f"{said(project_id)}, pass --trusted-project with its id to this worker"
                )
        return self.read(target, limits=self.limits.sharing(asking(check, self.limits.shared)))


def check_projects(app: Services, project_ids: list[str]) -> None:
    """Refuse to trust a project that does not exist.

    Raises:
        RequestRefused: there is one.
    """
    for project_id in project_ids:
        if app.has_project(project_id) is False:
            raise RequestRefused(f"project {said(project_id)} does not exist: give the id of a project")


def check_trust(asked: argparse.Namespace) -> None:
    """Refuse to rely on records that are not trusted.

    Raises:
        RequestRefused: they are not.
    """
    if asked.trust_recorded and not asked.trusted_project:
        raise RequestRefused("--trust-recorded relies on records in trusted projects: pass --trusted-project")


def add_reading_options(parser: argparse._ActionsContainer, *, option: str | None = None) -> None:
    """Take how fast volumes are read, what is believed of them, and what is recorded.

    Args:
        parser: of the command, or a group of its options.
        option: without which none is read.
    """
    when = f"with {option}, " if option else ""
    parser.add_argument(
        "--rate",
        type=rate,
        metavar="MIB",
        help=f"{when}read at most MIB mebibytes a second, of all volumes together (default: no limit)",
    )
    add_trust_option(parser, when=option or "--trusted-project or --move")
    parser.add_argument(
        "--record-blake3",
        action="store_true",
        help=f"{when}write a BLAKE3 into the metadata of each volume that records none and whose data is that of its "
        "image, so that it can be verified faster; only in a project of --trusted-project",
    )
