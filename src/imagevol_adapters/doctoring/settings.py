"""The settings of Glance and of a backend of Cinder that matter to a host."""

from __future__ import annotations

from pathlib import Path

import attrs
from oslo_config import cfg

from imagevol_adapters.closing import closing
from imagevol_adapters.configuration.stores import value_of
from imagevol_adapters.gathering.cinder_configuration import TENANT_USER, CinderConfiguration
from imagevol_adapters.relocating import LocationService
from imagevol_core import AccessDenied, DoctorBackend, DoctorGlance, InvalidConfiguration

__all__ = ["BackendSettings", "glance_facts", "shows_locations"]

_OF_GLANCE = (
    cfg.BoolOpt("show_multiple_locations", default=False),
    cfg.StrOpt("hashing_algorithm", default="sha512"),
)
_NEED_TENANT = (
    cfg.BoolOpt("image_volume_cache_enabled", default=False),
    cfg.BoolOpt("image_upload_use_internal_tenant", default=False),
    cfg.BoolOpt("image_template_enabled", default=False),
)
_MULTIPATH = cfg.BoolOpt("use_multipath_for_image_xfer", default=False)
_SHARED = "backend_defaults"


def glance_facts(conf: cfg.ConfigOpts, *, section: str) -> DoctorGlance:
    """Say what a `glance-api.conf` says.

    Args:
        conf: what `configuration.load` gives.
        section: of the store that is checked.

    Raises:
        InvalidConfiguration: a value is malformed.
    """
    conf.register_opts(_OF_GLANCE)
    return DoctorGlance(
        shows_locations=value_of(conf, "show_multiple_locations"),
        insecure=value_of(conf, "cinder_api_insecure", section=section),
        hashing_algorithm=value_of(conf, "hashing_algorithm"),
    )


def shows_locations(images: LocationService) -> bool | None:
    """Tell whether Glance shows locations to these credentials; None if it has no image to show them of.

    Args:
        images: Glance.
    """
    listed = images.listed()
    with closing(listed):
        try:
            return True if next(iter(listed), None) is not None else None
        except AccessDenied:
            return False


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
        if configuration.file is None:
            raise InvalidConfiguration(str(file), "it cannot be read: give the cinder.conf of the backend's host")
        conf = configuration.conf
        described = name in value_of(conf, "enabled_backends")
        return cls(
            facts=DoctorBackend(
                name=name,
                described=described,
                schemes=tuple(value_of(conf, "allowed_direct_url_schemes")),
                verifies_signatures=value_of(conf, "verify_glance_signatures") == "enabled",
                tenant=configuration.internal_tenant,
                tenant_user=value_of(conf, TENANT_USER) or None,
                needs_tenant=tuple(_set(conf, name)) if described else (),
            ),
            conversion_directory=Path(value_of(conf, "image_conversion_dir")),
            multipath=described and _is_set(conf, _MULTIPATH, name),
        )


def _set(conf: cfg.ConfigOpts, section: str) -> list[str]:
    """The options that need the internal tenant and are set, in a backend's section or for all of them."""
    return [option.name for option in _NEED_TENANT if _is_set(conf, option, section)]


def _is_set(conf: cfg.ConfigOpts, option: cfg.Opt, section: str) -> bool:
    """Whether an option is set, in a backend's section or for all of them."""
    values = []
    for group in (section, _SHARED):
        if option.name not in conf[group]:
            conf.register_opt(option, group=group)
            conf.set_default(option.name, None, group=group)
        values.append(value_of(conf, option.name, section=group))
    return bool(next((value for value in values if value is not None), False))
