"""What the commands show on an HTML page, made of the answers of `imagevol explain`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from imagevol_adapters.cli.explain_places import Place
from imagevol_adapters.cli.matrix import row
from imagevol_adapters.cli.outcome import Outcome
from imagevol_adapters.reporting import KINDS, Answer, Contents, Kind, ShownImage, ShownPlace
from imagevol_core import CreationStep, Image, ImageLocation, Policy, Way, named_volume_ids, read_location

__all__ = ["page_contents", "shown_answer", "shown_image", "shown_places"]


def page_contents(arguments: Sequence[str], **given: Any) -> Contents:
    """Give the contents of a page that is made now.

    Args:
        arguments: of the command line.
        given: the other attributes of `Contents`.
    """
    return Contents(
        made_at=datetime.now(UTC), version=version("imagevol"), command=shlex.join(["imagevol", *arguments]), **given
    )


def shown_places(places: Iterable[Place], policies: Sequence[Policy]) -> list[ShownPlace]:
    """Give the places of a page: each once for each policy."""
    return [
        ShownPlace(host=place.host, volume_type=place.volume_type, policy=policy.value if len(policies) > 1 else None)
        for place in places
        for policy in policies
    ]


def shown_image(image: Image, answers: Iterable[Answer]) -> ShownImage:
    """Give an image as the page shows it.

    Args:
        image: with its locations.
        answers: in the order of the places.
    """
    return ShownImage(
        id=image.id,
        name=image.name,
        status=image.status,
        visibility=image.visibility,
        disk_format=image.disk_format,
        size_bytes=image.size_bytes,
        stores=_stores(image),
        volume_ids=tuple(named_volume_ids(image)),
        answers=tuple(answers),
    )


def shown_answer(outcome: Outcome) -> Answer:
    """Give an answer as the page shows it: what is tried first, and what stands in the way of a clone."""
    told = row([outcome])
    way, copied = told["way"], outcome.cost(_COPY).written_bytes
    if KINDS[way] is not Kind.CLONED:
        written = 0 if KINDS[way] is Kind.REFUSED else copied
        return Answer(way=way, reason=told["reason"], against=_against(outcome), copied_bytes=written)
    return Answer(way=way, reason=told["reason"], saved_bytes=copied or 0, saved_seconds=_saved_seconds(outcome))


_COPY = CreationStep(way=Way.COPY, extend_to_gib=1)


def _saved_seconds(outcome: Outcome) -> float | None:
    copied, cloned = outcome.seconds(_COPY), outcome.seconds(outcome.steps[0])
    return None if copied is None or cloned is None else max(0.0, copied - cloned)


def _against(outcome: Outcome) -> tuple[tuple[str, str], ...]:
    """Each rule that stands in the way of a clone of an image volume, once."""
    verdicts = [
        verdict
        for way in outcome.outlook.ways
        if way.way is Way.CLONE_IMAGE_VOLUME and not way.steps
        for verdict in way.against
    ]
    return tuple(dict.fromkeys((each.rule, each.text) for each in verdicts))


def _stores(image: Image) -> tuple[str, ...]:
    """The stores that the locations name; none where Glance does not show them."""
    return tuple(dict.fromkeys(name for name in map(_store, image.locations) if name))


def _store(location: ImageLocation) -> str | None:
    return location.metadata.get("store") or getattr(read_location(location.url), "store", None)
