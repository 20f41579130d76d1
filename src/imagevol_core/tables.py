"""Every rule table that there is, for the reference pages and for tests that walk all of them."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.attaching import ATTACH_RULES
from imagevol_core.auditing import (
    ATTACHMENT_RULES,
    CLAIM_RULES,
    CLONE_RULES,
    ENTRY_RULES,
    FILE_RULES,
    IMAGE_RULES,
    IMAGE_VOLUME_RULES,
    PLAN_RULES,
    SHARING_RULES,
    STEP_RULES,
    TEMPLATE_RULES,
)
from imagevol_core.caching import ADMISSION_RULES, FRESHNESS_RULES
from imagevol_core.cloning import REQUEST_RULES, VOLUME_RULES
from imagevol_core.copying import COPY_RULES, METHOD_RULES, ZERO_RULES
from imagevol_core.creation import CACHE_RULES, CACHED_RULES, CREATION_RULES, STOP_RULES, WARM_RULES, WAY_RULES
from imagevol_core.custody import ADDING_RULES, DELETION_RULES, READING_RULES
from imagevol_core.doctor import (
    DOCTOR_ACCESS_RULES,
    DOCTOR_BACKEND_RULES,
    DOCTOR_GLANCE_RULES,
    DOCTOR_HOST_RULES,
    DOCTOR_SERVICE_RULES,
    DOCTOR_TRIAL_RULES,
)
from imagevol_core.migration import ADDED_RULES, MIGRATION_RULES, RELOCATION_RULES
from imagevol_core.placement import PLACEMENT_RULES
from imagevol_core.recorded import JUDGE_RULES, RECORD_RULES
from imagevol_core.remains import RECLAIM_RULES, REMAINS_RULES, REMOVAL_RULES
from imagevol_core.resuming import (
    FINISHED_RULES,
    PARTIAL_RULES,
    REGISTRATION_RULES,
    REPEAT_RULES,
    RETRY_RULES,
    TAKING_UP_RULES,
)
from imagevol_core.safety import SAFETY_RULES
from imagevol_core.sharding import ATTEMPT_RULES, CLAIMING_RULES, LEASE_RULES, SLOT_RULES
from imagevol_core.store_copies import (
    CLONE_SOURCE_RULES,
    DISCARD_RULES,
    IMPORT_RULES,
    KEPT_RULES,
    STORE_COPY_RULES,
    STORE_COPY_WAY_RULES,
    VERIFICATION_RULES,
)
from imagevol_core.stores import (
    CATALOGUE_RULES,
    HOST_RULES,
    PUT_RULES,
    SELECTION_RULES,
    STORE_RULES,
    TRIAL_RULES,
    UPGRADE_RULES,
)
from imagevol_core.templates import PRUNING_RULES, REQUEST_TEMPLATE_RULES, TEMPLATE_STATE_RULES
from imagevol_core.uploading import UPLOAD_RULES
from imagevol_core.validating import (
    VALIDATION_ATTACHMENT_RULES,
    VALIDATION_CLONE_RULES,
    VALIDATION_RUN_RULES,
    VALIDATION_SETTING_RULES,
    VALIDATION_VOLUME_RULES,
)
from imagevol_core.verdicts import Policy, Rule, RuleTable

__all__ = ["rule_tables"]

_TABLES: Mapping[str, Mapping[Policy, tuple[Rule, ...]]] = {
    "Cloning: the image and the new volume": REQUEST_RULES,
    "Cloning: each image volume": VOLUME_RULES,
    "Creation: the request": CREATION_RULES,
    "Creation: whether the cache serves": CACHE_RULES,
    "Creation: each cached volume of the image": CACHED_RULES,
    "Creation: the ways, in order": WAY_RULES,
    "Creation: what stops Cinder after the image volumes": STOP_RULES,
    "Caching: freshness (the first that applies)": FRESHNESS_RULES,
    "Caching: admission": ADMISSION_RULES,
    "Templates: the request": REQUEST_TEMPLATE_RULES,
    "Templates: the template's state (the first that applies)": TEMPLATE_STATE_RULES,
    "Pruning: each template (the first that applies)": PRUNING_RULES,
    "Warming: each image and volume type (the first that applies)": WARM_RULES,
    "Uploading: whether a clone is registered": UPLOAD_RULES,
    "Stores: each store": STORE_RULES,
    "Stores: trying a store": TRIAL_RULES,
    "Stores: the host of a cinder store": HOST_RULES,
    "Stores: all of them": CATALOGUE_RULES,
    "Stores: an image file that is stored": PUT_RULES,
    "Selection: the stores of an upload (the first that applies)": SELECTION_RULES,
    "Custody: a volume whose location is added": ADDING_RULES,
    "Custody: a volume that is read": READING_RULES,
    "Custody: a volume that is deleted": DELETION_RULES,
    "Custody: the digests that a volume records": RECORD_RULES,
    "Custody: the digest that data is compared with (the first that applies)": JUDGE_RULES,
    "Attaching: a refused attachment (the first that applies)": ATTACH_RULES,
    "Attaching: an attachment that keeps a volume busy (the first that applies)": RECLAIM_RULES,
    "Remains: a volume that a procedure may have left (the first that applies)": REMAINS_RULES,
    "Removal: a volume that an operator deletes (the first that applies)": REMOVAL_RULES,
    "Migration: a location that is there (the first that applies)": MIGRATION_RULES,
    "Migration: a location that is added (the first that applies)": ADDED_RULES,
    "Relocation: how Glance is brought to it (the first that applies)": RELOCATION_RULES,
    "Store copies: the image and the store": STORE_COPY_RULES,
    "Store copies: each image volume that could be cloned": CLONE_SOURCE_RULES,
    "Store copies: Glance's own copy": IMPORT_RULES,
    "Store copies: the way (the first that applies)": STORE_COPY_WAY_RULES,
    "Store copies: how a copy is verified (the first that applies)": VERIFICATION_RULES,
    "Store copies: before a copy is deleted": KEPT_RULES,
    "Store copies: before a clone is deleted": DISCARD_RULES,
    "Upgrade: from a single store": UPGRADE_RULES,
    "Copying: what stands in the way": COPY_RULES,
    "Copying: the method (the first that applies)": METHOD_RULES,
    "Copying: the zeros (the first that applies)": ZERO_RULES,
    "Safety: an untrusted image": SAFETY_RULES,
    "Resuming: a request that failed (the first that applies)": REPEAT_RULES,
    "Resuming: a read that broke off (the first that applies)": RETRY_RULES,
    "Resuming: what an earlier command kept (the first that applies)": PARTIAL_RULES,
    "Resuming: a file that has the wanted name (the first that applies)": FINISHED_RULES,
    "Resuming: a volume that was being filled": TAKING_UP_RULES,
    "Resuming: the image of that volume (the first that applies)": REGISTRATION_RULES,
    "Doctor: this host": DOCTOR_HOST_RULES,
    "Doctor: each service": DOCTOR_SERVICE_RULES,
    "Doctor: the credentials": DOCTOR_ACCESS_RULES,
    "Doctor: the settings of Glance": DOCTOR_GLANCE_RULES,
    "Doctor: the settings of a backend": DOCTOR_BACKEND_RULES,
    "Doctor: what was measured": DOCTOR_TRIAL_RULES,
    "Validating: the volume type (the first that applies)": PLACEMENT_RULES,
    "Validating: the run": VALIDATION_RUN_RULES,
    "Validating: a volume": VALIDATION_VOLUME_RULES,
    "Validating: clones": VALIDATION_CLONE_RULES,
    "Validating: attachments": VALIDATION_ATTACHMENT_RULES,
    "Validating: the settings that follow": VALIDATION_SETTING_RULES,
    "Sharding: a shard that a worker could take": CLAIMING_RULES,
    "Sharding: after an attempt (the first that applies)": ATTEMPT_RULES,
    "Sharding: a worker's lease (the first that applies)": LEASE_RULES,
    "Sharding: an attachment under a limit of all workers": SLOT_RULES,
    "Auditing: each image": IMAGE_RULES,
    "Auditing: each location of an image": CLAIM_RULES,
    "Auditing: each image volume": IMAGE_VOLUME_RULES,
    "Auditing: a volume and the images that name it": SHARING_RULES,
    "Auditing: each attachment": ATTACHMENT_RULES,
    "Auditing: each cache entry": ENTRY_RULES,
    "Auditing: each template": TEMPLATE_RULES,
    "Auditing: each temporary file of this host": FILE_RULES,
    "Repairing: each finding (the first that applies)": PLAN_RULES,
    "Repairing: each step, right before it is taken (the first that applies)": STEP_RULES,
    "Repairing: a clone that is not needed any more (the first that applies)": CLONE_RULES,
}


def rule_tables() -> tuple[RuleTable, ...]:
    """Give every table, by name and then by policy.

    >>> table = rule_tables()[2]
    >>> table.name, table.policy, table.rules[0].id
    ('Cloning: each image volume', <Policy.STRICT: 'strict'>, 'volume-found')
    """
    return tuple(
        RuleTable(name=name, policy=policy, rules=rules)
        for name, by_policy in _TABLES.items()
        for policy, rules in by_policy.items()
    )
