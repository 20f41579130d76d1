"""Which image volumes a new volume can be cloned from ([clone])."""

from imagevol_core.cloning.decision import REQUEST_RULES, VOLUME_RULES, CloneDecision, decide_clone
from imagevol_core.cloning.facts import CloneSettings
from imagevol_core.cloning.rules import SIGNATURE_PROPERTIES

__all__ = ["REQUEST_RULES", "SIGNATURE_PROPERTIES", "VOLUME_RULES", "CloneDecision", "CloneSettings", "decide_clone"]
