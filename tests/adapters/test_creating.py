"""A volume whose creation Cinder did not answer is looked for, unless the request never left this host."""

from __future__ import annotations

import socket

import pytest
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token

from imagevol_adapters.cinder import CinderVolumes
from imagevol_adapters.keystone import never_sent
from imagevol_adapters.testing.memory import MemoryVolumes
from imagevol_adapters.transfers.creating import answered
from imagevol_core import ServiceUnreachable, Volume


def unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:{port}/v3"], ids=["discovered", "given"])
def test_a_service_that_refuses_the_connection_was_never_asked(endpoint: str | None) -> None:
    port = unused_port()
    volumes = CinderVolumes(
        session=Session(auth=Token(f"http://127.0.0.1:{port}/v3", "a-token")),
        endpoint_override=endpoint and endpoint.format(port=port),
    )
    with pytest.raises(ServiceUnreachable) as refused:
        volumes.create(size_gib=1, name="one", volume_type=None)
    assert never_sent(refused.value)


class Silent(MemoryVolumes):
    """A Cinder that cannot be asked what it has."""

    def named(self, name: str) -> tuple[Volume, ...]:
        raise ServiceUnreachable("no answer")


@pytest.mark.parametrize("sent", [True, False])
def test_only_a_request_that_may_have_arrived_leaves_something(sent: bool) -> None:
    def ask() -> Volume:
        error = ServiceUnreachable("no answer")
        if not sent:
            from urllib3.exceptions import ConnectTimeoutError  # noqa: PLC0415

            error.__cause__ = ConnectTimeoutError("no connection")
        raise error

    with pytest.raises(ServiceUnreachable) as failed:
        answered(ask, volumes=Silent(project_id="p"), name="one", metadata={})
    assert bool(failed.value.leftovers) is sent
