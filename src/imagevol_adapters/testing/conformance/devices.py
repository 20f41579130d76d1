"""What a `Device` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import ClassVar

import pytest

from imagevol_adapters.ports import CLEAR_BYTES, Device
from imagevol_adapters.testing.conformance.fixtures import read, write
from imagevol_core import DeviceFailed

__all__ = ["DeviceConformance", "OpenDevice"]

OpenDevice = Callable[[bool], AbstractContextManager[Device]]
"""Opens the device, to be written if it is given true; what was flushed is there when it is opened again."""

_KIB = 1 << 10
_DATA = hashlib.shake_256(b"a device").digest(256 * _KIB)
_WAYS = 10  # no device has more calls that clear


class DeviceConformance:
    """A `Device` of at least 1 MiB, whatever it holds.

    Attributes:
        grows: True if a write after the end makes the device larger, as it does with a file.
    """

    grows: ClassVar[bool] = False

    @pytest.fixture
    def opening(self) -> OpenDevice:
        """Opens the device."""
        raise NotImplementedError("override this fixture")

    def test_its_attributes_have_values_that_the_engine_can_use(self, opening: OpenDevice) -> None:
        with opening(True) as device:
            assert device.path.startswith("/")
            assert device.what
            assert device.look_at
            assert device.size_bytes >= 1024 * _KIB
            assert device.block_device in (True, False, None)
            assert type(device.direct_io) is bool
            assert type(device.can_clear) is bool
            assert device.clear_bytes > 0
            assert device.clear_bytes % CLEAR_BYTES == 0
            assert device.guarantee is None or device.guarantee

    @pytest.mark.parametrize("offset, length", [(0, 65536), (4096, 4096), (4096, 5000), (512, 512), (3, 7), (0, 1)])
    def test_what_was_written_and_flushed_is_read_back_and_nothing_else_has_changed(
        self, opening: OpenDevice, offset: int, length: int
    ) -> None:
        end = len(_DATA)
        with opening(True) as device:
            write(device, 0, _DATA)
            write(device, offset, _DATA[-length:])
            device.flush()
        with opening(False) as device:
            assert read(device, 0, end) == _DATA[:offset] + _DATA[-length:] + _DATA[offset + length :]
            assert read(device, offset, length) == _DATA[-length:]

    def test_it_is_read_up_to_its_end_and_no_further(self, opening: OpenDevice) -> None:
        with opening(True) as device:
            end = device.size_bytes
            write(device, end - 512, _DATA[:512])
            device.flush()
            assert read(device, end - 512, 4096) == _DATA[:512]
            assert read(device, end, 1) == read(device, 2 * end, 1) == b""

    def test_nothing_is_written_after_its_end(self, opening: OpenDevice) -> None:
        if self.grows:
            pytest.skip("a write after the end makes this device larger")
        with opening(True) as device:
            end = device.size_bytes
            assert device.write(end - 512, memoryview(_DATA[:1024])) == 512
            with pytest.raises(DeviceFailed):
                device.write(end, memoryview(_DATA[:512]))
            assert device.size_bytes == end

    def test_nothing_is_written_through_a_device_opened_for_reading(self, opening: OpenDevice) -> None:
        with opening(False) as device:
            before = read(device, 0, 4096)
            with pytest.raises(DeviceFailed):
                device.write(0, memoryview(_DATA[:4096]))
            assert not device.clear(0, 4096)
            assert read(device, 0, 4096) == before

    def test_a_cleared_range_reads_as_zeros_and_its_neighbors_do_not(self, opening: OpenDevice) -> None:
        with opening(True) as device:
            write(device, 0, _DATA)
            device.flush()
            cleared = any(device.clear(4096, 65536) for _ in range(_WAYS) if device.can_clear)
            if cleared:
                assert read(device, 0, len(_DATA)) == _DATA[:4096] + bytes(65536) + _DATA[4096 + 65536 :]
            else:
                assert not device.can_clear

    def test_a_device_that_is_distrusted_often_enough_clears_nothing(self, opening: OpenDevice) -> None:
        with opening(True) as device:
            write(device, 0, _DATA)
            for _ in range(_WAYS):
                device.distrust()
            assert not device.can_clear
            assert not device.clear(0, 4096)
            assert read(device, 0, len(_DATA)) == _DATA

    @pytest.mark.parametrize("offset, length", [(0, None), (4096, 65536), (5, 7)])
    def test_its_extents_are_the_whole_range_in_order_and_its_holes_read_as_zeros(
        self, opening: OpenDevice, offset: int, length: int | None
    ) -> None:
        with opening(True) as device:
            write(device, 0, _DATA)
            device.flush()
        with opening(False) as device:
            end = device.size_bytes if length is None else offset + length
            at = offset
            for start, stop, is_data in device.extents(offset, end - offset):
                assert at == start < stop
                if not is_data:  # a sample of it: it can be large
                    for part in (start, max(start, stop - 64 * _KIB)):
                        length_read = min(64 * _KIB, stop - part)
                        assert read(device, part, length_read) == bytes(length_read)
                at = stop
            assert at == end

    def test_another_thread_than_the_one_that_opened_it_can_use_it(self, opening: OpenDevice) -> None:
        with opening(True) as device, ThreadPoolExecutor(1) as thread:
            thread.submit(write, device, 4096, _DATA).result()
            thread.submit(device.flush).result()
            assert thread.submit(read, device, 4096, len(_DATA)).result() == _DATA
