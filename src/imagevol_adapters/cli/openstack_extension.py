"""What `openstack` imports each time it starts, also for the commands of others: next to nothing.

It loads the entry point of each command of each plug-in.  Here that gives a class that imports the command, from
`openstack_plugin`, when one is made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from typing import Any

API_NAME = "imagevol"
API_VERSION_OPTION = "os_imagevol_api_version"
API_VERSIONS = ("1",)
DEFAULT_API_VERSION = "1"

COMMANDS = (
    *("put", "get", "rm", "cp", "unfinished", "audit", "doctor", "validate", "explain", "report", "explain_upload"),
    *("stores_check", "stores_upgrade_config", "locations_plan", "locations_apply", "locations_undo"),
    *("templates_list", "templates_warm", "templates_prune"),
    *("fleet_work", "fleet_status", "fleet_workers", "fleet_cancel", "fleet_retry"),
)
"""The commands, by the names of their entry points, with underscores for hyphens."""

__all__ = [
    "API_NAME",
    "API_VERSIONS",
    "API_VERSION_OPTION",
    "COMMANDS",
    "DEFAULT_API_VERSION",
    "build_option_parser",
    "make_client",
]


def make_client(instance: object) -> None:
    """There is no client of this name: the commands use those of Cinder and Glance.

    Args:
        instance: the client manager of `openstack`.
    """


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the option that each plug-in has: the version of its commands."""
    parser.add_argument(
        "--os-imagevol-api-version",
        metavar="<imagevol-api-version>",
        default=os.environ.get("OS_IMAGEVOL_API_VERSION", ""),
        help=f"Version of the commands of imagevol, default={DEFAULT_API_VERSION} (Env: OS_IMAGEVOL_API_VERSION)",
    )
    return parser


def __getattr__(name: str) -> type[Any]:
    """Give a command that is imported when it is made."""
    if name not in COMMANDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    class Deferred:
        def __new__(cls, app: Any, app_args: Any, cmd_name: str | None = None) -> Any:
            from imagevol_adapters.cli import openstack_plugin

            return getattr(openstack_plugin, name)(app, app_args, cmd_name)

        def __init__(self, app: Any, app_args: Any, cmd_name: str | None = None) -> None:
            """Never called: cliff looks here whether a command takes its name."""

    Deferred.__name__ = Deferred.__qualname__ = name
    return Deferred
