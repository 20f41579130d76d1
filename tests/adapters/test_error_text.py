"""A library's error in one line: bounded, without traceback, command arguments and secrets."""

from __future__ import annotations

import errno
import os
import socket
import subprocess

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from os_brick import exception as brick_errors
from oslo_concurrency import processutils

from imagevol_adapters.error_text import LONGEST_LINE, one_line, secrets_of
from imagevol_core import DeviceFailed, ResourceNotFound

SECRET = "pa55-that-none-may-see"
COMMAND = f"sudo nova-rootwrap /etc/nova/rootwrap.conf iscsiadm -m node -n node.session.auth.password -v {SECRET}"


def failed_command(stderr: str = "") -> processutils.ProcessExecutionError:
    return processutils.ProcessExecutionError(cmd=COMMAND, exit_code=21, stdout=SECRET, stderr=stderr or f"no {SECRET}")


def chained(*errors: Exception) -> brick_errors.ExceptionChainer:
    """What os-brick raises when a volume cannot be disconnected, though it is told to by force."""
    chain = brick_errors.ExceptionChainer()
    for error in errors:
        with chain.context(True, "x"):
            try:
                raise failed_command()
            except processutils.ProcessExecutionError as cause:
                raise error from cause
    return chain


def test_a_chain_of_os_brick_is_what_each_of_its_errors_says() -> None:
    chain = chained(brick_errors.VolumePathNotRemoved(volume_path="/dev/sda"), failed_command())
    assert "Traceback" in str(chain)
    assert SECRET in str(chain)
    line = one_line(chain)
    assert line.count("iscsiadm failed with exit status 21") == 3  # each error's cause, and one error itself
    assert "/dev/sda" in line
    assert_clean(line)


@pytest.mark.parametrize("quote", ["'", '"', "\\", "Exit code: 0", "Stdout: ''", "\n"])
def test_what_a_command_printed_is_never_shown(quote: str) -> None:
    error = failed_command(f"{quote} {SECRET} {quote} {SECRET}")
    for each in (error, chained(error), ValueError(f"It failed: {error}"), RuntimeError(repr(str(error)))):
        assert_clean(one_line(each))


@pytest.mark.parametrize(
    "error, line",
    [
        (failed_command(), "iscsiadm failed with exit status 21"),
        (processutils.ProcessExecutionError(cmd=[SECRET], exit_code=1), "a command failed with exit status 1"),
        (processutils.ProcessExecutionError(), "a command failed"),
        (brick_errors.CommandExecutionFailed(cmd=f"/sbin/nvme {SECRET}"), "nvme failed"),
        (subprocess.CalledProcessError(3, ["mount", "-o", SECRET]), "mount failed with exit status 3"),
        (subprocess.TimeoutExpired(["nvme", SECRET], 5), "nvme did not end in 5 seconds"),
        (ValueError(f"x: {subprocess.CalledProcessError(3, ['mount', SECRET])}"), "x: mount failed with exit status 3"),
        (ValueError(f"http://admin:{SECRET}@host:5000/v3 refuses"), "http://***@host:5000/v3 refuses"),
        (ValueError(f"http://admin:{SECRET}@x/{SECRET}@host refuses"), "http://***@host refuses"),
        (ValueError(f"{{'auth_password': '{SECRET}', 'lun': 1}}"), "{'auth_password': ***, 'lun': 1}"),
        (ValueError(f"os-brick --os-password {SECRET} volume"), "os-brick --os-password *** volume"),
        (ValueError(f"X-Auth-Token: {SECRET}"), "X-Auth-Token: ***"),
        (ValueError("the token gAAAAABmZ9_2bc-dAAAAAAAAAAAAAAAAA is not valid"), "the token *** is not valid"),
        (ValueError("Invalid token supplied"), "Invalid token supplied"),
        (ValueError("It&#x27;s&#10;gone"), "It's gone"),
        (OSError(5, "Input/output error", "/dev/sda"), "[Errno 5] Input/output error: '/dev/sda'"),
        (KeyError("size"), "KeyError: 'size'"),
        (ValueError(" \n "), "ValueError"),
        (ValueError("red\x1b[31m"), "red\\x1b[31m"),
        (DeviceFailed("x" * 2 * LONGEST_LINE), "x" * 2 * LONGEST_LINE),
        (ResourceNotFound("volume", "7"), "volume 7 does not exist, or these credentials cannot see it"),
    ],
)
def test_a_line_says_what_is_of_use_and_nothing_that_is_secret(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_an_error_whose_text_fails_is_its_name() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise AttributeError("details")

    assert one_line(Broken()) == "Broken"


def test_what_was_handed_over_as_a_secret_is_not_shown_wherever_it_stands() -> None:
    connection = {"auth_password": SECRET, "dhchap_host_secret": "k3y-of-the-host", "lun": 1, "x": {"keyring": "r1ng"}}
    secrets = tuple(secrets_of(connection))
    assert set(secrets) == {SECRET, "k3y-of-the-host", "r1ng"}
    assert (
        one_line(ValueError(f"login {SECRET}/k3y-of-the-host/r1ng failed"), secrets=secrets)
        == "login ***/***/*** failed"
    )


PIECES = st.sampled_from(
    [
        *("Traceback (most recent call last):", '  File "x.py", line 3, in f', "\n", "\\n", "\t", " ", "; ", "'", '"'),
        *("Chained Exception #1", "ValueError: no", "Command: ", "Exit code: ", "Stdout: ", "Stderr: '", "http://"),
        *("Command '", "' returned non-zero exit status ", "password=", "token", ": ", "@", "\x00", "\u2028", "é", "a"),
    ]
)


@example(text="Traceback (most recent call last):ValueError: noTraceback (most recent call last):")
@given(st.lists(PIECES | st.text(max_size=20), max_size=60).map("".join))
def test_any_text_becomes_one_short_line_without_traceback(text: str) -> None:
    line = one_line(ValueError(text))
    assert 0 < len(line) <= LONGEST_LINE
    assert line.isprintable()
    assert "Traceback (most recent call last)" not in line
    assert "Command: " not in line


@pytest.mark.parametrize(
    "text", ["Command: ", "a://", "token", "Stdout: '", "Error: ", "Traceback (most recent call last)"]
)
def test_a_text_of_a_megabyte_is_no_trouble(text: str) -> None:
    assert len(one_line(ValueError(text * (1_000_000 // len(text))))) <= LONGEST_LINE


def assert_clean(line: str) -> None:
    assert line.isprintable()
    assert len(line) <= LONGEST_LINE
    for secret in (SECRET, "Traceback", "Chained", 'File "', "node.session", "Command:"):
        assert secret not in line


def test_the_reason_why_a_service_cannot_be_reached_is_said_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(requests.ConnectionError) as caught:
        requests.get(f"http://127.0.0.1:{port}/v3?query=1", timeout=5)
    line = one_line(caught.value)
    assert os.strerror(errno.ECONNREFUSED) in line
    assert "Caused by" not in line
    assert str(port) not in line


@pytest.mark.parametrize(
    "broken",
    [
        ValueError("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))"),
        ValueError("Connection broken: x", ConnectionResetError(104, "Connection reset by peer")),
        ValueError(
            "Connection broken: ConnectionResetError(104, 'x')", ConnectionResetError(104, "Connection reset by peer")
        ),
    ],
)
def test_a_connection_that_broke_is_said_in_words(broken: Exception) -> None:
    assert one_line(broken) == "Connection reset by peer"
