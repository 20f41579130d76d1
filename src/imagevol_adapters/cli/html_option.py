"""The option `--html FILE` of the commands that can show their answer as a page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.file_deadline import written_in_time

if TYPE_CHECKING:
    from imagevol_adapters.reporting import Contents

__all__ = ["add_html_option", "check_html", "write_html"]


def add_html_option(parser: argparse.ArgumentParser, *, required: bool = False, besides: str = "") -> None:
    """Add the option.

    Args:
        parser: of the command.
        required: whether the command does nothing else.
        besides: what else its help says, after a semicolon.
    """
    parser.add_argument(
        "--html",
        type=Path,
        required=required,
        metavar="FILE",
        help="write the answer to FILE as one HTML page that needs no network; an earlier page of that name is "
        "replaced" + besides + (", in one step" if required else " (default: no page)"),
    )


def check_html(file: Path | None) -> None:
    """Refuse a name that no page can be written to, before anything is asked.

    Args:
        file: that the option names; None if it was not given.

    Raises:
        RequestRefused: the name belongs to something else than an earlier page, or its directory cannot be written to.
        MissingDependency: Jinja2 is not installed.
    """
    if file is None:
        return
    from imagevol_adapters.replacing import check_replaceable
    from imagevol_adapters.reporting import BEGINS, check_library

    check_library()
    written_in_time(lambda: check_replaceable(file, begins=BEGINS), file)


def write_html(file: Path, contents: Contents) -> None:
    """Write the page.

    Args:
        file: that the option names.
        contents: what the page shows.

    Raises:
        RequestRefused: it cannot be written.
    """
    from imagevol_adapters.replacing import replace_file
    from imagevol_adapters.reporting import BEGINS, html_page

    page = html_page(contents)
    written_in_time(lambda: replace_file(file, page, begins=BEGINS), file)
