"""What each strict rule lets through and what it does not, at its edges."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagevol_adapters.testing.strategies import CloneCase, clone_cases
from imagevol_core import GIB, Backend, Digest, Image, ImageLocation, Policy, Volume
from tests.core.cases import BOTH_POLICIES, GOOD, IMAGE_ID, URL, VOLUME_ID, image, says, settings, target, volume


def said(case: CloneCase, rule: str, policy: Policy = Policy.STRICT) -> tuple[bool, str]:
    """Whether this rule passed, and why."""
    (verdict,) = (verdict for verdict in case.decide(policy).verdicts if verdict.rule == rule)
    return verdict.ok, verdict.text


def on(here: str | None, there: str | None, *, across: bool = False) -> CloneCase:
    """The new volume here, the image volume there."""
    return replace(volume(host=there), target=target(host=here).target, backend=Backend(clone_across_pools=across))


def in_clusters(here: str | None, there: str | None, *, across: bool = False) -> CloneCase:
    """The same with clusters, the hosts differing."""
    case = on("node@fast#one", "other@fast#one", across=across)
    return replace(
        case,
        target=replace(case.target, cluster_name=here),
        volumes=(replace(case.volumes[0], cluster_name=there),),
    )


def signed(**says: str) -> CloneCase:
    """A signed image where signatures are enforced, and a volume that says this beside the rest."""
    case = settings(image(properties={"img_signature_key_type": "RSA-PSS"}), enforce_signatures=True)
    found = replace(case.volumes[0], metadata={**case.volumes[0].metadata, **says})
    return replace(case, volumes=(found,))


def cloned(case: CloneCase) -> CloneCase:
    """The same, whose volume Cinder has made of a user's, with that one's metadata."""
    return replace(case, volumes=(replace(case.volumes[0], source_volume_id="a user's"),))


RECORD = {"image_owner": "theirs", "glance_image_id": IMAGE_ID, "image_size": str(GIB)}
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def of_a_user(project_id: str | None, **metadata: str) -> CloneCase:
    """The image volume in a project of users, saying nothing else."""
    return volume(project_id=project_id, metadata=metadata)


class TestTheRequest:
    """About the image and the target."""

    @pytest.mark.parametrize(
        "case, rule, text",
        [
            (
                settings(GOOD, allowed_direct_url_schemes=()),
                "cinder-urls-allowed",
                "allowed_direct_url_schemes is empty",
            ),
            (image(status=None), "image-active", "the image's status is not known"),
            (image(disk_format=None), "image-raw", "the image's disk_format is not known"),
            (image(disk_format="RAW"), "image-raw", "the image's disk_format is RAW"),
            (image(container_format=None), "image-bare", "the image's container_format is not known"),
            (
                image(properties={"os_encrypt_key_id": "key"}),
                "image-not-encrypted",
                "the image has os_encrypt_key_id",
            ),
            (target(encrypted=True), "target-not-encrypted", "the new volume is encrypted"),
            (target(encrypted=None), "target-not-encrypted", "it is not known whether the new volume is encrypted"),
            (image(size_bytes=None), "image-fits", "the image's size is not known"),
            (
                image(locations=()),
                "has-cinder-location",
                "no location of the image is known; Glance may not show them to these credentials",
            ),
            (
                image(locations=(ImageLocation("file:///x"), ImageLocation("cinder://fast?token=hunter2"))),
                "has-cinder-location",
                (
                    "location file:///x: it does not begin with cinder://; "
                    "location cinder://fast?...: it has a query or a fragment"
                ),
            ),
        ],
    )
    def test_each_rule_about_the_request_stands_alone_in_the_way_and_says_why(
        self, case: CloneCase, rule: str, text: str
    ) -> None:
        assert said(case, rule) == (False, text)

    def test_an_empty_encryption_key_is_no_key(self) -> None:
        assert said(image(properties={"cinder_encryption_key_id": ""}), "image-not-encrypted")[0]

    def test_a_location_that_cannot_be_read_does_not_hide_another_one(self) -> None:
        case = image(locations=(ImageLocation("http://["), ImageLocation(URL)))
        assert said(case, "has-cinder-location") == (True, "its locations name 1 volume")
        assert said(case, "locations-are-urls", Policy.UPSTREAM) == (
            False,
            "Cinder fails with a ValueError: location http://[: it is not a URL",
        )


class TestVolumeAvailable:
    """`available`, or `in-use` and read-only."""

    @pytest.mark.parametrize(
        "status, readonly, passed",
        [
            *(("available", None, True), ("available", False, True), ("in-use", True, True)),
            *(("in-use", False, False), ("in-use", None, False), ("error", True, False), (None, True, False)),
        ],
    )
    def test_a_volume_is_cloned_if_it_is_available_or_in_use_and_readonly(
        self, status: str | None, readonly: bool | None, passed: bool
    ) -> None:
        assert said(volume(status=status, readonly=readonly), "volume-available")[0] is passed


class TestVolumeSameBackend:
    """Same cluster if the target has one, else same host and pool; where the backend clones across pools, same
    backend; never another backend."""

    @pytest.mark.parametrize(
        "case, passed",
        [
            (on("node@fast#one", "node@fast#one"), True),
            (on("node@fast#one", "node@fast#two"), False),
            (on("node@fast#one", "node@fast#two", across=True), True),
            (on("node@fast#one", "node@slow#one", across=True), False),
            (on("node@fast", "node@fast#one"), False),
            (on("node@fast", "node@fast#one", across=True), True),
            (on(None, None), False),
            (on(None, None, across=True), False),
            (on("node@fast#one", None, across=True), False),
            (on("", ""), False),
            (in_clusters("pair@fast#one", "pair@fast#one"), True),
            (in_clusters("pair@fast#one", "pair@fast#two"), False),
            (in_clusters("pair@fast#one", "pair@fast#two", across=True), True),
            (in_clusters("pair@fast#one", "twin@fast#one", across=True), False),
            (in_clusters("pair@fast#one", None), False),
            (in_clusters(None, "pair@fast#one"), False),  # then by host, and those differ
            (in_clusters("", ""), False),
        ],
    )
    def test_a_volume_is_cloned_where_the_new_one_will_be(self, case: CloneCase, passed: bool) -> None:
        assert said(case, "volume-same-backend")[0] is passed

    def test_cinder_asks_with_wild_letters_where_no_pool_is_named(self) -> None:
        assert said(on("n_de@fast", "node@fast#one"), "volume-same-backend", Policy.UPSTREAM)[0]
        assert said(on("node", "node@fast#one"), "volume-same-backend", Policy.UPSTREAM)[0]
        assert not said(on("n_de@fast#one", "node@fast#one"), "volume-same-backend", Policy.UPSTREAM)[0]

    @given(here=st.text(alphabet="ab_%@#", min_size=1, max_size=8), there=st.text(alphabet="ab_@#", max_size=8))
    @example(here="%a%a", there="aaba#")
    @example(here="%", there="#")
    @example(here="x%b%a@", there="xab@#")  # each piece after the one before
    @example(here="%ab%ab@", there="ab@#")
    @example(here="ab%ba@", there="aba@#")
    def test_cinder_finds_hosts_as_the_like_of_a_database_does(self, here: str, there: str) -> None:
        tails = [] if "#" in here else ["#%"] if "@" in here else ["#%", "@%"]
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("PRAGMA case_sensitive_like = ON")
            rows = [database.execute("SELECT ? LIKE ?", (there, f"{here}{tail}")).fetchone() for tail in tails]
        found = here == there or (1,) in rows
        assert said(on(here, there), "volume-same-backend", Policy.UPSTREAM)[0] is found

    def test_a_host_of_wild_letters_is_answered(self) -> None:
        """One with five `%` took 9 seconds, and this one would not end."""
        case = on("%a" * 100, "a" * 250)
        assert not said(case, "volume-same-backend", Policy.UPSTREAM)[0]

    def test_cinder_asks_nothing_across_pools_or_of_a_volume_without_a_host(self) -> None:
        assert said(on("a@fast#one", "b@slow#one", across=True), "volume-same-backend", Policy.UPSTREAM)[0]
        assert said(on(None, "node@fast#one"), "volume-same-backend", Policy.UPSTREAM)[0]
        assert said(in_clusters("pair@fast", "pair@fast#two"), "volume-same-backend", Policy.UPSTREAM)[0]


class TestVolumeOwner:
    """The image's owner and the volume's owner are the same and neither is unknown."""

    @pytest.mark.parametrize(
        "case, passed",
        [
            (GOOD, True),
            (says(image_owner="theirs"), False),
            (volume(metadata={}), False),  # a trusted project does not own what it keeps
            (of_a_user("ours"), True),
            (of_a_user("ours", image_owner="theirs"), True),  # whatever its metadata says
            (of_a_user("theirs", image_owner="ours"), False),  # OSSN-0065
            (of_a_user(None), False),
            (replace(of_a_user(None), image=image(owner=None).image), False),
            (replace(says(image_owner=""), image=image(owner="").image), False),
        ],
    )
    def test_the_owner_of_a_volume_is_taken_from_the_word_of_its_project_or_of_a_trusted_one(
        self, case: CloneCase, passed: bool
    ) -> None:
        assert said(case, "volume-owner")[0] is passed

    @pytest.mark.parametrize(
        "changed, passed",
        [
            ({}, True),
            ({"status": "in-use"}, True),
            ({"metadata": {"image_id": IMAGE_ID}}, True),
            ({"metadata": {"image_id": IMAGE_ID, "image_owner": ""}}, True),
            ({"metadata": RECORD | {"os_hash_algo": "sha512", "os_hash_value": "AB"}}, True),
            ({"metadata": RECORD | {"os_hash_algo": "sha256", "os_hash_value": "cd"}}, True),
            ({"created_at": NOON}, True),
            ({"created_at": NOON - timedelta(minutes=5)}, True),  # by another host's clock
            # Forged, or left behind:
            ({"project_id": "theirs"}, False),
            ({"project_id": None}, False),
            ({"readonly": False}, False),
            ({"readonly": None}, False),
            ({"source_volume_id": "a user's"}, False),
            ({"metadata": {}}, False),
            ({"metadata": {"image_owner": "theirs"}}, False),
            ({"metadata": RECORD | {"glance_image_id": "another"}}, False),
            ({"metadata": RECORD | {"image_id": "another"}}, False),
            ({"metadata": RECORD | {"image_size": "lots"}}, False),
            ({"metadata": RECORD | {"os_hash_algo": "sha512", "os_hash_value": "cd"}}, False),
            ({"created_at": NOON - timedelta(minutes=5, microseconds=1)}, False),
        ],
    )
    def test_a_record_that_no_user_can_write_serves_the_images_present_owner(
        self, changed: dict[str, Any], passed: bool
    ) -> None:
        changes: dict[str, Any] = {"readonly": True, "metadata": RECORD, **changed}
        case = replace(volume(**changes), image=image(created_at=NOON, digest=Digest("sha512", "ab")).image)
        assert said(case, "volume-owner")[0] is passed
        assert case.decide().eligible is passed

    @pytest.mark.parametrize("owner", [None, ""])
    def test_an_image_without_an_owner_is_served_by_no_record(self, owner: str | None) -> None:
        case = replace(volume(readonly=True, metadata=RECORD), image=image(owner=owner).image)
        assert not said(case, "volume-owner")[0]

    def test_the_verdict_on_the_owner_says_what_it_rests_on(self) -> None:
        begins = "the image belongs to ours and image_owner of this trusted project's volume is theirs; it"
        served = volume(readonly=True, metadata=RECORD)
        assert said(served, "volume-owner") == (
            True,
            (
                f"{begins} serves the image's present owner: "
                "it is read-only, was not cloned from another volume, and its record names this image"
            ),
        )
        doubted = volume(source_volume_id="a\n", metadata={"image_owner": "theirs", "image_id": "another"})
        assert said(doubted, "volume-owner") == (
            False,
            (
                f"{begins} does not serve another owner: it is not known whether it is read-only; "
                "users may have written its record, because it was cloned from volume a\\n; "
                "its record does not name this image"
            ),
        )

    @pytest.mark.parametrize(
        "changed, doubt",
        [
            ({"readonly": False}, "it is not read-only"),
            ({"readonly": None}, "it is not known whether it is read-only"),
            (
                {"metadata": RECORD | {"os_hash_algo": "sha512", "os_hash_value": "cd"}},
                "its record has another multihash than the image",
            ),
            ({"created_at": NOON - timedelta(days=1)}, "it is older than the image"),
        ],
    )
    def test_the_verdict_on_the_owner_says_each_doubt(self, changed: dict[str, Any], doubt: str) -> None:
        changes: dict[str, Any] = {"readonly": True, "metadata": RECORD, **changed}
        case = replace(volume(**changes), image=image(created_at=NOON, digest=Digest("sha512", "ab")).image)
        begins = "the image belongs to ours and image_owner of this trusted project's volume is theirs; it"
        assert said(case, "volume-owner") == (False, f"{begins} does not serve another owner: {doubt}")

    @given(clone_cases())
    def test_a_source_is_of_the_images_owner_or_its_record_is_the_stores_own(self, case: CloneCase) -> None:
        trusted = case.settings.trusted_projects
        for source in case.decide().sources:
            owner = source.metadata.get("image_owner") if source.project_id in trusted else source.project_id
            if owner != case.image.owner:
                assert source.project_id in trusted
                assert (source.readonly, source.source_volume_id) == (True, None)
                assert case.image.id in (source.metadata.get("image_id"), source.metadata.get("glance_image_id"))

    def test_cinder_believes_the_new_volume_or_anybodys_metadata(self) -> None:
        for case in (of_a_user("theirs"), replace(of_a_user("theirs", image_owner="ours"), target=target().target)):
            assert said(case, "volume-owner", Policy.UPSTREAM)[0]
        unknown = replace(of_a_user("theirs"), image=image(owner=None).image, target=target(project_id="ours").target)
        assert said(unknown, "volume-owner", Policy.UPSTREAM)[0]  # None is None


class TestVolumeIsThisImage:
    """`glance_image_id` (or `image_id`) names this image; it may be absent only outside the trusted projects."""

    @pytest.mark.parametrize(
        "case, passed",
        [
            (volume(metadata={"glance_image_id": IMAGE_ID}), True),
            (volume(metadata={"image_id": IMAGE_ID}), True),
            (volume(metadata={"image_id": "another"}), False),
            (volume(metadata={}), False),
            (of_a_user("ours"), True),
            (of_a_user("ours", image_id="another"), False),
            (of_a_user("ours", image_id=IMAGE_ID, glance_image_id="another"), False),
        ],
    )
    def test_a_volume_holds_the_image_that_its_metadata_names(self, case: CloneCase, passed: bool) -> None:
        assert said(case, "volume-is-this-image")[0] is passed


class TestVolumeHoldsImage:
    """It has room for the image, and the size it records, if any, is the image's."""

    @pytest.mark.parametrize(
        "case, passed",
        [
            (GOOD, True),
            (of_a_user("ours"), True),
            (says(image_size=str(GIB - 1)), False),
            (says(image_size="lots"), False),
            (replace(volume(size_gib=1), image=image(size_bytes=GIB + 1).image), False),
            (image(size_bytes=None), False),  # it records one
        ],
    )
    def test_a_volume_holds_the_image_if_its_size_and_its_record_fit(self, case: CloneCase, passed: bool) -> None:
        assert said(case, "volume-holds-image")[0] is passed


class TestOtherRules:
    """`volume-not-encrypted`, `volume-settled`, `volume-fits`."""

    @pytest.mark.parametrize("encrypted, passed", [(False, True), (True, False), (None, False)])
    def test_a_volume_is_known_not_to_be_encrypted(self, encrypted: bool | None, passed: bool) -> None:
        assert said(volume(encrypted=encrypted), "volume-not-encrypted")[0] is passed

    def test_an_encrypted_volume_is_said_to_be(self) -> None:
        assert said(volume(encrypted=True), "volume-not-encrypted")[1] == "it is encrypted"

    @pytest.mark.parametrize(
        "status, passed",
        [
            *((None, True), ("", True), ("none", True), ("success", True), ("error", True)),
            *(("starting", False), ("migrating", False), ("completing", False), ("target:7ad3", False)),
        ],
    )
    def test_a_volume_is_not_migrating(self, status: str | None, passed: bool) -> None:
        assert said(volume(migration_status=status), "volume-settled")[0] is passed

    @pytest.mark.parametrize("size_gib, passed", [(1, True), (2, True), (3, False)])
    def test_a_volume_is_not_larger_than_the_new_one(self, size_gib: int, passed: bool) -> None:
        assert said(volume(size_gib=size_gib), "volume-fits")[0] is passed


class TestSignatureSatisfied:
    """A signed image, where signatures are enforced, is cloned only from a volume recorded as verified."""

    @pytest.mark.parametrize(
        "case, passed",
        [
            (GOOD, True),
            (settings(GOOD, enforce_signatures=True), True),  # not signed
            (image(properties={"img_signature": "c2ln"}), True),  # not enforced
            (signed(), False),
            (signed(signature_verified="False"), False),
            (signed(signature_verified="True"), True),
            (signed(signature_verified="perhaps"), False),
            (settings(signed(signature_verified="True"), trusted_projects=frozenset()), False),
            (cloned(signed(signature_verified="True")), False),
        ],
    )
    def test_a_signed_image_is_cloned_if_a_trusted_record_says_that_it_was_verified(
        self, case: CloneCase, passed: bool
    ) -> None:
        assert said(case, "signature-satisfied")[0] is passed


words = st.none() | st.text(max_size=9)


class TestWhatIsSaid:
    """The facts that decided, in a sentence: also where nothing stands in the way."""

    def test_each_rule_that_holds_says_what_it_saw(self) -> None:
        assert [str(verdict) for verdict in GOOD.decide(Policy.STRICT).verdicts] == [
            "holds cinder-urls-allowed: allowed_direct_url_schemes is cinder",
            "holds image-active: the image's status is active",
            "holds image-raw: the image's disk_format is raw",
            "holds image-bare: the image's container_format is bare",
            "holds image-not-encrypted: the image has no encryption key",
            "holds target-not-encrypted: the new volume is not encrypted",
            "holds image-fits: the image needs 1 GiB (size 1073741824 bytes) and the volume has 2 GiB",
            "holds has-cinder-location: its locations name 1 volume",
            f"holds volume-found ({VOLUME_ID}): Cinder knows it",
            f"holds volume-available ({VOLUME_ID}): its status is available",
            f"holds volume-same-backend ({VOLUME_ID}): it is on node@fast#one and the new volume on node@fast#one",
            (
                f"holds volume-owner ({VOLUME_ID}): the image belongs to ours and image_owner of this trusted "
                "project's volume is ours"
            ),
            f"holds volume-is-this-image ({VOLUME_ID}): it was written as image {IMAGE_ID}; this is image {IMAGE_ID}",
            f"holds volume-not-encrypted ({VOLUME_ID}): it is not encrypted",
            f"holds volume-settled ({VOLUME_ID}): its migration status is none",
            f"holds volume-fits ({VOLUME_ID}): it has 1 GiB and the new volume 2 GiB",
            f"holds volume-holds-image ({VOLUME_ID}): it records 1073741824 bytes and the image has 1073741824",
            f"holds signature-satisfied ({VOLUME_ID}): signatures are not enforced",
        ]

    def test_each_rule_of_cinder_that_holds_says_what_it_saw(self) -> None:
        assert [str(verdict) for verdict in GOOD.decide(Policy.UPSTREAM).verdicts] == [
            "holds image-active: the image's status is active",
            "holds image-fits: Cinder counts 1 GiB for the image and the volume has 2 GiB",
            "holds cinder-urls-allowed: allowed_direct_url_schemes is cinder",
            "holds target-not-encrypted: the new volume is not encrypted",
            "holds image-bare: the image's container_format is bare",
            "holds image-raw: the image's disk_format is raw",
            "holds locations-are-urls: Cinder can read each location",
            "holds has-cinder-location: its locations name 1 volume",
            f"holds volume-found ({VOLUME_ID}): Cinder knows it",
            (
                f"holds volume-same-backend ({VOLUME_ID}): it is on node@fast#one and Cinder asks its database for "
                "node@fast#one"
            ),
            (
                f"holds volume-owner ({VOLUME_ID}): the image belongs to ours, the new volume to ours; image_owner is "
                "ours"
            ),
        ]

    @pytest.mark.parametrize(
        "case, rule, passed, text",
        [
            (
                settings(GOOD, allowed_direct_url_schemes=("file", "cinder")),
                "cinder-urls-allowed",
                True,
                "allowed_direct_url_schemes is file, cinder",
            ),
            (
                image(locations=(ImageLocation(URL), ImageLocation(f"cinder://{IMAGE_ID}"))),
                "has-cinder-location",
                True,
                "its locations name 2 volumes",
            ),
            (
                replace(GOOD, volumes=()),
                "volume-found",
                False,
                "Cinder knows no such volume, or does not show it to these credentials",
            ),
            (
                volume(status="in-use", readonly=True),
                "volume-available",
                True,
                "it is in-use; it is read-only",
            ),
            (
                volume(status="in-use", readonly=None),
                "volume-available",
                False,
                "it is in-use; it is not known whether it is read-only",
            ),
            (volume(status=None), "volume-available", False, "its status is not known"),
            (
                on("node@fast#one", None),
                "volume-same-backend",
                False,
                "it is not known where it is: Cinder shows that to administrators",
            ),
            (
                on(None, "node@fast#one"),
                "volume-same-backend",
                False,
                "it is not known where the new volume will be",
            ),
            (
                on("node@fast#one", "node@fast#two", across=True),
                "volume-same-backend",
                True,
                "it is on node@fast#two and the new volume on node@fast#one; the backend clones across its pools",
            ),
            (
                in_clusters("pair@fast#one", "twin@fast#one"),
                "volume-same-backend",
                False,
                "it is on twin@fast#one and the new volume on pair@fast#one",
            ),
            (
                of_a_user("theirs"),
                "volume-owner",
                False,
                "the image belongs to ours and the volume to theirs, which is not a trusted project",
            ),
            (
                says(image_size="lots"),
                "volume-is-this-image",
                False,
                "volume metadata image_size='lots': it is not a number of bytes",
            ),
            (
                says(image_size="lots"),
                "volume-holds-image",
                False,
                "volume metadata image_size='lots': it is not a number of bytes",
            ),
            (
                volume(metadata={}),
                "volume-is-this-image",
                False,
                "it names no image, in a trusted project, where it must",
            ),
            (
                of_a_user("ours"),
                "volume-is-this-image",
                True,
                "it names no image, in a project of users, where it need not",
            ),
            (volume(migration_status="migrating"), "volume-settled", False, "its migration status is migrating"),
            (
                image(size_bytes=GIB + 1),
                "volume-holds-image",
                False,
                "it has 1 GiB, too little for the image's 1073741825 bytes",
            ),
            (volume(metadata={}), "volume-holds-image", True, "it records no size"),
            (
                settings(GOOD, enforce_signatures=True),
                "signature-satisfied",
                True,
                "the image is not signed",
            ),
            (
                signed(),
                "signature-satisfied",
                False,
                "the image is signed, and no trusted record says that this volume was verified",
            ),
            (
                signed(signature_verified="True"),
                "signature-satisfied",
                True,
                "the image is signed, and a trusted record says that this volume was verified",
            ),
            (image(status="f\u00e4st"), "image-active", False, "the image's status is f\u00e4st"),
            (image(status="act\x1bive"), "image-active", False, "the image's status is act\\x1bive"),
        ],
    )
    def test_each_rule_that_fails_says_what_decided(self, case: CloneCase, rule: str, passed: bool, text: str) -> None:
        assert said(case, rule) == (passed, text)

    @pytest.mark.parametrize(
        "case, rule, passed, text",
        [
            (
                target(encrypted=None),
                "target-not-encrypted",
                True,
                "it is not known whether the new volume is encrypted",
            ),
            (target(encrypted=True), "target-not-encrypted", False, "the new volume is encrypted"),
            (
                on("a@fast#one", "b@slow#one", across=True),
                "volume-same-backend",
                True,
                "Cinder looks at no host at all where the backend clones across pools",
            ),
            (
                on(None, "node@fast#one"),
                "volume-same-backend",
                True,
                "Cinder looks at no host where the new volume has none",
            ),
            (
                on("node@fast", None),
                "volume-same-backend",
                False,
                "it is not known where it is, and Cinder asks its database for node@fast",
            ),
            (
                replace(of_a_user("x"), target=target(project_id="theirs").target),
                "volume-owner",
                False,
                "the image belongs to ours, the new volume to theirs; image_owner is not known",
            ),
        ],
    )
    def test_each_rule_of_cinder_that_fails_says_what_decided(
        self, case: CloneCase, rule: str, passed: bool, text: str
    ) -> None:
        assert said(case, rule, Policy.UPSTREAM) == (passed, text)

    @pytest.mark.parametrize(
        "here, there, passed",
        [
            *(
                ("node", "node", True),
                ("node", "node#one", True),
                ("node", "node@fast", True),
                ("node", "nodes", False),
            ),
            *(("node@fast", "node@fast", True), ("node@fast", "node@fast@x", False), ("n%@fast", "node@fast#1", True)),
            *(("n%@fast", "node@slow#1", False), ("n.de@fast", "node@fast#1", False), ("node@fast", "x@fast#1", False)),
            *(("node@fast", "node@fast#\n", True), ("n%#one", "node#one", False), ("node#one", "node#one@x", False)),
        ],
    )
    def test_cinder_asks_exactly_or_for_what_begins_so(self, here: str, there: str, passed: bool) -> None:
        assert said(on(here, there), "volume-same-backend", Policy.UPSTREAM)[0] is passed

    @pytest.mark.parametrize(
        "key",
        ["img_signature", "img_signature_hash_method", "img_signature_key_type", "img_signature_certificate_uuid"],
    )
    def test_any_key_of_a_signature_makes_an_image_signed(self, key: str) -> None:
        case = settings(image(properties={key: "x"}), enforce_signatures=True)
        assert not said(case, "signature-satisfied")[0]

    @pytest.mark.parametrize("key", ["cinder_encryption_key_id", "os_encrypt_key_id"])
    def test_either_key_makes_an_image_encrypted(self, key: str) -> None:
        assert said(image(properties={key: "7ad3"}), "image-not-encrypted") == (False, f"the image has {key}")


class TestSentences:
    """A verdict is one printable line, whatever users wrote into the facts."""

    @given(clone_cases(), st.lists(words, min_size=8, max_size=8), st.sampled_from(BOTH_POLICIES))
    def test_no_fact_of_a_request_breaks_the_line_or_reaches_the_terminal(
        self, case: CloneCase, words: list[str | None], policy: Policy
    ) -> None:
        status, owner, disk_format, container_format, host, migration_status, holder, other = words
        hostile_image: Image = replace(
            case.image,
            id=other or "i",
            status=status,
            owner=owner,
            disk_format=disk_format,
            container_format=container_format,
        )

        def hostile(volume: Volume) -> Volume:
            metadata = dict.fromkeys(volume.metadata, other or "") | {"image_owner": holder or ""}
            return replace(volume, host=host, status=status, migration_status=migration_status, metadata=metadata)

        case = replace(
            case,
            image=hostile_image,
            target=replace(case.target, host=owner, project_id=holder),
            volumes=tuple(map(hostile, case.volumes)),
            settings=replace(case.settings, allowed_direct_url_schemes=(other or "",)),
        )
        assert [str(verdict) for verdict in case.decide(policy).verdicts if not str(verdict).isprintable()] == []
