"""Several answers of `imagevol explain` at once: a table of images and places, and two policies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagevol_adapters.cli.outcome import Outcome
from imagevol_adapters.cli.rates import measured_elsewhere
from imagevol_core.sentences import said

__all__ = ["columns_of", "differences", "row", "side_by_side", "table"]

_SECONDS = "seconds"
_ONE = ("image_id", "image_name", "volume_type", "host", "way", "reason", _SECONDS)
_BOTH = (*_ONE, "upstream_way", "upstream_reason", "differs")


def columns_of(policies: int) -> tuple[str, ...]:
    """Name the columns of a row, for one policy or for two."""
    return _ONE if policies == 1 else _BOTH


def row(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Give the row of an image and a place.

    Args:
        outcomes: one for each policy.
    """
    first = outcomes[0]
    image, target = first.facts.image, first.facts.target
    answer: dict[str, Any] = {
        "image_id": image.id,
        "image_name": None if image.name is None else said(image.name),
        "volume_type": target.volume_type,
        "host": target.host,
        "way": first.way,
        "reason": _reason(first),
        "seconds": _seconds(first),
    }
    if len(outcomes) > 1:
        answer["upstream_way"] = outcomes[1].way
        answer["upstream_reason"] = _reason(outcomes[1])
        answer["differs"] = bool(differences(*outcomes))
    return answer


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Give rows as a table with a heading; without seconds if none are known."""
    if not rows:
        return "There is no image."
    names = [name for name in rows[0] if name != _SECONDS or any(row[name] is not None for row in rows)]
    cells = [names, *([_cell(name, row[name]) for name in names] for row in rows)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if name == _SECONDS else said(value)


def differences(strict: Outcome, upstream: Outcome) -> list[str]:
    """Name the ways that one policy tries and the other does not, or from another source."""
    ours = [(step.way.value, step.source) for step in strict.steps]
    theirs = [(step.way.value, step.source) for step in upstream.steps]
    if ours == theirs:
        return []
    apart = [name for name, source in (*ours, *theirs) if ((name, source) in ours) != ((name, source) in theirs)]
    return list(dict.fromkeys(apart or [name for name, _ in ours]))


def side_by_side(strict: Outcome, upstream: Outcome) -> str:
    """Give two answers in two columns, a line for each way; one where they differ is marked."""
    apart = differences(strict, upstream)
    names = list(dict.fromkeys(step.way.value for outcome in (strict, upstream) for step in outcome.steps))
    lines = [("", "strict", "upstream"), ("  first", strict.way, upstream.way)]
    lines += [
        (f"{'!' if name in apart else ' '} {name}", _tried(strict, name), _tried(upstream, name)) for name in names
    ]
    widths = [max(len(line[number]) for line in lines) for number in range(3)]
    told = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    for outcome in (strict, upstream):
        told += ["", f"{outcome.policy.value}:", *outcome.sentences()]
    return "\n".join(told)


def _seconds(outcome: Outcome) -> float | None:
    """How long the first way takes at least; None if nothing was measured in its place."""
    here = outcome.rates is not None and measured_elsewhere(outcome.rates, outcome.facts.target) is None
    return outcome.seconds(outcome.steps[0]) if here and outcome.steps else None


def _tried(outcome: Outcome, name: str) -> str:
    found = [
        f"{number}{f' from {said(step.source)}' if step.source else ''}"
        for number, step in enumerate(outcome.steps, 1)
        if step.way.value == name
    ]
    return ", ".join(found) or "not tried"


def _reason(outcome: Outcome) -> str:
    """Why the first way is the one: its source, or what stands in the way of a clone."""
    if outcome.refused is not None:
        return outcome.refused
    if outcome.steps[0].source is not None:
        return f"from {said(outcome.steps[0].source)}"
    against = [f"{each.rule}: {each.text}" for way in outcome.outlook.ways if not way.steps for each in way.against]
    wanted = [text for text in dict.fromkeys(against) if not text.startswith("from-snapshot: ")]
    return wanted[0] if wanted else ""
