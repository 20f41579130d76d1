"""What shows that the Glance and the Cinder of an audit belong together.

One Glance may serve several regions, and two of them may share a project.  Then "it is not among the volumes" says
nothing of a store whose volumes are in another Cinder.  So what is missing counts only where something of the same kind
is there: an image and a volume of a trusted project that name each other.  What has been shown is kept as a few texts.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagevol_core.auditing.facts import AuditSettings, Claim, recorded_image
from imagevol_core.facts import Volume

__all__ = ["TEMPLATES", "glance_shown", "place_of", "shown_by", "store_evidence", "stores_of"]

TEMPLATES = "template"
"""It was shown that a template and its image know each other."""

_PLACE = "place "


def stores_of(claim: Claim) -> tuple[str, ...]:
    """Give the stores that a location names, of which there are several where URL and metadata differ.

    >>> stores_of(Claim(image_id="i", owner=None, size_bytes=None, digest=None, url="cinder://fast/v",
    ...     url_store="fast", said_store="fast", others=0))
    ('fast',)
    """
    return tuple(sorted({name for name in (claim.url_store, claim.said_store) if name is not None}))


def store_evidence(claim: Claim) -> frozenset[str]:
    """Give what must have been shown before a volume of a location is surely lost.

    >>> sorted(store_evidence(Claim(image_id="i", owner=None, size_bytes=None, digest=None, url="cinder://v",
    ...     url_store=None, said_store=None, others=0)))
    ['no store']
    """
    return frozenset(f"store {name!r}" for name in stores_of(claim)) or frozenset({"no store"})


def place_of(volume: Volume) -> str:
    """Give what must have been shown before a volume surely lacks its image.

    >>> place_of(Volume(id="v", size_gib=1, project_id="stores", volume_type="ssd"))
    "place 'stores' 'ssd'"
    """
    return f"{_PLACE}{volume.project_id!r} {volume.volume_type!r}"


def shown_by(volume: Volume, claims: Iterable[Claim], *, settings: AuditSettings) -> frozenset[str]:
    """Give what a volume and the locations that name it show; of what a user may have written, nothing.

    >>> from datetime import UTC, datetime
    >>> claim = Claim(image_id="i", owner=None, size_bytes=None, digest=None, url="cinder://fast/v",
    ...     url_store="fast", said_store="fast", others=0)
    >>> held = Volume(id="v", size_gib=1, project_id="stores", volume_type="ssd", metadata={"image_id": "i"})
    >>> settings = AuditSettings(now=datetime(2026, 1, 1, tzinfo=UTC), trusted_projects=frozenset({"stores"}))
    >>> sorted(shown_by(held, [claim], settings=settings))
    ["place 'stores' 'ssd'", "store 'fast'"]
    """
    recorded = recorded_image(volume)
    if recorded is None or volume.project_id not in settings.trusted_projects:
        return frozenset()
    own = [store_evidence(claim) for claim in claims if claim.image_id == recorded]
    stores = [names for names in own if len(names) == 1]  # where URL and metadata differ, which is right?
    return frozenset().union(*stores, {place_of(volume)} if own else ())


def glance_shown(settings: AuditSettings) -> bool:
    """Tell whether anything of this Glance was shown to be in this Cinder.

    >>> from datetime import UTC, datetime
    >>> glance_shown(AuditSettings(now=datetime(2026, 1, 1, tzinfo=UTC), shown=frozenset({TEMPLATES})))
    True
    """
    return any(name == TEMPLATES or name.startswith(_PLACE) for name in settings.shown)
