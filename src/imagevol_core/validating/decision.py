"""What a backend can be trusted with: each requirement, and the settings that follow."""

from __future__ import annotations

from dataclasses import dataclass

from imagevol_core.checks import CheckLine, checked
from imagevol_core.validating.facts import ValidationFacts
from imagevol_core.validating.rules import (
    VALIDATION_ATTACHMENT_RULES,
    VALIDATION_CLONE_RULES,
    VALIDATION_RUN_RULES,
    VALIDATION_VOLUME_RULES,
)
from imagevol_core.validating.settings_rules import VALIDATION_SETTING_RULES

__all__ = ["Validation", "validate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What a backend can be trusted with.

    Attributes:
        lines: each requirement, and then each setting, in order.
    """

    lines: tuple[CheckLine, ...]

    @property
    def trusted(self) -> bool:
        """Whether nothing was seen that the backend must not do; what was not tried does not count."""
        return all(line.verdict.ok for line in self.lines)


def validate(facts: ValidationFacts) -> Validation:
    """Say what a backend can be trusted with, by what was seen of it, and which settings follow.

    Args:
        facts: what was seen.

    >>> from imagevol_core.validating.facts import Seen
    >>> facts = ValidationFacts(name="fast", seen={"fresh-zeros": Seen(wrong="byte 7 of a new volume is not zero")})
    >>> [(line.verdict.rule, line.next) for line in validate(facts).lines if line.verdict.faults][0][0]
    'fresh-zeros'
    >>> validate(facts).trusted
    False
    """
    return Validation(
        lines=(
            *checked(VALIDATION_RUN_RULES, facts, subject="run"),
            *checked(VALIDATION_VOLUME_RULES, facts, subject="volume"),
            *checked(VALIDATION_CLONE_RULES, facts, subject="clone"),
            *checked(VALIDATION_ATTACHMENT_RULES, facts, subject="attachment"),
            *checked(VALIDATION_SETTING_RULES, facts, subject="setting"),
        )
    )
