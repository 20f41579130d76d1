"""The templates of a whole cloud: listed, pruned, and created ahead of the first volume."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.tending.offering import offered_templates, warm_job, warm_kind, warm_work
    from imagevol_adapters.tending.templates import (
        MAKING,
        ImageData,
        ImageFacts,
        TemplateVolumes,
        gives_data,
        images_of,
        place_of,
        template_of,
        templates_of,
    )
    from imagevol_adapters.tending.warming import Warmed, Warmer, WarmState, WarmVolumes
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "offering": ("offered_templates", "warm_job", "warm_kind", "warm_work"),
            "templates": (
                "MAKING",
                "ImageData",
                "ImageFacts",
                "TemplateVolumes",
                "gives_data",
                "images_of",
                "place_of",
                "template_of",
                "templates_of",
            ),
            "warming": (
                "WarmState",
                "WarmVolumes",
                "Warmed",
                "Warmer",
            ),
        },
    )

__all__ = [
    "MAKING",
    "ImageData",
    "ImageFacts",
    "TemplateVolumes",
    "WarmState",
    "WarmVolumes",
    "Warmed",
    "Warmer",
    "gives_data",
    "images_of",
    "offered_templates",
    "place_of",
    "template_of",
    "templates_of",
    "warm_job",
    "warm_kind",
    "warm_work",
]
