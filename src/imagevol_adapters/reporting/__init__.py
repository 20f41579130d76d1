"""One self-contained HTML page: which images can be cloned where and why not, findings, stores, backends, jobs."""

from imagevol_adapters.reporting.contents import (
    KINDS,
    Answer,
    Contents,
    Kind,
    ShownImage,
    ShownJob,
    ShownPlace,
    ShownPool,
    ShownShard,
    ShownStore,
    ShownWorker,
)
from imagevol_adapters.reporting.page import BEGINS, check_library, html_page

__all__ = [
    "BEGINS",
    "KINDS",
    "Answer",
    "Contents",
    "Kind",
    "ShownImage",
    "ShownJob",
    "ShownPlace",
    "ShownPool",
    "ShownShard",
    "ShownStore",
    "ShownWorker",
    "check_library",
    "html_page",
]
