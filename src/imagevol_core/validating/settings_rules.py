"""Which settings a backend allows, by what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from imagevol_core.checks import Check
from imagevol_core.validating.facts import ValidationFacts
from imagevol_core.verdicts import Policy

__all__ = ["VALIDATION_SETTING_RULES"]

_STORED = (
    *("device-size", "read-back", "rewritten", "ranges", "neighbors", "device-end", "flushed", "reattached"),
    *("deleted", "read-only", "attached-kept", "attached-apart"),
)
_GROWN = ("extend-size", "extend-kept")
_CLONED = ("clone-same", "clone-independent")
_LOOK = "Look at what was not tried, and leave the setting as it is."
_OURS = "imagevol"


def _safe(needs: tuple[str, ...], facts: ValidationFacts) -> tuple[bool, str]:
    against = facts.refutes(*needs)
    if against:
        return False, f"these do not hold: {', '.join(against)}"
    open_ = [rule for rule in needs if not facts.proves(rule)]
    return True, f"these were not tried: {', '.join(open_)}" if open_ else f"these hold: {', '.join(needs)}"


def _is_known(needs: tuple[str, ...], facts: ValidationFacts) -> bool:
    return facts.proves(*needs)


VALIDATION_SETTING_RULES: Mapping[Policy, tuple[Check[ValidationFacts], ...]] = {
    Policy.STRICT: (
        Check(
            id="setting-store",
            text="images can be kept in volumes of this backend",
            source="glance_store._drivers.cinder",
            holds=partial(_safe, _STORED),
            looked=partial(_is_known, _STORED),
            warning=True,
            then="A store of Glance can use this volume type: `cinder_volume_type`.",
            next="Let no store of Glance use this volume type.",
            look=_LOOK,
        ),
        Check(
            id="setting-thin",
            text="zeros need not be written to new volumes",
            source="cinder.volume.driver.BaseVD.capabilities",
            holds=partial(_safe, ("fresh-zeros",)),
            looked=partial(_is_known, ("fresh-zeros",)),
            warning=True,
            then="Use `imagevol put --thin`. The driver can report `sparse_copy_volume = True`.",
            next="Do not use `imagevol put --thin`. The driver must report `sparse_copy_volume = False`.",
            look=_LOOK,
        ),
        Check(
            id="setting-thin-stream",
            text="zeros need not be written to volumes that grow with their image",
            source=_OURS,
            holds=partial(_safe, ("fresh-zeros", *_GROWN, "extend-zeros")),
            looked=partial(_is_known, ("fresh-zeros", *_GROWN, "extend-zeros")),
            warning=True,
            then="Use `imagevol put --thin` also for the standard input.",
            next="Give `imagevol put --thin` a file, and not the standard input.",
            look=_LOOK,
        ),
        Check(
            id="setting-unknown-size",
            text="images of unknown size can be uploaded",
            source="glance_store._drivers.cinder",
            holds=partial(_safe, (*_STORED, *_GROWN)),
            looked=partial(_is_known, (*_STORED, *_GROWN)),
            warning=True,
            then="Clients can upload without a size: the volume grows with the image.",
            next="Let clients send the size of each image.",
            look=_LOOK,
        ),
        Check(
            id="setting-clone",
            text="volumes can be cloned from image volumes",
            source="[clone]",
            holds=partial(_safe, (*_CLONED, *_GROWN)),
            looked=partial(_is_known, (*_CLONED, *_GROWN)),
            warning=True,
            then="Set `image_clone_direct_url_schemes = cinder`.",
            next="Leave `cinder` out of `image_clone_direct_url_schemes` and `allowed_direct_url_schemes`.",
            look=_LOOK,
        ),
        Check(
            id="setting-templates",
            text="templates and Cinder's image cache can be used",
            source="[template]",
            holds=partial(_safe, (*_CLONED, *_GROWN, "clone-count", "clone-outlives")),
            looked=partial(_is_known, (*_CLONED, *_GROWN, "clone-count", "clone-outlives")),
            warning=True,
            then="Set `image_template_enabled = true`, or `image_volume_cache_enabled = true`.",
            next="Leave `image_template_enabled` and `image_volume_cache_enabled` at false.",
            look=_LOOK,
        ),
        Check(
            id="setting-upload",
            text="volumes can be uploaded as clones",
            source="cinder.volume.manager.VolumeManager._clone_image_volume",
            holds=partial(_safe, _CLONED),
            looked=partial(_is_known, _CLONED),
            warning=True,
            then="Set `image_upload_use_cinder_backend = true`.",
            next="Leave `image_upload_use_cinder_backend` at false.",
            look=_LOOK,
        ),
        Check(
            id="setting-upload-attached",
            text="attached volumes can be uploaded as clones",
            source="cinder.volume.manager.VolumeManager._clone_image_volume",
            holds=partial(_safe, (*_CLONED, "clone-attached")),
            looked=partial(_is_known, (*_CLONED, "clone-attached")),
            warning=True,
            then="`openstack image create --volume VOLUME --force` gets a copy that is as after a power cut.",
            next="Detach a volume before it is uploaded.",
            look=_LOOK,
        ),
        Check(
            id="setting-multiattach",
            text="several hosts can read an image at the same time",
            source=_OURS,
            holds=partial(_safe, (*_STORED, "attached-together")),
            looked=partial(_is_known, (*_STORED, "attached-together")),
            warning=True,
            then="Keep the volume type as the one of the store.",
            next="Use a volume type without multiattach for the store.",
            look=_LOOK,
        ),
    )
}
