"""`python -m benchmarks [NAME …]`: those, or all of them."""

import sys
from importlib import import_module

ALL = (
    "audits",
    "clones",
    "decisions",
    "digests",
    "fleet",
    "greenlets",
    "in_glance",
    "rbd",
    "readers",
    "resuming",
    "sparse",
    "starting",
    "transfers",
)

for name in sys.argv[1:] or ALL:
    if name not in ALL:
        sys.exit(f"there is no benchmark {name!r}; there are {', '.join(ALL)}")
    import_module(f"benchmarks.{name}").main()
