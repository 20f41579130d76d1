"""The options of `imagevol put` for the image in Glance, as `openstack image create` has them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagevol_adapters.attributes import ImageAttributes

__all__ = ["add_image_options", "given_image_option", "image_attributes", "short_text"]

_LONGEST_TEXT = 255  # of a name, a tag, and the key of a property, in Glance
_OF_AN_IMAGE = (
    "store",
    "visibility",
    "container_format",
    "min_disk",
    "min_ram",
    "protected",
    "hidden",
    "property",
    "tag",
)
_CONTAINER_FORMATS = ("bare", "ami", "ari", "aki", "docker", "ova", "ovf")


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `openstack image create` has too."""
    image = parser.add_argument_group("attributes of the image, with --register; as in openstack image create")
    image.add_argument(
        "--container-format",
        choices=_CONTAINER_FORMATS,
        help=f"set the container format (default: {_CONTAINER_FORMATS[0]})",
    )
    image.add_argument("--min-disk", type=_count, metavar="GIB", help="require a disk of at least GIB gibibytes")
    image.add_argument("--min-ram", type=_count, metavar="MIB", help="require at least MIB mebibytes of memory")
    image.add_argument("--protected", action="store_true", default=None, help="prevent the image from being deleted")
    image.add_argument(
        "--hidden", action="store_true", default=None, help="hide the image from the default list of images"
    )
    image.add_argument(
        "--property",
        action="append",
        type=_property,
        metavar="KEY=VALUE",
        help="set a property (repeat the option for several)",
    )
    image.add_argument("--tag", action="append", type=short_text, help="set a tag (repeat the option for several)")


def given_image_option(asked: argparse.Namespace) -> str | None:
    """Give the first option that is about an image in Glance, as the user types it; None if there is none."""
    given = next((name for name in _OF_AN_IMAGE if getattr(asked, name) is not None), None)
    return given and f"--{given.replace('_', '-')}"


def image_attributes(asked: argparse.Namespace) -> ImageAttributes:
    """Give the attributes of the image that the options name."""
    from imagevol_adapters.attributes import ImageAttributes

    return ImageAttributes(
        container_format=asked.container_format or _CONTAINER_FORMATS[0],
        min_disk_gib=asked.min_disk or 0,
        min_ram_mib=asked.min_ram or 0,
        protected=bool(asked.protected),
        hidden=bool(asked.hidden),
        tags=tuple(dict.fromkeys(asked.tag or ())),
        properties=dict(asked.property or ()),
    )


def _property(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return short_text(key), value


def short_text(text: str) -> str:
    """Read a name, a tag or the key of a property, for argparse."""
    if len(text) > _LONGEST_TEXT:
        raise argparse.ArgumentTypeError(f"{len(text)} characters are too many: give at most {_LONGEST_TEXT}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)
