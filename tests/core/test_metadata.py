"""The metadata of an image volume: written, read, and read where others wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing import strategies
from imagevol_core import Digest, ImageVolumeMetadata, InvalidMetadata, UnreadMetadata, read_metadata

KEYS = (
    *("image_id", "glance_image_id", "image_owner", "image_size", "os_hash_algo", "os_hash_value", "checksum"),
    *("signature_verified", "imagevol_blake3"),
)


class TestRoundTrip:
    """What was written is read again."""

    @given(strategies.image_volume_metadata(), st.dictionaries(st.text(), st.text()))
    def test_a_record_is_read_whatever_other_metadata_the_volume_has(
        self, metadata: ImageVolumeMetadata, others: dict[str, str]
    ) -> None:
        beside = {key: value for key, value in others.items() if key not in KEYS}
        written = {**beside, **metadata.to_volume()}
        assert ImageVolumeMetadata.from_volume(written) == read_metadata(written) == metadata

    @given(strategies.image_volume_metadata())
    def test_no_key_is_written_for_a_value_that_is_not_known(self, metadata: ImageVolumeMetadata) -> None:
        written = metadata.to_volume()
        assert set(written) <= set(KEYS)
        assert all(type(value) is str for value in written.values())
        assert ("image_size" in written) is (metadata.size_bytes is not None)
        assert ImageVolumeMetadata().to_volume() == {}

    def test_a_record_is_written_under_the_names_that_the_services_use(self) -> None:
        metadata = ImageVolumeMetadata(
            image_id="i",
            image_owner="p",
            size_bytes=0,
            digest=Digest("sha512", "0f"),
            checksum="aa",
            signature_verified=False,
            blake3=Digest("blake3", "0b" * 32),
        )
        assert metadata.to_volume() == {
            "glance_image_id": "i",
            "image_id": "i",
            "image_owner": "p",
            "image_size": "0",
            "os_hash_algo": "sha512",
            "os_hash_value": "0f",
            "checksum": "aa",
            "signature_verified": "False",
            "imagevol_blake3": "0b" * 32,
        }


class TestOthers:
    """glance_store and Cinder write `glance_image_id` instead of `image_id`, and Cinder no size."""

    def test_a_record_that_glance_store_writes_is_read(self) -> None:
        written = {"glance_image_id": "i", "image_size": "17", "image_owner": "p", "name": "x"}
        assert ImageVolumeMetadata.from_volume(written) == ImageVolumeMetadata(
            image_id="i", image_owner="p", size_bytes=17
        )

    def test_a_record_that_cinder_writes_is_read(self) -> None:
        written = {"image_owner": "p", "glance_image_id": "i"}
        assert ImageVolumeMetadata.from_volume(written) == ImageVolumeMetadata(image_id="i", image_owner="p")

    def test_a_record_as_the_specification_writes_it_is_read(self) -> None:
        assert ImageVolumeMetadata.from_volume({"image_id": "i"}) == ImageVolumeMetadata(image_id="i")

    def test_half_of_a_digest_is_no_digest(self) -> None:
        assert ImageVolumeMetadata.from_volume({"os_hash_algo": "sha512"}).digest is None
        assert ImageVolumeMetadata.from_volume({"os_hash_value": "0f"}).digest is None


class TestHostility:
    """Metadata that contradict themselves, or cannot be what their key says, raise InvalidMetadata and nothing else."""

    @given(st.dictionaries(st.sampled_from(KEYS), st.text() | st.sampled_from(["True", "7", "sha512", "-0", "1e3"])))
    def test_any_metadata_is_read_or_refused_in_one_printable_line(self, metadata: dict[str, str]) -> None:
        refused = None
        try:
            ImageVolumeMetadata.from_volume(metadata)
        except InvalidMetadata as error:
            refused = error
        assert refused is None or str(refused).isprintable()

    @pytest.mark.parametrize(
        "metadata, key, value, reason",
        [
            ({"image_id": "a", "glance_image_id": "b"}, "image_id", "a", "glance_image_id names another image, 'b'"),
            *(
                ({"image_size": size}, "image_size", size[:40], "it is not a number of bytes")
                for size in ("", "-1", "1.0", " 1", "1_0", "\u0661", "\u00b2", "0x10", "9" * 21, "9" * 5000)
            ),
            ({"os_hash_algo": "sha512", "os_hash_value": "g"}, "os_hash_value", "g", "'g' is not hexadecimal"),
            (
                {"os_hash_algo": "", "os_hash_value": "0f"},
                "os_hash_value",
                "0f",
                "is empty: name the algorithm, such as sha512",
            ),
            ({"imagevol_blake3": "0b"}, "imagevol_blake3", "0b", "a BLAKE3 has 64 digits"),
            ({"imagevol_blake3": "0b" * 99}, "imagevol_blake3", "0b" * 32, "a BLAKE3 has 64 digits"),
            ({"imagevol_blake3": "g" * 64}, "imagevol_blake3", "g" * 64, f"'{'g' * 64}' is not hexadecimal"),
            ({"signature_verified": "yes"}, "signature_verified", "yes", "it is neither True nor False"),
        ],
    )
    def test_the_error_names_the_key_that_makes_no_sense(
        self, metadata: dict[str, str], key: str, value: str, reason: str
    ) -> None:
        with pytest.raises(InvalidMetadata) as caught:
            ImageVolumeMetadata.from_volume(metadata)
        assert (caught.value.key, caught.value.value, caught.value.reason) == (key, value, reason)
        assert read_metadata(metadata) == UnreadMetadata(str(caught.value))
        assert str(read_metadata(metadata)) == str(caught.value)

    def test_a_number_of_bytes_has_at_most_twenty_digits(self) -> None:
        assert ImageVolumeMetadata.from_volume({"image_size": "9" * 20}).size_bytes == 10**20 - 1
