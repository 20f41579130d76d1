"""What `imagevol get` does: an image out of its volume or through Glance, at once or in steps that are kept."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.files import STANDARD_STREAM, appearing
from imagevol_adapters.cli.output import check_output
from imagevol_adapters.closing import closing
from imagevol_adapters.file_deadline import in_time, opened_in_time
from imagevol_core import (
    DeviceFailed,
    Image,
    ImagevolError,
    InvalidLocation,
    RequestRefused,
    ResourceNotFound,
    ZeroHandling,
    parse_location,
)
from imagevol_core.resuming import ReadImage
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.cli.app import Imagevol
    from imagevol_adapters.engine import Limits
    from imagevol_adapters.glance.images import GlanceImages
    from imagevol_adapters.transfers import VolumeContent

__all__ = ["Fetching"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Origin = tuple[ReadImage, Callable[[int], AbstractContextManager[Iterable[bytes]]]]
"""What is read, and what opens its data from a byte on."""


class Fetching:
    """One run of `imagevol get`."""

    def __init__(self, app: Imagevol, asked: argparse.Namespace, *, limits: Limits) -> None:
        """Take the services, what was typed and how fast it may go."""
        self.app = app
        self._asked = asked
        self._limits = limits

    def read(self) -> int:
        """Read the image, and say how many bytes were moved."""
        asked = self._asked
        part = asked.offset or asked.length is not None
        if asked.record_blake3 and (asked.resume or asked.through_glance or part):
            raise RequestRefused(
                "--record-blake3 reads a whole image volume at once: leave out --resume, --through-glance, --offset "
                "and --length"
            )
        if asked.require_digest and part:
            raise RequestRefused(
                "--require-digest verifies a whole image, and no digest covers a part: leave out --offset and --length"
            )
        if asked.prefer_store is not None and not asked.through_glance:
            raise RequestRefused("--prefer-store is for --through-glance: a volume is in one store")
        if self._asked.resume and (moved_bytes := self._read_in_steps()) is not None:
            return moved_bytes
        content = self._read_at_once()
        self._tell_unverified(content)
        if content.unrecorded:
            self._tell(f"No BLAKE3 was recorded: volume {content.volume_id} {content.unrecorded}.")
        return content.size_bytes

    def _read_in_steps(self) -> int | None:
        """Go on from what an earlier command kept; None if the image has no digest, so that nothing can be kept."""
        from imagevol_adapters.transfers import fetch_image

        asked, target = self._asked, self._asked.file
        if target == STANDARD_STREAM:
            raise RequestRefused("--resume cannot continue a stream: give a file, and not the standard output")
        if asked.offset or asked.length is not None:
            raise RequestRefused("--resume reads a whole image: leave out --offset and --length")
        image, data = self._from_glance() if asked.through_glance else self._from_volume()
        if image.digest is None:
            self._refuse_undigested(f"{image.source} records no digest")
        moved_bytes = 0

        @contextmanager
        def counted(offset: int) -> Iterator[Iterable[bytes]]:
            nonlocal moved_bytes
            with data(offset) as parts:
                moved_bytes = image.size_bytes - offset
                yield parts

        try:
            with _room(target), self.app.progress("get", image.size_bytes) as progress:
                done = fetch_image(image, target, data=counted, tell=self._tell, progress=progress, limits=self._limits)
        except (ImagevolError, KeyboardInterrupt):
            with suppress(OSError, ValueError):
                if in_time(target.with_name(f"{target.name}.imagevol-part").exists, target):
                    self._tell(f"What was read is kept beside {said(target)}. To continue, run the same command again.")
            raise
        return moved_bytes if done else None

    def _tell(self, line: str) -> None:
        if self.app.options.verbose_level:
            tell(line)

    def _from_volume(self) -> Origin:
        """An image volume, which is attached to this host."""
        from imagevol_adapters.transfers import image_in_volume, open_image_volume

        app, (volume_id, image) = self.app, self._volume(self._asked.volume)

        @contextmanager
        def data(offset: int) -> Iterator[Iterable[bytes]]:
            with open_image_volume(
                volume_id,
                volumes=app.volumes,
                attacher=app.attacher,
                offset=offset,
                image=image,
                verify=False,
                limits=self._limits,
            ) as content:
                yield content.parts

        return image_in_volume(volume_id, volumes=app.volumes, image=image), data

    def _from_glance(self) -> Origin:
        """An image of Glance, which gives the data itself."""
        image = self._image_with_data()
        size_bytes, images = image.size_bytes or 0, self._preferring(image)

        @contextmanager
        def data(offset: int) -> Iterator[Iterable[bytes]]:
            parts = images.unverified(image, offset=offset, length=size_bytes - offset)
            with closing(parts):
                yield parts

        return ReadImage(source=f"image {image.id}", size_bytes=size_bytes, digest=image.digest), data

    def _read_at_once(self) -> VolumeContent:
        target = self._asked.file
        if target == STANDARD_STREAM:
            check_output(sys.stdout)
            if sys.stdout.isatty():
                raise RequestRefused("an image is not written to a terminal: name a file, or redirect the output")
            with self._content() as content:
                for part in content.parts:
                    sys.stdout.buffer.write(part)
            return content
        with appearing(target) as partial, self._content() as content:
            self._write(content, partial, target)
        return content

    @contextmanager
    def _content(self) -> Iterator[VolumeContent]:
        from imagevol_adapters.transfers import open_image_volume

        asked = self._asked
        if asked.through_glance:
            with self._glance_content() as content:
                yield content
            return
        volume_id, image = self._volume(asked.volume)
        with open_image_volume(
            volume_id,
            volumes=self.app.volumes,
            attacher=self.app.attacher,
            offset=asked.offset,
            length=asked.length,
            image=image,
            limits=self._limits,
            record=asked.record_blake3,
        ) as content:
            self._refuse_nothing(content, f"the image in volume {volume_id}")
            if content.digest is None:
                self._refuse_undigested(f"{self._named(content)} {content.unverified}")
            yield content

    @contextmanager
    def _glance_content(self) -> Iterator[VolumeContent]:
        """An image of Glance, or a part of it, as `open_image_volume` gives one of a volume."""
        from imagevol_adapters.transfers import VolumeContent

        image, offset, length = self._image_with_data(), self._asked.offset, self._asked.length
        if offset < 0 or (length is not None and length < 0):
            raise RequestRefused("--offset and --length are 0 or more")
        available = max(0, (image.size_bytes or 0) - offset)
        wanted = available if length is None else min(length, available)
        whole = wanted == image.size_bytes
        parts = self._preferring(image).read(image.id, offset=offset, length=length)
        content = VolumeContent(
            size_bytes=wanted,
            parts=parts,
            volume_id=image.id,
            whole=whole,
            digest=image.digest if whole else None,
            unverified="records no digest",
        )
        with closing(parts):
            self._refuse_nothing(content, f"image {image.id}")
            if content.digest is None:
                self._refuse_undigested(f"{self._named(content)} {content.unverified}")
            yield content

    def _preferring(self, image: Image) -> GlanceImages:
        """Glance, with the store that it should read the image from."""
        images, store = self.app.images, self._asked.prefer_store
        if store is None:
            return images
        if store not in (names := images.store_names()):
            known = f"its stores are {', '.join(names)}" if names else "it has one store"
            raise RequestRefused(f"--prefer-store: Glance has no store {said(store)}; {known}")
        if not images.takes_preference(image.id):
            self._tell("Glance is older than release 33 and chooses the store itself: --prefer-store has no effect.")
            return images
        return images.preferring(store)

    def _refuse_nothing(self, content: VolumeContent, what: str) -> None:
        """Refuse an offset at which there is nothing."""
        if self._asked.offset and self._asked.length != 0 and not content.size_bytes:
            raise RequestRefused(f"{what} ends before byte {self._asked.offset}: give a smaller --offset")

    def _refuse_undigested(self, why: str) -> None:
        """Refuse what cannot be verified, if that was asked for."""
        if self._asked.require_digest:
            raise RequestRefused(f"{why}, so it cannot be verified: leave out --require-digest to read it all the same")

    def _named(self, content: VolumeContent) -> str:
        return f"{'image' if self._asked.through_glance else 'volume'} {content.volume_id}"

    def _write(self, content: VolumeContent, partial: Path, wanted: Path) -> None:
        from imagevol_adapters.devices.device import PathDevice
        from imagevol_adapters.engine import write_stream

        def opened() -> PathDevice:
            os.truncate(partial, content.size_bytes)
            return PathDevice.open(partial, writable=True)

        with (
            _room(wanted),
            opened_in_time(opened, wanted) as device,
            self.app.progress("get", content.size_bytes) as progress,
        ):
            write_stream(
                content.parts,
                device,
                size_bytes=content.size_bytes,
                zeros=ZeroHandling.SKIP,  # a new file is all hole
                algorithms=(),
                progress=progress,
                # A volume is held to the rate as it is read.
                limits=self._limits if self._asked.through_glance else self.app.limits(),
            )

    def _tell_unverified(self, content: VolumeContent) -> None:
        """Say that a whole image was not checked: who reads a part asked for no check."""
        if content.whole and content.digest is None:
            self._tell(
                f"Not verified: {self._named(content)} {content.unverified}. Compare the file with a digest from "
                "another source."
            )

    def _image_with_data(self) -> Image:
        name_or_id = self._asked.volume
        try:
            image = self.app.images.find(name_or_id)
        except ResourceNotFound as error:
            raise RequestRefused(
                f"no image has the name or id {name_or_id!r}: check it with `openstack image list`"
            ) from error
        if image.size_bytes is None:
            raise RequestRefused(f"image {image.id} is '{image.status}' and has no data")
        return image

    def _volume(self, name_or_id: str) -> tuple[str, Image | None]:
        """Find the volume: by its own id, or by the name or id of the image whose data it holds, and give that too."""
        with suppress(ResourceNotFound):
            return self.app.volumes.get(name_or_id).id, None
        try:
            image = self.app.images.find(name_or_id)
        except ResourceNotFound as error:
            raise RequestRefused(
                f"no volume has the id {name_or_id!r}, and no image has that name or id: check it with "
                "`openstack volume list` and `openstack image list`"
            ) from error
        for location in image.locations:
            with suppress(InvalidLocation):
                return parse_location(location.url).volume_id, image
        raise RequestRefused(
            f"Glance shows no location of image {image.id} in a volume: give the id of the volume, use the credentials "
            "of an operator, or give --through-glance"
        )


@contextmanager
def _room(wanted: Path) -> Iterator[None]:
    """Name the file that there is no room for, which reading an image never says."""
    try:
        yield
    except DeviceFailed as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            raise RequestRefused(
                f"{wanted} cannot be written: {cause.strerror}; free space, or give another file"
            ) from error
        raise
