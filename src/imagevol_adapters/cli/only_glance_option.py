"""The option by which an operator says that no other Glance has volumes in the trusted projects."""

from __future__ import annotations

import argparse

__all__ = ["add_only_glance_option"]


_VOLUMES = (
    "say that no other Glance has volumes in the trusted projects (default: another one may have, so that a volume "
    "without an image is only likely to be orphaned, and is not deleted)"
)


def add_only_glance_option(parser: argparse.ArgumentParser, *, text: str = _VOLUMES) -> None:
    """Add `--only-glance` to a command.

    Args:
        parser: of the command.
        text: what the option does; by default, for an audit.
    """
    parser.add_argument("--only-glance", action="store_true", help=text)
