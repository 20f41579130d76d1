"""The option that lets a recorded BLAKE3 count in place of Glance's digest."""

from __future__ import annotations

import argparse

__all__ = ["add_trust_option"]


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
