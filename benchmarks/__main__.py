"""`python -m benchmarks [NAME …]`: those, or all of them."""

import sys

from benchmarks import decisions, greenlets, readers, starting, transfers

ALL = {
    "decisions": decisions.main,
    "greenlets": greenlets.main,
    "readers": readers.main,
    "starting": starting.main,
    "transfers": transfers.main,
}

for name in sys.argv[1:] or ALL:
    if name not in ALL:
        sys.exit(f"there is no benchmark {name!r}; there are {', '.join(ALL)}")
    ALL[name]()
