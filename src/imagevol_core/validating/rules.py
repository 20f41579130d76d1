"""What a backend must do so that images can be kept in its volumes, each with a trial that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from imagevol_core.checks import Check
from imagevol_core.sentences import said
from imagevol_core.validating.facts import NotSeen, Seen, ValidationFacts
from imagevol_core.verdicts import Policy

__all__ = [
    "VALIDATION_ATTACHMENT_RULES",
    "VALIDATION_CLONE_RULES",
    "VALIDATION_RUN_RULES",
    "VALIDATION_VOLUME_RULES",
]

_OURS = "imagevol"
_REPORT = "Keep no image in this backend. Report the line to the maker of its driver, with the release of Cinder."
_NO_CLONES = "Let no volume be cloned from an image here, and report the line to the maker of the driver."
_LONGER = "Run the command again, with a larger --seconds."


def _shown(rule: str, good: str, facts: ValidationFacts) -> tuple[bool, str]:
    seen = facts.seen.get(rule)
    if seen is None:
        return True, "it was not tried"
    if isinstance(seen, NotSeen):
        return not seen.failed, said(seen.reason).removesuffix(".")
    if seen.wrong is not None:
        return False, said(seen.wrong).removesuffix(".")
    return True, good.format(count=seen.count, size=_size(seen.count or 0))


def _was_tried(rule: str, facts: ValidationFacts) -> bool:
    return isinstance(facts.seen.get(rule), Seen)


def _size(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB"


def _on_the_backend(facts: ValidationFacts) -> tuple[bool, str]:
    found = ", ".join(map(said, facts.pools))
    if not facts.pools:
        return True, "Cinder does not tell these credentials where volumes are"
    if facts.backend is None:
        return True, f"the volumes were in {found}"
    elsewhere = [pool for pool in facts.pools if pool.partition("#")[0].rpartition("@")[2] != facts.backend]
    if elsewhere:
        where = ", ".join(map(said, elsewhere))
        return False, f"volumes of type {said(facts.volume_type)} were in {where}, and not in {said(facts.backend)}"
    return True, f"the volumes were in {found}"


def _not_encrypted(facts: ValidationFacts) -> tuple[bool, str]:
    kind = f"volumes of type {said(facts.volume_type)}"
    if facts.encrypted:
        return False, f"{kind} are encrypted, and no image can be kept in one"
    return True, f"{kind} are not encrypted" if facts.encrypted is False else "no volume was created"


def _cleaned_up(facts: ValidationFacts) -> tuple[bool, str]:
    if facts.left:
        return False, f"left behind: {', '.join(map(said, facts.left))}"
    return True, "every volume that was created is deleted"


def _has_pools(facts: ValidationFacts) -> bool:
    return bool(facts.pools)


def _has_volume(facts: ValidationFacts) -> bool:
    return facts.encrypted is not None


VALIDATION_RUN_RULES: Mapping[Policy, tuple[Check[ValidationFacts], ...]] = {
    Policy.STRICT: (
        Check(
            id="on-the-backend",
            text="the volumes are on the backend that was asked for",
            source=_OURS,
            holds=_on_the_backend,
            looked=_has_pools,
            look="Use the credentials of an administrator.",
            next="Give the volume type of this backend with --volume-type.",
        ),
        Check(
            id="not-encrypted",
            text="the volumes are not encrypted",
            source=_OURS,
            holds=_not_encrypted,
            looked=_has_volume,
            next="Choose a volume type without encryption with --volume-type.",
        ),
        Check(
            id="cleaned-up",
            text="nothing that was created is left",
            source=_OURS,
            holds=_cleaned_up,
            next="Delete what is named: `imagevol rm VOLUME`, or `openstack volume attachment delete ATTACHMENT`.",
        ),
        Check(
            id="suite-volumes",
            text="Cinder does what the conformance suite of volumes asks",
            source=_OURS,
            holds=partial(_shown, "suite-volumes", "{count} tests hold"),
            looked=partial(_was_tried, "suite-volumes"),
            next="Look up each test in the reference of `imagevol_adapters.testing`.",
            look="Leave out `--no-suites`, install `imagevol[testing]`, and give the command more time.",
        ),
        Check(
            id="suite-attacher",
            text="this host connects volumes as the conformance suite asks",
            source=_OURS,
            holds=partial(_shown, "suite-attacher", "{count} tests hold"),
            looked=partial(_was_tried, "suite-attacher"),
            next="Look up each test in the reference of `imagevol_adapters.testing`.",
            look="Leave out `--no-suites`, install `imagevol[testing]`, and give the command more time.",
        ),
    )
}
"""About the run itself, and the conformance suites."""

VALIDATION_VOLUME_RULES: Mapping[Policy, tuple[Check[ValidationFacts], ...]] = {
    Policy.STRICT: (
        Check(
            id="device-size",
            text="the device is as large as its volume",
            source=_OURS,
            holds=partial(_shown, "device-size", "the device has {size}"),
            looked=partial(_was_tried, "device-size"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="read-back",
            text="what was written is read back",
            source=_OURS,
            holds=partial(_shown, "read-back", "{size} were written in several places and read back"),
            looked=partial(_was_tried, "read-back"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="rewritten",
            text="what was written last is read",
            source=_OURS,
            holds=partial(_shown, "rewritten", "{size} were written twice, and the second data was read"),
            looked=partial(_was_tried, "rewritten"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="ranges",
            text="a range that begins or ends anywhere is read as it is",
            source=_OURS,
            holds=partial(_shown, "ranges", "{count} ranges were read as they are"),
            looked=partial(_was_tried, "ranges"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="neighbors",
            text="a write changes its own range only",
            source=_OURS,
            holds=partial(_shown, "neighbors", "{size} beside a write stayed as they were"),
            looked=partial(_was_tried, "neighbors"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="device-end",
            text="the last byte can be written, and nothing after it",
            source=_OURS,
            holds=partial(_shown, "device-end", "the device ends where it must"),
            looked=partial(_was_tried, "device-end"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="cleared",
            text="a range that was cleared reads as zeros, and only this range",
            source=_OURS,
            holds=partial(_shown, "cleared", "{size} read as zeros after they were cleared"),
            looked=partial(_was_tried, "cleared"),
            next="Transfers read back what they clear, and write zeros instead. Expect them to be slower.",
            look="No step is needed: zeros are written instead.",
        ),
        Check(
            id="flushed",
            text="what was flushed is there after the volume was detached",
            source=_OURS,
            holds=partial(_shown, "flushed", "{size} were there after a detachment"),
            looked=partial(_was_tried, "flushed"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="reattached",
            text="each attachment sees what the one before it wrote",
            source=_OURS,
            holds=partial(_shown, "reattached", "{count} attachments saw the newest data"),
            looked=partial(_was_tried, "reattached"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="fresh-zeros",
            text="a new volume reads as zeros, also after another volume was deleted",
            source=_OURS,
            holds=partial(_shown, "fresh-zeros", "{size} of a new volume were read, and all are zeros"),
            looked=partial(_was_tried, "fresh-zeros"),
            next="Do not use `imagevol put --thin`, and have the driver report `sparse_copy_volume = False`.",
            look=_LONGER,
        ),
        Check(
            id="extend-size",
            text="an extended volume has a larger device",
            source=_OURS,
            holds=partial(_shown, "extend-size", "the device has {size} after the extension"),
            looked=partial(_was_tried, "extend-size"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="extend-kept",
            text="an extended volume keeps its data",
            source=_OURS,
            holds=partial(_shown, "extend-kept", "{size} were there after the extension"),
            looked=partial(_was_tried, "extend-kept"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="extend-zeros",
            text="what an extension adds reads as zeros",
            source=_OURS,
            holds=partial(_shown, "extend-zeros", "{size} that the extension added were read, and all are zeros"),
            looked=partial(_was_tried, "extend-zeros"),
            next="Do not use `imagevol put --thin` for the standard input.",
            look=_LONGER,
        ),
        Check(
            id="deleted",
            text="a deleted volume is gone",
            source=_OURS,
            holds=partial(_shown, "deleted", "Cinder shows the volume no more"),
            looked=partial(_was_tried, "deleted"),
            next=_REPORT,
            look=_LONGER,
        ),
    )
}
"""About one volume, its device, its data and its zeros."""

VALIDATION_CLONE_RULES: Mapping[Policy, tuple[Check[ValidationFacts], ...]] = {
    Policy.STRICT: (
        Check(
            id="clone-same",
            text="a clone has the data of its source",
            source=_OURS,
            holds=partial(_shown, "clone-same", "{size} of a clone are those of its source"),
            looked=partial(_was_tried, "clone-same"),
            next=_NO_CLONES,
            look=_LONGER,
        ),
        Check(
            id="clone-independent",
            text="a write to a clone does not change its source, nor a write to the source its clone",
            source=_OURS,
            holds=partial(
                _shown, "clone-independent", "{size} were written to a clone and to its source, and each kept its own"
            ),
            looked=partial(_was_tried, "clone-independent"),
            next=_NO_CLONES,
            look=_LONGER,
        ),
        Check(
            id="clone-attached",
            text="a clone of an attached volume has all that was flushed",
            source=_OURS,
            holds=partial(_shown, "clone-attached", "{size} that were flushed to an attached volume are in its clone"),
            looked=partial(_was_tried, "clone-attached"),
            next="Upload only volumes that are not attached: report the line to the maker of the driver.",
            look="Detach a volume before it is uploaded as an image.",
        ),
        Check(
            id="clone-count",
            text="a volume can have as many clones as were tried, each with its data",
            source=_OURS,
            holds=partial(_shown, "clone-count", "one volume had {count} clones at the same time"),
            looked=partial(_was_tried, "clone-count"),
            next="Give the image several copies, or limit the templates of this backend.",
            look=_LONGER,
        ),
        Check(
            id="clone-outlives",
            text="a clone keeps its data after its source was deleted",
            source=_OURS,
            holds=partial(_shown, "clone-outlives", "{size} of the clones were there after their source was deleted"),
            looked=partial(_was_tried, "clone-outlives"),
            next=_NO_CLONES,
            look="Delete the volumes that were cloned from an image before the image.",
        ),
    )
}
"""About clones."""

VALIDATION_ATTACHMENT_RULES: Mapping[Policy, tuple[Check[ValidationFacts], ...]] = {
    Policy.STRICT: (
        Check(
            id="read-only",
            text="an attachment for reading writes nothing",
            source=_OURS,
            holds=partial(_shown, "read-only", "a write was refused"),
            looked=partial(_was_tried, "read-only"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="attached-once",
            text="an attached volume is not attached again",
            source=_OURS,
            holds=partial(_shown, "attached-once", "a second attachment was refused"),
            looked=partial(_was_tried, "attached-once"),
            next=_REPORT,
            look="No step is needed: the volume type allows several attachments.",
        ),
        Check(
            id="attached-kept",
            text="an attached volume is not deleted",
            source=_OURS,
            holds=partial(_shown, "attached-kept", "its deletion was refused"),
            looked=partial(_was_tried, "attached-kept"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="attached-apart",
            text="two volumes that are attached at the same time keep their own data",
            source=_OURS,
            holds=partial(
                _shown, "attached-apart", "{size} were written to two volumes at the same time, and each kept its own"
            ),
            looked=partial(_was_tried, "attached-apart"),
            next=_REPORT,
            look=_LONGER,
        ),
        Check(
            id="attached-together",
            text="two attachments of one volume see the same data",
            source=_OURS,
            holds=partial(_shown, "attached-together", "{size} that one attachment wrote were read by the other"),
            looked=partial(_was_tried, "attached-together"),
            next=_REPORT,
            look="If several hosts must read an image at the same time, use a type with `multiattach = <is> True`.",
        ),
    )
}
"""About attachments."""
