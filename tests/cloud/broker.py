"""RabbitMQ for one cloud: its node, its port mapper, its cookie and its files are the cloud's alone."""

import os
import secrets
import socket

from tests.cloud import prerequisites
from tests.cloud.configuration import write_private
from tests.cloud.processes import Process, spawn
from tests.cloud.settings import Site

# Debian's own script in /usr/sbin would become the user of the system's broker.
(PROGRAM,) = prerequisites.BROKER


def start(site: Site) -> Process:
    """A node on loopback, which knows one user; its epmd carries the cloud's mark as all its children do."""
    home = site.directory / "broker"
    settings = {
        "listeners.tcp.1": f"127.0.0.1:{site.ports['broker']}",
        "default_user": "cinder",
        "default_pass": site.passwords["broker"],
        "disk_free_limit.absolute": "1MB",
    }
    write_private(home / "rabbitmq.conf", "".join(f"{name} = {value}\n" for name, value in settings.items()))
    write_private(home / ".erlang.cookie", secrets.token_hex(16))
    (home / "plugins").write_text("[].\n")
    return spawn(
        "broker",
        [PROGRAM],
        directory=site.directory,
        variables={
            "HOME": str(home),  # where Erlang looks for the cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(site.ports["epmd"]),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(site.ports["distribution"]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_NODENAME": f"cloud{site.ports['broker']}@localhost",
            # One scheduler that does not spin: the machine is busy with Cinder.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        },
    )


def listens(site: Site) -> bool:
    """Whether it takes connections, which is the last thing that it begins with."""
    try:
        socket.create_connection(("127.0.0.1", site.ports["broker"]), timeout=1).close()
    except OSError:
        return False
    return True
