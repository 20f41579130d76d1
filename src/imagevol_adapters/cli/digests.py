"""The digest that a file must have, as an option or a list of checksums says it."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import BinaryIO

from imagevol_adapters.cli.files import STANDARD_STREAM, opened
from imagevol_adapters.file_deadline import in_time
from imagevol_core import Digest, ImagevolError, SourceFailed, checksum_for, parse_digest

__all__ = ["expected_digest", "given_digest"]

_LONGEST_LIST = 16 << 20  # of checksums, in bytes
_ALGORITHMS = {name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")}  # of a fixed length
_ALGORITHMS.add("blake3")  # for which the engine asks the package of this name


def given_digest(text: str) -> Digest:
    """Read the value of an option, for argparse."""
    try:
        digest = parse_digest(text)
    except ImagevolError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no digest such as sha256:VALUE: {error}") from error
    if digest.algorithm not in _ALGORITHMS:
        known = ", ".join(sorted(_ALGORITHMS))
        raise argparse.ArgumentTypeError(
            f"{digest.algorithm!r} is no algorithm that is known here: give one of {known}"
        )
    return digest


def expected_digest(asked: argparse.Namespace) -> Digest | None:
    """What the file must have, if it is said."""
    if asked.digest is not None:
        expected: Digest = asked.digest
        return expected
    if asked.checksum_file is None:
        return None
    with opened(asked.checksum_file, "give a file such as SHA256SUMS") as (file, size_bytes):
        if size_bytes is None or size_bytes > _LONGEST_LIST:
            raise SourceFailed(f"{asked.checksum_file} is too long; give a file such as SHA256SUMS")
        text = _read(file, asked.checksum_file)
    return checksum_for(text, None if asked.file == STANDARD_STREAM else asked.file.name)


def _read(file: BinaryIO, path: Path) -> str:
    try:
        return in_time(file.read, path).decode(errors="replace")
    except OSError as error:
        raise SourceFailed(f"{path} cannot be read: {error.strerror}; give a file such as SHA256SUMS") from error
