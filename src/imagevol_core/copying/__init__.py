"""How bytes are copied, and what becomes of zeros ([store])."""

from imagevol_core.copying.decision import COPY_RULES, METHOD_RULES, ZERO_RULES, CopyPlan, plan_copy
from imagevol_core.copying.facts import (
    QEMU_NAMES,
    Cleared,
    CopyMethod,
    CopySettings,
    CopySource,
    CopyTarget,
    DriverGuarantee,
    FreshThin,
    LuksCipher,
    ZeroHandling,
    ZeroProof,
    can_be_read_in_ranges,
)
from imagevol_core.copying.zeros import ZeroDecision, decide_zeros

__all__ = [
    "COPY_RULES",
    "METHOD_RULES",
    "QEMU_NAMES",
    "ZERO_RULES",
    "Cleared",
    "CopyMethod",
    "CopyPlan",
    "CopySettings",
    "CopySource",
    "CopyTarget",
    "DriverGuarantee",
    "FreshThin",
    "LuksCipher",
    "ZeroDecision",
    "ZeroHandling",
    "ZeroProof",
    "can_be_read_in_ranges",
    "decide_zeros",
    "plan_copy",
]
