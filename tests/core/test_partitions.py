"""What is wrong with a partition table is said for each fault, with the numbers that are wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagevol_core import PartitionEntry, partition_faults

UNUSED = PartitionEntry(boot=0, kind=0, start=(0, 0, 0), start_lba=0)
PROTECTIVE = PartitionEntry(boot=0, kind=0xEE, start=(0, 0, 2), start_lba=1)
LINUX = PartitionEntry(boot=0x80, kind=0x83, start=(0, 32, 33), start_lba=2048)


@pytest.mark.parametrize("entries", [[PROTECTIVE], [LINUX], [UNUSED, LINUX], [LINUX, LINUX, LINUX, LINUX]])
def test_a_sound_partition_table_has_no_fault(entries: list[PartitionEntry]) -> None:
    assert partition_faults((entries + [UNUSED] * 4)[:4]) == ()


@pytest.mark.parametrize(
    "entries, faults",
    [
        ([UNUSED], ("it defines no partition",)),
        (
            [LINUX, replace(LINUX, boot=0x7F)],
            ("entry 2 has the boot flag 0x7f, which must be 0x00 or 0x80",),
        ),
        (
            [replace(PROTECTIVE, start=(0, 0, 1))],
            ("entry 1 of type 0xee begins at C/H/S 0/0/1, not 0/0/2",),
        ),
        ([replace(PROTECTIVE, start_lba=63)], ("entry 1 of type 0xee begins at sector 63, not 1",)),
        ([UNUSED, PROTECTIVE], ("the entry of type 0xee is number 2, not 1",)),
        (
            [LINUX, PROTECTIVE],
            (
                "the entry of type 0xee is number 2, not 1",
                "entry 1 of type 0x83 stands beside the one of a GPT, type 0xee",
            ),
        ),
        (
            [PROTECTIVE, LINUX, UNUSED, PROTECTIVE],
            (
                "entry 2 of type 0x83 stands beside the one of a GPT, type 0xee",
                "entry 4 of type 0xee stands beside the one of a GPT, type 0xee",
            ),
        ),
    ],
)
def test_each_fault_of_a_partition_table_has_its_sentence(
    entries: list[PartitionEntry], faults: tuple[str, ...]
) -> None:
    assert partition_faults((entries + [UNUSED] * 4)[:4]) == faults
