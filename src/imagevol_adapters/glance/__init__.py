"""Glance: images and their locations, as python-glanceclient gives them."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.glance.facts import asked_of_glance, catalogue_facts, image_facts
    from imagevol_adapters.glance.images import GlanceImages
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "facts": (
                "asked_of_glance",
                "catalogue_facts",
                "image_facts",
            ),
            "images": ("GlanceImages",),
        },
    )

__all__ = ["GlanceImages", "asked_of_glance", "catalogue_facts", "image_facts"]
