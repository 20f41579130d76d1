"""The lock services that can tell whether a lock is still held, and what a URL of one may show.

tooz has drivers for more; that of MySQL, for one, cannot tell whether a lock was lost, so it is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import attrs

from imagevol_core import HIDDEN, InvalidConfiguration, is_secret_name

__all__ = ["SERVICES", "LockService", "NoTlsError", "ServiceUrl", "key_of", "parse_url"]

PREFIX = "imagevol-"  # Cinder's locks begin with `cinder-`, and tooz keeps names like `groups` for itself
_PARTS = 4  # of the time for an answer, that each try may take
LONGEST = 180  # a file's name has 255 bytes, memcached's key 250, and tooz puts something before


def key_of(name: str) -> bytes:
    """Give the name that a lock has in the service: of letters, digits and `-._~%`, and of no two names the same.

    So it is a file's name and nothing else: it names no other directory.

    >>> key_of("template-host@lvm#pool-../../etc")
    b'imagevol-template-host%40lvm%23pool-..%2F..%2Fetc'
    """
    key = PREFIX + quote(name, safe="", errors="surrogatepass")
    if len(key) > LONGEST:  # `%-` is in no quoted name
        digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
        key = f"{key[: LONGEST - len(digest) - 2]}%-{digest}"
    return key.encode()


@attrs.frozen(kw_only=True)
class LockService:
    """What tooz leaves to its users, of one of its drivers.

    Attributes:
        brings: the extra of tooz that brings the service's client; None where none is needed.
        lease_seconds: how long a coordinator's locks outlive their holder.
        still_held: renews a lock if that is asked for, and asks the service whether it is held where `is_own` does not.
        is_own: asks the service whether what it has is the lock that was taken, and not a later one.
        made: prepares a coordinator before it is used.
        refused: cleans up after a lock that could not be taken.
        ask_once: asks the service without tooz, which hides for a minute that a password is wrong; takes a coordinator
            and how many seconds there are for it.
        advice: what to do when it fails; `{where}` is the option.
    """

    brings: str | None
    lease_seconds: Callable[[Any], float]
    still_held: Callable[[Any, bool], bool]
    is_own: Callable[[Any, Any], bool] = lambda *_: True
    made: Callable[[Any], object] = lambda _: None
    refused: Callable[[Any], object] = lambda _: None
    ask_once: Callable[[Any, float], object] = lambda *_: None
    advice: str = "check that it runs and can be reached, and {where} with its password"


def _is_own_file(_: object, lock: Any) -> bool:
    """Whether the file is the one that is locked: if it was deleted, the next who comes locks another."""
    file = lock._lock.lockfile
    if file is None:
        return False
    try:
        found = os.stat(lock.name)  # noqa: PTH116 - a path of tooz's
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(file.fileno()))


def _close(lock: Any) -> None:
    """Close the file of a lock that was not to be had, which is left open.

    When a process closes a file, the kernel frees what it has locked of it, by whatever descriptor.  So it must not
    happen some time later, when this process has the lock.
    """
    file = lock._lock.lockfile
    if file is not None:
        file.close()


def _is_own_key(coordinator: Any, lock: Any) -> bool:
    """Whether etcd's key has what this lock wrote there, which no other writes: tooz does not look.

    The revision in which the key came to be does not tell: an etcd that lost its data counts from 1 again.
    """
    found = coordinator.client.get(lock.LOCK_PREFIX + lock.name)
    return [b64encode(value).decode() for value in found] == [lock._uuid]


def _use_quick_requests(coordinator: Any) -> None:
    """Let etcd's client ask by a session of ours; its module is loaded here, as that client installs `requests`."""
    etcd_requests: Any = import_module("imagevol_adapters.coordination.etcd_requests")
    coordinator.client.session = etcd_requests.EtcdSession.like(coordinator.client.session)


class NoTlsError(Exception):
    """A service that shall use TLS does not."""


def _ask_redis_once(coordinator: Any, seconds: float) -> None:
    """Let Redis answer, or raise its client's error at the first try."""
    redis_retry: Any = import_module("redis.retry")  # here, because the client is installed only where it is used
    redis_backoff: Any = import_module("redis.backoff")
    client = coordinator._make_client(coordinator._parsed_url, coordinator._options, coordinator.timeout)
    client.set_retry(redis_retry.Retry(redis_backoff.NoBackoff(), 0))
    pool, part = client.connection_pool, seconds / _PARTS
    made = pool.connection_kwargs  # without a host where a sentinel names it
    uses_tls = issubclass(pool.connection_class, import_module("redis.connection").SSLConnection) and "host" in made
    if uses_tls:
        made["socket_timeout"] = min(made["socket_timeout"], part)
    try:
        client.info("server")
    except Exception as error:
        # A Redis without TLS answers nothing: it waits for the end of a line, which the first message of TLS has not.
        if uses_tls and _answers_without_tls(made["host"], made["port"], part):
            raise NoTlsError("it does not use TLS") from error
        raise
    finally:
        client.close()


def _answers_without_tls(host: str, port: int, seconds: float) -> bool:
    """Tell whether a Redis answers what is not encrypted; nothing secret is sent."""
    with suppress(OSError), socket.create_connection((host, port), timeout=seconds) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(1) in (b"+", b"-")
    return False


def _beating(brings: str, **others: Any) -> LockService:
    return LockService(
        brings=brings,
        lease_seconds=lambda coordinator: coordinator.lock_timeout,
        **{"still_held": _owned_and_renewed, **others},
    )


def _owned_and_renewed(lock: Any, renews: bool) -> bool:
    return lock.is_still_owner() and (not renews or lock.heartbeat())


def _renewed(lock: Any, renews: bool) -> bool:
    return not renews or lock.heartbeat()  # whose it is, `is_own` tells


def _owned(lock: Any, _: bool) -> bool:
    return bool(lock.is_still_owner())


_ETCD = _beating("etcd3gw", is_own=_is_own_key, still_held=_renewed, made=_use_quick_requests)
_ZOOKEEPER = LockService(
    brings="zookeeper",
    lease_seconds=lambda coordinator: coordinator.timeout,  # of the session
    still_held=_owned,
)

SERVICES: Mapping[str, LockService] = {
    "file": LockService(
        brings=None,
        lease_seconds=lambda _: 0,
        still_held=_owned,
        is_own=_is_own_file,
        refused=_close,
        advice="let this user write in the directory, or name another one in {where}",
    ),
    "etcd3+http": _ETCD,
    "etcd3+https": _ETCD,
    "redis": _beating("redis", ask_once=_ask_redis_once),
    "memcached": _beating("memcached"),
    "zookeeper": _ZOOKEEPER,
    "kazoo": _ZOOKEEPER,
}
"""By the scheme of the URL."""


@attrs.frozen(kw_only=True)
class ServiceUrl:
    """The URL of a lock service.

    Attributes:
        url: for tooz; it may hold a password.
        shown: what may be printed of it.
        service: what is particular to it.
        where: the option that it comes from.
    """

    url: str = attrs.field(repr=False)
    shown: str
    service: LockService = attrs.field(repr=False)
    where: str

    def __str__(self) -> str:
        """What may be printed."""
        return self.shown

    def masked(self, text: str) -> str:
        """Take secrets out of a library's text."""
        parts = urlsplit(self.url)
        others = (value for key, value in parse_qsl(parts.query) if is_secret_name(key))
        for secret in sorted(filter(None, (parts.password, *others)), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text


def parse_url(url: str, *, where: str) -> ServiceUrl:
    """Take a URL apart.

    Raises:
        InvalidConfiguration: it names no lock service that can be used; the text is not shown, it may hold a password.

    >>> str(parse_url("redis://:password@10.0.0.1:6379?timeout=5", where="[coordination] backend_url"))
    'redis://10.0.0.1:6379'
    """
    try:
        parts = urlsplit(url)
        whole = parts.scheme == "file" or "@" not in parts.path + parts.fragment
        whole = whole and ("," in parts.netloc or parts.port != 0)
    except ValueError:
        whole = False
    if not whole:  # and no cause: what urlsplit quotes may be a piece of the password
        raise InvalidConfiguration(where, "it is not a URL; a password in it can have no /, ? or #")
    service = SERVICES.get(parts.scheme)
    if service is None:
        known = ", ".join(f"{scheme}://" for scheme in SERVICES)
        raise InvalidConfiguration(where, f"it names no lock service that tells when a lock is lost; use {known}")
    if parts.scheme != "file":
        return ServiceUrl(url=url, shown=_shown(url), service=service, where=where)
    if parts.netloc or not parts.path.startswith("/"):
        raise InvalidConfiguration(where, "it must name an absolute directory: file:///var/lib/…")
    # One spelling for one directory: tooz knows its own locks by their paths.
    plain = parts._replace(path=os.path.realpath(parts.path))
    return ServiceUrl(url=plain.geturl(), shown=f"file://{plain.path}", service=service, where=where)


def _shown(url: str) -> str:
    """The scheme, and the hosts if there is no doubt where they begin and end."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    hosts = authority.rpartition("@")[2]
    host = r"([\w.-]+|\[[\w:.]+\])(:\d+)?"
    doubt = "@" in rest[len(authority) :] or not re.fullmatch(rf"{host}(,{host})*", hosts)
    return f"{scheme}://…" if doubt else f"{scheme}://{hosts}"
