"""Cinder's volumes by the page: what is known of many, without a request for each.

From an administrator Cinder takes a list of ids as a filter.  It refuses that to others, whose volumes are then all
listed; only an administrator sees those of other projects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import cinderclient.v3.client

__all__ = ["attachment_pages", "is_volume_id", "listed_volumes", "shown_volumes", "volume_pages"]

# 47 bytes each in a URL: web servers take a request line of 8190, and uWSGI a head of 4096 unless it is told otherwise.
_IDS_A_REQUEST = 50
_VOLUMES_A_REQUEST = 1000  # what Cinder gives at most, unless osapi_max_limit says otherwise
_TRIES = 5  # volumes that go one after the other while they are listed
_FILTER_REFUSED = (400, 414)  # by Cinder, and by a web server that takes shorter lines


def is_volume_id(text: str) -> bool:
    """Tell whether it is spelled as Cinder spells the ids of volumes.

    >>> is_volume_id("9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"), is_volume_id("9A1B6B0C-93E4-4A3C-A2A5-3D5BD2D3B6A1")
    (True, False)
    """
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def shown_volumes(client: cinderclient.v3.client.Client, volume_ids: Sequence[str]) -> Iterator[Any]:
    """Give those of the volumes that Cinder shows, each as cinderclient has it; its errors are cinderclient's own.

    Args:
        client: with the credentials that ask.
        volume_ids: spelled as `is_volume_id` wants them, each once.
    """
    from cinderclient import exceptions as cinder_errors  # noqa: PLC0415 - imported already by the client's maker

    for start in range(0, len(volume_ids), _IDS_A_REQUEST):
        ids = volume_ids[start : start + _IDS_A_REQUEST]
        try:
            found = list(listed_volumes(client, {"all_tenants": 1, "id": str(list(ids))}))
        except cinder_errors.ClientException as error:
            if error.code not in _FILTER_REFUSED:
                raise
            wanted = frozenset(volume_ids)
            yield from (volume for volume in listed_volumes(client, {"all_tenants": 1}) if volume.id in wanted)
            return
        # A database may compare ids without regard to case, and a Cinder may know of no such filter.
        wanted = frozenset(ids)
        yield from (volume for volume in found if volume.id in wanted)


def listed_volumes(client: cinderclient.v3.client.Client, filters: Mapping[str, Any]) -> Iterator[Any]:
    """Give all volumes that the filters let through, each once; its errors are cinderclient's own.

    Args:
        client: with the credentials that ask.
        filters: Cinder's, as `all_tenants`.
    """
    given: set[str] = set()
    for page in volume_pages(client, filters):
        yield from (volume for volume in page if volume.id not in given)
        given.update(volume.id for volume in page)


def volume_pages(client: cinderclient.v3.client.Client, filters: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Give all volumes that the filters let through, in pages.  A volume comes again if others go while it is listed.

    Args:
        client: as for `listed_volumes`.
        filters: as for `listed_volumes`.
    """

    def page_after(marker: str | None) -> list[Any]:
        return list(client.volumes.list(search_opts=dict(filters), limit=_VOLUMES_A_REQUEST, marker=marker))

    return pages(page_after)


def attachment_pages(client: cinderclient.v3.client.Client) -> Iterator[list[Any]]:
    """Give all attachments of all projects, without how they are connected, in pages; one may come again.

    Args:
        client: as for `listed_volumes`, with credentials of an administrator.
    """

    def page_after(marker: str | None) -> list[Any]:
        found = client.attachments.list(search_opts={"all_tenants": 1}, limit=_VOLUMES_A_REQUEST, marker=marker)
        return list(found)

    return pages(page_after)


def pages(page_after: Callable[[str | None], list[Any]]) -> Iterator[list[Any]]:
    """Give page after page, of what length Cinder likes: an empty one is the last.

    Args:
        page_after: asks for the page after an id, or for the first one.
    """
    from cinderclient import exceptions as cinder_errors  # noqa: PLC0415 - as above

    page: list[Any] = []
    restarts = 0
    while True:
        try:
            page = _page_after(page, page_after)
        except cinder_errors.NotFound:
            if not page or restarts == _TRIES:  # a Cinder that knows no volume to count from would be asked for ever
                raise
            page, restarts = [], restarts + 1
            continue
        if not page:
            return
        yield page


def _page_after(page: Sequence[Any], page_after: Callable[[str | None], list[Any]]) -> list[Any]:
    """Give the next page, or the first one if there is none before.

    Cinder answers 404 if what it counts from is gone, or if one of the page goes while it is read.  Then it is asked
    again, from the one before.
    """
    from cinderclient import exceptions as cinder_errors  # noqa: PLC0415 - as above

    markers = [each.id for each in reversed(page[-_TRIES:])] or [None] * _TRIES
    for marker in markers[:-1]:
        with suppress(cinder_errors.NotFound):
            return page_after(marker)
    return page_after(markers[-1])
