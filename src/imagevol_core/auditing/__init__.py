"""What is wrong between images and the volumes that hold them ([store], [multi], [template])."""

from imagevol_core.auditing.decision import Finding, audit, total_reclaimable_bytes
from imagevol_core.auditing.facts import (
    AuditedAttachment,
    AuditRule,
    AuditSettings,
    Certainty,
    Claim,
    ClaimedVolume,
    DeepCheck,
    Entry,
    Held,
    ImageVolume,
    RepairAction,
    RepairStep,
    Subject,
    Templated,
    Watched,
    recorded_image,
)
from imagevol_core.auditing.file_rules import FILE_RULES, LeftFile
from imagevol_core.auditing.location_rules import CLAIM_RULES
from imagevol_core.auditing.repair_clones import (
    CLONE_RULES,
    CloneOutcome,
    RepairClone,
    RepairCloneDecision,
    decide_repair_clone,
)
from imagevol_core.auditing.repair_facts import RepairStepFacts, StepOutcome, is_risky, needs_clone
from imagevol_core.auditing.repair_rules import STEP_RULES
from imagevol_core.auditing.repair_steps import StepDecision, decide_repair_step, found_again
from imagevol_core.auditing.repairs import (
    PLAN_RULES,
    PlannedRepair,
    RepairOutcome,
    RepairPlan,
    by_hand,
    plan_repairs,
)
from imagevol_core.auditing.rules import ATTACHMENT_RULES, ENTRY_RULES, IMAGE_RULES, SHARING_RULES, TEMPLATE_RULES
from imagevol_core.auditing.volume_rules import IMAGE_VOLUME_RULES

__all__ = [
    "ATTACHMENT_RULES",
    "CLAIM_RULES",
    "CLONE_RULES",
    "ENTRY_RULES",
    "FILE_RULES",
    "IMAGE_RULES",
    "IMAGE_VOLUME_RULES",
    "PLAN_RULES",
    "SHARING_RULES",
    "STEP_RULES",
    "TEMPLATE_RULES",
    "AuditRule",
    "AuditSettings",
    "AuditedAttachment",
    "Certainty",
    "Claim",
    "ClaimedVolume",
    "CloneOutcome",
    "DeepCheck",
    "Entry",
    "Finding",
    "Held",
    "ImageVolume",
    "LeftFile",
    "PlannedRepair",
    "RepairAction",
    "RepairClone",
    "RepairCloneDecision",
    "RepairOutcome",
    "RepairPlan",
    "RepairStep",
    "RepairStepFacts",
    "StepDecision",
    "StepOutcome",
    "Subject",
    "Templated",
    "Watched",
    "audit",
    "by_hand",
    "decide_repair_clone",
    "decide_repair_step",
    "found_again",
    "is_risky",
    "needs_clone",
    "plan_repairs",
    "recorded_image",
    "total_reclaimable_bytes",
]
