"""The multi-store configuration that a single-store one becomes ([multi], "Upgrade from single cinder store").

A single-store Glance has the options of all its drivers in `[glance_store]`.  Each store gets a section of its own with
those of its driver; `enabled_backends` and `default_backend` take the place of `stores` and `default_store`.  All else
is kept.  What the configuration does not tell is asked for, by a refusal that names the option.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from imagevol_core.locations import is_store_name
from imagevol_core.secret_text import shown_value
from imagevol_core.sentences import listed
from imagevol_core.stores.check import missing_credentials
from imagevol_core.stores.facts import CINDER_KINDS, SCHEMES
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate, failed

__all__ = ["UPGRADE_RULES", "ConfigurationEdit", "StoreUpgrade", "plan_store_upgrade"]

Configuration = Mapping[str, Mapping[str, str]]

_SINGLE = "glance_store"  # where a single-store Glance has all of it
_STORES, _DEFAULT_STORE = "file,http", "file"  # Glance's own defaults of `stores` and `default_store`
_CINDER = re.compile(r"cinder_.*|os_region_name|rootwrap_config")
_OWNED = {  # the options of each kind of driver
    "cinder": _CINDER,
    "file": re.compile(r"filesystem_.*"),
    "http": re.compile(r"https_.*|http_proxy_information"),
    "imagevol": _CINDER,
    "rbd": re.compile(r"rbd_.*|rados_.*"),
    "s3": re.compile(r"s3_.*"),
    "swift": re.compile(r"swift_.*|default_swift_reference"),
    "vmware": re.compile(r"vmware_.*"),
}
# A multi-store Glance stages images and works on tasks in stores of its own: section and option, and the store.
_WORK_PLACES = {
    ("DEFAULT", "node_staging_uri"): "os_glance_staging_store",
    ("task", "work_dir"): "os_glance_tasks_store",
}
_NOTHING: Mapping[str, Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationEdit:
    """One option that is added, changed or removed; printed, it shows no secret.

    Attributes:
        section: where the option is.
        option: its name.
        before: its value; None if it is not set.
        after: what it is set to; None if it is removed.
        why: the reason, in a phrase.
    """

    section: str
    option: str
    before: str | None = field(repr=False)
    after: str | None = field(repr=False)
    why: str

    def __str__(self) -> str:
        """The edit as one line for a person."""
        before, after = (shown_value(self.option, value) for value in (self.before, self.after))
        change = f"remove {before!r}" if after is None else f"set {after!r}" + (f", was {before!r}" if before else "")
        return f"[{self.section}] {self.option}: {change}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUpgrade:
    """How a single-store configuration becomes a multi-store one.

    Attributes:
        edits: in order; none if it is refused, or there is nothing to do.
        configuration: the result; as it was where there are no edits.
        needs_volume_type: whether it cannot be planned without the name of Cinder's default volume type.
        verdicts: what each rule said.
    """

    edits: tuple[ConfigurationEdit, ...]
    configuration: Configuration = field(repr=False, hash=False)
    needs_volume_type: bool = False
    verdicts: tuple[Verdict, ...]

    @property
    def refused(self) -> tuple[Verdict, ...]:
        """What must be told or mended first, each naming the option."""
        return failed(self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at."""

    configuration: Configuration
    names: Mapping[str, str | None]
    new_stores: Configuration
    default: str | None
    default_volume_type: str | None

    @property
    def single(self) -> Mapping[str, str]:
        return self.configuration.get(_SINGLE, {})

    @property
    def kinds(self) -> tuple[str, ...]:
        """The drivers that are enabled now, each once."""
        return tuple(dict.fromkeys(_items(self.single.get("stores") or _STORES)))

    @property
    def kept(self) -> dict[str, str]:
        """The kind of each store that stays, by its new name, as far as it is told."""
        return {name: kind for kind in self.kinds if (name := self.names.get(kind))}

    @property
    def default_kind(self) -> str:
        scheme = self.single.get("default_store") or _DEFAULT_STORE
        return next((kind for kind in self.kinds if scheme in SCHEMES.get(kind, ())), scheme)

    @property
    def default_name(self) -> str | None:
        return self.default or self.names.get(self.default_kind)

    @property
    def volume_type(self) -> str | None:
        return self.single.get("cinder_volume_type") or self.default_volume_type

    @property
    def keeps_volumes(self) -> bool:
        """Whether a store that stays keeps images in volumes."""
        return any(kind in CINDER_KINDS for kind in self.kept.values())

    @property
    def cinder_stores(self) -> dict[str, dict[str, str]]:
        """The options of each cinder store that will be: a new one has those of the present one, but for the type."""
        common = _owned("cinder", self.single)
        common.pop("cinder_volume_type", None)
        old = {**common, "cinder_volume_type": self.volume_type} if self.volume_type else common
        stores = {name: old for name, kind in self.kept.items() if kind in CINDER_KINDS}
        return stores | {name: {**common, **own} for name, own in self.new_stores.items()}


def plan_store_upgrade(
    configuration: Configuration,
    *,
    names: Mapping[str, str | None],
    default_volume_type: str | None,
    new_stores: Configuration = _NOTHING,
    default: str | None = None,
) -> StoreUpgrade:
    """Plan how a single-store configuration becomes a multi-store one ([multi], example 2).

    Args:
        configuration: of glance-api.conf: section, option, value; a value of several lines is one text.
        names: the name of the store that each driver in `stores` becomes; None for one that is given up, and whose
            images then cannot be read.
        default_volume_type: Cinder's default type, of which the present volumes are if `cinder_volume_type` is not set;
            None if it is not known.
        new_stores: further cinder stores by name, each with its `cinder_volume_type` and whatever else differs from
            the present one.
        default: the name of the default store; None keeps the present one.

    Returns:
        The edits and the result, or why it is refused.  A multi-store configuration needs no edit.

    >>> single = {"glance_store": {"stores": "cinder", "default_store": "cinder", "cinder_volume_type": "ssd"}}
    >>> upgrade = plan_store_upgrade(single, names={"cinder": "fast"}, default_volume_type=None)
    >>> print(upgrade.edits[0])
    [DEFAULT] enabled_backends: set 'fast:cinder': it names every store and its driver
    >>> upgrade.configuration["fast"]
    {'cinder_volume_type': 'ssd'}
    >>> plan_store_upgrade(upgrade.configuration, names={}, default_volume_type=None).edits
    ()
    """
    asked = _Asked(
        configuration=configuration,
        names=names,
        new_stores=new_stores,
        default=default,
        default_volume_type=default_volume_type,
    )
    verdicts = evaluate(UPGRADE_RULES[Policy.STRICT], asked)
    wanted, _ = _single_store(asked)
    edits = tuple(_edits(asked)) if wanted and not failed(verdicts) else ()
    return StoreUpgrade(
        edits=edits,
        configuration=_edited(configuration, edits),
        needs_volume_type=asked.keeps_volumes and asked.volume_type is None,
        verdicts=verdicts,
    )


def _edited(configuration: Configuration, edits: Iterable[ConfigurationEdit]) -> dict[str, dict[str, str]]:
    result = {section: dict(options) for section, options in configuration.items()}
    for edit in edits:
        options = result.setdefault(edit.section, {})
        if edit.after is None:
            del options[edit.option]
        else:
            options[edit.option] = edit.after
    return result


def _edits(asked: _Asked) -> Iterator[ConfigurationEdit]:
    yield from _setting(asked, "DEFAULT", {"enabled_backends": _backends(asked)}, "it names every store and its driver")
    default = {"default_backend": asked.default_name or ""}
    yield from _setting(asked, _SINGLE, default, "Glance does not start without")
    for name, kind in asked.kept.items():
        options = asked.cinder_stores[name] if kind in CINDER_KINDS else _owned(kind, asked.single)
        yield from _setting(asked, name, options, "the store that was the only one of its kind")
    for name in asked.new_stores:
        yield from _setting(asked, name, asked.cinder_stores[name], "a new store")
    for (section, option), store in _WORK_PLACES.items():
        place = asked.configuration.get(section, {}).get(option)
        if place and "filesystem_store_datadir" not in asked.configuration.get(store, {}):
            directory = {"filesystem_store_datadir": place.removeprefix("file://")}
            yield from _setting(asked, store, directory, f"{option} is not looked at any more")
    moved = {option for kind in asked.kept.values() for option in _owned(kind, asked.single)}
    for option, value in asked.single.items():
        if option in moved or option in ("stores", "default_store"):
            why = "moved to the section of the store" if option in moved else "of a single-store Glance"
            yield ConfigurationEdit(section=_SINGLE, option=option, before=value, after=None, why=why)


def _setting(asked: _Asked, section: str, options: Mapping[str, str], why: str) -> Iterator[ConfigurationEdit]:
    present = asked.configuration.get(section, {})
    for option, value in options.items():
        if present.get(option) != value:
            yield ConfigurationEdit(section=section, option=option, before=present.get(option), after=value, why=why)


def _backends(asked: _Asked) -> str:
    new_kind = next((kind for kind in asked.kinds if kind in CINDER_KINDS), "cinder")
    return ", ".join(
        f"{name}:{kind}" for name, kind in (asked.kept | dict.fromkeys(asked.new_stores, new_kind)).items()
    )


def _owned(kind: str, options: Mapping[str, str]) -> dict[str, str]:
    return {option: value for option, value in options.items() if _OWNED[kind].fullmatch(option)}


def _items(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _single_store(asked: _Asked) -> tuple[bool, str]:
    backends = asked.configuration.get("DEFAULT", {}).get("enabled_backends")
    return not backends, f"enabled_backends is {backends!r}" if backends else "enabled_backends is not set"


def _kinds_known(asked: _Asked) -> tuple[bool, str]:
    unknown = [kind for kind in asked.kinds if kind not in _OWNED]
    if unknown:
        return False, f"stores: there is no driver {listed(unknown)}; known are {', '.join(_OWNED)}"
    return True, f"stores: {listed(asked.kinds)}"


def _stores_named(asked: _Asked) -> tuple[bool, str]:
    nameless = [kind for kind in asked.kinds if kind not in asked.names]
    if nameless:
        return False, f"stores: give the store of each driver a name, or give it up: {listed(nameless)}"
    given_up = [kind for kind in asked.kinds if asked.names[kind] is None]
    return True, f"stores: all have a name, except those given up: {listed(given_up)}"


def _names_valid(asked: _Asked) -> tuple[bool, str]:
    names = [name for kind in asked.kinds if (name := asked.names.get(kind)) is not None] + list(asked.new_stores)
    # To oslo.config [Fast] and [fast] are one section, and [DEFAULT] and [default] are two.
    taken = {"DEFAULT", *(section.lower() for section in (_SINGLE, *asked.configuration) if section != "DEFAULT")}
    count = Counter(name.lower() for name in names)
    wrong = [
        name
        for name in dict.fromkeys(names)
        if not is_store_name(name) or {name, name.lower()} & taken or count[name.lower()] > 1
    ]
    if wrong:
        return False, f"enabled_backends: not the names of new sections, each given once: {listed(wrong)}"
    return bool(names), f"enabled_backends: {listed(names)}"


def _default_named(asked: _Asked) -> tuple[bool, str]:
    stores = [*asked.kept, *asked.new_stores]
    if asked.default_name in stores:
        return True, f"default_backend: {asked.default_name!r}"
    said = f"default_store is {asked.default_kind!r}" if asked.default is None else f"{asked.default!r} is given"
    return False, f"default_backend: {said}, which is none of the stores; name one of {listed(stores)}"


def _type_known(asked: _Asked) -> tuple[bool, str]:
    if not asked.keeps_volumes:
        return True, "cinder_volume_type: no store keeps images in volumes now"
    if asked.volume_type is None:
        return False, "cinder_volume_type: it is not set; find out the default volume type of Cinder, and give that"
    return True, f"cinder_volume_type: {asked.volume_type!r}"


def _types_named(asked: _Asked) -> tuple[bool, str]:
    typeless = [name for name, own in asked.new_stores.items() if not own.get("cinder_volume_type")]
    return not typeless, f"cinder_volume_type: new stores without one: {listed(typeless)}"


def _types_differ(asked: _Asked) -> tuple[bool, str]:
    types = Counter(options.get("cinder_volume_type") for options in asked.cinder_stores.values())
    shared = [volume_type for volume_type, count in types.items() if volume_type and count > 1]
    return not shared, f"cinder_volume_type: of several stores: {listed(shared)}; a volume cannot tell them apart"


def _credentials_complete(asked: _Asked) -> tuple[bool, str]:
    stores = asked.cinder_stores
    missing: dict[str, None] = {}
    for options in stores.values():
        given = [option for option, value in options.items() if value]
        missing |= dict.fromkeys(missing_credentials(given, several=len(stores) > 1))
    if missing:
        return False, f"set them in [{_SINGLE}] first, or for the new stores: {', '.join(missing)}"
    return True, "each cinder store has all, or the only one has none and works with the requester's"


_SPEC = "[multi]"

UPGRADE_RULES: Mapping[Policy, tuple[Requirement[_Asked], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="single-store",
            text="`enabled_backends` is not set: there is something to do",
            source=_SPEC,
            holds=_single_store,
            gate=True,
            warning=True,
        ),
        Requirement(id="kinds-known", text="`stores` names known drivers", source=_SPEC, holds=_kinds_known, gate=True),
        Requirement(
            id="stores-named",
            text="the store of each driver in `stores` gets a name, or is given up",
            source=_SPEC,
            holds=_stores_named,
            gate=True,
        ),
        Requirement(
            id="names-valid",
            text="each name can be part of a location, is given once, and is no section yet",
            source=_SPEC,
            holds=_names_valid,
        ),
        Requirement(id="default-named", text="the default store is one of them", source=_SPEC, holds=_default_named),
        Requirement(
            id="type-known",
            text="the volume type of the present cinder store is known: its own, or Cinder's default",
            source=_SPEC,
            holds=_type_known,
        ),
        Requirement(id="types-named", text="each new store names its volume type", source=_SPEC, holds=_types_named),
        Requirement(
            id="types-differ",
            text="no two stores have one volume type",
            source=_SPEC,
            holds=_types_differ,
            warning=True,
        ),
        Requirement(
            id="credentials-complete",
            text="each cinder store has complete credentials; a single one may have none",
            source=_SPEC,
            holds=_credentials_complete,
        ),
    )
}
