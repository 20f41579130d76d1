"""What a `cinder.conf` says of one backend, for the check of its host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
from oslo_config import cfg

from imagevol_adapters.configuration.stores import value_of
from imagevol_adapters.gathering.cinder_configuration import TENANT_USER, CinderConfiguration
from imagevol_core import DoctorBackend

__all__ = ["BackendSettings", "has_mixin"]

_NEED_TENANT = (
    cfg.BoolOpt("image_volume_cache_enabled", default=False),
    cfg.BoolOpt("image_upload_use_internal_tenant", default=False),
    cfg.BoolOpt("image_template_enabled", default=False),
)
_MULTIPATH = cfg.BoolOpt("use_multipath_for_image_xfer", default=False)
_SHARED = "backend_defaults"
_DRIVER = cfg.StrOpt("volume_driver")
_LOADING_SECONDS = 60
_PROBE = (
    "import importlib, sys",
    "module, _, name = sys.argv[1].rpartition('.')",
    "driver = getattr(importlib.import_module(module), name)",
    "names = {(each.__module__.partition('.')[0], each.__name__) for each in driver.__mro__}",
    "print()",
    "print('has mixin' if ('imagevol_adapters', 'ImageCloneMixin') in names else 'no mixin')",
)


@attrs.frozen(kw_only=True)
class BackendSettings:
    """What a `cinder.conf` says of one backend.

    Args:
        facts: for `diagnose`.
        conversion_directory: where its host converts images.
        multipath: whether its host connects volumes by several paths.
    """

    facts: DoctorBackend
    conversion_directory: Path
    multipath: bool

    @classmethod
    def read(cls, file: Path, name: str) -> BackendSettings:
        """Read a file.

        Args:
            file: Cinder's configuration.
            name: of the backend's section.

        Raises:
            InvalidConfiguration: the file cannot be read, or an option that is looked at has no valid value.
        """
        configuration = CinderConfiguration.read(file)
        conf = configuration.conf
        described = name in value_of(conf, "enabled_backends")
        driver = _value(conf, _DRIVER, name) if described else None
        settings = configuration.settings(f"@{name}") if described else configuration.assumed_settings()
        return cls(
            facts=DoctorBackend(
                name=name,
                described=described,
                schemes=tuple(value_of(conf, "allowed_direct_url_schemes")),
                verifies_signatures=value_of(conf, "verify_glance_signatures") == "enabled",
                tenant=configuration.internal_tenant,
                tenant_user=value_of(conf, TENANT_USER) or None,
                needs_tenant=tuple(_set(conf, name)) if described else (),
                driver=driver,
                mixin=has_mixin(driver) if driver else None,
                clone_schemes=settings.clones.allowed_direct_url_schemes,
                trusted=len(settings.clones.trusted_projects),
            ),
            conversion_directory=Path(value_of(conf, "image_conversion_dir")),
            multipath=described and _is_set(conf, _MULTIPATH, name),
        )


def _set(conf: cfg.ConfigOpts, section: str) -> list[str]:
    """The options that need the internal tenant and are set, in a backend's section or for all of them."""
    return [option.name for option in _NEED_TENANT if _is_set(conf, option, section)]


def _is_set(conf: cfg.ConfigOpts, option: cfg.Opt, section: str) -> bool:
    return bool(_value(conf, option, section))


def _value(conf: cfg.ConfigOpts, option: cfg.Opt, section: str) -> Any:
    """What an option is set to, in a backend's section or for all of them; None if it is not."""
    values = []
    for group in (section, _SHARED):
        if option.name not in conf[group]:
            conf.register_opt(option, group=group)
            conf.set_default(option.name, None, group=group)
        values.append(value_of(conf, option.name, section=group))
    return next((value for value in values if value is not None), None)


def has_mixin(driver: str) -> bool | None:
    """Tell whether a driver's class has ImageCloneMixin, by loading it in another process; None if it cannot be loaded.

    Args:
        driver: the class, as `volume_driver` names it.
    """
    try:
        ran = subprocess.run(  # noqa: S603 - what the operator has Cinder load
            [sys.executable, "-W", "ignore", "-c", "\n".join(_PROBE), driver],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LOADING_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return {b"has mixin": True, b"no mixin": False}.get(ran.stdout.strip().rpartition(b"\n")[2])
