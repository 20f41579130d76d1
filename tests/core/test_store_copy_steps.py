"""How a copy is verified depends on when it was made: Glance compares what it writes, and not what is there."""

from __future__ import annotations

from dataclasses import replace

from imagevol_core import plan_store_copy
from imagevol_core.store_copies import StoreCopyStep, StoreCopyWay
from tests.core.test_store_copies import IMPORTED


def test_what_glance_writes_now_is_compared_and_not_read() -> None:
    plan = plan_store_copy(replace(IMPORTED, move=True))
    assert plan.steps == (StoreCopyStep.IMPORT, StoreCopyStep.COMPARE, StoreCopyStep.REMOVE)


def test_what_glance_wrote_in_an_earlier_run_is_read() -> None:
    there = replace(IMPORTED, stores=("fast", "slow"), move=True, from_store="fast", made=StoreCopyWay.IMPORT)
    assert plan_store_copy(there).steps == (StoreCopyStep.READ, StoreCopyStep.REMOVE)
