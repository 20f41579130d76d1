"""Which volume type puts its volumes on one backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagevol_core.sentences import said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match

__all__ = ["PLACEMENT_RULES", "PlacedType", "TypeChoice", "choose_volume_type"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedType:
    """A volume type, as far as it says where its volumes are.

    Args:
        name: of the type.
        backend_name: `volume_backend_name` of its extra specs; None if it has none.
        encrypted: whether its volumes are encrypted.
    """

    name: str
    backend_name: str | None = None
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeChoice:
    """Which volume type is used.

    Attributes:
        volume_type: its name; None if none will do.
        verdicts: of each type, the rule that decides about it.
    """

    volume_type: str | None
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at."""

    kind: PlacedType
    backend: str
    own: frozenset[str]
    others: frozenset[str]


def choose_volume_type(
    backend: str, types: Iterable[PlacedType], *, pools: Mapping[str, str | None], default: str | None = None
) -> TypeChoice:
    """Choose a volume type whose volumes are all on one backend, and are not encrypted.

    Args:
        backend: the section of the backend.
        types: all of them.
        pools: what each pool, by its name `host@backend#pool`, reports as `volume_backend_name`.
        default: the type that is preferred, if it will do.

    >>> types = [PlacedType(name="any"), PlacedType(name="fast", backend_name="FAST")]
    >>> choose_volume_type("a", types, pools={"node@a#1": "FAST", "node@b#1": "SLOW"}).volume_type
    'fast'
    """
    own, others = set[str](), set[str]()
    for pool, reported in pools.items():
        (own if pool.partition("#")[0].rpartition("@")[2] == backend else others).add(str(reported))
    good, verdicts = [], []
    for kind in types:
        asked = _Asked(kind=kind, backend=backend, own=frozenset(own), others=frozenset(others))
        will_do, seen = first_match(PLACEMENT_RULES[Policy.STRICT], asked, subject=kind.name)
        verdicts.append(seen[-1])
        if will_do:
            good.append(kind.name)
    chosen = default if default in good else next(iter(good), None)
    return TypeChoice(volume_type=chosen, verdicts=tuple(verdicts))


def _is_encrypted(asked: _Asked) -> tuple[bool, str]:
    return asked.kind.encrypted, f"volumes of type {said(asked.kind.name)} are encrypted"


def _elsewhere(asked: _Asked) -> tuple[bool, str]:
    name = asked.kind.backend_name
    elsewhere = name is not None and name not in asked.own
    return elsewhere, f"volume_backend_name is {said(name)}, which backend {said(asked.backend)} does not report"


def _shared(asked: _Asked) -> tuple[bool, str]:
    name = asked.kind.backend_name
    shared = bool(asked.others) if name is None else name in asked.others
    if name is None:
        return shared, f"type {said(asked.kind.name)} names no backend, and there are others"
    return shared, f"volume_backend_name is {said(name)}, which another backend reports too"


def _only_there(asked: _Asked) -> tuple[bool, str]:
    return True, f"volumes of type {said(asked.kind.name)} are only on backend {said(asked.backend)}"


_FILTER = "cinder.scheduler.filters.capabilities_filter"

PLACEMENT_RULES: Mapping[Policy, tuple[Choice[_Asked, bool], ...]] = {
    Policy.STRICT: (
        Choice(
            id="type-encrypted",
            text="do not use it: its volumes are encrypted",
            source="imagevol",
            applies=_is_encrypted,
            outcome=False,
        ),
        Choice(
            id="type-elsewhere",
            text="do not use it: its volumes are on other backends",
            source=_FILTER,
            applies=_elsewhere,
            outcome=False,
        ),
        Choice(
            id="type-anywhere",
            text="do not use it: its volumes can be on other backends",
            source=_FILTER,
            applies=_shared,
            outcome=False,
        ),
        Choice(
            id="type-of-the-backend",
            text="use it: its volumes are only on the backend",
            source=_FILTER,
            applies=_only_there,
            outcome=True,
        ),
    )
}
