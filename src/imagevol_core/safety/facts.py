"""What was found in an untrusted image, and what the rules about it look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagevol_core.errors import InvalidSize
from imagevol_core.safety.partitions import PartitionEntry

__all__ = ["SAME_NAME", "CinderInspection", "Inspection", "SafetySettings", "Untrusted"]

SAME_NAME: Mapping[str, str] = {"vpc": "vhd"}  # qemu-img's, where all others have another


@dataclass(frozen=True, slots=True, kw_only=True)
class CinderInspection:
    """What Cinder finds in an image before it copies it: with its own format inspector, and then with qemu-img.

    Args:
        format: what the inspector takes it for: `qcow2`, `vhd`, `vhdx`, `vmdk`, `vdi` or `qed`; `raw` for anything that
            it does not know or cannot read to the end.
        safe: whether the inspector finds it safe; None if it cannot read the descriptor of a VMDK, and fails.
        opens: whether qemu-img opens it as that format; None if qemu-img was not asked.
        virtual_size_bytes: what qemu-img says of its size as a disk, if that is known: of raw, the length of the file.

    Raises:
        InvalidSize: the size is negative.
    """

    format: str
    safe: bool | None
    opens: bool | None = None
    virtual_size_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no image can be."""
        if self.virtual_size_bytes is not None and self.virtual_size_bytes < 0:
            raise InvalidSize("CinderInspection.virtual_size_bytes", self.virtual_size_bytes, "give 0 or more, or None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found in an image without trusting it.

    oslo.utils' format inspector tells the formats, the header, the checks and, of qcow2, the backing and the data file;
    `qemu-img info -f FORMAT --output=json` the virtual size, the files and the subformat.  Either may fill it alone;
    what neither said is None.

    Args:
        formats: each one that the content matches, by the inspectors' names, `raw` where it matches none; empty if no
            inspection was made.
        header_parses: whether the header could be read to its end and made sense.
        virtual_size_bytes: as a disk; of a raw image the length of the file, which an inspector that saw enough and
            stopped does not tell.
        has_backing_file: whether it reads from another file what it does not hold.
        has_data_file: whether its data is in another file.
        subformat: of a VMDK, its `createType`; of a VHD, `fixed` if it is a disk with a footer after it, which Cinder's
            inspector takes for raw.
        text_only: of a VMDK, whether it is a descriptor without the header of a sparse extent; Cinder's inspector does
            not know those.
        failed_checks: which other checks of the inspector failed, by their names (`mbr`, `unknown_features`, `footer`,
            `banned`, …); None if none were made.
        missing_bytes: how much of the data that its own tables name lies after the end of the file; 0 if the file is
            whole; None if the tables were not read, or cannot be.
        corruptions: how many errors `qemu-img check` finds in a qcow2; None if it was not asked.
        partitions: the four entries of the MBR that it begins with, if it begins with one.
        version: of a qcow2, as its header says.
        features: of a qcow2, the names of the features that its readers must know: `dirty`, `corrupt`, `data_file`,
            `compression_type`, `extended_l2`, and `bit 7` for one that has no name here.
        packed_as: what must be decompressed or unpacked before there is a disk: `gzip`, `xz`, `zstd`, `bzip2`, `lz4`,
            `zip`, `7z` or `tar`; None if it looks like none of these.
        probed_as: what qemu-img would take it for if it were not told the format, by the inspectors' name if there is
            one; None if it would take it for raw.  Unlike `formats`, the file may be unsound.
        cinder: what Cinder itself finds in it, by which `UPSTREAM` decides; None if that is not known, and then
            `UPSTREAM` decides by what is known of `formats`.

    Raises:
        InvalidSize: a size or number is negative.
    """

    formats: tuple[str, ...] = ()
    header_parses: bool | None = None
    virtual_size_bytes: int | None = None
    has_backing_file: bool | None = None
    has_data_file: bool | None = None
    subformat: str | None = None
    text_only: bool | None = None
    failed_checks: frozenset[str] | None = None
    missing_bytes: int | None = None
    corruptions: int | None = None
    partitions: tuple[PartitionEntry, ...] | None = None
    version: int | None = None
    features: frozenset[str] | None = None
    packed_as: str | None = None
    probed_as: str | None = None
    cinder: CinderInspection | None = None

    def __post_init__(self) -> None:
        """Refuse what no image can be; give each format one name, once, in one order."""
        for name in ("virtual_size_bytes", "missing_bytes", "corruptions"):
            value: int | None = getattr(self, name)
            if value is not None and value < 0:
                raise InvalidSize(f"Inspection.{name}", value, "give 0 or more, or None")
        formats = tuple(sorted({SAME_NAME.get(name, name) for name in self.formats}))
        object.__setattr__(self, "formats", formats)
        if self.failed_checks is not None:
            object.__setattr__(self, "failed_checks", frozenset(self.failed_checks))
        if self.features is not None:
            object.__setattr__(self, "features", frozenset(self.features))


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySettings:
    """What the operator allows, and what this host can read.

    Args:
        nonfatal_checks: which checks of a partition table may fail, as Glance's `gpt_safety_checks_nonfatal`: `mbr`
            and `gptmbr`.  As in Glance, `mbr` never refuses a kernel or a ramdisk (`aki`, `ari`).
        qemu_features: which features of qcow2 the installed qemu-img reads beyond those that all do: `extended_l2`.
    """

    nonfatal_checks: frozenset[str] = frozenset()
    qemu_features: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrusted:
    """What the rules look at."""

    inspection: Inspection
    declared_format: str | None
    size_gib: int | None
    settings: SafetySettings
