from glanceclient.v2.client import Client as _Client
from keystoneauth1.session import Session

def Client(
    version: str | int,
    *,
    session: Session,
    interface: str = ...,
    region_name: str | None = ...,
    endpoint_override: str | None = ...,
) -> _Client: ...
