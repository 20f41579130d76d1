"""On how many examples each comparison is tried: 2,000, or as many as a greater Hypothesis profile says."""

from __future__ import annotations

from hypothesis import settings

EXAMPLES = settings(max_examples=max(2_000, settings().max_examples))
