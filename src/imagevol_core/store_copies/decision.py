"""How an image is copied to another store, and whether its data in a store may be deleted afterwards ([multi])."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagevol_core.facts import Image, VolumeType
from imagevol_core.locations import CinderLocation, read_location
from imagevol_core.store_copies.facts import (
    CloneLeft,
    CloneSource,
    KeptCopy,
    StoreCopyFacts,
    StoreCopyStep,
    StoreCopyWay,
    Verification,
    VerificationFacts,
    WayFacts,
)
from imagevol_core.store_copies.kept_rules import KEPT_RULES, VERIFICATION_RULES
from imagevol_core.store_copies.leaving_rules import DISCARD_RULES
from imagevol_core.store_copies.rules import (
    CLONE_SOURCE_RULES,
    IMPORT_RULES,
    STORE_COPY_RULES,
    STORE_COPY_WAY_RULES,
)
from imagevol_core.stores import StoreCatalogue
from imagevol_core.verdicts import Policy, Verdict, evaluate, failed, first_match

__all__ = [
    "StoreCopyPlan",
    "StoreRemoval",
    "decide_discard",
    "decide_store_removal",
    "decide_verification",
    "plan_store_copy",
    "stores_on_backend",
]

_STEP_OF = {StoreCopyWay.CLONE: StoreCopyStep.CLONE, StoreCopyWay.IMPORT: StoreCopyStep.IMPORT}
_CHECK_OF = {Verification.READ: StoreCopyStep.READ, Verification.WRITTEN: StoreCopyStep.COMPARE}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCopyPlan:
    """How an image is copied to a store, and its data in another one is deleted.

    Attributes:
        image: as it was looked at.
        to_store: the store that the image is in at the end.
        from_store: the store whose data is deleted at the end; None if none is.
        way: how the copy is made.
        source: the image volume that is cloned; None if none is.
        verification: how the copy is verified before data is deleted; None if none is deleted.
        verdicts: what each rule said: of the image, of each image volume, of the import, the way, the verification.
        reason: why this way, or what stands against it.
    """

    image: Image
    to_store: str
    from_store: str | None
    way: StoreCopyWay
    source: str | None
    verification: Verification | None
    verdicts: tuple[Verdict, ...]
    reason: str

    @property
    def possible(self) -> bool:
        """Whether all of it can be done."""
        return self.way is not StoreCopyWay.REFUSED and self.verification is not Verification.REFUSED

    @property
    def steps(self) -> tuple[StoreCopyStep, ...]:
        """What is done, in order; nothing if it is not possible."""
        if not self.possible:
            return ()
        check = _CHECK_OF.get(self.verification) if self.verification else None
        remove = StoreCopyStep.REMOVE if self.verification else None
        return tuple(step for step in (_STEP_OF.get(self.way), check, remove) if step is not None)

    @property
    def glance_bytes(self) -> int | None:
        """How many bytes Glance reads, stages and writes for it; None if the size is not known."""
        return self.image.size_bytes if self.way is StoreCopyWay.IMPORT else 0

    @property
    def host_bytes(self) -> int | None:
        """How many bytes this host reads for it; None if the size is not known."""
        return self.image.size_bytes if self.verification is Verification.READ else 0


def plan_store_copy(facts: StoreCopyFacts) -> StoreCopyPlan:
    """Say how an image is copied to a store ([multi]).

    A clone in the storage comes first, because no byte is copied.  If a copy is deleted afterwards and nothing could
    verify the clone, Glance's own copy comes first.

    Args:
        facts: the image, the stores, the volumes.

    >>> from imagevol_core import Digest, Store, StoreCatalogue
    >>> image = Image(id="i", status="active", disk_format="raw", container_format="bare", size_bytes=5,
    ...               digest=Digest("md5", "00"))
    >>> stores = StoreCatalogue(stores=(Store(name="slow", kind="file"), Store(name="fast", kind="cinder")))
    >>> facts = StoreCopyFacts(image=image, stores=("slow",), to_store="fast", catalogue=stores, move=True,
    ...                        locations_shown=True)
    >>> plan = plan_store_copy(facts)
    >>> plan.way.value, plan.verification.value, [step.value for step in plan.steps]
    ('import', 'written', ['import', 'compare', 'remove'])
    """
    subject = facts.image.id
    about = evaluate(STORE_COPY_RULES[Policy.STRICT], facts, subject=subject)
    faults = _told(failed(about))
    source, of_volumes = (None, ()) if faults else _clone_source(facts)
    of_import = () if faults else evaluate(IMPORT_RULES[Policy.STRICT], facts, subject=subject)
    unverified = None
    if source is not None and facts.removes:
        how, why = _verification(facts, StoreCopyWay.CLONE)
        unverified = why[-1].text if how is Verification.REFUSED else None
    way, chosen = first_match(
        STORE_COPY_WAY_RULES[Policy.STRICT],
        WayFacts(
            facts=facts,
            faults=faults,
            clone_faults=_told(failed(of_volumes)) or "Glance shows no location of the image in a volume",
            import_faults=_told(failed(of_import)),
            source=source,
            unverified=unverified,
        ),
        subject=subject,
    )
    verification: Verification | None = None
    checked: tuple[Verdict, ...] = ()
    if way is not StoreCopyWay.REFUSED and facts.removes:
        verification, checked = _verification(facts, way)
    return StoreCopyPlan(
        image=facts.image,
        to_store=facts.to_store,
        from_store=facts.leaves,
        way=way,
        source=source if way is StoreCopyWay.CLONE else None,
        verification=verification,
        verdicts=(*about, *of_volumes, *of_import, *chosen, *checked),
        reason=(checked if verification is Verification.REFUSED else chosen)[-1].text,
    )


def decide_verification(facts: VerificationFacts) -> tuple[Verification, tuple[Verdict, ...]]:
    """Say how a copy is verified before another one is deleted, and why.

    >>> from imagevol_core import Digest
    >>> facts = VerificationFacts(image=Image(id="i"), store=None, way=StoreCopyWay.IMPORT)
    >>> decide_verification(facts)[0].value
    'refused'
    """
    return first_match(VERIFICATION_RULES[Policy.STRICT], facts, subject=facts.image.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRemoval:
    """Whether Glance may be told to delete an image's data in one store.

    Attributes:
        allowed: whether it may.
        verdicts: what each rule said.
    """

    allowed: bool
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """What stands against it, as a sentence; empty if nothing does."""
        return _told(failed(self.verdicts))


def decide_store_removal(facts: KeptCopy) -> StoreRemoval:
    """Say whether the data of an image in a store may be deleted now; the last copy never is ([multi]).

    Glance deletes the volume behind a location that is removed, also if another location names the same volume.

    >>> image = Image(id="i", status="active")
    >>> facts = KeptCopy(image=image, stores=("slow",), kept="fast", removed="slow", verified=True)
    >>> decide_store_removal(facts).allowed
    False
    """
    verdicts = evaluate(KEPT_RULES[Policy.STRICT], facts, subject=facts.image.id)
    return StoreRemoval(allowed=not failed(verdicts), verdicts=verdicts)


def decide_discard(facts: CloneLeft) -> StoreRemoval:
    """Say whether a volume is a clone that a journal has made, and that never came to be an image's data.

    Only such a volume is deleted, or taken up and registered.

    >>> left = CloneLeft(image_id="i", volume_id="v", locations_shown=True, source="w", cloned=("w",), registered=True)
    >>> decide_discard(left).reason
    'volume v was a location of image i'
    """
    verdicts = evaluate(DISCARD_RULES[Policy.STRICT], facts, subject=facts.volume_id)
    return StoreRemoval(allowed=not failed(verdicts), verdicts=verdicts)


def stores_on_backend(
    backend_name: str | None, *, catalogue: StoreCatalogue, volume_types: Mapping[str, VolumeType]
) -> tuple[str, ...]:
    """Give the stores whose volumes Cinder creates on a backend, by the `volume_backend_name` of their types.

    Args:
        backend_name: what the backend reports as `volume_backend_name`.
        catalogue: the stores.
        volume_types: the types of their volumes, by name.

    >>> from imagevol_core import Store
    >>> stores = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),))
    >>> types = {"ssd": VolumeType(name="ssd", extra_specs={"volume_backend_name": "array"})}
    >>> stores_on_backend("array", catalogue=stores, volume_types=types)
    ('fast',)
    """
    found = []
    for store in catalogue.stores:
        volume_type = volume_types.get(store.volume_type or catalogue.default_volume_type or "")
        named = volume_type.extra_specs.get("volume_backend_name") if volume_type else None
        if store.is_cinder and named is not None and named == backend_name:
            found.append(store.name)
    return tuple(found)


def _verification(facts: StoreCopyFacts, way: StoreCopyWay) -> tuple[Verification, tuple[Verdict, ...]]:
    return decide_verification(
        VerificationFacts(
            image=facts.image,
            store=facts.catalogue.get(facts.to_store),
            way=facts.made or way if way is StoreCopyWay.NOTHING else way,
            wish=facts.wish,
            locations_shown=facts.locations_shown,
            known_good=facts.known_good and way is StoreCopyWay.NOTHING,
            there_before=way is StoreCopyWay.NOTHING,
        )
    )


def _clone_source(facts: StoreCopyFacts) -> tuple[str | None, tuple[Verdict, ...]]:
    """The first image volume that can be cloned, and what the rules say of each that was looked at."""
    named = (read_location(location.url) for location in facts.image.locations)
    volume_ids = dict.fromkeys(each.volume_id for each in named if isinstance(each, CinderLocation))
    verdicts: list[Verdict] = []
    for volume_id in volume_ids:
        source = CloneSource(facts=facts, volume_id=volume_id)
        about = evaluate(CLONE_SOURCE_RULES[Policy.STRICT], source, subject=volume_id)
        verdicts.extend(about)
        if not failed(about):
            return volume_id, tuple(verdicts)
    return None, tuple(verdicts)


def _told(verdicts: Iterable[Verdict]) -> str:
    return "; ".join(dict.fromkeys(verdict.text for verdict in verdicts))
