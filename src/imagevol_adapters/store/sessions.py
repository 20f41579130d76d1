"""Cinder with the credentials of one store: those of its options, or, where it has none, the requester's token.

A store has its own session, with its own TLS settings; glance_store's driver makes one for whichever store comes first.
"""

from __future__ import annotations

from typing import Any, Protocol

from glance_store import exceptions
from keystoneauth1.access.service_catalog import ServiceCatalogV2
from keystoneauth1.token_endpoint import Token

from imagevol_adapters.cinder.service_user import Options, has_service_user, service_volumes, volumes_as
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.error_text import one_line
from imagevol_adapters.keystone import checked_url
from imagevol_core import InvalidConfiguration, Requester

__all__ = ["Options", "RequestContext", "has_service_user", "requester_of", "requesters_volumes", "service_volumes"]


class RequestContext(Protocol):
    """Who asks Glance."""

    user_id: str
    project_id: str
    auth_token: str | None
    service_catalog: list[dict[str, Any]] | None

    def to_dict(self) -> dict[str, Any]:
        """Give what an endpoint's template may name."""


def requester_of(context: RequestContext | None) -> tuple[Requester | None, bool]:
    """Give who asks Glance, and whether Glance takes the requester for an administrator; None is Glance itself.

    A service that passes on a user's request proves itself by a token of its own, whose roles are among those.
    """
    if context is None:
        return None, False
    roles = (*(getattr(context, "roles", None) or ()), *(getattr(context, "service_roles", None) or ()))
    requester = Requester(project_id=context.project_id, user_id=context.user_id, roles=frozenset(roles))
    return requester, bool(getattr(context, "is_admin", False))


def requesters_volumes(options: Options, context: RequestContext) -> CinderVolumes:
    """Give Cinder as the requester's token sees it.

    Raises:
        exceptions.BadStoreConfiguration: the requester's service catalogue has no such endpoint.
    """
    url: str | None
    if options.cinder_endpoint_template:
        try:
            url = checked_url(options.cinder_endpoint_template % context.to_dict(), where="cinder_endpoint_template")
        except InvalidConfiguration as error:
            raise _misconfigured(str(error)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise _misconfigured(f"cinder_endpoint_template is malformed: {one_line(error)}") from error
    else:
        try:
            service_type, service_name, interface = options.cinder_catalog_info.split(":")
        except ValueError as error:
            raise _misconfigured("cinder_catalog_info is not SERVICE_TYPE:SERVICE_NAME:INTERFACE") from error
        try:
            url = ServiceCatalogV2(context.service_catalog or []).url_for(
                service_type=service_type,
                service_name=service_name or None,
                interface=interface,
                region_name=options.cinder_os_region_name,
            )
        except Exception as error:
            raise _misconfigured(
                f"the service catalogue has no {options.cinder_catalog_info}: set cinder_catalog_info"
            ) from error
    token = context.auth_token or f"{context.user_id}:{context.project_id}"  # the latter is what noauth takes
    return volumes_as(Token(endpoint=url, token=token), options, endpoint=url)


def _misconfigured(reason: str) -> exceptions.BadStoreConfiguration:
    return exceptions.BadStoreConfiguration(store_name="cinder", reason=reason)
