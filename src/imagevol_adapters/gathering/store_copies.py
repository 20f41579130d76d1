"""What is known of an image that is copied to another store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import attrs

from imagevol_adapters.gathering.named_volumes import NamedVolumes
from imagevol_adapters.store_ports import PlacedImage, StoreCopyService, StoreCopyVolumes
from imagevol_core import (
    AccessDenied,
    Image,
    ResourceNotFound,
    StoreCatalogue,
    StoreCopyFacts,
    VolumeType,
    named_volume_ids,
)
from imagevol_core.store_copies import (
    KeptCopy,
    StoreCopyWay,
    VerifyWish,
    volumes_in_store,
)

__all__ = ["StoreCopyGathering"]


@attrs.define(kw_only=True)
class StoreCopyGathering:
    """Collects the facts of copies between stores; what is the same for all images is asked for once.

    Args:
        images: Glance.
        volumes: Cinder, with the credentials of the stores.
        catalogue: the stores of Glance.
    """

    images: StoreCopyService
    volumes: StoreCopyVolumes
    catalogue: StoreCatalogue
    named: NamedVolumes = attrs.field(
        default=attrs.Factory(lambda self: NamedVolumes(self.images), takes_self=True), init=False
    )
    _methods: list[frozenset[str] | None] = attrs.field(factory=list, init=False)
    _types: dict[str, VolumeType | None] = attrs.field(factory=dict, init=False)
    _encrypted: dict[str, bool] = attrs.field(factory=dict, init=False)

    def facts(
        self,
        placed: PlacedImage,
        *,
        to_store: str,
        move: bool = False,
        from_store: str | None = None,
        wish: VerifyWish = VerifyWish.AUTO,
        made: StoreCopyWay | None = None,
        known_good: bool = False,
    ) -> StoreCopyFacts:
        """Collect what is known of an image, its volumes and their types.

        Args:
            placed: the image.
            to_store: the store that the copy is wanted in.
            move: whether another copy is deleted afterwards.
            from_store: the store whose copy that is; None for the only other one.
            wish: how the operator wants the copy verified.
            made: how the copy in `to_store` was made, if it was made for this.
            known_good: whether that copy needs no verification.
        """
        if not self._methods:
            self._methods.append(self.images.import_methods())
        store = self.catalogue.get(to_store)
        into_volumes = store is not None and store.is_cinder
        volumes = self.volumes.find(named_volume_ids(placed.image)) if into_volumes or move else ()
        names = {volume.volume_type for volume in volumes} if into_volumes else set[str | None]()
        if into_volumes and volumes and store is not None:
            names.add(store.volume_type or self.catalogue.default_volume_type)
        known = {name: self._type(name) for name in names if name is not None}
        facts = StoreCopyFacts(
            image=placed.image,
            stores=placed.stores,
            to_store=to_store,
            catalogue=self.catalogue,
            locations_shown=placed.locations_shown,
            import_methods=self._methods[0],
            volumes={volume.id: volume for volume in volumes},
            volume_types={name: found for name, found in known.items() if found is not None},
            encrypted_types=frozenset(name for name in known if self._is_encrypted(name)),
            project_id=self.volumes.project_id,
            move=move,
            from_store=from_store,
            wish=wish,
            made=made,
            known_good=known_good,
        )
        return replace(facts, named_by=self._named_by(facts.removed, placed))

    def removal(
        self,
        placed: PlacedImage,
        *,
        kept: str,
        removed: str,
        planned: Image,
        verified: bool,
        verified_place: str | None,
    ) -> KeptCopy:
        """Collect what is known of an image, right before its data in a store is deleted.

        Args:
            placed: the image, as it is now.
            kept: the store whose copy remains.
            removed: the store whose copy is deleted.
            planned: the image as it was planned.
            verified: whether the kept copy was verified.
            verified_place: where it was then.
        """
        return KeptCopy(
            image=placed.image,
            stores=placed.stores,
            kept=kept,
            removed=removed,
            planned=planned,
            verified=verified,
            verified_place=verified_place,
            locations_shown=placed.locations_shown,
            volumes={volume.id: volume for volume in self.volumes.find(named_volume_ids(placed.image))},
            named_by=self._named_by(removed, placed),
        )

    def _named_by(self, removed: str | None, placed: PlacedImage) -> Mapping[str, tuple[str, ...]]:
        volume_ids = volumes_in_store(removed, placed.image.locations)
        return {volume_id: self.named.by(volume_id) for volume_id in volume_ids}

    def _type(self, name: str) -> VolumeType | None:
        if name not in self._types:
            try:
                self._types[name] = self.volumes.volume_type(name)
            except ResourceNotFound:
                self._types[name] = None
        return self._types[name]

    def _is_encrypted(self, name: str) -> bool:
        """What Cinder does not tell these credentials counts as encrypted, so that nothing is cloned."""
        if name not in self._encrypted:
            try:
                self._encrypted[name] = self.volumes.is_encrypted(name)
            except (AccessDenied, ResourceNotFound):
                self._encrypted[name] = True
        return self._encrypted[name]
