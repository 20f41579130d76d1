"""Start a cloud from nothing: a database, Keystone, Cinder and Glance, filled and ready.

Every cloud starts fresh, which takes seconds; the first time in an environment it takes longer, as its databases are
made (`prepared`). A start that fails, or is interrupted, takes down what it had started.
"""

import dataclasses
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cloud import broker, configuration, identity, prepared, prerequisites, services, teardown
from tests.cloud.processes import (
    CHECKOUT,
    CloudError,
    Process,
    environment,
    finish,
    stop,
    wait_until,
)
from tests.cloud.record import MARKER, RECORD, Cloud
from tests.cloud.rest import answers
from tests.cloud.settings import SERVICES, Settings, Site, new_passwords, reserve_ports

# Told the name of each step when it is done, and the seconds it took.
Report = Callable[[str, float], None]

DIRECTORIES = (
    "bin",
    "broker",
    "cinder/conversion",
    "cinder/coordination",
    "etc",
    "glance/images",
    "glance/mnt",
    "glance/staging",
    "glance/tasks",
    "keystone",
    "locks",
    "log",
    "mariadb",
    "tmp",
    "volumes",
)
# The path of a Unix socket takes 107 characters, and the longest one here is privsep's.
LONGEST_DIRECTORY = 107 - len("/tmp/tmpXXXXXXXX/privsep.sock")
# It goes into commands, lists and URLs in the services' configuration, each with its own quoting.
PLAIN_PATH = re.compile(r"[a-zA-Z0-9/._+-]+")
# For a machine that is busy with something else. An idle one needs a tenth of it.
START_SECONDS = 180.0


def _silent(_step: str, _seconds: float) -> None:
    """Report nothing."""


def up(directory: Path, settings: Settings | None = None, *, report: Report = _silent) -> Cloud:
    """Start a cloud in this directory, in place of any unfinished one, and leave it running."""
    directory = directory.resolve()
    with _claimed(directory, settings):
        return _start(directory, settings or Settings(), report)


@contextmanager
def running(
    directory: Path,
    settings: Settings | None = None,
    *,
    report: Report = _silent,
    keep_logs: bool = False,
) -> Iterator[Cloud]:
    """A cloud for the time of a `with` block, taken down even if this process is killed in it."""
    directory = directory.resolve()
    with _claimed(directory, settings), _watchdog(directory):
        cloud = _start(directory, settings or Settings(), report)
        try:
            yield cloud
        finally:
            teardown.remove(directory, keep_logs=keep_logs)


def running_in(directory: Path) -> Cloud | None:
    """The cloud in this directory, if all of it runs."""
    if not (directory / RECORD).exists():
        return None
    cloud = Cloud.load(directory)
    return cloud if all(cloud.services().values()) else None


@contextmanager
def _claimed(directory: Path, settings: Settings | None) -> Iterator[None]:
    """Hold a directory that is fit for a cloud, and has none in it."""
    if problems := prerequisites.problems(broker=bool(settings and settings.volume_hosts)):
        raise CloudError("\n".join(problems))
    if len(str(directory)) > LONGEST_DIRECTORY or not PLAIN_PATH.fullmatch(str(directory)):
        raise CloudError(
            f"{directory}: choose a path of at most {LONGEST_DIRECTORY} characters, "
            "all of them letters, digits or /._+-"
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (directory / MARKER).exists() and any(directory.iterdir()):
        raise CloudError(f"{directory} has other files in it: choose an empty or a new directory")
    with teardown.locked(directory):
        if running_in(directory):
            raise CloudError(f"a cloud runs in {directory} already")
        teardown.remove(directory, keep_logs=True)
        shutil.rmtree(directory / "log", ignore_errors=True)
        yield


@contextmanager
def _watchdog(directory: Path) -> Iterator[None]:
    """A process that takes the cloud down when this one is gone without having done it."""
    # The end of its standard input tells it.
    watchdog = subprocess.Popen(
        [sys.executable, "-m", "tests.cloud.watchdog", str(directory)],
        cwd=CHECKOUT,
        env=environment(directory),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with watchdog:
        try:
            yield
        finally:
            watchdog.kill()


def _start(directory: Path, settings: Settings, report: Report) -> Cloud:
    try:
        with ExitStack() as until_ready:
            site = Site(
                directory=directory,
                settings=settings,
                ports=reserve_ports(SERVICES, until_ready),
                passwords=new_passwords(),
            )
            return _run_steps(site, report)
    except BaseException:
        # The logs stay, because the error names one of them.
        teardown.remove(directory, keep_logs=True)
        raise


def _run_steps(site: Site, report: Report) -> Cloud:
    with _timed(report, "databases, file system for volumes"):
        _lay_out(site)
        services.mount_volumes(site)
        ids = prepared.copied(site.directory / "mariadb", lambda: _make_databases(site, report))
        site = dataclasses.replace(site, project_ids=ids["project_ids"], user_ids=ids["user_ids"])
        configuration.write(site)
        mariadb = services.database(site, identity.own(site))
        messages = [broker.start(site)] if site.settings.volume_hosts else []
        wait_until(site.database_socket.exists, process=mariadb, seconds=START_SECONDS)
    with _timed(report, "Keystone and Cinder"):
        keystone = services.keystone(site)
        for process in messages:
            wait_until(lambda: broker.listens(site), process=process, seconds=START_SECONDS)
        cinder = services.cinder(site)
        _wait_for_answer(keystone, site.auth_url)
        _wait_for_answer(cinder, site.volume_url)
        # After the scheduler, which must hear them report their storage.
        volumes = [services.cinder_volume(site.directory, host) for host in site.settings.volume_hosts]
        api = identity.cinder_api(site)
        backends = set(configuration.enabled_backends(site))
        for process in volumes or [cinder]:
            wait_until(
                lambda: (
                    backends <= set(identity.backend_hosts(api))
                    and identity.volume_services_up(api) >= len(backends) * max(1, len(volumes))
                ),
                process=process,
                seconds=START_SECONDS,
            )
        # Before Glance starts, because its stores look for their types then.
        identity.create_backend_types(api)
    with _timed(report, "Glance"):
        glance = services.glance(site)
        _wait_for_answer(glance, site.image_url)
        if site.settings.several_stores:
            identity.create_store_type(api)
    cloud = Cloud(
        directory=site.directory,
        auth_url=site.auth_url,
        volume_url=site.volume_url,
        image_url=site.image_url,
        project_ids=site.project_ids,
        user_ids=site.user_ids,
        backend_hosts=identity.backend_hosts(api),
        pids={process.name: process.pid for process in (mariadb, *messages, keystone, cinder, *volumes, glance)},
    )
    cloud.save()
    return cloud


def _lay_out(site: Site) -> None:
    for name in DIRECTORIES:
        (site.directory / name).mkdir(parents=True)
    services.root_helper(site)
    services.keystone_keys(site)


def _make_databases(site: Site, report: Report) -> prepared.Ids:
    """Make those of a cloud without settings, by the services' commands and Keystone's API; nothing of it runs on."""
    plain = dataclasses.replace(site, settings=Settings())
    configuration.write(plain)
    mariadb = services.database(plain, services.NEW_DATABASES)
    wait_until(plain.database_socket.exists, process=mariadb, seconds=START_SECONDS)
    with _timed(report, "the first time: Keystone, schemas of Cinder and Glance"):
        one_shots = [services.keystone_setup(plain), services.cinder_schema(plain), services.glance_schema(plain)]
        # Loading Keystone takes as long as making its schema, and does not need it.
        keystone = services.keystone(plain)
        for process in one_shots:
            finish(process, seconds=START_SECONDS)
        _wait_for_answer(keystone, plain.auth_url)
    with _timed(report, "the first time: projects, users, roles, catalogue"):
        filled = identity.fill_keystone(plain)
        for process in (keystone, mariadb):
            stop(process, seconds=START_SECONDS)
    return {"project_ids": filled.project_ids, "user_ids": filled.user_ids}


def _wait_for_answer(process: Process, url: str) -> None:
    wait_until(lambda: answers(url), process=process, seconds=START_SECONDS)


@contextmanager
def _timed(report: Report, step: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    report(step, time.monotonic() - started)
