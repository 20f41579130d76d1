from cinderclient.v3.client import Client as _Client
from keystoneauth1.session import Session

def Client(
    version: str,
    *,
    session: Session,
    service_type: str = ...,
    interface: str = ...,
    region_name: str | None = ...,
    endpoint_override: str | None = ...,
    connect_retries: int = ...,
) -> _Client: ...
