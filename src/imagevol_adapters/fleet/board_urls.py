"""The URL of a board: what is in it must be understood, because a wrong option would be passed over in silence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

from imagevol_core import InvalidConfiguration

__all__ = ["checked_board_url"]

_DAY_SECONDS = 86400
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+(%\w+)?", re.ASCII)
_YES_NO = frozenset({"true", "false", "yes", "no", "on", "off", "t", "f", "y", "n", "1", "0"})


def _seconds(text: str) -> str | None:
    whole = re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= _DAY_SECONDS
    return None if whole else f"give a whole number of seconds, from 1 to {_DAY_SECONDS}"


def _some_seconds(text: str) -> str | None:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    return None if 0 < seconds <= _DAY_SECONDS else "give a number of seconds above 0"


def _number(text: str) -> str | None:
    return None if re.fullmatch(r"[0-9]{1,5}", text) else "give a number from 0"


def _yes_no(text: str) -> str | None:
    return None if text.lower() in _YES_NO else "give true or false"


def _text(text: str) -> str | None:
    return None if text else "it is empty"


_Check = Callable[[str], str | None]
_LEASES: Mapping[str, _Check] = {"lock_timeout": _seconds, "timeout": _seconds}
_ETCD: Mapping[str, _Check] = {
    **_LEASES,
    "membership_timeout": _seconds,
    "ca_cert": _text,
    "cert_cert": _text,
    "cert_key": _text,
    "api_version": _text,
}
_OPTIONS: Mapping[str, Mapping[str, _Check]] = {
    # Not `namespace`: the records of a board have none, so that two feeders with two of them would feed one job.
    "redis": {
        **_LEASES,
        "membership_timeout": _some_seconds,
        "db": _number,
        "health_check_interval": _some_seconds,
        "retry_on_timeout": _yes_no,
        "sentinel": _text,
        "sentinel_fallback": _text,
        "sentinel_password": _text,
        "sentinel_ssl": _yes_no,
        "sentinel_username": _text,
        "socket_connect_timeout": _some_seconds,
        "socket_keepalive": _yes_no,
        "socket_timeout": _some_seconds,
        "ssl": _yes_no,
        "ssl_ca_certs": _text,
        "ssl_certfile": _text,
        "ssl_keyfile": _text,
    },
    "etcd3+http": _ETCD,
    "etcd3+https": _ETCD,
}
_REFUSED = frozenset({"sentinel_password"})  # by all commands: every user of the host could see it


def checked_board_url(url: str, *, where: str) -> str:
    """Look at all parts of the URL of a board, and give its scheme.

    Args:
        url: as `fleet_from_url` takes it.
        where: the option that it comes from.

    Raises:
        InvalidConfiguration: it names no service that keeps shards, or something in it is not known.  What it says has
            no part of the URL but the names of known options, because a password can stand anywhere in it.

    >>> checked_board_url("redis://10.0.0.1:6379?lock_timeout=60", where="--board")
    'redis'
    >>> checked_board_url("redis://10.0.0.1:6379?lock_timeout=0", where="--board")
    Traceback (most recent call last):
    imagevol_core.errors.InvalidConfiguration: --board: lock_timeout: give a whole number of seconds, from 1 to 86400
    """
    try:
        parts = urlsplit(url)
        host, is_socket = parts.hostname, not parts.netloc.rpartition("@")[2] and parts.path.startswith("/")
    except ValueError:
        raise InvalidConfiguration(where, "it is not a URL") from None
    options = _OPTIONS.get(parts.scheme)
    if options is None:
        raise InvalidConfiguration(where, "it names no service that keeps shards; use redis:// or etcd3+http://")
    if not (is_socket and parts.scheme == "redis"):
        if not host or not _HOST.fullmatch(host):
            raise InvalidConfiguration(where, f"it names no host: give {parts.scheme}://HOST")
        if parts.path not in ("", "/"):
            raise InvalidConfiguration(
                where, "it has a path after the host: leave it out, and name a database as ?db=1"
            )
    if parts.fragment:
        raise InvalidConfiguration(where, "it has a # in it: leave it out with what follows")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in options:
            names = sorted(options.keys() - _REFUSED)
            raise InvalidConfiguration(where, f"an option in it is not known; it can have {', '.join(names)}")
        if wrong := options[name](value):
            raise InvalidConfiguration(where, f"{name}: {wrong}")
    return parts.scheme
