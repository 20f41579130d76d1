"""What a person names is opened at once, or refused with the reason; it is read to a bound."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from imagevol_adapters.opening import open_file, read_file


def test_a_file_is_read_whole_up_to_the_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_file(file, longest_bytes=5) == b"12345"
    with pytest.raises(OSError, match="it is longer than 4 bytes"):
        read_file(file, longest_bytes=4)


def test_a_path_that_is_no_file_is_named_and_left_closed(tmp_path: Path) -> None:
    fifo, listening = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    before = set(Path("/proc/self/fd").iterdir())
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listening))
        for path, reason in (
            (fifo, "it is a FIFO, not a file"),
            (Path("/dev/zero"), "it is a character device, not a file"),
            (tmp_path, "it is a directory, not a file"),
            (listening, "No such device or address"),
            (tmp_path / "none", "No such file or directory"),
            (Path("a\0b"), "a file name cannot have a NUL in it"),
        ):
            with pytest.raises(OSError, match=reason) as caught:
                open_file(path)
            assert caught.value.strerror == reason
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_a_directory_that_is_to_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path, os.O_RDWR)
