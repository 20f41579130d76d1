"""What stands against storing an image file as it is asked for, before a byte is written ([store], [multi])."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from imagevol_core.sentences import listed, quoted, said
from imagevol_core.stores.facts import Store
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate

__all__ = ["PUT_RULES", "PutWishes", "check_put"]

_PROJECT_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PutWishes:
    """What `imagevol put --register` was asked for, and what the services say of it.

    Args:
        store: the store that the location shall name; None if none is asked for.
        store_names: of Glance; none of a Glance with one store; None if Glance does not say.
        stores: in detail; None if Glance does not tell these credentials.
        volume_type: the name of the volume's type: what is asked for, or Cinder's default; None if it is not known.
        owner: the id of the project that shall own the image; None if none is asked for.
        project_id: the project of the credentials.
        owner_exists: whether Keystone has that project; None if it does not tell these credentials.
    """

    store: str | None = None
    store_names: tuple[str, ...] | None = None
    stores: tuple[Store, ...] | None = None
    volume_type: str | None = None
    owner: str | None = None
    project_id: str | None = None
    owner_exists: bool | None = None

    @property
    def detail(self) -> Store | None:
        """The store that is asked for, if Glance tells of it."""
        return next((store for store in self.stores or () if store.name == self.store), None)


def check_put(wishes: PutWishes) -> tuple[Verdict, ...]:
    """Check the wishes of `imagevol put --register`, and give what each rule says.

    >>> wishes = PutWishes(store="fsat", store_names=("fast", "slow"))
    >>> [verdict.text for verdict in check_put(wishes) if verdict.faults]
    ["Glance has no store 'fsat': give one of 'fast', 'slow'"]
    """
    return evaluate(PUT_RULES[Policy.STRICT], wishes)


def _store_known(wishes: PutWishes) -> tuple[bool, str]:
    name, names = wishes.store, wishes.store_names
    if name is None or names is None:
        return True, "no store is asked for" if name is None else "Glance does not say which stores it has"
    if not names:
        return False, f"Glance has one store without a name: leave out the store {quoted(name)}"
    if name not in names:
        return False, f"Glance has no store {quoted(name)}: give one of {listed(names)}"
    return True, f"Glance has store {quoted(name)}"


def _store_of_volumes(wishes: PutWishes) -> tuple[bool, str]:
    store = wishes.detail
    if store is None:
        return True, "no details of the store are known"
    if not store.is_cinder:
        return False, f"store {quoted(store.name)} is of kind {said(store.kind)} and keeps no images in volumes"
    return True, f"store {quoted(store.name)} keeps images in volumes"


def _store_of_put_type(wishes: PutWishes) -> tuple[bool, str]:
    store, volume_type = wishes.detail, wishes.volume_type
    if store is None or not store.is_cinder or store.volume_type is None or volume_type is None:
        return True, "the type of the store's volumes, or of this one, is not known"
    if store.volume_type != volume_type:
        return False, (
            f"the volumes of store {quoted(store.name)} have type {quoted(store.volume_type)}, and this one would have "
            f"type {quoted(volume_type)}: give the volume type {quoted(store.volume_type)}, or another store"
        )
    return True, f"the volumes of store {quoted(store.name)} have type {quoted(volume_type)}"


def _owner_known(wishes: PutWishes) -> tuple[bool, str]:
    owner = wishes.owner
    if owner is None or owner == wishes.project_id:
        return True, "the owner is the project of the credentials"
    if wishes.owner_exists is None:
        looks = _PROJECT_ID.fullmatch(owner) is not None
        about = f"Keystone does not tell these credentials whether there is a project {quoted(owner)}"
        return looks, about if looks else f"{about}, which does not look like an id: give the id of a project"
    if not wishes.owner_exists:
        return False, f"Keystone has no project with the id {quoted(owner)}: see `openstack project list`"
    return True, f"Keystone has project {quoted(owner)}"


PUT_RULES: Mapping[Policy, tuple[Requirement[PutWishes], ...]] = {
    Policy.STRICT: (
        Requirement(id="put-store-exists", text="Glance has the store", source="[multi]", holds=_store_known),
        Requirement(
            id="store-of-volumes",
            text="the store keeps images in volumes",
            source="[store]",
            holds=_store_of_volumes,
        ),
        Requirement(
            id="store-of-put-type",
            text="the volume has the type of the store's volumes",
            source="[multi]",
            holds=_store_of_put_type,
        ),
        Requirement(id="owner-exists", text="the owner is a project", source="[store]", holds=_owner_known),
    )
}
