"""Whether a host can do its job, and what to do if not: each requirement with the step that comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from imagevol_core.doctor.facts import Check, DoctorFacts
from imagevol_core.doctor.host_rules import DOCTOR_HOST_RULES, DOCTOR_SERVICE_RULES
from imagevol_core.doctor.settings_rules import (
    DOCTOR_ACCESS_RULES,
    DOCTOR_BACKEND_RULES,
    DOCTOR_GLANCE_RULES,
    DOCTOR_TRIAL_RULES,
)
from imagevol_core.sentences import said
from imagevol_core.verdicts import Policy, Verdict, evaluate

__all__ = ["Diagnosis", "DoctorLine", "diagnose"]

Facts = TypeVar("Facts")


class DoctorLine(NamedTuple):
    """What one check says.

    Attributes:
        verdict: its rule, subject, result and why.
        next: what to do; None if it holds.
    """

    verdict: Verdict
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Whether a host can do its job.

    Attributes:
        lines: each check, in order.
    """

    lines: tuple[DoctorLine, ...]

    @property
    def able(self) -> bool:
        """Whether no check fails; a warning is no failure."""
        return all(line.verdict.ok for line in self.lines)


def diagnose(facts: DoctorFacts) -> Diagnosis:
    """Say what stands in the way of a host, and what to do about each thing.

    Args:
        facts: what is known. What is None in it is not looked at.

    >>> from imagevol_core.doctor.facts import DoctorService
    >>> service = DoctorService(name="block-storage", url="https://cinder", newest="3.50", wanted="3.54")
    >>> [(line.verdict.rule, line.next) for line in diagnose(DoctorFacts(services=(service,))).lines if line.next]
    [('service-microversion', 'Upgrade the service.')]
    """
    parts = (
        _asked(DOCTOR_HOST_RULES, facts.host, "host"),
        *(_asked(DOCTOR_SERVICE_RULES, service, said(service.name)) for service in facts.services),
        _asked(DOCTOR_ACCESS_RULES, facts.access, "credentials"),
        _asked(DOCTOR_GLANCE_RULES, facts.glance, "Glance"),
        *(
            _asked(DOCTOR_BACKEND_RULES, backend, f"backend {said(backend.name)}")
            for backend in [facts.backend]
            if backend
        ),
        _asked(DOCTOR_TRIAL_RULES, facts.trial, "measured"),
    )
    return Diagnosis(lines=tuple(line for part in parts for line in part))


def _asked(rules: Mapping[Policy, Sequence[Check[Facts]]], facts: Facts | None, subject: str) -> Iterator[DoctorLine]:
    if facts is None:
        return
    checks = rules[Policy.STRICT]
    steps = {check.id: check.next for check in checks}
    for verdict in evaluate(checks, facts, subject=subject):
        yield DoctorLine(verdict, steps[verdict.rule] if verdict.faults else None)
