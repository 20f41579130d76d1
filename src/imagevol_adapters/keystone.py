"""The errors of Keystone's session, through which Cinder and Glance are asked, as ours."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

import requests
from keystoneauth1 import exceptions as keystone
from keystoneauth1.session import Session
from urllib3 import exceptions as urllib3

from imagevol_adapters.translation import Table, translated
from imagevol_core import AccessDenied, InvalidConfiguration, ServiceFailed, ServiceUnreachable, is_plain_url

__all__ = [
    "KEYSTONE",
    "checked_url",
    "has_project",
    "never_sent",
    "service_name",
    "timed_out",
]

_RUNS = "check the URL, and that the service runs"

KEYSTONE: Table = (
    (keystone.Unauthorized, AccessDenied, "check user, password and project (clouds.yaml, OS_*, or a store's section)"),
    (keystone.Forbidden, AccessDenied, "use credentials that may do this"),
    (keystone.MissingRequiredOptions, AccessDenied, "name a cloud with OS_CLOUD or --os-cloud, or set all of OS_*"),
    (keystone.MissingAuthPlugin, AccessDenied, "name a cloud with OS_CLOUD or --os-cloud, or set all of OS_*"),
    (keystone.AuthorizationFailure, AccessDenied, "check the credentials in clouds.yaml or in OS_*"),
    (keystone.EndpointNotFound, ServiceUnreachable, "check region and interface, and the service catalogue"),
    (keystone.ConnectionError, ServiceUnreachable, _RUNS),
    (keystone.DiscoveryFailure, ServiceUnreachable, _RUNS),
    (keystone.RetriableConnectionFailure, ServiceUnreachable, _RUNS),
    (keystone.ClientException, ServiceFailed, ""),
    # keystoneauth translates what a request raises, and not what reading the body of an answer does.
    (requests.ConnectionError, ServiceUnreachable, _RUNS),
    (requests.Timeout, ServiceUnreachable, _RUNS),
    (requests.RequestException, ServiceFailed, ""),
    (urllib3.TimeoutError, ServiceUnreachable, _RUNS),
    (urllib3.PoolError, ServiceUnreachable, _RUNS),
    (urllib3.HTTPError, ServiceFailed, ""),
    # requests raises it of a CA file that is not there.
    (
        OSError,
        ServiceFailed,
        "check the CA file (cacert in clouds.yaml, OS_CACERT, or a store's cinder_ca_certificates_file)",
    ),
    (Exception, ServiceFailed, "check that the URL is that of the service: its answer is not understood"),
)
"""What each error of keystoneauth, and of the libraries below it, is here."""


# Discovery and the catalogue come before the request itself.
_NOT_CONNECTED = (
    *(urllib3.NewConnectionError, urllib3.ConnectTimeoutError),
    *(keystone.EndpointNotFound, keystone.DiscoveryFailure),
)


def never_sent(error: BaseException) -> bool:
    """Tell whether a request never left this host, because there was no connection to the service.

    Args:
        error: what the request raised, or what that became.

    >>> never_sent(ServiceUnreachable("no answer came"))
    False
    """
    return _is_below(error, _NOT_CONNECTED)


def timed_out(error: BaseException) -> bool:
    """Tell whether a service neither took nor gave a byte for as long as it was waited for.

    Args:
        error: what the request raised, or what that became.

    >>> timed_out(ServiceUnreachable("no answer came")), timed_out(requests.ReadTimeout())
    (False, True)
    """
    return _is_below(error, (requests.Timeout, urllib3.TimeoutError, keystone.ConnectTimeout, TimeoutError))


def _is_below(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """Tell whether an error is of one of these kinds, or came from one."""
    left, seen = [error], set[int]()
    while left:
        each = left.pop()
        if isinstance(each, kinds):
            return True
        if id(each) not in seen:
            seen.add(id(each))
            below = (each.__cause__ or each.__context__, getattr(each, "reason", None), *each.args)
            left.extend(one for one in below if isinstance(one, BaseException))
    return False


def checked_url(url: str, *, where: str) -> str:
    """Give the URL of a service, if it has no user and password or every library reads them in the same way.

    Args:
        url: what is configured; without a user in it, it is left to the libraries to refuse.
        where: the option that it comes from.

    Raises:
        InvalidConfiguration: a library could take a part of the password for something else, and show it.

    >>> checked_url("https://me:pa/55@host:5000/v3", where="auth_url")
    Traceback (most recent call last):
    imagevol_core.errors.InvalidConfiguration: auth_url: it is not a URL like https://host:5000/v3; write special \
characters of a user or password in it as %XX
    """
    if "@" in (url or "") and not is_plain_url(url):
        raise InvalidConfiguration(
            where,
            "it is not a URL like https://host:5000/v3; write special characters of a user or password in it as %XX",
        )
    return url


def service_name(
    session: Session, service_type: str, *, interface: str, region_name: str | None, endpoint_override: str | None
) -> str | None:
    """Name a service: by Keystone's id of it and its region, which the endpoints of a region share.

    The services of several regions share the id.  Where the URL is given, it says which service it is; also where there
    is no catalogue.

    Args:
        session: who asks.
        service_type: what it is, as in the service catalogue.
        interface: which of the endpoints.
        region_name: which region's.
        endpoint_override: where it is, whatever the service catalogue says.

    Returns:
        The name; None if there is no such service.

    Raises:
        ServiceError: Keystone does not answer.
    """
    with translated(KEYSTONE, doing="Keystone"):
        endpoint = session.get_endpoint_data(
            service_type=service_type, interface=interface, region_name=region_name, discover_versions=False
        )
        known = endpoint.service_id if endpoint else None
        if endpoint is None or known is None:
            return endpoint_override or (endpoint.url if endpoint else None)
        where = endpoint_override or endpoint.region_name or region_name
        return f"{known} at {where}" if where else str(known)


def has_project(session: Session, project_id: str, *, region_name: str | None = None) -> bool | None:
    """Tell whether Keystone has a project; None if it does not tell these credentials.

    Raises:
        ServiceError: Keystone does not answer.
    """
    where = {"service_type": "identity", "region_name": region_name, "version": (3, 0)}
    with translated(KEYSTONE, doing="Keystone"):
        answer = session.get(f"/projects/{quote(project_id, safe='')}", endpoint_filter=where, raise_exc=False)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return False
    return True if answer.status_code == HTTPStatus.OK else None
