"""What was measured on which machine: the factors of the pages are ranges over all of them.

`benchmarks/results/machines.json` has an entry for each machine.  A run of the transfers replaces the entry of the
machine that it runs on, and leaves the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

__all__ = ["BOUNDS", "keep", "machines"]

RESULTS = Path(__file__).with_name("results") / "machines.json"

BOUNDS = {
    "dense data into a volume, both digests": "the slower of md5 and sha512, on one core",
    "90 % zeros into a fresh thin volume, both digests": "the slower of md5 and sha512, on one core",
    "volume read whole and verified": "sha512, on one core",
    "volume read as the store driver serves it": "the device, and one copy of the data",
    "raw image file into a volume, verified": "sha512, on one core",
    "10 GiB qcow2 with 1 GiB data into a fresh device with no write-zeroes": "qemu-img, and the writes of the device",
}
"""What holds each transfer back, by its name in the results."""


def machines() -> list[dict[str, Any]]:
    """Give all that was measured, a machine at a time."""
    found: list[dict[str, Any]] = json.loads(RESULTS.read_text())["machines"]
    return found


def keep(digests_mib_s: Mapping[str, int], times: Mapping[str, Mapping[str, float]]) -> None:
    """Keep what was measured on this machine, in place of what was before."""
    here = machine()
    entry = {
        "machine": here,
        "how": "`nox -s bench -- transfers`",
        "digests_mib_s": dict(digests_mib_s),
        "times": {name: dict(factors) for name, factors in times.items()},
    }
    others = [each for each in machines() if each["machine"]["processor"] != here["processor"]]
    RESULTS.write_text(json.dumps({"bounds": BOUNDS, "machines": [entry, *others]}, indent=2) + "\n")
