"""Transfers of mixed sizes by several workers at once, while calls go wrong and one worker is killed."""

from __future__ import annotations

from pathlib import Path

from tests.faults.load.memory import memory_site
from tests.faults.load.run import Load, Size

SEED = 18
SIZE = Size(
    transfers=14, workers=4, processes=2, volumes=12, sources=5, least=60_000, most=3 << 20, killed_within_seconds=0.1
)


def test_every_digest_is_right_and_nothing_is_left_after_a_load_with_faults(tmp_path: Path) -> None:
    (tmp_path / "cloud").mkdir()
    with memory_site(tmp_path / "cloud", seed=SEED, rate=0.02) as site:
        result = Load(site, SEED, SIZE, tmp_path).run()
    assert result.problems == []
    assert sum(outcomes["whole"] for outcomes in result.outcomes.values()) == SIZE.transfers
    assert result.storm == {"available": SIZE.volumes}
    assert (result.figures["locks held"], result.left) == (0, [])
    before, after = result.gauges["a worker"]
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads
