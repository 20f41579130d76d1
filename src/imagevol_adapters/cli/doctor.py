"""`imagevol doctor`: whether this host can connect volumes and convert images, and what to do if not."""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.check_rows import CheckList, check_rows
from imagevol_adapters.cli.configured_store import CINDER_CONF, GLANCE_API_CONF, ConfiguredStore
from imagevol_adapters.cli.placing import volume_type_of
from imagevol_adapters.file_deadline import in_time, is_there, written_in_time
from imagevol_core import (
    GIB,
    DoctorAccess,
    DoctorFacts,
    DoctorGlance,
    DoctorService,
    DoctorTrial,
    ImagevolError,
    Rates,
    RequestRefused,
    diagnose,
)
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.cinder.volumes import CinderVolumes
    from imagevol_adapters.doctoring import Trial
    from imagevol_adapters.gathering import BackendSettings
    from imagevol_core import DoctorHost

__all__ = ["Doctor"]

_FOUND = 3  # the exit status when a check fails
_CINDER_API, _GLANCE_API = "3.54", "2.17"  # to attach read-only; to register a location without the old API
_MOST_GIB = 1 << 30
_GLANCE_DIGEST = "sha512"  # of a Glance that is not told otherwise


class Doctor(CheckList):
    """Check whether this host can connect volumes and convert images, and say what to do if not.

    It looks at this host, the services, the credentials and the settings, and measures digests. It changes nothing
    unless --measure is given. The exit status is 3 if a check fails; a warning does not count.
    """

    app: Imagevol
    _status = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take what is checked beside the host."""
        parser = super().get_parser(prog_name)
        about = parser.add_mutually_exclusive_group()
        about.add_argument(
            "--store",
            metavar="NAME",
            help="also check a cinder store of Glance, with its own credentials; run it as Glance's user",
        )
        about.add_argument("--backend", metavar="NAME", help="also check a backend of Cinder, by its section's name")
        parser.add_argument(
            "--config-file",
            type=Path,
            action="append",
            metavar="FILE",
            help=f"read FILE instead of {GLANCE_API_CONF} (--store) or {CINDER_CONF} (--backend); may be repeated "
            "with --store",
        )
        parser.add_argument(
            "--conversion-space",
            type=_whole,
            default=10,
            metavar="GIB",
            help="want GIB of free space for the conversion of images (default: %(default)d)",
        )
        parser.add_argument(
            "--measure",
            action="store_true",
            help="create a volume of 1 GiB, attach, write, read, detach, clone and delete it, and measure each step",
        )
        parser.add_argument(
            "--volume-type",
            metavar="TYPE",
            help="measure a volume of TYPE (default: the store's, the backend's, or Cinder's)",
        )
        parser.add_argument(
            "--rates", type=Path, metavar="FILE", help="write what was measured to FILE, as JSON; FILE must not exist"
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Say by the exit status whether a check failed."""
        return int(super().run(parsed_args)) or self._status

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Gather the facts, and ask the core."""
        asked = parsed_args
        if asked.rates is not None and is_there(asked.rates):
            raise RequestRefused(f"{asked.rates} exists: give another name, or remove it")
        if asked.rates is not None and not written_in_time(partial(_may_write, asked.rates.parent), asked.rates):
            raise RequestRefused(f"{asked.rates} cannot be written: choose a directory that this user can write to")
        if asked.volume_type and not asked.measure:
            raise RequestRefused("--volume-type is for --measure: give both, or neither")
        diagnosis = diagnose(self._facts(asked))
        self._status = 0 if diagnosis.able else _FOUND
        return self.names(), check_rows(diagnosis.lines)

    def _facts(self, asked: argparse.Namespace) -> DoctorFacts:
        from imagevol_adapters.doctoring import access_facts
        from imagevol_adapters.gathering import BackendSettings

        store = ConfiguredStore.read(asked.config_file or [GLANCE_API_CONF], asked.store) if asked.store else None
        settings = None
        if asked.backend:
            settings = BackendSettings.read((asked.config_file or [CINDER_CONF])[-1], asked.backend)
        volumes, glance = store.volumes if store else None, store.glance if store else None
        access, services = DoctorAccess(), tuple[DoctorService, ...]()
        try:
            volumes = volumes or self.app.volumes
            access = access_facts(volumes.session)
        except ImagevolError as error:  # of clouds.yaml: the host can be checked all the same
            access = DoctorAccess(error=str(error))
        if volumes is not None and access.error is None:
            services = tuple(self._services(volumes, own=store is None))
        usable = None if access.error or any(service.error for service in services) else volumes
        if usable is not None and store is None:
            glance = self._glance()
        return DoctorFacts(
            host=self._host(asked, usable, settings, store),
            services=services,
            access=access,
            glance=glance,
            backend=settings.facts if settings else None,
            trial=self._trial(asked, usable, store, glance),
        )

    def _host(
        self,
        asked: argparse.Namespace,
        volumes: CinderVolumes | None,
        settings: BackendSettings | None,
        store: ConfiguredStore | None,
    ) -> DoctorHost:
        from imagevol_adapters.doctoring import host_facts, pools_of

        pools = None
        checked, wanted = store or settings, self.app.options
        directory = settings.conversion_directory if settings else Path(tempfile.gettempdir())
        if volumes is not None:
            try:
                pools = pools_of(volumes.pools(), backend=asked.backend)
            except ImagevolError as error:
                self.app.LOG.debug("The pools of Cinder are not known: %s", error)
        return host_facts(
            attacher=self.app.attacher,
            pools=pools,
            multipath=checked.multipath if checked else wanted.multipath or wanted.enforce_multipath,
            conversion_directory=directory,
            conversion_wanted_bytes=asked.conversion_space * GIB,
            store_host=store.host if store else None,
        )

    def _services(self, volumes: CinderVolumes, *, own: bool) -> Iterator[DoctorService]:
        from imagevol_adapters.doctoring import service_facts

        yield service_facts(volumes.session, service_type="identity", region_name=volumes.region_name)
        yield service_facts(
            volumes.session,
            service_type="block-storage",
            interface=volumes.interface,
            region_name=volumes.region_name,
            endpoint_override=volumes.endpoint_override,
            wanted=_CINDER_API,
        )
        yield service_facts(
            volumes.session,
            service_type="image",
            interface=self.app.images.interface if own else volumes.interface,
            region_name=volumes.region_name,
            endpoint_override=self.app.images.endpoint_override if own else None,
            wanted=_GLANCE_API,
        )

    def _glance(self) -> DoctorGlance | None:
        from imagevol_adapters.doctoring import shows_locations

        try:
            return DoctorGlance(shows_locations=shows_locations(self.app.images))
        except ImagevolError as error:
            self.app.LOG.debug("The settings of Glance are not known: %s", error)
            return None

    def _trial(
        self,
        asked: argparse.Namespace,
        volumes: CinderVolumes | None,
        store: ConfiguredStore | None,
        glance: DoctorGlance | None,
    ) -> DoctorTrial:
        from imagevol_adapters.doctoring import ALGORITHMS, Trial, digest_rates, try_volume

        wanted = asked.volume_type or (store.volume_type if store else None)
        refusal: str | None = None
        if asked.measure and asked.backend and volumes is not None and not wanted:
            try:
                wanted = volume_type_of(asked.backend, volumes)
            except ImagevolError as error:  # volumes of another type would measure another backend
                refusal = str(error)
        algorithm = (glance.hashing_algorithm if glance else None) or _GLANCE_DIGEST
        trial = Trial(measured={})
        if asked.measure and volumes is None:
            trial = Trial(measured={}, error="no volume was tried, because a service or the credentials fail")
        elif refusal is not None:
            trial = Trial(measured={}, error=f"no volume was tried: {refusal}")
        elif asked.measure and volumes is not None:
            trial = try_volume(volumes, self.app.attacher, volume_type=wanted)
            trial = _on_backend(trial, asked.backend)
        rates = Rates(
            host=socket.gethostname(),
            volume_type=trial.volume.volume_type if trial.volume else None,
            backend=trial.volume.host if trial.volume else None,
            digests=digest_rates(dict.fromkeys([*ALGORITHMS, algorithm])),
            **trial.measured,
        )
        if asked.rates is not None and trial.error is None and trial.same is not False:
            _write(asked.rates, rates)
            if asked.measure and rates.backend is None:
                tell(f"{said(asked.rates)} names no backend: Cinder shows it only to credentials with the admin role.")
        elif asked.rates is not None:
            tell(f"{said(asked.rates)} is not written, because measuring failed.")
        return DoctorTrial(
            rates=rates,
            hashing_algorithm=algorithm,
            volume=asked.measure,
            error=trial.error,
            same=trial.same,
        )


def _on_backend(trial: Trial, backend: str | None) -> Trial:
    """Let a trial fail whose volume was on another backend than the one that is checked."""
    volume = trial.volume
    place = (volume.cluster_name or volume.host) if volume else None
    if trial.error or backend is None or place is None or place.partition("#")[0].rpartition("@")[2] == backend:
        return trial
    return attrs.evolve(trial, error=f"the volume was in {said(place)}, and not on backend {said(backend)}")


def _may_write(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)


def _write(path: Path, rates: Rates) -> None:
    def write() -> None:
        with path.open("x", encoding="utf-8") as file:
            json.dump(rates.as_dict(), file, indent=2)
            file.write("\n")

    try:
        in_time(write, path)
    except OSError as error:
        raise RequestRefused(f"{path} cannot be written: {error.strerror}; choose another file") from error


def _whole(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if not 0 <= count <= _MOST_GIB:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GiB: give 0 or more")
    return count
