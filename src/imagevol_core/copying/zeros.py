"""What becomes of the zeros of bytes that are written as they come ([store])."""

from __future__ import annotations

from dataclasses import dataclass

from imagevol_core.copying.facts import CopyTarget, RawStream, ZeroHandling
from imagevol_core.copying.rules import STRICT_ZERO_RULES
from imagevol_core.verdicts import Verdict, first_match

__all__ = ["ZeroDecision", "decide_zeros"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroDecision:
    """What becomes of zeros.

    Attributes:
        zeros: the answer.
        verdicts: which rules were looked at, up to the one that applies.
    """

    zeros: ZeroHandling
    verdicts: tuple[Verdict, ...]


def decide_zeros(target: CopyTarget) -> ZeroDecision:
    """Decide what becomes of the zeros of a stream of raw bytes ([store]).

    The rules are those of `plan_copy` for a raw source.

    Args:
        target: where the bytes go, with what proves that it reads as zeros.

    >>> from imagevol_core import FreshThin
    >>> decide_zeros(CopyTarget(path="/dev/vdb", size_bytes=2**30, zero=FreshThin(path="/dev/vdb"))).zeros.value
    'skip'
    >>> decide_zeros(CopyTarget(path="/dev/vdb", size_bytes=2**30, can_punch=False)).zeros.value
    'write'
    """
    zeros, verdicts = first_match(STRICT_ZERO_RULES, RawStream(target=target))
    return ZeroDecision(zeros=zeros, verdicts=verdicts)
