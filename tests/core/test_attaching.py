"""Which refused attachments are worth waiting for, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import InvalidFact, Policy, Result, Volume, decide_attach_retry, patience_seconds

PASSING = (
    "attaching",
    "available",
    "backing-up",
    "creating",
    "detaching",
    "downloading",
    "extending",
    "in-use",
    "reserved",
    "retyping",
    "uploading",
)
PERMANENT = ("error", "error_deleting", "error_extending", "deleting", "maintenance", "awaiting-transfer")


def volume(status: str | None) -> Volume:
    return Volume(id="7ad3", size_gib=1, status=status)


class TestRetry:
    """A volume that another has for a while is waited for; one that stays as it is, is not."""

    @pytest.mark.parametrize("status", PASSING)
    def test_a_volume_whose_status_passes_is_asked_for_again(self, status: str) -> None:
        assert decide_attach_retry(volume(status)).again

    @pytest.mark.parametrize("status", PERMANENT)
    def test_a_volume_whose_status_waiting_does_not_end_is_not_asked_for_again(self, status: str) -> None:
        assert not decide_attach_retry(volume(status)).again

    @pytest.mark.parametrize("status", [*PASSING, *PERMANENT])
    def test_glance_store_gives_up_on_errors_only(self, status: str) -> None:
        expected = not status.startswith("error")
        assert decide_attach_retry(volume(status), policy=Policy.UPSTREAM).again is expected

    def test_a_status_that_is_not_known_counts_as_passing(self) -> None:
        assert decide_attach_retry(volume(None)).again

    @pytest.mark.parametrize(
        "status, rule",
        [
            ("error", "in-error"),
            ("deleting", "being-deleted"),
            ("maintenance", "held"),
            ("in-use", "passing"),
        ],
    )
    def test_the_decision_names_the_rule_and_the_volume(self, status: str, rule: str) -> None:
        last = decide_attach_retry(volume(status)).verdicts[-1]
        assert last == (rule, Result.APPLIES, "7ad3", f"its status is {status}")


class TestPatience:
    """The same number of attempts makes us as patient as glance_store."""

    @given(st.integers(min_value=1, max_value=1000))
    def test_another_attempt_is_another_pause_of_at_most_ten_seconds(self, attempts: int) -> None:
        longer = patience_seconds(attempts + 1) - patience_seconds(attempts)
        assert longer == min(2.0**attempts, 10.0)

    @pytest.mark.parametrize("attempts, seconds", [(1, 0), (2, 2), (3, 6), (4, 14), (5, 24), (6, 34)])
    def test_the_pauses_double_up_to_ten_seconds(self, attempts: int, seconds: float) -> None:
        assert patience_seconds(attempts) == seconds

    @pytest.mark.parametrize("attempts", [1025, 2**63, 10**400], ids=["more", "many", "very many"])
    def test_any_number_of_attempts_comes_to_a_time_to_wait(self, attempts: int) -> None:
        assert patience_seconds(attempts) >= patience_seconds(1024)

    @pytest.mark.parametrize("attempts", [0, -1])
    def test_no_attempt_at_all_is_refused(self, attempts: int) -> None:
        with pytest.raises(InvalidFact) as caught:
            patience_seconds(attempts)
        assert str(caught.value) == f"attempts: is {attempts}: give 1 or more"
