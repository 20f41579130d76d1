"""What each rule about a copy in another store says of what it has seen: an operator does what it says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from imagevol_core import (
    GIB,
    Digest,
    KeptCopy,
    Result,
    StoreCatalogue,
    StoreCopyFacts,
    Verdict,
    decide_store_removal,
    plan_store_copy,
)
from imagevol_core.store_copies import (
    CloneLeft,
    StoreCopyWay,
    VerificationFacts,
    VerifyWish,
    decide_discard,
    decide_verification,
)
from tests.core.test_store_copies import (
    CLONED,
    FILES,
    HELD,
    IMAGE,
    IMPORTED,
    KEPT,
    KNOWN,
    LEFT,
    MADE,
    STANDS_AGAINST_THE_CLONE,
    STORES,
    VOLUME,
    V,
    W,
    at,
    image,
    volume,
)

MOVED = replace(CLONED, move=True)
SHOW = "set show_multiple_locations = true in the glance-api.conf of an endpoint that only operators reach"
NAMES = "'fast', 'quick', 'slow', 'plain', 'files', 'web', 'old'"
FAR = "volumes of types 'ssd' and 'hdd' are not known to be on one backend, and Cinder clones on the same backend only"
NO_METHOD = "Glance does not offer copy-image: add it to enabled_import_methods in glance-api.conf"
UNTYPED = replace(volume(volume_type=None), to_store="plain", catalogue=replace(STORES, default_volume_type=None))
IN_USE = replace(VOLUME, status="in-use", readonly=None)
BY_GLANCE = replace(MADE, way=StoreCopyWay.CLONE, wish=VerifyWish.GLANCE)
AUDIT = "`imagevol audit`"
UNKNOWN = f"Cinder shows these credentials no volume {V}, which would be deleted: use the credentials of the store, or"


def said_by(rule: str, verdicts: Iterable[Verdict], *, subject: str) -> list[tuple[bool, str]]:
    """Whether the rule holds, or applies, and what it says."""
    return [
        (verdict.result in (Result.HOLDS, Result.APPLIES), verdict.text)
        for verdict in verdicts
        if (verdict.rule, verdict.subject) == (rule, subject)
    ]


@pytest.mark.parametrize(
    "rule, holds, facts, text",
    [
        ("copy-store-exists", True, CLONED, "Glance has store 'quick'"),
        (
            "copy-store-exists",
            False,
            replace(CLONED, catalogue=StoreCatalogue(stores=(), multi=False)),
            "Glance has one store: set enabled_backends in glance-api.conf",
        ),
        (
            "copy-store-exists",
            False,
            replace(CLONED, to_store="quikc"),
            f"Glance has no store 'quikc': give one of {NAMES}",
        ),
        ("copy-store-accepts", True, CLONED, "store 'quick' takes images"),
        (
            "copy-store-accepts",
            False,
            replace(CLONED, to_store="old"),
            "store 'old' is read-only: choose another store",
        ),
        (
            "copied-image-active",
            False,
            image(status="deactivated"),
            "the status of the image is 'deactivated', and Glance copies active images only",
        ),
        ("no-import-running", True, CLONED, "Glance is not importing the image"),
        (
            "no-import-running",
            False,
            image(properties={"os_glance_importing_to_stores": "slow"}),
            "Glance is importing the image to 'slow': run the command again when it has ended",
        ),
        (
            "no-import-running",
            False,
            image(properties={"os_glance_import_task": "task"}),
            "Glance is importing the image: run the command again when it has ended",
        ),
        ("copy-source-known", True, replace(CLONED, stores=("fast", "slow")), "the image is in 'fast', 'slow'"),
        (
            "copy-source-known",
            False,
            replace(CLONED, stores=()),
            "Glance says of no store that the image is in it: run `imagevol locations plan`",
        ),
        (
            "copy-source-known",
            False,
            replace(CLONED, stores=("fast", "former", "latter")),
            "Glance has no store 'former', 'latter', where the image is: run `imagevol locations plan`",
        ),
        (
            "copy-source-known",
            False,
            image(locations=(at("fast"), at("fast"))),
            "a location of the image names no store: run `imagevol locations plan`",
        ),
        (
            "copy-source-known",
            True,
            image(replace(CLONED, locations_shown=False), locations=()),
            "the image is in 'fast'",
        ),
        ("other-store", True, CLONED, "no copy is deleted"),
        ("other-store", True, MOVED, "the image leaves store 'fast'"),
        ("other-store", True, replace(MOVED, to_store="fast"), "the image is in no other store"),
        (
            "other-store",
            False,
            replace(MOVED, stores=("fast", "slow")),
            "the image is in 'fast', 'slow': name the store that it leaves with --from-store",
        ),
        (
            "other-store",
            False,
            replace(MOVED, from_store="quick"),
            "the image cannot be moved from store 'quick' to itself: give another store",
        ),
        ("leaving-seen", True, CLONED, "no copy is deleted"),
        ("leaving-seen", True, MOVED, "Glance shows which data is deleted"),
        (
            "leaving-seen",
            False,
            replace(MOVED, locations_shown=False),
            f"Glance does not show which data would be deleted: {SHOW}, and use that endpoint",
        ),
        ("leaving-is-image", True, MOVED, "what is deleted says that it is this image"),
        ("leaving-is-image", False, replace(MOVED, volumes={}), f"{UNKNOWN} run `imagevol audit`"),
        *(
            (
                "leaving-is-image",
                False,
                replace(MOVED, volumes={V: replace(VOLUME, metadata=metadata)}),
                f"volume {V} says that it holds image {holds}, and would be deleted with this one: run {AUDIT}",
            )
            for metadata, holds in (
                ({"glance_image_id": "another"}, "another"),
                ({}, "not known"),
                ({"glance_image_id": "i", "image_size": "lots"}, "not known"),
            )
        ),
        ("leaving-not-held", True, MOVED, "nothing holds what is deleted"),
        (
            "leaving-not-held",
            False,
            replace(MOVED, volumes={V: HELD}),
            f"volume {V} is held by 'a migration': let that end first",
        ),
        ("leaving-not-shared", True, replace(MOVED, named_by={V: ("i",)}), "no other image names what is deleted"),
        (
            "leaving-not-shared",
            False,
            replace(MOVED, named_by={V: ("a", "i", "b")}),
            (
                f"volume {V} would be deleted, and image 'a', 'b' names it as well: mend that first with `imagevol "
                "audit --repair`"
            ),
        ),
        ("import-offered", True, IMPORTED, "Glance offers the import method copy-image"),
        ("import-offered", False, replace(IMPORTED, import_methods=frozenset()), NO_METHOD),
        (
            "import-offered",
            True,
            replace(IMPORTED, import_methods=None),
            "Glance does not say which import methods it offers",
        ),
        ("formats-set", True, IMPORTED, "its disk_format is 'raw', its container_format is 'bare'"),
        (
            "formats-set",
            False,
            image(IMPORTED, disk_format=None),
            (
                "its disk_format is not known, its container_format is 'bare': Glance copies no image without both, so "
                "set them"
            ),
        ),
        ("copy-refused", False, CLONED, "nothing stands against a copy"),
        (
            "copy-refused",
            True,
            image(status=None),
            "the status of the image is not known, and Glance copies active images only",
        ),
        (
            "copy-refused",
            True,
            replace(image(status="queued"), to_store="old"),
            (
                "store 'old' is read-only: choose another store; the status of the image is 'queued', and Glance "
                "copies active images only"
            ),
        ),
        ("copy-exists", False, CLONED, "the image is not in store 'quick'"),
        ("copy-exists", True, replace(CLONED, to_store="fast"), "the image is in store 'fast'"),
        ("clone-in-storage", True, CLONED, f"volume {V} can be cloned, and no data is copied"),
        ("clone-in-storage", False, IMPORTED, f"no image volume can be cloned: {FAR}"),
        (
            "clone-in-storage",
            False,
            image(locations=()),
            "no image volume can be cloned: Glance shows no location of the image in a volume",
        ),
        (
            "clone-in-storage",
            False,
            replace(MOVED, wish=VerifyWish.GLANCE),
            (
                f"volume {V} could be cloned, and the clone could not be verified: Glance does not write this copy, so "
                "it cannot verify it: pass --verify read"
            ),
        ),
        ("import-by-glance", True, IMPORTED, "Glance copies 1073741825 bytes, through its staging area"),
        (
            "import-by-glance",
            True,
            image(IMPORTED, size_bytes=None),
            "Glance copies an unknown number of bytes, through its staging area",
        ),
        ("import-by-glance", False, replace(IMPORTED, import_methods=frozenset()), NO_METHOD),
        ("no-way-to-copy", True, replace(IMPORTED, import_methods=frozenset()), f"{NO_METHOD}; {FAR}"),
        (
            "no-way-to-copy",
            True,
            replace(IMPORTED, import_methods=frozenset(), move=True, wish=VerifyWish.GLANCE),
            f"{NO_METHOD}; {FAR}",
        ),
        (
            "no-way-to-copy",
            True,
            replace(MOVED, wish=VerifyWish.GLANCE, import_methods=frozenset()),
            f"{NO_METHOD}; Glance does not write this copy, so it cannot verify it: pass --verify read",
        ),
    ],
)
def test_a_rule_about_an_image_says_what_it_has_seen(rule: str, holds: bool, facts: StoreCopyFacts, text: str) -> None:
    assert said_by(rule, plan_store_copy(facts).verdicts, subject="i") == [(holds, text)]


@pytest.mark.parametrize(
    "rule, holds, facts, text",
    [
        ("into-volumes", True, CLONED, "store 'quick' keeps images in volumes"),
        ("into-volumes", False, replace(CLONED, to_store="files"), "store 'files' does not keep images in volumes"),
        ("locations-change", True, CLONED, "Glance shows locations and lets them be added"),
        (
            "locations-change",
            False,
            replace(CLONED, locations_shown=False),
            f"Glance adds no location to an active image: {SHOW}",
        ),
        ("source-found", True, CLONED, "Cinder shows the volume"),
        ("source-found", False, replace(CLONED, volumes={}), "Cinder shows these credentials no such volume"),
        ("source-available", True, CLONED, "its status is 'available', read-only"),
        ("source-available", False, volume(status="in-use", readonly=False), "its status is 'in-use', not read-only"),
        ("source-available", True, volume(status="in-use"), "its status is 'in-use', read-only"),
        ("source-available", False, volume(status="error"), "its status is 'error', read-only"),
        ("source-project", True, CLONED, "it lives in project service, as the clone would"),
        (
            "source-project",
            False,
            replace(CLONED, project_id="demo"),
            "it lives in project service, and a clone would live in project demo: use the credentials of the store",
        ),
        (
            "source-project",
            False,
            replace(volume(project_id=None), project_id=None),
            (
                "it lives in project not known, and a clone would live in project not known: use the credentials of "
                "the store"
            ),
        ),
        ("source-not-encrypted", True, CLONED, "it is not encrypted"),
        ("source-not-encrypted", False, volume(encrypted=True), "it is encrypted"),
        (
            "source-not-encrypted",
            False,
            replace(CLONED, encrypted_types=frozenset({"ssd-quick"})),
            "volumes of type 'ssd-quick' are encrypted",
        ),
        *(
            ("source-settled", True, volume(migration_status=status), "it is not being migrated")
            for status in (None, "none", "success")
        ),
        ("source-settled", False, volume(migration_status="migrating"), "its migration status is 'migrating'"),
        ("source-is-image", True, CLONED, f"it holds the {GIB + 1} bytes of the image"),
        ("source-is-image", False, volume(metadata={"glance_image_id": "another"}), "it holds image another"),
        (
            "source-is-image",
            False,
            volume(metadata={"image_size": "5"}),
            "it holds 5 bytes, and the image has 1073741825",
        ),
        (
            "source-is-image",
            False,
            volume(metadata={"image_size": "lots"}),
            "volume metadata image_size='lots': it is not a number of bytes",
        ),
        ("source-is-image", False, image(size_bytes=None), "it holds 1073741825 bytes, and the image has not known"),
        ("source-is-image", False, volume(size_gib=1), "it has 1 GiB, and the image needs 2 GiB"),
        ("source-same-backend", True, CLONED, "volumes of types 'ssd' and 'ssd-quick' are on the backend 'array'"),
        ("source-same-backend", False, IMPORTED, FAR),
        (
            "source-same-backend",
            True,
            volume(volume_type="ssd-quick"),
            "it has the type of the volumes of the store, 'ssd-quick'",
        ),
        (
            "source-same-backend",
            False,
            UNTYPED,
            (
                "volumes of types not known and not known are not known to be on one backend, and Cinder clones on the "
                "same backend only"
            ),
        ),
        (
            "source-same-backend",
            False,
            replace(CLONED, volume_types={}),
            (
                "volumes of types 'ssd' and 'ssd-quick' are not known to be on one backend, and Cinder clones on the "
                "same backend only"
            ),
        ),
        (
            "glance-chooses-store",
            True,
            UNTYPED,
            "Glance takes a volume of type not known into store 'plain'",
        ),
        ("glance-chooses-store", True, CLONED, "Glance takes a volume of type 'ssd-quick' into store 'quick'"),
        (
            "glance-chooses-store",
            False,
            STANDS_AGAINST_THE_CLONE["glance-chooses-store"],
            (
                "Glance would take a volume of type 'ssd-quick' into store 'first': give each store a volume type of "
                "its own"
            ),
        ),
    ],
)
def test_a_rule_about_a_volume_says_what_it_has_seen(rule: str, holds: bool, facts: StoreCopyFacts, text: str) -> None:
    assert said_by(rule, plan_store_copy(facts).verdicts, subject=V) == [(holds, text)]


@pytest.mark.parametrize(
    "rule, holds, facts, text",
    [
        ("known-good", False, MADE, "the copy was not verified before"),
        (
            "known-good",
            True,
            replace(KNOWN, store=FILES),
            "the copy was verified before, or the other copy was made from it, and it cannot be read again",
        ),
        (
            "known-good",
            False,
            KNOWN,
            "the copy was verified before, or the other copy was made from it, and it can be read again",
        ),
        (
            "known-good",
            True,
            replace(KNOWN, wish=VerifyWish.GLANCE),
            "the copy was verified before, or the other copy was made from it, and no reading is asked for",
        ),
        (
            "read-again",
            True,
            KNOWN,
            "the copy was good before this run, and is read again: it may have been changed since",
        ),
        (
            "glance-compared",
            False,
            replace(MADE, there_before=True),
            "Glance wrote the copy in an earlier run, and it may have been changed since",
        ),
        (
            "no-digest-to-compare",
            True,
            replace(KNOWN, image=replace(IMAGE, digest=None)),
            "Glance has no multihash of the image to compare with: to rely on the copy, pass --verify glance",
        ),
        ("no-digest-to-compare", False, MADE, "Glance has the multihash sha512:0f"),
        (
            "no-digest-to-compare",
            True,
            replace(MADE, image=replace(IMAGE, digest=None)),
            "Glance has no multihash of the image to compare with: copy it without --move",
        ),
        ("read-not-possible", False, MADE, "reading the copy is not asked for"),
        ("read-not-possible", False, replace(MADE, wish=VerifyWish.READ), "the copy can be read"),
        *(
            (
                "read-not-possible",
                True,
                replace(MADE, wish=VerifyWish.READ, store=store),
                f"store {name} keeps no images in volumes, and this host reads volumes only; or pass --verify glance",
            )
            for store, name in ((FILES, "'files'"), (None, "not known"))
        ),
        (
            "read-not-possible",
            True,
            replace(MADE, wish=VerifyWish.READ, locations_shown=False),
            f"Glance does not show which volume the image has in store 'fast': {SHOW}; or pass --verify glance",
        ),
        ("read-wished", False, MADE, "reading the copy is not asked for"),
        ("read-wished", True, replace(MADE, wish=VerifyWish.READ), "reading the copy is asked for"),
        ("glance-compared", True, MADE, "Glance compares size, md5 and multihash when it writes the copy"),
        ("glance-compared", False, BY_GLANCE, "Glance does not write this copy"),
        (
            "glance-alone",
            True,
            BY_GLANCE,
            "Glance does not write this copy, so it cannot verify it: pass --verify read",
        ),
        ("glance-alone", False, replace(BY_GLANCE, wish=VerifyWish.AUTO), "it may be read"),
        ("copy-not-readable", False, replace(BY_GLANCE, wish=VerifyWish.AUTO), "the copy can be read"),
        (
            "copy-not-readable",
            True,
            replace(BY_GLANCE, wish=VerifyWish.AUTO, locations_shown=False),
            f"Glance does not show which volume the image has in store 'fast': {SHOW}",
        ),
        (
            "read-on-host",
            True,
            replace(BY_GLANCE, wish=VerifyWish.AUTO),
            "this host reads the image volume and compares the digest",
        ),
    ],
)
def test_a_rule_about_a_verification_says_what_it_has_seen(
    rule: str, holds: bool, facts: VerificationFacts, text: str
) -> None:
    assert said_by(rule, decide_verification(facts)[1], subject="i") == [(holds, text)]


@pytest.mark.parametrize(
    "rule, holds, facts, text",
    [
        ("kept-copy-exists", True, KEPT, "the image is in store 'slow', whose copy is kept"),
        (
            "kept-copy-exists",
            False,
            replace(KEPT, stores=("fast",)),
            "the image is not in store 'slow', whose copy is kept",
        ),
        ("kept-image-same", True, KEPT, "size and digest of the image are those that were planned with"),
        (
            "kept-image-same",
            False,
            replace(KEPT, planned=replace(IMAGE, digest=Digest("sha512", "ff"))),
            "size and digest of the image are not those that were planned with",
        ),
        (
            "kept-image-same",
            True,
            replace(KEPT, planned=replace(IMAGE, digest=None)),
            "size and digest of the image are those that were planned with",
        ),
        ("kept-image-same", True, replace(KEPT, planned=None), "the image is not compared with an earlier one"),
        ("kept-copy-verified", True, KEPT, "the copy in store 'slow' is verified"),
        ("kept-copy-verified", False, replace(KEPT, verified=False), "the copy in store 'slow' is not verified"),
        ("kept-copy-apart", True, KEPT, "the copies are in different places"),
        (
            "kept-copy-apart",
            False,
            replace(KEPT, image=replace(IMAGE, locations=(at("fast"), at("slow")))),
            f"both copies are in volume {V}, which Glance would delete",
        ),
        ("kept-copy-unmoved", True, KEPT, f"the copy that is kept is the one that was verified, in volume {W}"),
        (
            "kept-copy-unmoved",
            False,
            replace(KEPT, verified_place=None),
            f"the copy that is kept is in volume {W}, and what was verified was in not known",
        ),
        (
            "kept-copy-unmoved",
            False,
            replace(KEPT, kept="files", verified_place=None),
            "the copy that is kept is in not known, and what was verified was in not known",
        ),
        (
            "kept-copy-unmoved",
            False,
            replace(KEPT, verified_place=f"volume {V}"),
            f"the copy that is kept is in volume {W}, and what was verified was in volume {V}",
        ),
        ("kept-volume-exists", True, KEPT, "the volume whose data is kept exists"),
        (
            "kept-volume-exists",
            True,
            replace(KEPT, volumes={V: VOLUME, W: IN_USE}),
            "the volume whose data is kept exists",
        ),
        (
            "kept-volume-exists",
            False,
            replace(KEPT, volumes={V: VOLUME}),
            (
                f"Cinder shows these credentials no volume {W}, whose data would be kept: use the credentials of the "
                "store, or run `imagevol audit`"
            ),
        ),
        (
            "kept-volume-exists",
            False,
            replace(KEPT, volumes={V: VOLUME, W: replace(VOLUME, status="error")}),
            f"volume {W}, whose data would be kept, is in status 'error': run `imagevol audit`",
        ),
        (
            "kept-volume-exists",
            False,
            replace(KEPT, volumes={V: VOLUME, W: replace(VOLUME, readonly=False)}),
            f"volume {W}, whose data would be kept, is not read-only: run `imagevol audit`",
        ),
    ],
)
def test_a_rule_about_a_removal_says_what_it_has_seen(rule: str, holds: bool, facts: KeptCopy, text: str) -> None:
    assert said_by(rule, decide_store_removal(facts).verdicts, subject="i") == [(holds, text)]


@pytest.mark.parametrize(
    "rule, holds, facts, text",
    [
        ("discard-seen", True, LEFT, "Glance shows which volumes the image has"),
        (
            "discard-seen",
            False,
            replace(LEFT, locations_shown=False),
            f"Glance does not show the volumes of the image, and a clone may be one: {SHOW}, and use it",
        ),
        (
            "discard-is-clone",
            True,
            LEFT,
            f"volume {V} has the mark of the journal, and is a clone of volume {W}",
        ),
        (
            "discard-is-clone",
            False,
            replace(LEFT, source=None),
            (
                f"volume {V} has the mark of the journal, and is a clone of volume not known, which the journal has "
                "not cloned"
            ),
        ),
        ("discard-never-registered", True, LEFT, f"volume {V} was never seen as a location of image i"),
        ("discard-never-registered", False, replace(LEFT, registered=True), f"volume {V} was a location of image i"),
        ("discard-not-named", True, LEFT, f"no image names volume {V}"),
        (
            "discard-not-named",
            False,
            replace(LEFT, named_by=("a", "b")),
            f"volume {V} is a location of image 'a', 'b'",
        ),
    ],
)
def test_a_rule_about_a_clone_that_is_left_says_what_it_has_seen(
    rule: str, holds: bool, facts: CloneLeft, text: str
) -> None:
    assert said_by(rule, decide_discard(facts).verdicts, subject=V) == [(holds, text)]


def test_what_stands_against_a_removal_is_told_in_one_sentence() -> None:
    removal = decide_store_removal(replace(KEPT, stores=("fast",), verified=False))
    assert removal.reason == (
        "the image is not in store 'slow', whose copy is kept; the copy in store 'slow' is not verified"
    )
    assert decide_store_removal(KEPT).reason == ""


def test_of_an_image_that_cannot_be_copied_no_way_is_looked_at() -> None:
    rules = {verdict.rule for verdict in plan_store_copy(image(status="queued")).verdicts}
    assert "copied-image-active" in rules
    assert rules.isdisjoint({"import-offered", "into-volumes"})


def test_a_plan_names_the_stores_and_the_volume_that_is_cloned() -> None:
    plan = plan_store_copy(MOVED)
    assert (plan.image, plan.from_store, plan.to_store, plan.source) == (IMAGE, "fast", "quick", V)
    by_glance = plan_store_copy(replace(MOVED, wish=VerifyWish.GLANCE))
    assert (by_glance.way, by_glance.source) == (StoreCopyWay.IMPORT, None)
    assert plan_store_copy(replace(CLONED, wish=VerifyWish.GLANCE)).way is StoreCopyWay.CLONE
