"""What a `cinder://` URL names ([store], [multi]).

The grammar::

    location  = "cinder://" [ store "/" ] volume-id
    store     = 1*64( ALPHA / DIGIT / "_" / "." / "-" ), not beginning "os_glance_"
    volume-id = canonical lower-case hyphenated UUID

Cinder and glance_store each read more than that, and not the same (14 of 30 probes differ): what both would take for
the same volume is read here, and nothing else.  Each of theirs is a `Dialect`, for programs that must know what a
service would do with a URL that is already in its database.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from imagevol_core.errors import InvalidLocation
from imagevol_core.facts import Image
from imagevol_core.secret_text import shown_url

__all__ = [
    "CinderLocation",
    "Dialect",
    "UnreadLocation",
    "is_store_name",
    "named_volume_ids",
    "parse_location",
    "read_location",
]

_SCHEME = "cinder://"
_RESERVED = "os_glance_"  # Glance's own staging and tasks stores
_STORE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{32}")

NOT_A_URL = "it is not a URL"  # the reason of which Cinder does not pass over the location but fails


class Dialect(Enum):
    """Whose reading of a location is wanted.

    `STRICT` is the grammar of this module.  `CINDER` accepts what Cinder 29.0.0 accepts
    (`CreateVolumeFromSpecTask._extract_cinder_ids`), `GLANCE_STORE` what glance_store 5.7.0 does
    (`StoreLocation.parse_uri`); each gives the volume id that those would use, which need not be canonical.
    """

    STRICT = "strict"
    CINDER = "cinder"
    GLANCE_STORE = "glance_store"


@dataclass(frozen=True, slots=True, kw_only=True)
class CinderLocation:
    """The volume that a location names, and the store that it says the volume belongs to.

    Args:
        store: None in a location of the single-store days.  The services take the store from elsewhere, so under
            their dialects it is what the URL says where that is a store's name, and otherwise None.
        volume_id: a canonical UUID under `STRICT`; as written under the others.
        dialect: whose grammar the parts are held to.

    Raises:
        InvalidLocation: the parts do not make a location.

    >>> str(CinderLocation(store="fast", volume_id="9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"))
    'cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'
    """

    store: str | None = None
    volume_id: str
    dialect: Dialect = Dialect.STRICT

    def __post_init__(self) -> None:
        """Hold the parts to the grammar."""
        if not _IS_VOLUME_ID[self.dialect](self.volume_id):
            raise InvalidLocation(shown_url(str(self)), "it does not end with the id of a volume")
        if self.store is not None and not is_store_name(self.store):
            raise InvalidLocation(shown_url(str(self)), "what stands before the volume id is not the name of a store")

    def __str__(self) -> str:
        """The URL."""
        return f"{_SCHEME}{self.store}/{self.volume_id}" if self.store else f"{_SCHEME}{self.volume_id}"


def is_store_name(text: str) -> bool:
    """Tell whether `text` may be the name of a store ([multi]; `os_glance_…` is reserved by Glance).

    >>> is_store_name("fast-2"), is_store_name("os_glance_staging_store"), is_store_name("a/b")
    (True, False, False)
    """
    return _STORE.fullmatch(text) is not None and not text.startswith(_RESERVED)


def parse_location(url: str, *, dialect: Dialect = Dialect.STRICT) -> CinderLocation:
    """Read which volume a location names.

    Args:
        url: any text.
        dialect: whose reading of it is wanted.

    Returns:
        The store that the URL names, if any, and the volume.

    Raises:
        InvalidLocation: under this dialect it names none.  Nothing else is raised, whatever the text.

    >>> parse_location("cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1").store
    'fast'
    >>> parse_location("cinder://user:secret@fast?token=secret")
    Traceback (most recent call last):
    imagevol_core.errors.InvalidLocation: location cinder://***@fast?...: it has a query or a fragment
    """
    store, volume_id = _PARTS[dialect](url)
    try:
        return CinderLocation(store=store, volume_id=volume_id, dialect=dialect)
    except InvalidLocation as error:
        if store is not None and dialect is not Dialect.STRICT:  # the services do not look at it
            with suppress(InvalidLocation):
                return CinderLocation(volume_id=volume_id, dialect=dialect)
        raise InvalidLocation(shown_url(url), error.reason) from None


@dataclass(frozen=True, slots=True)
class UnreadLocation:
    """A location that names no volume.

    Attributes:
        shown: the location as it can be printed.
        reason: what is wrong with it.

    >>> str(UnreadLocation("http://[", "it is not a URL"))
    'location http://[: it is not a URL'
    """

    shown: str
    reason: str

    def __str__(self) -> str:
        """The location and what is wrong with it, as a sentence that is safe to show."""
        return str(InvalidLocation(self.shown, self.reason))


def read_location(url: str, *, dialect: Dialect = Dialect.STRICT) -> CinderLocation | UnreadLocation:
    """Read which volume a location names, or why it names none.  Nothing is raised, whatever the text.

    >>> read_location("file:///images/one").reason
    'it does not begin with cinder://'
    """
    try:
        return parse_location(url, dialect=dialect)
    except InvalidLocation as error:
        return UnreadLocation(error.shown, error.reason)


def named_volume_ids(image: Image) -> tuple[str, ...]:
    """Give the volumes that an image's locations name under any dialect, each once and in the order of the locations.

    These are the volumes to ask Cinder for.  Which dialect counts is for a decision.

    >>> from imagevol_core import ImageLocation
    >>> named_volume_ids(Image(id="i", locations=(ImageLocation("cinder://?/9A1B6B0C93E44A3CA2A53D5BD2D3B6A1"),)))
    ()
    >>> named_volume_ids(Image(id="i", locations=(ImageLocation("cinder://fast/9A1B6B0C93E44A3CA2A53D5BD2D3B6A1"),)))
    ('9A1B6B0C93E44A3CA2A53D5BD2D3B6A1',)
    """
    read = (read_location(location.url, dialect=dialect) for location in image.locations for dialect in Dialect)
    return tuple(dict.fromkeys(named.volume_id for named in read if isinstance(named, CinderLocation)))


def _strict_parts(url: str) -> tuple[str | None, str]:
    if not url.startswith(_SCHEME):
        raise InvalidLocation(shown_url(url), f"it does not begin with {_SCHEME}")
    rest = url[len(_SCHEME) :]
    if "?" in rest or "#" in rest:
        raise InvalidLocation(shown_url(url), "it has a query or a fragment")
    store, slash, volume_id = rest.rpartition("/")
    return (store, volume_id) if slash else (None, rest)


def _cinder_parts(url: str) -> tuple[str | None, str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # and no cause: its sentence may hold the userinfo
        raise InvalidLocation(shown_url(url), NOT_A_URL) from None
    if parts.scheme != "cinder":
        raise InvalidLocation(shown_url(url), f"it does not begin with {_SCHEME}")
    if not parts.path:
        return None, parts.netloc
    return parts.netloc or None, parts.path.rpartition("/")[2]


def _glance_store_parts(url: str) -> tuple[str | None, str]:
    if not url.startswith(_SCHEME):
        raise InvalidLocation(shown_url(url), f"it does not begin with {_SCHEME}")
    store, slash, volume_id = url[len(_SCHEME) :].rpartition("/")
    return store if slash else None, volume_id


def _is_canonical(volume_id: str) -> bool:
    return _UUID.fullmatch(volume_id) is not None


def _is_uuid_like(volume_id: str) -> bool:
    """Braces, a `urn:uuid:` prefix, upper case, hyphens anywhere or nowhere: oslo.utils takes them all."""
    bare = volume_id.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()
    return _HEX.fullmatch(bare) is not None


_PARTS = {
    Dialect.STRICT: _strict_parts,
    Dialect.CINDER: _cinder_parts,
    Dialect.GLANCE_STORE: _glance_store_parts,
}
_IS_VOLUME_ID = {
    Dialect.STRICT: _is_canonical,
    Dialect.CINDER: _is_uuid_like,
    Dialect.GLANCE_STORE: _is_canonical,
}
