"""Changes an input in the small ways that a fuzzer does; also where there is no fuzzer."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

__all__ = ["mutated"]

_ODD = (0, 1, 0x7F, 0x80, 0xFF)
_WORDS = (
    *(b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff" * 8, b"\0" * 7 + b"\1", b"\x80" + b"\0" * 7, b"\x7f" + b"\xff" * 7),
    *(b"-1", b"1e400", b"NaN", b"Infinity", b"9" * 5000, b"null", b"true", b"[" * 2000, b"{}", b'""', b"\\ud800"),
    *(b"\x1b[2J", b"\n", b"\r\n", b"\0", b"\x1e", b"%", b"$x", b"../", b"://", b"@", b":", b"=", b"\xe2\x80\xae"),
    *(b"\xc3\xa9", b"\xff\xfe", b"\xed\xa0\x80"),
)
_LONGEST = 64 << 10


def mutated(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Give an input with a few changes.

    Args:
        data: the input.
        others: further inputs, whose parts may come into it.
        random: chooses.
    """
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 8))):
        at = random.randint(0, len(changed))
        length = random.choice((1, 1, 2, 4, 8, 16, 64))
        kind = random.randrange(7)
        if kind == 0:
            changed[at : at + length] = random.choice(_WORDS)
        elif kind == 1:
            changed[at:at] = random.choice(_WORDS)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 4 and at < len(changed):
            changed[at] = random.choice(_ODD)
        elif kind == 5:
            changed[at:at] = changed[at : at + length * random.choice((1, 1, 100))]
        elif others:
            other = random.choice(others)
            begin = random.randint(0, len(other))
            changed[at : at + length] = other[begin : begin + length]
    return bytes(changed[:_LONGEST])
