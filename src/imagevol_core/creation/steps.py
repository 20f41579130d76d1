"""The steps that each way to a volume comes to ([clone], [template])."""

from __future__ import annotations

from dataclasses import replace

from imagevol_core.creation.facts import Creation, CreationStep, Way
from imagevol_core.templates import TemplateAction


def from_snapshot(creation: Creation) -> tuple[CreationStep, ...]:
    """Give the step of the snapshot at boot index 0."""
    step = CreationStep(
        way=Way.FROM_SNAPSHOT,
        source=creation.boot.snapshot_id,
        extend_to_gib=creation.target.size_gib,
        falls_to_next=False,
    )
    return (step,)


def clone_image_volumes(creation: Creation) -> tuple[CreationStep, ...]:
    """Give a step for each image volume that can be cloned."""
    size_gib = creation.target.size_gib
    return tuple(
        CreationStep(way=Way.CLONE_IMAGE_VOLUME, source=source.id, extend_to_gib=size_gib)
        for source in creation.clone.sources
    )


def clone_cached(creation: Creation) -> tuple[CreationStep, ...]:
    """Give a step for each cached volume that can be cloned."""
    size_gib = creation.target.size_gib
    return tuple(
        CreationStep(way=Way.CLONE_CACHED, source=entry.volume_id, extend_to_gib=size_gib)
        for entry in creation.found.fresh
    )


def clone_cached_upstream(creation: Creation) -> tuple[CreationStep, ...]:
    """What Cinder has found stale before it found this one is gone."""
    return tuple(replace(step, remove_first=creation.found.stale) for step in clone_cached(creation))


def create_cached(creation: Creation) -> tuple[CreationStep, ...]:
    """The stale entries go when the new one is ready: until then they serve those who are cloning them."""
    step = CreationStep(
        way=Way.CREATE_CACHED,
        size_gib=creation.found.newcomer_gib,
        extend_to_gib=creation.target.size_gib,
        remove_first=creation.found.evict,
        remove_after=creation.found.stale,
    )
    return (step,)


def create_cached_upstream(creation: Creation) -> tuple[CreationStep, ...]:
    """Cinder copies into the new volume itself and clones that into its cache, so that it is the copy that can fail."""
    found = creation.found
    step = CreationStep(
        way=Way.CREATE_CACHED,
        size_gib=found.newcomer_gib,
        extend_to_gib=creation.target.size_gib,
        remove_first=() if found.fresh else found.stale,
        remove_after=found.stale_later + found.evict,
        falls_to_next=False,
    )
    return (step,)


def copy(creation: Creation) -> tuple[CreationStep, ...]:
    """Give the step that copies the image."""
    step = CreationStep(
        way=Way.COPY,
        extend_to_gib=creation.target.size_gib,
        remove_after=creation.found.stale,
        falls_to_next=False,
    )
    return (step,)


def copy_upstream(creation: Creation) -> tuple[CreationStep, ...]:
    """What is stale goes first, also if nothing takes its place."""
    (step,) = copy(creation)
    found = creation.found
    return (replace(step, remove_first=() if found.fresh else found.stale, remove_after=found.stale_later),)


def by_template(creation: Creation) -> tuple[CreationStep, ...]:
    """Give the step by a template."""
    decision = creation.template
    step = CreationStep(
        way=_BY_TEMPLATE[decision.action],
        source=decision.source,
        size_gib=decision.size_gib,
        extend_to_gib=creation.target.size_gib,
        remove_first=decision.remove_first,
        remove_after=(*(() if decision.remove_after is None else (decision.remove_after,)), *decision.superseded),
        wait=decision.wait,
    )
    return (step,)


def by_driver(creation: Creation) -> tuple[CreationStep, ...]:
    """An exception of the driver's is the request's."""
    return tuple(replace(step, falls_to_next=False) for step in by_template(creation))


_BY_TEMPLATE = {
    TemplateAction.USE: Way.CLONE_TEMPLATE,
    TemplateAction.CREATE: Way.CREATE_TEMPLATE,
    TemplateAction.REPLACE: Way.CREATE_TEMPLATE,
    TemplateAction.WAIT: Way.AWAIT_TEMPLATE,
}
