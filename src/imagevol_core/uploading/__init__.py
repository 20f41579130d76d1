"""The way from a volume to an image ([clone], [base])."""

from imagevol_core.uploading.decision import plan_upload
from imagevol_core.uploading.facts import (
    STORE_SPEC,
    UploadAction,
    UploadFailure,
    UploadPlan,
    UploadSettings,
    UploadStep,
)
from imagevol_core.uploading.headers import upload_headers
from imagevol_core.uploading.landing import UploadLanding, check_location
from imagevol_core.uploading.rules import UPLOAD_RULES

__all__ = [
    "STORE_SPEC",
    "UPLOAD_RULES",
    "UploadAction",
    "UploadFailure",
    "UploadLanding",
    "UploadPlan",
    "UploadSettings",
    "UploadStep",
    "check_location",
    "plan_upload",
    "upload_headers",
]
