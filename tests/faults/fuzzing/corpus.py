"""The inputs that are kept of each target, a few KiB for each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["CORPUS", "inputs", "keep"]

CORPUS = Path(__file__).parent / "corpus"
_MOST_BYTES = 8 << 10  # of a target
_LONGEST = 2 << 10  # of an input that is added


def inputs(target: str) -> Mapping[str, bytes]:
    """Give the inputs of a target, by name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).iterdir())}


def keep(target: str, found: Iterable[bytes]) -> int:
    """Add inputs to those of a target, the shortest first, as far as there is room; tell how many."""
    directory = CORPUS / target
    directory.mkdir(parents=True, exist_ok=True)
    room = _MOST_BYTES - sum(map(len, inputs(target).values()))
    known, added = set(inputs(target).values()), 0
    for data in sorted(set(found) - known, key=lambda data: (len(data), data)):
        if len(data) > _LONGEST or len(data) > room:
            break
        (directory / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
        room, added = room - len(data), added + 1
    return added
