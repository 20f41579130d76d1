"""Which images are copied, and how: facts, the core's plan, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from imagevol_adapters.gathering.store_copies import StoreCopyGathering
from imagevol_adapters.store_ports import PlacedImage, StoreCopyService
from imagevol_core import (
    ResourceNotFound,
    plan_store_copy,
)
from imagevol_core.store_copies import (
    StoreCopyPlan,
    VerifyWish,
)

__all__ = ["chosen_images", "plan_copies"]

_IDS_A_PAGE = 50  # their ids are in a URL


def chosen_images(
    images: StoreCopyService, image_ids: Sequence[str], *, from_store: str | None = None
) -> Iterator[PlacedImage]:
    """Give the images that are named, or every image in a store.

    Args:
        images: Glance.
        image_ids: those that are named; if there is none, all of the store.
        from_store: the store; None for images in any.

    Raises:
        ResourceNotFound: Glance shows no image of a name.
    """
    if not image_ids:
        yield from (placed for placed in images.placed() if from_store is None or from_store in placed.stores)
        return
    wanted = list(dict.fromkeys(image_ids))
    for start in range(0, len(wanted), _IDS_A_PAGE):
        page = wanted[start : start + _IDS_A_PAGE]
        found = {placed.image.id: placed for placed in images.placed(page)}
        for image_id in page:
            if image_id not in found:
                raise ResourceNotFound("image", image_id)
            yield found[image_id]


def plan_copies(
    chosen: Iterable[PlacedImage],
    *,
    gathering: StoreCopyGathering,
    to_store: str,
    from_store: str | None = None,
    move: bool = False,
    wish: VerifyWish = VerifyWish.AUTO,
) -> Iterator[tuple[PlacedImage, StoreCopyPlan]]:
    """Say how each image is copied or moved, in constant memory ([multi]).

    Args:
        chosen: the images; one that is listed twice is planned twice.
        gathering: collects the facts.
        to_store: the store that the copies are wanted in.
        from_store: the store whose copies are deleted, if they are moved; None for the only other store of each image.
        move: whether copies are deleted afterwards.
        wish: how the operator wants copies verified.
    """
    for placed in chosen:
        facts = gathering.facts(placed, to_store=to_store, move=move, from_store=from_store, wish=wish)
        yield placed, plan_store_copy(facts)
