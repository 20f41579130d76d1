"""`python -m tests.pages.report_pictures DIRECTORY`: the pictures of a report in the documentation, taken again."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagevol_adapters.reporting import Contents, html_page
from tests.pages.browser import PACKAGE, browser
from tests.pages.devtools import Browser, opened
from tests.pages.report_pages import contents


@contextmanager
def shown(tab: Browser, directory: Path, what: Contents) -> Iterator[Browser]:
    """Open a page, and hold at the end that no request left it and that no script failed."""
    file = directory / "report.html"
    file.write_bytes(html_page(what))
    tab.requests.clear()
    tab.errors.clear()
    tab.width(1400)
    tab.media()
    tab.open(file.as_uri())
    yield tab
    assert tab.requests == [file.as_uri()]
    assert tab.errors == []


def pictures(tab: Browser, directory: Path) -> None:
    """Take the pictures of the documentation: the top of a page, light and dark."""
    with tempfile.TemporaryDirectory() as pages, shown(tab, Path(pages), contents(12, findings=3)):
        tab.width(1000, height=600)
        for scheme in ("light", "dark"):
            tab.media(scheme=scheme)
            tab.picture(directory / f"report-{scheme}.png")


def main() -> int:
    program = browser()
    if program is None:
        print(f"No browser is installed: apt-get install {PACKAGE}", file=sys.stderr)
        return 1
    with opened(program) as tab:
        pictures(tab, Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
