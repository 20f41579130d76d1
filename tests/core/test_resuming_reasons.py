"""What each rule about a transfer that goes on says of what it has seen, also where it decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from imagevol_core import HolderState, ImageLocation, Policy, Verdict
from imagevol_core.resuming import decide_partial, decide_read_retry, decide_registration, decide_taking_up
from tests.core.test_resuming import ACTIVE, BROKEN, IMAGE, KEPT, LEFT, OTHER, QUEUED, VOLUME_ID, shown


def told(verdicts: Iterable[Verdict]) -> list[str]:
    return [verdict.text for verdict in verdicts]


def test_the_rules_of_a_read_that_broke_off() -> None:
    assert told(decide_read_retry(BROKEN).verdicts) == [
        "the service gives a part of the data, or was not asked for one",
        "the connection broke",
        "no data came for 0 seconds, in 1 attempt",
        *["the service does not say how long to wait"] * 2,
        "the connection broke, after data came",
        "the connection broke",
    ]
    waits = replace(BROKEN, status=503, retry_after_seconds=7.5)
    assert told(decide_read_retry(waits).verdicts)[-2:] == ["the service asks to wait 7.5 seconds"] * 2
    assert told(decide_read_retry(BROKEN, policy=Policy.UPSTREAM).verdicts) == ["the connection broke"]


def test_the_rules_of_a_part_that_is_kept() -> None:
    assert told(decide_partial(IMAGE, None).verdicts) == [
        "no other user can write to what is kept",
        "volume 7ad3 records a digest",
        "nothing is kept",
    ]
    upstream = decide_partial(IMAGE, KEPT, policy=Policy.UPSTREAM)
    assert told(upstream.verdicts) == ["what was read before is not used"]


def test_the_rules_of_a_volume_that_is_filled_on() -> None:
    decision = decide_taking_up(LEFT)
    assert {verdict.subject for verdict in decision.verdicts} == {"7ad3"}
    assert told(decision.verdicts) == [
        "Cinder shows volume 7ad3",
        "it lives in project mine, the project of the credentials is mine",
        "it names journal 5f0a and image e38f",
        "it is no clone",
        "it has 2 GiB, and 2 are needed",
        "its status is available",
        "it names no process",
        "no other program can write to it at the same time",
    ]
    runs = replace(shown(status=None), process=HolderState.ALIVE, process_reason="it runs")
    assert told(decide_taking_up(runs).verdicts)[-3:-1] == ["its status is not known", "it runs"]
    shared = replace(LEFT, holders=("attachment a: an instance has it", "attachment b: it is of host c"))
    told_of = "another program has it attached: attachment a: an instance has it; attachment b: it is of host c"
    assert decide_taking_up(shared).reasons == (told_of,)


def test_the_rules_of_an_image_that_is_registered() -> None:
    hidden = replace(ACTIVE, locations=())
    _, verdicts = decide_registration("e38f", hidden, volume_id=VOLUME_ID, digest=OTHER)
    assert {verdict.subject for verdict in verdicts} == {"e38f"}
    assert told(verdicts) == [
        "Glance shows image e38f",
        f"it has no digest of volume {VOLUME_ID}, and Glance shows no location of it",
        "image e38f is active",
        "image e38f has other data",
    ]
    _, verdicts = decide_registration("e38f", replace(hidden, digest=None), volume_id=VOLUME_ID)
    assert told(verdicts)[-1] == "image e38f has other data"
    located = replace(ACTIVE, locations=(ImageLocation("file:///x"),))
    _, verdicts = decide_registration("e38f", located, volume_id=None)
    assert told(verdicts)[1] == "no location of it names volume not known"
    _, verdicts = decide_registration("e38f", QUEUED, volume_id=None, policy=Policy.UPSTREAM)
    assert told(verdicts) == ["image e38f is not registered"]
