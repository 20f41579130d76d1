"""The stores of a small cloud, and locations planned in it."""

from __future__ import annotations

from collections.abc import Sequence

from imagevol_adapters.testing.store_strategies import VOLUME_IDS
from imagevol_core import (
    Image,
    ImageLocation,
    LocationChange,
    Policy,
    Store,
    StoreCatalogue,
    VolumeAnswer,
    plan_added_location,
    plan_image,
    plan_location,
)

V = VOLUME_IDS[0]
FAST = Store(name="fast", kind="cinder", volume_type="ssd")
FAST2 = Store(name="fast2", kind="cinder", volume_type="ssd")
SLOW = Store(name="slow", kind="imagevol", volume_type="hdd")
LOCAL = Store(name="local", kind="file", url_prefix="file:///x")
CATALOGUE = StoreCatalogue(stores=(FAST, FAST2, SLOW, LOCAL))
RENAMES = {"quick": "fast2", "old": "slow", "slow": "fast", "fast": "slow"}  # a chain and a swap among them


def at(url: str, store: str | None = None, **metadata: str) -> ImageLocation:
    """A location there, whose metadata names this store."""
    return ImageLocation(url, {**metadata, **({"store": store} if store is not None else {})})


def applied(change: LocationChange, locations: Sequence[ImageLocation]) -> tuple[ImageLocation, ...]:
    """The locations of an image with one of them changed, which must be as it was when that was planned."""
    at = change.position
    assert locations[at] == change.before
    return (*locations[:at], change.after, *locations[at + 1 :])


def plan(
    location: ImageLocation,
    volume_type: VolumeAnswer = "ssd",
    *,
    policy: Policy = Policy.STRICT,
    catalogue: StoreCatalogue = CATALOGUE,
) -> LocationChange:
    """Plan one location in the usual cloud."""
    return plan_location(location, catalogue=catalogue, volume_type=volume_type, renames=RENAMES, policy=policy)


def add(location: ImageLocation, volume_type: VolumeAnswer = "ssd") -> LocationChange:
    """Let Glance add one location."""
    return plan_added_location(location, catalogue=CATALOGUE, volume_type=volume_type, policy=Policy.UPSTREAM)


def of_image(policy: Policy, *locations: ImageLocation, **volume_types: VolumeAnswer) -> tuple[LocationChange, ...]:
    """Plan an image of the volume in the usual cloud."""
    return plan_image(
        Image(id="i", locations=locations),
        catalogue=CATALOGUE,
        volume_types={V: "ssd", **volume_types},
        renames=RENAMES,
        policy=policy,
    )
