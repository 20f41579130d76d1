"""Faults at random: which call goes wrong, and how, is drawn from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.faults.proxy.calls import FAULTS, Call, Fault, template_of
from tests.faults.proxy.passing import Proxies

__all__ = ["RandomFaults"]

_WEIGHTS: Mapping[str, int] = {
    "answered-429": 4,
    "answered-500": 1,
    "answered-503": 6,
    "answered-504-done": 2,
    "reset-before": 4,
    "reset-after": 4,
    "reset-within": 2,
    "silent": 1,
    "silent-done": 1,
    "cut-json": 1,
    "expired": 1,
}


class RandomFaults(Proxies):
    """Proxies that let one call in so many go wrong, once they are told to begin.

    Args:
        services: the URL of each service, by its name.
        seed: the n-th call of a kind goes wrong in the same way for the same seed.
        rate: how many of the calls go wrong.

    Attributes:
        passed: how many calls were made while calls went wrong.
        brought: how often each fault was brought about.
    """

    def __init__(self, services: Mapping[str, str], *, seed: int, rate: float) -> None:
        super().__init__(services)
        self.seed, self.rate = seed, rate
        self.passed = 0
        self.brought = Counter[str]()
        self.active = False

    def note(self, service: str, method: str, path: str, token: str) -> Fault | None:
        """Count a call, and give what goes wrong with it."""
        kind = (service, method, template_of(path))
        with self._lock:
            if token in self._expired:
                return Fault(text="", status=401)
            if not self.active:
                return None
            self._counted[kind] += 1
            self.passed += 1
            name = drawn(
                f"{self.seed} {Call(*kind, self._counted[kind])}", self.rate, [*_WEIGHTS], [*_WEIGHTS.values()]
            )
            if name is None:
                return None
            self.brought[name] += 1
            if FAULTS[name].expires:
                self._expired.update({token} - {""})
                return Fault(text="", status=401)
            return FAULTS[name]


def drawn(seed: str, rate: float, names: Sequence[str], weights: Sequence[int]) -> str | None:
    """Draw one of these, or none."""
    dice = random.Random(seed)
    return dice.choices(names, weights)[0] if dice.random() < rate else None
