"""The configuration files of Glance and Cinder: read as the services read them, and upgraded."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.configuration.backend_options import OPTIONS
    from imagevol_adapters.configuration.stores import (
        LONGEST_FILE,
        credentials,
        load,
        options_of,
        read_catalogue,
        refuse_endless,
        section_of,
        value_of,
    )
    from imagevol_adapters.configuration.text import Assignment, ConfigurationText, difference
    from imagevol_adapters.configuration.upgrade import FileUpgrade, plan_file_upgrade, write_beside, write_in_place
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "backend_options": ("OPTIONS",),
            "stores": (
                "LONGEST_FILE",
                "credentials",
                "load",
                "options_of",
                "read_catalogue",
                "refuse_endless",
                "section_of",
                "value_of",
            ),
            "text": (
                "Assignment",
                "ConfigurationText",
                "difference",
            ),
            "upgrade": (
                "FileUpgrade",
                "plan_file_upgrade",
                "write_beside",
                "write_in_place",
            ),
        },
    )

__all__ = [
    "LONGEST_FILE",
    "OPTIONS",
    "Assignment",
    "ConfigurationText",
    "FileUpgrade",
    "credentials",
    "difference",
    "load",
    "options_of",
    "plan_file_upgrade",
    "read_catalogue",
    "refuse_endless",
    "section_of",
    "value_of",
    "write_beside",
    "write_in_place",
]
