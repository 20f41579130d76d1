"""The options that say which records of volumes are believed, and that one counts in place of Glance's digest."""

from __future__ import annotations

import argparse

__all__ = ["add_trust_option", "add_trusted_projects"]


def add_trust_option(parser: argparse._ActionsContainer, *, when: str) -> None:
    """Take whether the record of a volume is relied on.

    Args:
        parser: of the command, or a group of its options.
        when: what the option goes with.
    """
    parser.add_argument(
        "--trust-recorded",
        action="store_true",
        help=f"with {when}, compare a volume with the BLAKE3 that it records, if that is believed, and not with the "
        "digest of Glance: several times faster, but data is not found that was changed together with its record",
    )


def add_trusted_projects(parser: argparse._ActionsContainer) -> None:
    """Take the projects whose volumes have metadata that is believed.

    Args:
        parser: of the command, or a group of its options.
    """
    parser.add_argument(
        "--trusted-project",
        action="append",
        default=[],
        metavar="PROJECT_ID",
        help="trust the metadata of the volumes of project PROJECT_ID, in which no user creates volumes: the "
        "project of the image volumes, and Cinder's internal tenant; can be repeated",
    )
