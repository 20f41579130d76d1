"""The backends of `imagevol fleet work`: those that a person names, and those that `imagevol doctor` has tried."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

from imagevol_adapters.cli.rates import read_rates
from imagevol_core import RequestRefused
from imagevol_core.sentences import said

__all__ = ["add_worker_backends", "worker_backends"]

_LONGEST = 255  # of what Cinder keeps of a volume's host
_TRY_IT = "run `imagevol doctor --measure --rates` on this host"


def add_worker_backends(parser: argparse.ArgumentParser) -> None:
    """Add `--backend` and `--backend-from`.

    Args:
        parser: of the command.
    """
    parser.add_argument(
        "--backend",
        type=_backend,
        action="append",
        metavar="HOST@BACKEND",
        help="of the volumes to read, take only those on HOST@BACKEND, for a host that cannot attach those of all "
        "backends; can be repeated (default: the volumes of all backends)",
    )
    parser.add_argument(
        "--backend-from",
        type=Path,
        action="append",
        metavar="FILE",
        help="take those on the backend that `imagevol doctor --measure --rates FILE` tried on this host, and those of "
        "--backend; can be repeated",
    )


def worker_backends(asked: argparse.Namespace) -> frozenset[str] | None:
    """Give the backends whose volumes a worker takes; None for those of all backends.

    Args:
        asked: the options of the command.

    Raises:
        RequestRefused: a file cannot be read, or does not say that this host has attached a volume.
    """
    if asked.backend is None and asked.backend_from is None:
        return None
    return frozenset([*(asked.backend or ()), *map(_tried, asked.backend_from or ())])


def _tried(file: Path) -> str:
    """Give the backend of the volume that this host has attached, by a file of rates."""
    rates, host = read_rates(file, option="--backend-from"), socket.gethostname()
    backend = (rates.backend or "").partition("#")[0]
    if rates.host != host:
        wrong = f"it was measured on host {said(rates.host)[:_LONGEST]}, and this is {said(host)}: {_TRY_IT}"
    elif rates.attach_seconds is None:
        wrong = f"no volume was attached for it: {_TRY_IT}"
    elif rates.backend is None:
        wrong = f"it names no backend, because only administrators see it: {_TRY_IT} with the admin role"
    elif not _can_be_backend(backend):
        wrong = f"{said(rates.backend)[:_LONGEST]!r} is no backend: {_TRY_IT}"
    else:
        return backend
    raise RequestRefused(f"--backend-from: {said(file)}: {wrong}")


def _backend(text: str) -> str:
    """Read the name of a backend, as Cinder shows it before the `#` of a pool."""
    if not _can_be_backend(text):
        raise argparse.ArgumentTypeError(
            f"{said(text)!r} is no backend: give HOST@BACKEND, as `cinder get-pools` has it before the # and the pool"
        )
    return text


def _can_be_backend(text: str) -> bool:
    """Tell whether a text is `host@backend`: workers publish it, and the board takes no other name."""
    return all(text.partition("@")) and "#" not in text and text.isprintable() and len(text) <= _LONGEST
