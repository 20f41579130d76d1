"""The procedures: an image into a new volume, out of a volume, and away; a volume into an image.

Each procedure takes ports, and undoes what it did if a step fails.  If that fails too, the error names what is left, in
`leftovers`.  A process that is killed undoes nothing: see `unfinished_volumes`.
"""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.transfers.attaching import Attach, attached
    from imagevol_adapters.transfers.checking import check_image_volume
    from imagevol_adapters.transfers.fetching import fetch_image, image_in_volume
    from imagevol_adapters.transfers.put_journal import FileFacts, PutJournal
    from imagevol_adapters.transfers.put_targets import Registering
    from imagevol_adapters.transfers.putting import put_file
    from imagevol_adapters.transfers.reclaiming import Reclaimed, disconnect_left, reclaim
    from imagevol_adapters.transfers.registering import register_image, register_image_file
    from imagevol_adapters.transfers.remains import (
        UnfinishedImage,
        delete_remains,
        unfinished_images,
        unfinished_volumes,
        unmark_finished,
    )
    from imagevol_adapters.transfers.serving import VolumeContent, delete_image_volume, open_image_volume
    from imagevol_adapters.transfers.sharing import SharedAttachments
    from imagevol_adapters.transfers.storing import StoredImage, StoreSettings, store_image, store_image_file
    from imagevol_adapters.transfers.uploading import UploadedVolume, register_clone
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "attaching": ("Attach", "attached"),
            "checking": ("check_image_volume",),
            "fetching": ("fetch_image", "image_in_volume"),
            "put_journal": ("FileFacts", "PutJournal"),
            "put_targets": ("Registering",),
            "putting": ("put_file",),
            "reclaiming": ("Reclaimed", "disconnect_left", "reclaim"),
            "registering": ("register_image", "register_image_file"),
            "remains": (
                "UnfinishedImage",
                "delete_remains",
                "unfinished_images",
                "unfinished_volumes",
                "unmark_finished",
            ),
            "serving": ("VolumeContent", "delete_image_volume", "open_image_volume"),
            "sharing": ("SharedAttachments",),
            "storing": ("StoredImage", "StoreSettings", "store_image", "store_image_file"),
            "uploading": ("UploadedVolume", "register_clone"),
        },
    )

__all__ = [
    "Attach",
    "FileFacts",
    "PutJournal",
    "Reclaimed",
    "Registering",
    "SharedAttachments",
    "StoreSettings",
    "StoredImage",
    "UnfinishedImage",
    "UploadedVolume",
    "VolumeContent",
    "attached",
    "check_image_volume",
    "delete_image_volume",
    "delete_remains",
    "disconnect_left",
    "fetch_image",
    "image_in_volume",
    "open_image_volume",
    "put_file",
    "reclaim",
    "register_clone",
    "register_image",
    "register_image_file",
    "store_image",
    "store_image_file",
    "unfinished_images",
    "unfinished_volumes",
    "unmark_finished",
]
