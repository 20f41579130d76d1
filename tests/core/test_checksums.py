"""Which digest a file must have: by what a person gives, and by the lists that are published beside images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import Digest, InvalidFact, checksum_for, parse_digest

ONE, OTHER = "1a" * 32, "2b" * 32
LONG = "3c" * 64

SIGNED = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# disk.img: 1234 bytes
SHA256 (disk.img) = {ONE}
SHA256 (other.img) = {OTHER}
-----BEGIN PGP SIGNATURE-----

iQIzBAEBCAAdFiEE
-----END PGP SIGNATURE-----
"""

NO_LINE = "it has no line such as `sha256sum` writes"


def names(files: str) -> str:
    """A list with a line for each of these files."""
    return "".join(f"{ONE}  {name}\n" for name in files)


@pytest.mark.parametrize(
    "text, name, expected",
    [
        (f"{ONE}  disk.img\n", "disk.img", Digest("sha256", ONE)),
        (f"{ONE} *disk.img\r\n{OTHER} *other.img\r\n", "other.img", Digest("sha256", OTHER)),
        (f"{ONE}  ./images/disk.img\n{OTHER}  other.img", "disk.img", Digest("sha256", ONE)),
        (f"{ONE.upper()}  disk with  spaces.img", "disk with  spaces.img", Digest("sha256", ONE)),
        (f"\\{ONE}  a\\nb\\\\c\\rd", "a\nb\\c\rd", Digest("sha256", ONE)),
        (f"{ONE}  a\\nb", "a\\nb", Digest("sha256", ONE)),
        (f"{ONE}\n", "disk.img", Digest("sha256", ONE)),
        (f"{ONE}\n", None, Digest("sha256", ONE)),
        (f"{ONE}  disk.img\n", None, Digest("sha256", ONE)),
        (f"{ONE}  disk.img\n{LONG}  disk.img\n", "disk.img", Digest("sha512", LONG)),
        (f"{ONE}  disk.img\n{ONE}  disk.img\n", "disk.img", Digest("sha256", ONE)),
        ("ab" * 16 + "  disk.img", "disk.img", Digest("md5", "ab" * 16)),
        (f"SHA256 (disk (1).img) = {ONE}", "disk (1).img", Digest("sha256", ONE)),
        (SIGNED, "other.img", Digest("sha256", OTHER)),
        # What gives no digest of a known length ends nothing.
        (f"BLAKE2B (disk.img) = {LONG}\n{ONE}  disk.img", "disk.img", Digest("sha256", ONE)),
        (f"{ONE[:-1]}  disk.img\n{ONE}  disk.img", "disk.img", Digest("sha256", ONE)),
    ],
)
def test_a_list_gives_the_digest_of_the_file(text: str, name: str | None, expected: Digest) -> None:
    assert checksum_for(text, name) == expected


@pytest.mark.parametrize(
    "text, name, says",
    [
        ("", "disk.img", NO_LINE),
        ("a page of HTML", "disk.img", NO_LINE),
        (f"{ONE[:-1]}  disk.img", "disk.img", NO_LINE),  # of no known length
        (f"BLAKE2B (disk.img) = {LONG}", "disk.img", NO_LINE),
        (f"SHA256 (disk.img) = {LONG}", "disk.img", NO_LINE),
        (f"{ONE}  a\n{ONE}  b", None, "it names 2 files; give --digest, because the input has no name"),
        (f"{ONE}  other.img", "disk.img", "it does not name 'disk.img'; it names 'other.img'"),
        (names("abcde"), "disk.img", "it does not name 'disk.img'; it names 'a', 'b', 'c', 'd', 'e'"),
        (names("abcdefg"), "disk.img", "it does not name 'disk.img'; it names 'a', 'b', 'c', 'd', 'e' and 2 more"),
        (f"{ONE}  a/disk.img\n{OTHER}  b/disk.img", "disk.img", "it gives 2 different digests of 'disk.img'"),
    ],
)
def test_a_list_without_a_digest_of_the_file_is_refused_with_the_reason(text: str, name: str | None, says: str) -> None:
    with pytest.raises(InvalidFact) as caught:
        checksum_for(text, name)
    assert str(caught.value) == f"checksum file: {says}"


@given(st.text(max_size=300), st.none() | st.text(min_size=1, max_size=20))
def test_any_text_gives_a_digest_or_an_error(text: str, name: str | None) -> None:
    try:
        answer = str(checksum_for(text, name))
    except InvalidFact as error:
        answer = str(error)
    assert answer.isprintable()


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"sha256:{ONE}", Digest("sha256", ONE)),
        (f"SHA256: {ONE.upper()}", Digest("sha256", ONE)),
        ("blake2b:12", Digest("blake2b", "12")),  # of which hashlib knows the length
    ],
)
def test_a_digest_is_an_algorithm_and_a_value(text: str, expected: Digest) -> None:
    assert parse_digest(text) == expected


@pytest.mark.parametrize(
    "text, says",
    [
        (ONE, f"digest: {ONE} is not ALGORITHM:VALUE, such as sha256:00000000…"),
        ("sha256:12", "digest: a sha256 has 64 digits, and this one has 2"),
        ("sha256:", "Digest.value: '' is not hexadecimal"),
        (f"sha256:{ONE}:{ONE}", f"Digest.value: '{ONE}:{ONE}' is not hexadecimal"),
        (":12", "Digest.algorithm: is empty: name the algorithm, such as sha512"),
        ("red\x1b", "digest: red\\x1b is not ALGORITHM:VALUE, such as sha256:00000000…"),
    ],
)
def test_a_text_that_is_no_digest_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidFact) as caught:
        parse_digest(text)
    assert str(caught.value) == says
