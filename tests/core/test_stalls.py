"""The errors of a transfer that stands still: the side, the family of its fault, and one sentence that names both."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from imagevol_core.errors import CallerError, DeviceFailed, ServiceError, ServiceUnreachable, SourceFailed, StorageError
from imagevol_core.stalls import STALL_SECONDS, DeviceStalled, ServiceStalled, SourceStalled, TransferStalled

EXAMPLES: list[tuple[Callable[[], TransferStalled], str, tuple[type[Exception], ...], str]] = [
    (
        lambda: SourceStalled("the source", seconds=0.1),
        "source",
        (CallerError, SourceFailed),
        "the source stalled: no data came for 0.1 seconds; check where the data comes from, and try again",
    ),
    (
        lambda: DeviceStalled("the device", doing="flushing", seconds=0.1),
        "device",
        (StorageError, DeviceFailed),
        "the device stalled: flushing made no progress for 0.1 seconds; look at its storage and at the kernel's log",
    ),
    (
        lambda: ServiceStalled("Glance, reading image 7", seconds=0.1),
        "service",
        (ServiceError, ServiceUnreachable),
        "Glance, reading image 7 stalled: no data came for 0.1 seconds; look at the log of the service, and try again",
    ),
]


@pytest.mark.parametrize("make, side, families, sentence", EXAMPLES, ids=[each[1] for each in EXAMPLES])
class TestStalled:
    def test_the_error_names_its_side_in_one_sentence(
        self, make: Callable[[], TransferStalled], side: str, families: tuple[type[Exception], ...], sentence: str
    ) -> None:
        error = make()
        assert (error.side, error.seconds, str(error)) == (side, 0.1, sentence)
        assert sentence.startswith(error.what)
        assert all(isinstance(error, family) for family in (*families, TransferStalled, TimeoutError))

    def test_an_error_goes_to_another_process_whole(
        self, make: Callable[[], TransferStalled], side: str, families: tuple[type[Exception], ...], sentence: str
    ) -> None:
        error = make()
        error.leftovers = ("volume 7",)
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_a_transfer_waits_for_five_minutes() -> None:
    assert STALL_SECONDS == 300
    assert TransferStalled("it stalled", what="it", seconds=1).side == "transfer"


def test_what_a_device_was_asked_for_is_told() -> None:
    stalled = DeviceStalled("/dev/sdb", doing="writing", seconds=1, look_at="ask ceph health")
    assert (stalled.doing, stalled.look_at) == ("writing", "ask ceph health")
    assert str(stalled).endswith("; ask ceph health")


def test_the_process_is_not_known_until_it_is_told() -> None:
    assert SourceStalled("the source", seconds=1).process_id is None
