"""The stores of Glance: what they are, what is wrong with them, and which one an upload goes to ([multi], [base])."""

from imagevol_core.stores.check import CATALOGUE_RULES, STORE_RULES, StoreCheck, StoreRequirement, check_stores
from imagevol_core.stores.facts import (
    CINDER_KINDS,
    RESERVED_STORES,
    SCHEMES,
    Store,
    StoreCatalogue,
    is_associated,
    store_of_location,
)
from imagevol_core.stores.put import PUT_RULES, PutWishes, check_put
from imagevol_core.stores.selection import SELECTION_RULES, StoreSelection, select_stores
from imagevol_core.stores.trials import HOST_RULES, TRIAL_RULES, StoreHost, StoreTrial, check_host, check_trial
from imagevol_core.stores.upgrade import UPGRADE_RULES, ConfigurationEdit, StoreUpgrade, plan_store_upgrade

__all__ = [
    "CATALOGUE_RULES",
    "CINDER_KINDS",
    "HOST_RULES",
    "PUT_RULES",
    "RESERVED_STORES",
    "SCHEMES",
    "SELECTION_RULES",
    "STORE_RULES",
    "TRIAL_RULES",
    "UPGRADE_RULES",
    "ConfigurationEdit",
    "PutWishes",
    "Store",
    "StoreCatalogue",
    "StoreCheck",
    "StoreHost",
    "StoreRequirement",
    "StoreSelection",
    "StoreTrial",
    "StoreUpgrade",
    "check_host",
    "check_put",
    "check_stores",
    "check_trial",
    "is_associated",
    "plan_store_upgrade",
    "select_stores",
    "store_of_location",
]
