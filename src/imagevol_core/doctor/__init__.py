"""Whether a host can do its job, and what to do if not."""

from imagevol_core.doctor.decision import Diagnosis, diagnose
from imagevol_core.doctor.facts import (
    DoctorAccess,
    DoctorBackend,
    DoctorFacts,
    DoctorGlance,
    DoctorHost,
    DoctorService,
    DoctorTrial,
    Rates,
)
from imagevol_core.doctor.host_rules import DOCTOR_HOST_RULES, DOCTOR_SERVICE_RULES
from imagevol_core.doctor.settings_rules import (
    DOCTOR_ACCESS_RULES,
    DOCTOR_BACKEND_RULES,
    DOCTOR_GLANCE_RULES,
    DOCTOR_TRIAL_RULES,
)

__all__ = [
    "DOCTOR_ACCESS_RULES",
    "DOCTOR_BACKEND_RULES",
    "DOCTOR_GLANCE_RULES",
    "DOCTOR_HOST_RULES",
    "DOCTOR_SERVICE_RULES",
    "DOCTOR_TRIAL_RULES",
    "Diagnosis",
    "DoctorAccess",
    "DoctorBackend",
    "DoctorFacts",
    "DoctorGlance",
    "DoctorHost",
    "DoctorService",
    "DoctorTrial",
    "Rates",
    "diagnose",
]
