"""How gunicorn serves Keystone and Glance."""

import signal
import sys

from tests.cloud.processes import COLLECT, give_back

workers = 1
worker_class = "gthread"
# As many as a test sends requests at once: those that wait for a thread try nothing.
threads = 16
keepalive = 30
# One request may carry a whole image.
timeout = 600
graceful_timeout = 2
control_socket_disable = True


def post_fork(_server: object, _worker: object) -> None:
    """Keystone's WSGI module parses sys.argv, and would refuse gunicorn's arguments."""
    del sys.argv[1:]


def post_worker_init(_worker: object) -> None:
    """Let what it holds be compared with what it held before."""
    signal.signal(COLLECT, lambda *_: give_back())
