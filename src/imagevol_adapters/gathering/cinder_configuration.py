"""What a `cinder.conf` says of image volumes and templates, read with oslo.config as Cinder reads it.

Cinder itself is not needed.  Nothing but the options that are named here is looked at.
"""

from __future__ import annotations

from errno import EACCES, ENOENT, ENOTDIR
from pathlib import Path
from typing import Any

import attrs
from oslo_config import cfg

from imagevol_adapters.configuration.backend_options import OPTIONS
from imagevol_adapters.configuration.stores import LONGEST_FILE, place, value_of
from imagevol_adapters.gathering.settings import ASSUMABLE, CinderSettings, gather_cinder_settings
from imagevol_adapters.opening import read_file
from imagevol_core import Backend, CloneSettings, InvalidConfiguration, TemplateSettings, WarmPool
from imagevol_core.sentences import said

__all__ = ["TENANT_OPTION", "TENANT_USER", "CinderConfiguration"]

TENANT_OPTION = "cinder_internal_tenant_project_id"
TENANT_USER = "cinder_internal_tenant_user_id"

_KNOWN = "a user of the internal tenant"
_MISSING = (ENOENT, ENOTDIR, EACCES)
_WHICH = "give the cinder.conf of the backend's host"
_SHARED = "backend_defaults"  # where a backend's section has no value of its own
_OF_CINDER = (
    cfg.StrOpt(TENANT_OPTION),
    cfg.StrOpt(TENANT_USER),
    cfg.StrOpt("verify_glance_signatures", default="enabled"),
    cfg.ListOpt("allowed_direct_url_schemes", default=[]),
    cfg.BoolOpt("image_conversion_disable", default=False),
    cfg.ListOpt("enabled_backends", default=[]),
    cfg.StrOpt("state_path", default="/var/lib/cinder"),
    cfg.StrOpt("image_conversion_dir", default="$state_path/conversion"),
)
_OF_A_BACKEND = (
    *OPTIONS,
    cfg.BoolOpt("image_volume_cache_enabled", default=False),
    cfg.IntOpt("image_volume_cache_max_size_gb", default=0),
    cfg.IntOpt("image_volume_cache_max_count", default=0),
    cfg.BoolOpt("image_upload_use_cinder_backend", default=False),
    cfg.BoolOpt("image_upload_use_internal_tenant", default=False),
)


@attrs.frozen(kw_only=True)
class CinderConfiguration:
    """What the operator has configured.

    Args:
        internal_tenant: the id of Cinder's internal tenant; None if it is not known.
        file: the file that was read; None if there is none, and `optional` allowed that.
        conf: its contents.
    """

    internal_tenant: str | None
    file: Path | None
    conf: cfg.ConfigOpts = attrs.field(repr=False)

    @classmethod
    def read(cls, file: Path, *, internal_tenant: str | None = None, optional: bool = False) -> CinderConfiguration:
        """Read a file.

        Args:
            file: Cinder's configuration.
            internal_tenant: the id of the internal tenant; by default what the file says.
            optional: True to go on without the file if it is missing or may not be read.  Then nothing is configured,
                and `file` is None.

        Raises:
            InvalidConfiguration: the file cannot be read, an option that is looked at has no valid value, or a backend
                has the name of an option.
        """
        conf, found = _parsed(file, optional=optional)
        conf.register_opts(_OF_CINDER)
        conf.register_opts(_OF_A_BACKEND, group=_SHARED)
        taken = set(conf)
        for section in value_of(conf, "enabled_backends"):
            if section in taken:  # oslo.config would give the one in place of the other
                raise InvalidConfiguration(
                    place(conf, "enabled_backends", "DEFAULT"),
                    f"a backend cannot be named {section!r}, because cinder.conf has an option or a section for all "
                    "backends of this name; give it another name",
                )
            conf.register_opts(_OF_A_BACKEND, group=section)
            for option in _OF_A_BACKEND:
                conf.set_default(option.name, None, group=section)
        if internal_tenant:  # what is known better counts for every backend, and has a user
            conf.set_override(TENANT_OPTION, internal_tenant)
            conf.set_default(TENANT_USER, _KNOWN)
        known = value_of(conf, TENANT_OPTION) or None
        return cls(internal_tenant=known, file=found, conf=conf)

    @property
    def conversion_directory(self) -> Path:
        """Where Cinder keeps images while it converts them.

        Raises:
            InvalidConfiguration: the option has no valid value.
        """
        return Path(value_of(self.conf, "image_conversion_dir"))

    def describes(self, pool: str) -> bool:
        """Tell whether the file has the section of a pool's backend.

        Args:
            pool: the name of the pool.
        """
        return _backend_of(pool) in value_of(self.conf, "enabled_backends")

    def pool(self, name: str, *, clone_across_pools: bool = False) -> WarmPool:
        """Give what is allowed on a pool, also of a backend that the file does not describe: see `assumed_settings`.

        Args:
            name: of the pool.
            clone_across_pools: what its backend can do.

        Raises:
            InvalidConfiguration: an option that is looked at has no valid value.
        """
        settings = self.settings(name) if self.describes(name) else self.assumed_settings()
        return WarmPool(
            name=name,
            backend=Backend(clone_across_pools=clone_across_pools),
            clone_settings=settings.clones,
            template_settings=settings.templates,
            conversion=settings.conversion,
        )

    def settings(self, pool: str) -> CinderSettings:
        """Give what is configured for the backend of a pool.

        Args:
            pool: the name of the pool, `host@backend#pool`.

        Raises:
            InvalidConfiguration: the file does not describe the backend, or an option that is looked at has no valid
                value.
        """
        if not self.describes(pool):
            raise InvalidConfiguration(
                said(self.file or "cinder.conf"),
                f"it does not describe backend {said(_backend_of(pool))}: read the file of the backend's host, or add "
                "the backend to enabled_backends",
            )
        return gather_cinder_settings(_Values(self.conf, _backend_of(pool), _SHARED), _Values(self.conf))

    def assumed_settings(self) -> CinderSettings:
        """Give what is assumed of a backend that the file does not describe.

        Its templates are enabled and without limits, and its driver clones no image volume.  Only a try can tell.

        Raises:
            InvalidConfiguration: an option that is looked at has no valid value.
        """
        unknown = gather_cinder_settings(_Values(self.conf, _SHARED), _Values(self.conf))
        templates = TemplateSettings(
            enabled=True,
            trusted_projects=frozenset([self.internal_tenant] if self.internal_tenant else []),
            enforce_signatures=unknown.templates.enforce_signatures,
        )
        return attrs.evolve(unknown, clones=CloneSettings(), templates=templates, assumed=frozenset(ASSUMABLE))


class _Values:
    """Options as attributes: of the first section that has a value, as Cinder looks them up."""

    def __init__(self, conf: cfg.ConfigOpts, *sections: str) -> None:
        self._conf = conf
        self._sections = sections or (None,)

    def __getattr__(self, option: str) -> Any:
        values = (value_of(self._conf, option, section=section) for section in self._sections)
        return next((value for value in values if value is not None), None)


def _backend_of(pool: str) -> str:
    """The section of a backend, as the name of a pool has it."""
    return pool.partition("#")[0].rpartition("@")[2]


def _parsed(file: Path, *, optional: bool) -> tuple[cfg.ConfigOpts, Path | None]:
    """Read a file, or none if it is optional and is missing or may not be read."""
    found: Path | None = file
    try:
        read_file(file, longest_bytes=LONGEST_FILE)
    except OSError as error:
        if not optional or error.errno not in _MISSING:
            raise InvalidConfiguration(said(file), f"it cannot be read: {error.strerror}: {_WHICH}") from error
        found = None
    conf = cfg.ConfigOpts()
    try:
        conf(
            [f"--config-file={found}"] if found else [],
            project="cinder",
            default_config_files=[],
            default_config_dirs=[],
            use_env=False,
        )
    except Exception:  # noqa: BLE001 - its text may be a line of the file, and so a password
        raise InvalidConfiguration(said(file), f"it cannot be read as a configuration: {_WHICH}") from None
    return conf, found
