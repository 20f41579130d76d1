"""The rules of `copying`: what stands in the way of a copy, how it is done, what becomes of its zeros.

`STRICT` takes nothing for granted that no fact says: not a format, not a size, not that a target is zero.  `UPSTREAM`
is what Cinder 29.0.0 does when it puts an image into a volume (`fetch_to_volume_format`) or a volume into an image
(`upload_volume`), which is where the target is a file yet to be made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from imagevol_core.copy_commands import convert, convert_upstream, dd
from imagevol_core.copy_facts import SECTOR_BYTES, Cleared, Copy, CopyMethod, ZeroHandling
from imagevol_core.sentences import answered, quoted
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Choice, Policy, Requirement

__all__ = ["COPY_RULES", "METHOD_RULES", "ZERO_RULES"]

_RECOGNISED = ("raw", "qcow2", "vmdk", "vdi", "vhdx")  # by Cinder's inspector, under the names of qemu-img


# What stands in the way.


def _paths_absolute(copy: Copy) -> tuple[bool, str]:
    paths = (copy.source.path, copy.target.path, copy.source.key_file, copy.target.key_file)
    bad = [path for path in paths if path is not None and (not path.startswith("/") or "\0" in path)]
    return not bad, f"{bad[0]!r} is none; qemu-img takes `json:` and `nbd:` for more than a file" if bad else "they are"


def _not_itself(copy: Copy) -> tuple[bool, str]:
    return copy.source.path != copy.target.path, f"from {copy.source.path!r} to {copy.target.path!r}"


def _format_inspected(copy: Copy) -> tuple[bool, str]:
    return copy.reads is not None, f"the inspection found {quoted(copy.source.format)}"


def _format_written(copy: Copy) -> tuple[bool, str]:
    return copy.writes is not None, f"the target's format is {quoted(copy.target.format)}"


def _source_fits(copy: Copy) -> tuple[bool, str]:
    end, room = copy.end_bytes, copy.target.size_bytes
    if end is None:
        return False, "the size of the source as a disk is not known"
    if room is None:
        return True, f"the source has {end} bytes and the target becomes as large"
    return end <= room, f"the source has {end} bytes and the target {room}"


def _whole_sectors(copy: Copy) -> tuple[bool, str]:
    size = copy.source.virtual_size_bytes
    if copy.reads == "raw" or copy.same_bytes or size is None:
        return True, "qemu-img is not asked for a part of a sector"
    return size % SECTOR_BYTES == 0, f"the source has {size} bytes as a disk"


def _device_exists(copy: Copy) -> tuple[bool, str]:
    bad = not copy.target.exists and copy.target.path.startswith("/dev/")
    return not bad, f"{copy.target.path!r} is {'there' if copy.target.exists else 'yet to be made'}"


def _conversion_allowed(copy: Copy) -> tuple[bool, str]:
    text = f"from {quoted(copy.reads)} to {quoted(copy.writes)}"
    if copy.same_bytes:
        return True, f"{text}: nothing is converted"
    return copy.settings.conversion, f"{text}; image_conversion_disable is {not copy.settings.conversion}"


def _qemu_img_present(copy: Copy) -> tuple[bool, str]:
    if copy.same_bytes:
        return True, "the bytes are copied as they are"
    return copy.settings.qemu_img, f"qemu-img is {'installed' if copy.settings.qemu_img else 'not installed'}"


def _keys_given(copy: Copy) -> tuple[bool, str]:
    ends = {"source": (copy.reads, copy.source.key_file), "target": (copy.writes, copy.target.key_file)}
    if copy.same_bytes:
        return True, "nothing is decrypted or encrypted"
    missing = [name for name, (format_, key) in ends.items() if format_ == "luks" and key is None]
    useless = [name for name, (format_, key) in ends.items() if format_ not in (None, "luks") and key is not None]
    if missing:
        return False, f"the {missing[0]} is LUKS, and there is no key for it"
    if useless:
        return False, f"there is a key for the {useless[0]}, which is not LUKS"
    return True, "there is one for each end that is LUKS"


def _stays_encrypted(copy: Copy) -> tuple[bool, str]:
    leaks = copy.reads == "luks" and copy.writes not in (None, "luks")
    return not leaks, f"from {quoted(copy.reads)} to {quoted(copy.writes)}"


def _luks_is_made(copy: Copy) -> tuple[bool, str]:
    bad = copy.writes == "luks" and not copy.same_bytes and copy.target.exists
    return not bad, f"the target is {quoted(copy.writes)} and {'there' if copy.target.exists else 'yet to be made'}"


def _compressible(copy: Copy) -> tuple[bool, str]:
    wanted = copy.target.compress
    return not wanted or copy.compresses, f"compression is {'' if wanted else 'not '}wanted of {quoted(copy.writes)}"


# How it is done: what applies first.


def _same_bytes(copy: Copy) -> tuple[bool, str]:
    return copy.same_bytes, f"from {quoted(copy.reads)} to {quoted(copy.writes)}"


def _block_map(copy: Copy) -> tuple[bool, str]:
    read, exists = copy.source.block_map, copy.target.exists
    text = f"the source's table was {'' if read else 'not '}read; the target is {quoted(copy.writes)}"
    applies = read and exists and copy.writes == "raw" and not copy.keyed
    return applies, f"{text} and {'there' if exists else 'yet to be made'}"


def _converted(copy: Copy) -> tuple[bool, str]:
    return True, f"from {quoted(copy.reads)} to {quoted(copy.writes)}"


# What becomes of zeros: what applies first.


def _allocated(copy: Copy) -> tuple[bool, str]:
    return copy.target.allocate, f"{'' if copy.target.allocate else 'not '}every byte must be written"


def _encrypted(copy: Copy) -> tuple[bool, str]:
    encrypted = copy.writes == "luks" and not copy.same_bytes
    return encrypted, "zeros on the target are not zeros once decrypted" if encrypted else "nothing is encrypted"


def _proven_zero(copy: Copy) -> tuple[bool, str]:
    target, proof = copy.target, copy.target.zero
    if proof is None:
        return False, "nothing proves that the target reads as zeros"
    text = f"{proof}"
    if target.size_bytes is None or proof.path != target.path:  # what is yet to be made is not proven
        return False, f"{text} is not about this target"
    if isinstance(proof, Cleared) and proof.size_bytes < target.size_bytes:
        return False, f"{text} is about a part of the target's {target.size_bytes} bytes"
    if target.has_backing_file or (copy.writes != "raw" and target.has_backing_file is not False):
        return False, f"{text}, but what is not written to the target may be read from a backing file"
    return True, text


def _punched(copy: Copy) -> tuple[bool, str]:
    if not copy.target.exists:
        return True, "a new file has nothing in it to be overwritten"
    can = copy.target.can_punch
    return can is True, answered(can, "the target can be zeroed in place", "the target cannot be zeroed in place")


def _written(_copy: Copy) -> tuple[bool, str]:
    return True, "the target may hold anything, and cannot be zeroed in place"


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


# The words that the sentences are made of.


# The tables.

_SPEC = "[store]"
_FETCH = "cinder image_utils.fetch_to_volume_format"
_CONVERT = "cinder image_utils._get_qemu_convert_cmd"
_UPLOAD = "cinder image_utils.upload_volume"

COPY_RULES: Mapping[Policy, tuple[Requirement[Copy], ...]] = {
    Policy.STRICT: (
        Requirement(id="paths-absolute", text="every path is absolute", source="CVE-2024-32498", holds=_paths_absolute),
        Requirement(id="not-itself", text="the target is not the source", source=_SPEC, holds=_not_itself),
        Requirement(
            id="format-inspected",
            text="the source's format was inspected, and is one that images have",
            source="CVE-2024-32498, CVE-2026-24708",
            holds=_format_inspected,
        ),
        Requirement(
            id="format-written",
            text="the target's format is one that is written",
            source=_SPEC,
            holds=_format_written,
        ),
        Requirement(
            id="source-fits",
            text="the source's size as a disk is known, and the target is not smaller",
            source=_SPEC,
            holds=_source_fits,
        ),
        Requirement(
            id="whole-sectors",
            text="a disk that is converted has whole sectors: of a part of one, qemu-img leaves what the target held",
            source=_SPEC,
            holds=_whole_sectors,
        ),
        Requirement(
            id="device-exists",
            text="no file is made under /dev, where a device is missing",
            source="cinder image_utils._ensure_exists",
            holds=_device_exists,
        ),
        Requirement(
            id="conversion-allowed",
            text="nothing is converted, or conversion is allowed",
            source="cinder image_utils.check_image_conversion_disable",
            holds=_conversion_allowed,
        ),
        Requirement(
            id="qemu-img-present",
            text="nothing is converted, or qemu-img is installed",
            source=_FETCH,
            holds=_qemu_img_present,
        ),
        Requirement(
            id="keys-given",
            text="there is a key for each end that is LUKS, and for no other",
            source="cinder image_utils._get_qemu_convert_luks_cmd",
            holds=_keys_given,
        ),
        Requirement(
            id="stays-encrypted",
            text="what is encrypted is not written in the clear",
            source=_CONVERT,
            holds=_stays_encrypted,
        ),
        Requirement(
            id="luks-is-made",
            text="a LUKS target is a file yet to be made, or gets its ciphertext as it is",
            source="qemu-img convert -n",
            holds=_luks_is_made,
        ),
        Requirement(
            id="compressible",
            text="the target's format can be compressed, if that is wanted",
            source=_CONVERT,
            holds=_compressible,
            warning=True,
        ),
    ),
    Policy.UPSTREAM: (
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
            source=_CONVERT,
            holds=_stays_encrypted_upstream,
        ),
    ),
}

Command = Callable[[Copy, ZeroHandling], tuple[str, ...]]
_STREAM: tuple[CopyMethod, Command | None] = (CopyMethod.STREAM, None)
_BLOCKS: tuple[CopyMethod, Command | None] = (CopyMethod.BLOCKS, None)

METHOD_RULES: Mapping[Policy, tuple[Choice[Copy, tuple[CopyMethod, Command | None]], ...]] = {
    Policy.STRICT: (
        Choice(
            id="same-bytes",
            text="stream: the bytes are copied as they are",
            source=_SPEC,
            applies=_same_bytes,
            outcome=_STREAM,
        ),
        Choice(
            id="block-map-read",
            text="blocks: the source's own table says where its data is, and the target is raw and exists",
            source=_SPEC,
            applies=_block_map,
            outcome=_BLOCKS,
        ),
        Choice(
            id="converted",
            text="convert: qemu-img makes another format",
            source=_SPEC,
            applies=_converted,
            outcome=(CopyMethod.CONVERT, convert),
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="same-format",
            text="stream: the volume's device is read",
            source=_UPLOAD,
            applies=_streams_upstream,
            outcome=_STREAM,
        ),
        Choice(
            id="no-qemu-img", text="stream: dd", source=_FETCH, applies=_dd_upstream, outcome=(CopyMethod.STREAM, dd)
        ),
        Choice(
            id="converted",
            text="convert: qemu-img, also raw to raw",
            source=_FETCH,
            applies=_converted_upstream,
            outcome=(CopyMethod.CONVERT, convert_upstream),
        ),
    ),
}

ZERO_RULES: Mapping[Policy, tuple[Choice[Copy, ZeroHandling], ...]] = {
    Policy.STRICT: (
        Choice(
            id="allocated-in-full",
            text="write: every byte is wanted",
            source=_SPEC,
            applies=_allocated,
            outcome=ZeroHandling.WRITE,
        ),
        Choice(
            id="encrypted",
            text="write: the zeros are encrypted too",
            source=_SPEC,
            applies=_encrypted,
            outcome=ZeroHandling.WRITE,
        ),
        Choice(
            id="proven-zero",
            text="skip: the target is proven to be zero",
            source=_SPEC,
            applies=_proven_zero,
            outcome=ZeroHandling.SKIP,
        ),
        Choice(
            id="zeroed-in-place",
            text="punch: ranges can be zeroed in place",
            source=_SPEC,
            applies=_punched,
            outcome=ZeroHandling.PUNCH,
        ),
        Choice(
            id="not-known-zero",
            text="write: nothing else makes them zero",
            source=_SPEC,
            applies=_written,
            outcome=ZeroHandling.WRITE,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="bytes-as-they-come",
            text="write: dd, or the image service",
            source=_FETCH,
            applies=_dd_zeros,
            outcome=ZeroHandling.WRITE,
        ),
        Choice(
            id="allocated-in-full",
            text="write: disable_sparse",
            source=_CONVERT,
            applies=_allocated_upstream,
            outcome=ZeroHandling.WRITE,
        ),
        Choice(
            id="left-to-qemu-img",
            text="punch: as qemu-img does",
            source=_CONVERT,
            applies=_left_to_qemu_img,
            outcome=ZeroHandling.PUNCH,
        ),
    ),
}
