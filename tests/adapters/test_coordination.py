"""Locks under lock services, in several processes that are killed, stand still, fork, and lose the service."""

from __future__ import annotations

import errno
import functools
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg
from tooz import coordination

from imagevol_adapters.coordination import ToozLocks, from_conf, from_url
from imagevol_adapters.coordination.answering import NoAnswerError, _Call, answered
from imagevol_adapters.coordination.services import SERVICES, _answers_without_tls, key_of, parse_url
from imagevol_adapters.engine.starting import Thread
from imagevol_adapters.testing.conformance.locks import NAMES
from imagevol_core import DeadlineExceeded, InvalidConfiguration, LockLost, ServiceFailed, ServiceUnreachable
from tests.cloud.processes import CHECKOUT
from tests.coordination import services as lock_services
from tests.coordination.programs import NAME
from tests.coordination.services import LEASE_SECONDS, PASSWORD, SECONDS, Service, left_alone, running

LEASED = tuple(name for name in lock_services.SERVICES if name != "file")

each_service = pytest.mark.parametrize("service", lock_services.SERVICES, indirect=True)
each_leased_service = pytest.mark.parametrize("service", LEASED, indirect=True)
needs_eventlet = pytest.mark.skipif(
    importlib.util.find_spec("eventlet") is None,
    reason="eventlet is not installed: run the tests by `nox -s coordination`",
)

Start = Callable[..., "Program"]


class Program:
    """One of `tests.coordination.programs`, which takes a step when it is told to."""

    def __init__(self, what: str, *arguments: object) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.coordination.programs", what, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=CHECKOUT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def says(self, word: str) -> None:
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        if said != word:
            pytest.fail(f"{said!r} and not {word!r}: {self.ended()}")

    def goes_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ended(self) -> str:
        self.process.kill()
        _, errors = self.process.communicate()
        return str(errors)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a program, and ends it with the test."""
    with ExitStack() as until:

        def start(*arguments: object) -> Program:
            program = Program(*map(str, arguments))
            until.callback(program.ended)
            return program

        yield start


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Service]]:
    with left_alone(), ExitStack() as until:
        yield functools.cache(lambda name: until.enter_context(running(name, tmp_path_factory.mktemp(name))))


@pytest.fixture
def service(request: pytest.FixtureRequest, started: Callable[[str], Service]) -> Service:
    return started(request.param)


class TestNames:
    """Of any text a service gets a name of its own that is safe in a path, a key and a log."""

    @given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=400), unique=True, max_size=20))
    def test_two_names_are_never_one_lock(self, names: list[str]) -> None:
        keys = {key_of(name) for name in names}
        assert len(keys) == len(names)
        for key in keys:
            assert re.fullmatch(rb"imagevol-[A-Za-z0-9._~%-]{0,171}", key)

    def test_a_short_name_and_a_shortened_long_name_are_never_one_lock(self) -> None:
        long = key_of("x" * 5000).decode().removeprefix("imagevol-")
        assert key_of(long) != key_of("x" * 5000)

    def test_no_name_leads_out_of_the_directory(self, tmp_path: Path) -> None:
        locks = from_url(f"file://{tmp_path}/locks")
        for name in NAMES:
            with locks.held(name, wait_seconds=0):
                pass
        assert [path.name for path in tmp_path.iterdir()] == ["locks"]
        made = {path.name for path in tmp_path.joinpath("locks").iterdir() if path.is_file()}
        assert made == {key_of(name).decode() for name in NAMES}


class TestProcesses:
    @each_service
    def test_of_all_processes_one_at_a_time_holds_a_lock(self, service: Service, start: Start, tmp_path: Path) -> None:
        file = tmp_path / "number"
        file.write_text("0")
        for program in [start("count", service.url, file, 5) for _ in range(3)]:
            program.says("done")
        assert file.read_text() == "15"

    @each_service
    def test_the_lock_of_a_holder_that_is_killed_comes_free(self, service: Service, start: Start) -> None:
        holder = start("hold", service.url)
        holder.says("held")
        with closing(from_url(service.url)) as locks:
            with pytest.raises(DeadlineExceeded), locks.held(NAME, wait_seconds=0):
                pytest.fail("it was held twice")
            holder.signal(signal.SIGKILL)
            with locks.held(NAME, wait_seconds=locks.lease_seconds + SECONDS) as lock:
                lock.ensure_held()

    def test_the_lock_of_a_holder_that_is_killed_is_free_at_once_where_it_is_a_file(
        self, tmp_path: Path, start: Start
    ) -> None:
        holder = start("hold", f"file://{tmp_path}")
        holder.says("held")
        holder.signal(signal.SIGKILL)
        holder.process.wait()
        with from_url(f"file://{tmp_path}").held(NAME, wait_seconds=0):
            pass

    @each_leased_service
    def test_a_living_holder_keeps_its_lock_longer_than_a_lease(self, service: Service, start: Start) -> None:
        holder = start("hold", service.url)
        holder.says("held")
        with closing(from_url(service.url)) as locks:
            assert locks.lease_seconds == LEASE_SECONDS
            with pytest.raises(DeadlineExceeded), locks.held(NAME, wait_seconds=2 * LEASE_SECONDS):
                pytest.fail("it was held twice")
        holder.goes_on()
        holder.says("still held")
        holder.goes_on()
        holder.says("done")

    @each_leased_service
    def test_a_lock_is_kept_by_asking_whether_it_is_held(self, service: Service) -> None:
        with closing(from_url(service.url)) as locks, locks.held(NAME, wait_seconds=0) as lock:
            locks.member().heart.stop()  # as if it beat late, in a busy process
            until = time.monotonic() + 2 * LEASE_SECONDS
            while time.monotonic() < until:
                time.sleep(LEASE_SECONDS / 30)
                lock.ensure_held()

    @each_leased_service
    @pytest.mark.parametrize("what", ["hold", "hold_to_the_end"])
    def test_a_holder_that_stood_still_has_lost_its_lock_and_knows(
        self, service: Service, start: Start, what: str
    ) -> None:
        holder = start(what, service.url)
        holder.says("held")
        holder.signal(signal.SIGSTOP)
        with (
            closing(from_url(service.url)) as locks,
            locks.held(NAME, wait_seconds=LEASE_SECONDS + SECONDS) as lock,
        ):
            holder.signal(signal.SIGCONT)
            holder.goes_on()
            holder.says("LockLost")
            lock.ensure_held()  # what the other has lost, it does not take from us

    @each_service
    def test_a_process_that_is_forked_is_a_member_by_itself(
        self, service: Service, start: Start, tmp_path: Path
    ) -> None:
        file = tmp_path / "number"
        file.write_text("0")
        start("fork", service.url, file, 5).says("done")
        assert file.read_text() == "15"

    @each_service
    def test_a_child_does_not_give_back_what_its_parent_holds(self, service: Service, start: Start) -> None:
        holder = start("fork_inside", service.url)
        holder.says("done")  # the child, when it leaves the context
        holder.says("held")
        with closing(from_url(service.url)) as locks:
            with pytest.raises(DeadlineExceeded), locks.held(NAME, wait_seconds=0):
                pytest.fail("it was held twice")
            holder.goes_on()
            holder.says("done")

    @each_service
    def test_a_child_does_not_hold_what_its_parent_holds(self, service: Service, start: Start) -> None:
        holder = start("fork_asking", service.url)
        holder.says("LockLost")  # the child
        holder.says("done")

    @needs_eventlet
    @each_service
    def test_the_heart_beats_among_green_threads(self, service: Service, start: Start) -> None:
        holder = start("eventlet_sleeping", service.url)
        holder.says("still held")
        holder.goes_on()
        holder.says("done")

    @needs_eventlet
    @each_leased_service
    def test_a_green_thread_that_lets_no_other_run_has_lost_its_lock(self, service: Service, start: Start) -> None:
        start("eventlet_busy", service.url).says("LockLost")


class TestRequests:
    @pytest.mark.parametrize("service", ["etcd"], indirect=True)
    def test_etcd_is_asked_by_the_quick_session(self, service: Service) -> None:
        with closing(from_url(service.url)) as locks:
            driver: Any = locks.member()
            assert type(driver.client.session).__name__ == "EtcdSession"


class TestServiceThatFails:
    """Nobody believes to hold a lock of a service that does not answer."""

    @pytest.fixture
    def service(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
        """One of its own: others would miss it."""
        with running(request.param, tmp_path) as service:
            yield service

    @each_leased_service
    def test_a_lock_service_can_stop_and_come_back(self, service: Service) -> None:
        def work(locks: ToozLocks) -> None:
            with locks.held(NAME, wait_seconds=0) as lock:
                service.stop()
                with pytest.raises(ServiceUnreachable):
                    lock.ensure_held()
                with pytest.raises(ServiceUnreachable), locks.held("another", wait_seconds=0):
                    pytest.fail("it was held")

        with closing(from_url(service.url, answer_seconds=1)) as locks:
            with pytest.raises(ServiceUnreachable):
                work(locks)
            with pytest.raises(ServiceUnreachable), locks.held(NAME, wait_seconds=0):
                pytest.fail("it was held")
            service.start()
            self._is_soon_usable(service)

    @pytest.mark.parametrize("service", ["etcd"], indirect=True)
    def test_a_lock_that_a_service_forgot_is_not_the_one_that_another_took_there_since(self, service: Service) -> None:
        def work(locks: ToozLocks) -> None:
            with locks.held(NAME, wait_seconds=0) as lock:
                service.stop()
                shutil.rmtree(service.directory / "member")
                service.start()  # and counts its revisions from 1 again
                with closing(from_url(service.url)) as others, others.held(NAME, wait_seconds=0) as other:
                    with pytest.raises(LockLost):
                        lock.ensure_held()
                    other.ensure_held()

        with closing(from_url(service.url)) as locks, pytest.raises(LockLost):
            work(locks)

    @pytest.mark.parametrize("service", ["etcd"], indirect=True)
    @pytest.mark.parametrize("late", [False, True], ids=["right after it was taken", "later"])
    def test_a_lock_that_another_program_wrote_over_is_lost(self, service: Service, late: bool) -> None:
        def work(locks: ToozLocks) -> None:
            client = locks.member().client  # type: ignore[attr-defined]
            transaction = client.transaction

            def taken_and_written_over(asked: object) -> object:
                answer = transaction(asked)
                client.transaction = transaction
                client.put(b"/tooz/locks" + key_of(NAME), b"of another")
                return answer

            if not late:
                client.transaction = taken_and_written_over
            with locks.held(NAME, wait_seconds=0) as lock:
                if late:
                    lock.ensure_held()
                    client.put(b"/tooz/locks" + key_of(NAME), b"of another")
                for _ in range(2):
                    with pytest.raises(LockLost):
                        lock.ensure_held()

        with closing(from_url(service.url)) as locks, pytest.raises(LockLost):
            work(locks)

    @each_leased_service
    def test_an_answer_that_is_older_than_a_lease_says_nothing(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0.0
        with closing(from_url(service.url)) as locks, locks.held(NAME, wait_seconds=0) as lock:
            monkeypatch.setattr("imagevol_adapters.coordination.locks._now", lambda: now)
            lock.ensure_held()
            is_own = SERVICES[service.url.partition(":")[0]].is_own

            def answer_late(driver: object, taken: object) -> tuple[bool, None]:
                nonlocal now
                answer, now = is_own(driver, taken), now + LEASE_SECONDS
                return answer, None

            with pytest.raises(ServiceUnreachable, match="the lease may have been over"):
                lock.ask(answer_late)  # type: ignore[attr-defined]
            lock.ensure_held()

    @each_leased_service
    def test_a_lock_service_can_be_suspended_and_continue(self, service: Service) -> None:
        def work(locks: ToozLocks) -> None:
            with locks.held(NAME, wait_seconds=0) as lock, service.standing_still():
                with pytest.raises(ServiceUnreachable), locks.held("another", wait_seconds=0):
                    pytest.fail("it was held")
                lock.ensure_held()

        with closing(from_url(service.url, answer_seconds=1)) as locks:
            with pytest.raises(ServiceUnreachable):
                work(locks)
            self._is_soon_usable(service)

    def test_a_lock_that_is_granted_too_late_is_given_back(self, tmp_path: Path) -> None:
        locks = from_url(f"file://{tmp_path}", answer_seconds=0.2)
        with closing(from_url(f"file://{tmp_path}")) as others, closing(locks):
            with locks.held("so that it has started", wait_seconds=0):
                pass
            driver = locks._started()
            get_lock, slow = driver.get_lock, threading.Event()

            def get_slowly(name: bytes) -> object:
                slow.wait(SECONDS)
                return get_lock(name)

            driver.get_lock = get_slowly  # type: ignore[assignment,method-assign]
            with pytest.raises(ServiceUnreachable), locks.held(NAME, wait_seconds=0):
                pytest.fail("it was held")
            slow.set()
            with others.held(NAME, wait_seconds=SECONDS):
                pass

    def test_an_answer_that_comes_late_again_and_again_is_named_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        locks, slow, late = from_url(f"file://{tmp_path}", answer_seconds=0.05), threading.Event(), list[int]()

        def refused() -> None:
            slow.wait(SECONDS)
            late.append(1)
            raise OSError("refused")

        for _ in range(3):
            with pytest.raises(ServiceUnreachable):
                locks.ask(refused)
        slow.set()
        for thread in threading.enumerate():
            if thread.name.startswith("imagevol-lock"):
                thread.join(SECONDS)
        assert (len(late), len([each for each in caplog.messages if str(tmp_path) in each])) == (3, 1)

    @pytest.mark.parametrize(
        "module, kinds, reached",
        [
            ("redis.exceptions", ["ConnectionError"], False),
            ("redis.exceptions", ["TimeoutError"], False),
            ("redis.exceptions", ["ConnectionError", "AuthenticationError"], True),
            ("redis.exceptions", ["ConnectionError", "AuthorizationError"], True),
            ("redis.exceptions", ["NoPermissionError"], True),
            ("etcd3gw.exceptions", ["ConnectionFailedError"], False),
            ("etcd3gw.exceptions", ["ConnectionTimeoutError"], False),
            ("etcd3gw.exceptions", ["InternalServerError"], True),
        ],
    )
    def test_a_client_whose_connection_is_refused_has_reached_nothing(
        self, tmp_path: Path, module: str, kinds: list[str], reached: bool
    ) -> None:
        kind: type[Exception] = Exception
        for name in kinds:  # each is one of those before it
            kind = type(name, (kind,), {"__module__": module})

        def fail() -> object:
            raise kind("as the client says it")

        expected = ServiceFailed if reached else ServiceUnreachable
        with closing(from_url(f"file://{tmp_path}")) as locks, pytest.raises(expected, match="as the client says it"):
            locks.ask(fail)

    @pytest.mark.parametrize(
        "text, reached",
        [
            ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", True),
            ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", True),
            ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", True),
            ("[SSL: WRONG_VERSION_NUMBER] wrong version number", True),
            ("[SSL: RECORD_LAYER_FAILURE] record layer failure", True),
            ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred", False),
            ("connection to certificate.example.com is refused", False),
        ],
    )
    def test_a_certificate_that_is_refused_will_be_so_again(self, tmp_path: Path, text: str, reached: bool) -> None:
        def fail() -> object:
            raise coordination.ToozConnectionError(text)

        expected = ServiceFailed if reached else ServiceUnreachable
        with closing(from_url(f"file://{tmp_path}")) as locks, pytest.raises(expected) as caught:
            locks.ask(fail)
        assert "credentials" not in str(caught.value)
        assert (": the connection is refused (" in str(caught.value)) is reached
        assert str(caught.value).endswith(", the certificates, and whether the service uses TLS") is reached

    @staticmethod
    def _is_soon_usable(service: Service) -> None:
        """By another, and longer than a lease: what is not given back at once is in time."""
        with closing(from_url(service.url)) as others:
            for name in (NAME, "another"):
                with others.held(name, wait_seconds=SECONDS) as lock:
                    lock.ensure_held()


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            *("", "redis", "file://relative/path", "file:relative", "file://", "nope://host", "mysql://u:p@host/db"),
            *("redis://:hush/hush@host:6379", "redis://:12/hush@host", "redis://:hush#hush@host", "redis://host:hush"),
        ],
    )
    def test_what_locks_cannot_be_kept_in_is_refused_without_a_word_of_it(self, url: str) -> None:
        with pytest.raises(InvalidConfiguration) as refused:
            from_url(url)
        assert str(refused.value).startswith("[coordination] backend_url: ")
        assert "hush" not in str(refused.value)
        assert refused.value.__cause__ is None

    @pytest.mark.parametrize(
        "url, shown",
        [
            ("redis://:hush@10.0.0.1:6379?timeout=5", "redis://10.0.0.1:6379"),
            ("redis://user:hu@sh@[::1]:6379/0", "redis://[::1]:6379"),
            ("redis://host:26379?sentinel=s&sentinel_password=hush", "redis://host:26379"),
            ("redis://host:26379?sentinel=s&sentinel_password=hu@sh", "redis://…"),
            ("redis:///run/redis.sock", "redis://…"),
            ("zookeeper://u:hush@a:2181,b:2181", "zookeeper://a:2181,b:2181"),
            ("etcd3+https://etcd.example", "etcd3+https://etcd.example"),
            ("file:///var/lib//cinder/./x/../", "file:///var/lib/cinder"),
        ],
    )
    def test_what_is_shown_of_a_url_has_no_password(self, url: str, shown: str) -> None:
        found = parse_url(url, where="here")
        assert (str(found), found.shown, "hu" in repr(found)) == (shown, shown, False)

    @pytest.mark.parametrize("password", ["hush", "a", "hu&sh=+%41"])
    def test_a_password_that_a_library_quotes_is_taken_out(self, password: str) -> None:
        found = parse_url(f"redis://me:{password}@host?sentinel_password=hush2", where="here")
        assert found.masked(f"<{password}> or <hush2>") == "<***> or <***>"

    @pytest.mark.parametrize("name", [name for name in SERVICES if name != "file"])
    def test_a_client_that_is_not_there_is_named_with_what_brings_it(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        brings = SERVICES[name].brings
        for module in ("redis", "etcd3gw", "pymemcache", "kazoo"):
            monkeypatch.setitem(sys.modules, module, None)
        for module in ("redis", "etcd3gw", "memcached", "zookeeper"):
            monkeypatch.delitem(sys.modules, f"tooz.drivers.{module}", raising=False)
        with pytest.raises(InvalidConfiguration) as refused:
            from_url(f"{name}://me:hush@host")
        said = f"the client of {name}://host is missing: pip install 'tooz[{brings}]'"
        assert str(refused.value) == f"[coordination] backend_url: {said}"

    @pytest.mark.parametrize("service", ["redis"], indirect=True)
    def test_a_wrong_password_is_an_error_that_does_not_say_it(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        locks = from_url(service.url.replace(PASSWORD, "wrong-horse"), answer_seconds=1)
        with pytest.raises(ServiceFailed) as refused, locks.held(NAME, wait_seconds=0):
            pytest.fail("it was held")
        for text in (str(refused.value), repr(locks), caplog.text):
            assert "horse" not in text
        assert ": the credentials are refused (" in str(refused.value)
        assert str(refused.value).endswith("; check [coordination] backend_url and its password")

    @pytest.mark.parametrize("service", ["redis"], indirect=True)
    def test_a_redis_without_tls_is_told_from_one_that_does_not_answer(self, service: Service) -> None:
        locks = from_url(f"{service.url}&ssl=true", answer_seconds=2)
        with pytest.raises(ServiceFailed) as refused:
            locks.member()
        assert str(refused.value).endswith(
            ": it does not use TLS: take ssl=true out of [coordination] backend_url, or let the service use TLS"
        )
        with service.standing_still(), pytest.raises(ServiceUnreachable):
            locks.member()

    @pytest.mark.parametrize(
        "answer, plain",
        [(b"+PONG\r\n", True), (b"-NOAUTH", True), (b"\x15\x03\x03\x00\x02\x02\x46", False), (b"", False)],
    )
    def test_only_an_answer_that_is_not_encrypted_shows_that_there_is_no_tls(self, answer: bytes, plain: bool) -> None:
        asked: list[bytes] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(100))
                connection.sendall(answer)

        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            thread = threading.Thread(target=serve)
            thread.start()
            assert _answers_without_tls("127.0.0.1", port, SECONDS) is plain
            thread.join()
        assert asked == [b"PING\r\n"]
        assert not _answers_without_tls("127.0.0.1", port, SECONDS)


class TestConfiguration:
    def test_the_lock_service_is_the_one_of_cinders_configuration(self, tmp_path: Path) -> None:
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.StrOpt("state_path", default=str(tmp_path)))
        conf.register_opt(cfg.StrOpt("backend_url", secret=True, default="file://$state_path"), group="coordination")
        conf([])
        with from_conf(conf).held(NAME, wait_seconds=0):
            assert (tmp_path / key_of(NAME).decode()).is_file()

    def test_a_configuration_without_a_lock_service_is_refused(self) -> None:
        with pytest.raises(InvalidConfiguration, match=r"import cinder\.coordination"):
            from_conf(cfg.ConfigOpts())


class TestFiles:
    def test_a_directory_that_cannot_be_made_is_named_with_why(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with (
            pytest.raises(ServiceUnreachable) as refused,
            from_url(f"file://{tmp_path}/file/locks").held(NAME, wait_seconds=0),
        ):
            pytest.fail("it was held")
        said = str(refused.value)
        assert said.startswith(f"lock service file://{tmp_path}/file/locks: ")
        assert os.strerror(errno.ENOTDIR) in said
        assert said.endswith(
            "; let this user write in the directory, or name another one in [coordination] backend_url"
        )

    def test_two_spellings_of_a_directory_are_one_lock_service(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "locks")
        with from_url(f"file://{tmp_path}/locks/").held(NAME, wait_seconds=0):
            other = from_url(f"file://{tmp_path}/link/../link")
            with pytest.raises(DeadlineExceeded), other.held(NAME, wait_seconds=0):
                pytest.fail("it was held twice")

    def test_a_lock_whose_file_another_has_made_anew_is_lost(self, tmp_path: Path, start: Start) -> None:
        locks = from_url(f"file://{tmp_path}")

        def work() -> None:
            with locks.held(NAME, wait_seconds=0):
                (tmp_path / key_of(NAME).decode()).unlink()
                start("hold", f"file://{tmp_path}").says("held")

        with pytest.raises(LockLost):
            work()

    def test_a_lock_service_that_was_left_is_entered_again(self, tmp_path: Path) -> None:
        locks = from_url(f"file://{tmp_path}")
        with locks.held(NAME, wait_seconds=0):
            pass
        locks.close()
        locks.close()
        with locks.held(NAME, wait_seconds=0):
            pass


class TestAnswers:
    def test_an_answer_or_an_error_of_the_lock_service_reaches_the_caller(self) -> None:
        assert answered(lambda: "yes", seconds=SECONDS) == "yes"
        with pytest.raises(ZeroDivisionError):
            answered(lambda: 1 // 0, seconds=SECONDS)

    def test_an_answer_that_is_too_late_is_cleaned_up(self) -> None:
        may_return, cleaned = threading.Event(), threading.Event()
        came: list[str] = []

        def clean(answer: str) -> None:
            came.append(answer)
            cleaned.set()

        with pytest.raises(NoAnswerError):
            answered(lambda: f"late: {may_return.wait(SECONDS)}", seconds=0.01, late=clean)
        assert came == []
        may_return.set()
        assert cleaned.wait(SECONDS)
        assert came == ["late: True"]

    @pytest.mark.parametrize("begun", [True, False])
    def test_the_answer_of_a_call_that_was_interrupted_as_it_began_is_cleaned_up(
        self, monkeypatch: pytest.MonkeyPatch, begun: bool
    ) -> None:
        real, cleaned, came = Thread.start, threading.Event(), list[str]()

        def start(thread: Thread) -> None:
            if begun:
                real(thread)
            raise KeyboardInterrupt

        def clean(answer: str) -> None:
            came.append(answer)
            cleaned.set()

        monkeypatch.setattr(Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            answered(lambda: "a lock", seconds=SECONDS, late=clean)
        assert cleaned.wait(SECONDS if begun else 0) is begun
        assert came == ["a lock"] * begun

    @pytest.mark.parametrize("after", [True, False])
    def test_the_answer_of_a_call_that_was_interrupted_at_its_end_is_cleaned_up_once(
        self, monkeypatch: pytest.MonkeyPatch, after: bool
    ) -> None:
        real, interrupts, came = _Call.leave, [True], list[str]()

        def leave(call: _Call[str]) -> bool:
            left = real(call) if after else False
            if interrupts:
                interrupts.clear()
                raise KeyboardInterrupt
            return real(call) or left

        monkeypatch.setattr(_Call, "leave", leave)
        with pytest.raises(KeyboardInterrupt):
            answered(lambda: "a lock", seconds=SECONDS, late=came.append)
        assert came == ["a lock"]

    def test_an_answer_that_comes_as_its_caller_was_interrupted_in_leaving_is_cleaned_up_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, interrupts, go, came = _Call.leave, [True], threading.Event(), list[str]()

        def leave(call: _Call[str]) -> bool:
            left = real(call)
            if interrupts:
                interrupts.clear()
                go.set()
                assert call.returned.wait(SECONDS)
                raise KeyboardInterrupt
            return left

        asking: list[threading.Thread] = []

        def call() -> str:
            asking.append(threading.current_thread())
            go.wait(SECONDS)
            return "a lock"

        monkeypatch.setattr(_Call, "leave", leave)
        with pytest.raises(KeyboardInterrupt):
            answered(call, seconds=0.01, late=came.append)
        asking[0].join(SECONDS)
        assert came == ["a lock"]

    def test_an_error_that_is_too_late_is_logged(self) -> None:
        may_return, told = threading.Event(), threading.Event()
        came: list[BaseException] = []

        def fail() -> None:
            may_return.wait(SECONDS)
            raise ValueError("late")

        def tell(error: BaseException) -> None:
            came.append(error)
            told.set()

        with pytest.raises(NoAnswerError):
            answered(fail, seconds=0.01, failed_late=tell)
        may_return.set()
        assert told.wait(SECONDS)
        assert [str(error) for error in came] == ["late"]
