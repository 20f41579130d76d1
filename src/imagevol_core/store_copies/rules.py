"""The rules of a copy in another store: what the image must be, each way to it, and how it is verified ([multi])."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.facts import ImageLocation
from imagevol_core.marks import UnreadMetadata
from imagevol_core.migration import plan_added_location, unfinished_imports
from imagevol_core.sentences import amount, answered, listed, quoted, said
from imagevol_core.sizing import gib_for
from imagevol_core.store_copies.facts import (
    SHOW_LOCATIONS,
    CloneSource,
    KeptCopy,
    StoreCopyFacts,
    StoreCopyWay,
    WayFacts,
)
from imagevol_core.store_copies.leaving_rules import leaving_held, leaving_recorded, leaving_seen, leaving_shared
from imagevol_core.stores import RESERVED_STORES
from imagevol_core.verdicts import Choice, Policy, Requirement

__all__ = [
    "CLONE_SOURCE_RULES",
    "IMPORT_RULES",
    "STORE_COPY_RULES",
    "STORE_COPY_WAY_RULES",
    "image_active",
    "no_import",
]

_TASK = "os_glance_import_task"
_COPY_IMAGE = "copy-image"

# The image and the store, for either way.


def _store_exists(facts: StoreCopyFacts) -> tuple[bool, str]:
    if not facts.catalogue.multi:
        return False, "Glance has one store: set enabled_backends in glance-api.conf"
    names = listed(store.name for store in facts.catalogue.stores)
    if facts.to_store in RESERVED_STORES or facts.catalogue.get(facts.to_store) is None:
        return False, f"Glance has no store {quoted(facts.to_store)}: give one of {names}"
    return True, f"Glance has store {quoted(facts.to_store)}"


def _store_accepts(facts: StoreCopyFacts) -> tuple[bool, str]:
    name, takes = quoted(facts.to_store), facts.store.accepts and facts.store.kind != "http"
    return takes, f"store {name} takes images" if takes else f"store {name} is read-only: choose another store"


def image_active(facts: StoreCopyFacts | KeptCopy) -> tuple[bool, str]:
    """Glance copies and deletes the data of active images only."""
    status = facts.image.status
    return status == "active", f"the status of the image is {quoted(status)}, and Glance copies active images only"


def no_import(facts: StoreCopyFacts | KeptCopy) -> tuple[bool, str]:
    """Glance does one thing at a time with an image."""
    if stores := unfinished_imports(facts.image):
        return False, f"Glance is importing the image to {listed(stores)}: run the command again when it has ended"
    if _TASK in facts.image.properties:
        return False, "Glance is importing the image: run the command again when it has ended"
    return True, "Glance is not importing the image"


def _source_known(facts: StoreCopyFacts) -> tuple[bool, str]:
    unknown = [name for name in facts.stores if facts.catalogue.get(name) is None]
    if not facts.stores:
        return False, "Glance says of no store that the image is in it: run `imagevol locations plan`"
    if unknown:
        return False, f"Glance has no store {listed(unknown)}, where the image is: run `imagevol locations plan`"
    if facts.locations_shown and len(facts.stores) < len(facts.image.locations):
        return False, "a location of the image names no store: run `imagevol locations plan`"
    return True, f"the image is in {listed(facts.stores)}"


def _other_store(facts: StoreCopyFacts) -> tuple[bool, str]:
    if not facts.move:
        return True, "no copy is deleted"
    if facts.from_store == facts.to_store:
        return False, f"the image cannot be moved from store {quoted(facts.to_store)} to itself: give another store"
    if facts.leaves is None and facts.others:
        return False, f"the image is in {listed(facts.others)}: name the store that it leaves with --from-store"
    return True, f"the image leaves store {quoted(facts.leaves)}" if facts.leaves else "the image is in no other store"


# Glance's own copy.


def _import_offered(facts: StoreCopyFacts) -> tuple[bool, str]:
    if facts.import_methods is None:
        return True, "Glance does not say which import methods it offers"
    if _COPY_IMAGE in facts.import_methods:
        return True, f"Glance offers the import method {_COPY_IMAGE}"
    return False, f"Glance does not offer {_COPY_IMAGE}: add it to enabled_import_methods in glance-api.conf"


def _formats_set(facts: StoreCopyFacts) -> tuple[bool, str]:
    image = facts.image
    text = f"its disk_format is {quoted(image.disk_format)}, its container_format is {quoted(image.container_format)}"
    given = bool(image.disk_format and image.container_format)
    return given, text if given else f"{text}: Glance copies no image without both, so set them"


# A clone of an image volume.


def _into_volumes(source: CloneSource) -> tuple[bool, str]:
    store = source.facts.store
    kept = "keeps" if store.is_cinder else "does not keep"
    return store.is_cinder, f"store {quoted(store.name)} {kept} images in volumes"


def _locations_change(source: CloneSource) -> tuple[bool, str]:
    if source.facts.locations_shown:
        return True, "Glance shows locations and lets them be added"
    return False, f"Glance adds no location to an active image: {SHOW_LOCATIONS}"


def _source_found(source: CloneSource) -> tuple[bool, str]:
    return source.found is not None, (
        "Cinder shows the volume" if source.found else "Cinder shows these credentials no such volume"
    )


def _source_available(source: CloneSource) -> tuple[bool, str]:
    volume = source.volume
    quiet = volume.status == "available" or (volume.status == "in-use" and volume.readonly is True)
    return quiet, f"its status is {quoted(volume.status)}, {answered(volume.readonly, 'read-only', 'not read-only')}"


def _source_project(source: CloneSource) -> tuple[bool, str]:
    ours, theirs = source.facts.project_id, source.volume.project_id
    if ours is not None and ours == theirs:
        return True, f"it lives in project {said(theirs)}, as the clone would"
    return False, (
        f"it lives in project {said(theirs)}, and a clone would live in project {said(ours)}: use the credentials of "
        "the store"
    )


def _source_not_encrypted(source: CloneSource) -> tuple[bool, str]:
    if source.facts.store_type in source.facts.encrypted_types:
        return False, f"volumes of type {quoted(source.facts.store_type)} are encrypted"
    encrypted = source.volume.encrypted
    return encrypted is False, answered(encrypted, "it is encrypted", "it is not encrypted")


def _source_settled(source: CloneSource) -> tuple[bool, str]:
    status = source.volume.migration_status
    settled = status in (None, "none", "success")
    return settled, "it is not being migrated" if settled else f"its migration status is {quoted(status)}"


def _source_is_image(source: CloneSource) -> tuple[bool, str]:
    record, image, volume = source.record, source.facts.image, source.volume
    if isinstance(record, UnreadMetadata):
        return False, str(record)
    if record.image_id not in (None, image.id):
        return False, f"it holds image {said(record.image_id)}"
    if image.size_bytes is None or record.size_bytes not in (None, image.size_bytes):
        return False, f"it holds {amount(record.size_bytes, 'byte')}, and the image has {said(image.size_bytes)}"
    if gib_for(image.size_bytes) > volume.size_gib:
        return False, f"it has {volume.size_gib} GiB, and the image needs {gib_for(image.size_bytes)} GiB"
    return True, f"it holds the {amount(image.size_bytes, 'byte')} of the image"


def _same_backend(source: CloneSource) -> tuple[bool, str]:
    facts, ours = source.facts, source.volume.volume_type
    wanted = facts.store_type
    if ours is not None and ours == wanted:
        return True, f"it has the type of the volumes of the store, {quoted(wanted)}"
    names = [
        facts.volume_types[name].extra_specs.get("volume_backend_name") if name in facts.volume_types else None
        for name in (ours, wanted)
        if name is not None
    ]
    same = len(names) == 2 and None not in names and names[0] == names[1]
    about = f"types {quoted(ours)} and {quoted(wanted)}"
    if same:
        return True, f"volumes of {about} are on the backend {quoted(names[0])}"
    return False, f"volumes of {about} are not known to be on one backend, and Cinder clones on the same backend only"


def _glance_chooses(source: CloneSource) -> tuple[bool, str]:
    facts = source.facts
    sent = ImageLocation(f"cinder://{facts.to_store}/{source.volume_id}", {"store": facts.to_store})
    taken = plan_added_location(
        sent, catalogue=facts.catalogue, volume_type=facts.store_type, policy=Policy.UPSTREAM
    ).after.metadata.get("store")
    if taken == facts.to_store:
        return True, f"Glance takes a volume of type {quoted(facts.store_type)} into store {quoted(taken)}"
    return False, (
        f"Glance would take a volume of type {quoted(facts.store_type)} into store {quoted(taken)}: give each store "
        "a volume type of its own"
    )


# Which way.


def _refused(way: WayFacts) -> tuple[bool, str]:
    return bool(way.faults), way.faults or "nothing stands against a copy"


def _exists(way: WayFacts) -> tuple[bool, str]:
    there = way.facts.to_store in way.facts.stores
    return there, f"the image is {'' if there else 'not '}in store {quoted(way.facts.to_store)}"


def _clonable(way: WayFacts) -> tuple[bool, str]:
    if way.source is None:
        return False, f"no image volume can be cloned: {way.clone_faults}"
    if way.unverified is not None:
        return False, f"volume {way.source} could be cloned, and the clone could not be verified: {way.unverified}"
    return True, f"volume {way.source} can be cloned, and no data is copied"


def _importable(way: WayFacts) -> tuple[bool, str]:
    if way.import_faults:
        return False, way.import_faults
    return True, f"Glance copies {amount(way.facts.image.size_bytes, 'byte')}, through its staging area"


def _no_way(way: WayFacts) -> tuple[bool, str]:
    return True, f"{way.import_faults}; {way.unverified or way.clone_faults}"


_SPEC = "[multi]"
_IMPORT = "glance.api.v2.images.ImagesController.import_image"
_ADDED = "glance.location.StoreLocations.insert"
_CLONED = "cinder.volume.api.API.create"

STORE_COPY_RULES: Mapping[Policy, tuple[Requirement[StoreCopyFacts], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="copy-store-exists", text="Glance has the store", source=_IMPORT, holds=_store_exists, gate=True
        ),
        Requirement(id="copy-store-accepts", text="the store takes images", source=_SPEC, holds=_store_accepts),
        Requirement(id="copied-image-active", text="the image is active", source=_IMPORT, holds=image_active),
        Requirement(id="no-import-running", text="Glance is not importing the image", source=_IMPORT, holds=no_import),
        Requirement(
            id="copy-source-known",
            text="every location of the image is in a configured store",
            source=_IMPORT,
            holds=_source_known,
        ),
        Requirement(id="other-store", text="the image moves to another store", source=_SPEC, holds=_other_store),
        Requirement(
            id="leaving-seen", text="Glance shows which data is deleted", source=_SPEC, holds=leaving_seen, gate=True
        ),
        Requirement(
            id="leaving-is-image",
            text="the volume that is deleted says that it is this image",
            source=_SPEC,
            holds=leaving_recorded,
        ),
        Requirement(
            id="leaving-not-held", text="nothing holds the volume that is deleted", source=_SPEC, holds=leaving_held
        ),
        Requirement(
            id="leaving-not-shared",
            text="no other image names the volume that is deleted",
            source=_SPEC,
            holds=leaving_shared,
        ),
    ),
}
IMPORT_RULES: Mapping[Policy, tuple[Requirement[StoreCopyFacts], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="import-offered",
            text="Glance offers the import method copy-image",
            source=_IMPORT,
            holds=_import_offered,
        ),
        Requirement(id="formats-set", text="the image has both formats", source=_IMPORT, holds=_formats_set),
    ),
}
CLONE_SOURCE_RULES: Mapping[Policy, tuple[Requirement[CloneSource], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="into-volumes", text="the store keeps images in volumes", source=_SPEC, holds=_into_volumes, gate=True
        ),
        Requirement(
            id="locations-change", text="Glance lets locations be added", source=_ADDED, holds=_locations_change
        ),
        Requirement(
            id="source-found", text="Cinder shows the image volume", source="[clone]", holds=_source_found, gate=True
        ),
        Requirement(
            id="source-available", text="nothing writes to the volume", source=_CLONED, holds=_source_available
        ),
        Requirement(
            id="source-project",
            text="the volume lives in the project of the credentials",
            source="[store]",
            holds=_source_project,
        ),
        Requirement(
            id="source-not-encrypted", text="nothing is encrypted", source="[clone]", holds=_source_not_encrypted
        ),
        Requirement(
            id="source-settled", text="the volume is not being migrated", source="[clone]", holds=_source_settled
        ),
        Requirement(id="source-is-image", text="the volume holds the image", source="[clone]", holds=_source_is_image),
        Requirement(
            id="source-same-backend",
            text="volumes of the store are on the volume's backend",
            source=_CLONED,
            holds=_same_backend,
        ),
        Requirement(
            id="glance-chooses-store",
            text="Glance takes the clone into this store",
            source="glance.common.store_utils.get_updated_store_location",
            holds=_glance_chooses,
        ),
    ),
}
STORE_COPY_WAY_RULES: Mapping[Policy, tuple[Choice[WayFacts, StoreCopyWay], ...]] = {
    Policy.STRICT: (
        Choice(
            id="copy-refused",
            text="refused: a rule stands against any copy",
            source=_SPEC,
            applies=_refused,
            outcome=StoreCopyWay.REFUSED,
        ),
        Choice(
            id="copy-exists",
            text="nothing: the image is in the store",
            source=_IMPORT,
            applies=_exists,
            outcome=StoreCopyWay.NOTHING,
        ),
        Choice(
            id="clone-in-storage",
            text="clone the image volume and add the location",
            source="[clone]",
            applies=_clonable,
            outcome=StoreCopyWay.CLONE,
        ),
        Choice(
            id="import-by-glance",
            text="import by copy-image: Glance copies the data",
            source=_IMPORT,
            applies=_importable,
            outcome=StoreCopyWay.IMPORT,
        ),
        Choice(
            id="no-way-to-copy",
            text="refused: neither way is possible",
            source=_SPEC,
            applies=_no_way,
            outcome=StoreCopyWay.REFUSED,
        ),
    ),
}
