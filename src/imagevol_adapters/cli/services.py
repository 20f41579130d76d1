"""The services that the commands use, made when they are first asked for; and the options for them."""

from __future__ import annotations

import argparse
import functools
import logging
import math
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from imagevol_adapters.cli.imports import without_green_resolver
from imagevol_adapters.cli.progress import PROGRESS, moved
from imagevol_core import STALL_SECONDS

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.config.cloud_region import CloudRegion

    from imagevol_adapters.brick import BrickAttacher
    from imagevol_adapters.cinder.volumes import CinderVolumes
    from imagevol_adapters.engine import Limits, Progress
    from imagevol_adapters.glance.images import GlanceImages
    from imagevol_adapters.qemu.converter import QemuConverter

# The libraries of the services are imported where they are first needed: help and a wrong option need none of them.

__all__ = ["ATTACHING", "Services", "add_attaching_options", "silence_libraries", "tell_end"]

ATTACHING = ("wait_seconds", "stall_seconds", "progress", "attach_attempts", "my_ip", "multipath", "enforce_multipath")
"""The names of the options that `add_attaching_options` adds."""

_MIB = 1 << 20
_USUAL_VERBOSITY = 1  # of cliff's applications; -v is more
_LIBRARIES = (
    "keystoneauth",
    "cinderclient",
    "glanceclient",
    "os_brick",
    "oslo_config",
    "oslo_privsep",
    "oslo_service",
    "oslo_utils",
    "stevedore",
    "tooz",
)
_ATTACH_ATTEMPTS = 30  # nearly five minutes: a large image is read for minutes, and a person can interrupt


def add_attaching_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for waiting, and for attaching volumes to this host."""
    parser.add_argument(
        "--wait-seconds",
        type=float,
        default=300,
        metavar="SECONDS",
        help="wait at most this many seconds for a volume or image to change its state (default: %(default)g)",
    )
    parser.add_argument(
        "--stall-seconds",
        type=_deadline,
        default=STALL_SECONDS,
        metavar="SECONDS",
        help="give up a transfer whose source, device or service makes no progress for this many seconds; the error "
        "names which one. How long a request waits for its answer is --timeout (default: %(default)g)",
    )
    parser.add_argument(
        "--progress",
        choices=PROGRESS,
        help="write lines of JSON to the standard error that say how far the command is (default: a bar on a "
        "terminal). With SIGUSR1, it writes a line at any time",
    )
    attaching = parser.add_argument_group("Attaching volumes to this host")
    attaching.add_argument(
        "--attach-attempts",
        type=_at_least_one,
        default=_ATTACH_ATTEMPTS,
        metavar="COUNT",
        help="try COUNT times to attach a volume that another program has attached: 1 does not wait, 5 waits "
        "24 seconds, 30 nearly five minutes (default: %(default)d)",
    )
    attaching.add_argument(
        "--my-ip",
        metavar="ADDRESS",
        help="tell Cinder that this host has ADDRESS (default: the address of this host's name, or, if that is a "
        "loopback address, the address that this host sends from)",
    )
    attaching.add_argument(
        "--multipath", action="store_true", help="connect a volume by all of its paths, if multipathd runs"
    )
    attaching.add_argument(
        "--enforce-multipath", action="store_true", help="like --multipath, and fail if multipathd does not run"
    )


def silence_libraries(verbose_level: int, *more: str) -> None:
    """Keep the libraries silent unless more is asked for: an error is one line, and it is ours.

    Args:
        verbose_level: of the command line.
        more: other libraries.
    """
    if verbose_level <= _USUAL_VERBOSITY:
        for library in (*_LIBRARIES, *more):
            logging.getLogger(library).setLevel(logging.CRITICAL)


def tell_end(log: logging.Logger, error: BaseException | None) -> None:
    """Say what cliff does not: that a command was interrupted, and what is left after an error that is not ours."""
    if isinstance(error, KeyboardInterrupt):
        log.error("interrupted")
    for note in getattr(error, "__notes__", ()):
        log.error(note)


class Services:
    """The services of one cloud.

    Attributes:
        options: of the command line, those for attaching among them.
    """

    options: argparse.Namespace

    @functools.cached_property
    def cloud(self) -> CloudRegion:
        """Whose services these are."""
        raise NotImplementedError

    @functools.cached_property
    def session(self) -> Session:
        """Asks them."""
        raise NotImplementedError

    @property
    def project_id(self) -> str | None:
        """The project that the credentials are for."""
        from imagevol_adapters.keystone import KEYSTONE
        from imagevol_adapters.translation import translated

        with translated(KEYSTONE, doing="Keystone"):
            return self.session.get_project_id()

    def has_project(self, project_id: str) -> bool | None:
        """Whether Keystone has a project; None if it does not tell these credentials."""
        from imagevol_adapters.keystone import has_project

        return has_project(self.session, project_id, region_name=self.cloud.get_region_name())

    @functools.cached_property
    def volumes(self) -> CinderVolumes:
        """Cinder."""
        from imagevol_adapters.attaching_records import AttachingRecords, host_lock_path
        from imagevol_adapters.cinder.volumes import CinderVolumes

        return CinderVolumes(
            session=self.session,
            region_name=self.cloud.get_region_name(),
            interface=self._interface("block-storage"),
            endpoint_override=self._endpoint("block-storage"),
            wait_seconds=self.options.wait_seconds,
            attach_attempts=self.options.attach_attempts,
            records=AttachingRecords(host_lock_path),
        )

    def cinder_id(self) -> str:
        """Name this Cinder, as `service_name` does."""
        from imagevol_adapters.keystone import service_name

        name = service_name(
            self.session,
            "block-storage",
            interface=self._interface("block-storage"),
            region_name=self.cloud.get_region_name(),
            endpoint_override=self._endpoint("block-storage"),
        )
        return name or "no Cinder"

    def cloud_id(self) -> str:
        """Name the Glance, the Cinder and the project that a command works with, as a journal records them."""
        return f"Glance {self.images.service_id()}, Cinder {self.cinder_id()}, project {self.project_id or 'not known'}"

    @functools.cached_property
    def images(self) -> GlanceImages:
        """Glance."""
        from imagevol_adapters.glance.images import GlanceImages

        return GlanceImages(
            session=self.session,
            region_name=self.cloud.get_region_name(),
            interface=self._interface("image"),
            endpoint_override=self._endpoint("image"),
            wait_seconds=self.options.wait_seconds,
            stall_seconds=self.options.stall_seconds,
        )

    def _interface(self, service_type: str) -> str:
        """The first of the interfaces that the cloud names for the service."""
        interface = self.cloud.get_interface(service_type)
        return interface[0] if isinstance(interface, list) else interface or "public"

    def _endpoint(self, service_type: str) -> str | None:
        """The URL of the service, if the cloud overrides what the service catalogue says."""
        from imagevol_adapters.keystone import checked_url

        url = self.cloud.get_endpoint(service_type)
        return url and checked_url(url, where=f"the endpoint override of the {service_type} service")

    @functools.cached_property
    def attacher(self) -> BrickAttacher:
        """This host; os-brick needs no daemon when we are root."""
        with without_green_resolver():
            from imagevol_adapters.brick import BrickAttacher

        return BrickAttacher(
            ip=self.options.my_ip,
            multipath=self.options.multipath or self.options.enforce_multipath,
            enforce_multipath=self.options.enforce_multipath,
            stall_seconds=self.options.stall_seconds,
        )

    def limits(self, rate_mib: float | None = None) -> Limits:
        """How fast a transfer may go, in MiB a second, and how long it waits for progress."""
        from imagevol_adapters.engine import Limits

        rate = None if rate_mib is None else rate_mib * _MIB
        return Limits(bytes_per_second=rate, stall_seconds=self.options.stall_seconds)

    @functools.cached_property
    def converter(self) -> QemuConverter:
        """qemu-img, for what is not raw."""
        from imagevol_adapters.qemu.converter import QemuConverter

        return QemuConverter(stall_seconds=self.options.stall_seconds)

    def progress(self, label: str, total_bytes: int | None) -> AbstractContextManager[Progress]:
        """Tell how many bytes were moved while the context lasts."""
        return moved(label, total_bytes)


def _deadline(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no deadline: give a number of seconds above 0")
    return seconds


def _at_least_one(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count: give 1 or more")
    return count
