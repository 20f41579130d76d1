"""The locks of real lock services pass the suite that those in memory pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import ClassVar

import pytest
from tooz import coordination

from imagevol_adapters.coordination import ToozLocks, from_url
from imagevol_adapters.coordination.services import key_of
from imagevol_adapters.ports import Lock, Locks
from imagevol_adapters.testing.conformance import LocksConformance
from tests.coordination.services import Service, left_alone, running


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Service]]:
    """Gives a lock service, one of each for all tests of the module."""
    with left_alone(), ExitStack() as until:
        yield functools.cache(lambda name: until.enter_context(running(name, tmp_path_factory.mktemp(name))))


class TestFileLocks(LocksConformance):
    name: ClassVar[str] = "file"

    @pytest.fixture
    def service(self, started: Callable[[str], Service]) -> Service:
        return started(self.name)

    @pytest.fixture
    def locks(self, service: Service) -> Iterator[ToozLocks]:
        with closing(from_url(service.url)) as locks:
            yield locks

    @pytest.fixture
    def others(self, service: Service) -> Iterator[Locks]:
        with closing(from_url(service.url)) as locks:
            yield locks

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> Locks:
        (tmp_path / "file").touch()
        return from_url(f"file://{tmp_path}/file/locks")

    @pytest.fixture
    def lose(self, service: Service) -> Callable[[Lock], None]:
        return lambda lock: (service.directory / key_of(lock.name).decode()).unlink()


class TestRedisLocks(TestFileLocks):
    name: ClassVar[str] = "redis"

    @pytest.fixture
    def unreachable(self, service: Service, tmp_path: Path) -> Locks:
        return from_url(f"{service.url.partition(':')[0]}://127.0.0.1:1", answer_seconds=1)

    @pytest.fixture
    def lose(self, service: Service) -> Callable[[Lock], None]:
        def lose(lock: Lock) -> None:
            other = coordination.get_coordinator(service.url, b"other")
            other.start()
            assert other.get_lock(key_of(lock.name)).break_()
            other.stop()

        return lose


class TestEtcdLocks(TestRedisLocks):
    name: ClassVar[str] = "etcd"


class TestMemcachedLocks(TestRedisLocks):
    name: ClassVar[str] = "memcached"
