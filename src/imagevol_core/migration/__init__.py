"""What a location should become, and how Glance is brought to it ([multi])."""

from imagevol_core.migration.facts import LocationOutcome
from imagevol_core.migration.route import Relocation, plan_relocation, relocated
from imagevol_core.migration.route_rules import (
    RELOCATION_RULES,
    RelocationWay,
    printed_location,
    spares_held_volume,
    unfinished_imports,
)
from imagevol_core.migration.target import (
    ADDED_RULES,
    MIGRATION_RULES,
    ImageChanges,
    LocationChange,
    MigrationTotals,
    plan_added_location,
    plan_image,
    plan_location,
    plan_migration,
)

__all__ = [
    "ADDED_RULES",
    "MIGRATION_RULES",
    "RELOCATION_RULES",
    "ImageChanges",
    "LocationChange",
    "LocationOutcome",
    "MigrationTotals",
    "Relocation",
    "RelocationWay",
    "plan_added_location",
    "plan_image",
    "plan_location",
    "plan_migration",
    "plan_relocation",
    "printed_location",
    "relocated",
    "spares_held_volume",
    "unfinished_imports",
]
