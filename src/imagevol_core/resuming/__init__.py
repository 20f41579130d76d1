"""Transfers that go on after they were stopped, and requests that are sent again ([store])."""

from imagevol_core.resuming.finished import (
    FINISHED_RULES,
    FinishedDecision,
    FinishedFile,
    FinishedOutcome,
    decide_finished,
)
from imagevol_core.resuming.partial import (
    PARTIAL_RULES,
    KeptPart,
    PartialDecision,
    PartialOutcome,
    ReadImage,
    decide_partial,
)
from imagevol_core.resuming.repeating import (
    REPEAT_RULES,
    FailedRequest,
    RepeatOutcome,
    RequestRepeat,
    decide_request_repeat,
)
from imagevol_core.resuming.retry import RETRY_RULES, BrokenRead, ReadRetry, RetryOutcome, decide_read_retry
from imagevol_core.resuming.taking_up import (
    REGISTRATION_RULES,
    TAKING_UP_RULES,
    LeftVolume,
    Registration,
    TakingUp,
    decide_registration,
    decide_taking_up,
)

__all__ = [
    "FINISHED_RULES",
    "PARTIAL_RULES",
    "REGISTRATION_RULES",
    "REPEAT_RULES",
    "RETRY_RULES",
    "TAKING_UP_RULES",
    "BrokenRead",
    "FailedRequest",
    "FinishedDecision",
    "FinishedFile",
    "FinishedOutcome",
    "KeptPart",
    "LeftVolume",
    "PartialDecision",
    "PartialOutcome",
    "ReadImage",
    "ReadRetry",
    "Registration",
    "RepeatOutcome",
    "RequestRepeat",
    "RetryOutcome",
    "TakingUp",
    "decide_finished",
    "decide_partial",
    "decide_read_retry",
    "decide_registration",
    "decide_request_repeat",
    "decide_taking_up",
]
