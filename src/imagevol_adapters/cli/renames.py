"""The option `--rename` of `imagevol locations`: which store has which new name."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from imagevol_core import RequestRefused, StoreCatalogue
from imagevol_core.sentences import said

__all__ = ["add_renames", "given_renames"]


def add_renames(parser: argparse._ActionsContainer) -> None:
    """Take the option."""
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="the store OLD is now named NEW: chooses NEW where several stores have the volume's type; may be repeated",
    )


def given_renames(typed: Iterable[str], catalogue: StoreCatalogue) -> dict[str, str]:
    """The new name of each store, by its old one.

    Args:
        typed: each as `OLD=NEW`.
        catalogue: the stores that Glance is configured with, of which NEW is one.

    Raises:
        RequestRefused: one is of another form, renames a store a second time, or names a store that there is not.
    """
    renames: dict[str, str] = {}
    for rename in typed:
        old, _, new = rename.partition("=")
        if not old or not new or old in renames:
            raise RequestRefused(f"--rename {rename}: it is OLD=NEW, and each store has one new name")
        if catalogue.get(new) is None:
            names = ", ".join(said(store.name) for store in catalogue.stores)
            raise RequestRefused(
                f"--rename {rename}: Glance is configured with no store {said(new)}; its stores are {names or 'none'}"
            )
        renames[old] = new
    return renames
