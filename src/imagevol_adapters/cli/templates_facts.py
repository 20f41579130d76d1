"""What the commands for templates and their workers know: the internal tenant, and the facts of what is wished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.cli.services import Services
from imagevol_core import Image, RequestRefused, WarmWish

if TYPE_CHECKING:
    from imagevol_adapters.gathering.cinder_configuration import CinderConfiguration
    from imagevol_adapters.tending.warming import Warmer

__all__ = ["CINDER_CONF", "TENANT", "internal_tenant", "read_configuration", "warmer_of", "wishes_of"]

CINDER_CONF = Path("/etc/cinder/cinder.conf")
TENANT = "cinder_internal_tenant_project_id"


def read_configuration(file: Path, *, tenant: str | None) -> CinderConfiguration:
    """Read what the operator has configured; a file that is named must be there.

    Args:
        file: Cinder's configuration.
        tenant: the internal tenant, if it was given.

    Raises:
        InvalidConfiguration: the file cannot be read, or an option in it has no valid value.
    """
    from imagevol_adapters.gathering.cinder_configuration import CinderConfiguration

    return CinderConfiguration.read(file, internal_tenant=tenant, optional=file == CINDER_CONF)


def internal_tenant(
    given: str | None, configuration: Callable[[], CinderConfiguration], *, file: Path, option: str = "--config-file"
) -> str:
    """Give the project of the templates.

    Args:
        given: the value of --internal-tenant.
        configuration: gives what the operator has configured; asked if nothing was given.
        file: where that is.
        option: which names the file.

    Raises:
        RequestRefused: it is not known.
    """
    known = given or configuration().internal_tenant
    if known is None:
        raise RequestRefused(
            f"cannot determine the internal tenant: {file} cannot be read, or does not set {TENANT}; pass "
            f"--internal-tenant or {option}"
        )
    return known


def warmer_of(app: Services, tenant: str) -> Warmer:
    """Give what creates templates.

    Args:
        app: the services.
        tenant: the project of the templates.
    """
    from imagevol_adapters.tending.warming import Warmer

    return Warmer(volumes=app.volumes, images=app.images, internal_tenant=tenant, wait_seconds=app.options.wait_seconds)


def wishes_of(
    app: Services, configuration: CinderConfiguration, images: Iterable[Image], volume_types: Sequence[str]
) -> list[WarmWish]:
    """Collect the facts of each image and volume type.

    Args:
        app: the services.
        configuration: what the operator has configured.
        images: taken after the types were looked up.
        volume_types: the names of the types; if it is empty, Cinder's default type.

    Raises:
        ResourceNotFound: there is no such image or type.
        ImagevolError: a service does not answer, or refuses.
    """
    from imagevol_adapters.gathering import gather_warm

    return gather_warm(
        images, volume_types, volumes=app.volumes, configuration=configuration, project_id=app.project_id
    )
