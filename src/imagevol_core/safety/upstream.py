"""What Cinder 29.0.0 asks of an image before it copies the image into a volume."""

from __future__ import annotations

import math

from imagevol_core.safety.facts import Untrusted
from imagevol_core.safety.rules import IS_PARTITION_TABLE, VMDK_SUBFORMATS
from imagevol_core.sentences import answered, quoted
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Requirement

__all__ = ["UPSTREAM_SAFETY_RULES"]


# What Cinder 29.0.0 checks instead: whichever fails first is the error that it raises.


def _inspector_upstream(image: Untrusted) -> tuple[bool, str]:
    inspection, content = image.inspection, _content_upstream(image)
    if inspection.cinder is not None:
        return _inspector_says(content, inspection.cinder.safe)
    other = (inspection.failed_checks or frozenset()) - IS_PARTITION_TABLE
    linked = content == "qcow2" and (inspection.has_backing_file is True or inspection.has_data_file is True)
    unsafe = linked or content == "qed" or (content in ("qcow2", "vmdk") and bool(other))
    return _inspector_says(content, not unsafe)


def _inspector_says(content: str, safe: bool | None) -> tuple[bool, str]:
    if safe is None:
        return False, "Cinder fails with an ImageFormatError: its inspector cannot read the descriptor of the VMDK"
    return safe, f"Cinder's inspector finds {quoted(content)}, {'' if safe else 'un'}safe"


def _name_upstream(image: Untrusted) -> tuple[bool, str]:
    content, found = _content_upstream(image), image.inspection.cinder
    if content == "vhd":
        return False, "Cinder fails with a ProcessExecutionError: qemu-img has no `vhd`"
    if found is not None and found.opens is False:
        return False, f"Cinder fails with a ProcessExecutionError: qemu-img cannot open it as {quoted(content)}"
    return True, "qemu-img knows it"


def _virtual_size_upstream(image: Untrusted) -> tuple[bool, str]:
    size, room, found = image.inspection.virtual_size_bytes, image.size_gib, image.inspection.cinder
    if found is not None and found.virtual_size_bytes is not None:
        size = found.virtual_size_bytes
    if room is None:
        return True, "Cinder looks at no size where it is given none"
    if size is None:
        return False, "Cinder fails with a TypeError where there is no virtual size"
    if found is None and _fixed_vhd(image):  # raw to Cinder, which counts all of the file
        size += _FOOTER_BYTES
    try:
        least = math.ceil(float(size) / GIB)
    except OverflowError:
        return False, "Cinder fails with an OverflowError where the virtual size is too large for a float"
    return least <= room, f"Cinder counts {least} GiB for the image and the volume has {room} GiB"


def _no_backing_file_upstream(image: Untrusted) -> tuple[bool, str]:
    has = image.inspection.has_backing_file if _content_upstream(image) != "raw" else False  # which has none
    return has is not True, answered(has, "it has a backing file", "it does not have a backing file")


def _as_declared_upstream(image: Untrusted) -> tuple[bool, str]:
    declared, content = image.declared_format, _content_upstream(image)
    named = "raw" if declared == "iso" else declared  # what else it renames, its inspector finds in nothing
    agrees = named is None or named.lower() == "ami" or named == content
    return agrees, f"it is declared {quoted(declared)} and Cinder's inspector finds {quoted(content)}"


def _no_data_file_upstream(image: Untrusted) -> tuple[bool, str]:
    has = image.inspection.has_data_file
    text = answered(has, "it has an external data file", "it does not have an external data file")
    return _content_upstream(image) != "qcow2" or has is False, text


def _vmdk_subformat_upstream(image: Untrusted) -> tuple[bool, str]:
    subformat = image.inspection.subformat
    good = _content_upstream(image) != "vmdk" or subformat in VMDK_SUBFORMATS
    return good, f"its createType is {quoted(subformat)}"


def _content_upstream(image: Untrusted) -> str:
    """What Cinder's own inspector makes of it: it knows no GPT, ISO or LUKS, no VMDK of text alone and no fixed VHD."""
    if image.inspection.cinder is not None:
        return image.inspection.cinder.format
    if _KNOWN_NAMES.isdisjoint(image.inspection.formats):
        return "raw"
    known = [name for name in _KNOWN_UPSTREAM if name in image.inspection.formats]
    text_only = known == ["vmdk"] and image.inspection.text_only is True
    return "raw" if text_only or _fixed_vhd(image) else known[0]


def _fixed_vhd(image: Untrusted) -> bool:
    known = [name for name in _KNOWN_UPSTREAM if name in image.inspection.formats]
    return known == ["vhd"] and image.inspection.subformat == "fixed"


_FOOTER_BYTES = 512  # of a VHD
_KNOWN_UPSTREAM = ("qcow2", "vhd", "vhdx", "vmdk", "vdi", "qed")
_KNOWN_NAMES = frozenset(_KNOWN_UPSTREAM)
_INFO = "cinder image_utils.qemu_img_info"
_FETCH = "cinder image_utils.fetch_to_volume_format"
UPSTREAM_SAFETY_RULES: tuple[Requirement[Untrusted], ...] = (
    Requirement(
        id="inspector-safe",
        text="Cinder's inspector finds it safe",
        source=_INFO,
        holds=_inspector_upstream,
        gate=True,
    ),
    Requirement(
        id="inspector-name",
        text="qemu-img knows the format by the inspector's name, and opens the file as that format",
        source=_INFO,
        holds=_name_upstream,
        gate=True,
    ),
    Requirement(
        id="virtual-size-fits",
        text="its virtual size fits, rounded through a float",
        source="cinder image_utils.check_virtual_size",
        holds=_virtual_size_upstream,
    ),
    Requirement(
        id="no-backing-file",
        text="qemu-img names no backing file",
        source=_FETCH,
        holds=_no_backing_file_upstream,
    ),
    Requirement(
        id="content-as-declared",
        text="the format is what disk_format says, or that is `ami`",
        source="cinder image_utils.check_image_format",
        holds=_as_declared_upstream,
    ),
    Requirement(
        id="vmdk-subformat",
        text="a VMDK is of one of `vmdk_allowed_types`",
        source="cinder image_utils.check_vmdk_image",
        holds=_vmdk_subformat_upstream,
    ),
    Requirement(
        id="no-data-file",
        text="qemu-img tells of a qcow2 that it has no data file",
        source="cinder image_utils.check_qcow2_image",
        holds=_no_data_file_upstream,
    ),
)
