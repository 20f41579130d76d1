"""The metadata that is written on volumes, and read from them ([store], [template])."""

from imagevol_core.marks.image import ImageVolumeMetadata, UnreadMetadata, read_metadata
from imagevol_core.marks.template import (
    TEMPLATE_KEY,
    TemplateMetadata,
    is_proven_template,
    is_template,
    template_name,
    template_proof,
)

__all__ = [
    "TEMPLATE_KEY",
    "ImageVolumeMetadata",
    "TemplateMetadata",
    "UnreadMetadata",
    "is_proven_template",
    "is_template",
    "read_metadata",
    "template_name",
    "template_proof",
]
