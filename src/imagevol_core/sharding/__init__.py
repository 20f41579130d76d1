"""How a large job is shared out in shards: which worker takes what, when a lease is lost, and when to give up."""

from imagevol_core.sharding.decision import (
    AttemptDecision,
    ClaimDecision,
    LeaseDecision,
    begin_attempt,
    decide_attempt,
    decide_claim,
    decide_lease,
    end_attempt,
    try_again,
)
from imagevol_core.sharding.facts import (
    AttemptFacts,
    ClaimFacts,
    LeaseFacts,
    LeaseState,
    Shard,
    ShardNext,
    ShardRecord,
    ShardState,
    Worker,
    WorkerRecord,
)
from imagevol_core.sharding.rules import ATTEMPT_RULES, CLAIMING_RULES, LEASE_RULES

__all__ = [
    "ATTEMPT_RULES",
    "CLAIMING_RULES",
    "LEASE_RULES",
    "AttemptDecision",
    "AttemptFacts",
    "ClaimDecision",
    "ClaimFacts",
    "LeaseDecision",
    "LeaseFacts",
    "LeaseState",
    "Shard",
    "ShardNext",
    "ShardRecord",
    "ShardState",
    "Worker",
    "WorkerRecord",
    "begin_attempt",
    "decide_attempt",
    "decide_claim",
    "decide_lease",
    "end_attempt",
    "try_again",
]
