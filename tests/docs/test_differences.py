"""The page of differences shows differences."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.core.cases import BOTH_POLICIES

SOURCE = Path(__file__).parents[2] / "docs/_ext/policy_cases.py"


def cases() -> list[Any]:
    spec = importlib.util.spec_from_file_location("policy_cases", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["policy_cases"] = importlib.util.module_from_spec(spec)  # dataclasses look it up there
    spec.loader.exec_module(module)
    return list(module.CASES)


@pytest.mark.parametrize("case", cases(), ids=lambda case: str(case.asked))
def test_the_policies_answer_differently(case: Any) -> None:
    strict, upstream = (case.answer(policy) for policy in BOTH_POLICIES)
    assert strict != upstream
    assert case.why
