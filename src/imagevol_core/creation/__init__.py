"""The way from an image to a volume, and which templates can be created ahead ([clone], [template])."""

from imagevol_core.creation.boot_mapping import BootMapping, boot_mapping
from imagevol_core.creation.cache_lookup import CACHE_RULES, CACHED_RULES, ImageCache, Lookup
from imagevol_core.creation.cost import Effort, StepCost, expected_seconds, step_cost
from imagevol_core.creation.decision import CREATION_RULES, STOP_RULES, WAY_RULES, CreationPlan, plan_creation
from imagevol_core.creation.facts import ConversionSettings, Creation, CreationStep, Way
from imagevol_core.creation.outlook import Carrier, CreationOutlook, WayOutlook, foresee
from imagevol_core.creation.warming import (
    WARM_RULES,
    WarmOutcome,
    WarmPlan,
    WarmPool,
    WarmWish,
    may_serve,
    plan_warming,
)

__all__ = [
    "CACHED_RULES",
    "CACHE_RULES",
    "CREATION_RULES",
    "STOP_RULES",
    "WARM_RULES",
    "WAY_RULES",
    "BootMapping",
    "Carrier",
    "ConversionSettings",
    "Creation",
    "CreationOutlook",
    "CreationPlan",
    "CreationStep",
    "Effort",
    "ImageCache",
    "Lookup",
    "StepCost",
    "WarmOutcome",
    "WarmPlan",
    "WarmPool",
    "WarmWish",
    "Way",
    "WayOutlook",
    "boot_mapping",
    "expected_seconds",
    "foresee",
    "may_serve",
    "plan_creation",
    "plan_warming",
    "step_cost",
]
