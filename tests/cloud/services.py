"""How each process of a cloud is started."""

import base64
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.cloud.processes import Process, run, spawn
from tests.cloud.settings import HOST, Site

DATABASES = ("keystone", "cinder", "glance")
NEW_DATABASES = [f"CREATE DATABASE {name};" for name in DATABASES]
VOLUMES_BYTES = 1 << 40


def database(site: Site, statements: Iterable[str]) -> Process:
    """MariaDB on a Unix socket, with no more than InnoDB in it; it executes the statements before anybody can connect.

    Whoever can reach the socket, in a directory of root's, is let in: so there are no accounts to
    make, and no system tables, which would take longer than everything else here.
    """
    first = site.directory / "mariadb.sql"
    first.write_text("".join(f"{statement}\n" for statement in statements))
    return spawn(
        "mariadb",
        [
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={site.directory}/mariadb",
            f"--tmpdir={site.directory}/tmp",
            f"--socket={site.database_socket}",
            f"--pid-file={site.directory}/tmp/mariadb.pid",
            f"--init-file={first}",
            "--skip-networking",
            "--skip-grant-tables",
            "--character-set-server=utf8",
            "--max-connections=300",
            "--performance-schema=off",
            "--innodb-buffer-pool-size=64M",
            # It is copied for each cloud.
            "--innodb-log-file-size=16M",
            # Data that is thrown away need not survive a crash.
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
        ],
        directory=site.directory,
    )


def mount_volumes(site: Site) -> None:
    """A file system with reflinks for the volumes, whatever the directory itself lies on.

    Its file is sparse and larger than the backends' capacities together, so that these decide
    when a backend is full.
    """
    file = site.directory / "volumes.xfs"
    with file.open("xb") as volumes:
        volumes.truncate(VOLUMES_BYTES)
    # The log is the only part that takes room at once.
    make = ("mkfs.xfs", "-q", "-m", "reflink=1", "-l", "size=64m", file)
    run("mkfs.xfs", *make, directory=site.directory)
    mount = ("mount", "-o", "loop", file, site.directory / "volumes")
    run("mount", *mount, directory=site.directory)


def root_helper(site: Site) -> None:
    """glance_store runs the literal `sudo glance-rootwrap`; root needs no sudo."""
    sudo = site.directory / "bin/sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)


def keystone_keys(site: Site) -> None:
    """The keys that `keystone-manage fernet_setup` and `credential_setup` would make."""
    for repository in ("fernet", "credential"):
        directory = site.directory / "keystone" / repository
        directory.mkdir(mode=0o700)
        for index in ("0", "1"):
            key = directory / index
            key.touch(mode=0o600)
            key.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


def keystone_setup(site: Site) -> Process:
    return spawn(
        "keystone-setup",
        _module("keystone_setup", _file(site, "keystone/keystone.conf"), site.auth_url),
        directory=site.directory,
        variables={"OS_BOOTSTRAP_PASSWORD": site.passwords["admin"]},
    )


def cinder_schema(site: Site) -> Process:
    command = ("cinder-manage", "--config-file", _file(site, "cinder/cinder.conf"), "db", "sync")
    return spawn("cinder-manage", command, directory=site.directory)


def glance_schema(site: Site) -> Process:
    command = ("glance-manage", "--config-file", _file(site, "glance/glance-api.conf"), "db_sync")
    return spawn("glance-manage", command, directory=site.directory)


def keystone(site: Site) -> Process:
    return _gunicorn(site, "keystone", "OS_KEYSTONE_CONFIG_DIR")


def glance(site: Site) -> Process:
    return _gunicorn(site, "glance", "OS_GLANCE_CONFIG_DIR")


def cinder(site: Site) -> Process:
    """All of Cinder, or what is left of it beside the hosts of a cluster."""
    volumes = [] if site.settings.volume_hosts else [f"--volumes={HOST}"]
    command = _module("cinder_services", _file(site, "cinder/cinder.conf"), "--api", *volumes)
    return spawn("cinder", command, directory=site.directory)


def cinder_volume(directory: Path, host: str) -> Process:
    """A cinder-volume of a cluster."""
    command = _module("cinder_services", directory / "etc/cinder/cinder.conf", f"--volumes={host}")
    return spawn(f"cinder-volume-{host}", command, directory=directory)


def glance_beside(directory: Path, *, port: int, folder: Path) -> Process:
    """Another Glance of the same cloud, on a port of its own and with its configuration in another folder."""
    return _serve("glance", directory, port, {"OS_GLANCE_CONFIG_DIR": str(folder)}, name=f"glance-{port}")


def _gunicorn(site: Site, service: str, configuration_variable: str) -> Process:
    variables = {configuration_variable: str(site.directory / "etc" / service)}
    return _serve(service, site.directory, site.ports[service], variables)


def _serve(service: str, directory: Path, port: int, variables: dict[str, str], *, name: str | None = None) -> Process:
    return spawn(
        name or service,
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--config=python:tests.cloud.gunicorn_settings",
            f"--bind=127.0.0.1:{port}",
            f"{service}.wsgi.api:application",
        ],
        directory=directory,
        variables=variables,
    )


def _module(name: str, *arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", f"tests.cloud.{name}", *arguments]


def _file(site: Site, name: str) -> Path:
    return site.directory / "etc" / name
