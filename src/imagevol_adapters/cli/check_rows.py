"""What the checks of `doctor` and `validate` say, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from cliff.lister import Lister

from imagevol_adapters.cli.columns import TEXT, Column, Shown, one_of
from imagevol_core import CheckLine, Result

__all__ = ["CheckList", "check_rows"]

_WORDS = {Result.HOLDS: "ok", Result.WARNS: "warn", Result.FAILS: "fail"}
_NOT_LOOKED_AT = "skipped"
_RESULTS = "`ok`, `warn` for what is worth looking at, `fail` for a fault, `skipped` for what was not looked at."


class CheckList(Shown, Lister):
    """A command that shows checks."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("subject", TEXT, "What was checked: of a host, a service or the credentials; of a volume or a setting."),
        Column("rule", TEXT, "The id of the rule."),
        Column("result", one_of(*_WORDS.values(), _NOT_LOOKED_AT), _RESULTS),
        Column("text", TEXT, "The facts that decided, as a sentence; it can change."),
        Column("next", TEXT, "What to do about it; empty if there is nothing to do. It can change."),
    )


def check_rows(lines: Iterable[CheckLine]) -> Iterator[tuple[object, ...]]:
    """Give a row for each line."""
    for verdict, step, looked in lines:
        word = _WORDS[verdict.result] if looked else _NOT_LOOKED_AT
        yield verdict.subject, verdict.rule, word, verdict.text, step or ""
