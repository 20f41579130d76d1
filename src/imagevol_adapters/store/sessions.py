"""Cinder with the credentials of one store: those of its options, or, where it has none, the requester's token.

A store has its own session, with its own TLS settings; glance_store's driver makes one for whichever store comes first.
"""

from __future__ import annotations

from typing import Any, Protocol

from glance_store import exceptions
from keystoneauth1.access.service_catalog import ServiceCatalogV2
from keystoneauth1.identity import V3ApplicationCredential, V3Password
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token

from imagevol_adapters.cinder import CinderVolumes
from imagevol_adapters.error_text import one_line
from imagevol_adapters.keystone import checked_url
from imagevol_core import InvalidConfiguration

__all__ = ["Options", "RequestContext", "has_service_user", "requesters_volumes", "service_volumes"]

_DELETION_SECONDS = 10  # by then a backend has said no; one that wipes volumes takes minutes to say yes
_USER = ("user_name", "password", "project_name", "auth_address")
_APPLICATION_CREDENTIAL = ("application_credential_id", "application_credential_secret", "auth_address")


class Options(Protocol):
    """The options of a store: attributes by the names that glance_store's cinder driver has."""

    def __getattr__(self, name: str) -> Any:
        """Give one option's value."""


class RequestContext(Protocol):
    """Who asks Glance."""

    user_id: str
    project_id: str
    auth_token: str | None
    service_catalog: list[dict[str, Any]] | None

    def to_dict(self) -> dict[str, Any]:
        """Give what an endpoint's template may name."""


def has_service_user(options: Options) -> bool:
    """Tell whether a store has credentials of its own, all of them: of a user, or an application credential."""
    return any(all(_option(options, name) for name in way) for way in (_APPLICATION_CREDENTIAL, _USER))


def service_volumes(options: Options) -> CinderVolumes:
    """Give Cinder as the store's own credentials see it.

    Raises:
        InvalidConfiguration: the address of Keystone is not a URL.
    """
    auth: BaseAuthPlugin
    auth_url = checked_url(options.cinder_store_auth_address, where="cinder_store_auth_address")
    if all(_option(options, name) for name in _APPLICATION_CREDENTIAL):
        auth = V3ApplicationCredential(
            auth_url=auth_url,
            application_credential_id=options.cinder_store_application_credential_id,
            application_credential_secret=options.cinder_store_application_credential_secret,
        )
    else:
        auth = V3Password(
            auth_url=auth_url,
            username=options.cinder_store_user_name,
            password=options.cinder_store_password,
            user_domain_name=options.cinder_store_user_domain_name,
            project_name=options.cinder_store_project_name,
            project_domain_name=options.cinder_store_project_domain_name,
        )
    return _volumes(options, auth)


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
    return _volumes(options, Token(endpoint=url, token=token), endpoint=url)


def _volumes(options: Options, auth: BaseAuthPlugin, endpoint: str | None = None) -> CinderVolumes:
    verify = not options.cinder_api_insecure and (options.cinder_ca_certificates_file or True)
    return CinderVolumes(
        session=Session(auth=auth, verify=verify),
        region_name=options.cinder_os_region_name,
        endpoint_override=endpoint,
        wait_seconds=options.cinder_state_transition_timeout,
        delete_seconds=_DELETION_SECONDS,
        retries=options.cinder_http_retries,
        attach_attempts=getattr(options, "cinder_attachment_retry_attempts", 5),  # glance_store has it since 5.3
    )


def _misconfigured(reason: str) -> exceptions.BadStoreConfiguration:
    return exceptions.BadStoreConfiguration(store_name="cinder", reason=reason)


def _option(options: Options, name: str) -> Any:
    return getattr(options, f"cinder_store_{name}", None)
