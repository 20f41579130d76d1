"""The facts of a volume that will become an image: what `plan_upload` and `select_stores` ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from imagevol_adapters.gathering.catalogue import Stores, gather_catalogue
from imagevol_core import (
    AccessDenied,
    Image,
    ImageLocation,
    ImagevolError,
    Policy,
    Requester,
    ResourceNotFound,
    StoreCatalogue,
    UploadLanding,
    UploadPlan,
    UploadSettings,
    Volume,
    VolumeType,
    check_location,
    plan_upload,
    select_stores,
)

__all__ = ["UploadFacts", "UploadStores", "UploadVolumes", "gather_base_image", "gather_upload"]

_LOG = logging.getLogger(__name__)


class UploadVolumes(Protocol):
    """Cinder, as far as an upload is planned; each `VolumeService` is one."""

    def get(self, volume_id: str) -> Volume:
        """Give what is known of one volume."""

    def base_image_id(self, volume_id: str) -> str | None:
        """Give the image that the volume was made from; None if it was not."""

    def volume_type(self, name: str) -> VolumeType | None:
        """Give a volume type; None if these credentials may not see all of its extra specs."""


class UploadStores(Stores, Protocol):
    """Glance, as far as it says where images are; `GlanceImages` is one."""

    def stores_of(self, image_id: str) -> tuple[str, ...]:
        """Give the names of the stores that an image is in."""


@attrs.frozen(kw_only=True)
class UploadFacts:
    """All that is known of a volume that will become an image.

    Attributes:
        volume: which volume.
        image: the image that waits for its data, with the formats that it will have.
        volume_type: the volume's; None if it is not known.
        base_image_id: the image that the volume was made from; None if it was not.
        requester: who uploads.
        settings: what the operator allows.
        catalogue: Glance's stores; None if they are not known.
        base_image: that image with the stores that it is in, as the requester sees it; None if the requester does not.
    """

    volume: Volume
    image: Image
    volume_type: VolumeType | None
    base_image_id: str | None
    requester: Requester
    settings: UploadSettings
    catalogue: StoreCatalogue | None = None
    base_image: Image | None = None

    def plan(self, policy: Policy = Policy.STRICT) -> UploadPlan:
        """Plan how the volume becomes an image.

        Args:
            policy: whose rules.
        """
        return plan_upload(
            self.volume,
            image=self.image,
            volume_type=self.volume_type,
            base_image_id=self.base_image_id,
            requester=self.requester,
            settings=self.settings,
            policy=policy,
        )

    def landing(self, policy: Policy = Policy.STRICT) -> UploadLanding:
        """Say in which stores the image will be, as far as the stores are known.

        Args:
            policy: whose rules.
        """
        plan = self.plan(policy)
        if self.catalogue is None:
            return UploadLanding(plan, None, None)
        selection = select_stores(
            self.catalogue,
            store_header=plan.headers.get("x-image-meta-store"),
            base_image=self.base_image,
            policy=policy,
        )
        return UploadLanding(plan, check_location(self.volume, catalogue=self.catalogue), selection)


def gather_upload(
    volume_id: str,
    *,
    image: Image,
    volumes: UploadVolumes,
    requester: Requester,
    settings: UploadSettings,
    stores: UploadStores | None = None,
    default_type: Callable[[], str | None] | None = None,
) -> UploadFacts:
    """Collect what `plan_upload` asks for, and what says where the image lands.

    Args:
        volume_id: which volume.
        image: the image that waits for its data.
        volumes: Cinder.
        requester: who uploads.
        settings: what the operator allows.
        stores: Glance; None if it does not matter where the image lands.  If Glance does not tell, the log says why.
        default_type: asks Cinder for its default type.

    Raises:
        ResourceNotFound: there is no such volume.
        ImagevolError: what `volumes` raises.
    """
    volume, base_image_id = volumes.get(volume_id), volumes.base_image_id(volume_id)
    facts = UploadFacts(
        volume=volume,
        image=image,
        volume_type=volumes.volume_type(volume.volume_type) if volume.volume_type else None,
        base_image_id=base_image_id,
        requester=requester,
        settings=settings,
    )
    if stores is None:
        return facts
    try:
        catalogue = gather_catalogue(stores, default_type=default_type, required=False)
    except ImagevolError as error:  # the rest is known all the same
        _LOG.warning("Glance does not tell its stores: %s", error)
        return facts
    base_image = gather_base_image(base_image_id, stores_of=stores.stores_of) if base_image_id else None
    return attrs.evolve(facts, catalogue=catalogue, base_image=base_image)


def gather_base_image(image_id: str, *, stores_of: Callable[[str], Sequence[str]]) -> Image | None:
    """Give an image with the stores that it is in.

    Every requester who sees an image sees its stores, but not its locations.  An image that the requester does not see
    counts as deleted.

    Args:
        image_id: which image.
        stores_of: asks Glance with the requester's credentials.

    Returns:
        The image.  None if it is deleted, if the requester does not see it, or if Glance cannot be asked; the log says
        why Glance could not be asked.
    """
    try:
        stores = stores_of(image_id)
    except (ResourceNotFound, AccessDenied):
        return None
    except ImagevolError as error:
        _LOG.warning("Base image %s could not be looked up and is ignored: %s", image_id, error)
        return None
    return Image(id=image_id, locations=tuple(ImageLocation("", {"store": store}) for store in stores))
