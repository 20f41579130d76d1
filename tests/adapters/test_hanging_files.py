"""An image file that gives no data, or an error, is named in time."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagevol_adapters.inspection.in_time import closed_in_time, inspect_in_time, opened_in_time
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.checked_file import CheckedFile
from imagevol_core import Digest, SourceFailed, SourceStalled

SOON = 0.1
UNREADABLE = Path("/proc/self/mem")  # its first byte gives EIO


class Hanging(io.BytesIO):
    """A file that answers once it is let go."""

    def __init__(self, *calls: str) -> None:
        super().__init__(bytes(1 << 20))
        self.calls = calls
        self.go_on = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._waited("read", size))

    def close(self) -> None:
        self._waited("close", None)
        super().close()

    def _waited(self, call: str, argument: int | None) -> int | None:
        if call in self.calls:
            self.go_on.wait()
        return argument


@pytest.fixture
def file() -> Iterator[Hanging]:
    made = Hanging("read", "close")
    yield made
    made.go_on.set()


def test_a_file_whose_reads_hang_is_not_inspected_for_ever(file: Hanging) -> None:
    with pytest.raises(SourceStalled, match=r"^image 7 stalled"), closed_in_time(file):
        inspect_in_time(file, what="image 7", stall_seconds=SOON)


def test_a_file_whose_inspection_hangs_is_named_by_the_converter(file: Hanging) -> None:
    with pytest.raises(SourceStalled, match=r"^image 7 stalled"):
        QemuConverter(stall_seconds=SOON).examine("/x", declared_format="raw", size_gib=1, what="image 7", file=file)


def test_a_file_that_hangs_when_it_is_opened_is_named() -> None:
    hang = threading.Event()
    with pytest.raises(SourceStalled, match=r"^image 7 stalled"):
        opened_in_time(hang.wait, what="image 7", stall_seconds=SOON)
    hang.set()


@pytest.mark.parametrize("digest", [None, Digest("sha256", "0" * 64)])
def test_a_file_that_cannot_be_read_is_named(digest: Digest | None) -> None:
    checked = CheckedFile.check(
        UNREADABLE, disk_format="qcow2", converter=QemuConverter(), digest=digest, what="image file x"
    )
    with pytest.raises(SourceFailed, match=r"^image file x cannot be read"), checked:
        pass


def test_a_file_that_cannot_be_inspected_is_named() -> None:
    with UNREADABLE.open("rb") as file, pytest.raises(SourceFailed, match=r"^image file x cannot be read"):
        inspect_in_time(file, what="image file x")
