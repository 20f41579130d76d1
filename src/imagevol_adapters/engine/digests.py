"""Digests of a stream, each in a thread of its own: hashlib and blake3 let other threads run while they work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, Self, cast

from imagevol_adapters.closing import Closeable, closed_on_failure
from imagevol_adapters.engine.parts import PART_BYTES, ZEROS, Job, Part
from imagevol_core import ContentMismatch, Digest, InvalidFact, MissingDependency

__all__ = ["BLAKE3", "Digests", "has_blake3", "verified"]

BLAKE3 = "blake3"
"""The name of the digest that the package blake3 makes; each other one is made by hashlib."""

_MOST_THREADS = 8
_LARGE_PART_BYTES = 4 * PART_BYTES


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> object: ...

    def hexdigest(self) -> str: ...

    def copy(self) -> Self: ...


def has_blake3() -> bool:
    """Tell whether the package blake3 is installed; it is not imported for that."""
    return find_spec(BLAKE3) is not None


class Digests:
    """Several digests of one stream, such as the two that Glance keeps.

    >>> digests = Digests(["md5"])
    >>> digests.update(b"data")
    >>> str(digests.values()["md5"])
    'md5:8d777f385d3dfec8815d20f7496026dc'
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        """Take names that hashlib knows, and `blake3`.

        Raises:
            InvalidFact: hashlib does not know one, or that one has no fixed length.
            MissingDependency: the package blake3 is needed and not installed.
        """
        names = tuple(dict.fromkeys(algorithms))
        self._hashes = {name: _blake3(alone=len(names) == 1) if name == BLAKE3 else _hash(name) for name in names}

    @property
    def part_bytes(self) -> int:
        """How much they should be given at once; BLAKE3 alone is faster than the threads hand on small parts."""
        return _LARGE_PART_BYTES if set(self._hashes) == {BLAKE3} else PART_BYTES

    def update(self, data: bytes | memoryview) -> None:
        """Take the next piece of the stream."""
        for digest in self._hashes.values():
            digest.update(data)

    def jobs(self) -> list[Job]:
        """Give what a `Crew` does with each part: a job for each digest, so that they are made at the same time."""
        return [_job(name, digest) for name, digest in self._hashes.items()]

    def copy(self) -> Digests:
        """Give digests of what came so far that go on by themselves."""
        other = Digests(())
        other._hashes = {name: digest.copy() for name, digest in self._hashes.items()}
        return other

    def values(self) -> dict[str, Digest]:
        """Give the digests of all that came so far."""
        return {name: Digest(name, digest.hexdigest()) for name, digest in self._hashes.items()}


def verified(data: Iterable[bytes], digest: Digest | None, what: str, *, given: bool = False) -> Closeable[bytes]:
    """Give the same bytes, and at their end an error if they are not those of the digest.

    Closing them closes the data, also before the first of them.

    Args:
        data: the whole of what the digest was made of.
        digest: what was recorded; when None nothing is checked.
        what: whose data these are, for the error.
        given: whether the digest was given by the caller, and not recorded.

    Raises:
        ContentMismatch: the data is not that of the digest.
        InvalidFact: the digest's algorithm is not known here.

    >>> list(verified([b"da", b"ta"], Digest("md5", "8d777f385d3dfec8815d20f7496026dc"), "the image"))
    [b'da', b'ta']
    """
    if digest is None:
        return Closeable(data, data)
    with closed_on_failure(data):
        digests = Digests([digest.algorithm])
        return Closeable(_compared(data, digests, digest, what, given=given), data)


def _compared(data: Iterable[bytes], digests: Digests, digest: Digest, what: str, *, given: bool) -> Iterator[bytes]:
    for chunk in data:
        digests.update(chunk)
        yield chunk
    compare(digests, digest, what, given=given)


def compare(digests: Digests, digest: Digest, what: str, *, given: bool = False) -> None:
    """Raise a `ContentMismatch` unless the recorded or `given` digest is the one of what came."""
    actual = digests.values()[digest.algorithm]
    if actual != digest:
        raise ContentMismatch(what, expected=str(digest), actual=str(actual), given=given)


def _hash(name: str) -> _Hash:
    try:
        digest = hashlib.new(name, usedforsecurity=False)  # no secret hangs on it: md5 works on a FIPS host
    except ValueError as error:
        raise InvalidFact("digest algorithm", f"{name!r} is not known here") from error
    if not digest.digest_size:
        raise InvalidFact("digest algorithm", f"{name!r} has no fixed length")
    return digest


def _blake3(*, alone: bool) -> _Hash:
    """Make a BLAKE3: in threads of its own where it is the only digest, because the others are slower than one thread.

    The threads are this object's, and end with it.  Those that all such objects of a process can share do not survive a
    fork, and a fork waits for them for ever.
    """
    try:
        module = import_module(BLAKE3)
    except ImportError as error:
        raise MissingDependency(BLAKE3, BLAKE3) from error
    threads = max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2)) if alone else 1  # the device needs cores too
    return cast("_Hash", module.blake3(max_threads=threads))


def _job(name: str, digest: _Hash) -> Job:
    def update(part: Part) -> None:
        if part.digests is not None:
            part.digests[name] = Digest(name, digest.hexdigest())
        elif part.data is not None:
            digest.update(part.data)
        else:
            for start in range(0, part.length, len(ZEROS)):  # few enough that they stay in a cache
                digest.update(memoryview(ZEROS)[: min(len(ZEROS), part.length - start)])

    return update
