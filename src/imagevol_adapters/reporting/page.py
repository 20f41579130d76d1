"""The page itself: rendered by Jinja2 with every value escaped, and one script and one style that its policy admits.

The page asks for nothing over the network: its Content-Security-Policy forbids it, and admits only the script and the
style that have the digests of ours.  What a user has named an image stays a text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from imagevol_adapters.reporting.chart import chart_bars
from imagevol_adapters.reporting.contents import Contents, Kind
from imagevol_adapters.reporting.packing import packed_images
from imagevol_core import MissingDependency
from imagevol_core.sentences import duration, said, things

__all__ = ["BEGINS", "check_library", "html_page"]

BEGINS = b"<!doctype html>\n<!-- A report of imagevol. -->\n"
"""What each page begins with, by which an earlier page is told from any other file."""

_FINDINGS_AT_ONCE = 50


def check_library() -> None:
    """Hold that Jinja2 is installed, before any work is done for the page.

    Raises:
        MissingDependency: it is not.
    """
    try:
        import jinja2  # noqa: F401, PLC0415 - only where a page is made
    except ModuleNotFoundError as missing:
        raise MissingDependency("jinja2", "report") from missing


def html_page(contents: Contents) -> bytes:
    """Give the page.

    Args:
        contents: what it shows; the images are read once.

    Raises:
        MissingDependency: Jinja2 is not installed.
    """
    check_library()
    from markupsafe import Markup  # noqa: PLC0415 - comes with Jinja2

    packed = packed_images(contents)
    script, style = _own("page.js"), _own("page.css")
    options = tuple(contents.audit_options)
    findings = [{**each, "command": repair_command(each, options)} for each in contents.findings or ()]
    text: str = _template().render(
        contents=contents,
        packed=packed,
        kinds=list(Kind),
        bars=chart_bars(packed.sums),
        data=Markup(_json({**packed.data, "findings": findings})),  # noqa: S704 - no `<` is in it
        script=Markup(script),  # noqa: S704 - ours
        style=Markup(style),  # noqa: S704 - ours
        script_digest=_digest(script),
        style_digest=_digest(style),
        findings=findings[:_FINDINGS_AT_ONCE],
        findings_count=len(findings),
        by_rule=_by_rule(findings),
    )
    return BEGINS + text.encode(errors="backslashreplace")


def repair_command(finding: Mapping[str, Any], options: Sequence[str] = ()) -> str | None:
    """Give the command that repairs a finding, as it is typed; None if a person has to decide.

    It never includes what is only likely: a person checks that first, and then adds the option.

    Args:
        finding: in its JSON form.
        options: of the audit that found it.

    >>> repair_command({"id": "0a1b2c3d4e5f", "certainty": "likely", "repair": [{"action": "delete-volume"}]})
    'imagevol audit --repair --repair-journal repair-0a1b2c3d4e5f --only 0a1b2c3d4e5f'
    """
    if not finding.get("repair"):
        return None
    named = said(finding["id"])
    journal = ["--repair-journal", f"repair-{named}"]
    return said(shlex.join(["imagevol", "audit", *options, "--repair", *journal, "--only", named]))


def size_text(value: int | None) -> str:
    """Give a number of bytes for a person.

    >>> size_text(None), size_text(0), size_text(1536), size_text(5 * 2**30)
    ('not known', '0 B', '1.5 KiB', '5.0 GiB')
    """
    if value is None:
        return "not known"
    for power, unit in ((5, "PiB"), (4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value >= 1024**power:
            whole, rest = divmod(value, 1024**power)
            return f"{whole}.{rest * 10 // 1024**power} {unit}"
    return f"{value} B"


def minutes_text(seconds: float | None) -> str:
    """Give a time for a person.

    >>> minutes_text(None), minutes_text(90), minutes_text(7200)
    ('not known', '90 seconds', '2 hours')
    """
    return "not known" if seconds is None else duration(seconds)


def _by_rule(findings: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, int, int]]:
    """How many findings there are by rule and certainty, and what they can give back."""
    counts: Counter[tuple[str, str]] = Counter()
    reclaimable: Counter[tuple[str, str]] = Counter()
    for each in findings:
        key = (str(each["rule"]), str(each["certainty"]))
        counts[key] += 1
        reclaimable[key] += each.get("reclaimable_bytes") or 0
    return [(*key, count, reclaimable[key]) for key, count in sorted(counts.items())]


def _time_text(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} {value.tzname() or ''}".strip()


@cache
def _own(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 - only where a page is made

    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_own),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bytes": size_text,
        "minutes": minutes_text,
        "said": said,
        "things": things,
        "time": _time_text,
    }
    return environment.get_template("page.html.j2")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(data: object) -> str:
    """Write JSON that ends no element of the page and begins no comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.encode(errors="backslashreplace").decode()
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
