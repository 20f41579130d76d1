"""How the command line ends when it has nothing more to do."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

_PROGRAM = """
import atexit, os, sys
from imagevol_adapters.cli import main

atexit.register(os.kill, os.getpid(), int(sys.argv.pop(1)))
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_command_ends_the_process_without_a_traceback(number: signal.Signals) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(int(number)), "fleet", "status", "--board", "redis://"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -number
    assert done.stderr.splitlines() == ["--board: it names no host: give redis://HOST"]
