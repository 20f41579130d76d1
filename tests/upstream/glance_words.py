"""The core's facts in Glance's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagevol_core import ImageLocation, NoAnswer, NotFound, StoreCatalogue, VolumeAnswer


def catalogue_for_glance(catalogue: StoreCatalogue) -> dict[str, Any]:
    """The stores as Glance is configured with them."""
    return {
        "stores": [
            {
                "name": store.name,
                "kind": store.kind,
                "volume_type": store.volume_type,
                "accepts": store.accepts,
                "url_prefix": store.url_prefix,
                "weight": store.weight,
            }
            for store in catalogue.stores
        ],
        "default": catalogue.default,
        "multi": catalogue.multi,
        "default_volume_type": catalogue.default_volume_type,
    }


def location_for_glance(location: ImageLocation) -> dict[str, Any]:
    """A location as Glance keeps it."""
    return {"url": location.url, "metadata": dict(location.metadata)}


def answers_for_glance(answers: Mapping[str, VolumeAnswer]) -> dict[str, Any]:
    """What Cinder says of volumes."""
    return {volume_id: _answer(answer) for volume_id, answer in answers.items()}


def _answer(answer: VolumeAnswer) -> dict[str, str | None]:
    if isinstance(answer, NotFound):
        return {"error": "Volume could not be found. (HTTP 404)"}
    if isinstance(answer, NoAnswer):
        return {"error": answer.reason}
    return {"type": answer}
