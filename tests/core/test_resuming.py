"""A transfer goes on where it was stopped if, and only if, it is certain that the rest belongs to what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import Digest, HolderState, Image, ImageLocation, Policy, Volume, VolumeOrigin
from imagevol_core.remains import JOURNAL_KEY
from imagevol_core.resuming import (
    BrokenRead,
    KeptPart,
    LeftVolume,
    PartialOutcome,
    ReadImage,
    Registration,
    decide_partial,
    decide_read_retry,
    decide_registration,
    decide_taking_up,
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
                "no data came for 5 minutes, in 12 attempts",
            ),
            (replace(BROKEN, waited_seconds=299.9), True, "the connection broke"),
            (replace(BROKEN, status=503, retry_after_seconds=301), False, "the service asks to wait 5 minutes"),
            (replace(BROKEN, status=503, retry_after_seconds=300), True, "the service asks to wait 5 minutes"),
            (replace(BROKEN, begun=False), False, "the connection broke, before any data came"),
            (
                replace(BROKEN, begun=False, status=503, retry_after_seconds=1),
                True,
                "the service asks to wait 1 second",
            ),
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


MARKS = {**VolumeOrigin(procedure="put", image_id="e38f").to_volume(), JOURNAL_KEY: "5f0a"}
VOLUME = Volume(id="7ad3", size_gib=2, project_id="mine", status="available", metadata=MARKS)
LEFT = LeftVolume(volume_id="7ad3", volume=VOLUME, journal_id="5f0a", image_id="e38f", project_id="mine", size_gib=2)


def shown(**facts: object) -> LeftVolume:
    return replace(LEFT, volume=replace(VOLUME, **facts))  # type: ignore[arg-type]


class TestTakingUp:
    @pytest.mark.parametrize("status", ["creating", "available", "reserved", "attaching", "in-use", "detaching"])
    @pytest.mark.parametrize("process", [HolderState.DEAD, HolderState.UNKNOWN])
    def test_a_volume_that_is_as_it_was_left_is_filled_on(self, status: str, process: HolderState) -> None:
        decision = decide_taking_up(replace(shown(status=status), process=process))
        assert (decision.allowed, decision.finished, decision.reasons) == (True, False, ())

    def test_a_volume_that_is_filled_says_so(self) -> None:
        assert decide_taking_up(shown(metadata={**MARKS, "imagevol_state": "finished"})).finished

    @pytest.mark.parametrize(
        "left, reason",
        [
            (replace(LEFT, volume=None), "volume 7ad3 is gone"),
            (shown(project_id="theirs"), "it lives in project theirs, the project of the credentials is mine"),
            (shown(project_id=None), "it lives in project not known, the project of the credentials is mine"),
            (
                replace(shown(project_id=None), project_id=None),
                "it lives in project not known, the project of the credentials is not known",
            ),
            (shown(metadata={**MARKS, JOURNAL_KEY: "other"}), "it names journal other, and not 5f0a"),
            (shown(metadata={JOURNAL_KEY: "5f0a"}), "it is for image not known, and not for e38f"),
            (shown(metadata={**MARKS, "imagevol_image": "8b"}), "it is for image 8b, and not for e38f"),
            (shown(source_volume_id="8c"), "it is a clone of volume 8c"),
            (shown(size_gib=1), "it has 1 GiB, and 2 are needed"),
            *((shown(status=status), f"its status is {status}") for status in ("error", "deleting", "maintenance")),
            (
                replace(LEFT, process=HolderState.ALIVE, process_reason="its process 7 runs"),
                "its process 7 runs",
            ),
        ],
    )
    def test_each_rule_alone_stands_in_the_way(self, left: LeftVolume, reason: str) -> None:
        decision = decide_taking_up(left)
        assert (decision.allowed, decision.reasons) == (False, (reason,))

    def test_what_a_user_writes_is_shown_on_one_line(self) -> None:
        (reason,) = decide_taking_up(shown(metadata={**MARKS, JOURNAL_KEY: "a\nb"})).reasons
        assert reason.isprintable()

    def test_glance_store_fills_no_volume_on(self) -> None:
        assert decide_taking_up(LEFT, policy=Policy.UPSTREAM).reasons == ("volume 7ad3 is not filled on",)


QUEUED = Image(id="e38f", status="queued")
VOLUME_ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
ACTIVE = Image(id="e38f", status="active", digest=ONE, locations=(ImageLocation(f"cinder://fast/{VOLUME_ID}", {}),))


class TestRegistration:
    @pytest.mark.parametrize(
        "image, digest, outcome, reason",
        [
            (None, None, Registration.REFUSE, "Glance shows no image e38f any more"),
            (QUEUED, None, Registration.REGISTER, "image e38f is queued"),
            (ACTIVE, None, Registration.COMPLETE, f"its location names volume {VOLUME_ID}"),
            (
                replace(ACTIVE, locations=()),
                ONE,
                Registration.COMPLETE,
                f"it has the digest of volume {VOLUME_ID}, and Glance shows no location of it",
            ),
            (replace(ACTIVE, locations=()), OTHER, Registration.REFUSE, "image e38f has other data"),
            (replace(ACTIVE, locations=()), None, Registration.REFUSE, "image e38f has other data"),
            (
                replace(ACTIVE, locations=(ImageLocation("file:///x", {}),)),
                ONE,
                Registration.REFUSE,
                "image e38f has other data",
            ),
        ],
    )
    def test_an_image_is_registered_completed_or_left_alone(
        self, image: Image | None, digest: Digest | None, outcome: Registration, reason: str
    ) -> None:
        found, verdicts = decide_registration("e38f", image, volume_id=VOLUME_ID, digest=digest)
        assert (found, verdicts[-1].text) == (outcome, reason)

    def test_glance_store_registers_nothing(self) -> None:
        outcome, _ = decide_registration("e38f", QUEUED, volume_id=None, policy=Policy.UPSTREAM)
        assert outcome is Registration.REFUSE
