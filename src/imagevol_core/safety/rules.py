"""The rules of `safety`: which untrusted images are refused before qemu-img reads them for their data.

`STRICT` never takes for safe what the inspection could not tell.  `UPSTREAM` is what Cinder 29.0.0 checks on the way to
a volume.  It looks at what Cinder's own format inspector and qemu-img find (`Inspection.cinder`).  Without these facts
it looks at what oslo.utils' inspectors find, which is not the same for a few files: the page of differences lists them.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.safety.facts import SAME_NAME, Untrusted
from imagevol_core.safety.partitions import partition_faults
from imagevol_core.sentences import amount, answered, listed, quoted
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Requirement

__all__ = ["DECLARABLE", "STRICT_SAFETY_RULES"]


VMDK_SUBFORMATS = ("streamOptimized", "monolithicSparse")  # one file each, which names no other
_LOWER = frozenset(name.lower() for name in VMDK_SUBFORMATS)  # as oslo.utils gives them
# Which content a declared format must have.  A partition table is what a raw disk has; others must not hide in it.
_CONTENT: Mapping[str, frozenset[str]] = {
    **{name: frozenset({name}) for name in ("qcow2", "vmdk", "vdi", "vhd", "vhdx", "luks")},
    **{name: frozenset({"raw", "gpt"}) for name in ("raw", "ami", "ari", "aki")},
    "iso": frozenset({"iso"}),
}
DECLARABLE = ("raw", "iso", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "luks")  # of names with one meaning, the usual one
IS_PARTITION_TABLE = frozenset({"mbr", "gptmbr"})  # oslo.utils' names of its checks
_BOOTED_WITHOUT_A_DISK = ("aki", "ari")  # a kernel may begin as an MBR does
_VERSIONS = (2, 3)  # of qcow2
_USUAL_FEATURES = frozenset({"dirty", "corrupt", "data_file", "compression_type"})  # which every qemu-img reads
_UNPACKED_WITH: Mapping[str, str] = {
    "gzip": "gunzip",
    "xz": "unxz",
    "zstd": "unzstd",
    "bzip2": "bunzip2",
    "lz4": "unlz4",
    "zip": "unzip",
    "7z": "7z x",
    "tar": "tar --extract",
}


def _header_parses(image: Untrusted) -> tuple[bool, str]:
    parses = image.inspection.header_parses
    return parses is True, answered(parses, "its header can be parsed", "its header cannot be parsed")


def _one_format(image: Untrusted) -> tuple[bool, str]:
    formats = set(image.inspection.formats)
    hybrid = formats == {"iso", "gpt"} and image.declared_format == "iso"  # as an ISO for USB sticks is made
    return len(formats) == 1 or hybrid, f"its content is {_content(image)}"


def _content_as_declared(image: Untrusted) -> tuple[bool, str]:
    declared, formats = image.declared_format or "", image.inspection.formats
    wanted = _CONTENT.get(SAME_NAME.get(declared, declared), frozenset())
    if "luks" in formats and declared == "raw":
        wanted = frozenset(formats)  # luks-not-raw says that
    if image.inspection.packed_as is not None and declared not in _BOOTED_WITHOUT_A_DISK:
        wanted = frozenset(formats)  # not-packed says that
    return bool(wanted & set(formats)), _declared_and_found(image)


def _luks_not_raw(image: Untrusted) -> tuple[bool, str]:
    hidden = image.declared_format == "raw" and "luks" in image.inspection.formats
    return not hidden, _declared_and_found(image)


def _not_probed(image: Untrusted) -> tuple[bool, str]:
    probed = image.inspection.probed_as
    if probed is None or probed in image.inspection.formats:
        return True, "qemu-img would take it for nothing else"
    return False, f"a program that guesses the format, as qemu-img does if it is not told, takes it for {probed}"


def _content(image: Untrusted) -> str:
    return listed(image.inspection.formats) if image.inspection.formats else "not known"


def _declared_and_found(image: Untrusted) -> str:
    return f"it is declared {quoted(image.declared_format)} and its content is {_content(image)}"


def _no_backing_file(image: Untrusted) -> tuple[bool, str]:
    return _tells_no(image, image.inspection.has_backing_file, "a backing file", _CAN_BE_BACKED)


def _no_data_file(image: Untrusted) -> tuple[bool, str]:
    return _tells_no(image, image.inspection.has_data_file, "an external data file", _CAN_HAVE_A_DATA_FILE)


def _tells_no(image: Untrusted, has: bool | None, what: str, can: frozenset[str]) -> tuple[bool, str]:
    """Not knowing is enough only where no format that was found can have such a thing."""
    able = bool(can & set(image.inspection.formats))
    return has is False or (has is None and not able), answered(has, f"it has {what}", f"it does not have {what}")


def _vmdk_subformat(image: Untrusted) -> tuple[bool, str]:
    if "vmdk" not in image.inspection.formats:
        return True, "it is not a VMDK"
    subformat = image.inspection.subformat
    return subformat is not None and subformat.lower() in _LOWER, f"its createType is {quoted(subformat)}"


def _partition_table_sound(image: Untrusted) -> tuple[bool, str]:
    bad = IS_PARTITION_TABLE & (image.inspection.failed_checks or frozenset())
    if not bad:
        return True, "its partition table is sound, or it has none"
    faults = partition_faults(image.inspection.partitions or ()) if image.inspection.partitions else ()
    text = f"its partition table is not sound: {'; '.join(faults) or f'the check {listed(sorted(bad))} failed'}"
    if image.declared_format in _BOOTED_WITHOUT_A_DISK:
        bad -= {"mbr"}
    if bad <= image.settings.nonfatal_checks:
        return True, f"{text}; that is allowed"
    return False, f"{text}; repair it, or allow it with gpt_safety_checks_nonfatal = {','.join(sorted(bad))}"


def _format_version(image: Untrusted) -> tuple[bool, str]:
    version = image.inspection.version
    if version is None or version in _VERSIONS:
        return True, "it is no qcow, or its version is not known" if version is None else f"its version is {version}"
    if version == 1:
        return False, "it is a qcow of version 1, the format before qcow2: convert it with `qemu-img convert -f qcow`"
    return False, f"it is a qcow2 of version {version}, and 2 and 3 are known"


def _features_known(image: Untrusted) -> tuple[bool, str]:
    features = image.inspection.features or frozenset()
    unknown = sorted(features - _USUAL_FEATURES - image.settings.qemu_features)
    if unknown:
        return False, f"it has features that the installed qemu-img is not known to read: {listed(unknown)}"
    return True, f"of the features that its readers must know, it has {listed(sorted(features))}"


def _checks_passed(image: Untrusted) -> tuple[bool, str]:
    checks, version, features = image.inspection.failed_checks, image.inspection.version, image.inspection.features
    if checks is None:
        return False, "the inspector's checks were not made"
    others = checks - IS_PARTITION_TABLE
    if version is not None and (version not in _VERSIONS or (features is not None and features - _USUAL_FEATURES)):
        others -= {"unknown_features"}  # the rules of versions and features say more
    return not others, f"of the inspector's other checks, {listed(sorted(others))} failed"


def _not_packed(image: Untrusted) -> tuple[bool, str]:
    packed = image.inspection.packed_as
    if packed is None or image.declared_format in _BOOTED_WITHOUT_A_DISK:
        return True, "it is not compressed, and no archive" if packed is None else "a kernel or ramdisk may be packed"
    program = _UNPACKED_WITH.get(packed, packed)
    return False, f"it is not a disk but {packed} data: unpack it first, as with `{program}`"


def _has_data(image: Untrusted) -> tuple[bool, str]:
    empty = image.inspection.virtual_size_bytes == 0
    return not empty, f"it is {'' if empty else 'not '}empty"


def _virtual_size_fits(image: Untrusted) -> tuple[bool, str]:
    size, room = image.inspection.virtual_size_bytes, image.size_gib
    if size is None:
        return False, "its virtual size is not known"
    if room is None:
        return True, f"its virtual size is {amount(size, 'byte')}, and it is for no volume in particular"
    return size <= room * GIB, f"its virtual size is {amount(size, 'byte')} and the volume has {room} GiB"


def _not_truncated(image: Untrusted) -> tuple[bool, str]:
    inspection, declared = image.inspection, image.declared_format or ""
    missing = inspection.missing_bytes
    if not _HAVE_TABLES & {SAME_NAME.get(declared, declared)} & set(inspection.formats):
        return True, "it is not read by tables of its own"
    others = len(inspection.formats) > 1 or not inspection.header_parses or inspection.version not in (None, *_VERSIONS)
    if missing is None and others:
        return True, "its tables are not read, because it is no sound image of one format"
    if missing is None:
        return False, "it is not known whether all data that its tables name is in the file"
    if missing:
        after = f"data up to {amount(missing, 'byte')} after its end"
        return False, f"the file was cut short: its tables name {after}; copy it again"
    return True, "all data that its tables name is in the file"


def _tables_sound(image: Untrusted) -> tuple[bool, str]:
    errors = image.inspection.corruptions
    if errors is None:
        return True, "qemu-img check was not asked"
    advice = "; copy the image again, or repair it" if errors else ""
    return not errors, f"qemu-img check finds {amount(errors, 'error')}{advice}"


# qemu-img refuses a VHDX or VDI with a parent, and of a VHD that is the difference to another it makes zeros.
_CAN_BE_BACKED = frozenset({"qcow2", "vmdk", "vhd"})
_CAN_HAVE_A_DATA_FILE = frozenset({"qcow2"})
_HAVE_TABLES = frozenset({"qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso"})
STRICT_SAFETY_RULES: tuple[Requirement[Untrusted], ...] = (
    Requirement(
        id="header-parses",
        text="its header can be read to its end and makes sense",
        source="CVE-2015-5162",
        holds=_header_parses,
    ),
    Requirement(
        id="one-format",
        text="its content is of one format, or it is an ISO that is also a disk and is declared an ISO",
        source="CVE-2024-32498",
        holds=_one_format,
    ),
    Requirement(
        id="content-as-declared",
        text="its content is what its disk_format says",
        source="CVE-2024-40767",
        holds=_content_as_declared,
    ),
    Requirement(
        id="luks-not-raw",
        text="it is not LUKS that is declared raw",
        source="CVE-2024-40767",
        holds=_luks_not_raw,
    ),
    Requirement(
        id="not-probed",
        text="no driver of qemu-img would take it for another format, also if it is unsound in that format",
        source="CVE-2024-32498, bdrv_probe",
        holds=_not_probed,
    ),
    Requirement(
        id="no-backing-file",
        text="it has no backing file",
        source="CVE-2015-1851",
        holds=_no_backing_file,
    ),
    Requirement(
        id="no-data-file",
        text="it has no external data file",
        source="CVE-2024-32498",
        holds=_no_data_file,
    ),
    Requirement(
        id="vmdk-subformat",
        text="a VMDK is streamOptimized or monolithicSparse",
        source="CVE-2022-47951",
        holds=_vmdk_subformat,
    ),
    Requirement(
        id="partition-table-sound",
        text="its MBR is sound, and a GPT has its own; or `gpt_safety_checks_nonfatal` names the check that failed",
        source="oslo.utils GPTInspector",
        holds=_partition_table_sound,
    ),
    Requirement(
        id="format-version",
        text="a qcow2 is of version 2 or 3",
        source="oslo.utils QcowInspector",
        holds=_format_version,
    ),
    Requirement(
        id="features-known",
        text="the installed qemu-img reads all that a qcow2 says its readers must know",
        source="oslo.utils QcowInspector",
        holds=_features_known,
    ),
    Requirement(
        id="checks-passed",
        text="the inspector's other checks were made and passed",
        source="oslo.utils format_inspector",
        holds=_checks_passed,
    ),
    Requirement(
        id="not-packed",
        text="it is neither compressed nor an archive, unless it is a kernel or a ramdisk",
        source="[store]",
        holds=_not_packed,
    ),
    Requirement(
        id="has-data",
        text="it is not empty",
        source="[store]",
        holds=_has_data,
    ),
    Requirement(
        id="virtual-size-fits",
        text="its virtual size is known, and fits the volume that it is for",
        source="[clone]",
        holds=_virtual_size_fits,
    ),
    Requirement(
        id="not-truncated",
        text="all data that its own tables name is in the file; qemu-img reads zeros for the rest",
        source="qemu-img map",
        holds=_not_truncated,
    ),
    Requirement(
        id="tables-sound",
        text="`qemu-img check` finds no error in a qcow2; leaked clusters are none",
        source="qemu-img check",
        holds=_tables_sound,
    ),
)
