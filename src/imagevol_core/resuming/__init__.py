"""Transfers that go on after they were stopped ([store])."""

from imagevol_core.resuming.partial import (
    PARTIAL_RULES,
    KeptPart,
    PartialDecision,
    PartialOutcome,
    ReadImage,
    decide_partial,
)
from imagevol_core.resuming.retry import RETRY_RULES, BrokenRead, ReadRetry, RetryOutcome, decide_read_retry

__all__ = [
    "PARTIAL_RULES",
    "RETRY_RULES",
    "BrokenRead",
    "KeptPart",
    "PartialDecision",
    "PartialOutcome",
    "ReadImage",
    "ReadRetry",
    "RetryOutcome",
    "decide_partial",
    "decide_read_retry",
]
