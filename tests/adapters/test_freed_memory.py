"""Memory that a store frees for one piece of an image is there for the next one."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, threading
from oslo_config import cfg
import imagevol_adapters.store.driver as driver

conf = cfg.ConfigOpts()
conf.register_opts(driver.Store.OPTIONS, group="fast")
driver.Store(conf, "fast")

def read(pieces):
    for _ in range(pieces):
        copies = [bytes(bytearray(1 << 20)) for _ in range(14)]
        copies.clear()

def faults(pieces):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=read, args=(pieces,))
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(50))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives freed memory back at once")
def test_the_pieces_of_an_image_do_not_take_their_memory_from_the_kernel_again_and_again() -> None:
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=True)
    pages = 50 * 14 * (1 << 20) // 4096
    faults = int(ran.stdout)
    assert faults < pages / 4
