"""Cinder's services in one process: `python -m ... CONFIGURATION [--api] [--volumes=HOST]`.

With all of them in it, and `transport_url = fake://`, messages between them stay in the process, so no message broker
is needed. What the services do is what cinder-api and cinder-scheduler, and cinder-volume do.
"""

# Eventlet replaces modules of the standard library, and must do so before anybody imports them.
from cinder import monkey_patch

monkey_patch.patch()

import argparse  # noqa: E402
import gc  # noqa: E402
import os  # noqa: E402
import shlex  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402

import os_brick  # noqa: E402
from cinder import coordination, objects, rpc, service, utils, version  # noqa: E402
from cinder.common import config as _registers_options  # noqa: E402, F401
from cinder.common import constants  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_log import log  # noqa: E402
from oslo_privsep import priv_context  # noqa: E402

from tests.cloud.processes import COLLECT, give_back  # noqa: E402

CONF = cfg.CONF
# What is not closed must stay open here, and not be closed by chance. These processes live for minutes, and who loads
# them heavily sends COLLECT: Cinder leaves connections to its database to the collector.
gc.disable()


class Service(service.Service):
    """A service among others in its process.

    Cinder keeps the id of a service's row on the class, for one service a process: all but the one
    started last would miss their heartbeats and count as down.
    """

    def report_state(self) -> None:
        service.Service.service_id = self.origin_service_id
        super().report_state()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("configuration")
    parser.add_argument("--api", action="store_true")
    parser.add_argument("--volumes", metavar="HOST")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    collected = threading.Event()
    signal.signal(COLLECT, lambda *_: collected.set())
    objects.register_all()
    CONF(["--config-file", arguments.configuration], project="cinder", version=version.version_string())
    if arguments.volumes:
        CONF.set_override("host", arguments.volumes)
    log.setup(CONF, "cinder")
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    os_brick.setup(CONF)
    coordination.COORDINATOR.start()
    rpc.init(CONF)
    # The scheduler first: it must hear the backends report their storage.
    if arguments.api:
        Service.create(binary=constants.SCHEDULER_BINARY).start()
    if arguments.volumes:
        _start_volumes()
    if arguments.api:
        service.WSGIService("osapi_volume").start()
    while not stop.wait(0.2):
        if collected.is_set():
            collected.clear()
            gc.enable()
            give_back()
    # Nothing that this process holds outlives the cloud: there is nothing to end in good order.
    os._exit(0)


def _start_volumes() -> None:
    CONF.register_opt(cfg.StrOpt("cluster"))
    for backend in CONF.enabled_backends:
        CONF.register_opt(cfg.StrOpt("backend_host"), group=backend)
        Service.create(
            host=f"{CONF.host}@{backend}",
            service_name=backend,
            binary=constants.VOLUME_BINARY,
            coordination=True,
            cluster=f"{CONF.cluster}@{backend}" if CONF.cluster else None,
        ).start()


if __name__ == "__main__":
    main()
