"""Images copied or moved between the stores of Glance: planned, carried out by a journal, and undone ([multi])."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.store_copies.copying import StoreCopies
    from imagevol_adapters.store_copies.journal import CopyEntry, CopyJournal
    from imagevol_adapters.store_copies.planning import chosen_images, plan_copies
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "copying": ("StoreCopies",),
            "journal": ("CopyEntry", "CopyJournal"),
            "planning": ("chosen_images", "plan_copies"),
        },
    )

__all__ = [
    "CopyEntry",
    "CopyJournal",
    "StoreCopies",
    "chosen_images",
    "plan_copies",
]
