"""One self-contained HTML page: which images can be cloned where and why not, findings, stores and backends."""

from imagevol_adapters.reporting.contents import (
    KINDS,
    Answer,
    Contents,
    Kind,
    ShownImage,
    ShownPlace,
    ShownPool,
    ShownStore,
)
from imagevol_adapters.reporting.page import BEGINS, check_library, html_page

__all__ = [
    "BEGINS",
    "KINDS",
    "Answer",
    "Contents",
    "Kind",
    "ShownImage",
    "ShownPlace",
    "ShownPool",
    "ShownStore",
    "check_library",
    "html_page",
]
