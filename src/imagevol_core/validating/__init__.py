"""What a backend can be trusted with, and which settings follow from it."""

from imagevol_core.validating.decision import Validation, validate
from imagevol_core.validating.facts import NotSeen, Seen, ValidationFacts
from imagevol_core.validating.rules import (
    VALIDATION_ATTACHMENT_RULES,
    VALIDATION_CLONE_RULES,
    VALIDATION_RUN_RULES,
    VALIDATION_VOLUME_RULES,
)
from imagevol_core.validating.settings_rules import VALIDATION_SETTING_RULES

__all__ = [
    "VALIDATION_ATTACHMENT_RULES",
    "VALIDATION_CLONE_RULES",
    "VALIDATION_RUN_RULES",
    "VALIDATION_SETTING_RULES",
    "VALIDATION_VOLUME_RULES",
    "NotSeen",
    "Seen",
    "Validation",
    "ValidationFacts",
    "validate",
]
