"""What Cinder 29.0.0 does when it puts an image into a volume, or a volume into an image."""

from __future__ import annotations

import math

from imagevol_core.copying.commands import convert_upstream, dd
from imagevol_core.copying.facts import Copy, CopyMethod, ZeroHandling
from imagevol_core.copying.rules import CONVERT, FETCH, STREAM, Command
from imagevol_core.sentences import quoted
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Choice, Requirement

__all__ = ["UPSTREAM_COPY_RULES", "UPSTREAM_METHOD_RULES", "UPSTREAM_ZERO_RULES"]


_RECOGNISED = ("raw", "qcow2", "vmdk", "vdi", "vhdx")  # by Cinder's inspector, under the names of qemu-img


# What Cinder 29.0.0 decides instead.


def _conversion_allowed_upstream(copy: Copy) -> tuple[bool, str]:
    image = copy.target.format if copy.uploads else copy.source.declared_format
    volume = copy.source.format if copy.uploads else copy.target.format
    text = f"the image is {quoted(image)} and the volume {quoted(volume)}"
    allowed = copy.settings.conversion or image == volume or copy.keyed  # which only drivers ask for, past the check
    return allowed, f"{text}; image_conversion_disable is {not copy.settings.conversion}"


def _qemu_img_present_upstream(copy: Copy) -> tuple[bool, str]:
    needed = not _streams_upstream(copy)[0] and (copy.uploads or copy.source.declared_format != "raw")
    text = f"qemu-img is {'installed' if copy.settings.qemu_img else 'not installed'}"
    return copy.settings.qemu_img or copy.keyed or not needed, f"{text}; without it Cinder copies what is declared raw"


def _inspection_upstream(copy: Copy) -> tuple[bool, str]:
    if copy.keyed or _dd(copy) or _streams_upstream(copy)[0]:
        return True, "Cinder inspects nothing on this way"
    made = copy.writes or "not one that is written"
    if copy.reads == "vpc" or (copy.uploads and made == "vpc"):
        return False, "Cinder fails with a ProcessExecutionError: qemu-img has no `vhd`"
    if copy.uploads and made not in _RECOGNISED:
        return False, f"Cinder fails with an ImageUnacceptable: its inspector does not find {made} in what was made"
    return True, "Cinder's inspector and qemu-img have one name for it"


def _source_fits_upstream(copy: Copy) -> tuple[bool, str]:
    copies, room = _dd(copy), copy.target.size_bytes
    if room is None or copy.keyed:
        return True, "Cinder looks at no size on this way"
    size = copy.source.size_bytes if copies else copy.source.virtual_size_bytes
    if size is None:
        return False, "Cinder fails with a TypeError where there is no size"
    try:
        least = math.ceil(float(size) / GIB)
    except OverflowError:
        return False, "Cinder fails with an OverflowError where the size is too large for a float"
    has = room // GIB
    text = f"Cinder counts {least} GiB for the image and {has} GiB for the volume"
    return copies or least <= has, f"{text}, and does not compare them" if copies else text


def _stays_encrypted_upstream(copy: Copy) -> tuple[bool, str]:
    leaks = copy.source.key_file is not None and copy.target.key_file is None
    return not leaks, f"there is {'a' if copy.source.key_file else 'no'} key for the source"


def _streams_upstream(copy: Copy) -> tuple[bool, str]:
    same = copy.uploads and copy.source.format == copy.target.format
    return same, f"the volume is {quoted(copy.source.format)} and the image {quoted(copy.target.format)}"


def _dd(copy: Copy) -> bool:
    return copy.target.exists and not copy.keyed and not copy.settings.qemu_img


def _dd_upstream(copy: Copy) -> tuple[bool, str]:
    return _dd(copy), f"qemu-img is {'installed' if copy.settings.qemu_img else 'not installed'}"


def _converted_upstream(copy: Copy) -> tuple[bool, str]:
    return True, f"from {quoted(copy.source.format)} to {quoted(copy.target.format)}, also where these are the same"


def _allocated_upstream(copy: Copy) -> tuple[bool, str]:
    return copy.target.allocate and not copy.uploads, f"disable_sparse is {copy.target.allocate}"


def _dd_zeros(copy: Copy) -> tuple[bool, str]:
    streams = _dd(copy) or _streams_upstream(copy)[0]
    return streams, "the bytes are written as they come" if streams else "it is left to qemu-img"


def _left_to_qemu_img(_copy: Copy) -> tuple[bool, str]:
    return True, "qemu-img finds the zeros, and zeroes their ranges"


_UPLOAD = "cinder image_utils.upload_volume"
UPSTREAM_COPY_RULES: tuple[Requirement[Copy], ...] = (
    Requirement(
        id="conversion-allowed",
        text="the names of both formats are the same, or conversion is allowed",
        source="cinder image_utils.check_image_conversion_disable",
        holds=_conversion_allowed_upstream,
    ),
    Requirement(
        id="qemu-img-present",
        text="qemu-img is installed, or is not needed",
        source="cinder image_utils.get_qemu_data",
        holds=_qemu_img_present_upstream,
    ),
    Requirement(
        id="format-inspected",
        text="Cinder's inspector finds the formats, by names that qemu-img has",
        source="cinder image_utils.qemu_img_info",
        holds=_inspection_upstream,
    ),
    Requirement(
        id="source-fits",
        text="the virtual size fits, rounded through a float; not looked at without qemu-img",
        source="cinder image_utils.check_virtual_size",
        holds=_source_fits_upstream,
    ),
    Requirement(
        id="stays-encrypted",
        text="there is a key for the target if there is one for the source",
        source=CONVERT,
        holds=_stays_encrypted_upstream,
    ),
)
UPSTREAM_METHOD_RULES: tuple[Choice[Copy, tuple[CopyMethod, Command | None]], ...] = (
    Choice(
        id="same-format",
        text="stream: the volume's device is read",
        source=_UPLOAD,
        applies=_streams_upstream,
        outcome=STREAM,
    ),
    Choice(id="no-qemu-img", text="stream: dd", source=FETCH, applies=_dd_upstream, outcome=(CopyMethod.STREAM, dd)),
    Choice(
        id="converted",
        text="convert: qemu-img, also raw to raw",
        source=FETCH,
        applies=_converted_upstream,
        outcome=(CopyMethod.CONVERT, convert_upstream),
    ),
)
UPSTREAM_ZERO_RULES: tuple[Choice[Copy, ZeroHandling], ...] = (
    Choice(
        id="bytes-as-they-come",
        text="write: dd, or the image service",
        source=FETCH,
        applies=_dd_zeros,
        outcome=ZeroHandling.WRITE,
    ),
    Choice(
        id="allocated-in-full",
        text="write: disable_sparse",
        source=CONVERT,
        applies=_allocated_upstream,
        outcome=ZeroHandling.WRITE,
    ),
    Choice(
        id="left-to-qemu-img",
        text="punch: as qemu-img does",
        source=CONVERT,
        applies=_left_to_qemu_img,
        outcome=ZeroHandling.PUNCH,
    ),
)
