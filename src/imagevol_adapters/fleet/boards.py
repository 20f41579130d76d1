"""Boards of shards in Redis and in etcd, in the lock service whose locks are the leases.

What is written there is shown to all workers, and it holds no credential.  It lasts as long as the service keeps it: a
Redis without persistence forgets it at a restart, and the feeder then offers the shards again.
"""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import attrs

from imagevol_adapters.coordination import TakenLock, ToozLocks, from_url
from imagevol_adapters.fleet.board_urls import checked_board_url
from imagevol_adapters.fleet.jobs import Jobs
from imagevol_adapters.fleet.leased import LeasedShards
from imagevol_adapters.fleet.limits import BoardLimits
from imagevol_adapters.fleet.patient import PatientBoard
from imagevol_adapters.fleet.workers import LeasedWorkers
from imagevol_adapters.ports import Lock, ShardBoard
from imagevol_core import ServiceFailed, TransferCancelled

__all__ = ["EtcdBoard", "Fleet", "RedisBoard", "fleet_from_url", "shards_from_url"]

T = TypeVar("T")

_SHARDS, _WORKERS = "imagevol-shards", "imagevol-workers"
_JOBS, _LIMITS = "imagevol-jobs", "imagevol-limits"
_PATIENCE_SECONDS = 300
_WHERE = "the URL of the board"
_WRONG_TYPE = "WRONGTYPE"  # of Redis, if a key is no hash


@attrs.frozen(eq=False, kw_only=True)
class Fleet:
    """What the workers of many hosts share: all of it in one lock service.

    Args:
        shards: of all jobs.
        workers: that live.
        jobs: that have shards.
        locks: of the service.
        limit_board: keeps the limits of all workers.
        beats: the board of the workers, asked again while the service does not answer.
        stopping: to be set when this process shall end; then nothing is waited for any more.
    """

    shards: LeasedShards
    workers: LeasedWorkers
    jobs: Jobs
    locks: ToozLocks
    limit_board: ShardBoard
    beats: ShardBoard
    stopping: threading.Event

    @property
    def name(self) -> str:
        """Tells the board from others; without a password."""
        service, database = self.locks.service, _database(self.locks)
        return f"{service}" if database == "0" else f"{service}?db={database}"

    def limits(self, worker: str) -> BoardLimits:
        """Give the limits of all workers, as the worker of this name has them; make them once in a process.

        To wait for an attachment ends with `TransferCancelled` when this process shall end.
        """

        def pause(seconds: float) -> None:
            if self.stopping.wait(seconds):
                raise TransferCancelled("the worker ends")

        return BoardLimits(
            self.limit_board, self.beats, worker, lease_seconds=lambda: self.workers.lease_seconds, pause=pause
        )

    def close(self) -> None:
        """Leave the lock service, at the end."""
        self.locks.close()


def fleet_from_url(
    url: str,
    *,
    most_failures: int = 3,
    answer_seconds: float = 10,
    patience_seconds: float = _PATIENCE_SECONDS,
    where: str = _WHERE,
) -> Fleet:
    """Give the fleet of a lock service; close it at the end.  The service is not asked yet.

    Args:
        url: as Cinder's option has it: `redis://:password@host:6379`, `etcd3+http://host:2379`.
        most_failures: at how many failed attempts a shard is set aside.
        answer_seconds: how long the service may take for an answer.
        patience_seconds: for how long a call is repeated while the service does not answer.
        where: the option that the URL comes from, for what an error says.

    Raises:
        InvalidConfiguration: it names no service that can keep shards, or something in it is not known.

    >>> fleet_from_url("file:///var/lib/cinder")
    Traceback (most recent call last):
    imagevol_core.errors.InvalidConfiguration: ...: it names no service that keeps shards; use redis:// or etcd3+http://
    """
    kind = _BOARDS[checked_board_url(url, where=where)]
    locks = from_url(url, answer_seconds=answer_seconds, where=where)
    boards = {name: kind(locks, name=name) for name in (_SHARDS, _WORKERS, _JOBS, _LIMITS)}
    at_once, stopping = boards[_SHARDS], threading.Event()
    patient = {
        name: PatientBoard(board, patience_seconds=patience_seconds, stopping=stopping)
        for name, board in boards.items()
    }
    return Fleet(
        shards=LeasedShards(
            patient[_SHARDS],
            locks,
            most_failures=most_failures,
            host=socket.gethostname(),
            get_held=at_once.get_held if isinstance(at_once, EtcdBoard) else None,
        ),
        workers=LeasedWorkers(boards[_WORKERS], locks),  # a worker that is not listed for a while still works
        jobs=Jobs(patient[_JOBS], locks),
        locks=locks,
        limit_board=patient[_LIMITS],
        beats=patient[_WORKERS],
        stopping=stopping,
    )


def shards_from_url(
    url: str, *, most_failures: int = 3, answer_seconds: float = 10, patience_seconds: float = _PATIENCE_SECONDS
) -> tuple[LeasedShards, ToozLocks]:
    """Give the shards of a lock service, and its locks; close these at the end.  See `fleet_from_url`."""
    fleet = fleet_from_url(
        url, most_failures=most_failures, answer_seconds=answer_seconds, patience_seconds=patience_seconds
    )
    return fleet.shards, fleet.locks


def _database(locks: ToozLocks) -> str:
    """Give the number of the database in Redis; "0" for another service."""
    return dict(parse_qsl(urlsplit(locks.service.url).query)).get("db", "0")


def _ask(locks: ToozLocks, call: Callable[[Any], T]) -> T:
    """Ask a service, in its time and with errors of ours."""
    driver = locks.member()
    return locks.ask(lambda: call(driver))


_REPLACE = (  # Redis runs a script as one step
    "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end",
    "if not ARGV[3] then return redis.call('HDEL', KEYS[1], ARGV[1]) end",
    "redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])",
    "return 1",
)


@attrs.frozen(eq=False)
class RedisBoard:
    """Texts in Redis, the fields of one hash: `ShardBoard`.

    Args:
        locks: of the service.
        name: of the board; boards of two names have nothing in common.
    """

    locks: ToozLocks
    name: str = attrs.field(kw_only=True)

    def all(self) -> Mapping[str, str]:
        """Give every text by its key."""
        found = self._ask(lambda client: client.hgetall(self.name))
        return {_text(key): _text(text) for key, text in found.items()}

    def get(self, key: str) -> str | None:
        """Give one text; None if there is none."""
        found = self._ask(lambda client: client.hget(self.name, _bytes(key)))
        return None if found is None else _text(found)

    def create(self, key: str, text: str) -> bool:
        """Write a text if there is none of this key."""
        return bool(self._ask(lambda client: client.hsetnx(self.name, _bytes(key), _bytes(text))))

    def replace(self, key: str, old: str, new: str | None) -> bool:
        """Write another text, or take it away, if it still is the old one."""
        script, texts = "\n".join(_REPLACE), map(_bytes, (key, old) if new is None else (key, old, new))
        arguments = tuple(texts)
        return bool(self._ask(lambda client: client.eval(script, 1, self.name, *arguments)))

    def _ask(self, call: Callable[[Any], T]) -> T:
        """Ask Redis; say so if another program keeps something else where the board is."""
        try:
            return _ask(self.locks, lambda driver: call(driver._client))
        except ServiceFailed as error:
            if _WRONG_TYPE not in str(error.__cause__):
                raise
            service, database = self.locks.service, _database(self.locks)
            raise ServiceFailed(
                f"lock service {service}: another program uses its key {self.name}: delete it with `redis-cli -n "
                f"{database} DEL {self.name}` if no program needs it, or name another database in {service.where}, "
                "such as ?db=1"
            ) from error.__cause__


@attrs.frozen(eq=False)
class EtcdBoard:
    """Texts in etcd, the keys under one prefix: `ShardBoard`.

    Args:
        locks: of the service.
        name: of the board; boards of two names have nothing in common.
    """

    locks: ToozLocks
    name: str = attrs.field(kw_only=True)

    def all(self) -> Mapping[str, str]:
        """Give every text by its key."""
        found = _ask(self.locks, lambda driver: driver.client.get_prefix(f"{self.name}/"))
        return {_text(said["key"]).removeprefix(f"{self.name}/"): _text(text) for text, said in found}

    def get(self, key: str) -> str | None:
        """Give one text; None if there is none."""
        found = _ask(self.locks, lambda driver: driver.client.get(self._key(key)))
        return _text(found[0]) if found else None

    def create(self, key: str, text: str) -> bool:
        """Write a text if there is none of this key."""
        return bool(_ask(self.locks, lambda driver: driver.client.create(self._key(key), _bytes(text))))

    def replace(self, key: str, old: str, new: str | None) -> bool:
        """Write another text, or take it away, if it still is the old one."""
        before = _bytes(old)
        if new is not None:
            after = _bytes(new)
            return bool(_ask(self.locks, lambda driver: driver.client.replace(self._key(key), before, after)))
        name = _encoded(self._key(key))
        taken_away = {
            "compare": [{"key": name, "result": "EQUAL", "target": "VALUE", "value": _encoded(before)}],
            "success": [{"request_delete_range": {"key": name}}],
            "failure": [],
        }
        return bool(_ask(self.locks, lambda driver: driver.client.transaction(taken_away)).get("succeeded", False))

    def get_held(self, lock: Lock, key: str) -> str | None:
        """Give one text, by the request that asks whether a lock is held.

        Args:
            lock: of the same service.
            key: of the text.

        Raises:
            LockLost: the lock is not held any more; see `Lock.ensure_held` for all others.
        """
        if not isinstance(lock, TakenLock):
            lock.ensure_held()
            return self.get(key)

        def ask(driver: Any, taken: Any) -> tuple[bool, str | None]:
            own = {
                "key": _encoded(taken.LOCK_PREFIX + taken.name),
                "result": "EQUAL",
                "target": "VALUE",
                "value": taken._uuid,  # which no other writes
            }
            asked = {
                "compare": [own],
                "success": [{"request_range": {"key": _encoded(self._key(key))}}],
                "failure": [],
            }
            answer = driver.client.transaction(asked)
            found = [text for said in answer.get("responses", []) for text in said["response_range"].get("kvs", [])]
            text = _text(base64.b64decode(found[0].get("value", ""))) if found else None
            return bool(answer.get("succeeded", False)), text

        return lock.ask(ask)

    def _key(self, key: str) -> bytes:
        return _bytes(f"{self.name}/{key}")


def _text(data: bytes) -> str:
    """Give a text, of which `_bytes` gives the same bytes again, also if another program wrote them."""
    return data.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


_BOARDS: Mapping[str, Callable[..., ShardBoard]] = {
    "redis": RedisBoard,
    "etcd3+http": EtcdBoard,
    "etcd3+https": EtcdBoard,
}
