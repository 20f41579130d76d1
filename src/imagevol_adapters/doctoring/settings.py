"""The settings of Glance that matter to a host."""

from __future__ import annotations

from oslo_config import cfg

from imagevol_adapters.closing import closing
from imagevol_adapters.configuration.stores import value_of
from imagevol_adapters.relocating import LocationService
from imagevol_core import AccessDenied, DoctorGlance

__all__ = ["glance_facts", "shows_locations"]

_OF_GLANCE = (
    cfg.BoolOpt("show_multiple_locations", default=False),
    cfg.StrOpt("hashing_algorithm", default="sha512"),
)


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
