"""Which image volumes a new volume can be cloned from, and in which order ([clone]).

An image is cloned when some rules hold for the image and the target, and some others for an image volume that one of
the image's locations names.  Every rule is asked of every such volume, so that the decision explains all that stands in
the way; all volumes that pass are kept, best first, because a clone can fail and the next one be tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from imagevol_core.cloning.facts import CloneCandidate, CloneRequest, CloneSettings
from imagevol_core.cloning.rules import STRICT_REQUEST_RULES, STRICT_VOLUME_RULES
from imagevol_core.cloning.upstream import UPSTREAM_REQUEST_RULES, UPSTREAM_VOLUME_RULES
from imagevol_core.collation import in_database
from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Backend, Image, Volume
from imagevol_core.locations import Dialect, UnreadLocation, read_location
from imagevol_core.marks import read_metadata
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate, failed, table_of

__all__ = ["REQUEST_RULES", "VOLUME_RULES", "CloneDecision", "CloneSettings", "decide_clone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneDecision:
    """Whether a volume can be cloned, and from which image volumes.

    Attributes:
        policy: whose rules decided.
        sources: the image volumes that can be cloned, in the order in which to try them.
        extend_to_gib: the size of the clone at the end, in GiB; None if there is nothing to clone.
        raises: how Cinder fails before it looks at a volume; None if it does not. Only of `UPSTREAM`.
        verdicts: what each rule said, first of the request, then of each volume in the order of the locations.
    """

    policy: Policy
    sources: tuple[Volume, ...]
    extend_to_gib: int | None
    raises: str | None = None
    verdicts: tuple[Verdict, ...]

    @property
    def eligible(self) -> bool:
        """Whether there is a volume to clone."""
        return bool(self.sources)


def decide_clone(
    image: Image,
    *,
    target: Volume,
    volumes: Iterable[Volume],
    backend: Backend,
    settings: CloneSettings,
    policy: Policy = Policy.STRICT,
) -> CloneDecision:
    """Decide which image volumes `target` can be cloned from ([clone]).

    Args:
        image: with its locations.
        target: the volume to be made, with its final size, its project, and where it will be.
        volumes: the volumes that the locations name, as far as they exist; others are not looked at.
        backend: what the target's backend can do.
        settings: what the operator allows.
        policy: whose rules.

    Returns:
        The volumes that can be cloned, best first, and why each other one cannot.  A volume is eligible if and only
        if no verdict about the request and none about that volume failed.

    Raises:
        InvalidFact: two of `volumes` have the same id and differ.

    >>> from imagevol_core import ImageLocation
    >>> fast = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> image = Image(id="i", status="active", owner="p", disk_format="raw", container_format="bare",
    ...               size_bytes=5, locations=(ImageLocation(f"cinder://fast/{fast}"),))
    >>> target = Volume(id="t", project_id="p", host="h@fast#fast", size_gib=1, encrypted=False)
    >>> decision = decide_clone(image, target=target, volumes=[], backend=Backend(),
    ...                         settings=CloneSettings(allowed_direct_url_schemes=("cinder",)))
    >>> decision.eligible
    False
    >>> [str(verdict) for verdict in decision.verdicts if verdict.faults]
    ['fails volume-found (9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1): Cinder knows no such volume, or does not show it to \
these credentials']
    """
    known, spelled = _by_id(volumes), table_of(_SPELLED, policy)
    found = {spelled(volume_id): volume for volume_id, volume in known.items()}
    volume_ids, not_locations = _named(image, table_of(_DIALECTS, policy))
    request = CloneRequest(
        image=image,
        target=target,
        backend=backend,
        settings=settings,
        volume_ids=volume_ids,
        not_locations=not_locations,
    )
    rules, of_volume = table_of(REQUEST_RULES, policy), table_of(VOLUME_RULES, policy)
    request_verdicts = evaluate(rules, request)
    verdicts, refused = list(request_verdicts), bool(failed(request_verdicts))
    eligible: list[Volume] = []
    for volume_id in volume_ids:
        volume = found.get(spelled(volume_id))
        candidate = CloneCandidate(
            request=request, found=volume, record=read_metadata(volume.metadata) if volume else None
        )
        about = evaluate(of_volume, candidate, subject=volume_id)
        verdicts.extend(about)
        if volume is not None and not refused and not failed(about):
            eligible.append(volume)
    sources = table_of(_IN_ORDER, policy)(eligible, target)
    return CloneDecision(
        policy=policy,
        sources=sources,
        extend_to_gib=target.size_gib if sources else None,
        raises=_raised(rules, request_verdicts) if refused else None,
        verdicts=tuple(verdicts),
    )


def _raised(rules: Sequence[Requirement[CloneRequest]], verdicts: Sequence[Verdict]) -> str | None:
    """Say how the service fails over the first rule that does not hold; None if it only leaves the clone aside."""
    first = next(number for number, verdict in enumerate(verdicts) if not verdict.ok)
    return verdicts[first].text if rules[first].raises else None


def _by_id(volumes: Iterable[Volume]) -> dict[str, Volume]:
    known: dict[str, Volume] = {}
    for volume in volumes:
        if known.setdefault(volume.id, volume) != volume:
            raise InvalidFact("volumes", f"volume {volume.id} is given twice and differs; give each volume once")
    return known


def _named(image: Image, dialect: Dialect) -> tuple[tuple[str, ...], tuple[UnreadLocation, ...]]:
    """The volumes that the locations name, each once and in order, and why the other locations name none."""
    volume_ids: list[str] = []
    unread: list[UnreadLocation] = []
    for location in image.locations:
        named = read_location(location.url, dialect=dialect)
        if isinstance(named, UnreadLocation):
            unread.append(named)
        else:
            volume_ids.append(named.volume_id)
    return tuple(dict.fromkeys(volume_ids)), tuple(unread)


# Which volumes a location names, and in which order the eligible ones are tried.

_DIALECTS = {Policy.STRICT: Dialect.STRICT, Policy.UPSTREAM: Dialect.CINDER}
_SPELLED: Mapping[Policy, Callable[[str], str]] = {Policy.STRICT: str, Policy.UPSTREAM: in_database}


def _best_first(eligible: list[Volume], target: Volume) -> tuple[Volume, ...]:
    """Same pool, then same backend; then least to extend; then as the locations are; then by id."""

    def key(volume: Volume) -> tuple[bool, int]:
        return volume.host != target.host, target.size_gib - volume.size_gib

    return tuple(sorted(eligible, key=key))  # stable: the locations' order stays, and no id comes twice


def _newest_only(eligible: list[Volume], _target: Volume) -> tuple[Volume, ...]:
    """Cinder takes the first row of its query, newest first and then by id, and tries no other."""
    never = datetime.min.replace(tzinfo=UTC)
    rows = sorted(eligible, key=lambda volume: (volume.created_at or never, volume.id), reverse=True)
    return tuple(rows[:1])


_IN_ORDER = {Policy.STRICT: _best_first, Policy.UPSTREAM: _newest_only}


REQUEST_RULES: Mapping[Policy, tuple[Requirement[CloneRequest], ...]] = {
    Policy.STRICT: STRICT_REQUEST_RULES,
    Policy.UPSTREAM: UPSTREAM_REQUEST_RULES,
}
VOLUME_RULES: Mapping[Policy, tuple[Requirement[CloneCandidate], ...]] = {
    Policy.STRICT: STRICT_VOLUME_RULES,
    Policy.UPSTREAM: UPSTREAM_VOLUME_RULES,
}
