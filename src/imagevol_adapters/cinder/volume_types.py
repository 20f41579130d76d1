"""Cinder's volume types, and what its scheduler says of its pools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagevol_adapters.cinder.client import said_as_ours
from imagevol_adapters.cinder.pools import Pool
from imagevol_core import PlacedType, ResourceNotFound, VolumeType

if TYPE_CHECKING:
    import cinderclient.v3.client

__all__ = ["default_type", "known_pools", "listed_types", "placed_types", "shown_type", "type_is_encrypted"]

_PAGE = 1000  # what Cinder gives at most, unless osapi_max_limit says otherwise


def listed_types(client: cinderclient.v3.client.Client) -> Iterator[Any]:
    """Give all volume types, each as cinderclient has it.

    Args:
        client: of Cinder.  An administrator also sees private types.
    """
    page: dict[str, object] = {"is_public": None, "limit": _PAGE}
    with said_as_ours("the volume types"):
        # Cinder does not say that there are more, and may have a lower limit than ours.
        while types := client.volume_types.list(search_opts=page):
            yield from types
            page["marker"] = types[-1].id


def placed_types(client: cinderclient.v3.client.Client) -> tuple[PlacedType, ...]:
    """Give all volume types with what they say of where their volumes are, to an administrator.

    Args:
        client: of an administrator.

    Raises:
        AccessDenied: Cinder does not tell these credentials.
    """
    found = []
    for each in listed_types(client):
        with said_as_ours(f"the encryption of volume type {each.name}", ("volume type", each.name)):
            encrypted = bool(client.volume_encryption_types.get(each.id).to_dict().get("encryption_id"))
        backend_name = each.to_dict().get("extra_specs", {}).get("volume_backend_name")
        found.append(PlacedType(name=each.name, backend_name=backend_name, encrypted=encrypted))
    return tuple(found)


def shown_type(client: cinderclient.v3.client.Client, name: str) -> VolumeType | None:
    """Give a volume type; None if these credentials may not see all of its extra specs.

    Args:
        client: of Cinder.
        name: of the type.

    Raises:
        ResourceNotFound: there is no such type.
    """
    shown = _found(client, name).to_dict()
    # Nothing tells that extra specs are left out, but QoS specs are for the same eyes, and are left out by name.
    return VolumeType(name=name, extra_specs=shown["extra_specs"]) if "qos_specs_id" in shown else None


def default_type(client: cinderclient.v3.client.Client) -> str | None:
    """Give the name of the type of volumes that name none; None if Cinder has no such type.

    Args:
        client: of Cinder.  The type may differ between projects.
    """
    try:
        with said_as_ours("the default volume type", ("volume type", "default")):
            return client.volume_types.default().name
    except ResourceNotFound:
        return None


def type_is_encrypted(client: cinderclient.v3.client.Client, name: str) -> bool:
    """Tell whether the volumes of a type are encrypted.

    Args:
        client: of an administrator.
        name: of the type.

    Raises:
        ResourceNotFound: there is no such type.
        AccessDenied: Cinder does not tell these credentials.
    """
    found = _found(client, name)
    with said_as_ours(f"the encryption of volume type {name}", ("volume type", name)):
        return bool(client.volume_encryption_types.get(found.id).to_dict().get("encryption_id"))


def known_pools(client: cinderclient.v3.client.Client) -> tuple[Pool, ...]:
    """Give the pools that Cinder's scheduler knows.

    Not those of one type: Cinder 29 answers 400 to its own filter `volume_type`, if a pool's capacity is known.

    Args:
        client: of an administrator.

    Raises:
        AccessDenied: Cinder does not tell these credentials.
    """
    with said_as_ours("the pools of its scheduler"):
        shown = [pool.to_dict() for pool in client.pools.list(detailed=True)]
    return tuple(
        Pool(
            name=pool["name"],
            backend_name=pool["capabilities"].get("volume_backend_name"),
            clone_across_pools=bool(pool["capabilities"].get("clone_across_pools")),
            protocols=_several(pool["capabilities"].get("storage_protocol")),
        )
        for pool in shown
    )


def _several(value: object) -> tuple[str, ...]:
    """One name, or a list of names for the same protocol."""
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),) if value else ()


def _found(client: cinderclient.v3.client.Client, name: str) -> Any:
    found = next((each for each in listed_types(client) if each.name == name), None)
    if found is None:
        raise ResourceNotFound("volume type", name)
    return found
