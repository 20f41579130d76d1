"""A clone that nothing stands in the way of, and the same with one fact changed."""

from __future__ import annotations

from dataclasses import replace

from imagevol_adapters.testing.strategies import CloneCase
from imagevol_core import GIB, Backend, CloneSettings, Image, ImageLocation, Policy, Volume

BOTH_POLICIES = (Policy.STRICT, Policy.UPSTREAM)  # an earlier release answers as `UPSTREAM`, or has tests of its own
IMAGE_ID, VOLUME_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47", "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
URL = f"cinder://fast/{VOLUME_ID}"

GOOD = CloneCase(
    image=Image(
        id=IMAGE_ID,
        status="active",
        owner="ours",
        disk_format="raw",
        container_format="bare",
        size_bytes=GIB,
        min_disk_gib=0,
        locations=(ImageLocation(URL),),
    ),
    target=Volume(id="t", project_id="ours", host="node@fast#one", size_gib=2, encrypted=False),
    volumes=(
        Volume(
            id=VOLUME_ID,
            project_id="stores",
            host="node@fast#one",
            size_gib=1,
            status="available",
            encrypted=False,
            metadata={"image_owner": "ours", "glance_image_id": IMAGE_ID, "image_size": str(GIB)},
        ),
    ),
    backend=Backend(),
    settings=CloneSettings(allowed_direct_url_schemes=("cinder",), trusted_projects=frozenset({"stores"})),
)


def image(**changes: object) -> CloneCase:
    """The good case with another image."""
    return replace(GOOD, image=replace(GOOD.image, **changes))  # type: ignore[arg-type]


def target(**changes: object) -> CloneCase:
    """The good case with another new volume."""
    return replace(GOOD, target=replace(GOOD.target, **changes))  # type: ignore[arg-type]


def volume(**changes: object) -> CloneCase:
    """The good case with another image volume."""
    return replace(GOOD, volumes=(replace(GOOD.volumes[0], **changes),))  # type: ignore[arg-type]


def says(**changes: str) -> CloneCase:
    """The good case with an image volume that says something else."""
    return volume(metadata={**GOOD.volumes[0].metadata, **changes})


def settings(case: CloneCase, **changes: object) -> CloneCase:
    """The case under another operator."""
    return replace(case, settings=replace(case.settings, **changes))  # type: ignore[arg-type]
