"""The stores of Glance, and which one a location or a volume is of ([multi])."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from imagevol_core.errors import InvalidFact
from imagevol_core.facts import ImageLocation
from imagevol_core.locations import CinderLocation, read_location
from imagevol_core.verdicts import Policy, table_of

__all__ = ["SCHEMES", "Store", "StoreCatalogue", "is_associated", "store_of_location"]


# What Glance 33 documents, glance_store 5.7.0 ships, and ours: each kind of driver, and the schemes of its locations.
SCHEMES: Mapping[str, tuple[str, ...]] = {
    "cinder": ("cinder",),
    "file": ("file", "filesystem"),
    "http": ("http", "https"),
    # Glance looks a store up by its kind among the schemes, so that a driver without its kind among them is not found.
    "imagevol": ("cinder", "imagevol"),
    "rbd": ("rbd",),
    "s3": ("s3", "s3+http", "s3+https"),
    "swift": ("swift", "swift+config", "swift+http", "swift+https"),
    "vmware": ("vsphere",),
}
RESERVED_STORES = ("os_glance_staging_store", "os_glance_tasks_store")  # Glance has them beside the configured ones
CINDER_KINDS = frozenset({"cinder", "imagevol"})  # two drivers, the same scheme, options and volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store of Glance, as it works now.

    Args:
        name: its key in `enabled_backends`.
        kind: the driver: `cinder`, `file`, `rbd`, …
        volume_type: `cinder_volume_type`; None if it is not set, and for other kinds.
        weight: its place among the stores that an image is in, larger first.
        readonly: whether it only reads, by its nature (`http`) or by configuration.
        can_add: whether images can be put into it.
        can_delete: whether images can be deleted from it.
        url_prefix: what its locations begin with, as its driver says; for a cinder store it follows from the name.
    """

    name: str
    kind: str
    volume_type: str | None = None
    weight: int = 0
    readonly: bool = False
    can_add: bool = True
    can_delete: bool = True
    url_prefix: str | None = None

    @property
    def is_cinder(self) -> bool:
        """Whether it keeps images in volumes."""
        return self.kind in CINDER_KINDS

    @property
    def accepts(self) -> bool:
        """Whether an image can be put into it."""
        return self.can_add and not self.readonly

    @property
    def prefix(self) -> str | None:
        """What its locations begin with; None if that is not known."""
        return f"cinder://{self.name}" if self.is_cinder else self.url_prefix

    def begins(self, url: str) -> bool:
        """Tell whether Glance takes a URL for one of this store's by how it begins.

        `cinder://fast2/…` begins like the locations of a store `fast`; the driver `imagevol` tells them apart.
        """
        if not self.prefix:
            return False
        return url.startswith(f"{self.prefix}/" if self.kind == "imagevol" else self.prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCatalogue:
    """The stores of a Glance.

    Args:
        stores: in the order of `enabled_backends`.
        default: `default_backend`; of a single-store Glance, `default_store`.
        multi: whether `enabled_backends` is set; if not, there is one store and no choice.
        default_volume_type: the name of Cinder's default type, which the volumes of a store without one of its own are
            of.

    Raises:
        InvalidFact: two stores have one name.
    """

    stores: tuple[Store, ...]
    default: str | None = None
    multi: bool = True
    default_volume_type: str | None = None
    _by_name: Mapping[str | None, Store] = field(init=False, repr=False, compare=False)
    _by_type: Mapping[str | None, Sequence[Store]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse two stores of one name, of which nothing could choose."""
        object.__setattr__(self, "stores", tuple(self.stores))
        for name, count in Counter(store.name for store in self.stores).items():
            if count > 1:
                raise InvalidFact("StoreCatalogue.stores", f"{count} stores are named {name!r}; names must differ")
        by_type: defaultdict[str | None, list[Store]] = defaultdict(list)
        for store in self.stores:
            volume_type = store.volume_type or self.default_volume_type
            if is_associated(store, volume_type=volume_type, default_volume_type=self.default_volume_type):
                by_type[volume_type].append(store)
        object.__setattr__(self, "_by_name", {store.name: store for store in self.stores})
        object.__setattr__(self, "_by_type", dict(by_type))

    def get(self, name: str | None) -> Store | None:
        """Give the store of that name, whole and case by case."""
        return self._by_name.get(name)

    def of_type(self, volume_type: str | None) -> tuple[Store, ...]:
        """Give the cinder stores whose volumes are of that type, in order."""
        return tuple(self._by_type.get(volume_type, ()))


def is_associated(store: Store, *, volume_type: str | None, default_volume_type: str | None) -> bool:
    """Tell whether the volumes of a store are of this type ([multi]); Glance 33 finds the store of a volume so.

    Args:
        store: any store.
        volume_type: the name of a volume's type; None for a volume without one.
        default_volume_type: the name of Cinder's default type; None if Cinder does not say.

    >>> is_associated(Store(name="old", kind="cinder"), volume_type="ssd", default_volume_type="ssd")
    True
    """
    wanted = store.volume_type or default_volume_type
    return store.is_cinder and wanted is not None and wanted == volume_type


def store_of_location(
    location: ImageLocation, *, catalogue: StoreCatalogue, policy: Policy = Policy.STRICT
) -> Store | None:
    """Give the store that a location says it is in ([multi]).

    Args:
        location: of any kind.
        catalogue: the stores.
        policy: under `STRICT` the metadata names it or, where it is silent, a `cinder://` URL does, whole; under
            `UPSTREAM`, as Glance 33.0.0 reads a URL, it is the first one whose prefix the URL begins with, so that
            store `fast` may be given for a location in `fast2`.

    Returns:
        The store.  None if none is named, or one that is not among the stores, or where what should be a URL is
        none, of which Glance fails with a ValueError.

    >>> stores = (Store(name="fast", kind="cinder"), Store(name="fast2", kind="cinder"))
    >>> location = ImageLocation("cinder://fast2/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1")
    >>> both = (Policy.STRICT, Policy.UPSTREAM)
    >>> [store_of_location(location, catalogue=StoreCatalogue(stores=stores), policy=policy).name for policy in both]
    ['fast2', 'fast']
    """
    return table_of(_STORE_OF, policy)(location, catalogue)


def _store_named(location: ImageLocation, catalogue: StoreCatalogue) -> Store | None:
    name = location.metadata.get("store")
    if not name:
        named = read_location(location.url)
        name = named.store if isinstance(named, CinderLocation) else None
    return catalogue.get(name)


def _store_by_prefix(location: ImageLocation, catalogue: StoreCatalogue) -> Store | None:
    try:
        scheme = urlsplit(location.url).scheme
    except ValueError:
        return None
    for store in catalogue.stores:
        if scheme in SCHEMES.get(store.kind, ()) and store.begins(location.url):
            return store
    return None


_STORE_OF = {Policy.STRICT: _store_named, Policy.UPSTREAM: _store_by_prefix}
