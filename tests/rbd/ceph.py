"""Start a Ceph in a directory, and end it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.cloud.processes import (
    SYSTEM_PATH,
    CloudError,
    Process,
    end,
    environment,
    marked,
    run,
    spawn,
    ticks,
    wait_until,
)
from tests.cloud.settings import reserve_ports

PACKAGES = ("ceph-common", "ceph-mgr", "ceph-mon", "ceph-osd", "python3-rados", "python3-rbd")
POOLS = ("fast", "slow")
SECONDS = 60
_TIMES = 6
_ANSWER_SECONDS = 10  # longer than the lease after which another OSD may answer, which is two seconds here
_NAMES = 64  # of objects, which fall into all of the eight placement groups of a pool

CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor},v1:127.0.0.1:{old_monitor}]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = {directory}/tmp
admin_socket = {directory}/tmp/$name.asok
log_file = {directory}/log/$name.ceph.log
crash_dir = {directory}/tmp
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_pool_default_read_lease_ratio = 0.1
mon_data_avail_warn = 1
mon_data_avail_crit = 0
mgr_initial_modules =
mgr_pool = false
rbd_default_features = 61
[mon]
mon_data = {directory}/mon
mon_warn_on_pool_no_redundancy = false
[mgr]
mgr_data = {directory}/mgr
[osd]
osd_data = {directory}/osd
osd_objectstore = bluestore
bluestore_block_size = {disk_bytes}
bluestore_block_create = true
osd_memory_target = 939524096
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_class_load_list = *
[mon.a]
host = localhost
mon_addr = 127.0.0.1
"""


def problem() -> str | None:
    """Why there can be no Ceph here; None where there can."""
    missing = [name for name in ("ceph-mon", "ceph-mgr", "ceph-osd", "rbd") if not shutil.which(name, path=SYSTEM_PATH)]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install {' '.join(PACKAGES)}"
    if importlib.util.find_spec("rbd") is None:
        return "librbd's bindings are not in this environment: run the tests by `nox -s rbd`"
    return None


@contextmanager
def running(directory: Path, *, disk_bytes: int = 20 << 30) -> Iterator[Path]:
    """Give the configuration of a Ceph that runs while the context lasts."""
    for name in ("log", "tmp", "bin", "mon", "mgr", "osd"):
        (directory / name).mkdir(parents=True)
    try:
        yield _start(directory, disk_bytes)
    finally:
        end(directory)


def _start(directory: Path, disk_bytes: int) -> Path:
    configuration = directory / "ceph.conf"
    fsid = str(uuid.uuid4())
    with ExitStack() as until:
        ports = reserve_ports(("monitor", "old_monitor"), until)
        configuration.write_text(CONFIGURATION.format(directory=directory, fsid=fsid, disk_bytes=disk_bytes, **ports))
        address = "[v2:127.0.0.1:{monitor},v1:127.0.0.1:{old_monitor}]".format(**ports)
    conf, monmap = ("-c", configuration), directory / "monmap"

    def step(name: str, *argv: str | Path) -> None:
        run(name, *argv, directory=directory, seconds=SECONDS)

    def daemon(program: str, identity: str) -> Process:
        return spawn(program, [program, "-f", "-i", identity, *conf], directory=directory)

    step("monmaptool", "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
    step("mon-mkfs", "ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, *conf)
    daemon("ceph-mon", "a")
    step("mon-stat", "ceph", *conf, "mon", "stat")
    daemon("ceph-mgr", "x")
    osd = str(uuid.uuid4())
    step("osd-new", "ceph", *conf, "osd", "new", osd)
    step("osd-mkfs", "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, *conf)
    process = daemon("ceph-osd", "0")
    wait_until(lambda: "1 up" in ask(directory, "ceph", *conf, "osd", "stat"), process=process, seconds=SECONDS)
    for pool in POOLS:
        step("pool", "ceph", *conf, "osd", "pool", "create", pool, "8", "8")
        step("pool", "ceph", *conf, "osd", "pool", "application", "enable", pool, "rbd")
    for _ in ticks(SECONDS):
        if "active+clean" in (stat := ask(directory, "ceph", *conf, "pg", "stat")) and "creating" not in stat:
            return configuration
    return configuration


@contextmanager
def objects_of(configuration: Path, pool: str, *, seconds: int = SECONDS) -> Iterator[Any]:
    """Give a pool, which answers in time or raises an error."""
    options = {"rados_osd_op_timeout": str(seconds)}
    with (
        import_module("rados").Rados(conffile=str(configuration), conf=options) as client,
        client.open_ioctx(pool) as objects,
    ):
        yield objects


@dataclass(frozen=True)
class Osd:
    """The one daemon that keeps data: without it, no request for data is answered."""

    configuration: Path

    def pause(self) -> None:
        """Let it stand still, as a host does whose disk hangs."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, or start it if it was killed, and return when Ceph sees it."""
        if (pid := self._found()) is not None:
            os.kill(pid, signal.SIGCONT)
        else:
            directory, before = self.configuration.parent, self._up_from
            process = spawn("ceph-osd", ["ceph-osd", "-f", "-i", "0", "-c", self.configuration], directory=directory)
            wait_until(lambda: self._up_from > before, process=process, seconds=SECONDS)
        self._until_readable()

    @property
    def _up_from(self) -> int:
        """Since which map the monitors have it up; they learn late that it was killed, and count it until then."""
        said = ask(self.configuration.parent, "ceph", "-c", self.configuration, "osd", "dump", "--format", "json")
        return int(json.loads(said)["osds"][0]["up_from"])

    def _until_readable(self) -> None:
        """Wait until each placement group answers.

        One that has no other OSD to agree with can wait for good to become readable after its OSD stood still (Ceph
        16, "waiting for readable").  It begins anew when the OSD is marked down, as one is that has others beside it.
        On a busy host it needs longer for that, and must not begin anew before it is done.
        """
        for number in range(1, _TIMES + 1):
            if self._answers(seconds=number * _ANSWER_SECONDS):
                return
            ask(self.configuration.parent, "ceph", "-c", self.configuration, "osd", "down", "0")
        raise CloudError("ceph-osd runs, and some of its placement groups do not answer")

    def _answers(self, *, seconds: int) -> bool:
        """Tell whether objects in all placement groups can be asked for."""
        rados = import_module("rados")
        with suppress(rados.TimedOut):
            for pool in POOLS:
                with objects_of(self.configuration, pool, seconds=seconds) as objects:
                    for number in range(_NAMES):
                        with suppress(rados.ObjectNotFound):
                            objects.stat(f"no-object-{number}")
            return True
        return False

    def kill(self) -> None:
        """End it as a crash does."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)

    @property
    def pid(self) -> int:
        """Its process."""
        if (pid := self._found()) is None:
            raise CloudError("ceph-osd does not run")
        return pid

    def _found(self) -> int | None:
        for pid in marked(self.configuration.parent):
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == "ceph-osd":
                    return pid
        return None


def ask(directory: Path, *argv: str | Path) -> str:
    """Give what a command says."""
    done = subprocess.run(
        argv, env=environment(directory), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return done.stdout
