"""What a process that has ended left behind: attachments and volumes ([store])."""

from imagevol_core.remains.attachments import (
    RECLAIM_RULES,
    AttachmentFacts,
    HolderState,
    ProcessRecord,
    ReclaimDecision,
    RunningProcess,
    decide_process,
    decide_reclaim,
    holder_of,
    unanswered_attachments,
)
from imagevol_core.remains.lost import ReservationTry, lost_attachment, reserver_of
from imagevol_core.remains.removal import REMOVAL_RULES, RemovalDecision, RemovalOutcome, decide_removal
from imagevol_core.remains.volumes import (
    CLONE_OF_KEY,
    FINISHED,
    JOURNAL_KEY,
    REMAINS_RULES,
    UNFINISHED,
    RemainsAction,
    RemainsDecision,
    VolumeOrigin,
    decide_remains,
)

__all__ = [
    "CLONE_OF_KEY",
    "FINISHED",
    "JOURNAL_KEY",
    "RECLAIM_RULES",
    "REMAINS_RULES",
    "REMOVAL_RULES",
    "UNFINISHED",
    "AttachmentFacts",
    "HolderState",
    "ProcessRecord",
    "ReclaimDecision",
    "RemainsAction",
    "RemainsDecision",
    "RemovalDecision",
    "RemovalOutcome",
    "ReservationTry",
    "RunningProcess",
    "VolumeOrigin",
    "decide_process",
    "decide_reclaim",
    "decide_remains",
    "decide_removal",
    "holder_of",
    "lost_attachment",
    "reserver_of",
    "unanswered_attachments",
]
