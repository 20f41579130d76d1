"""What would become of the locations of a cloud: facts in pages, the core's plan, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import attrs

from imagevol_core import (
    Image,
    LocationChange,
    MigrationTotals,
    Policy,
    Relocation,
    StoreCatalogue,
    VolumeAnswer,
    plan_migration,
    plan_relocation,
)

__all__ = ["PlannedImage", "plan_images"]

_NO_RENAMES: Mapping[str, str] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class PlannedImage:
    """What becomes of the locations of one image.

    Attributes:
        image: as it is listed.
        changes: one for each location, in order.
        relocation: how Glance is brought to it; None where nothing is altered, and where Glance does it by itself.
    """

    image: Image
    changes: tuple[LocationChange, ...]
    relocation: Relocation | None

    @property
    def possible(self) -> bool:
        """Whether there is something to do, and a way to do it."""
        return self.relocation is not None and self.relocation.planned


def plan_images(
    images: Iterable[Image],
    *,
    catalogue: StoreCatalogue,
    volume_types: Callable[[Sequence[str]], Mapping[str, VolumeAnswer]],
    renames: Mapping[str, str] = _NO_RENAMES,
    policy: Policy = Policy.STRICT,
    delayed_delete: bool = False,
    totals: MigrationTotals | None = None,
    page_size: int = 1000,
) -> Iterator[PlannedImage]:
    """Say what becomes of the locations of images, and how, in constant memory ([multi]).

    An image that is hidden meanwhile is listed twice: among the others, and then among the hidden ones.  In the
    same page it is passed over.  In a later one it is planned and counted once more, as it is by then: of a page that
    is done nothing is remembered.

    Args:
        images: as a list gives them; those without locations are passed over.
        catalogue: today's stores.
        volume_types: as `CinderVolumes.types_of`.
        renames: the present name of each store that was renamed, by its former name.
        policy: whose rules; what `UPSTREAM` plans, Glance does by itself.
        delayed_delete: the option of that name in `glance-api.conf`.
        totals: counts along, where it is given.
        page_size: about how many locations are planned at a time.

    >>> from imagevol_core import ImageLocation, Store
    >>> volume = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> catalogue = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),))
    >>> image = Image(id="i", status="active", locations=(ImageLocation(f"cinder://{volume}"),))
    >>> (planned,) = plan_images([image], catalogue=catalogue, volume_types=lambda ids: dict.fromkeys(ids, "ssd"))
    >>> planned.changes[0].after.url, planned.relocation.way.value
    ('cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1', 'show')
    """
    planned = plan_migration(
        (image for image in images if image.locations),
        catalogue=catalogue,
        volume_types=volume_types,
        renames=renames,
        policy=policy,
        page_size=page_size,
        totals=totals,
    )
    for each in planned:
        relocation = None
        if policy is Policy.STRICT and each.alters:
            relocation = plan_relocation(
                each.image,
                wanted=[change.after for change in each.changes],
                catalogue=catalogue,
                volume_types=each.volume_types,
                delayed_delete=delayed_delete,
            )
        yield PlannedImage(image=each.image, changes=each.changes, relocation=relocation)
