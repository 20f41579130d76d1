"""Commands that are killed again and again at system calls, on services in memory; `nox -s faults` does it for hours.

Each command is disturbed at 40 points, five in a row on one cloud; then it runs to its end, and `audit --repair` cleans
up.  Every image must be whole or absent, and nothing may be left.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.killing.commands import COMMANDS, try_command
from tests.faults.killing.points import Point, counted, drawn
from tests.faults.killing.preloaded import IN_MEMORY
from tests.faults.killing.tracing import Forks, attached_to, forks, hit_a_pipe, why_not

SEED = 18  # the same points each time; the long session draws its own
POINTS, IN_A_ROW = 40, 5


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """The process whose forks are the commands."""
    if problem := why_not():
        pytest.skip(problem)
    with forks(tmp_path_factory.mktemp("forks"), *IN_MEMORY) as made:
        yield made


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed_again_and_again_leaves_nothing(made: Forks, name: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for number, kept in enumerate((None, trace)):  # so that no point lies in Python's imports
        (tmp_path / f"undisturbed-{number}").mkdir()
        undisturbed = try_command(name, made, tmp_path / f"undisturbed-{number}", [], trace=kept, learns=kept is None)
        assert undisturbed.problems == ()
    rng = random.Random(f"{SEED} {name}")
    points = drawn(rng, counted(trace), POINTS)
    for number in range(0, len(points), IN_A_ROW):
        (tmp_path / str(number)).mkdir()
        tried = try_command(name, made, tmp_path / str(number), points[number : number + IN_A_ROW])
        assert tried.problems == (), ", ".join(map(str, points[number : number + IN_A_ROW]))


@pytest.mark.parametrize(
    "writes, to_a_pipe", [("os.pipe()[1]", True), ("os.open(os.devnull, os.O_WRONLY)", False)], ids=["pipe", "file"]
)
def test_a_call_that_cannot_fail_is_told_from_one_that_can(tmp_path: Path, writes: str, to_a_pipe: bool) -> None:
    if problem := why_not():
        pytest.skip(problem)
    code = f"import os\ninput()\ntry: os.write({writes}, b'-')\nexcept OSError: print('failed')"
    trace = tmp_path / "trace"
    with (
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        attached_to([process.pid], trace, Point("write", 1, "EIO")),
    ):
        said, _ = process.communicate(b"\n")
    assert (said, hit_a_pipe(trace)) == (b"failed\n", to_a_pipe)


def test_an_answer_of_privsep_is_told_from_a_request_over_a_network(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for sent, found in ((r"\222\331$73f81f4f", True), ("GET /v2/images/cbf7f0d4", False)):
        failed = "= -1 ECONNRESET (Connection reset by peer) (INJECTED)"
        trace.write_text(f'7 sendto(3<socket:[9]>, "{sent}"..., 1044, 0, NULL, 0) {failed}\n')
        assert hit_a_pipe(trace) is found


def test_a_call_that_cannot_fail_is_told_where_strace_cuts_it_in_two(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    failed = "= -1 EIO (Input/output error) (INJECTED)"
    for pipe, file, found in (("7", "8", True), ("8", "7", False)):
        trace.write_text(
            f'{pipe} write(4<pipe:[9]>, "-", 1 <unfinished ...>\n'
            f'{file} write(5</dev/null>, "-", 1 <unfinished ...>\n'
            f"7 <... write resumed>) {failed}\n"
            "8 <... write resumed>) = 1\n"
        )
        assert hit_a_pipe(trace) is found
