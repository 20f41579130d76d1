"""An image volume read on this host, and compared with what Glance says of the image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import attrs

from imagevol_adapters.engine import verified
from imagevol_adapters.ports import Attacher, VolumeService
from imagevol_adapters.store_ports import PlacedImage
from imagevol_adapters.transfers import open_image_volume
from imagevol_core import ContentMismatch

__all__ = ["VolumeReader"]


@attrs.frozen(kw_only=True)
class VolumeReader:
    """Reads image volumes on this host: a `Reader`.

    Args:
        volumes: where they are.
        attacher: gives what connects them to this host, when the first is read.
    """

    volumes: VolumeService
    attacher: Callable[[], Attacher]

    def __call__(self, volume_id: str, placed: PlacedImage) -> None:
        """Return if the volume holds the image.

        Raises:
            ContentMismatch: it does not.
            ImagevolError: it cannot be read.
        """
        image, what = placed.image, f"volume {volume_id}"
        with open_image_volume(
            volume_id, volumes=self.volumes, attacher=self.attacher(), length=image.size_bytes, verify=False
        ) as content:
            if content.size_bytes != image.size_bytes:
                raise ContentMismatch(what, expected=f"{image.size_bytes} bytes", actual=f"{content.size_bytes} bytes")
            with closing(verified(content.parts, image.digest, what)) as parts:
                for _ in parts:
                    pass
