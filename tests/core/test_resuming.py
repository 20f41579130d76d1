"""A transfer goes on where it was stopped if, and only if, it is certain that the rest belongs to what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import Digest, Policy
from imagevol_core.resuming import (
    BrokenRead,
    KeptPart,
    PartialOutcome,
    ReadImage,
    decide_partial,
    decide_read_retry,
)

ONE, OTHER = Digest("md5", "8d777f385d3dfec8815d20f7496026dc"), Digest("md5", "0" * 32)
IMAGE = ReadImage(source="volume 7ad3", size_bytes=4, digest=ONE)
KEPT = KeptPart(image=IMAGE)
BROKEN = BrokenRead(failures=1, waited_seconds=0)


class TestRetry:
    @pytest.mark.parametrize(
        "broken, again, reason",
        [
            (BROKEN, True, "the connection broke"),
            (replace(BROKEN, status=503), True, "the service answered 503"),
            (replace(BROKEN, status=500, ranges=True), True, "the service answered 500"),
            *((replace(BROKEN, status=status), True, f"the service answered {status}") for status in (408, 425, 429)),
            *((replace(BROKEN, status=status), False, f"the service answered {status}") for status in (400, 404, 499)),
            (replace(BROKEN, ranges=False), False, "the service gives no part of the data"),
            (
                replace(BROKEN, failures=12, waited_seconds=300),
                False,
                "no data came for 300 seconds, in 12 attempts",
            ),
            (replace(BROKEN, waited_seconds=299.9), True, "the connection broke"),
            (replace(BROKEN, status=503, retry_after_seconds=301), False, "the service asks to wait 301 s"),
            (replace(BROKEN, status=503, retry_after_seconds=300), True, "the service asks to wait 300 s"),
            (replace(BROKEN, begun=False), False, "the connection broke, before any data came"),
            (replace(BROKEN, begun=False, status=503, retry_after_seconds=1), True, "the service asks to wait 1 s"),
        ],
    )
    def test_what_passes_is_asked_for_again_and_a_refusal_is_not(
        self, broken: BrokenRead, again: bool, reason: str
    ) -> None:
        decision = decide_read_retry(broken)
        assert (decision.again, decision.reason) == (again, reason)
        assert again or decision.wait_seconds == 0

    def test_the_pauses_grow_to_half_a_minute(self) -> None:
        pauses = [decide_read_retry(replace(BROKEN, failures=failures)).wait_seconds for failures in range(1, 10)]
        assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
        assert decide_read_retry(replace(BROKEN, failures=10**9)).wait_seconds == 30

    @pytest.mark.parametrize("seconds", [0.0, 7.5, 120.0])
    def test_the_service_says_how_long_to_wait(self, seconds: float) -> None:
        assert decide_read_retry(replace(BROKEN, status=503, retry_after_seconds=seconds)).wait_seconds == seconds

    @given(
        st.builds(
            BrokenRead,
            begun=st.booleans(),
            failures=st.integers(1, 100),
            waited_seconds=st.floats(0, 1000),
            status=st.none() | st.integers(100, 599),
            retry_after_seconds=st.none() | st.floats(0, 1000),
            ranges=st.none() | st.booleans(),
        )
    )
    def test_it_never_waits_longer_than_its_patience_or_half_a_minute(self, broken: BrokenRead) -> None:
        decision = decide_read_retry(broken)
        assert 0 <= decision.wait_seconds <= max(30, broken.patience_seconds - broken.waited_seconds)
        assert not (decision.again and broken.ranges is False)
        assert not (decision.again and broken.waited_seconds >= broken.patience_seconds)

    def test_glanceclient_never_asks_again(self) -> None:
        assert not decide_read_retry(BROKEN, policy=Policy.UPSTREAM).again


class TestPartial:
    @pytest.mark.parametrize(
        "image, kept, outcome, reason",
        [
            (IMAGE, KEPT, PartialOutcome.GO_ON, "an earlier command kept a part of the same image"),
            (IMAGE, None, PartialOutcome.BEGIN, "nothing is kept"),
            (
                IMAGE,
                replace(KEPT, private=False),
                PartialOutcome.REFUSE,
                "another user owns what is kept, or can write to it",
            ),
            (
                replace(IMAGE, digest=None),
                None,
                PartialOutcome.DO_WITHOUT,
                "volume 7ad3 records no digest, so that a part of it cannot be verified",
            ),
            (IMAGE, replace(KEPT, image=None), PartialOutcome.BEGIN_ANEW, "the journal does not say what was read"),
            (
                replace(IMAGE, source="volume 8b"),
                KEPT,
                PartialOutcome.BEGIN_ANEW,
                "volume 7ad3 was read before, and not volume 8b",
            ),
            (
                replace(IMAGE, size_bytes=5),
                KEPT,
                PartialOutcome.BEGIN_ANEW,
                "volume 7ad3 had 4 bytes, and now has 5",
            ),
            (
                replace(IMAGE, digest=OTHER),
                KEPT,
                PartialOutcome.BEGIN_ANEW,
                "volume 7ad3 has another digest than before",
            ),
            (
                IMAGE,
                replace(KEPT, there=False),
                PartialOutcome.BEGIN_ANEW,
                "the file that was kept is gone, or is another one",
            ),
        ],
    )
    def test_only_a_private_part_of_the_same_image_is_gone_on_with(
        self, image: ReadImage, kept: KeptPart | None, outcome: PartialOutcome, reason: str
    ) -> None:
        decision = decide_partial(image, kept)
        assert (decision.outcome, decision.reason) == (outcome, reason)

    def test_every_rule_says_in_a_sentence_why_it_does_not_apply(self) -> None:
        assert [verdict.text for verdict in decide_partial(IMAGE, KEPT).verdicts] == [
            "no other user can write to what is kept",
            "volume 7ad3 records a digest",
            "an earlier command kept a part",
            "volume 7ad3 has the digest that it had before",
            "the file that was kept is there",
            "an earlier command kept a part of the same image",
        ]

    def test_glanceclient_keeps_nothing(self) -> None:
        assert decide_partial(IMAGE, KEPT, policy=Policy.UPSTREAM).outcome is PartialOutcome.DO_WITHOUT
