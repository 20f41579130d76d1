"""An image volume read on this host, and compared with what Glance says of the image."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from imagevol_adapters.engine import Limits
from imagevol_adapters.ports import Attacher, VolumeService
from imagevol_adapters.store_ports import PlacedImage
from imagevol_adapters.transfers import check_image_volume
from imagevol_core import GIB, ContentMismatch, ImageVolumeMetadata
from imagevol_core.sentences import amount

__all__ = ["VolumeReader"]


@attrs.frozen(kw_only=True)
class VolumeReader:
    """Reads image volumes on this host: a `Reader`.

    Args:
        volumes: where they are.
        attacher: gives what connects them to this host, when the first is read.
        limits: how fast they may be read, and how long without progress.
        trust_recorded: whether a BLAKE3 that is believed counts in place of Glance's digest.
    """

    volumes: VolumeService
    attacher: Callable[[], Attacher]
    limits: Limits = attrs.field(factory=Limits)
    trust_recorded: bool = False

    def __call__(self, volume_id: str, placed: PlacedImage) -> None:
        """Return if the volume holds the image.

        Raises:
            ContentMismatch: it does not.
            ImagevolError: it cannot be read.
        """
        image, what = placed.image, f"volume {volume_id}"
        volume = self.volumes.get(volume_id)
        recorded = ImageVolumeMetadata.from_volume(volume.metadata).size_bytes
        size_bytes = volume.size_gib * GIB if recorded is None else recorded
        if image.size_bytes is None or image.size_bytes > size_bytes:
            raise ContentMismatch(what, expected=amount(image.size_bytes, "byte"), actual=amount(size_bytes, "byte"))
        check = check_image_volume(
            volume_id,
            size_bytes=image.size_bytes,
            algorithm=image.digest.algorithm if image.digest else None,
            volumes=self.volumes,
            attacher=self.attacher(),
            image=image,
            tail=False,
            limits=self.limits,
            trust_recorded=self.trust_recorded,
        )
        expected = check.recorded or image.digest
        if expected and check.digest != expected:
            raise ContentMismatch(what, expected=str(expected), actual=str(check.digest))
