"""The options that say which volume is explained: `imagevol explain` and `imagevol report` take the same ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from imagevol_core import Policy, RequestRefused
from imagevol_core.sentences import said

__all__ = ["BOTH", "add_volume_options", "count", "policies_of", "refuse_unused"]

BOTH = "both"
_DIGITS, _SHOWN = 9, 40  # of a number; characters of what is none


def add_volume_options(parser: argparse.ArgumentParser, *, size_required: bool) -> None:
    """Add the options of the new volume, and of what the operator has configured.

    Args:
        parser: of the command.
        size_required: whether the size has no default.
    """
    least = "" if size_required else " (default: the smallest that the image fits into)"
    parser.add_argument(
        "--size", type=_size_gib, required=size_required, metavar="GIB", help=f"take a new volume of GIB GiB{least}"
    )
    parser.add_argument(
        "--host",
        type=_host,
        metavar="HOST@BACKEND#POOL",
        help="take the pool of `cinder get-pools` in which the new volume will be (default: the pools for "
        "--volume-type)",
    )
    parser.add_argument(
        "--volume-type",
        action="append",
        metavar="TYPE",
        help="take the encryption of volume type TYPE and, without --host, each pool that its volumes can be in; "
        "needs the admin role; can be repeated",
    )
    parser.add_argument(
        "--config-file",
        type=Path,
        metavar="FILE",
        help="read the options of Cinder and of the backend from FILE, a cinder.conf; the options here count first",
    )
    parser.add_argument(
        "--backend", metavar="NAME", help="take section NAME of --config-file (default: the backend of the pool)"
    )
    parser.add_argument(
        "--rates",
        type=Path,
        metavar="FILE",
        help="give the seconds that each step takes at least, from a FILE of `imagevol doctor --rates`",
    )
    parser.add_argument(
        "--cluster-name",
        metavar="CLUSTER@BACKEND#POOL",
        help="take the cluster of the pool, if Cinder runs in clusters",
    )
    parser.add_argument(
        "--project",
        metavar="PROJECT_ID",
        help="take PROJECT_ID as the owner of the new volume; who is served depends on it (default: your project)",
    )
    parser.add_argument("--encrypted", action="store_true", help="take the type of the new volume as encrypted")
    parser.add_argument(
        "--clone-across-pools",
        action="store_true",
        help="take the backend to clone from one of its pools into another",
    )
    parser.add_argument(
        "--allowed-direct-url-scheme",
        action="append",
        metavar="SCHEME",
        help="take SCHEME as an entry of allowed_direct_url_schemes and image_clone_direct_url_schemes; can be "
        "repeated (default: cinder; with the strict rules for the driver only)",
    )
    parser.add_argument(
        "--trusted-project",
        action="append",
        default=[],
        metavar="PROJECT_ID",
        help="trust PROJECT_ID, in which no user can write a volume's metadata: the one of Glance's cinder stores, "
        "and Cinder's internal tenant; can be repeated (default: none)",
    )
    parser.add_argument(
        "--templates",
        action="store_true",
        help="take the backend to make templates, as with image_template_enabled = true",
    )
    parser.add_argument(
        "--internal-tenant",
        metavar="PROJECT_ID",
        help="look for templates among the volumes of PROJECT_ID, which is Cinder's "
        "cinder_internal_tenant_project_id, and trust it; needs the admin role (default: look for none)",
    )
    parser.add_argument(
        "--image-cache",
        action="store_true",
        help="take the backend to have Cinder's image cache, as with image_volume_cache_enabled = true",
    )
    parser.add_argument(
        "--no-conversion",
        action="store_true",
        help="take Cinder to convert no images, as with image_conversion_disable = true",
    )
    parser.add_argument(
        "--enforce-signatures",
        action="store_true",
        help="take signatures to be enforced, as with verify_glance_signatures = enabled",
    )
    parser.add_argument(
        "--policy",
        choices=[*(policy.value for policy in Policy), BOTH],
        default=Policy.STRICT.value,
        help="strict: what the specifications say, made safe; upstream: what Cinder 29.0.0 does; "
        "cinder-28: what Cinder 28.0.0 does; both: strict and upstream side by side (default: strict)",
    )


def policies_of(asked: argparse.Namespace) -> Sequence[Policy]:
    """Give the policies that are asked; the strict one first."""
    return [Policy.STRICT, Policy.UPSTREAM] if asked.policy == BOTH else [Policy(asked.policy)]


def refuse_unused(asked: argparse.Namespace) -> None:
    """Refuse an option that nothing would look at.

    Raises:
        RequestRefused: there is one.
    """
    if asked.templates and asked.policy not in (Policy.STRICT.value, BOTH):
        raise RequestRefused("--templates: a backend makes them by the strict rules; leave --policy out")
    if asked.backend is not None and asked.config_file is None:
        raise RequestRefused("--backend names a section of a file: give the file in --config-file")


def count(text: str) -> int:
    """Read a count, for argparse."""
    return _whole(text, "count: give a whole number")


def _size_gib(text: str) -> int:
    return _whole(text, "size of a volume: give a whole number of GiB")


def _whole(text: str, expected: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text)):
        raise argparse.ArgumentTypeError(
            f"{said(text)[:_SHOWN]!r} is no {expected}, 1 or more, of {_DIGITS} digits at most"
        )
    return int(text)


def _host(text: str) -> str:
    if not all(text.partition("@")) or not all(text.partition("#")):
        raise argparse.ArgumentTypeError(f"{said(text)!r} is no HOST@BACKEND#POOL: see `cinder get-pools`")
    return text
