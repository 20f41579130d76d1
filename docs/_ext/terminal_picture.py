"""Draws the session of the home page: docs/_data/terminal.json, which `python -m tests.cloud.terminal` records.

Run as a program after a new recording, it writes docs/_static/terminal.svg.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).parents[1]
RECORDED = DOCS / "_data" / "terminal.json"
PICTURE = DOCS / "_static" / "terminal.svg"

COLUMNS = 100
CHARACTER, LINE, MARGIN, TITLE = 7.0, 17, 16, 30
PAUSE_SECONDS, LINE_SECONDS = 1.2, 0.08  # before a command, and between the lines of its output
COLORS = {"paper": "#161b22", "bar": "#21262d", "text": "#e6edf3", "prompt": "#3fb950", "comment": "#9198a1"}


@dataclass(frozen=True)
class Command:
    """A command of the session: what it is for, what was typed and what was printed."""

    about: str
    typed: str
    printed: str


@dataclass(frozen=True)
class Row:
    """A line of the terminal, and when it appears."""

    kind: str
    text: str
    seconds: float


def recorded() -> list[Command]:
    """Read the session."""
    return [Command(**each) for each in json.loads(RECORDED.read_text())["commands"]]


def rows(commands: list[Command]) -> Iterator[Row]:
    """Give the lines, wrapped as a terminal does."""
    seconds = 0.0
    for command in commands:
        if seconds:
            yield Row("text", "", seconds)
        yield Row("comment", f"# {command.about}", seconds)
        for number, line in enumerate(_wrapped(command.typed, " \\")):
            yield Row("typed", f"{'$' if number == 0 else ' '} {line}", seconds)
        seconds += PAUSE_SECONDS
        for printed in command.printed.splitlines():
            for line in _wrapped(printed, ""):
                yield Row("text", line, seconds)
                seconds += LINE_SECONDS
        seconds += PAUSE_SECONDS


def _wrapped(line: str, continued: str) -> list[str]:
    width = COLUMNS - 4
    cut = textwrap.wrap(line, width, subsequent_indent="    ", break_on_hyphens=False, drop_whitespace=True) or [""]
    return [*(f"{each}{continued}" for each in cut[:-1]), cut[-1]]


_ABOUT = 'role="img" aria-labelledby="title desc"'


def picture(commands: list[Command]) -> str:
    """Draw the session."""
    lines = list(rows(commands))
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, TITLE + len(lines) * LINE + 2 * MARGIN
    told = escape("; ".join(f"{command.about}: {command.typed}" for command in commands))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" {_ABOUT}>',
        '<title id="title">A recorded session of imagevol</title>',
        f'<desc id="desc">{told}</desc>',
        "<style>",
        f"text{{font:12px ui-monospace,'DejaVu Sans Mono',monospace;fill:{COLORS['text']};white-space:pre}}",
        f".comment{{fill:{COLORS['comment']}}}.prompt{{fill:{COLORS['prompt']}}}.typed{{font-weight:700}}",
        "@media (prefers-reduced-motion:no-preference){text{opacity:0;animation:show 1ms forwards}}",
        "@keyframes show{to{opacity:1}}",
        "</style>",
        f'<rect width="{width:g}" height="{height}" rx="8" fill="{COLORS["paper"]}"/>',
        f'<path d="M0 {TITLE}V8a8 8 0 0 1 8-8h{width - 16:g}a8 8 0 0 1 8 8v{TITLE - 8}z" fill="{COLORS["bar"]}"/>',
        *(f'<circle cx="{18 + 18 * number}" cy="15" r="5" fill="#6e7681"/>' for number in range(3)),
        *(_row(row, TITLE + MARGIN + (number + 0.75) * LINE) for number, row in enumerate(lines) if row.text),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _row(row: Row, y: float) -> str:
    style = f' style="animation-delay:{row.seconds:.2f}s"' if row.seconds else ""
    text = escape(row.text)
    if row.kind == "typed" and row.text.startswith("$"):
        text = f'<tspan class="prompt">$</tspan>{escape(row.text[1:])}'
    length = f' textLength="{len(row.text) * CHARACTER:g}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{MARGIN}" y="{y:g}" class="{row.kind}"{length}{style} xml:space="preserve">{text}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture(recorded()))
