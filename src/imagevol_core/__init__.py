"""Every decision about images and volumes, as pure functions over frozen facts.

Standard library only, and of it no I/O, no clock, no environment, no logging, no randomness.  A package or module for
each decision; `imagevol_adapters` collects the facts and carries the decisions out.  The tables of rules are reached
through `rule_tables()`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagevol_core.attaching import AttachRetry, decide_attach_retry, patience_seconds
    from imagevol_core.auditing import (
        AuditedAttachment,
        AuditSettings,
        Certainty,
        DeepCheck,
        Finding,
        PlannedRepair,
        RepairAction,
        RepairOutcome,
        RepairPlan,
        RepairStep,
        RepairStepFacts,
        StepDecision,
        StepOutcome,
        Subject,
        audit,
        decide_repair_step,
        found_again,
        needs_clone,
        plan_repairs,
        recorded_image,
        total_reclaimable_bytes,
    )
    from imagevol_core.caching import (
        Admission,
        CacheEntry,
        CacheKey,
        CacheLimits,
        Freshness,
        FreshnessOutcome,
        cache_key,
        decide_freshness,
        plan_admission,
    )
    from imagevol_core.checks import Check, CheckLine
    from imagevol_core.checksums import checksum_for, parse_digest
    from imagevol_core.cloning import CloneDecision, CloneSettings, decide_clone
    from imagevol_core.copying import (
        Cleared,
        CopyMethod,
        CopyPlan,
        CopySettings,
        CopySource,
        CopyTarget,
        DriverGuarantee,
        FreshThin,
        LuksCipher,
        ZeroDecision,
        ZeroHandling,
        ZeroProof,
        decide_zeros,
        plan_copy,
    )
    from imagevol_core.creation import (
        Carrier,
        ConversionSettings,
        CreationOutlook,
        CreationPlan,
        CreationStep,
        Effort,
        ImageCache,
        StepCost,
        WarmOutcome,
        WarmPlan,
        WarmPool,
        WarmWish,
        Way,
        WayOutlook,
        expected_seconds,
        foresee,
        may_serve,
        plan_creation,
        plan_warming,
        step_cost,
    )
    from imagevol_core.custody import HOLD, CustodyDecision, decide_adding, decide_deletion, decide_reading
    from imagevol_core.doctor import (
        Diagnosis,
        DoctorAccess,
        DoctorBackend,
        DoctorFacts,
        DoctorGlance,
        DoctorHost,
        DoctorService,
        DoctorTrial,
        Rates,
        diagnose,
    )
    from imagevol_core.errors import (
        AccessDenied,
        AttachFailed,
        CallerError,
        ContentMismatch,
        ConversionFailed,
        DeadlineExceeded,
        DeviceFailed,
        ImagevolError,
        InUse,
        InvalidConfiguration,
        InvalidFact,
        InvalidLocation,
        InvalidMetadata,
        InvalidSize,
        LockLost,
        MissingDependency,
        MissingProgram,
        OverQuota,
        RequestRefused,
        ResourceNotFound,
        ServiceError,
        ServiceFailed,
        ServiceUnreachable,
        SourceFailed,
        StorageError,
        TransferCancelled,
        UnknownRelease,
        UnsafeImage,
        VolumeBusy,
        VolumeFailed,
        WrongLength,
    )
    from imagevol_core.facts import (
        PLAIN_FORMATS,
        Backend,
        Digest,
        Image,
        ImageLocation,
        NoAnswer,
        NotFound,
        Requester,
        Volume,
        VolumeAnswer,
        VolumeType,
        needs_conversion,
    )
    from imagevol_core.locations import (
        CinderLocation,
        Dialect,
        UnreadLocation,
        is_store_name,
        named_volume_ids,
        parse_location,
        read_location,
    )
    from imagevol_core.marks import (
        TEMPLATE_KEY,
        ImageVolumeMetadata,
        TemplateMetadata,
        UnreadMetadata,
        is_proven_template,
        is_template,
        read_metadata,
        template_name,
        template_proof,
    )
    from imagevol_core.migration import (
        ImageChanges,
        LocationChange,
        LocationOutcome,
        MigrationTotals,
        Relocation,
        RelocationWay,
        plan_added_location,
        plan_image,
        plan_location,
        plan_migration,
        plan_relocation,
        printed_location,
        relocated,
        unfinished_imports,
    )
    from imagevol_core.placement import PlacedType, TypeChoice, choose_volume_type
    from imagevol_core.remains import (
        FINISHED,
        UNFINISHED,
        AttachmentFacts,
        HolderState,
        ProcessRecord,
        ReclaimDecision,
        RemainsAction,
        RemainsDecision,
        RemovalDecision,
        RemovalOutcome,
        RunningProcess,
        VolumeOrigin,
        decide_process,
        decide_reclaim,
        decide_remains,
        decide_removal,
        holder_of,
        unanswered_attachments,
    )
    from imagevol_core.safety import (
        CinderInspection,
        Inspection,
        PartitionEntry,
        SafetyDecision,
        SafetySettings,
        check_image_safety,
        partition_faults,
    )
    from imagevol_core.secret_text import (
        HIDDEN,
        is_plain_url,
        is_secret_name,
        shown_url,
        shown_value,
        without_secrets,
        without_userinfo,
    )
    from imagevol_core.sizing import (
        GIB,
        Growth,
        gib_for,
        image_fits,
        least_size_bytes,
        least_volume_gib,
        next_size_gib,
        virtual_size_bytes,
    )
    from imagevol_core.stalls import STALL_SECONDS, DeviceStalled, ServiceStalled, SourceStalled, TransferStalled
    from imagevol_core.store_copies import KeptCopy, StoreCopyFacts, decide_store_removal, plan_store_copy
    from imagevol_core.stores import (
        ConfigurationEdit,
        PutWishes,
        Store,
        StoreCatalogue,
        StoreCheck,
        StoreHost,
        StoreRequirement,
        StoreSelection,
        StoreTrial,
        StoreUpgrade,
        check_host,
        check_put,
        check_stores,
        check_trial,
        is_associated,
        plan_store_upgrade,
        select_stores,
        store_of_location,
    )
    from imagevol_core.tables import rule_tables
    from imagevol_core.templates import (
        PruningOutcome,
        Template,
        TemplateAction,
        TemplateDecision,
        TemplateSettings,
        TemplateStanding,
        decide_template,
        plan_pruning,
    )
    from imagevol_core.uploading import (
        STORE_SPEC,
        UploadAction,
        UploadFailure,
        UploadLanding,
        UploadPlan,
        UploadSettings,
        UploadStep,
        check_location,
        plan_upload,
        upload_headers,
    )
    from imagevol_core.validating import NotSeen, Seen, Validation, ValidationFacts, validate
    from imagevol_core.verdicts import (
        Choice,
        Policy,
        Requirement,
        Result,
        RuleTable,
        Verdict,
        evaluate,
        every_match,
        failed,
        first_match,
    )

else:  # or a type checker would take every name for one of this package

    def __getattr__(name: str) -> Any:
        """Import a public name, or a package or module of these."""
        module_name = _MODULE_OF.get(name, name)
        if module_name not in _NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{module_name}")
        value = globals()[name] = module if name == module_name else getattr(module, name)
        return value

    def __dir__() -> list[str]:
        """Give the public names too that are not imported yet, as completion asks for them."""
        return sorted({*globals(), *__all__})


# A name is imported when it is first used: to import all of them takes a tenth of the time of an OpenStack client.
# A type checker reads the imports above and `__all__`; tests/core/test_lazy_names holds that the three agree.
# fmt: off
_NAMES = {
    "attaching": ("AttachRetry", "decide_attach_retry", "patience_seconds"),
    "auditing": ("AuditedAttachment", "AuditSettings", "Certainty", "DeepCheck", "Finding", "RepairAction",
        "RepairStep", "Subject", "audit", "recorded_image", "total_reclaimable_bytes",
        "PlannedRepair", "RepairOutcome", "RepairPlan", "RepairStepFacts", "StepDecision", "StepOutcome",
        "decide_repair_step", "found_again", "needs_clone", "plan_repairs"),
    "caching": ("Admission", "CacheEntry", "CacheKey", "CacheLimits", "Freshness", "FreshnessOutcome", "cache_key",
        "decide_freshness", "plan_admission"),
    "checks": ("Check", "CheckLine"),
    "checksums": ("checksum_for", "parse_digest"),
    "cloning": ("CloneDecision", "CloneSettings", "decide_clone"),
    "copying": ("Cleared", "CopyMethod", "CopyPlan", "CopySettings", "CopySource", "CopyTarget", "DriverGuarantee",
        "FreshThin", "LuksCipher", "ZeroDecision", "ZeroHandling", "ZeroProof", "decide_zeros", "plan_copy"),
    "creation": ("Carrier", "ConversionSettings", "CreationOutlook", "CreationPlan", "CreationStep", "Effort",
        "ImageCache", "StepCost", "WarmOutcome", "WarmPlan", "WarmPool", "WarmWish", "Way", "WayOutlook",
        "expected_seconds", "foresee", "may_serve", "plan_creation", "plan_warming", "step_cost"),
    "custody": ("HOLD", "CustodyDecision", "decide_adding", "decide_deletion", "decide_reading"),
    "doctor": ("Diagnosis", "DoctorAccess", "DoctorBackend", "DoctorFacts", "DoctorGlance", "DoctorHost",
        "DoctorService", "DoctorTrial", "Rates", "diagnose"),
    "errors": ("AccessDenied", "AttachFailed", "CallerError", "ContentMismatch", "ConversionFailed", "DeadlineExceeded",
        "DeviceFailed", "ImagevolError", "InUse", "InvalidConfiguration", "InvalidFact", "InvalidLocation",
        "InvalidMetadata", "InvalidSize", "LockLost", "MissingDependency", "MissingProgram", "OverQuota",
        "RequestRefused", "ResourceNotFound", "ServiceError", "ServiceFailed", "ServiceUnreachable", "SourceFailed",
        "StorageError", "TransferCancelled", "UnknownRelease", "UnsafeImage", "VolumeBusy", "VolumeFailed",
        "WrongLength"),
    "facts": ("PLAIN_FORMATS", "Backend", "Digest", "Image", "ImageLocation", "Requester", "Volume", "VolumeType",
        "NoAnswer", "NotFound", "VolumeAnswer", "needs_conversion"),
    "locations": ("CinderLocation", "Dialect", "UnreadLocation", "is_store_name", "named_volume_ids", "parse_location",
        "read_location"),
    "marks": ("TEMPLATE_KEY", "ImageVolumeMetadata", "TemplateMetadata", "UnreadMetadata", "is_proven_template",
        "is_template", "read_metadata", "template_name", "template_proof"),
    "migration": ("ImageChanges", "LocationChange", "LocationOutcome", "MigrationTotals",
        "Relocation", "RelocationWay", "plan_added_location", "plan_image", "plan_location",
        "plan_migration", "plan_relocation", "printed_location", "relocated", "unfinished_imports"),
    "placement": ("PlacedType", "TypeChoice", "choose_volume_type"),
    "remains": ("FINISHED", "UNFINISHED", "AttachmentFacts", "HolderState", "ProcessRecord", "ReclaimDecision",
        "RemainsAction", "RemainsDecision", "RemovalDecision", "RemovalOutcome", "RunningProcess", "VolumeOrigin",
        "decide_process", "decide_reclaim", "decide_remains", "decide_removal", "holder_of", "unanswered_attachments"),
    "safety": ("CinderInspection", "Inspection", "PartitionEntry", "SafetyDecision", "SafetySettings",
        "check_image_safety", "partition_faults"),
    "secret_text": ("HIDDEN", "is_plain_url", "is_secret_name", "shown_url", "shown_value", "without_secrets",
        "without_userinfo"),
    "sizing": ("GIB", "Growth", "gib_for", "image_fits", "least_size_bytes", "least_volume_gib", "next_size_gib",
        "virtual_size_bytes"),
    "stalls": ("STALL_SECONDS", "DeviceStalled", "ServiceStalled", "SourceStalled", "TransferStalled"),
    "store_copies": ("KeptCopy", "StoreCopyFacts", "decide_store_removal", "plan_store_copy"),
    "stores": ("ConfigurationEdit", "PutWishes", "Store", "StoreCatalogue", "StoreCheck", "StoreHost",
        "StoreRequirement", "StoreSelection", "StoreTrial", "StoreUpgrade", "check_host", "check_put", "check_stores",
        "check_trial", "is_associated", "plan_store_upgrade", "select_stores", "store_of_location"),
    "tables": ("rule_tables",),
    "templates": ("PruningOutcome", "Template", "TemplateAction", "TemplateDecision", "TemplateSettings",
        "TemplateStanding", "decide_template", "plan_pruning"),
    "uploading": ("STORE_SPEC", "UploadAction", "UploadFailure", "UploadLanding", "UploadPlan", "UploadSettings",
        "UploadStep", "check_location", "plan_upload", "upload_headers"),
    "validating": ("NotSeen", "Seen", "Validation", "ValidationFacts", "validate"),
    "verdicts": ("Choice", "Policy", "Requirement", "Result", "RuleTable", "Verdict", "evaluate", "every_match",
        "failed", "first_match"),
}
# fmt: on
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

# fmt: off
__all__ = [  # noqa: RUF022 - by decision
    # errors
    "AccessDenied", "AttachFailed", "CallerError", "ContentMismatch", "ConversionFailed", "DeadlineExceeded",
    "DeviceFailed", "ImagevolError", "InUse", "InvalidConfiguration", "InvalidFact", "InvalidLocation",
    "InvalidMetadata", "InvalidSize", "LockLost", "MissingDependency", "MissingProgram", "OverQuota",
    "RequestRefused", "ResourceNotFound", "ServiceError", "ServiceFailed", "ServiceUnreachable", "SourceFailed",
    "StorageError", "TransferCancelled", "UnknownRelease", "UnsafeImage", "VolumeBusy", "VolumeFailed", "WrongLength",
    # facts
    "PLAIN_FORMATS", "Backend", "Digest", "Image", "ImageLocation", "Requester", "Volume", "VolumeType",
    "NoAnswer", "NotFound", "VolumeAnswer", "needs_conversion",
    # verdicts
    "Choice", "Policy", "Requirement", "Result", "RuleTable", "Verdict", "evaluate", "every_match", "failed",
    "first_match",
    # locations
    "CinderLocation", "Dialect", "UnreadLocation", "is_store_name", "named_volume_ids", "parse_location",
    "read_location",
    # sizing
    "GIB", "Growth", "gib_for", "image_fits", "least_size_bytes", "least_volume_gib", "next_size_gib",
    "virtual_size_bytes",
    # checks, checksums
    "Check", "CheckLine", "checksum_for", "parse_digest",
    # stalls
    "STALL_SECONDS", "DeviceStalled", "ServiceStalled", "SourceStalled", "TransferStalled",
    # secret_text
    "HIDDEN", "is_plain_url", "is_secret_name", "shown_url", "shown_value", "without_secrets", "without_userinfo",
    # marks
    "TEMPLATE_KEY", "ImageVolumeMetadata", "TemplateMetadata", "UnreadMetadata", "is_proven_template",
    "is_template", "read_metadata", "template_name", "template_proof",
    # safety
    "CinderInspection", "Inspection", "PartitionEntry", "SafetyDecision", "SafetySettings", "check_image_safety",
    "partition_faults",
    # custody
    "HOLD", "CustodyDecision", "decide_adding", "decide_deletion", "decide_reading",
    # doctor
    "Diagnosis", "DoctorAccess", "DoctorBackend", "DoctorFacts", "DoctorGlance", "DoctorHost",
    "DoctorService", "DoctorTrial", "Rates", "diagnose",
    # placement, validating
    "PlacedType", "TypeChoice", "choose_volume_type", "NotSeen", "Seen", "Validation", "ValidationFacts", "validate",
    # attaching
    "AttachRetry", "decide_attach_retry", "patience_seconds",
    # stores
    "ConfigurationEdit", "PutWishes", "Store", "StoreCatalogue", "StoreCheck", "StoreHost", "StoreRequirement",
    "StoreSelection", "StoreTrial", "StoreUpgrade", "check_host", "check_put", "check_stores", "check_trial",
    "is_associated", "plan_store_upgrade", "select_stores", "store_of_location",
    # cloning
    "CloneDecision", "CloneSettings", "decide_clone",
    # caching
    "Admission", "CacheEntry", "CacheKey", "CacheLimits", "Freshness", "FreshnessOutcome", "cache_key",
    "decide_freshness", "plan_admission",
    # copying
    "Cleared", "CopyMethod", "CopyPlan", "CopySettings", "CopySource", "CopyTarget", "DriverGuarantee", "FreshThin",
    "LuksCipher", "ZeroDecision", "ZeroHandling", "ZeroProof", "decide_zeros", "plan_copy",
    # remains
    "FINISHED", "UNFINISHED", "AttachmentFacts", "HolderState", "ProcessRecord", "ReclaimDecision", "RemainsAction",
    "RemainsDecision", "RemovalDecision", "RemovalOutcome", "RunningProcess", "VolumeOrigin", "decide_process",
    "decide_reclaim", "decide_remains", "decide_removal", "holder_of", "unanswered_attachments",
    # migration
    "ImageChanges", "LocationChange", "LocationOutcome", "MigrationTotals", "Relocation", "RelocationWay",
    "plan_added_location", "plan_image", "plan_location", "plan_migration", "plan_relocation", "printed_location",
    "relocated", "unfinished_imports",
    # templates
    "PruningOutcome", "Template", "TemplateAction", "TemplateDecision", "TemplateSettings", "TemplateStanding",
    "decide_template", "plan_pruning",
    # uploading
    "STORE_SPEC", "UploadAction", "UploadFailure", "UploadLanding", "UploadPlan", "UploadSettings", "UploadStep",
    "check_location", "plan_upload", "upload_headers",
    # creation
    "Carrier", "ConversionSettings", "CreationOutlook", "CreationPlan", "CreationStep", "Effort", "ImageCache",
    "StepCost", "WarmOutcome", "WarmPlan", "WarmPool", "WarmWish", "Way", "WayOutlook", "expected_seconds",
    "foresee", "may_serve", "plan_creation", "plan_warming", "step_cost",
    # auditing
    "AuditedAttachment", "AuditSettings", "Certainty", "DeepCheck", "Finding", "RepairAction", "RepairStep", "Subject",
    "PlannedRepair", "RepairOutcome", "RepairPlan", "RepairStepFacts", "StepDecision", "StepOutcome", "audit",
    "decide_repair_step", "found_again", "needs_clone", "plan_repairs", "recorded_image", "total_reclaimable_bytes",
    # store_copies, tables
    "KeptCopy", "StoreCopyFacts", "decide_store_removal", "plan_store_copy", "rule_tables",
]
# fmt: on
