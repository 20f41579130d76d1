"""Bytes and GiB: the least volume for an image, whether an image fits, how far to grow a volume for a stream.

Integers only.  Cinder rounds through a float and so takes 2**53 + 1 bytes for 2**23 GiB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from imagevol_core.errors import InvalidSize
from imagevol_core.facts import Image
from imagevol_core.sentences import amount
from imagevol_core.verdicts import Policy, Result, Verdict, table_of

__all__ = [
    "GIB",
    "Growth",
    "gib_for",
    "image_fits",
    "least_size_bytes",
    "least_volume_gib",
    "next_size_gib",
    "virtual_size_bytes",
]

GIB = 1 << 30
_LARGEST = (1 << 63) - 1  # of a GiB count or a percentage: no service stores a larger number


def gib_for(size_bytes: int) -> int:
    """Give the size of the smallest volume that holds `size_bytes`, in GiB.

    Args:
        size_bytes: 0 or more.

    Returns:
        GiB, rounded up exactly, and at least 1 because Cinder has no smaller volume.

    Raises:
        InvalidSize: the size is negative.

    >>> gib_for(0), gib_for(2**30), gib_for(2**30 + 1), gib_for(2**53 + 1)
    (1, 1, 2, 8388609)
    """
    if size_bytes < 0:
        raise InvalidSize("size_bytes", size_bytes, "give a size of 0 or more")
    return max(1, -(-size_bytes // GIB))


def virtual_size_bytes(image: Image) -> int | None:
    """Give an image's size as a disk, in bytes; None if it is not known.

    The record's `virtual_size` counts if it is above 0, because Glance writes 0 if it could not tell.  Without it, the
    property `virtual_size` counts.  The property `os_decrypt_size` of an encrypted image counts if it is larger.  A raw
    image without any of them is as large as it is stored.  A property is a user's word: text that is not a number of
    bytes above 0 is no size.

    >>> virtual_size_bytes(Image(id="i", virtual_size_bytes=0, properties={"virtual_size": "4096"}))
    4096
    >>> virtual_size_bytes(Image(id="i", disk_format="raw", container_format="bare", size_bytes=512))
    512
    >>> virtual_size_bytes(Image(id="i", properties={"virtual_size": "lots"})) is None
    True
    """
    sizes = _sizes(image)
    sizes.pop(_STORED, None)
    plain = image.disk_format == "raw" and image.container_format == "bare"
    return max(sizes.values(), default=image.size_bytes or None if plain else None)


def least_size_bytes(image: Image) -> int | None:
    """Give the space that an image needs, in bytes: the larger of its stored and its virtual size.

    All decisions use this function.  `min_disk` does not count here: `image_fits` compares it.

    Returns:
        Bytes; None if neither size is known.

    >>> least_size_bytes(Image(id="i", size_bytes=700, virtual_size_bytes=0, properties={"virtual_size": "4096"}))
    4096
    """
    return max(_sizes(image).values(), default=None)


def least_volume_gib(image: Image) -> int | None:
    """Give the size of the smallest volume that `image_fits` accepts for an image, in GiB; None if it is not known.

    >>> least_volume_gib(Image(id="i", size_bytes=3 * 2**30)), least_volume_gib(Image(id="i"))
    (3, None)
    """
    needed = _needed(image)
    return None if needed is None else needed[0]


def image_fits(image: Image, *, size_gib: int, policy: Policy = Policy.STRICT) -> Verdict:
    """Decide whether an image fits a volume ([clone]).

    `least_size_bytes` decides, and the image's `min_disk`.  An image of unknown size is not known to fit.  Under
    `UPSTREAM`, what Cinder 29.0.0 answers (`check_image_metadata`, `check_virtual_size`).

    Args:
        image: the image that will be in the volume.
        size_gib: the size of the volume, in GiB.
        policy: whose rule.

    Returns:
        A verdict of the rule `image-fits`.

    >>> image_fits(Image(id="i", size_bytes=3 * 2**30), size_gib=2).text
    'the image needs 3 GiB (size 3221225472 bytes) and the volume has 2 GiB'
    >>> image_fits(Image(id="i"), size_gib=2).ok
    False
    """
    fits, text = table_of(_FITS, policy)(image, size_gib)
    return Verdict("image-fits", Result.HOLDS if fits else Result.FAILS, None, text)


_STORED = "size"


def _sizes(image: Image) -> dict[str, int]:
    """Every size of an image that is known, by what says so."""
    recorded = image.virtual_size_bytes or None
    sizes = {
        _STORED: image.size_bytes,
        "virtual size": recorded,
        "property virtual_size": None if recorded else _claimed(image, "virtual_size"),
        "property os_decrypt_size": _claimed(image, "os_decrypt_size"),
    }
    return {name: size for name, size in sizes.items() if size is not None}


def _claimed(image: Image, key: str) -> int | None:
    text = image.properties.get(key, "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 20:  # 2**64 has 20 digits
        return None
    return int(text) or None


def _needed(image: Image) -> tuple[int, str] | None:
    """Give how many GiB an image needs, and what says so."""
    sizes = _sizes(image)
    if not sizes:
        return None
    name, largest = max(sizes.items(), key=lambda item: item[1])
    least = gib_for(largest)
    if image.min_disk_gib is not None and image.min_disk_gib > least:
        return image.min_disk_gib, "min_disk"
    return least, f"{name} {amount(largest, 'byte')}"


def _fits(image: Image, size_gib: int) -> tuple[bool, str]:
    needed = _needed(image)
    if needed is None:
        return False, "the image's size is not known"
    least, because = needed
    return least <= size_gib, f"the image needs {least} GiB ({because}) and the volume has {size_gib} GiB"


def _fits_upstream(image: Image, size_gib: int) -> tuple[bool, str]:
    if image.size_bytes is None:
        return False, "Cinder fails with a TypeError where an image's size is null"
    least = -(-image.size_bytes // GIB)
    if least <= size_gib and image.min_disk_gib is None:
        return False, "Cinder fails with a TypeError where an image's min_disk is null"
    least = max(least, image.min_disk_gib or 0)
    if least <= size_gib and image.virtual_size_bytes:
        try:
            least = max(least, math.ceil(float(image.virtual_size_bytes) / GIB))
        except OverflowError:
            return False, "Cinder fails with an OverflowError where an image's virtual size is too large for a float"
    return least <= size_gib, f"Cinder counts {least} GiB for the image and the volume has {size_gib} GiB"


_FITS = {Policy.STRICT: _fits, Policy.UPSTREAM: _fits_upstream}


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How a volume grows under a stream of unknown length.

    Args:
        percent: the growth at each step, in percent of the present size.  With 25 the number of extends is logarithmic
            (20 for 100 GiB, where glance_store takes 99) and the volume ends less than 25 % above its content.
        least_gib: the smallest step, in GiB, which counts while a volume is small.

    Raises:
        InvalidSize: a step could be nothing, and the volume would never grow; or it is larger than any volume.
    """

    percent: int = 25
    least_gib: int = 1

    def __post_init__(self) -> None:
        """Refuse a growth that does not grow."""
        if self.percent < 0:
            raise InvalidSize("Growth.percent", self.percent, "give 0 or more")
        if self.least_gib < 1:
            raise InvalidSize("Growth.least_gib", self.least_gib, "give 1 or more")
        for name, value in (("Growth.percent", self.percent), ("Growth.least_gib", self.least_gib)):
            if value > _LARGEST:
                raise InvalidSize(name, value, f"give {_LARGEST} or less")


def next_size_gib(written_bytes: int, *, current_gib: int, growth: Growth = Growth()) -> int:
    """Give the size, in GiB, of a volume with room for one more byte of a stream of unknown length ([store]).

    Args:
        written_bytes: how much the stream has given so far, in bytes.
        current_gib: the present size of the volume, in GiB.
        growth: how it grows.

    Returns:
        GiB, the present size while there is room, and otherwise the next step, which has room for one more byte.

    Raises:
        InvalidSize: a size is negative, or larger than any volume.

    >>> next_size_gib(2**30, current_gib=1), next_size_gib(100 * 2**30, current_gib=100)
    (2, 125)
    """
    if current_gib < 0:
        raise InvalidSize("current_gib", current_gib, "give a size of 0 or more")
    needed = gib_for(written_bytes + 1) if written_bytes >= 0 else gib_for(written_bytes)
    for name, value in (("current_gib", current_gib), ("written_bytes", needed)):
        if value > _LARGEST:
            raise InvalidSize(name, value, f"no volume has more than {_LARGEST} GiB")
    if needed <= current_gib:
        return current_gib
    return max(needed, current_gib + max(growth.least_gib, current_gib * growth.percent // 100))
