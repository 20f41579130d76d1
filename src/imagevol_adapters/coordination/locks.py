"""Locks by tooz, as the port has them: with a deadline, and not lost unnoticed."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

import attrs
from stevedore.exception import NoMatches
from tooz import coordination

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.coordination.answering import NoAnswerError, answered
from imagevol_adapters.coordination.services import NoTlsError, ServiceUrl, key_of, parse_url
from imagevol_adapters.engine.starting import Thread, ThreadFailed
from imagevol_adapters.error_text import one_line
from imagevol_adapters.ports import Lock
from imagevol_core import (
    DeadlineExceeded,
    ImagevolError,
    InvalidConfiguration,
    LockLost,
    ServiceFailed,
    ServiceUnreachable,
)
from imagevol_core.sentences import duration

__all__ = ["TakenLock", "ToozLocks", "from_conf", "from_url"]

LOG = logging.getLogger(__name__)
OPTION = "[coordination] backend_url"

T = TypeVar("T")

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # between two tries for a lock that another holds
_RENEWED = 0.1  # the part of a lease that is over when it is renewed
_UNREACHABLE_NAMES = frozenset(
    {
        "redis.exceptions.ConnectionError",
        "redis.exceptions.TimeoutError",
        "etcd3gw.exceptions.ConnectionFailedError",
        "etcd3gw.exceptions.ConnectionTimeoutError",
    }
)
_REFUSED_NAMES = frozenset(  # of which the first two are a ConnectionError
    {
        "redis.exceptions.AuthenticationError",
        "redis.exceptions.AuthorizationError",
        "redis.exceptions.NoPermissionError",
    }
)
_REFUSED_TLS = re.compile(
    r"\[SSL.*(certificate|unknown.ca|wrong.version.number|record.layer.failure)", re.IGNORECASE | re.DOTALL
)
_UNREACHABLE = (coordination.ToozConnectionError, coordination.OperationTimedOut, NoAnswerError, OSError)


def _is_unreachable(error: Exception) -> bool:
    """Tell whether a service gave no answer; the clients that a board uses without tooz have errors of their own."""
    return not _is_refused(error) and (
        isinstance(error, _UNREACHABLE) or not _UNREACHABLE_NAMES.isdisjoint(_names(error))
    )


def _is_refused(error: Exception) -> bool:
    """Tell whether a service refuses the credentials, or this program the service's; to ask again is of no use."""
    return not _REFUSED_NAMES.isdisjoint(_names(error)) or _is_refused_by_tls(error)


def _is_refused_by_tls(error: Exception) -> bool:
    return _REFUSED_TLS.search(str(error)) is not None


def _names(error: Exception) -> list[str]:
    return [f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__]


def from_url(url: str, *, answer_seconds: float = 10, where: str = OPTION) -> ToozLocks:
    """Give the locks of a lock service; it is not asked before the first lock is.

    Args:
        url: as Cinder's option has it: `file:///var/lib/cinder`, `redis://:password@host:6379`, `etcd3+http://host`.
        answer_seconds: how long the service may take for an answer.
        where: the option that the URL comes from, for what an error says.

    Raises:
        InvalidConfiguration: it names no lock service that can be used here.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     locks = from_url(f"file://{directory}")
    ...     with locks.held("template-host@lvm#pool-7ad3", wait_seconds=0) as lock:
    ...         lock.ensure_held()
    ...     locks.close()
    """
    locks = ToozLocks(parse_url(url, where=where), answer_seconds=answer_seconds)
    locks.lease_seconds  # noqa: B018 - a driver that cannot be loaded is found out now
    return locks


def from_conf(conf: Any) -> ToozLocks:
    """Give the locks of Cinder's own lock service.

    Args:
        conf: a configuration of oslo.config that has Cinder's options, as `cinder.coordination.CONF`.

    Raises:
        InvalidConfiguration: the option names no lock service that can be used here.
    """
    try:
        url = conf.coordination.backend_url
    except AttributeError as error:  # what oslo.config raises is one
        raise InvalidConfiguration(OPTION, "is no option here: import cinder.coordination, or use from_url") from error
    except Exception as error:
        raise InvalidConfiguration(OPTION, f"oslo.config refuses it with {type(error).__name__}") from error
    return from_url(url)


@attrs.define(eq=False)
class _Member:
    """What a process has of its own; a process that is forked gets another."""

    driver: coordination.CoordinationDriver | None = None
    starting: threading.Lock = attrs.field(factory=threading.Lock)
    guard: threading.Lock = attrs.field(factory=threading.Lock)
    turns: weakref.WeakValueDictionary[str, threading.Lock] = attrs.field(factory=weakref.WeakValueDictionary)

    def turn(self, name: str) -> threading.Lock:
        """The threads of a process take turns, and one of them asks the service."""
        with self.guard:
            return self.turns.setdefault(name, threading.Lock())


@attrs.define(eq=False)
class ToozLocks:
    """The locks of a lock service: `Locks`.  Made by `from_url` or `from_conf`.

    It may be made before a process forks, and is used by any number of threads, eventlet's too.

    Args:
        service: where they are.
        answer_seconds: how long the service may take for an answer.
    """

    service: ServiceUrl
    answer_seconds: float = attrs.field(kw_only=True)
    _member: _Member = attrs.field(factory=_Member, init=False, repr=False)
    _told_late: str = attrs.field(default="", init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        _EVERY.add(self)

    @property
    def lease_seconds(self) -> float:
        """How long at most a lock stays taken whose holder was killed; 0 where it is free at once.

        Raises:
            InvalidConfiguration: the service's client is not installed.
        """
        return self.service.service.lease_seconds(self._member.driver or self._made())

    @contextmanager
    def held(self, name: str, *, wait_seconds: float) -> Iterator[Lock]:
        """Hold a lock while the context lasts; see `Locks.held`."""
        until = time.monotonic() + wait_seconds
        taken_by_another = DeadlineExceeded(f"lock {name!r} is held by another", seconds=wait_seconds)
        turn = self._member.turn(name)
        if not turn.acquire(timeout=max(wait_seconds, 0)):
            raise taken_by_another
        try:
            lock = self._taken(name, until)
            if lock is None:
                raise taken_by_another
            with undone_on_failure(f"lock {name!r}, for {duration(self.lease_seconds)} at most", lock.let_go):
                yield lock
            if not lock.let_go():
                raise LockLost(name)
        finally:
            turn.release()

    def member(self) -> coordination.CoordinationDriver:
        """Give this process's member of the lock service, entered if it was not yet; `ask` is how to use it.

        Raises:
            ServiceUnreachable: there was no answer.
            ServiceFailed: it is an error.
        """
        return self._started()

    def close(self) -> None:
        """Leave the lock service, when no lock is held any more; the next that is asked for enters it again."""
        driver, self._member = self._member.driver, _Member()
        if driver is not None:
            try:
                self.ask(driver.stop)
            except ImagevolError as error:  # it is left by itself, when the leases end
                LOG.debug("%s", error)

    def ask(self, call: Callable[[], T], *, late: Callable[[T], object] = lambda _: None) -> T:
        """Ask the lock service, in its time and with errors of ours.

        Raises:
            ServiceUnreachable: there was no answer.
            ServiceFailed: it is an error.
            ThreadFailed: it could not be asked.
        """

        def failed_late(error: BaseException) -> None:
            text = self._text(error)
            told, self._told_late = self._told_late, text
            if text != told:  # and not again for each call of an outage
                LOG.warning("lock service %s, after more than %g s: %s", self.service, self.answer_seconds, text)

        try:
            return answered(call, seconds=self.answer_seconds, late=late, failed_late=failed_late)
        except ThreadFailed:
            raise
        except NoTlsError as error:
            raise ServiceFailed(
                f"lock service {self.service}: it does not use TLS: take ssl=true out of {self.service.where}, or let "
                "the service use TLS"
            ) from error
        except Exception as error:
            if _is_refused(error):
                refused, check = "credentials are", " and its password"
                if _is_refused_by_tls(error):
                    refused, check = "connection is", ", the certificates, and whether the service uses TLS"
                text = f"lock service {self.service}: the {refused} refused ({self._text(error)})"
                raise ServiceFailed(f"{text}; check {self.service.where}{check}") from error
            kind = ServiceUnreachable if _is_unreachable(error) else ServiceFailed
            advice = self.service.service.advice.format(where=self.service.where)
            raise kind(f"lock service {self.service}: {self._text(error)}; {advice}") from error

    def _text(self, error: BaseException) -> str:
        if isinstance(error, NoAnswerError):
            return f"no answer in {duration(self.answer_seconds)}"
        text, cause = one_line(error), "" if error.__cause__ is None else one_line(error.__cause__)
        if cause not in text:  # tooz says of a directory that it cannot be opened, and not why
            text = f"{text}: {cause}"
        return self.service.masked(text)

    def _taken(self, name: str, until: float) -> TakenLock | None:
        """Try until there is the lock or no more time."""
        pause = _SHORTEST_PAUSE
        while True:
            driver = self._started()
            lock = self.ask(lambda driver=driver: self._tried(driver, name), late=_give_back)  # type: ignore[misc]
            left = until - time.monotonic()
            if lock is not None or left <= 0:
                return lock
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _tried(self, driver: coordination.CoordinationDriver, name: str) -> TakenLock | None:
        """Try once."""
        asked_at, service = _now(), self.service.service
        # A new one each time: a file lock that was once refused counts itself as taken twice when it is.
        lock = driver.get_lock(key_of(name))
        if not lock.acquire(blocking=False):
            service.refused(lock)
            return None
        taken = TakenLock(name, lock, driver, self, asked_at)
        lease_seconds = service.lease_seconds(driver)
        if lease_seconds and _now() - asked_at >= lease_seconds:
            taken.give_back()  # so slowly that another may have it
            return None
        return taken

    def _made(self) -> coordination.CoordinationDriver:
        member_id = f"imagevol-{socket.gethostname()}-{uuid.uuid4()}".encode()
        try:
            driver = coordination.get_coordinator(self.service.url, member_id)
            self.service.service.made(driver)
            return driver
        except (ImportError, NoMatches) as error:
            client = f"pip install 'tooz[{self.service.service.brings}]'"
            raise InvalidConfiguration(
                self.service.where, f"the client of {self.service} is missing: {client}"
            ) from error
        except Exception as error:  # noqa: BLE001 - the clients' own errors too
            raise InvalidConfiguration(self.service.where, self._text(error)) from None  # it may quote the URL

    def _started(self) -> coordination.CoordinationDriver:
        """Be a member of the lock service: in each process by itself, and not before it is needed."""
        member = self._member
        if not member.starting.acquire(timeout=self.answer_seconds):
            raise ServiceUnreachable(f"lock service {self.service}: no answer in {duration(self.answer_seconds)}")
        try:
            if member.driver is None:
                driver = self._made()

                def start() -> None:
                    try:
                        self.service.service.ask_once(driver, self.answer_seconds)
                    except Exception as error:
                        if not _is_unreachable(error):
                            raise
                    try:
                        driver.start(start_heart=True)
                    except Exception as error:
                        # Whatever a client raises here (etcd's own error, for one), it is not connected.
                        raise coordination.ToozConnectionError(self._text(error)) from error

                self.ask(start, late=lambda _: driver.stop())
                member.driver = driver
            return member.driver
        finally:
            member.starting.release()


@attrs.define(eq=False)
class TakenLock:
    """A lock that was taken: `Lock`."""

    name: str
    _lock: Any  # tooz's, which says less of its locks than they can
    _driver: coordination.CoordinationDriver
    _locks: ToozLocks
    _renewed_at: float  # by the clock of `_now`
    _process: int = attrs.field(factory=os.getpid, init=False)

    def ensure_held(self) -> None:
        """Ask whether it is still held; see `Lock.ensure_held`."""
        self.ask(self._look)

    def ask(self, call: Callable[[coordination.CoordinationDriver, Any], tuple[bool, T]]) -> T:
        """Ask the service whether this is still held, and something else in the same request.

        Args:
            call: asks; it takes tooz's member and lock, and tells whether the lock is still its own, and the answer.

        Raises:
            LockLost: it is not held any more; see `Lock.ensure_held`.
            ServiceUnreachable: there was no answer, or one so late that the lease may be over.
            ServiceFailed: it is an error.
        """
        if os.getpid() != self._process:
            raise LockLost(self.name)
        held, answer = self._locks.ask(lambda: self._asked(call))
        if not held:
            raise LockLost(self.name)
        return cast("T", answer)

    def let_go(self) -> bool:
        """Give it back, and tell whether it was held until now; a process forked since has no part in it."""
        return os.getpid() != self._process or self._locks.ask(self._let_go)

    def give_back(self) -> bool:
        """Give it back, now or, if the service fails, as soon as it can: its heart would keep it for ever."""
        try:
            return bool(self._lock.release())
        except Exception:
            Thread(self._give_back_later, name="imagevol-lock", green=True).start()
            raise

    def _give_back_later(self) -> None:
        while self._lock.acquired and self._driver.is_started:
            time.sleep(_LONGEST_PAUSE)
            with suppress(Exception):
                self._lock.release()

    def _asked(self, call: Callable[[coordination.CoordinationDriver, Any], tuple[bool, T]]) -> tuple[bool, T | None]:
        service, asked_at = self._locks.service.service, _now()
        lease_seconds = service.lease_seconds(self._driver)
        renews = asked_at - self._renewed_at >= _RENEWED * lease_seconds
        if not service.still_held(self._lock, renews):
            return False, None
        held, answer = call(self._driver, self._lock)
        if held and lease_seconds and _now() - asked_at >= (1 - _RENEWED) * lease_seconds:
            raise coordination.OperationTimedOut("the answer came when the lease may have been over")
        if held and renews:
            self._renewed_at = asked_at
        return held, answer

    def _look(self, driver: coordination.CoordinationDriver, lock: Any) -> tuple[bool, None]:
        return self._locks.service.service.is_own(driver, lock), None

    def _let_go(self) -> bool:
        try:
            held, _ = self._asked(self._look)
        except Exception:
            with suppress(Exception):
                self.give_back()
            raise
        return self.give_back() and held


def _now() -> float:
    """Tell the time in seconds; it goes on while the host is suspended, as a lease does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _give_back(taken: TakenLock | None) -> None:
    """Give back what came after its caller had left."""
    if taken is not None:
        taken.give_back()


_EVERY: weakref.WeakSet[ToozLocks] = weakref.WeakSet()


def _forked() -> None:
    """Leave the parent's member to the parent: its heart beats there, and stopping it here would free its locks."""
    for locks in _EVERY:
        _INHERITED.append(locks._member)
        locks._member = _Member()


_INHERITED: list[_Member] = []  # kept, so that nothing is closed that is the parent's
os.register_at_fork(after_in_child=_forked)
