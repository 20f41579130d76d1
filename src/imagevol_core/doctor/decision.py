"""Whether a host can do its job, and what to do if not: each requirement with the step that comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imagevol_core.checks import CheckLine, checked
from imagevol_core.doctor.facts import DoctorFacts
from imagevol_core.doctor.host_rules import DOCTOR_HOST_RULES, DOCTOR_SERVICE_RULES
from imagevol_core.doctor.settings_rules import (
    DOCTOR_ACCESS_RULES,
    DOCTOR_BACKEND_RULES,
    DOCTOR_GLANCE_RULES,
    DOCTOR_TRIAL_RULES,
)
from imagevol_core.sentences import said

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Whether a host can do its job.

    Attributes:
        lines: each check, in order.
    """

    lines: tuple[CheckLine, ...]

    @property
    def able(self) -> bool:
        """Whether no check fails; a warning is no failure."""
        return all(line.verdict.ok for line in self.lines)


def diagnose(facts: DoctorFacts) -> Diagnosis:
    """Check whether a host can do its job, and say what to do about each fault.

    Args:
        facts: what is known of the host and the services. A fact that is None is not checked.

    >>> from imagevol_core.doctor.facts import DoctorService
    >>> service = DoctorService(name="block-storage", url="https://cinder", newest="3.50", wanted="3.54")
    >>> [(line.verdict.rule, line.next) for line in diagnose(DoctorFacts(services=(service,))).lines if line.next]
    [('service-microversion', 'Upgrade the service.')]
    """
    return Diagnosis(lines=tuple(_lines(facts)))


def _lines(facts: DoctorFacts) -> Iterator[CheckLine]:
    if facts.host is not None:
        yield from checked(DOCTOR_HOST_RULES, facts.host, subject="host")
    for service in facts.services:
        yield from checked(DOCTOR_SERVICE_RULES, service, subject=said(service.name))
    if facts.access is not None:
        yield from checked(DOCTOR_ACCESS_RULES, facts.access, subject="credentials")
    if facts.glance is not None:
        yield from checked(DOCTOR_GLANCE_RULES, facts.glance, subject="Glance")
    if facts.backend is not None:
        yield from checked(DOCTOR_BACKEND_RULES, facts.backend, subject=f"backend {said(facts.backend.name)}")
    if facts.trial is not None:
        yield from checked(DOCTOR_TRIAL_RULES, facts.trial, subject="measured")
