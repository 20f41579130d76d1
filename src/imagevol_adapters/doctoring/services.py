"""What the services of a cloud answer to this host: whether they do, which API they offer, and their time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from keystoneauth1.session import Session

from imagevol_adapters.keystone import KEYSTONE
from imagevol_adapters.translation import translated
from imagevol_core import DoctorAccess, DoctorService, ImagevolError, without_userinfo

__all__ = ["access_facts", "service_facts"]

_ANSWER_SECONDS = 20
_HALF_A_SECOND = timedelta(seconds=0.5)  # an answer's Date leaves the rest of its second out


def _now() -> datetime:
    return datetime.now(UTC)


def service_facts(
    session: Session,
    *,
    service_type: str,
    interface: str = "public",
    region_name: str | None = None,
    endpoint_override: str | None = None,
    wanted: str | None = None,
    now: Callable[[], datetime] = _now,
) -> DoctorService:
    """Ask a service where it is, what it offers and what time it is.

    Args:
        session: who asks.
        service_type: as in the service catalogue.
        interface: which of its endpoints.
        region_name: which region's.
        endpoint_override: where it is, whatever the catalogue says.
        wanted: the least version or microversion of its API that is needed.
        now: tells the time of this host.
    """
    where: dict[str, Any] = {"service_type": service_type, "interface": interface, "region_name": region_name}
    url = None
    try:
        with translated(KEYSTONE, doing=f"service {service_type}"):
            url = endpoint_override or session.get_endpoint(**where)
            if url is None:
                return DoctorService(name=service_type, error="the service catalogue does not name it")
            before = now()
            answer = session.get(
                url, authenticated=False, raise_exc=False, timeout=_ANSWER_SECONDS, redirect=False, connect_retries=0
            )
            after = now()
            data = session.get_endpoint_data(**where, endpoint_override=endpoint_override)
            versions = [data.max_microversion or data.api_version] if data else []
    except ImagevolError as error:
        return DoctorService(name=service_type, url=url and without_userinfo(url), error=str(error))
    return DoctorService(
        name=service_type,
        url=without_userinfo(url),
        newest=next((".".join(map(str, version)) for version in versions if version), None),
        wanted=wanted,
        clock_seconds=_ahead(answer.headers.get("Date"), before + (after - before) / 2),
    )


def access_facts(session: Session) -> DoctorAccess:
    """Ask Keystone for the project and the roles of the credentials.

    Args:
        session: whose.
    """
    try:
        with translated(KEYSTONE, doing="Keystone"):
            project_id = session.get_project_id()
            ask = getattr(session.auth, "get_access", None)  # which a fixed token and endpoint do not have
            roles = None if ask is None else frozenset(ask(session).role_names)
    except ImagevolError as error:
        return DoctorAccess(error=str(error))
    return DoctorAccess(project_id=project_id, roles=roles)


def _ahead(date: str | None, here: datetime) -> float | None:
    """How far the date of an answer is ahead of the time here."""
    try:
        there = parsedate_to_datetime(date or "")
    except (TypeError, ValueError, OverflowError):
        return None
    there = there if there.tzinfo else there.replace(tzinfo=UTC)
    return (there + _HALF_A_SECOND - here).total_seconds()
