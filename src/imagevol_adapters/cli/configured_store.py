"""A cinder store of Glance, as its configuration has it, with its own credentials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from imagevol_core import DoctorGlance, RequestRefused
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.cinder.volumes import CinderVolumes
    from imagevol_core import StoreHost

__all__ = ["CINDER_CONF", "GLANCE_API_CONF", "ConfiguredStore"]

GLANCE_API_CONF = Path("/etc/glance/glance-api.conf")
CINDER_CONF = Path("/etc/cinder/cinder.conf")
_ANSWER_SECONDS = 20


@attrs.frozen(kw_only=True)
class ConfiguredStore:
    """A cinder store of a Glance, as its configuration has it.

    Attributes:
        volumes: Cinder with the store's own credentials; None if it has none.
        volume_type: of its volumes.
        multipath: whether it connects volumes by several paths.
        glance: the settings.
        host: what it needs of this host.
    """

    volumes: CinderVolumes | None
    volume_type: str | None
    multipath: bool
    glance: DoctorGlance
    host: StoreHost

    @classmethod
    def read(cls, files: Sequence[Path], name: str) -> ConfiguredStore:
        """Read the configuration.

        Raises:
            InvalidConfiguration: it cannot be read.
            RequestRefused: it has no such store, or one that is not in volumes.
        """
        from types import SimpleNamespace

        from imagevol_adapters.cinder.service_user import has_service_user, service_volumes
        from imagevol_adapters.configuration.stores import load, options_of, read_catalogue, section_of
        from imagevol_adapters.doctoring import glance_facts
        from imagevol_adapters.store_trials import host_of

        conf = load(files)
        catalogue = read_catalogue(conf)
        store = catalogue.get(name)
        if store is None or not store.is_cinder:
            names = ", ".join(each.name for each in catalogue.stores if each.is_cinder) or "none"
            raise RequestRefused(f"{said(name)} is not a cinder store of {files[-1]}; these are: {names}")
        section = section_of(store, catalogue)
        options: Any = SimpleNamespace(**options_of(conf, section=section))
        return cls(
            volumes=service_volumes(options, timeout_seconds=_ANSWER_SECONDS) if has_service_user(options) else None,
            volume_type=store.volume_type,
            multipath=bool(options.cinder_use_multipath),
            glance=glance_facts(conf, section=section),
            host=host_of(conf, section=section),
        )
