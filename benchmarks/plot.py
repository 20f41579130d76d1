"""The results of the transfers as a picture, beside them."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from benchmarks.pairs import RESULTS


def draw(name: str = "transfers") -> None:
    """Draw a bar for each side of each case, in MiB a second."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = import_module("matplotlib.pyplot")
    result = json.loads((RESULTS / f"{name}.json").read_text())
    rows: list[dict[str, Any]] = result["rows"]
    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.9 * len(rows)), layout="constrained")
    for number, row in enumerate(reversed(rows)):
        bars = {"imagevol": row["ours_mib_s"], **row["theirs_mib_s"]}
        height = 0.8 / len(bars)
        for place, (side, speed) in enumerate(bars.items()):
            at = number + 0.4 - height * (place + 0.5)
            axes.barh(at, speed, height=height * 0.9, color="tab:blue" if side == "imagevol" else "tab:gray")
            axes.text(speed, at, f" {side}, {speed}", va="center", fontsize=7)
        if row["limit_mib_s"]:
            axes.plot([row["limit_mib_s"]] * 2, [number - 0.4, number + 0.4], color="tab:red", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["name"] for row in reversed(rows)], fontsize=8)
    axes.set_xlabel("MiB a second of the image, zeros and all; red: the limit of the machine")
    axes.set_title(result["host"], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(left=50, right=10 * max(row["ours_mib_s"] for row in rows))
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
