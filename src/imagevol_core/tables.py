"""Every rule table that there is, for the reference pages and for tests that walk all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagevol_core.clone_rules import REQUEST_RULES, VOLUME_RULES
from imagevol_core.verdicts import Policy, Rule, RuleTable

__all__ = ["rule_tables"]

_TABLES: Mapping[str, Mapping[Policy, tuple[Rule[Any], ...]]] = {
    "Cloning: the image and the new volume": REQUEST_RULES,
    "Cloning: each image volume": VOLUME_RULES,
}


def rule_tables() -> tuple[RuleTable, ...]:
    """Give every table, by name and then by policy.

    >>> [rule.id for table in rule_tables() for rule in table.rules if rule.gate and table.policy is Policy.STRICT]
    ['volume-found']
    """
    return tuple(
        RuleTable(name=name, policy=policy, rules=rules)
        for name, by_policy in _TABLES.items()
        for policy, rules in by_policy.items()
    )
