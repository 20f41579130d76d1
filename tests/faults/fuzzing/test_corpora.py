"""The quick half of `nox -s fuzz`: what was found before, and some thousand changes of it."""

from __future__ import annotations

import logging
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.fuzzing.corpus import CORPUS, inputs
from tests.faults.fuzzing.mutating import mutated
from tests.faults.fuzzing.targets import TARGETS

SECONDS = 20  # in which an input is answered on any machine; most take a thousandth of one
MEMORY_BYTES = 1 << 30  # more than the process has
EXAMPLES = 200
MOST_BYTES = 10 << 10  # of the corpus of a target


@pytest.fixture(autouse=True, scope="module")
def in_bounds() -> Iterator[None]:
    """What hangs or takes all memory ends the test."""

    def hangs(*_: object) -> None:
        raise TimeoutError(f"an input was not answered in {SECONDS} s")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, limits[1]))
    before = signal.signal(signal.SIGALRM, hangs)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def answered(target: str, data: bytes) -> None:
    """Hold that an input has an answer, or an error of ours, in time."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        TARGETS[target](data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.parametrize("target", TARGETS)
def test_each_input_of_the_corpus_has_an_answer(target: str) -> None:
    for data in inputs(target).values():
        answered(target, data)


@pytest.mark.parametrize("target", TARGETS)
@settings(
    max_examples=EXAMPLES,
    derandomize=settings().max_examples <= 100,  # new ones are for the session `fuzz` to find
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_each_change_of_an_input_has_an_answer(target: str, seed: int) -> None:
    kept, random = list(inputs(target).values()), Random(seed)
    answered(target, mutated(random.choice(kept), kept, random))


def test_the_corpus_is_small_and_has_inputs_of_each_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    sizes = {target: sum(map(len, inputs(target).values())) for target in TARGETS}
    assert [target for target, size in sizes.items() if not 0 < size <= MOST_BYTES] == []
