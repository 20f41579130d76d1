"""The mutants that are known to survive, each with the reason why that is right (`survivors.toml`).

A mutant is told by the function and by the lines before and after, not by the number that mutmut gives it, which moves
whenever something is written above.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

LIST = Path(__file__).with_name("survivors.toml")


class Mutant(NamedTuple):
    """One small change to one function; the lines are without their indentation."""

    module: str
    function: str
    before: str
    after: str

    def __str__(self) -> str:
        """An entry of the list that only lacks its reason."""
        function = f"{self.module}:{self.function}"
        lines = f"before = '''{self.before}'''\nafter = '''{self.after}'''"
        return f'[[survivor]]\nfunction = "{function}"\n{lines}\nwhy = ""\n'


def read(path: Path = LIST) -> dict[Mutant, str]:
    """Give the listed mutants and why each may survive; an entry without a reason is refused."""
    listed: dict[Mutant, str] = {}
    for entry in tomllib.loads(path.read_text())["survivor"]:
        module, _, function = entry["function"].partition(":")
        mutant = Mutant(module, function, entry["before"], entry["after"])
        if not entry["why"].strip() or mutant in listed:
            raise ValueError(f"{path.name}: {mutant.module}:{function} is listed twice, or without a reason:\n{mutant}")
        listed[mutant] = entry["why"]
    return listed


def compare(survived: Iterable[Mutant], listed: Iterable[Mutant]) -> tuple[list[Mutant], list[Mutant]]:
    """Give the survivors that are not listed, and what is listed and did not survive."""
    found, known = set(survived), set(listed)
    return sorted(found - known), sorted(known - found)
