"""`python -m benchmarks.glance STORE ...`: how many locations a second Glance moves to the second of these stores.

Its requests to Cinder are among it.  The code is Glance's, glance_store's and python-cinderclient's; Cinder answers at
once and out of memory, so that a real one is slower by every network and database that there is.
"""

from __future__ import annotations

import logging
import sys
import time
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from tests.upstream import glance_worker as glance

URL = "http://cinder.invalid/v3/p"


def locations_per_second(volume_ids: list[str], *, stores: tuple[str, ...], volume_type: str) -> float:
    """Let Glance show an image for each volume, of the single-store days, whose volumes are of this type."""
    requests_mock = import_module("requests_mock")
    session = import_module("keystoneauth1.session").Session(
        auth=import_module("keystoneauth1.noauth").NoAuth(endpoint=URL)
    )
    client = import_module("cinderclient.client").Client("3.0", session=session, endpoint_override=URL)
    configure(stores)
    for store in glance.store_location.SCHEME_TO_CLS_BACKEND_MAP["cinder"].values():
        store["store"]._client = client
        store["store"].volume_api = glance.cinder_store.cinder_utils.API()
    repository = SimpleNamespace(save=lambda *_, **__: None)
    with requests_mock.Mocker() as cinder:
        for volume_id in volume_ids:
            answer = {"volume": {"id": volume_id, "volume_type": volume_type, "metadata": {}, "size": 1}}
            cinder.get(f"{URL}/volumes/{volume_id}", json=answer)
        started = time.perf_counter()
        for volume_id in volume_ids:
            image = SimpleNamespace(image_id="i", locations=[{"url": f"cinder://{volume_id}", "metadata": {}}])
            glance.store_utils.update_store_in_locations(glance.CONTEXT, image, repository)
            assert image.locations[0]["metadata"] == {"store": volume_type}
        seconds = time.perf_counter() - started
        assert cinder.call_count == len(volume_ids) * (stores.index(volume_type) + 1)
    return len(volume_ids) / seconds


def configure(stores: tuple[str, ...]) -> None:
    """Let these be the cinder stores of Glance, each for the type of its name."""
    facts: list[dict[str, Any]] = [
        {"name": name, "kind": "cinder", "accepts": True, "volume_type": name, "url_prefix": None} for name in stores
    ]
    glance.configure({"multi": True, "default": stores[0], "default_volume_type": None, "stores": facts})


if __name__ == "__main__":
    logging.disable()
    ids = [f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}" for number in range(500)]
    print(locations_per_second(ids, stores=tuple(sys.argv[1:]), volume_type=sys.argv[2]))
