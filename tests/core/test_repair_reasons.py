"""What each rule about a repair says of what it has seen: an operator reads it, and does what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagevol_core import (
    HOLD,
    Finding,
    ImageLocation,
    RepairAction,
    RepairStepFacts,
    Result,
    Subject,
    decide_repair_step,
    plan_repairs,
)
from imagevol_core.auditing import RepairClone, decide_repair_clone
from imagevol_core.remains import CLONE_OF_KEY, JOURNAL_KEY
from tests.core.test_repairs import (
    ATTACHMENT,
    CLONE_ID,
    CLONED,
    DELETE,
    DETACH,
    DETACHING,
    DISCONNECT,
    FILE,
    HELD_THERE,
    IMAGE,
    IMAGE_THERE,
    LEFT,
    LIKELY,
    LONG_AGO,
    LOOK,
    OTHER,
    OTHER_THERE,
    RELEASE,
    REMOVE,
    SEPARATION,
    SETTINGS,
    SHARED,
    TWO_STORES,
    USERS_VOLUME,
    VOLUME,
    VOLUME_ID,
    VOLUME_THERE,
    facts,
    finding,
    step,
)

A = RepairAction
ABOUT = f"volume {VOLUME_ID}"
OWNED = replace(VOLUME_THERE, metadata={"image_id": IMAGE.id})
OWNER = step(A.SET_METADATA, image_owner="owner")
DELETE_IMAGE = step(A.DELETE_IMAGE, IMAGE)
TWICE = replace(IMAGE_THERE, locations=(*TWO_STORES, ImageLocation(f"cinder://{VOLUME_ID}")))
CLONING = facts(CLONED, about=SEPARATION, image=OTHER_THERE)
TO_THIEF = facts(CLONED, about=SEPARATION, planned=SHARED, found=SHARED, image=replace(OTHER_THERE, owner="thief"))
WRITES = facts(step(A.SET_WRITABLE), claimants=(IMAGE_THERE,), volume=OWNED)
PUTS_BACK = facts(
    step(A.SET_READ_ONLY), found=None, opened=True, volume=replace(OWNED, readonly=False), claimants=(IMAGE_THERE,)
)
LOSES = facts(DELETE_IMAGE, about=(IMAGE, VOLUME), existing=frozenset())
OF_FILE = step(A.DELETE_FILE, FILE.subject)
MARK = {JOURNAL_KEY: "j"}
IS_A_CLONE = (
    f"{ABOUT} is a clone of volume v, such as Cinder creates for its image cache, and may have the metadata of that "
    f"volume: if nothing needs it, run `openstack volume delete {VOLUME_ID}`"
)
SAYS_OF_WHICH = f"{ABOUT} says of which volume it is a clone, as no copy of other metadata does"
OF_INSTANCE = replace(ATTACHMENT, instance_id="nova-1")


@pytest.mark.parametrize(
    "rule, known, text",
    [
        ("already-as-left", facts(DELETE, volume=None, begun=True), f"{ABOUT} is as the step leaves it"),
        ("already-as-left", facts(DELETE), f"{ABOUT} is not as the step leaves it"),
        ("already-as-left", facts(step(A.LOOK_AGAIN)), f"{ABOUT} is not as the step leaves it"),
        (
            "already-as-left",
            facts(DELETE, volume=None),
            f"{ABOUT} is not shown, which is no sign that the step was taken",
        ),
        (
            "already-as-left",
            facts(step(A.SET_READ_ONLY), claimants=(IMAGE_THERE, OTHER_THERE), volume=OWNED),
            f"{ABOUT} is not the image's own, so that no later step is taken either",
        ),
        (
            "already-as-left",
            facts(step(A.SET_READ_ONLY), claimants=(IMAGE_THERE,), volume=replace(USERS_VOLUME, readonly=True)),
            f"{ABOUT} is as the step leaves it",
        ),
        (
            "not-shown",
            facts(DELETE, volume=None),
            (
                f"{ABOUT} is not shown: if it is gone, nothing is left to do; if not, see whether these credentials "
                "may see it, and go on by --resume-repair"
            ),
        ),
        ("not-shown", facts(DELETE), f"{ABOUT} is shown, or this repair took it away"),
        (
            "not-shown",
            facts(LOOK, planned=finding(LOOK, DELETE_IMAGE), found=None, volume=None),
            f"{ABOUT} is shown, or this repair took it away",
        ),
        ("puts-back", facts(DELETE), f"{ABOUT} was not made writable by this repair"),
        ("puts-back", facts(DELETE, opened=True), f"{ABOUT} was not made writable by this repair"),
        ("puts-back", PUTS_BACK, f"{ABOUT} was made writable by this repair"),
        (
            "puts-back",
            replace(PUTS_BACK, claimants=()),
            (
                f"{ABOUT} was made writable by this repair, and stays so: no image names it any more; if it holds an "
                "image, make it read-only"
            ),
        ),
        ("stays-writable", facts(DELETE), f"{ABOUT} was not made writable by this repair"),
        (
            "stays-writable",
            replace(PUTS_BACK, claimants=(IMAGE_THERE, OTHER_THERE)),
            (
                f"{ABOUT} was made writable by this repair, and stays so: images 'image-0', 'image-1' name the volume: "
                "give each its own first"
            ),
        ),
        (
            "stays-writable",
            replace(PUTS_BACK, volume=replace(USERS_VOLUME, project_id="users", readonly=False)),
            (
                f"{ABOUT} was made writable by this repair, and stays so: {ABOUT} lives in project users and names "
                "image 'image-0': look whether it is the image's own, or another's data"
            ),
        ),
        ("found-no-more", facts(DELETE, found=None), "the finding is not there any more"),
        ("found-no-more", facts(DELETE), "it is still there: it is so"),
        ("less-sure", facts(DELETE, found=LIKELY), "the finding was sure, and is likely"),
        ("less-sure", facts(DELETE, planned=LIKELY), "the finding was likely, and is sure"),
        ("other-repair", facts(DELETE), "the step is part of its repair"),
        ("other-repair", facts(DELETE, found=finding()), "its repair is another one now: none"),
        ("other-repair", facts(LOOK, DELETE, found=finding(DELETE)), "the step is part of its repair"),
        ("other-repair", facts(LOOK, DELETE, found=finding(REMOVE)), f"its repair is another one now: {REMOVE}"),
        ("other-repair", facts(LOOK, found=finding(DELETE)), f"its repair is another one now: {DELETE}"),
        (
            "other-repair",
            facts(DELETE, found=finding(REMOVE, DELETE_IMAGE)),
            f"its repair is another one now: {REMOVE}; {DELETE_IMAGE}",
        ),
        ("likely-still", facts(DELETE), "the finding is sure; what is only likely is not included"),
        (
            "likely-still",
            facts(DELETE, planned=LIKELY, found=LIKELY, include_likely=True),
            "the finding is likely; what is only likely is included",
        ),
        ("images-unseen", facts(DELETE), "every image is seen, or no volume is deleted"),
        (
            "images-unseen",
            facts(DELETE, settings=replace(SETTINGS, images_complete=False)),
            "only the images of this project are seen, and another one may name the volume: use an administrator's",
        ),
        ("named-by-an-image", WRITES, "it deletes nothing"),
        ("named-by-an-image", facts(DELETE), "no other image names the volume"),
        (
            "named-by-an-image",
            facts(DELETE, image=None, claimants=(IMAGE_THERE, OTHER_THERE)),
            "a location of image 'image-0', 'image-1' names the volume: look which image it belongs to",
        ),
        ("last-that-serves", facts(DELETE), "it removes no location"),
        ("last-that-serves", facts(REMOVE), "volume 8a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1 serves the image"),
        (
            "last-that-serves",
            facts(REMOVE, others=()),
            (
                "no other location of image image-0 is shown to serve: run `openstack image set --deactivate image-0`, "
                "and look which data is right"
            ),
        ),
        ("shared-volume", WRITES, "it changes no volume that several images name"),
        (
            "shared-volume",
            facts(step(A.SET_WRITABLE), claimants=(IMAGE_THERE, OTHER_THERE)),
            "images 'image-0', 'image-1' name the volume: give each its own first",
        ),
        ("volume-of-another", facts(DELETE), "it changes no volume"),
        ("volume-of-another", WRITES, f"{ABOUT} lives in project stores and names image 'image-0'"),
        (
            "volume-of-another",
            facts(
                step(A.ZERO_TAIL),
                claimants=(IMAGE_THERE,),
                volume=replace(VOLUME_THERE, project_id="users"),
            ),
            (
                f"{ABOUT} lives in project users and names image not known: look whether it is the image's own, or "
                "another's data"
            ),
        ),
        ("owner-not-recorded", facts(DELETE), "it sets no owner"),
        (
            "owner-not-recorded",
            facts(OWNER, claimants=(IMAGE_THERE,), volume=OWNED),
            f"{ABOUT} names image 'image-0', which names it",
        ),
        (
            "owner-not-recorded",
            facts(OWNER, claimants=(OTHER_THERE,), volume=OWNED),
            f"{ABOUT} names image 'image-0', and not the one whose owner it would get: look which image it belongs to",
        ),
        ("clone-for-another-owner", facts(DELETE), "no image gets a clone"),
        ("clone-for-another-owner", CLONING, "image image-1 may have the data"),
        (
            "clone-for-another-owner",
            TO_THIEF,
            (
                "image image-1 belongs to 'thief', and the data to another owner's image: look how the image came to "
                "name the volume"
            ),
        ),
        (
            "clone-for-another-owner",
            replace(TO_THIEF, claimants=(IMAGE_THERE, replace(OTHER_THERE, owner="thief"))),
            (
                "image image-1 belongs to 'thief', and the data to another owner's image: look how the image came to "
                "name the volume"
            ),
        ),
        ("of-a-user", facts(DELETE_IMAGE), "it deletes no volume"),
        ("of-a-user", facts(DELETE), f"{ABOUT} lives in project stores"),
        (
            "of-a-user",
            facts(DELETE, volume=replace(VOLUME_THERE, project_id="users")),
            f"{ABOUT} lives in project users, whose users can write its metadata: ask them",
        ),
        ("is-a-clone", facts(DELETE_IMAGE), "it deletes no volume"),
        ("is-a-clone", facts(DELETE), f"{ABOUT} is no clone, so that its metadata was written for it"),
        (
            "is-a-clone",
            facts(DELETE, volume=replace(VOLUME_THERE, source_volume_id="v")),
            IS_A_CLONE,
        ),
        *(
            (
                "is-a-clone",
                facts(
                    DELETE,
                    volume=replace(VOLUME_THERE, source_volume_id="v", metadata=marks),
                    source=None if source is None else replace(VOLUME_THERE, id="v", metadata=source),
                ),
                text,
            )
            for marks, source, text in (
                (MARK, {}, f"{ABOUT} is the clone of journal j, whose mark its source does not have"),
                (MARK, {JOURNAL_KEY: "k"}, f"{ABOUT} is the clone of journal j, whose mark its source does not have"),
                (MARK, MARK, IS_A_CLONE),  # Cinder has cloned it, metadata and all
                (MARK, None, IS_A_CLONE),
                ({}, {}, IS_A_CLONE),
                ({CLONE_OF_KEY: "v"}, {}, SAYS_OF_WHICH),
                ({CLONE_OF_KEY: "v"}, None, SAYS_OF_WHICH),
                ({CLONE_OF_KEY: "u"}, {CLONE_OF_KEY: "u"}, IS_A_CLONE),  # Cinder has cloned it, metadata and all
            )
        ),
        ("volume-held", facts(DELETE), "no other operation holds the volume"),
        ("volume-held", facts(DETACH, volume=None), "no other operation holds the volume"),
        ("volume-held", facts(RELEASE, volume=HELD_THERE), "the repair lets the volume go"),
        ("file-elsewhere", facts(DELETE), "it is about no file of another host"),
        ("file-elsewhere", facts(OF_FILE, file=FILE), "it is about no file of another host"),
        (
            "file-elsewhere",
            facts(OF_FILE, of_this_host=False),
            "file /tmp/x is a file of host here: repair it there",
        ),
        (
            "file-elsewhere",
            facts(step(A.DELETE_FILE, Subject("file", "there:/tmp/a:b")), of_this_host=False),
            "file /tmp/a:b is a file of host there: repair it there",
        ),
        (
            "volume-held",
            facts(DELETE, volume=replace(VOLUME_THERE, metadata={HOLD: ""})),
            "no other operation holds the volume",
        ),
        (
            "volume-held",
            facts(DELETE, volume=replace(VOLUME_THERE, metadata={HOLD: "another"})),
            f"{ABOUT} is held by journal another: resume or undo that one first",
        ),
        ("not-at-rest", facts(DELETE_IMAGE), "it deletes no volume"),
        (
            "not-at-rest",
            facts(DELETE),
            f"{ABOUT} is 'available', and a volume is deleted only while it is 'available' or 'error'",
        ),
        ("has-attachments", facts(DELETE_IMAGE), "it deletes no volume, and lets none go"),
        (
            "has-attachments",
            facts(DELETE, attachments=(ATTACHMENT, replace(ATTACHMENT, id="b"))),
            f"{ABOUT} has attachments 'attachment-0', 'b'",
        ),
        ("image-has-data", facts(DELETE), "it deletes no image"),
        ("image-has-data", LOSES, "image image-0 has no data"),
        (
            "image-has-data",
            facts(DELETE_IMAGE),
            "image image-0 has a location, and that its data is lost is another finding",
        ),
        (
            "image-has-data",
            replace(LOSES, existing=frozenset({VOLUME_ID})),
            f"image image-0 has data in {ABOUT}, which Glance deletes too",
        ),
        (
            "image-has-data",
            replace(LOSES, image=replace(IMAGE_THERE, locations=(ImageLocation("file:///x"),))),
            "image image-0 has data at file:///x, which Glance deletes with it",
        ),
        ("image-being-written", facts(DELETE), "it deletes no image"),
        ("image-being-written", LOSES, "no volume is being written for the image"),
        (
            "image-being-written",
            replace(LOSES, recording=(replace(VOLUME_THERE, created_at=LONG_AGO),)),
            "no volume is being written for the image",
        ),
        *(
            (
                "image-being-written",
                replace(LOSES, recording=(replace(VOLUME_THERE, **changes),)),
                (
                    f"{ABOUT}, which says that it holds image image-0, {how}: wait until its upload has ended, and run "
                    "`imagevol unfinished` on the host that made it"
                ),
            )
            for changes, how in (
                ({"status": "extending"}, "is 'extending'"),
                ({}, "was changed at a time that is not known"),
                ({"created_at": LONG_AGO, "updated_at": SETTINGS.now}, "was changed 0 seconds ago"),
                ({"created_at": SETTINGS.now - SETTINGS.stuck_after}, "was changed 1 day ago"),
            )
        ),
        ("volume-named-twice", facts(DELETE), "it removes no location"),
        ("volume-named-twice", facts(REMOVE), "with the location Glance deletes the volume"),
        (
            "volume-named-twice",
            facts(REMOVE, image=TWICE),
            (
                "with the location Glance deletes the volume, which another location of the image names too: look "
                "which one is right"
            ),
        ),
        ("attachment-of-an-instance", facts(DELETE), "it takes no attachment back"),
        ("attachment-of-an-instance", facts(DETACH), "attachment attachment-0 is of no instance"),
        (
            "attachment-of-an-instance",
            facts(DETACH, attachment=OF_INSTANCE),
            f"attachment attachment-0 is of instance nova-1: run `openstack server remove volume nova-1 {VOLUME_ID}`",
        ),
        ("attachment-elsewhere", facts(DELETE), "it disconnects nothing"),
        (
            "attachment-elsewhere",
            facts(DETACH, volume=None, attachment=replace(ATTACHMENT, host=None)),
            "the volume of attachment attachment-0 is gone",
        ),
        ("attachment-connected", facts(DISCONNECT), "it deletes no attachment"),
        ("attachment-connected", facts(DETACH, volume=None), f"Cinder has no {ABOUT}"),
        (
            "attachment-connected",
            facts(DETACH, planned=DETACHING, found=DETACHING),
            "the volume was disconnected before",
        ),
        (
            "attachment-connected",
            facts(DETACH),
            f"{ABOUT} is there, and would stay connected: run the audit again",
        ),
        (
            "attachment-elsewhere",
            facts(DETACH, attachment=replace(ATTACHMENT, status="reserved")),
            "attachment attachment-0 is of no host",
        ),
        (
            "attachment-elsewhere",
            facts(DISCONNECT),
            "attachment attachment-0 is of host here, and this is host here",
        ),
        (
            "attachment-elsewhere",
            facts(DISCONNECT, host="there"),
            (
                "attachment attachment-0 is of host here, and this is host there: repair it there, where the volume is "
                "disconnected too"
            ),
        ),
        (
            "attachment-elsewhere",
            facts(DISCONNECT, host=None, attachment=replace(ATTACHMENT, host=None)),
            (
                "attachment attachment-0 is of host not known, and this is host not known: repair it there, where the "
                "volume is disconnected too"
            ),
        ),
        ("clone-elsewhere", facts(DELETE), "it clones no volume"),
        ("clone-elsewhere", CLONING, f"{ABOUT} lives in project stores, these credentials in stores"),
        (
            "clone-elsewhere",
            replace(CLONING, project_id="demo"),
            (
                f"{ABOUT} lives in project stores, these credentials in demo, where its clone would live: use "
                "credentials of the volume's project"
            ),
        ),
        (
            "clone-elsewhere",
            replace(CLONING, volume=replace(VOLUME_THERE, project_id=None), project_id=None),
            (
                f"{ABOUT} lives in project not known, these credentials in not known, where its clone would live: use "
                "credentials of the volume's project"
            ),
        ),
        ("store-deletes", facts(DELETE), "no image's location is moved to a clone"),
        ("store-deletes", CLONING, "the driver of its store lets a held volume be"),
        (
            "store-deletes",
            replace(CLONING, settings=replace(SETTINGS, delayed_delete=True)),
            (
                "with the old location Glance would delete the volume later: set delayed_delete = false in "
                "glance-api.conf and restart Glance"
            ),
        ),
        (
            "store-deletes",
            replace(CLONING, catalogue=None),
            (
                "with the old location, the driver of its store deletes the volume, which another image needs: give "
                "the store the driver 'imagevol' in enabled_backends, or upload one of the images again"
            ),
        ),
        ("acts", facts(DELETE), f"delete-volume {VOLUME_ID}"),
        ("acts", CLONING, f"clone-volume {VOLUME_ID} image='{OTHER.id}'"),
    ],
)
def test_a_rule_about_a_step_says_what_it_has_seen(rule: str, known: RepairStepFacts, text: str) -> None:
    decision = decide_repair_step(known)
    assert [verdict.text for verdict in decision.verdicts if verdict.rule == rule] == [text]
    assert {verdict.subject for verdict in decision.verdicts} == {str(known.step.subject)}


@pytest.mark.parametrize(
    "metadata, source, result",
    [
        ({CLONE_OF_KEY: "v"}, {}, Result.DOES_NOT_APPLY),
        (MARK, {JOURNAL_KEY: "k"}, Result.DOES_NOT_APPLY),
        (MARK, MARK, Result.APPLIES),
    ],
)
def test_a_clone_is_deleted_only_if_its_metadata_was_written_for_it(
    metadata: dict[str, str], source: dict[str, str], result: Result
) -> None:
    clone = replace(VOLUME_THERE, source_volume_id="v", metadata=metadata)
    decision = decide_repair_step(facts(DELETE, volume=clone, source=replace(VOLUME_THERE, id="v", metadata=source)))
    assert [verdict.result for verdict in decision.verdicts if verdict.rule == "is-a-clone"] == [result]


def decides(kind: str) -> str:
    page = "'Findings of an audit, and their repair' of the documentation"
    return f"no repair is safe without a person who decides: look up {kind} on the page {page}"


ENTRY = finding(step(A.DELETE_CACHE_ENTRY, Subject("cache-entry", VOLUME_ID)))
ROW = f"delete the row of {ABOUT} from image_volume_cache_entries in Cinder's database"


@pytest.mark.parametrize(
    "found, rule, text",
    [
        (finding(), "person-decides", decides("a-rule")),
        (finding(DELETE), "person-decides", "the rule has a repair"),
        (finding(DELETE), "beyond-its-subjects", "its repair changes only what it names"),
        (
            finding(REMOVE, DELETE, about=(IMAGE,)),
            "beyond-its-subjects",
            f"its repair would change what it does not name: delete-volume {VOLUME_ID}",
        ),
        (finding(DELETE), "no-api", "each step can be carried out through the APIs"),
        (ENTRY, "no-api", f"no API deletes it: {ROW}"),
        (finding(DELETE), "only-likely", "the finding is sure, and its repair is allowed"),
        (
            finding(step(A.SET_READ_ONLY), likely=True),
            "only-likely",
            "the finding is likely, and its repair is allowed",
        ),
        (
            LIKELY,
            "only-likely",
            (
                f"the finding is only likely, and delete-volume {VOLUME_ID} cannot be taken back: check it, and "
                "then add --include-likely"
            ),
        ),
        (finding(DELETE), "shared-data", "no other image's data is changed"),
        (finding(DELETE, REMOVE), "repaired", f"delete-volume {VOLUME_ID}; {REMOVE}"),
    ],
)
def test_a_rule_about_a_finding_says_what_it_has_seen(found: Finding, rule: str, text: str) -> None:
    (repair,) = plan_repairs([found]).repairs
    assert [verdict.text for verdict in repair.verdicts if verdict.rule == rule] == [text]
    assert {verdict.subject for verdict in repair.verdicts} == {found.id}


def test_a_finding_about_shared_data_that_is_not_repaired_names_what_stands_in_the_way() -> None:
    shared = replace(SHARED, repair=())
    plan = plan_repairs([finding(step(A.SET_READ_ONLY), DELETE), shared])
    assert [repair.reason for repair in plan.repairs] == [
        decides("shared"),
        f"set-read-only {ABOUT} could change or delete the data of another image: repair finding '{shared.id}' first",
    ]


CLONE = f"volume {CLONE_ID}"


@pytest.mark.parametrize(
    "rule, clone, text",
    [
        ("clone-named", LEFT, f"no image names {CLONE}"),
        ("clone-named", replace(LEFT, named_by=("a", "b")), f"{CLONE} is a location of image 'a', 'b'"),
        ("clone-images-unseen", LEFT, "every image is seen"),
        ("clone-images-unseen", replace(LEFT, images_complete=False), "every image is not seen"),
        ("clone-of-another", LEFT, f"it is a clone of {ABOUT}"),
        (
            "clone-of-another",
            replace(LEFT, volume=replace(LEFT.volume, source_volume_id=None)),
            f"it has the mark of this repair, and is a clone of volume not known, not of {VOLUME_ID}",
        ),
        (
            "clone-of-another",
            replace(LEFT, volume=replace(LEFT.volume, source_volume_id="w")),
            f"it has the mark of this repair, and is a clone of volume w, not of {VOLUME_ID}",
        ),
        ("clone-offered", LEFT, "Glance was not asked to take it"),
        ("clone-offered", replace(LEFT, offered=True), "Glance was asked to take it, and may still do so"),
        ("clone-in-use", LEFT, "it is 'available'"),
        ("clone-in-use", replace(LEFT, attachment_ids=("a", "b")), "it has attachments 'a', 'b'"),
        ("clone-left", LEFT, f"nothing needs {CLONE}, which this repair has made"),
    ],
)
def test_a_rule_about_a_clone_says_what_it_has_seen(rule: str, clone: RepairClone, text: str) -> None:
    decision = decide_repair_clone(clone)
    assert [verdict.text for verdict in decision.verdicts if verdict.rule == rule] == [text]
    assert {verdict.subject for verdict in decision.verdicts} == {CLONE_ID}
