"""The address that this host gives to Cinder.

Backends that export a volume to an address export it to this one.  A loopback address is right only where the backend
is on this host too; Debian puts the host's name on one by default.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

__all__ = ["address_of", "is_loopback", "own_address"]

_LOOPBACK = "127.0.0.1"
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # of documentation: nothing is sent


def address_of(name: str) -> str:
    """Give an address of a host's name, IPv6 where there is one, as glance_store's own driver tells Cinder.

    Raises:
        OSError: the name has no address.
    """
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET6)
    except socket.gaierror:
        found = socket.getaddrinfo(name, None, socket.AF_INET)
    return str(found[0][4][0])


def is_loopback(address: str) -> bool:
    """Tell whether no other host reaches this one by the address.

    >>> [is_loopback(address) for address in ("127.0.1.1", "::1", "192.0.2.1", "fe80::1%eth0")]
    [True, True, False, False]
    """
    return ipaddress.ip_address(address).is_loopback


def own_address(name: str) -> str:
    """Give this host's address: that of its name, or, if that is a loopback address, the one that it sends from.

    Args:
        name: this host's name.

    Returns:
        A loopback address if this host has no other.
    """
    address = _LOOPBACK
    with suppress(OSError):
        address = address_of(name)
    if is_loopback(address):
        for family, elsewhere in _ELSEWHERE:
            with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as connection:
                connection.connect((elsewhere, 9))  # chooses the route, and sends nothing
                return str(connection.getsockname()[0])
    return address
