"""On how many examples each comparison is tried: 2,000, or as many as a greater Hypothesis profile says.

Half of them do where the facts are few, and each kind of answer is drawn often: the tests count them.
"""

from __future__ import annotations

from hypothesis import settings

EXAMPLES = settings(max_examples=max(2_000, settings().max_examples))
FEWER = settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 2)
