"""Which configured stores work, why one does not, and which store volumes and locations belong to ([multi]).

All faults of all stores are collected: an operator who mends one at a time restarts Glance as often.  A store that is
found faulty is taken out of service alone; the others go on working.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from imagevol_core.locations import is_store_name
from imagevol_core.stores.facts import SCHEMES, Store, StoreCatalogue
from imagevol_core.stores.trials import StoreTrial, check_trial
from imagevol_core.verdicts import Facts, Policy, Requirement, Verdict, evaluate, failed

__all__ = ["CATALOGUE_RULES", "STORE_RULES", "StoreCheck", "StoreRequirement", "check_stores"]


_SERVICE_USER = (
    "cinder_store_auth_address",
    "cinder_store_user_name",
    "cinder_store_password",
    "cinder_store_project_name",
)
_APPLICATION_CREDENTIAL = (
    "cinder_store_auth_address",
    "cinder_store_application_credential_id",
    "cinder_store_application_credential_secret",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequirement(Requirement[Facts]):
    """A row about one store.

    Attributes:
        disables: whether the driver of a running Glance stops adding and deleting images where it does not hold,
            because nothing can be stored or found again.  It logs the other faults and goes on, as glance_store's own
            driver does.
    """

    disables: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """The faults of a configuration of stores, and what still works.

    Attributes:
        catalogue: the stores as they work: one with a fault can neither add nor delete.
        disabling: for which of the faults Glance's driver stops adding and deleting images in a store.
        verdicts: of each store in order, then of the catalogue.
    """

    catalogue: StoreCatalogue
    disabling: tuple[Verdict, ...] = ()
    verdicts: tuple[Verdict, ...]

    @property
    def faults(self) -> tuple[Verdict, ...]:
        """The verdicts that do not hold, which say what to repair."""
        return failed(self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Configured:
    """What the rules about one store look at."""

    store: Store
    catalogue: StoreCatalogue
    credentials: Collection[str]
    volume_types: frozenset[str] | None
    several: bool


def missing_credentials(options: Collection[str], *, several: bool) -> tuple[str, ...]:
    """Give the options that a cinder store lacks of those of a service user or of an application credential.

    Of several stores each needs one or the other.  A single one may have none of either, and then keeps image volumes
    in the requester's project; so glance_store does, silently, also where only some of the options are set.
    """
    user, application = (
        tuple(name for name in way if name not in options) for way in (_SERVICE_USER, _APPLICATION_CREDENTIAL)
    )
    if not user or not application:
        return ()
    if not several and user == _SERVICE_USER and application == _APPLICATION_CREDENTIAL:
        return ()
    return user if set(_APPLICATION_CREDENTIAL[1:]) <= set(application) else application


def check_stores(
    catalogue: StoreCatalogue,
    *,
    credentials: Mapping[str, Collection[str]],
    volume_types: Iterable[str] | None,
    trials: Mapping[str, StoreTrial] = MappingProxyType({}),
) -> StoreCheck:
    """Give every fault of every store ([multi]).

    Args:
        catalogue: the stores as they are configured.
        credentials: by store, which of the `cinder_store_…` options are set, by name; no secret is asked for.
        volume_types: the names of Cinder's volume types; None if Cinder gives no answer, and then no type is known
            to exist.
        trials: by store, what was found when it was tried; the volume types that a store's own credentials see are
            looked at in place of `volume_types`.

    Returns:
        The stores as they work, and all verdicts.

    >>> stores = (Store(name="fast", kind="cinder", volume_type="ssd"), Store(name="local", kind="file"))
    >>> check = check_stores(StoreCatalogue(stores=stores, default="fast"), credentials={}, volume_types=["hdd"])
    >>> [str(verdict) for verdict in check.faults]
    ["fails type-exists (fast): cinder_volume_type is 'ssd', and Cinder has no such type"]
    >>> [(store.name, store.can_add) for store in check.catalogue.stores]
    [('fast', False), ('local', True)]
    """
    types = None if volume_types is None else frozenset(volume_types)
    several = sum(store.is_cinder for store in catalogue.stores) > 1
    rules = STORE_RULES[Policy.STRICT]
    verdicts: list[Verdict] = []
    disabling: list[Verdict] = []
    working = []
    for store in catalogue.stores:
        options = credentials.get(store.name, ())
        trial = trials.get(store.name)
        seen = types if trial is None else _seen(trial, types)
        configured = _Configured(
            store=store, catalogue=catalogue, credentials=options, volume_types=seen, several=several
        )
        about = evaluate(rules, configured, subject=store.name)
        disabling.extend(each for at, each in enumerate(about) if rules[at].disables and not each.ok)
        if trial is not None:
            about += check_trial(trial, store=store.name)
        verdicts.extend(about)
        working.append(replace(store, can_add=False, can_delete=False) if failed(about) else store)
    verdicts.extend(evaluate(CATALOGUE_RULES[Policy.STRICT], catalogue))
    return StoreCheck(
        catalogue=replace(catalogue, stores=tuple(working)), disabling=tuple(disabling), verdicts=tuple(verdicts)
    )


def _seen(trial: StoreTrial, others: frozenset[str] | None) -> frozenset[str] | None:
    """The volume types that a store's credentials see, or, if it has none of its own, those that others see."""
    return others if trial.volume_types is None and trial.sign_in_error is None else trial.volume_types


def _name_valid(configured: _Configured) -> tuple[bool, str]:
    name = configured.store.name
    return is_store_name(name), (
        f"{name!r}; a name has 1 to 64 letters, digits, '_', '.' and '-', and does not begin with os_glance_"
    )


def _kind_known(configured: _Configured) -> tuple[bool, str]:
    kind = configured.store.kind
    return kind in SCHEMES, f"{kind!r}; known are {', '.join(SCHEMES)}{_comment(kind)}"


def _credentials_complete(configured: _Configured) -> tuple[bool, str]:
    if not configured.store.is_cinder:
        return True, "it is not a cinder store"
    missing = missing_credentials(configured.credentials, several=configured.several)
    if missing:
        return False, f"missing are {', '.join(missing)}"
    if configured.credentials:
        return True, "the store has its own credentials, and they are complete"
    return True, "the store has no credentials of its own, so Glance uses those of each request"


def _type_named(configured: _Configured) -> tuple[bool, str]:
    store = configured.store
    if not store.is_cinder:
        return True, "it is not a cinder store"
    if store.volume_type:
        return True, f"cinder_volume_type is {store.volume_type!r}"
    several = configured.several
    return not several, f"cinder_volume_type is not set, and there {'are others' if several else 'is no other'}"


def _type_exists(configured: _Configured) -> tuple[bool, str]:
    store, types = configured.store, configured.volume_types
    if not store.is_cinder or not store.volume_type:
        return True, "it names no volume type"
    text = f"cinder_volume_type is {store.volume_type!r}"
    if types is None:
        return False, f"{text}, and Cinder does not answer whether there is one"
    exists = store.volume_type in types
    return exists, f"{text}, and Cinder has {'it' if exists else f'no such type{_comment(store.volume_type)}'}"


def _comment(value: str) -> str:
    """What to do about a value that a comment seems to follow."""
    if " #" not in value and "\t#" not in value:
        return ""
    return "; oslo.config takes a comment after a value for a part of it: put the comment on a line of its own"


def _type_unshared(configured: _Configured) -> tuple[bool, str]:
    store, catalogue = configured.store, configured.catalogue
    volume_type = store.volume_type or catalogue.default_volume_type
    if not store.is_cinder or volume_type is None:
        return True, "it has no known volume type"
    others = [repr(other.name) for other in catalogue.of_type(volume_type) if other.name != store.name]
    if others:
        return False, f"{volume_type!r} is also the type of {', '.join(others)}: a volume cannot tell them apart"
    return True, f"no other store has type {volume_type!r}"


def _default_exists(catalogue: StoreCatalogue) -> tuple[bool, str]:
    if not catalogue.multi:
        return True, "there is one store, and nothing to choose"
    if catalogue.default is None:
        return False, "default_backend is not set, and Glance does not start without"
    known = catalogue.get(catalogue.default) is not None
    return known, f"default_backend is {catalogue.default!r}, which is {'one' if known else 'none'} of the stores"


_SPEC = "[multi]"
STORE_RULES: Mapping[Policy, tuple[StoreRequirement[_Configured], ...]] = {
    Policy.STRICT: (
        StoreRequirement(
            id="name-valid", text="its name can be part of a location", source=_SPEC, holds=_name_valid, disables=True
        ),
        StoreRequirement(
            id="kind-known", text="there is a driver of its kind", source=_SPEC, holds=_kind_known, disables=True
        ),
        StoreRequirement(
            id="credentials-complete",
            text="its credentials are complete, those of a user or an application credential; of several cinder stores "
            "each has some",
            source=_SPEC,
            holds=_credentials_complete,
        ),
        StoreRequirement(
            id="type-named",
            text="of several cinder stores each names its volume type",
            source=_SPEC,
            holds=_type_named,
        ),
        StoreRequirement(
            id="type-exists", text="Cinder has its volume type", source=_SPEC, holds=_type_exists, disables=True
        ),
        StoreRequirement(
            id="type-unshared",
            text="no other store has its volume type",
            source=_SPEC,
            holds=_type_unshared,
            warning=True,
        ),
    )
}
CATALOGUE_RULES: Mapping[Policy, tuple[Requirement[StoreCatalogue], ...]] = {
    Policy.STRICT: (
        Requirement(id="default-exists", text="the default is one of the stores", source=_SPEC, holds=_default_exists),
    )
}
