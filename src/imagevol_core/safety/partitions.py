"""What is wrong with the partition table that a disk begins with, in sentences.

Whether it matters, `check_image_safety` says: oslo.utils' check `mbr` fails for exactly these faults.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["PartitionEntry", "partition_faults"]

_BOOT_FLAGS = (0x00, 0x80)
_PROTECTIVE = 0xEE  # the type of the entry that stands for a whole GPT
_START = (0, 0, 2)  # where that begins, as cylinder, head and sector
_START_LBA = 1  # and as the number of the sector


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionEntry:
    """One of the four entries of an MBR.

    Args:
        boot: its boot flag.
        kind: its type; 0 if it is unused.
        start: where the partition begins, as cylinder, head and sector.
        start_lba: where the partition begins, as the number of the sector.
    """

    boot: int
    kind: int
    start: tuple[int, int, int]
    start_lba: int


def partition_faults(entries: Sequence[PartitionEntry]) -> tuple[str, ...]:
    """Say what is wrong with an MBR, a sentence for each fault; nothing if it is sound.

    Sound is what UEFI calls the protective MBR of a GPT, or a plain MBR with valid boot flags and a partition.

    Args:
        entries: the four, in their order.

    >>> unused = PartitionEntry(boot=0, kind=0, start=(0, 0, 0), start_lba=0)
    >>> linux = PartitionEntry(boot=0x80, kind=0x83, start=(0, 32, 33), start_lba=2048)
    >>> partition_faults([linux, unused, unused, unused])
    ()
    >>> partition_faults([unused] * 4)
    ('it defines no partition',)
    """
    return tuple(_faults(entries))


def _faults(entries: Sequence[PartitionEntry]) -> Iterable[str]:
    used = [number for number, entry in enumerate(entries, 1) if entry.kind]
    protective = [number for number, entry in enumerate(entries, 1) if entry.kind == _PROTECTIVE]
    for number, entry in enumerate(entries, 1):
        if entry.boot not in _BOOT_FLAGS:
            yield f"entry {number} has the boot flag 0x{entry.boot:02x}, which must be 0x00 or 0x80"
        if entry.kind == _PROTECTIVE and entry.start != _START:
            yield f"entry {number} of type 0xee begins at C/H/S {_chs(entry.start)}, not {_chs(_START)}"
        if entry.kind == _PROTECTIVE and entry.start_lba != _START_LBA:
            yield f"entry {number} of type 0xee begins at sector {entry.start_lba}, not {_START_LBA}"
    if protective and 1 not in protective:
        yield f"the entry of type 0xee is number {protective[0]}, not 1"
    if protective:
        yield from (
            f"entry {number} of type 0x{entries[number - 1].kind:02x} stands beside the one of a GPT, type 0xee"
            for number in used
            if number != protective[0]
        )
    if not used:
        yield "it defines no partition"


def _chs(start: tuple[int, int, int]) -> str:
    return "/".join(map(str, start))
