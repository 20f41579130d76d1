"""What is known of an image that is copied to another store."""

from __future__ import annotations

import attrs

from imagevol_adapters.store_ports import PlacedImage, StoreCopyService, StoreCopyVolumes
from imagevol_core import (
    AccessDenied,
    ResourceNotFound,
    StoreCatalogue,
    StoreCopyFacts,
    VolumeType,
    named_volume_ids,
)
from imagevol_core.store_copies import (
    StoreCopyWay,
    VerifyWish,
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
        volumes = self.volumes.find(named_volume_ids(placed.image)) if into_volumes else ()
        names = {volume.volume_type for volume in volumes}
        if into_volumes and volumes and store is not None:
            names.add(store.volume_type or self.catalogue.default_volume_type)
        known = {name: self._type(name) for name in names if name is not None}
        return StoreCopyFacts(
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
