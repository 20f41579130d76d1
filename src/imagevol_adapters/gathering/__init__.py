"""The facts that decisions are made from: each set is collected here and nowhere else.

The Cinder driver, the store, the Glance filter, the command line and your own program all call the same functions, so
that they all decide alike.  What differs between them is only where a fact comes from: a running service, its API, or
its configuration files.
"""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.gathering.audit import AuditedImages, AuditedVolumes, CloudAudit, Watch, gather_audit
    from imagevol_adapters.gathering.backend_settings import BackendSettings
    from imagevol_adapters.gathering.catalogue import Stores, gather_catalogue, with_default_type
    from imagevol_adapters.gathering.creation import Cloud, CreationFacts, CreationSource, gather_creation
    from imagevol_adapters.gathering.deep_checking import deep_checks, offered_checks
    from imagevol_adapters.gathering.deep_reading import DeepJournal, DeepTarget, deep_targets
    from imagevol_adapters.gathering.deep_shards import DeepOffer, deep_kind, deep_work
    from imagevol_adapters.gathering.remembering import Remembering
    from imagevol_adapters.gathering.settings import CinderSettings, gather_cinder_settings
    from imagevol_adapters.gathering.unknowns import Unknown, unknown_facts
    from imagevol_adapters.gathering.upload import UploadFacts, gather_base_image, gather_upload
    from imagevol_adapters.gathering.warming import gather_warm
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "audit": ("AuditedImages", "AuditedVolumes", "CloudAudit", "Watch", "gather_audit"),
            "backend_settings": ("BackendSettings",),
            "catalogue": ("Stores", "gather_catalogue", "with_default_type"),
            "creation": ("Cloud", "CreationFacts", "CreationSource", "gather_creation"),
            "remembering": ("Remembering",),
            "deep_checking": ("deep_checks", "offered_checks"),
            "deep_reading": ("DeepJournal", "DeepTarget", "deep_targets"),
            "deep_shards": ("DeepOffer", "deep_kind", "deep_work"),
            "settings": ("CinderSettings", "gather_cinder_settings"),
            "unknowns": ("Unknown", "unknown_facts"),
            "upload": ("UploadFacts", "gather_base_image", "gather_upload"),
            "warming": ("gather_warm",),
        },
    )

__all__ = [
    "AuditedImages",
    "AuditedVolumes",
    "BackendSettings",
    "CinderSettings",
    "Cloud",
    "CloudAudit",
    "CreationFacts",
    "CreationSource",
    "DeepJournal",
    "DeepOffer",
    "DeepTarget",
    "Remembering",
    "Stores",
    "Unknown",
    "UploadFacts",
    "Watch",
    "deep_checks",
    "deep_kind",
    "deep_targets",
    "deep_work",
    "gather_audit",
    "gather_base_image",
    "gather_catalogue",
    "gather_cinder_settings",
    "gather_creation",
    "gather_upload",
    "gather_warm",
    "offered_checks",
    "unknown_facts",
    "with_default_type",
]
