"""How an image is copied or moved to another store of Glance ([multi])."""

from imagevol_core.store_copies.decision import (
    StoreCopyPlan,
    StoreRemoval,
    decide_discard,
    decide_store_removal,
    decide_verification,
    plan_store_copy,
    stores_on_backend,
)
from imagevol_core.store_copies.facts import (
    CloneLeft,
    KeptCopy,
    StoreCopyFacts,
    StoreCopyStep,
    StoreCopyWay,
    Verification,
    VerificationFacts,
    VerifyWish,
    place_in_store,
    volume_in_store,
    volumes_in_store,
)
from imagevol_core.store_copies.kept_rules import KEPT_RULES, VERIFICATION_RULES
from imagevol_core.store_copies.leaving_rules import DISCARD_RULES
from imagevol_core.store_copies.rules import CLONE_SOURCE_RULES, IMPORT_RULES, STORE_COPY_RULES, STORE_COPY_WAY_RULES

__all__ = [
    "CLONE_SOURCE_RULES",
    "DISCARD_RULES",
    "IMPORT_RULES",
    "KEPT_RULES",
    "STORE_COPY_RULES",
    "STORE_COPY_WAY_RULES",
    "VERIFICATION_RULES",
    "CloneLeft",
    "KeptCopy",
    "StoreCopyFacts",
    "StoreCopyPlan",
    "StoreCopyStep",
    "StoreCopyWay",
    "StoreRemoval",
    "Verification",
    "VerificationFacts",
    "VerifyWish",
    "decide_discard",
    "decide_store_removal",
    "decide_verification",
    "place_in_store",
    "plan_store_copy",
    "stores_on_backend",
    "volume_in_store",
    "volumes_in_store",
]
