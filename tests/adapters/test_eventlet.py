"""In a process that eventlet has patched, as cinder-volume is, all holds that holds in any other."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATCHED = """
import eventlet
eventlet.monkey_patch()
import sys
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
# Coverage is measured in the process that starts it, and eventlet and what knows it say that it is deprecated.
OPTIONS = ("-q", "-p", "no:xdist", "-p", "no:pytest_cov", "-W", "ignore::DeprecationWarning")
PATIENCE_SECONDS = 300

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("eventlet") is None, reason="eventlet is not installed: install os-brick, which needs it"
)


@pytest.mark.parametrize(
    "module, some",
    [
        ("greenlets_suite.py", ""),
        ("test_closing.py", ""),
        ("test_engine.py", ""),
        # Which hang without letting greenlets run; and the last is of a thread that eventlet does without.
        ("test_stalls.py", "not a_source_that and not TestHost and not interrupt_right_after_the_start"),
        ("test_image_files.py", "conversion or cut_short or refused"),  # all of it takes long
    ],
)
def test_the_suite_for_green_threads_passes_in_a_process_that_eventlet_has_patched(
    module: str, some: str, tmp_path: Path
) -> None:
    options = [*OPTIONS, f"--basetemp={tmp_path / 'patched'}", f"--override-ini=cache_dir={tmp_path / 'cache'}"]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PATCHED, *options, "-k", some, str(HERE / module)],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-8000:]}\n{ran.stderr[-2000:]}"
