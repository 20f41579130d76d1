"""BLAKE3 beside Glance's digests: the same bytes and holes, every flipped bit found, and nothing changed without it."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from imagevol_adapters.engine import (
    BLAKE3,
    Digests,
    Hole,
    Limits,
    has_blake3,
    read_device,
    verify_device,
    write_stream,
)
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_core import ContentMismatch, DeviceFailed, Digest, MissingDependency, TransferCancelled

MIB = 1 << 20
SIZE = 5 * MIB + 77
FLIPS = 100  # of a thousand in `nox -s bench -- digests`


def digest_of(data: bytes | bytearray) -> Digest:
    return Digest(BLAKE3, blake3(data).hexdigest())


@pytest.fixture
def without_blake3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)


@pytest.fixture
def device() -> MemoryDevice:
    made = MemoryDevice(6 * MIB)
    made.write(0, memoryview(random.Random(17).randbytes(SIZE)))
    return made


def held(device: MemoryDevice, length: int = SIZE) -> bytearray:
    data = bytearray(length)
    assert device.readinto(0, memoryview(data)) == length
    return data


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=40) | st.integers(0, 3 * MIB), max_size=5))
def test_bytes_and_holes_have_the_digest_of_their_bytes(pieces: list[bytes | int]) -> None:
    whole = b"".join(bytes(piece) for piece in pieces)
    source = [Hole(piece) if isinstance(piece, int) else piece for piece in pieces]
    report = write_stream(source, MemoryDevice(25 * MIB), size_bytes=len(whole), algorithms=("md5", BLAKE3))
    assert report.digests == {"md5": Digest("md5", hashlib.md5(whole).hexdigest()), BLAKE3: digest_of(whole)}


@pytest.mark.parametrize("length", [0, 1, 4 * MIB, SIZE])
def test_a_device_that_holds_what_was_digested_is_verified(device: MemoryDevice, length: int) -> None:
    expected = digest_of(held(device, length))
    verify_device(device, length=length, digest=expected, what="it")
    assert b"".join(read_device(device, length=length, digest=expected)) == held(device, length)


def test_the_holes_of_a_device_are_digested_as_zeros() -> None:
    sparse = MemoryDevice(200 * MIB)
    sparse.write(100 * MIB + 5, memoryview(b"data"))
    verify_device(sparse, length=200 * MIB, digest=digest_of(held(sparse, 200 * MIB)), what="it")


def test_every_flipped_bit_is_found(device: MemoryDevice) -> None:
    expected, places = digest_of(held(device)), random.Random(1)
    for _ in range(FLIPS):
        at, bit = places.randrange(SIZE), 1 << places.randrange(8)
        byte = held(device, SIZE)[at]
        device.write(at, memoryview(bytes([byte ^ bit])))
        with pytest.raises(ContentMismatch):
            verify_device(device, length=SIZE, digest=expected, what="it")
        device.write(at, memoryview(bytes([byte])))
    verify_device(device, length=SIZE, digest=expected, what="it")


def test_a_device_that_ends_early_or_a_transfer_that_is_cancelled_is_not_verified(device: MemoryDevice) -> None:
    expected, limits = digest_of(held(device)), Limits()
    with pytest.raises(DeviceFailed):
        verify_device(device, length=7 * MIB, digest=expected, what="it")
    limits.cancelled.set()
    with pytest.raises(TransferCancelled):
        verify_device(device, length=SIZE, digest=expected, what="it", limits=limits)


@pytest.mark.usefixtures("without_blake3")
def test_without_the_package_an_error_says_how_to_install_it_and_other_digests_are_made() -> None:
    assert not has_blake3()
    assert Digests(["md5"]).values() == {"md5": Digest("md5", hashlib.md5().hexdigest())}
    with pytest.raises(MissingDependency, match=r"^blake3 is not installed: pip install 'imagevol\[blake3\]'$"):
        Digests([BLAKE3])


def test_a_process_that_forks_after_a_digest_makes_others() -> None:
    program = """
import os
from imagevol_adapters.engine import Digests
def made():
    digests = Digests(["blake3"])
    digests.update(bytes(8 << 20))
    return str(digests.values()["blake3"])
made()
child = os.fork()
if not child:
    os._exit(0 if made() else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["0"]
