"""Hypothesis strategies for the facts of the core, and for what an attacker would make of them.

Draw single facts to test code that takes facts.  `clone_cases` draws all the facts of one decision, such that they have
to do with each other: most of them are in order, so that about one case in three may be cloned and the others fail for
one reason or a few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from imagevol_adapters.testing.dice import Dice
from imagevol_core import (
    GIB,
    Backend,
    CinderLocation,
    CloneDecision,
    CloneSettings,
    Digest,
    Image,
    ImageLocation,
    ImageVolumeMetadata,
    Policy,
    Volume,
    decide_clone,
    is_store_name,
)

__all__ = [
    "CloneCase",
    "cinder_locations",
    "clone_cases",
    "digests",
    "image_volume_metadata",
    "location_texts",
    "sizes_bytes",
    "store_names",
    "uuids",
]

_HEX = "0123456789abcdef"
_STORE_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"


def uuids() -> SearchStrategy[str]:
    """Canonical UUIDs."""
    return st.uuids().map(str)


def store_names() -> SearchStrategy[str]:
    """Names that a store may have."""
    return st.text(_STORE_LETTERS, min_size=1, max_size=64).filter(is_store_name)


def cinder_locations() -> SearchStrategy[CinderLocation]:
    """Locations of today's form and of the single-store days."""
    return st.builds(CinderLocation, store=st.none() | store_names(), volume_id=uuids())


def sizes_bytes(*, largest: int = 1 << 70) -> SearchStrategy[int]:
    """Sizes anywhere, and close to a whole number of GiB or to where a float loses the last byte."""
    near = st.sampled_from([*(n * GIB for n in range(5)), 100 * GIB, 1 << 53, 1 << 60, 1 << 63])
    edges = st.builds(lambda size, offset: max(0, size + offset), near, st.integers(-2, 2))
    return edges.filter(lambda size: size <= largest) | st.integers(0, largest)


def digests() -> SearchStrategy[Digest]:
    """Digests as Glance keeps them, in either case."""
    return st.builds(
        Digest,
        algorithm=st.sampled_from(["md5", "sha256", "sha512", "SHA512"]),
        value=st.text(_HEX + "ABCDEF", min_size=1, max_size=128),
    )


def image_volume_metadata() -> SearchStrategy[ImageVolumeMetadata]:
    """What an image volume may say of its image."""
    return st.builds(
        ImageVolumeMetadata,
        image_id=st.none() | uuids(),
        image_owner=st.none() | st.text(_HEX, min_size=32, max_size=32),
        size_bytes=st.none() | sizes_bytes(largest=(1 << 64) - 1),
        digest=st.none() | digests(),
        checksum=st.none() | st.text(_HEX, min_size=32, max_size=32),
        signature_verified=st.none() | st.booleans(),
        blake3=st.none() | st.builds(Digest, st.just("blake3"), st.text(_HEX, min_size=64, max_size=64)),
    )


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    lambda uuid: uuid.replace("-", ""),
    lambda uuid: f"{{{uuid}}}",
    lambda uuid: f"urn:uuid:{uuid}",
    lambda uuid: f"{uuid[:4]}-{uuid[4:].replace('-', '')}",  # hyphens where none belong
    lambda uuid: uuid.replace("0", "\N{ARABIC-INDIC DIGIT ZERO}").replace("1", "\N{FULLWIDTH DIGIT ONE}"),
    lambda uuid: uuid.replace("-", "_"),
    lambda uuid: f"{uuid[:8]}%2d{uuid[9:]}",
    lambda uuid: uuid[:-1],
    lambda uuid: f"{uuid}0",
    lambda _: "",
)
_SCHEMES = (
    *("cinder", "Cinder", "CINDER", " cinder", "\ncinder", "cin\tder", "\x00cinder", "\x85cinder"),
    *("cinder+x", "user:secret", "http", "rbd", ""),
)
_SEPARATORS = ("://", ":", ":/", ":///", "//", "")
_AUTHORITIES = (
    *("", "fast", "os_glance_staging_store", "user:pass@word@fast", "fast:8776", "a b", "f%61st", "f\nast", "x" * 65),
    *("[", "]", "[::1]", "[fast", "fast]", "?", "#", "@", "\N{ACCOUNT OF}", "\N{LATIN SMALL LIGATURE FI}"),
)
_SLASHES = ("", "/", "//", "/other/", "/./", "\\", "/\N{DIVISION SLASH}", "/;", " /")
_TAILS = (
    *("", "/", "//", "/x", "?", "?token=secret", "?a/b", "#", "#part", "#a/b", "?a#b", ";v=1", "%0a", "\\"),
    *(" ", "\n", "\r\n", "\t", "\x00", "\x1b[2J", "\x85"),
    *("\N{NO-BREAK SPACE}", "\N{LINE SEPARATOR}", "\N{RIGHT-TO-LEFT OVERRIDE}"),
)


@st.composite
def location_texts(draw: DrawFn, volume_ids: SearchStrategy[str] | None = None) -> str:
    """Text where a location is expected: a good one, one with a flaw, or anything at all.

    Args:
        draw: Hypothesis gives it.
        volume_ids: the volumes that the locations are about.
    """
    volume_id = draw(uuids() if volume_ids is None else volume_ids)
    kind = draw(st.sampled_from(["good", "one flaw", "flaws", "one character", "text"]))
    if kind == "text":
        return draw(st.text(max_size=60))
    if kind == "one character":
        text, at = f"cinder://fast/{volume_id}", draw(st.integers(0, 50))
        return text[:at] + draw(st.characters()) + text[at + draw(st.integers(0, 1)) :]
    parts: list[tuple[Any, ...]] = [_SCHEMES, _SEPARATORS, _AUTHORITIES, _SLASHES, _SPELLINGS, _TAILS]
    usual: list[Any] = ["cinder", "://", *draw(st.sampled_from([("fast", "/"), ("", "")])), str, ""]
    flawed = {"good": set(), "one flaw": {draw(st.integers(0, 5))}, "flaws": set(range(6))}[kind]
    chosen = [draw(st.sampled_from(part)) if at in flawed else usual[at] for at, part in enumerate(parts)]
    scheme, separator, authority, slash, spelling, tail = chosen
    return f"{scheme}{separator}{authority}{slash}{spelling(volume_id)}{tail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneCase:
    """All the facts of one decision whether to clone.

    Args:
        image: with its locations.
        target: the volume to be made.
        volumes: those that exist.
        backend: what it can do.
        settings: what the operator allows.
    """

    image: Image
    target: Volume
    volumes: tuple[Volume, ...]
    backend: Backend
    settings: CloneSettings

    def decide(self, policy: Policy = Policy.STRICT) -> CloneDecision:
        """Ask the core."""
        return decide_clone(
            self.image,
            target=self.target,
            volumes=self.volumes,
            backend=self.backend,
            settings=self.settings,
            policy=policy,
        )


_IMAGE_ID, _OTHER_IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47", "0d9c1e52-3f7b-4b6a-8e15-7a2c9b4d6e80"
_VOLUME_IDS = (
    "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1",
    "c3d0f2a9-1b7e-4f58-b6c4-0e9d8a7f6b52",
    "2e8f4b6d-5a1c-4d9e-8f03-b7c6a5d4e3f2",
    "71c5d8e2-0f9a-4b3d-9e6c-4a2b8d7f1e05",
)
_HERE = "node@fast#one"
_HOSTS = (
    *(None, "", "node@fast#two", "node@fast", "node", "node@slow#one", "other@fast#one", "NODE@fast#one"),
    *("n_de@fast", "node@f%", "node@fast#one#x", "node@faster#one", "n", "node@f(ast"),
)
_NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
_TIMES = (None, _NOON, _NOON + timedelta(microseconds=1), _NOON.astimezone(timezone(timedelta(hours=5))))
_CREATED, _MAYBE = st.sampled_from(_TIMES), st.booleans()
_SIGNED = {"img_signature": "c2ln", "img_signature_hash_method": "SHA-256"}


@st.composite
def clone_cases(draw: DrawFn) -> CloneCase:
    """Decisions whether to clone, on a cloud of four volumes, a few hosts and three projects.

    Args:
        draw: Hypothesis gives it.
    """
    dice = Dice(draw)
    target = Volume(
        id="e5b7a9c1-2d4f-4863-95a7-1c3e5f7a9b0d",
        project_id=dice.mostly("ours", "theirs", "stores", None),
        host=dice.mostly(_HERE, *_HOSTS),
        cluster_name=dice.mostly(None, _HERE, "", "node@fast", "n_de@fast"),
        size_gib=dice.mostly(2, 1, 3, 8),
        encrypted=dice.mostly(False, True, None),
    )
    image = _clone_image(draw, dice)
    volumes = [_image_volume(draw, dice, volume_id, image) for volume_id in _VOLUME_IDS]
    settings = CloneSettings(
        allowed_direct_url_schemes=dice.mostly(("cinder",), (), ("file", "cinder"), ("CINDER",), ("file",)),
        trusted_projects=dice.mostly(frozenset({"stores"}), frozenset(), frozenset({"stores", "theirs"})),
        enforce_signatures=dice.mostly(False, True),
    )
    return CloneCase(
        image=image,
        target=target,
        volumes=tuple(volume for volume in volumes if dice.mostly(True, False)),
        backend=Backend(clone_across_pools=draw(st.booleans())),
        settings=settings,
    )


_NAMED = st.sampled_from(_VOLUME_IDS[:3])
_URLS = st.lists(
    st.one_of(_NAMED.map("cinder://fast/{}".format), _NAMED.map("cinder://{}".format), location_texts(_NAMED)),
    max_size=4,
)


def _clone_image(draw: DrawFn, dice: Dice) -> Image:
    return Image(
        id=_IMAGE_ID,
        status=dice.mostly("active", "queued", None),
        owner=dice.mostly("ours", "theirs", "stores", None),
        disk_format=dice.mostly("raw", "qcow2", "RAW", None),
        container_format=dice.mostly("bare", "ovf", None),
        size_bytes=dice.mostly(GIB - 512, 0, GIB, GIB + 1, 3 * GIB, (1 << 53) + 1, None),
        virtual_size_bytes=dice.mostly(None, 0, GIB, 2 * GIB, 2 * GIB + 1, (1 << 53) + 1),
        min_disk_gib=dice.mostly(0, 1, 3, None),
        created_at=draw(_CREATED),
        digest=dice.mostly(None, Digest("sha512", "ab")),
        locations=tuple(ImageLocation(text) for text in draw(_URLS)),
        properties=dice.mostly({}, _SIGNED, {"cinder_encryption_key_id": "key"}, {"os_encrypt_key_id": "key"}),
    )


def _image_volume(draw: DrawFn, dice: Dice, volume_id: str, image: Image) -> Volume:
    """A volume of the image's owner that says nothing, or one of the stores' that says all; mostly."""
    in_store = draw(_MAYBE)
    metadata = {
        "image_id": dice.mostly(image.id, _OTHER_IMAGE_ID, None),
        "glance_image_id": dice.mostly(image.id, _OTHER_IMAGE_ID, None),
        "image_owner": dice.mostly(image.owner, "ours", "theirs", None, "\x1b[2J"),
        "image_size": dice.mostly(None, str(image.size_bytes), "1", "-1", "lots"),
        "os_hash_algo": dice.mostly("sha512", "sha256", None),
        "os_hash_value": dice.mostly("ab", "cd", None),
        "signature_verified": dice.mostly(None, "True", "False", "\n"),
    }
    said = {key: value for key, value in metadata.items() if value is not None}
    return Volume(
        id=volume_id,
        project_id=dice.mostly("stores" if in_store else image.owner, "ours", "theirs", "stores", None),
        host=dice.mostly(_HERE, *_HOSTS),
        cluster_name=dice.mostly(_HERE, None, "", "node@fast#two", "NODE@fast#one"),
        size_gib=dice.mostly(1, 2, 3, 0),
        status=dice.mostly("available", "in-use", "error", None),
        encrypted=dice.mostly(False, True, None),
        migration_status=dice.mostly(None, "", "none", "success", "error", "migrating", "target:x"),
        readonly=dice.mostly(True, False, None),
        source_volume_id=dice.mostly(None, "a user's"),
        metadata=said if in_store or dice.mostly(False, True) else {},
        created_at=draw(_CREATED),
    )
