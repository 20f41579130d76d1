"""Cinder as the own credentials of a store see it: those of a user or an application credential."""

from __future__ import annotations

from typing import Any, Protocol

from keystoneauth1.identity import V3ApplicationCredential, V3Password
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session

from imagevol_adapters.attaching_records import AttachingRecords, host_lock_path
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.error_text import keep_secret, keep_token_secret
from imagevol_adapters.keystone import checked_url
from imagevol_core import STALL_SECONDS

__all__ = ["Options", "has_service_user", "service_volumes", "volumes_as"]

_DELETION_SECONDS = 10  # by then a backend has said no; one that wipes volumes takes minutes to say yes
_USER = ("user_name", "password", "project_name", "auth_address")
_APPLICATION_CREDENTIAL = ("application_credential_id", "application_credential_secret", "auth_address")


class Options(Protocol):
    """The options of a store: attributes by the names that glance_store's cinder driver has."""

    def __getattr__(self, name: str) -> Any:
        """Give one option's value."""


def has_service_user(options: Options) -> bool:
    """Tell whether a store has credentials of its own, all of them: of a user, or an application credential."""
    return any(all(_option(options, name) for name in way) for way in (_APPLICATION_CREDENTIAL, _USER))


def service_volumes(options: Options, *, timeout_seconds: float | None = None) -> CinderVolumes:
    """Give Cinder as the store's own credentials see it.

    Args:
        options: of the store.
        timeout_seconds: how long an answer is waited for; None for the deadline of the store.

    Raises:
        InvalidConfiguration: the address of Keystone is not a URL.
    """
    auth: BaseAuthPlugin
    keep_secret(_option(options, name) for name in ("password", "application_credential_secret"))
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
    return volumes_as(auth, options, timeout_seconds=timeout_seconds)


def volumes_as(
    auth: BaseAuthPlugin, options: Options, *, endpoint: str | None = None, timeout_seconds: float | None = None
) -> CinderVolumes:
    """Give Cinder for these credentials, with the TLS options of a store."""
    verify = not options.cinder_api_insecure and (options.cinder_ca_certificates_file or True)
    stall_seconds = getattr(options, "image_clone_stall_seconds", STALL_SECONDS)  # glance_store has no such option
    keep_token_secret(auth)
    session = Session(auth=auth, verify=verify)
    session.timeout = float(timeout_seconds or stall_seconds)
    return CinderVolumes(
        session=session,
        region_name=options.cinder_os_region_name,
        endpoint_override=endpoint,
        wait_seconds=options.cinder_state_transition_timeout,
        delete_seconds=_DELETION_SECONDS,
        retries=options.cinder_http_retries,
        records=AttachingRecords(host_lock_path),
        attach_attempts=getattr(options, "cinder_attachment_retry_attempts", 5),  # glance_store has it since 5.3
    )


def _option(options: Options, name: str) -> Any:
    return getattr(options, f"cinder_store_{name}", None)
