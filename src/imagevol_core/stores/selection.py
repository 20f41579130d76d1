"""Which store or stores an upload lands in ([multi], [base]).

The first of four rules that applies decides, alone: one store and nothing to choose; the store that the request names;
the stores that the base image lives in; the default.  A store that was asked for and cannot be had is a refusal, never
silently another store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from imagevol_core.facts import Image
from imagevol_core.stores.facts import RESERVED_STORES, SCHEMES, Store, StoreCatalogue, store_of_location
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = ["SELECTION_RULES", "StoreSelection", "select_stores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSelection:
    """Where an upload goes.

    Attributes:
        primary: the store that the data is sent to; None if there is nothing to name, or it is refused.
        copies: the stores that get a copy afterwards, in order.
        refused: why nothing is uploaded; None if something is.
        by_base_image: whether the stores of the base image decided.
        verdicts: which rules were looked at, and why they applied or not, with what was ignored.
    """

    primary: str | None
    copies: tuple[str, ...] = ()
    refused: str | None = None
    by_base_image: bool = False
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
    """What the rules look at."""

    catalogue: StoreCatalogue
    store_header: str | None
    base_image: Image | None

    @property
    def base_stores(self) -> tuple[Store, ...]:
        """The usable stores that the base image lives in, each once, by weight and then by its locations."""
        locations = self.base_image.locations if self.base_image else ()
        stores = dict.fromkeys(store_of_location(location, catalogue=self.catalogue) for location in locations)
        usable = [store for store in stores if store is not None and store.accepts]
        return tuple(sorted(usable, key=lambda store: -store.weight))

    @property
    def ignored(self) -> str:
        """What an answer that does not look at the base image says of it."""
        return "; the base image is ignored" if self.base_image else ""


def select_stores(
    catalogue: StoreCatalogue,
    *,
    store_header: str | None,
    base_image: Image | None,
    policy: Policy = Policy.STRICT,
) -> StoreSelection:
    """Choose the stores of an upload ([multi], [base]).

    Args:
        catalogue: the stores that work.
        store_header: the value of `x-image-meta-store`; None if the request has none.
        base_image: the image that `x-openstack-base-image-ref` names, as the requester sees it; None if the request
            names none, and also when it names one that is gone or that the requester may not see: the two must not
            differ, or the header would tell which images exist.
        policy: whose rules.  Under `UPSTREAM`, what Glance 33.0.0 does.

    Returns:
        The primary store and the copies, or why it is refused.

    >>> from imagevol_core import ImageLocation
    >>> stores = (Store(name="fast", kind="cinder"), Store(name="local", kind="file", weight=5))
    >>> catalogue = StoreCatalogue(stores=stores, default="fast")
    >>> base = Image(id="i", locations=(ImageLocation("cinder://fast/v", {"store": "fast"}),
    ...                                 ImageLocation("file:///i", {"store": "local"})))
    >>> selection = select_stores(catalogue, store_header=None, base_image=base)
    >>> selection.primary, selection.copies
    ('local', ('fast',))
    >>> select_stores(catalogue, store_header="slow", base_image=base).refused
    "there is no store 'slow'; the stores are 'fast', 'local'"
    """
    upload = _Upload(catalogue=catalogue, store_header=store_header, base_image=base_image)
    outcome, verdicts = first_match(table_of(SELECTION_RULES, policy), upload)
    primary, copies, refused, by_base_image = outcome(upload)
    return StoreSelection(
        primary=primary, copies=copies, refused=refused, by_base_image=by_base_image, verdicts=verdicts
    )


class _Answer(NamedTuple):
    """What a rule comes to."""

    primary: str | None = None
    copies: tuple[str, ...] = ()
    refused: str | None = None
    by_base_image: bool = False


# When a rule applies.


def _is_single(upload: _Upload) -> tuple[bool, str]:
    if upload.catalogue.multi:
        return False, "enabled_backends is set"
    header = "" if upload.store_header is None else f"; the header {upload.store_header!r} is ignored"
    return True, f"enabled_backends is not set{header}{upload.ignored}"


def _has_header(upload: _Upload) -> tuple[bool, str]:
    if upload.store_header is None:
        return False, "the request names no store"
    return True, f"the request names store {upload.store_header!r}{upload.ignored}"


def _has_base_stores(upload: _Upload) -> tuple[bool, str]:
    if upload.base_image is None:
        return False, "there is no base image that the requester can see"
    names = ", ".join(repr(store.name) for store in upload.base_stores)
    return bool(names), f"of the stores that the base image is in, {names or 'none'} can take images"


def _always(upload: _Upload) -> tuple[bool, str]:
    return True, f"default_backend is {upload.catalogue.default!r}"


def _always_upstream(upload: _Upload) -> tuple[bool, str]:
    return True, f"default_backend is {upload.catalogue.default!r}{upload.ignored}"


# What follows when it does.


def _single(upload: _Upload) -> _Answer:
    if not upload.catalogue.stores:  # a single-store Glance does not tell which one it has
        return _Answer()
    return _exactly(upload.catalogue, _only(upload.catalogue))


def _named(upload: _Upload) -> _Answer:
    return _exactly(upload.catalogue, upload.store_header)


def _default(upload: _Upload) -> _Answer:
    return _exactly(upload.catalogue, upload.catalogue.default)


def _base(upload: _Upload) -> _Answer:
    primary, *copies = (store.name for store in upload.base_stores)
    return _Answer(primary, tuple(copies), by_base_image=True)


def _only(catalogue: StoreCatalogue) -> str | None:
    return catalogue.stores[0].name if len(catalogue.stores) == 1 else catalogue.default


def _exactly(catalogue: StoreCatalogue, name: str | None) -> _Answer:
    store = catalogue.get(name)
    if store is None:
        asked = "no default store is set" if name is None else f"there is no store {name!r}"
        known = ", ".join(sorted(repr(store.name) for store in catalogue.stores)) or "none"
        return _Answer(refused=f"{asked}; the stores are {known}")
    if store.readonly:
        return _Answer(refused=f"store {name!r} is read-only")
    if not store.can_add:
        return _Answer(refused=f"store {name!r} takes no images at the moment; look at its faults")
    return _Answer(name)


# What follows in Glance 33.0.0.


def _single_upstream(upload: _Upload) -> _Answer:
    if not upload.catalogue.stores:
        return _Answer()
    return _sent(upload.catalogue.get(_only(upload.catalogue)), 500)


def _named_upstream(upload: _Upload) -> _Answer:
    return _looked_up(upload.catalogue, upload.store_header)


def _default_upstream(upload: _Upload) -> _Answer:
    return _looked_up(upload.catalogue, upload.catalogue.default)


def _looked_up(catalogue: StoreCatalogue, name: str | None) -> _Answer:
    """Glance's own staging and tasks stores are found like any other; those of some kinds never are."""
    if name in RESERVED_STORES:
        return _Answer(name)
    store = catalogue.get(name)
    return _sent(store if store and store.kind in SCHEMES.get(store.kind, ()) else None, 400)


def _sent(store: Store | None, status_of_none: int) -> _Answer:
    if store is None:
        return _Answer(refused=f"Glance answers {status_of_none}: it finds no such store")
    if not store.accepts:
        return _Answer(refused=f"Glance answers 410: adding to store {store.name!r} is disabled")
    return _Answer(store.name)


_SINGLE = Choice(
    id="single-store",
    text="there is one store and nothing to choose; headers are ignored",
    source="[multi]",
    applies=_is_single,
    outcome=_single,
)
_HEADER = Choice(
    id="store-header",
    text="the request names a store: exactly that one, and the base image is ignored",
    source="[base]",
    applies=_has_header,
    outcome=_named,
)
_GLANCE = "glance.api.v2.image_data.ImageDataController.upload"

SELECTION_RULES: Mapping[Policy, tuple[Choice[_Upload, Callable[[_Upload], _Answer]], ...]] = {
    Policy.STRICT: (
        _SINGLE,
        _HEADER,
        Choice(
            id="base-image",
            text="every store that the base image lives in and that can add: the first by weight, then by location, is "
            "sent to, the rest get copies",
            source="[base]",
            applies=_has_base_stores,
            outcome=_base,
        ),
        Choice(id="default-store", text="the default store", source="[base]", applies=_always, outcome=_default),
    ),
    Policy.UPSTREAM: (
        replace(_SINGLE, source=_GLANCE, outcome=_single_upstream),
        replace(_HEADER, source=_GLANCE, outcome=_named_upstream),
        Choice(
            id="default-store",
            text="the default store; a base image is never looked at",
            source=_GLANCE,
            applies=_always_upstream,
            outcome=_default_upstream,
        ),
    ),
}
