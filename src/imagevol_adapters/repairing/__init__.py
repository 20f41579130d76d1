"""What an audit has found, repaired: planned by the core, changed by a journal, looked at again before each step."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.repairing.acting import Actions, MakeTemplate
    from imagevol_adapters.repairing.applying import RepairResult, Repairs
    from imagevol_adapters.repairing.journal import RepairEntry, RepairJournal, RepairState
    from imagevol_adapters.repairing.services import RepairImages, RepairVolumes
    from imagevol_adapters.repairing.templating import TemplateMaker
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "acting": ("Actions", "MakeTemplate"),
            "applying": ("RepairResult", "Repairs"),
            "journal": ("RepairEntry", "RepairJournal", "RepairState"),
            "services": ("RepairImages", "RepairVolumes"),
            "templating": ("TemplateMaker",),
        },
    )

__all__ = [
    "Actions",
    "MakeTemplate",
    "RepairEntry",
    "RepairImages",
    "RepairJournal",
    "RepairResult",
    "RepairState",
    "RepairVolumes",
    "Repairs",
    "TemplateMaker",
]
