"""Templates: whether one serves a request, and which are kept ([template])."""

from imagevol_core.templates.decision import (
    REQUEST_TEMPLATE_RULES,
    TEMPLATE_STATE_RULES,
    TemplateDecision,
    decide_template,
)
from imagevol_core.templates.facts import Template, TemplateAction, TemplateSettings, least_gib, least_gib_upstream
from imagevol_core.templates.pruning import PRUNING_RULES, PruningOutcome, TemplateStanding, plan_pruning

__all__ = [
    "PRUNING_RULES",
    "REQUEST_TEMPLATE_RULES",
    "TEMPLATE_STATE_RULES",
    "PruningOutcome",
    "Template",
    "TemplateAction",
    "TemplateDecision",
    "TemplateSettings",
    "TemplateStanding",
    "decide_template",
    "least_gib",
    "least_gib_upstream",
    "plan_pruning",
]
