"""What an upload comes to, as far as is known of the stores of Glance ([clone], [base])."""

from __future__ import annotations

from dataclasses import dataclass

from imagevol_core.facts import Volume
from imagevol_core.sentences import said
from imagevol_core.stores import StoreCatalogue, StoreSelection, is_associated
from imagevol_core.uploading.facts import UploadAction, UploadPlan
from imagevol_core.verdicts import Result, Verdict

__all__ = ["UploadLanding", "check_location"]


def check_location(volume: Volume, *, catalogue: StoreCatalogue) -> Verdict:
    """Decide whether Glance takes a location of this volume, and in which store the image then is ([multi]).

    Glance 33.0.0 finds the store of a new `cinder://` location by the type of the volume, whatever the location says.
    It answers 202 first, and drops a location of no store in the background (`_UpdateLocationTask`).

    Args:
        volume: the clone, or the volume that will be cloned.
        catalogue: the stores of Glance, and Cinder's default type.

    Returns:
        A verdict of the rule `store-of-type`, whose subject is the store; None if Glance has but one, or none takes
        it.

    >>> from imagevol_core import Store
    >>> catalogue = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),))
    >>> check_location(Volume(id="v", size_gib=1, volume_type="ssd"), catalogue=catalogue).subject
    'fast'
    >>> check_location(Volume(id="v", size_gib=1, volume_type="disk"), catalogue=catalogue).ok
    False
    """
    if not catalogue.multi:
        return Verdict("store-of-type", Result.HOLDS, None, "Glance has one store, whose volumes may be of any type")
    named = said(volume.volume_type)
    for store in catalogue.stores:
        if is_associated(store, volume_type=volume.volume_type, default_volume_type=catalogue.default_volume_type):
            return Verdict("store-of-type", Result.HOLDS, store.name, f"store {store.name} has volumes of type {named}")
    return Verdict(
        "store-of-type", Result.FAILS, None, f"no store has volumes of type {named}, and Glance drops the location"
    )


@dataclass(frozen=True, slots=True)
class UploadLanding:
    """What an upload comes to, as far as is known of Glance's stores ([clone], [base]).

    Args:
        plan: what `plan_upload` says.
        location: what `check_location` says of the volume; None if the stores are not known.
        selection: what `select_stores` says of a copy; None if the stores are not known.

    >>> from imagevol_core import Image, Requester, UploadSettings, plan_upload
    >>> plan = plan_upload(Volume(id="v", size_gib=1), image=Image(id="i"), volume_type=None,
    ...                    base_image_id=None, requester=Requester(), settings=UploadSettings())
    >>> sent = StoreSelection(primary="fast", copies=("slow",), verdicts=())
    >>> landing = UploadLanding(plan, location=None, selection=sent)
    >>> landing.outcome.value, landing.stores
    ('copy', ('fast', 'slow'))
    """

    plan: UploadPlan
    location: Verdict | None
    selection: StoreSelection | None

    @property
    def outcome(self) -> UploadAction:
        """That of the plan; where Glance drops the location, the data is copied."""
        dropped = self.location is not None and not self.location.ok
        return UploadAction.COPY if self.plan.outcome is UploadAction.REGISTER and dropped else self.plan.outcome

    @property
    def stores(self) -> tuple[str, ...] | None:
        """The stores that the image would be in; None if that is not known."""
        if self.outcome is UploadAction.COPY:
            return self.copied
        if self.outcome is UploadAction.FAIL:
            return ()
        if self.location is None:
            return None
        return (self.location.subject,) if self.location.subject else ()

    @property
    def copied(self) -> tuple[str, ...] | None:
        """The stores that a copy would be in; None if that is not known."""
        if self.selection is None:
            return None
        return tuple(store for store in (self.selection.primary, *self.selection.copies) if store)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every rule that was asked, of the upload and of the stores."""
        registered = (self.location,) if self.plan.registers and self.location else ()
        return (*self.plan.verdicts, *registered, *(self.selection.verdicts if self.selection else ()))
