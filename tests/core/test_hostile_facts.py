"""Whatever facts a decision is given, it gives an answer or an error of ours: one printable line, soon."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagevol_core
from imagevol_core import ImagevolError, InvalidFact, RequestRefused, ResourceNotFound, ServiceFailed
from tests.core.hostile import TEXTS, arguments_of

# Given functions, which are no facts.
OF_RULES = frozenset({"evaluate", "every_match", "first_match"})
FUNCTIONS = {
    name: function
    for name in imagevol_core.__all__
    if inspect.isfunction(function := getattr(imagevol_core, name)) and name not in OF_RULES
}
LONGEST = 50_000  # characters of an error: the names of what it is about are in it, each of 5,000 characters


def look_at(answer: object) -> None:
    """Take all that an answer says, to its end."""
    if isinstance(answer, Iterator):
        answer = list(answer)
    for each in answer if isinstance(answer, list | tuple) else (answer,):
        str(each)
        for name, attribute in vars(type(each)).items():
            if is_dataclass(each) and isinstance(attribute, property):
                getattr(each, name)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(derandomize=settings().max_examples <= 100)  # new ones are for the session `sweep` to find
@given(seed=st.integers(0, 2**64))
def test_every_decision_answers_or_refuses(name: str, seed: int) -> None:
    refused = ""
    try:
        look_at(FUNCTIONS[name](**arguments_of(FUNCTIONS[name], Random(seed))))
    except ImagevolError as error:
        refused = str(error)
    assert refused.isprintable()
    assert len(refused) <= LONGEST


def test_every_public_decision_is_tried_with_hostile_facts() -> None:
    """With arguments of every kind: what cannot be made up would be tried by nothing."""
    for function in FUNCTIONS.values():
        arguments_of(function, Random(0))


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:40])
def test_no_error_of_ours_shows_what_a_terminal_obeys(text: str) -> None:
    for error in (
        RequestRefused(text),
        InvalidFact("fact", text),
        ResourceNotFound("volume", text),
        ServiceFailed(f"Cinder, volume {text}"),
    ):
        error.leftovers = (text,)
        assert all(map(str.isprintable, str(error).split("\n")))
