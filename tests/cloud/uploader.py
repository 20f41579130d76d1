"""A process that uploads a volume and is killed on the way: `python -m tests.cloud.uploader CLOUD VOLUME IMAGE STEP`.

CLOUD is the directory of a running one.  STEP is the number of the call to a port before which it is killed, or
`asked`: when Glance has been asked to take the location, and before it is asked whether it has, or `copying`: when
nothing is to be registered, and Glance has begun to take the data.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.transfers import register_clone
from imagevol_core import Image, UploadSettings
from tests.cloud.ports import ports
from tests.cloud.record import Cloud


def die() -> NoReturn:
    """End as no process can see it coming."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it lives")


class DiesWhenAsked(GlanceImages):
    """Glance, of which the answer about a location is never heard."""

    asked = False

    def add_location(self, *arguments: Any, **wishes: Any) -> Image:
        self.asked = True
        return super().add_location(*arguments, **wishes)

    def get(self, image_id: str) -> Image:
        if self.asked:
            die()
        return super().get(image_id)


class DiesWhileCopying(GlanceImages):
    """Glance, which gets some of the data and no more."""

    def upload(self, image_id: str, data: Iterable[bytes], **wishes: Any) -> Image:
        return super().upload(image_id, begun(data), **wishes)


def begun(data: Iterable[bytes]) -> Iterator[bytes]:
    """Some of the data."""
    for number, part in enumerate(data):
        yield part
        if number == 20:
            die()


def main(directory: str, volume_id: str, image_id: str, step: str) -> None:
    """Upload."""
    real = ports(Cloud.load(Path(directory)))
    steps = Steps(fail_at=int(step) if step.isdigit() else None, fault=die)
    images = real.images
    if dies := {"asked": DiesWhenAsked, "copying": DiesWhileCopying}.get(step):
        images = dies(session=images.session, region_name=images.region_name)
    register_clone(
        volume_id,
        image_id=image_id,
        images=steps.images(images),
        volumes=steps.volumes(real.volumes),
        attacher=steps.attacher(real.attacher),
        settings=UploadSettings(use_cinder_backend=step != "copying"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
