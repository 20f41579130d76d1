"""What each rule about a copy in another store says of what it has seen: an operator does what it says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from imagevol_core import (
    GIB,
    Digest,
    KeptCopy,
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
BY_GLANCE = replace(MADE, way=StoreCopyWay.CLONE, wish=VerifyWish.GLANCE)
AUDIT = "`imagevol audit`"
UNKNOWN = f"Cinder shows these credentials no volume {V}, which would be deleted: use the credentials of the store, or"


def said_by(rule: str, verdicts: Iterable[Verdict], *, subject: str) -> list[str]:
    return [verdict.text for verdict in verdicts if (verdict.rule, verdict.subject) == (rule, subject)]


@pytest.mark.parametrize(
    "rule, facts, text",
    [
        ("copy-store-exists", CLONED, "Glance has store 'quick'"),
        (
            "copy-store-exists",
            replace(CLONED, catalogue=StoreCatalogue(stores=(), multi=False)),
            "Glance has one store: set enabled_backends in glance-api.conf",
        ),
        (
            "copy-store-exists",
            replace(CLONED, to_store="quikc"),
            f"Glance has no store 'quikc': give one of {NAMES}",
        ),
        ("copy-store-accepts", CLONED, "store 'quick' takes images"),
        (
            "copy-store-accepts",
            replace(CLONED, to_store="old"),
            "store 'old' is read-only: choose another store",
        ),
        (
            "copied-image-active",
            image(status="deactivated"),
            "the status of the image is 'deactivated', and Glance copies active images only",
        ),
        ("no-import-running", CLONED, "Glance is not importing the image"),
        (
            "no-import-running",
            image(properties={"os_glance_importing_to_stores": "slow"}),
            "Glance is importing the image to 'slow': run the command again when it has ended",
        ),
        (
            "no-import-running",
            image(properties={"os_glance_import_task": "task"}),
            "Glance is importing the image: run the command again when it has ended",
        ),
        ("copy-source-known", replace(CLONED, stores=("fast", "slow")), "the image is in 'fast', 'slow'"),
        (
            "copy-source-known",
            replace(CLONED, stores=()),
            "Glance says of no store that the image is in it: run `imagevol locations plan`",
        ),
        (
            "copy-source-known",
            replace(CLONED, stores=("fast", "former", "latter")),
            "Glance has no store 'former', 'latter', where the image is: run `imagevol locations plan`",
        ),
        (
            "copy-source-known",
            image(locations=(at("fast"), at("fast"))),
            "a location of the image names no store: run `imagevol locations plan`",
        ),
        ("copy-source-known", image(replace(CLONED, locations_shown=False), locations=()), "the image is in 'fast'"),
        ("other-store", CLONED, "no copy is deleted"),
        ("other-store", MOVED, "the image leaves store 'fast'"),
        ("other-store", replace(MOVED, to_store="fast"), "the image is in no other store"),
        (
            "other-store",
            replace(MOVED, stores=("fast", "slow")),
            "the image is in 'fast', 'slow': name the store that it leaves with --from-store",
        ),
        (
            "other-store",
            replace(MOVED, from_store="quick"),
            "the image cannot be moved from store 'quick' to itself: give another store",
        ),
        ("leaving-seen", CLONED, "no copy is deleted"),
        ("leaving-seen", MOVED, "Glance shows which data is deleted"),
        (
            "leaving-seen",
            replace(MOVED, locations_shown=False),
            f"Glance does not show which data would be deleted: {SHOW}, and use that endpoint",
        ),
        ("leaving-is-image", MOVED, "what is deleted says that it is this image"),
        ("leaving-is-image", replace(MOVED, volumes={}), f"{UNKNOWN} run `imagevol audit`"),
        *(
            (
                "leaving-is-image",
                replace(MOVED, volumes={V: replace(VOLUME, metadata=metadata)}),
                f"volume {V} says that it holds image {holds}, and would be deleted with this one: run {AUDIT}",
            )
            for metadata, holds in (
                ({"glance_image_id": "another"}, "another"),
                ({}, "not known"),
                ({"glance_image_id": "i", "image_size": "lots"}, "not known"),
            )
        ),
        ("leaving-not-held", MOVED, "nothing holds what is deleted"),
        (
            "leaving-not-held",
            replace(MOVED, volumes={V: HELD}),
            f"volume {V} is held by 'a migration': let that end first",
        ),
        ("leaving-not-shared", replace(MOVED, named_by={V: ("i",)}), "no other image names what is deleted"),
        (
            "leaving-not-shared",
            replace(MOVED, named_by={V: ("a", "i", "b")}),
            (
                f"volume {V} would be deleted, and image 'a', 'b' names it as well: mend that first with `imagevol "
                "audit --repair`"
            ),
        ),
        ("import-offered", IMPORTED, "Glance offers the import method copy-image"),
        ("import-offered", replace(IMPORTED, import_methods=frozenset()), NO_METHOD),
        (
            "import-offered",
            replace(IMPORTED, import_methods=None),
            "Glance does not say which import methods it offers",
        ),
        ("formats-set", IMPORTED, "its disk_format is 'raw', its container_format is 'bare'"),
        (
            "formats-set",
            image(IMPORTED, disk_format=None),
            (
                "its disk_format is not known, its container_format is 'bare': Glance copies no image without both, so "
                "set them"
            ),
        ),
        ("copy-refused", CLONED, "nothing stands against a copy"),
        (
            "copy-refused",
            image(status=None),
            "the status of the image is not known, and Glance copies active images only",
        ),
        (
            "copy-refused",
            replace(image(status="queued"), to_store="old"),
            (
                "store 'old' is read-only: choose another store; the status of the image is 'queued', and Glance "
                "copies active images only"
            ),
        ),
        ("copy-exists", CLONED, "the image is not in store 'quick'"),
        ("copy-exists", replace(CLONED, to_store="fast"), "the image is in store 'fast'"),
        ("clone-in-storage", CLONED, f"volume {V} can be cloned, and no data is copied"),
        ("clone-in-storage", IMPORTED, f"no image volume can be cloned: {FAR}"),
        (
            "clone-in-storage",
            image(locations=()),
            "no image volume can be cloned: Glance shows no location of the image in a volume",
        ),
        (
            "clone-in-storage",
            replace(MOVED, wish=VerifyWish.GLANCE),
            (
                f"volume {V} could be cloned, and the clone could not be verified: Glance does not write this copy, so "
                "it cannot verify it: pass --verify read"
            ),
        ),
        ("import-by-glance", IMPORTED, "Glance copies 1073741825 bytes, through its staging area"),
        (
            "import-by-glance",
            image(IMPORTED, size_bytes=None),
            "Glance copies not known bytes, through its staging area",
        ),
        ("import-by-glance", replace(IMPORTED, import_methods=frozenset()), NO_METHOD),
        ("no-way-to-copy", replace(IMPORTED, import_methods=frozenset()), f"{NO_METHOD}; {FAR}"),
        (
            "no-way-to-copy",
            replace(MOVED, wish=VerifyWish.GLANCE, import_methods=frozenset()),
            f"{NO_METHOD}; Glance does not write this copy, so it cannot verify it: pass --verify read",
        ),
    ],
)
def test_a_rule_about_an_image_says_what_it_has_seen(rule: str, facts: StoreCopyFacts, text: str) -> None:
    assert said_by(rule, plan_store_copy(facts).verdicts, subject="i") == [text]


@pytest.mark.parametrize(
    "rule, facts, text",
    [
        ("into-volumes", CLONED, "store 'quick' keeps images in volumes"),
        ("into-volumes", replace(CLONED, to_store="files"), "store 'files' does not keep images in volumes"),
        ("locations-change", CLONED, "Glance shows locations and lets them be added"),
        (
            "locations-change",
            replace(CLONED, locations_shown=False),
            f"Glance adds no location to an active image: {SHOW}",
        ),
        ("source-found", CLONED, "Cinder shows the volume"),
        ("source-found", replace(CLONED, volumes={}), "Cinder shows these credentials no such volume"),
        ("source-available", CLONED, "its status is 'available', read-only"),
        ("source-available", volume(status="in-use", readonly=False), "its status is 'in-use', not read-only"),
        ("source-project", CLONED, "it lives in project service, as the clone would"),
        (
            "source-project",
            replace(CLONED, project_id="demo"),
            "it lives in project service, and a clone would live in project demo: use the credentials of the store",
        ),
        (
            "source-project",
            replace(volume(project_id=None), project_id=None),
            "it lives in project not known, as the clone would",
        ),
        ("source-not-encrypted", CLONED, "it is not encrypted"),
        ("source-not-encrypted", volume(encrypted=True), "it is encrypted"),
        (
            "source-not-encrypted",
            replace(CLONED, encrypted_types=frozenset({"ssd-quick"})),
            "volumes of type 'ssd-quick' are encrypted",
        ),
        *(
            ("source-settled", volume(migration_status=status), "it is not being migrated")
            for status in (None, "none", "success")
        ),
        ("source-settled", volume(migration_status="migrating"), "its migration status is 'migrating'"),
        ("source-is-image", CLONED, f"it holds the {GIB + 1} bytes of the image"),
        ("source-is-image", volume(metadata={"glance_image_id": "another"}), "it holds image another"),
        (
            "source-is-image",
            volume(metadata={"image_size": "5"}),
            "it holds 5 bytes, and the image has 1073741825",
        ),
        ("source-is-image", image(size_bytes=None), "it holds 1073741825 bytes, and the image has not known"),
        ("source-is-image", volume(size_gib=1), "it has 1 GiB, and the image needs 2 GiB"),
        ("source-same-backend", CLONED, "volumes of types 'ssd' and 'ssd-quick' are on the backend 'array'"),
        ("source-same-backend", IMPORTED, FAR),
        (
            "source-same-backend",
            volume(volume_type="ssd-quick"),
            "it has the type of the volumes of the store, 'ssd-quick'",
        ),
        (
            "source-same-backend",
            replace(volume(volume_type=None), to_store="plain", catalogue=replace(STORES, default_volume_type=None)),
            (
                "volumes of types not known and not known are not known to be on one backend, and Cinder clones on the "
                "same backend only"
            ),
        ),
        (
            "source-same-backend",
            replace(CLONED, volume_types={}),
            (
                "volumes of types 'ssd' and 'ssd-quick' are not known to be on one backend, and Cinder clones on the "
                "same backend only"
            ),
        ),
        ("glance-chooses-store", CLONED, "Glance takes a volume of type 'ssd-quick' into store 'quick'"),
        (
            "glance-chooses-store",
            STANDS_AGAINST_THE_CLONE["glance-chooses-store"],
            (
                "Glance would take a volume of type 'ssd-quick' into store 'first': give each store a volume type of "
                "its own"
            ),
        ),
    ],
)
def test_a_rule_about_a_volume_says_what_it_has_seen(rule: str, facts: StoreCopyFacts, text: str) -> None:
    assert said_by(rule, plan_store_copy(facts).verdicts, subject=V) == [text]


@pytest.mark.parametrize(
    "rule, facts, text",
    [
        ("known-good", MADE, "the copy was not verified before"),
        (
            "known-good",
            replace(MADE, known_good=True),
            "the copy was verified before, or the other copy was made from it",
        ),
        ("no-digest-to-compare", MADE, "Glance has the multihash sha512:0f"),
        (
            "no-digest-to-compare",
            replace(MADE, image=replace(IMAGE, digest=None)),
            "Glance has no multihash of the image to compare with: copy it without --move",
        ),
        ("read-not-possible", MADE, "reading the copy is not asked for"),
        ("read-not-possible", replace(MADE, wish=VerifyWish.READ), "the copy can be read"),
        *(
            (
                "read-not-possible",
                replace(MADE, wish=VerifyWish.READ, store=store),
                f"store {name} keeps no images in volumes, and this host reads volumes only; or pass --verify glance",
            )
            for store, name in ((FILES, "'files'"), (None, "not known"))
        ),
        (
            "read-not-possible",
            replace(MADE, wish=VerifyWish.READ, locations_shown=False),
            f"Glance does not show which volume the image has in store 'fast': {SHOW}; or pass --verify glance",
        ),
        ("read-wished", MADE, "reading the copy is not asked for"),
        ("read-wished", replace(MADE, wish=VerifyWish.READ), "reading the copy is asked for"),
        ("glance-compared", MADE, "Glance compares size, md5 and multihash when it writes the copy"),
        ("glance-compared", BY_GLANCE, "Glance does not write this copy"),
        ("glance-alone", BY_GLANCE, "Glance does not write this copy, so it cannot verify it: pass --verify read"),
        ("glance-alone", replace(BY_GLANCE, wish=VerifyWish.AUTO), "it may be read"),
        ("copy-not-readable", replace(BY_GLANCE, wish=VerifyWish.AUTO), "the copy can be read"),
        (
            "copy-not-readable",
            replace(BY_GLANCE, wish=VerifyWish.AUTO, locations_shown=False),
            f"Glance does not show which volume the image has in store 'fast': {SHOW}",
        ),
        (
            "read-on-host",
            replace(BY_GLANCE, wish=VerifyWish.AUTO),
            "this host reads the image volume and compares the digest",
        ),
    ],
)
def test_a_rule_about_a_verification_says_what_it_has_seen(rule: str, facts: VerificationFacts, text: str) -> None:
    assert said_by(rule, decide_verification(facts)[1], subject="i") == [text]


@pytest.mark.parametrize(
    "rule, facts, text",
    [
        ("kept-copy-exists", KEPT, "the image is in store 'slow', whose copy is kept"),
        (
            "kept-copy-exists",
            replace(KEPT, stores=("fast",)),
            "the image is not in store 'slow', whose copy is kept",
        ),
        ("kept-image-same", KEPT, "size and digest of the image are those that were planned with"),
        (
            "kept-image-same",
            replace(KEPT, planned=replace(IMAGE, digest=Digest("sha512", "ff"))),
            "size and digest of the image are not those that were planned with",
        ),
        (
            "kept-image-same",
            replace(KEPT, planned=replace(IMAGE, digest=None)),
            "size and digest of the image are those that were planned with",
        ),
        ("kept-image-same", replace(KEPT, planned=None), "the image is not compared with an earlier one"),
        ("kept-copy-verified", KEPT, "the copy in store 'slow' is verified"),
        ("kept-copy-verified", replace(KEPT, verified=False), "the copy in store 'slow' is not verified"),
        ("kept-copy-apart", KEPT, "the copies are in different places"),
        (
            "kept-copy-apart",
            replace(KEPT, image=replace(IMAGE, locations=(at("fast"), at("slow")))),
            f"both copies are in volume {V}, which Glance would delete",
        ),
        ("kept-copy-unmoved", KEPT, f"the copy that is kept is the one that was verified, in volume {W}"),
        (
            "kept-copy-unmoved",
            replace(KEPT, verified_place=None),
            f"the copy that is kept is in volume {W}, and what was verified was in not known",
        ),
        (
            "kept-copy-unmoved",
            replace(KEPT, kept="files", verified_place=None),
            "the copy that is kept is in not known, and what was verified was in not known",
        ),
        ("kept-volume-exists", KEPT, "the volume whose data is kept exists"),
        (
            "kept-volume-exists",
            replace(KEPT, volumes={V: VOLUME, W: replace(VOLUME, status="in-use", readonly=None)}),
            "the volume whose data is kept exists",
        ),
        (
            "kept-volume-exists",
            replace(KEPT, volumes={V: VOLUME}),
            (
                f"Cinder shows these credentials no volume {W}, whose data would be kept: use the credentials of the "
                "store, or run `imagevol audit`"
            ),
        ),
        (
            "kept-volume-exists",
            replace(KEPT, volumes={V: VOLUME, W: replace(VOLUME, status="error")}),
            f"volume {W}, whose data would be kept, is in status 'error': run `imagevol audit`",
        ),
        (
            "kept-volume-exists",
            replace(KEPT, volumes={V: VOLUME, W: replace(VOLUME, readonly=False)}),
            f"volume {W}, whose data would be kept, is not read-only: run `imagevol audit`",
        ),
    ],
)
def test_a_rule_about_a_removal_says_what_it_has_seen(rule: str, facts: KeptCopy, text: str) -> None:
    assert said_by(rule, decide_store_removal(facts).verdicts, subject="i") == [text]


@pytest.mark.parametrize(
    "rule, facts, text",
    [
        ("discard-seen", LEFT, "Glance shows which volumes the image has"),
        (
            "discard-seen",
            replace(LEFT, locations_shown=False),
            f"Glance does not show the volumes of the image, and a clone may be one: {SHOW}, and use it",
        ),
        ("discard-never-registered", LEFT, f"volume {V} was never seen as a location of image i"),
        ("discard-never-registered", replace(LEFT, registered=True), f"volume {V} was a location of image i"),
        ("discard-not-named", LEFT, f"no image names volume {V}"),
        (
            "discard-not-named",
            replace(LEFT, named_by=("a", "b")),
            f"volume {V} is a location of image 'a', 'b'",
        ),
    ],
)
def test_a_rule_about_a_clone_that_is_left_says_what_it_has_seen(rule: str, facts: CloneLeft, text: str) -> None:
    assert said_by(rule, decide_discard(facts).verdicts, subject=V) == [text]


def test_what_stands_against_a_removal_is_told_in_one_sentence() -> None:
    removal = decide_store_removal(replace(KEPT, stores=("fast",), verified=False))
    assert removal.reason == (
        "the image is not in store 'slow', whose copy is kept; the copy in store 'slow' is not verified"
    )
    assert decide_store_removal(KEPT).reason == ""
