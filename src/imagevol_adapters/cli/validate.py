"""`imagevol validate`: what a backend can be trusted with, shown by real volumes of the smallest size."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import quiet, tell
from imagevol_adapters.cli.check_rows import CheckList, check_rows
from imagevol_adapters.cli.configured_store import GLANCE_API_CONF, ConfiguredStore
from imagevol_adapters.cli.output import check_output
from imagevol_adapters.cli.placing import volume_type_of
from imagevol_adapters.cli.progress import phase
from imagevol_core import RequestRefused, validate
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.cinder.volumes import CinderVolumes

__all__ = ["Validate"]

_FOUND = 3  # the exit status when something cannot be trusted
_MOST_CLONES = 100
_LEAST_SECONDS, _SECONDS, _MOST_SECONDS = 10, 300, 86400


class Validate(CheckList):
    """Try a store or a backend with real volumes of 1 GiB, and say what it can be trusted with.

    It creates volumes, attaches them to this host, writes, reads, clones and extends them, and deletes all of them
    again. The last rows are the settings that follow. The exit status is 3 if the backend did something that it must
    not do.
    """

    app: Imagevol
    _status = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the store or the backend, and how much is tried."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "name",
            metavar="STORE|BACKEND",
            help="a cinder store of Glance, tried with its own credentials; or the section of a backend of Cinder, "
            "which needs the credentials of an administrator",
        )
        parser.add_argument(
            "--config-file",
            type=Path,
            action="append",
            metavar="FILE",
            help=f"look for the store in FILE (default: {GLANCE_API_CONF}, if it is there); may be repeated",
        )
        parser.add_argument(
            "--volume-type",
            metavar="TYPE",
            help="create volumes of TYPE (default: the store's type, or one that is only on the backend)",
        )
        parser.add_argument(
            "--clones",
            type=_clones,
            default=4,
            metavar="COUNT",
            help="let one volume have COUNT clones at the same time (default: %(default)d)",
        )
        parser.add_argument(
            "--seconds",
            type=_seconds,
            default=_SECONDS,
            metavar="SECONDS",
            help="end after SECONDS, the last fifth of which is for cleaning up (default: %(default)d)",
        )
        parser.add_argument(
            "--no-suites", action="store_true", help="leave out the conformance suites, which need `imagevol[testing]`"
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Say by the exit status whether something cannot be trusted."""
        check_output(self.app.stdout)
        return int(super().run(parsed_args)) or self._status

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Try it, and ask the core."""
        from imagevol_adapters.validating import try_backend

        asked = parsed_args
        volumes, backend, volume_type = self._about(asked)
        with ExitStack() as phases:

            def told(name: str) -> None:
                phases.close()  # the one before it
                _tell(name)
                phases.enter_context(phase(name))

            facts = try_backend(
                volumes,
                self.app.attacher,
                name=asked.name,
                volume_type=volume_type,
                backend=backend,
                clones=asked.clones,
                suites=not asked.no_suites,
                seconds=asked.seconds,
                told=told,
            )
        validation = validate(facts)
        self._status = 0 if validation.trusted else _FOUND
        return self.names(), check_rows(validation.lines)

    def _about(self, asked: argparse.Namespace) -> tuple[CinderVolumes, str | None, str | None]:
        """Find out what is named: Cinder with the right credentials, the backend, and the volume type."""
        store = self._store(asked)
        if store is not None:
            return store.volumes or self.app.volumes, None, asked.volume_type or store.volume_type
        volumes = self.app.volumes
        try:
            return volumes, asked.name, asked.volume_type or volume_type_of(asked.name, volumes)
        except RequestRefused as error:
            where = " ".join(map(str, asked.config_file or [GLANCE_API_CONF]))
            raise RequestRefused(f"{said(asked.name)} is no cinder store of {where}, and {error}") from error

    def _store(self, asked: argparse.Namespace) -> ConfiguredStore | None:
        """Give the store of this name; None if there is none."""
        files = asked.config_file or ([GLANCE_API_CONF] if GLANCE_API_CONF.is_file() else [])
        if not files:
            return None
        try:
            return ConfiguredStore.read(files, asked.name)
        except RequestRefused:  # the configuration has no such store
            return None


def _tell(phase: str) -> None:
    """Say on a terminal what is tried."""
    with suppress(OSError, ValueError):
        if not quiet():
            tell(f"Trying: {phase}.")


def _clones(text: str) -> int:
    return _whole(text, "clones", 1, _MOST_CLONES)


def _seconds(text: str) -> int:
    return _whole(text, "seconds", _LEAST_SECONDS, _MOST_SECONDS)


def _whole(text: str, what: str, least: int, most: int) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if not least <= count <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of {what}: give {least} to {most}")
    return count
