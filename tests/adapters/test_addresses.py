"""Which address of this host Cinder is told."""

from __future__ import annotations

import socket
from typing import Any, Self

import pytest

from imagevol_adapters.addresses import address_of, own_address

Found = dict[socket.AddressFamily, str]
BOTH = {socket.AF_INET: "192.0.2.7", socket.AF_INET6: "2001:db8::7"}
FOUR = {socket.AF_INET: "192.0.2.7"}
LOOPBACK = {socket.AF_INET: "127.0.1.1"}


class Network:
    """What the resolver and the routes of a host say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, name: Found, routes: Found) -> None:
        self.name = name

        def getaddrinfo(_name: str, _port: None, family: socket.AddressFamily) -> list[Any]:
            if family not in name:
                raise socket.gaierror(-2, "Name or service not known")
            return [(family, socket.SOCK_STREAM, 6, "", (name[family], 0))]

        class Connection:
            def __init__(self, family: socket.AddressFamily, _kind: object) -> None:
                self.family = family

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                return None

            def connect(self, _address: tuple[str, int]) -> None:
                if self.family not in routes:
                    raise OSError(101, "Network is unreachable")

            def getsockname(self) -> tuple[str, int]:
                return routes[self.family], 9

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(socket, "socket", Connection)


@pytest.mark.parametrize("name, expected", [(BOTH, "2001:db8::7"), (FOUR, "192.0.2.7"), (LOOPBACK, "127.0.1.1")])
def test_the_name_has_an_address_as_glance_store_finds_it(
    monkeypatch: pytest.MonkeyPatch, name: Found, expected: str
) -> None:
    Network(monkeypatch, name=name, routes={})
    assert address_of("here") == expected


def test_a_name_without_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Network(monkeypatch, name={}, routes=BOTH)
    with pytest.raises(OSError, match="Name or service not known"):
        address_of("here")


@pytest.mark.parametrize(
    "name, routes, expected",
    [
        (FOUR, {}, "192.0.2.7"),
        (LOOPBACK, {socket.AF_INET: "198.51.100.3"}, "198.51.100.3"),
        (LOOPBACK, {socket.AF_INET6: "2001:db8::3"}, "2001:db8::3"),
        (LOOPBACK, {}, "127.0.1.1"),
        ({}, {socket.AF_INET: "198.51.100.3"}, "198.51.100.3"),
        ({}, {}, "127.0.0.1"),
    ],
)
def test_a_loopback_address_is_told_only_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch, name: Found, routes: Found, expected: str
) -> None:
    Network(monkeypatch, name=name, routes=routes)
    assert own_address("here") == expected
