"""What is copied, where to, with what, and what proves that a target reads as zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.errors import InvalidFact, InvalidSize

__all__ = [
    "QEMU_NAMES",
    "SECTOR_BYTES",
    "Cleared",
    "Copy",
    "CopySettings",
    "CopySource",
    "CopyTarget",
    "DriverGuarantee",
    "FreshThin",
    "LuksCipher",
    "RawStream",
    "ZeroProof",
    "can_be_read_in_ranges",
]

# What the inspectors and Glance call a format, and what qemu-img does.  Of what it reads these are all that an image
# may be: each of the others is a way to a network, to a directory or to another driver.
QEMU_NAMES: Mapping[str, str] = {
    **{name: name for name in ("raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc", "luks", "parallels")},
    "vhd": "vpc",
    "ploop": "parallels",
    "iso": "raw",
    "gpt": "raw",
}
_WRITTEN = ("raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc", "luks")
_COMPRESSED = ("qcow2",)
SECTOR_BYTES = 512  # qemu-img reads and writes whole ones: a raw file of 1000 bytes is one of 1024 to it


class CopyMethod(Enum):
    """How the bytes get to the target.

    `STREAM` copies the bytes as they are, `BLOCKS` copies the blocks that the
    source's own table names, with zeros between them, and `CONVERT` lets qemu-img make another format.
    """

    STREAM = "stream"
    BLOCKS = "blocks"
    CONVERT = "convert"


class ZeroHandling(Enum):
    """What becomes of the source's zeros.

    `SKIP` writes nothing, because the target is proven to read as zeros; `PUNCH` makes their ranges read as zeros
    without writing them, and reads back that they do; `WRITE` writes them.  qemu-img reads nothing back: under `PUNCH`
    its command writes the zeros too, if the target holds something already.
    """

    SKIP = "skip"
    PUNCH = "punch"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshThin:
    """Proof that a target reads as zeros: a thin volume that was just made, and that has not been written to.

    Args:
        path: of the target.
    """

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """Proof that a target reads as zeros: it was cleared, and read back.

    That a device or a kernel reports a range as cleared or discarded is no proof: the range can still hold old data.

    Args:
        path: of the target.
        size_bytes: how much of it, from its beginning.
    """

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverGuarantee:
    """Proof that a target reads as zeros: the driver of its backend promises it of every new volume.

    Args:
        path: of the target.
        driver: which one.
    """

    path: str
    driver: str


ZeroProof = FreshThin | Cleared | DriverGuarantee


@dataclass(frozen=True, slots=True, kw_only=True)
class LuksCipher:
    """How a LUKS target is encrypted, in qemu-img's words.

    Args:
        algorithm: such as `aes-256`.
        mode: such as `xts`.
        ivgen: such as `plain64`.
    """

    algorithm: str
    mode: str
    ivgen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySource:
    """Where the bytes come from.

    Args:
        path: a file or a device.
        format: as the inspection found it, in the inspectors', Glance's or qemu-img's words; never as it was declared.
        declared_format: the image's `disk_format`; Cinder names it to qemu-img, and nothing else here looks at it.
        size_bytes: the size of the stored data, in bytes.
        virtual_size_bytes: the size of the disk in it, in bytes.
        direct_io: whether it can be read past the page cache.
        key_file: the file with its LUKS passphrase.
        block_map: whether its own table was read that says where its data is, so that it can be read without qemu-img.

    Raises:
        InvalidSize: a size is negative.
    """

    path: str
    format: str | None = None
    declared_format: str | None = None
    size_bytes: int | None = None
    virtual_size_bytes: int | None = None
    direct_io: bool | None = None
    key_file: str | None = None
    block_map: bool = False

    def __post_init__(self) -> None:
        """Refuse what no source can be."""
        _not_negative("CopySource.size_bytes", self.size_bytes)
        _not_negative("CopySource.virtual_size_bytes", self.virtual_size_bytes)

    @property
    def disk_bytes(self) -> int | None:
        """How many bytes are written; of raw data exactly what is stored, which qemu-img rounds up."""
        if QEMU_NAMES.get(self.format or "") == "raw" and self.size_bytes is not None:
            return self.size_bytes
        return self.virtual_size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTarget:
    """Where the bytes go.

    Args:
        path: a device, a file, or a file yet to be made.
        format: the format that it gets.
        size_bytes: the size of the disk, in bytes; None for a file that is made, which becomes as large as its source.
        block_device: whether it is one.
        direct_io: whether it can be written past the page cache.
        can_punch: whether a range of it can be made to read as zeros without writing them.
        zero: why it is known to read as zeros; None if it is not known to.
        has_backing_file: whether what is not written to it is read from elsewhere.
        allocate: whether every byte is written, the zeros too (Cinder's `disable_sparse`).
        compress: whether it is compressed, if its format allows that.
        subformat: of its format, such as `streamOptimized`.
        key_file: the file with its new LUKS passphrase.
        cipher: the cipher that encrypts it; None for qemu-img's own choice.

    Raises:
        InvalidSize: its size is negative.
        InvalidFact: `zero` is no proof.
    """

    path: str
    format: str = "raw"
    size_bytes: int | None = None
    block_device: bool | None = None
    direct_io: bool | None = None
    can_punch: bool | None = None
    zero: ZeroProof | None = None
    has_backing_file: bool | None = None
    allocate: bool = False
    compress: bool = False
    subformat: str | None = None
    key_file: str | None = None
    cipher: LuksCipher | None = None

    def __post_init__(self) -> None:
        """Refuse what no target can be, and a mere yes where a proof belongs."""
        _not_negative("CopyTarget.size_bytes", self.size_bytes)
        if self.zero is not None and not isinstance(self.zero, ZeroProof):
            reason = f"{self.zero!r} is no proof; give a FreshThin, a Cleared or a DriverGuarantee"
            raise InvalidFact("CopyTarget.zero", reason)

    @property
    def exists(self) -> bool:
        """Whether it is there already, so that it must not be made again."""
        return self.size_bytes is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySettings:
    """What is installed, and what the operator allows of copies.

    Args:
        qemu_img: whether qemu-img is installed.
        conversion: whether formats may be converted (the opposite of Cinder's `image_conversion_disable`).
        prefix: what comes before each command, such as `cgexec` and its arguments.
        dd_blocksize: Cinder's `volume_dd_blocksize`.
    """

    qemu_img: bool = True
    conversion: bool = True
    prefix: tuple[str, ...] = ()
    dd_blocksize: str = "1M"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawStream:
    """Raw bytes that are written to a target as they come: what the rules about zeros look at if nothing is copied.

    Args:
        target: where they go.
    """

    target: CopyTarget

    @property
    def writes(self) -> str:
        """The format of what is written."""
        return "raw"

    @property
    def encrypts(self) -> bool:
        """Whether what is written is encrypted on the way."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What the rules look at."""

    source: CopySource
    target: CopyTarget
    settings: CopySettings

    @property
    def reads(self) -> str | None:
        """The source's format, in qemu-img's words."""
        return QEMU_NAMES.get(self.source.format or "")

    @property
    def writes(self) -> str | None:
        """The target's format, in qemu-img's words."""
        name = QEMU_NAMES.get(self.target.format)
        return name if name in _WRITTEN else None

    @property
    def keyed(self) -> bool:
        """Whether anything is decrypted or encrypted on the way."""
        return self.source.key_file is not None or self.target.key_file is not None

    @property
    def same_bytes(self) -> bool:
        """Whether the target will hold the same bytes as the source; ciphertext can stay as it is."""
        return self.reads == self.writes and self.reads in ("raw", "luks") and not self.keyed

    @property
    def encrypts(self) -> bool:
        """Whether what is written is encrypted on the way."""
        return self.writes == "luks" and not self.same_bytes

    @property
    def end_bytes(self) -> int | None:
        """Where the copy ends on the target."""
        stored = self.source.size_bytes if self.reads == "luks" and self.same_bytes else self.source.disk_bytes
        if stored is None or self.same_bytes:
            return stored
        return -(-stored // SECTOR_BYTES) * SECTOR_BYTES

    @property
    def compresses(self) -> bool:
        """Whether the target is wanted compressed and can be."""
        return self.target.compress and self.writes in _COMPRESSED

    @property
    def uploads(self) -> bool:
        """Whether, in Cinder's way, this is a volume on its way into an image."""
        return not self.target.exists and not self.keyed


def can_be_read_in_ranges(disk_format: str | None) -> bool:
    """Tell whether an image can be converted while it stays in Glance, which gives ranges of it.

    Its table must say where its data is, and qemu-img must find the same disk in it as the inspectors, without asking.

    >>> [can_be_read_in_ranges(disk_format) for disk_format in ("qcow2", "vmdk", "raw", None)]
    [True, False, False, False]
    """
    return disk_format == "qcow2"


def _not_negative(name: str, value: int | None) -> None:
    if value is not None and value < 0:
        raise InvalidSize(name, value, "give a size of 0 or more, or None where it is not known")
