"""What an image is, told from its bytes before anything else reads them."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.inspection.cinder_inspector import inspect_as_cinder
    from imagevol_adapters.inspection.headers import packed_as, partitions, probed_as, qcow_features, qcow_version
    from imagevol_adapters.inspection.held_file import HeldFile
    from imagevol_adapters.inspection.inspector import ImageInspector, check, inspect_file
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "cinder_inspector": ("inspect_as_cinder",),
            "headers": (
                "packed_as",
                "partitions",
                "probed_as",
                "qcow_features",
                "qcow_version",
            ),
            "held_file": ("HeldFile",),
            "inspector": (
                "ImageInspector",
                "check",
                "inspect_file",
            ),
        },
    )

__all__ = [
    "HeldFile",
    "ImageInspector",
    "check",
    "inspect_as_cinder",
    "inspect_file",
    "packed_as",
    "partitions",
    "probed_as",
    "qcow_features",
    "qcow_version",
]
