"""Draws the ways from an image to a volume and back: `python docs/_ext/paths_picture.py` writes both pictures.

The pictures are committed, because the README shows them; a test compares them with what is drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

PICTURES = Path(__file__).parents[1] / "_static"
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT = 190, 570  # where the arrows begin and end


@dataclass(frozen=True)
class Colors:
    """What a theme draws with."""

    text: str
    muted: str
    box: str
    line: str
    fast: str
    slow: str


THEMES = {
    "light": Colors("#1f2328", "#59636e", "#f6f8fa", "#8c959f", "#1a7f37", "#9a6700"),
    "dark": Colors("#f0f6fc", "#9198a1", "#151b23", "#656c76", "#3fb950", "#d29922"),
}


@dataclass(frozen=True)
class Way:
    """One arrow: what is done, and in which case."""

    name: str
    when: str
    fast: bool
    back: bool = False


WAYS = (
    Way("clone the image volume", "the image is raw and in a volume of the same backend", fast=True),
    Way("clone the template", "the backend has a template of the image", fast=True),
    Way("create the template, then clone it", "the first volume of the image on the backend", fast=False),
    Way("copy", "inspect, convert and write the data", fast=False),
    Way("clone the volume and register it", "a store has the type of the volume", fast=True, back=True),
    Way("copy", "read the data and send it to Glance", fast=False, back=True),
)


_ABOUT = 'role="img" aria-labelledby="title desc" font-family="system-ui, sans-serif" font-size="14"'


def picture(theme: str) -> str:
    """Draw it in the colors of a theme."""
    colors = THEMES[theme]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {_ABOUT}>',
        '<title id="title">The ways from an image to a volume and back</title>',
        f'<desc id="desc">{escape(_description())}</desc>',
        "<defs>",
        *(_head(name, color) for name, color in (("fast", colors.fast), ("slow", colors.slow))),
        "</defs>",
        _box(10, "Image", "Glance", colors),
        _box(RIGHT, "Volume", "Cinder", colors),
        *(_arrow(way, 56 + 62 * number, colors) for number, way in enumerate(WAYS)),
        _text(
            WIDTH / 2,
            HEIGHT - 8,
            "green: the storage clones      yellow, dashed: the data goes through a host",
            colors.muted,
            12,
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _description() -> str:
    return " ".join(
        f"{'Volume to image' if way.back else 'Image to volume'}: {way.name}, if {way.when}."
        if way.fast
        else f"{'Volume to image' if way.back else 'Image to volume'}: {way.name} ({way.when})."
        for way in WAYS
    )


def _head(name: str, color: str) -> str:
    size = 'refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"'
    return f'<marker id="{name}" viewBox="0 0 10 10" {size}><path d="M0 0 10 5 0 10z" fill="{color}"/></marker>'


def _box(left: float, title: str, owner: str, colors: Colors) -> str:
    paint = f'fill="{colors.box}" stroke="{colors.line}"'
    return "\n".join(
        (
            f'<rect x="{left}" y="16" width="{LEFT - 10}" height="{HEIGHT - 46}" rx="10" {paint}/>',
            _text(left + (LEFT - 10) / 2, HEIGHT / 2 - 12, title, colors.text, 20, bold=True),
            _text(left + (LEFT - 10) / 2, HEIGHT / 2 + 12, owner, colors.muted, 14),
        )
    )


def _arrow(way: Way, top: float, colors: Colors) -> str:
    start, end = (RIGHT - 4, LEFT + 4) if way.back else (LEFT + 4, RIGHT - 4)
    kind, color, dashes = ("fast", colors.fast, "") if way.fast else ("slow", colors.slow, ' stroke-dasharray="7 4"')
    return "\n".join(
        (
            _text(WIDTH / 2, top - 8, way.name, colors.text, 14, bold=True),
            f'<path d="M{start} {top}H{end}" stroke="{color}" stroke-width="2.5"{dashes} marker-end="url(#{kind})"/>',
            _text(WIDTH / 2, top + 17, way.when, colors.muted, 12),
        )
    )


def _text(x: float, y: float, text: str, color: str, size: int, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    style = f'text-anchor="middle" fill="{color}" font-size="{size}"{weight}'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>'


if __name__ == "__main__":
    for theme in THEMES:
        (PICTURES / f"paths-{theme}.svg").write_text(picture(theme))
