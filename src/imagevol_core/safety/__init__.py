"""Whether an untrusted image may be copied."""

from imagevol_core.safety.decision import SAFETY_RULES, SafetyDecision, check_image_safety
from imagevol_core.safety.facts import CinderInspection, Inspection, SafetySettings
from imagevol_core.safety.partitions import PartitionEntry, partition_faults

__all__ = [
    "SAFETY_RULES",
    "CinderInspection",
    "Inspection",
    "PartitionEntry",
    "SafetyDecision",
    "SafetySettings",
    "check_image_safety",
    "partition_faults",
]
