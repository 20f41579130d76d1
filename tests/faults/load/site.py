"""Where the load is brought: services, with what the run asks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.faults.load.transfers import Ports

__all__ = ["Site"]


class Site(Protocol):
    """Services, in memory or real.

    Attributes:
        where: `module:function` that gives a worker its ports, given `variables`.
        preloaded: the modules that a worker needs.
        ports: of the run itself, in whose calls nothing goes wrong.
        demo: Cinder, as a user sees it.
        storm_store: a store whose images only a template can serve.
        settling_seconds: what has not changed in this time changes no more.
    """

    where: str
    preloaded: Sequence[str]
    ports: Ports
    demo: Any
    storm_store: str
    settling_seconds: float

    @property
    def variables(self) -> Mapping[str, str]:
        """Give the environment of a worker."""

    def strike(self, *, active: bool) -> None:
        """Let calls of the workers go wrong, or no more."""

    def calls(self) -> tuple[int, int]:
        """Give how many calls the workers made while calls went wrong, and how many of them did."""

    def services(self) -> Mapping[str, int]:
        """Let the services collect their garbage, and give their processes by what the page calls them."""

    def lock_directories(self) -> Sequence[Path]:
        """Give the directories with the lock files of services and workers."""

    def inventory(self) -> set[str]:
        """Name all that is there: volumes, attachments, images, devices, files."""

    def templates(self) -> set[str]:
        """Name the templates that are there."""

    def remove_templates(self) -> None:
        """Delete them."""

    def audit(self, *, repair: bool) -> list[Mapping[str, Any]]:
        """Give what `imagevol audit` finds, and repairs if it is told to."""
