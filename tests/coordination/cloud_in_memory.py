"""`python -m tests.coordination.cloud_in_memory ARGUMENT …`: the command line, for a cloud that is in its memory.

Each process has the same eight images.  A volume is read when there is a file `go` in the working directory.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, cast

import attrs

from imagevol_adapters import transfers
from imagevol_adapters.cinder import whole_cloud
from imagevol_adapters.cli import main
from imagevol_adapters.cli.app import Imagevol
from imagevol_core import GIB, DeepCheck, Digest, StoreCatalogue, TransferCancelled
from tests.adapters.test_audit_gathering import CATALOGUE, Cloud

VOLUMES = 8


class Glance(Cloud):
    """A cloud whose Glance tells its stores."""

    def catalogue(self) -> StoreCatalogue:
        return CATALOGUE


def check(volume_id: str, *, limits: Any, algorithm: str, **_: Any) -> DeepCheck:
    """Read a volume, as soon as it is allowed to."""
    while not Path("go").exists():
        if limits.cancelled.wait(0.02):
            raise TransferCancelled("it was cancelled")
    time.sleep(0.05)
    return DeepCheck(volume_id=volume_id, size_bytes=GIB, digest=Digest(algorithm, "ab"), tail_is_zero=True)


@attrs.define
class Cinder:
    """Cinder, of which an audit asks the default type."""

    attach_attempts: int = 30

    def default_volume_type(self) -> str | None:
        return "ssd"


def put_in_place() -> None:
    """Put the cloud in place of that of the credentials."""
    cloud, application = Glance(), cast("Any", Imagevol)
    for number in range(1, VOLUMES + 1):
        cloud.add(number)
    application.images, application.volumes, application.attacher = cloud, Cinder(), None
    application.cloud_id = lambda _: "this cloud"
    cast("Any", transfers).check_image_volume = check
    cast("Any", whole_cloud).WholeCinder = lambda _: cloud


if __name__ == "__main__":
    put_in_place()
    sys.exit(main())
