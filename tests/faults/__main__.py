"""Runs the long halves of the kinds of faults that need no machine of their own: all, or those that are named.

`python -m tests.faults [KIND...] [--seed N] [--minutes N] [--no-record]`; the minutes are those of each kind.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from tests.faults.recorded import options

KINDS = ("killing", "language", "proxy")


def main() -> int:
    """Run each kind in a process of its own, and give 1 if something did not hold."""
    parser = options(__doc__)
    there = [kind for kind in KINDS if find_spec(f"tests.faults.{kind}")]
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(there)} (default: all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.kinds) - set(there):
        parser.error(f"unknown kinds: {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    handed_on = [f"--seed={arguments.seed}"]
    if arguments.minutes is not None:
        handed_on.append(f"--minutes={arguments.minutes}")
    if arguments.directory is None:
        handed_on.append("--no-record")
    failed = []
    for kind in arguments.kinds or there:
        print(f"{kind}, seed {arguments.seed}", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.faults.{kind}", *handed_on], check=False).returncode:
            failed.append(kind)
    if failed:
        print(f"Failed: {', '.join(failed)}. See above.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
