"""`imagevol put`, `get` and `rm`: an image file into a volume, out of it, and away."""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cliff.command import Command
from cliff.show import ShowOne

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.columns import COUNT, TEXT, TEXT_OR_NULL, Column, Shown
from imagevol_adapters.cli.counts import rate
from imagevol_adapters.cli.digests import expected_digest, given_digest
from imagevol_adapters.cli.files import STANDARD_STREAM, opened
from imagevol_adapters.cli.image_options import (
    add_image_options,
    given_image_option,
    image_attributes,
    short_text,
)
from imagevol_adapters.cli.metrics_option import add_metrics_option, check_metrics, transfer_samples, write_metrics
from imagevol_adapters.cli.output import Named
from imagevol_adapters.cli.putting import add_journal_options, put_in_steps, refuse_what_has_no_steps
from imagevol_core import (
    FreshThin,
    RequestRefused,
    UnsafeImage,
    Volume,
    VolumeOrigin,
    needs_conversion,
)

if TYPE_CHECKING:
    from imagevol_adapters.engine import Progress
    from imagevol_adapters.transfers import StoredImage

__all__ = ["Get", "Put", "Rm"]

_GPT_CHECKS = ("mbr", "gptmbr")
_FORMATS = ("raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso")


class Put(Named, Shown, ShowOne):
    """Store an image file in a new volume, and register it with Glance if asked.

    The standard error names the volume as soon as Cinder has created it. Without --register, Glance has no image with
    the image_id that is shown: put chose it, and wrote it into the metadata of the volume.
    """

    app: Imagevol
    columns: ClassVar[tuple[Column, ...]] = (
        Column("volume_id", TEXT, "The id of the volume that holds the image."),
        Column("image_id", TEXT, "The id of the image; without --register, Glance has no such image."),
        Column("size_bytes", COUNT, "How many bytes of the volume are the image."),
        Column("volume_type", TEXT_OR_NULL, "The volume type of the volume."),
        Column("digest", TEXT, "The digest of the image, as ALGORITHM:VALUE."),
        Column("blake3", TEXT_OR_NULL, "The BLAKE3 of the image, as blake3:VALUE; null if none was made."),
        Column("seconds", {"type": "number", "minimum": 0}, "How long the transfer took, in seconds."),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the file, and what the volume and the image shall be."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", type=Path, help="store this image file; - is the standard input, raw or iso")
        parser.add_argument(
            "--disk-format",
            choices=_FORMATS,
            default="raw",
            help="declare the format of the file (default: %(default)s). A file in raw or iso is stored as it is, and "
            "another is converted to raw. A file with other content, or one that was cut short, is refused",
        )
        expected = parser.add_mutually_exclusive_group()
        expected.add_argument(
            "--digest",
            type=given_digest,
            metavar="ALGORITHM:VALUE",
            help="refuse the file if it has another digest, such as sha256:1f2e…; of a file that is converted, the "
            "digest of the file as it is",
        )
        expected.add_argument(
            "--checksum-file",
            type=Path,
            metavar="LIST",
            help="refuse the file if it has another digest than LIST says, a file such as SHA256SUMS",
        )
        parser.add_argument(
            "--volume-type", metavar="TYPE", help="create the volume with this type (default: Cinder's)"
        )
        parser.add_argument(
            "--register",
            type=short_text,
            metavar="NAME",
            help="make it an image of this name in Glance, with the volume as location",
        )
        parser.add_argument(
            "--store", help="with --register: name this store in the location; its volume type must be --volume-type"
        )
        parser.add_argument(
            "--owner",
            metavar="PROJECT_ID",
            help="make this project the owner of the image (default: the project of your credentials)",
        )
        parser.add_argument(
            "--visibility",
            choices=("public", "private", "shared", "community"),
            help="with --register: give the image this visibility (default: Glance's)",
        )
        add_image_options(parser)
        parser.add_argument(
            "--thin",
            action="store_true",
            help="do not write zeros, because new volumes of this type read as zeros; if they do not, what was on the "
            "storage before shows in the image",
        )
        parser.add_argument(
            "--no-checksum", action="store_true", help="do without the legacy md5, which takes longer than all else"
        )
        parser.add_argument(
            "--digests",
            choices=("glance", "blake3"),
            default="glance",
            help="make these digests of the image and record them in the volume: glance, which is md5, sha512 and, if "
            "the package blake3 is installed, BLAKE3, or blake3 alone, which is several times faster, for a volume "
            "that Glance does not serve (default: %(default)s)",
        )
        parser.add_argument(
            "--gpt-safety-checks-nonfatal",
            type=_gpt_checks,
            default=(),
            metavar="CHECKS",
            help="accept a partition table that fails these checks, mbr or gptmbr or both with a comma between them, "
            "as Glance's option of this name does (default: none)",
        )
        add_journal_options(parser)
        _add_rate(parser)
        add_metrics_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Store the file."""
        from imagevol_adapters.cli.wishes import refuse_what_cannot_be
        from imagevol_adapters.transfers import unmark_finished

        streamed = not needs_conversion(parsed_args.disk_format)
        if parsed_args.file == STANDARD_STREAM and not streamed:
            raise RequestRefused("the standard input can be raw or iso; give a file of another format by its name")
        if parsed_args.register == "":
            raise RequestRefused("--register: the name of an image is not empty")
        if not parsed_args.register and (given := given_image_option(parsed_args)):
            raise RequestRefused(f"{given} needs an image in Glance: give --register NAME too")
        if parsed_args.register and parsed_args.digests == "blake3":
            raise RequestRefused("--digests blake3 makes no digest for Glance: leave it out, or leave out --register")
        refuse_what_has_no_steps(parsed_args)
        check_metrics(parsed_args.metrics)
        begun = time.monotonic()
        refuse_what_cannot_be(self.app, parsed_args)
        with (
            opened(parsed_args.file) as (_, size_bytes),
            self.app.progress("put", size_bytes if streamed else None) as progress,
        ):
            store = self._register if parsed_args.register else self._store
            if parsed_args.journal:
                store = partial(put_in_steps, self.app)
            try:
                image_id, stored = store(parsed_args, self._wishes(parsed_args, progress))
            except UnsafeImage as error:
                raise _refused(parsed_args.file, error) from error
            if parsed_args.register:
                unmark_finished(self.app.images)
        moved_bytes, seconds = stored.report.moved_bytes, time.monotonic() - begun
        write_metrics(parsed_args.metrics, transfer_samples("put", size_bytes=moved_bytes, seconds=seconds))
        return self.names(), (
            stored.volume.id,
            image_id,
            stored.report.size_bytes,
            stored.volume.volume_type,
            str(stored.record.digest or stored.record.blake3),
            str(stored.record.blake3) if stored.record.blake3 else None,
            round(stored.report.seconds, 3),
        )

    def _wishes(self, asked: argparse.Namespace, progress: Progress) -> dict[str, Any]:
        """What is the same of every way to store an image."""
        from imagevol_adapters.transfers import StoreSettings
        from imagevol_core import SafetySettings

        proof = _fresh_thin if asked.thin else None
        only_blake3 = asked.digests == "blake3"
        return {
            "volumes": self.app.volumes,
            "attacher": self.app.attacher,
            "volume_type": asked.volume_type,
            "settings": StoreSettings(
                hash_algorithm=None if only_blake3 else "sha512",
                checksum=not (asked.no_checksum or only_blake3),
                blake3=True if only_blake3 else None,
                zero_proof=proof,
                created=partial(self._tell_volume, registered=bool(asked.register)),
                safety=SafetySettings(nonfatal_checks=frozenset(asked.gpt_safety_checks_nonfatal)),
            ),
            "digest": expected_digest(asked),
            "limits": self.app.limits(asked.rate),
            "progress": progress,
        }

    def _tell_volume(self, volume: Volume, *, registered: bool) -> None:
        """Name the volume before it is filled, so that the log of a job that is killed names it."""
        origin = VolumeOrigin.from_volume(volume.metadata)
        image = f"image {origin.image_id}" if registered and origin else "the image"
        if not self.app.options.verbose_level:  # 0 with --quiet
            return
        with suppress(OSError, ValueError):  # a line that only informs ends no transfer
            tell(f"Storing {image} in volume {volume.id}.")

    def _store(self, asked: argparse.Namespace, wishes: dict[str, Any]) -> tuple[str, StoredImage]:
        from imagevol_adapters.engine import pieces
        from imagevol_adapters.transfers import store_image, store_image_file

        image_id = str(uuid.uuid4())
        wishes |= {"image_id": image_id, "image_owner": asked.owner or self.app.project_id}
        if asked.file == STANDARD_STREAM:
            data = pieces(sys.stdin.buffer)
            return image_id, store_image(data, size_bytes=None, declared_format=asked.disk_format, **wishes)
        converter = self.app.converter
        return image_id, store_image_file(asked.file, disk_format=asked.disk_format, converter=converter, **wishes)

    def _register(self, asked: argparse.Namespace, wishes: dict[str, Any]) -> tuple[str, StoredImage]:
        from imagevol_adapters.engine import pieces
        from imagevol_adapters.transfers import register_image, register_image_file

        wishes |= {"name": asked.register, "store": asked.store, "owner": asked.owner, "visibility": asked.visibility}
        wishes |= {"images": self.app.images, "attributes": image_attributes(asked)}
        if asked.file == STANDARD_STREAM:
            data = pieces(sys.stdin.buffer)
            image, stored = register_image(data, size_bytes=None, disk_format=asked.disk_format, **wishes)
        else:
            converter = self.app.converter
            image, stored = register_image_file(
                asked.file, disk_format=asked.disk_format, converter=converter, **wishes
            )
        return image.id, stored


class Get(Command):
    """Read an image out of its volume into a new file.

    A whole image is checked against the digest that Glance records. If Glance has none, or the id of a volume is given,
    it is checked against the digest that the volume records. If there is none, nothing can be checked: the standard
    error says so, and the exit status is 0. With --require-digest, such an image is refused.
    """

    app: Imagevol

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the volume, the file and the range."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "volume",
            metavar="IMAGE|VOLUME",
            help="read this image, given by its name or id, or this image volume, given by its id",
        )
        parser.add_argument(
            "file", type=Path, help="write to this new file, which must not exist; - is the standard output"
        )
        parser.add_argument(
            "--offset", type=int, default=0, metavar="BYTES", help="begin at this byte of the image (default: 0)"
        )
        parser.add_argument("--length", type=int, metavar="BYTES", help="read this many bytes (default: to the end)")
        parser.add_argument(
            "--through-glance",
            action="store_true",
            help="download the image from Glance, and do not attach its volume to this host",
        )
        parser.add_argument(
            "--prefer-store",
            metavar="STORE",
            help="with --through-glance: let Glance read the image from this store, if it is there; needs Glance 33",
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="keep what was read if the command is stopped, in FILE.imagevol-part, and continue with what an "
            "earlier command with --resume kept",
        )
        parser.add_argument(
            "--require-digest",
            action="store_true",
            help="refuse an image that has no digest, before it is read (default: read it, and say that it is not "
            "verified)",
        )
        parser.add_argument(
            "--record-blake3",
            action="store_true",
            help="if the volume records no BLAKE3, write one into its metadata after the whole image was verified: "
            "`audit --deep`, and `get` with the id of the volume, are faster then; if none is written, say why",
        )
        _add_rate(parser)
        add_metrics_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Read into a file beside the wanted one, which appears only when it is whole; or to the standard output."""
        from imagevol_adapters.cli.fetching import Fetching

        check_metrics(parsed_args.metrics)
        begun = time.monotonic()
        moved_bytes = Fetching(self.app, parsed_args, limits=self.app.limits(parsed_args.rate)).read()
        taken = transfer_samples("get", size_bytes=moved_bytes, seconds=time.monotonic() - begun)
        write_metrics(parsed_args.metrics, taken)


class Rm(Command):
    """Delete an image volume, or an unfinished one that a killed process left; refuse all others."""

    app: Imagevol

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the volume."""
        parser = super().get_parser(prog_name)
        parser.add_argument("volume", help="delete this volume, given by its id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Delete it, and wait until it is gone."""
        from imagevol_adapters.transfers import Reclaimed, delete_image_volume, reclaim

        def free(volume_id: str) -> Reclaimed:
            return reclaim(volume_id, volumes=self.app.volumes, attacher=self.app.attacher)

        delete_image_volume(parsed_args.volume, volumes=self.app.volumes, images=self.app.images, free=free)


def _refused(file: Path, error: UnsafeImage) -> RequestRefused:
    """Name what was typed: of a stream, the error names an image that there is not yet."""
    what = "the standard input" if file == STANDARD_STREAM else str(file)
    named, wanted = UnsafeImage(what, reasons=error.reasons), error.declare_as
    if wanted not in _FORMATS:
        return RequestRefused(str(named))
    if file == STANDARD_STREAM and needs_conversion(wanted):
        return RequestRefused(f"{named}: save it as a file, and give its name and --disk-format {wanted}")
    return RequestRefused(f"{named}: give --disk-format {wanted}")


def _gpt_checks(text: str) -> tuple[str, ...]:
    """The names of checks, such as `mbr,gptmbr`."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := set(names).difference(_GPT_CHECKS):
        raise argparse.ArgumentTypeError(f"{min(unknown)!r} is none of {', '.join(_GPT_CHECKS)}")
    return names


def _add_rate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=rate, metavar="MIB", help="move at most MIB mebibytes a second (default: no limit)"
    )


def _fresh_thin(path: str) -> FreshThin:
    return FreshThin(path=path)
