"""On how many examples each comparison is tried: 200, or four times as many as a greater Hypothesis profile says.

Half of them do where the facts are few, and twice as many are needed where a kind of answer is rare: the tests count
each kind.
"""

from __future__ import annotations

from hypothesis import settings

EXAMPLES = settings(
    max_examples=4 * max(50, settings().max_examples),
    derandomize=settings().max_examples <= 100,  # new ones are for the session `property` to find
)
FEWER = settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 2)
MORE = settings(EXAMPLES, max_examples=EXAMPLES.max_examples * 2)
