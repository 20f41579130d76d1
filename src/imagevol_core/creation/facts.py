"""What the rules of `creation` look at, and the steps that they come to ([clone], [template])."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from imagevol_core.cloning import CloneDecision
from imagevol_core.creation.boot_mapping import BootMapping
from imagevol_core.creation.cache_lookup import Lookup
from imagevol_core.errors import InvalidSize
from imagevol_core.facts import Image, Volume
from imagevol_core.templates import TemplateDecision

__all__ = ["ConversionSettings", "Creation", "CreationStep", "Way"]


class Way(Enum):
    """How a volume is created from an image.

    `FROM_SNAPSHOT` creates it from the snapshot that the image names.  `CLONE_IMAGE_VOLUME` clones the volume that
    holds the image, `CLONE_TEMPLATE` a template, `CLONE_CACHED` a volume of Cinder's image cache.  `CREATE_TEMPLATE`
    makes a template first and clones it, `AWAIT_TEMPLATE` waits for one that another request makes, and
    `CREATE_CACHED` makes a cached volume.  `COPY` downloads the image into the new volume.
    """

    FROM_SNAPSHOT = "from-snapshot"
    CLONE_IMAGE_VOLUME = "clone-image-volume"
    CLONE_TEMPLATE = "clone-template"
    CLONE_CACHED = "clone-cached"
    CREATE_TEMPLATE = "create-template"
    AWAIT_TEMPLATE = "await-template"
    CREATE_CACHED = "create-cached"
    COPY = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationStep:
    """One attempt at making the volume.

    Attributes:
        way: how.
        source: the volume to clone, where there already is one; of `FROM_SNAPSHOT` the snapshot.
        size_gib: the size of the template or cached volume to be made; None if none is, or it is not known.
        extend_to_gib: the size of the new volume at the end, in GiB.
        remove_first: volumes to delete before, in this order.
        remove_after: volumes to delete once it has succeeded.
        wait: how long to wait for the template that another request makes.
        falls_to_next: whether the next step is tried when it fails; if not, the request has failed.
    """

    way: Way
    source: str | None = None
    size_gib: int | None = None
    extend_to_gib: int
    remove_first: tuple[str, ...] = ()
    remove_after: tuple[str, ...] = ()
    wait: timedelta | None = None
    falls_to_next: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSettings:
    """What the operator allows of images in other formats than raw.

    Args:
        allowed: whether they are converted (the contrary of Cinder's `image_conversion_disable`).
        free_bytes: what is free where Cinder converts them (`image_conversion_dir`); None if that is not known.
            Only Cinder asks, and also where it then converts nothing.

    Raises:
        InvalidSize: `free_bytes` is negative.
    """

    allowed: bool = True
    free_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no directory has."""
        if self.free_bytes is not None and self.free_bytes < 0:
            raise InvalidSize("ConversionSettings.free_bytes", self.free_bytes, "give 0 or more, or None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What the rules about the request and about the ways look at."""

    image: Image
    target: Volume
    boot: BootMapping
    found: Lookup
    clone: CloneDecision
    template: TemplateDecision
    conversion: ConversionSettings
