"""`python -m tests.pages DIRECTORY`: look at the rendered pages, and say what is wrong with them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.pages import browser, markup


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pages", description=__doc__)
    parser.add_argument("directory", type=Path, help="Look at the pages in DIRECTORY")
    parser.add_argument("--screenshots", type=Path, metavar="TO", help="Write pictures of the pages into TO")
    parser.add_argument("--page", action="append", metavar="NAME", help="Look at page NAME only; repeat it for several")
    arguments = parser.parse_args()
    names = arguments.page or list(markup.pages(arguments.directory))
    found = [] if arguments.page else list(markup.faults(arguments.directory))
    if program := browser.browser():
        found += browser.faults(arguments.directory, names, program)
        if arguments.screenshots:
            browser.screenshots(arguments.directory, names, program, arguments.screenshots)
    else:
        print(f"The pages are not looked at in a browser: none is installed. apt-get install {browser.PACKAGE}")
    for fault in sorted(set(found)):
        print(fault)
    print(f"{len(names)} pages, {len(set(found))} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
