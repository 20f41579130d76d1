"""Which untrusted images are refused before qemu-img reads them for their data.

An image is written by whoever uploads it.  Some formats name other files, and qemu-img opens those too; some files are
of two formats at once, so that what was checked is not what is read (CVE-2022-47951, CVE-2024-32498).  What the
inspection could not tell is never taken for safe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from imagevol_core.errors import InvalidSize
from imagevol_core.sentences import listed, quoted, yes_no
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Policy, Rule, Verdict, evaluate, failed

__all__ = ["SAFETY_RULES", "Inspection", "SafetyDecision", "check_image_safety"]

_VMDK_SUBFORMATS = ("streamOptimized", "monolithicSparse")  # one file each, which names no other
_LOWER = frozenset(name.lower() for name in _VMDK_SUBFORMATS)  # as oslo.utils gives them

# Which content a declared format must have.  A partition table is what a raw disk has; others must not hide in it.
_CONTENT: Mapping[str, frozenset[str]] = {
    **{name: frozenset({name}) for name in ("qcow2", "vmdk", "vdi", "vhd", "vhdx", "luks")},
    **{name: frozenset({"raw", "gpt"}) for name in ("raw", "ami", "ari", "aki")},
    "iso": frozenset({"iso"}),
}
_SAME_NAME: Mapping[str, str] = {"vpc": "vhd"}  # qemu-img's, where all others have another
_IS_PARTITION_TABLE = "mbr"  # oslo.utils' name of its check


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found in an image without trusting it.

    oslo.utils' format inspector tells the formats, the header, the checks and, of qcow2, the backing and the data file;
    `qemu-img info -f FORMAT --output=json` the virtual size, the files and the subformat.  Either may fill it alone;
    what neither said is None.

    Args:
        formats: each one that the content matches, by the inspectors' names, `raw` where it matches none; empty when no
            inspection was made.
        header_parses: whether the header could be read to its end and made sense.
        virtual_size_bytes: as a disk; of a raw image the length of the file, which an inspector that saw enough and
            stopped does not tell.
        has_backing_file: whether it reads from another file what it does not hold.
        has_data_file: whether its data are in another file.
        subformat: of a VMDK, its `createType`.
        text_only: of a VMDK, whether it is a descriptor without the header of a sparse extent; Cinder's inspector does
            not know those.
        failed_checks: which other checks of the inspector failed, by their names (`mbr`, `unknown_features`, `footer`,
            `banned`, …); None when none were made.

    Raises:
        InvalidSize: the size is negative.
    """

    formats: tuple[str, ...] = ()
    header_parses: bool | None = None
    virtual_size_bytes: int | None = None
    has_backing_file: bool | None = None
    has_data_file: bool | None = None
    subformat: str | None = None
    text_only: bool | None = None
    failed_checks: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Refuse what no image can be; give each format one name, once, in one order."""
        if self.virtual_size_bytes is not None and self.virtual_size_bytes < 0:
            raise InvalidSize("Inspection.virtual_size_bytes", self.virtual_size_bytes, "give 0 or more, or None")
        formats = tuple(sorted({_SAME_NAME.get(name, name) for name in self.formats}))
        object.__setattr__(self, "formats", formats)
        if self.failed_checks is not None:
            object.__setattr__(self, "failed_checks", frozenset(self.failed_checks))


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyDecision:
    """Whether an image may be given to qemu-img, and written to a volume.

    Attributes:
        policy: whose rules decided.
        safe: whether nothing stands in the way.
        verdicts: what each rule said.
    """

    policy: Policy
    safe: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Untrusted:
    """What the rules look at."""

    inspection: Inspection
    declared_format: str | None
    size_gib: int | None


def check_image_safety(
    inspection: Inspection,
    *,
    declared_format: str | None,
    size_gib: int | None = None,
    policy: Policy = Policy.STRICT,
) -> SafetyDecision:
    """Say whether an untrusted image may be read by qemu-img and written to a volume.

    Args:
        inspection: what was found in it.
        declared_format: its `disk_format`, as Glance says.
        size_gib: the size of the volume that it is for; None when it is for none in particular, and need fit nothing.
        policy: whose rules.  Under `UPSTREAM`, the checks of Cinder 29.0.0 on the way to a volume (`qemu_img_info`,
            `fetch_to_volume_format`, `check_image_format`), the first failed one of which ends it there.

    Returns:
        The answer, and what each rule said.

    >>> qcow2 = Inspection(formats=("qcow2",), header_parses=True, virtual_size_bytes=2**30, has_backing_file=False,
    ...                    has_data_file=True, failed_checks=frozenset())
    >>> decision = check_image_safety(qcow2, declared_format="raw", size_gib=1)
    >>> decision.safe
    False
    >>> [verdict.rule for verdict in decision.verdicts if not verdict.passed]
    ['content-as-declared', 'no-data-file']
    """
    image = _Untrusted(inspection=inspection, declared_format=declared_format, size_gib=size_gib)
    verdicts = evaluate(SAFETY_RULES[policy], image)
    return SafetyDecision(policy=policy, safe=not failed(verdicts), verdicts=verdicts)


def _header_parses(image: _Untrusted) -> tuple[bool, str]:
    parses = image.inspection.header_parses
    return parses is True, f"whether its header parses: {yes_no(parses)}"


def _one_format(image: _Untrusted) -> tuple[bool, str]:
    formats = set(image.inspection.formats)
    hybrid = formats == {"iso", "gpt"} and image.declared_format == "iso"  # as an ISO for USB sticks is made
    return len(formats) == 1 or hybrid, f"its content is {_content(image)}"


def _content_as_declared(image: _Untrusted) -> tuple[bool, str]:
    declared, formats = image.declared_format or "", image.inspection.formats
    wanted = _CONTENT.get(_SAME_NAME.get(declared, declared), frozenset())
    if "luks" in formats and declared == "raw":
        wanted = frozenset(formats)  # luks-not-raw says that
    return bool(wanted & set(formats)), _declared_and_found(image)


def _luks_not_raw(image: _Untrusted) -> tuple[bool, str]:
    hidden = image.declared_format == "raw" and "luks" in image.inspection.formats
    return not hidden, _declared_and_found(image)


def _content(image: _Untrusted) -> str:
    return listed(image.inspection.formats) if image.inspection.formats else "not known"


def _declared_and_found(image: _Untrusted) -> str:
    return f"it is declared {quoted(image.declared_format)} and its content is {_content(image)}"


def _no_backing_file(image: _Untrusted) -> tuple[bool, str]:
    return _tells_no(image, image.inspection.has_backing_file, "a backing file", _CAN_BE_BACKED)


def _no_data_file(image: _Untrusted) -> tuple[bool, str]:
    return _tells_no(image, image.inspection.has_data_file, "an external data file", _CAN_HAVE_A_DATA_FILE)


def _tells_no(image: _Untrusted, has: bool | None, what: str, can: frozenset[str]) -> tuple[bool, str]:
    """Not knowing is enough only where no format that was found can have such a thing."""
    able = bool(can & set(image.inspection.formats))
    return has is False or (has is None and not able), f"whether it has {what}: {yes_no(has)}"


def _vmdk_subformat(image: _Untrusted) -> tuple[bool, str]:
    if "vmdk" not in image.inspection.formats:
        return True, "it is not a VMDK"
    subformat = image.inspection.subformat
    return subformat is not None and subformat.lower() in _LOWER, f"its createType is {quoted(subformat)}"


def _partition_table_sound(image: _Untrusted) -> tuple[bool, str]:
    bad = _IS_PARTITION_TABLE in (image.inspection.failed_checks or ())
    return not bad, f"its MBR is {'not ' if bad else ''}the one that a GPT has, or it has no GPT"


def _checks_passed(image: _Untrusted) -> tuple[bool, str]:
    checks = image.inspection.failed_checks
    if checks is None:
        return False, "the inspector's checks were not made"
    others = sorted(checks - {_IS_PARTITION_TABLE})
    return not others, f"of the inspector's other checks, {listed(others)} failed"


def _virtual_size_fits(image: _Untrusted) -> tuple[bool, str]:
    size, room = image.inspection.virtual_size_bytes, image.size_gib
    if size is None:
        return False, "its virtual size is not known"
    if room is None:
        return True, f"its virtual size is {size} bytes, and it is for no volume in particular"
    return size <= room * GIB, f"its virtual size is {size} bytes and the volume has {room} GiB"


# What Cinder 29.0.0 checks instead: whichever fails first is the error that it raises.


def _inspector_upstream(image: _Untrusted) -> tuple[bool, str]:
    inspection, content = image.inspection, _content_upstream(image)
    other = (inspection.failed_checks or frozenset()) - {_IS_PARTITION_TABLE}
    linked = content == "qcow2" and (inspection.has_backing_file is True or inspection.has_data_file is True)
    unsafe = linked or content == "qed" or (content in ("qcow2", "vmdk") and bool(other))
    return not unsafe, f"Cinder's inspector finds {quoted(content)}, {'un' if unsafe else ''}safe"


def _name_upstream(image: _Untrusted) -> tuple[bool, str]:
    bad = _content_upstream(image) == "vhd"
    return not bad, "Cinder fails with a ProcessExecutionError: qemu-img has no `vhd`" if bad else "qemu-img knows it"


def _virtual_size_upstream(image: _Untrusted) -> tuple[bool, str]:
    size, room = image.inspection.virtual_size_bytes, image.size_gib
    if room is None:
        return True, "Cinder looks at no size where it is given none"
    if size is None:
        return False, "Cinder fails with a TypeError where there is no virtual size"
    try:
        least = math.ceil(float(size) / GIB)
    except OverflowError:
        return False, "Cinder fails with an OverflowError where the virtual size is too large for a float"
    return least <= room, f"Cinder counts {least} GiB for the image and the volume has {room} GiB"


def _no_backing_file_upstream(image: _Untrusted) -> tuple[bool, str]:
    has = image.inspection.has_backing_file
    return has is not True, f"whether it has a backing file: {yes_no(has)}"


def _as_declared_upstream(image: _Untrusted) -> tuple[bool, str]:
    declared, content = image.declared_format, _content_upstream(image)
    named = "raw" if declared == "iso" else declared  # what else it renames, its inspector finds in nothing
    agrees = named is None or named.lower() == "ami" or named == content
    return agrees, f"it is declared {quoted(declared)} and Cinder's inspector finds {quoted(content)}"


def _no_data_file_upstream(image: _Untrusted) -> tuple[bool, str]:
    has = image.inspection.has_data_file
    return _content_upstream(image) != "qcow2" or has is False, f"whether it has an external data file: {yes_no(has)}"


def _vmdk_subformat_upstream(image: _Untrusted) -> tuple[bool, str]:
    subformat = image.inspection.subformat
    good = _content_upstream(image) != "vmdk" or subformat in _VMDK_SUBFORMATS
    return good, f"its createType is {quoted(subformat)}"


def _content_upstream(image: _Untrusted) -> str:
    """What Cinder's own inspector makes of it: it knows no partition table, no ISO, no LUKS, no VMDK of text alone."""
    known = [name for name in _KNOWN_UPSTREAM if name in image.inspection.formats]
    return "raw" if not known or (known == ["vmdk"] and image.inspection.text_only is True) else known[0]


# qemu-img refuses a VHDX or VDI with a parent, and of a VHD that is the difference to another it makes zeros.
_CAN_BE_BACKED = frozenset({"qcow2", "vmdk", "vhd"})
_CAN_HAVE_A_DATA_FILE = frozenset({"qcow2"})
_KNOWN_UPSTREAM = ("qcow2", "vhd", "vhdx", "vmdk", "vdi", "qed")

_INFO = "cinder image_utils.qemu_img_info"
_FETCH = "cinder image_utils.fetch_to_volume_format"

SAFETY_RULES: Mapping[Policy, tuple[Rule[_Untrusted], ...]] = {
    Policy.STRICT: (
        Rule(
            id="header-parses",
            text="its header can be read to its end and makes sense",
            source="CVE-2015-5162",
            predicate=_header_parses,
        ),
        Rule(
            id="one-format",
            text="its content is of one format, or it is an ISO that is also a disk and is declared an ISO",
            source="CVE-2024-32498",
            predicate=_one_format,
        ),
        Rule(
            id="content-as-declared",
            text="its content is what its disk_format says",
            source="CVE-2024-40767",
            predicate=_content_as_declared,
        ),
        Rule(
            id="luks-not-raw",
            text="it is not LUKS that is declared raw",
            source="CVE-2024-40767",
            predicate=_luks_not_raw,
        ),
        Rule(
            id="no-backing-file",
            text="it has no backing file",
            source="CVE-2015-1851",
            predicate=_no_backing_file,
        ),
        Rule(
            id="no-data-file",
            text="it has no external data file",
            source="CVE-2024-32498",
            predicate=_no_data_file,
        ),
        Rule(
            id="vmdk-subformat",
            text="a VMDK is streamOptimized or monolithicSparse",
            source="CVE-2022-47951",
            predicate=_vmdk_subformat,
        ),
        Rule(
            id="partition-table-sound",
            text="a GPT has the MBR that belongs to it, and no other",
            source="oslo.utils GPTInspector",
            predicate=_partition_table_sound,
        ),
        Rule(
            id="checks-passed",
            text="the inspector's other checks were made and passed",
            source="oslo.utils format_inspector",
            predicate=_checks_passed,
        ),
        Rule(
            id="virtual-size-fits",
            text="its virtual size is known, and fits the volume that it is for",
            source="[clone]",
            predicate=_virtual_size_fits,
        ),
    ),
    Policy.UPSTREAM: (
        Rule(
            id="inspector-safe",
            text="Cinder's inspector finds it safe",
            source=_INFO,
            predicate=_inspector_upstream,
            gate=True,
        ),
        Rule(
            id="inspector-name",
            text="qemu-img knows the format by the inspector's name",
            source=_INFO,
            predicate=_name_upstream,
            gate=True,
        ),
        Rule(
            id="virtual-size-fits",
            text="its virtual size fits, rounded through a float",
            source="cinder image_utils.check_virtual_size",
            predicate=_virtual_size_upstream,
        ),
        Rule(
            id="no-backing-file",
            text="qemu-img names no backing file",
            source=_FETCH,
            predicate=_no_backing_file_upstream,
        ),
        Rule(
            id="content-as-declared",
            text="the format is what disk_format says, or that is `ami`",
            source="cinder image_utils.check_image_format",
            predicate=_as_declared_upstream,
        ),
        Rule(
            id="vmdk-subformat",
            text="a VMDK is of one of `vmdk_allowed_types`",
            source="cinder image_utils.check_vmdk_image",
            predicate=_vmdk_subformat_upstream,
        ),
        Rule(
            id="no-data-file",
            text="qemu-img tells of a qcow2 that it has no data file",
            source="cinder image_utils.check_qcow2_image",
            predicate=_no_data_file_upstream,
        ),
    ),
}
