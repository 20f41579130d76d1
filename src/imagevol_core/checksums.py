"""Which digest a file must have, by what a person gives or by a file of checksums."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Digest
from imagevol_core.sentences import listed, said

__all__ = ["checksum_for", "parse_digest"]

_BY_LENGTH: Mapping[int, str] = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_LENGTHS: Mapping[str, int] = {**{name: length for length, name in _BY_LENGTH.items()}, "blake3": 64}
_GNU = re.compile(r"(\\?)([0-9A-Fa-f]{32,128})(?: [ *](.+))?")
_BSD = re.compile(r"(\\?)([A-Z0-9-]+) ?\((.+)\) ?= ?([0-9A-Fa-f]{32,128})")
_SHOWN = 5  # names, in an error


def parse_digest(text: str) -> Digest:
    """Read a digest as `ALGORITHM:VALUE`.

    Raises:
        InvalidFact: the text is no digest.

    >>> parse_digest("MD5:8d777f385d3dfec8815d20f7496026dc")
    Digest(algorithm='md5', value='8d777f385d3dfec8815d20f7496026dc')
    """
    algorithm, colon, value = text.partition(":")
    if not colon:
        raise InvalidFact("digest", f"{said(text)} is not ALGORITHM:VALUE, such as sha256:{'0' * 8}…")
    digest = Digest(algorithm.strip(), value.strip())
    expected = _LENGTHS.get(digest.algorithm)
    if expected not in (None, len(digest.value)):
        raise InvalidFact("digest", f"a {digest.algorithm} has {expected} digits, and this one has {len(digest.value)}")
    return digest


def checksum_for(text: str, name: str | None) -> Digest:
    r"""Find the digest of a file in a list of checksums.

    Lists of `sha256sum` and its like are read, in their usual and in the BSD style (`SHA256 (name) = value`).  Other
    lines, such as those of a signature, are passed over.  A list of several digests of the file gives the longest.

    Args:
        text: the list.
        name: of the file, without its directory; None if it has no name, such as the standard input.

    Raises:
        InvalidFact: the list does not name the file, names several, or gives two different digests of one length.

    >>> listed = "ab" * 32 + "  disk.img\n" + "cd" * 32 + " *other.img\n"
    >>> checksum_for(listed, "other.img").value == "cd" * 32
    True
    """
    entries = list(_entries(text))
    if not entries:
        raise InvalidFact("checksum file", "it has no line such as `sha256sum` writes")
    names = dict.fromkeys(each for each, _ in entries)
    if name is None and len(names) > 1:
        raise InvalidFact("checksum file", f"it names {len(names)} files; give --digest, because the input has no name")
    wanted = [digest for each, digest in entries if name is None or each in (name, None)]
    if not wanted:
        shown = [each for each in names if each is not None]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        raise InvalidFact("checksum file", f"it does not name {name!r}; it names {listed(shown[:_SHOWN])}{more}")
    longest = max(len(digest.value) for digest in wanted)
    digests = {digest for digest in wanted if len(digest.value) == longest}
    if len(digests) > 1:
        raise InvalidFact("checksum file", f"it gives {len(digests)} different digests of {name!r}")
    return digests.pop()


def _entries(text: str) -> Iterator[tuple[str | None, Digest]]:
    """Each file that the list names, without its directory, and its digest; a digest alone may stand without a name."""
    for line in map(str.strip, text.splitlines()):
        if found := _GNU.fullmatch(line):
            escaped, value, path = found.groups()
            algorithm = _BY_LENGTH.get(len(value))
        elif found := _BSD.fullmatch(line):
            escaped, shown, path, value = found.groups()
            algorithm = shown.lower() if _BY_LENGTH.get(len(value)) == shown.lower() else None
        else:
            continue
        if algorithm is None:
            continue
        if path is not None:
            path = _unescaped(path) if escaped else path
            path = path.rpartition("/")[2]
        yield path, Digest(algorithm, value)


def _unescaped(path: str) -> str:
    """A name as it is, of which the list escapes line ends and backslashes."""
    return re.sub(r"\\([nr\\])", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), path)
