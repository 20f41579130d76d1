"""The rules of `copying`: what stands in the way of a copy, how it is done, what becomes of its zeros.

Nothing is taken for granted that no fact says: not a format, not a size, not that a target is zero.  What Cinder does
is in `upstream`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imagevol_core.copying.commands import convert
from imagevol_core.copying.facts import SECTOR_BYTES, Cleared, Copy, CopyMethod, RawStream, ZeroHandling
from imagevol_core.sentences import amount, answered, quoted
from imagevol_core.verdicts import Choice, Requirement

__all__ = ["STRICT_COPY_RULES", "STRICT_METHOD_RULES", "STRICT_ZERO_RULES", "Command"]


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
        return True, f"the source has {amount(end, 'byte')} and the target becomes as large"
    return end <= room, f"the source has {amount(end, 'byte')} and the target {room}"


def _whole_sectors(copy: Copy) -> tuple[bool, str]:
    size = copy.source.virtual_size_bytes
    if copy.reads == "raw" or copy.same_bytes or size is None:
        return True, "qemu-img is not asked for a part of a sector"
    return size % SECTOR_BYTES == 0, f"the source has {amount(size, 'byte')} as a disk"


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
    bad = copy.encrypts and copy.target.exists
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


def _allocated(copy: Copy | RawStream) -> tuple[bool, str]:
    return copy.target.allocate, f"{'' if copy.target.allocate else 'not '}every byte must be written"


def _encrypted(copy: Copy | RawStream) -> tuple[bool, str]:
    encrypted = copy.encrypts
    return encrypted, "zeros on the target are not zeros once decrypted" if encrypted else "nothing is encrypted"


def _proven_zero(copy: Copy | RawStream) -> tuple[bool, str]:
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


def _punched(copy: Copy | RawStream) -> tuple[bool, str]:
    if not copy.target.exists:
        return True, "a new file has nothing in it to be overwritten"
    can = copy.target.can_punch
    return can is True, answered(can, "the target can be zeroed in place", "the target cannot be zeroed in place")


def _written(_copy: Copy | RawStream) -> tuple[bool, str]:
    return True, "the target may hold anything, and cannot be zeroed in place"


# The words that the sentences are made of.


# The tables.
_SPEC = "[store]"
FETCH = "cinder image_utils.fetch_to_volume_format"
CONVERT = "cinder image_utils._get_qemu_convert_cmd"
STRICT_COPY_RULES: tuple[Requirement[Copy], ...] = (
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
        source=FETCH,
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
        source=CONVERT,
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
        source=CONVERT,
        holds=_compressible,
        warning=True,
    ),
)
Command = Callable[[Copy, ZeroHandling], tuple[str, ...]]
STREAM: tuple[CopyMethod, Command | None] = (CopyMethod.STREAM, None)
_BLOCKS: tuple[CopyMethod, Command | None] = (CopyMethod.BLOCKS, None)
STRICT_METHOD_RULES: tuple[Choice[Copy, tuple[CopyMethod, Command | None]], ...] = (
    Choice(
        id="same-bytes",
        text="stream: the bytes are copied as they are",
        source=_SPEC,
        applies=_same_bytes,
        outcome=STREAM,
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
)
STRICT_ZERO_RULES: tuple[Choice[Any, ZeroHandling], ...] = (
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
)
