"""The attributes of a new image, besides its name, disk format, owner and visibility."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from imagevol_core import InvalidFact

__all__ = ["ATTRIBUTES", "ImageAttributes"]

# What Glance's schema names; everything else that Glance shows of an image is a property.
ATTRIBUTES = frozenset(
    (
        "checksum",
        "container_format",
        "created_at",
        "direct_url",
        "disk_format",
        "file",
        "id",
        "locations",
        "min_disk",
        "min_ram",
        "name",
        "os_hash_algo",
        "os_hash_value",
        "os_hidden",
        "owner",
        "protected",
        "schema",
        "self",
        "size",
        "status",
        "stores",
        "tags",
        "updated_at",
        "virtual_size",
        "visibility",
    )
)


@attrs.frozen(kw_only=True)
class ImageAttributes:
    """Attributes of a new image, with the meaning of the options of `openstack image create`.

    Args:
        container_format: such as `bare`, for no container.
        min_disk_gib: the smallest disk that can boot the image, in GiB.
        min_ram_mib: the least memory that can boot the image, in MiB.
        protected: whether Glance refuses to delete the image. It is set after the data is stored.
        hidden: whether Glance leaves the image out of lists by default.
        tags: in any order.
        properties: custom properties, such as `os_distro`.

    Raises:
        InvalidFact: a number is negative, or a property has the name of an attribute.

    >>> ImageAttributes(properties={"size": "1"})
    Traceback (most recent call last):
    imagevol_core.errors.InvalidFact: property size: Glance has an attribute of this name: use another name
    """

    container_format: str = "bare"
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    protected: bool = False
    hidden: bool = False
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Refuse what no image can have."""
        for name in ("min_disk_gib", "min_ram_mib"):
            value: int = getattr(self, name)
            if value < 0:
                raise InvalidFact(f"ImageAttributes.{name}", f"{value} is negative: give 0 or more")
        for name in self.properties:
            if not name:
                raise InvalidFact("property", "it has no name: give one, such as os_distro")
            if name in ATTRIBUTES:
                raise InvalidFact(f"property {name}", "Glance has an attribute of this name: use another name")
