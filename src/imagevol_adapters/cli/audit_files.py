"""The files that `imagevol audit` is given: an earlier audit, and the findings that the operator accepts."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.error_text import one_line
from imagevol_adapters.file_deadline import in_time
from imagevol_adapters.opening import open_file
from imagevol_core import Certainty, RepairAction, RequestRefused
from imagevol_core.sentences import said

__all__ = ["Accepted", "read_baseline", "read_earlier"]

_ID = re.compile(r"[0-9a-f]{12}")
_LARGEST = 256 << 20  # in bytes: a quarter of a million findings


@attrs.frozen
class Accepted:
    """A finding that the operator accepts.

    Attributes:
        id: of the finding.
        reason: why it is accepted.
    """

    id: str
    reason: str


def read_baseline(path: Path) -> dict[str, Accepted]:
    """Read which findings are accepted: a line each, the id and the reason; `#` begins a comment.

    Raises:
        RequestRefused: the file cannot be read, any user could have written it, or a line has no id or no reason.
    """
    found = {}
    for number, line in enumerate(_text(path, hides=True).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        finding_id, _, reason = text.partition(" ")
        if not _ID.fullmatch(finding_id) or not reason.strip():
            raise RequestRefused(
                f"{said(path)}, line {number}: it is not the id of a finding, a blank and a reason; correct the line"
            )
        found[finding_id] = Accepted(finding_id, reason.strip())
    return found


def read_earlier(path: Path) -> dict[str, Mapping[str, Any]]:
    """Read the findings that an earlier `imagevol audit -f json` has printed, by their ids.

    Raises:
        RequestRefused: the file cannot be read, or is something else.
    """
    try:
        rows = json.loads(_text(path))
        findings = [_row(row) for row in rows if row.get("change") != "gone"]
        return {finding["id"]: finding for finding in findings}
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise RequestRefused(
            f"{said(path)} is not what `imagevol audit -f json` prints ({one_line(error)}): give such a file"
        ) from error


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as it was printed, held to the schema."""
    if not _ID.fullmatch(row["id"]):
        raise ValueError("an id does not have 12 digits")
    size = row["reclaimable_bytes"]
    if not isinstance(size, int):
        raise TypeError("reclaimable_bytes is not a number")
    return {
        "id": row["id"],
        "rule": _word(row["rule"]),
        "certainty": Certainty(row["certainty"]).value,
        "subjects": [_subject(each) for each in row["subjects"]],
        "since": None if row["since"] is None else _word(row["since"]),
        "reclaimable_bytes": size,
        "text": _word(row["text"]),
        "repair": [
            {
                "action": RepairAction(step["action"]).value,
                "subject": _subject(step["subject"]),
                "arguments": {_word(key): _word(value) for key, value in step["arguments"].items()},
            }
            for step in row["repair"]
        ],
    }


def _subject(value: Mapping[str, Any]) -> dict[str, str]:
    return {"kind": _word(value["kind"]), "id": _word(value["id"])}


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is missing: there is a {type(value).__name__}")
    return value


def _text(path: Path, *, hides: bool = False) -> str:
    try:
        return in_time(lambda: _read(path, hides=hides), path)
    except RequestRefused:
        raise
    except OSError as error:
        raise RequestRefused(f"{said(path)} cannot be read: {error.strerror}; give another file") from error
    except ValueError as error:
        raise RequestRefused(f"{said(path)} cannot be read: {one_line(error)}; give another file") from error


def _read(path: Path, *, hides: bool) -> str:
    with open(open_file(path), encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        if hides and os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
            raise RequestRefused(
                f"{said(path)} can be written by all users, who could hide findings: run `chmod o-w`, and look at "
                "what it accepts"
            )
        text = file.read(_LARGEST)
        if file.read(1):
            raise RequestRefused(f"{said(path)} is larger than {_LARGEST} bytes: give another file")
        return text
