"""The conformance suites with the ports of `run_suites`; pytest runs this file."""
# ruff: noqa: D102

from __future__ import annotations

from typing import Any

import pytest

from imagevol_adapters.ports import Attacher, VolumeService
from imagevol_adapters.testing.conformance import AttacherConformance, VolumeServiceConformance

__all__ = ["PORTS", "TestAttacher", "TestVolumes"]

PORTS = "imagevol-ports"
"""The name under which `run_suites` gives pytest the ports."""


class _WithPorts:
    """Ports that exist already."""

    @pytest.fixture
    def ports(self, pytestconfig: pytest.Config) -> Any:
        return pytestconfig.pluginmanager.get_plugin(PORTS)

    @pytest.fixture
    def volumes(self, ports: Any) -> VolumeService:
        volumes: VolumeService = ports.volumes
        return volumes

    @pytest.fixture(autouse=True)
    def of_this_type(self, ports: Any) -> None:
        setattr(self, "volume_type", ports.volume_type)  # noqa: B010 - what the suite has for all


class TestVolumes(_WithPorts, VolumeServiceConformance):
    """Cinder."""

    @pytest.fixture
    def impatient(self, ports: Any) -> VolumeService:
        volumes: VolumeService = ports.impatient
        return volumes


class TestAttacher(_WithPorts, AttacherConformance):
    """This host."""

    @pytest.fixture
    def attacher(self, ports: Any) -> Attacher:
        attacher: Attacher = ports.attacher
        return attacher
