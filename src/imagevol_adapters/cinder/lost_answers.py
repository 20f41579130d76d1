"""What Cinder has done for a request of which no answer came: it is looked up, and not asked for twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imagevol_adapters.cinder.client import said_as_ours
from imagevol_adapters.cleanup import naming
from imagevol_adapters.keystone import never_sent
from imagevol_adapters.repeating import looked_up
from imagevol_adapters.waiting import wait_until
from imagevol_core import (
    AttachmentFacts,
    CallerError,
    DeadlineExceeded,
    ImagevolError,
    InUse,
    ResourceNotFound,
    ServiceError,
    Volume,
)
from imagevol_core.remains import lost_attachment

if TYPE_CHECKING:
    import cinderclient.v3.client

__all__ = ["created_once", "reserved_once", "settled", "unless_deleted", "unset_metadata"]

_LOG = logging.getLogger(__name__)
_PASSING = frozenset({"creating", "downloading", "detaching"})  # Cinder refuses to delete these, for now


def created_once(
    ask: Callable[[], Volume],
    named: Callable[[str], Iterable[Volume]],
    *,
    name: str,
    metadata: Mapping[str, str],
    volume_type: str | None,
) -> Volume:
    """Ask for a volume; if no answer comes, give the volume of this name, type and metadata, if there is just one.

    Args:
        ask: asks for it.
        named: gives the volumes of a name.
        name: of the volume.
        metadata: what it has from its first moment; without any, it is not told from others.
        volume_type: of the volume; None for any.

    Raises:
        ServiceError: no answer came, and there is no such volume, or more than one.
    """

    def created() -> Volume | None:
        found = [
            each
            for each in (named(name) if metadata else ())
            if metadata.items() <= each.metadata.items() and volume_type in (None, each.volume_type)
        ]
        return found[0] if len(found) == 1 else None

    return looked_up(ask, done=created)


def reserved_once(
    ask: Callable[[], str],
    volume_id: str,
    *,
    shown: Callable[[str], Volume],
    holders: Callable[[str], Iterable[AttachmentFacts]],
) -> str:
    """Ask for an attachment; if no answer comes, give the one that Cinder has created, if that is certain.

    Args:
        ask: asks for it, and gives its id.
        volume_id: of the volume.
        shown: gives a volume.
        holders: gives the attachments of a volume.

    Raises:
        ServiceError: no answer came, and there is no such attachment; or one that may be it, which is then named.
    """
    asked_at, begun = datetime.now(UTC), time.monotonic()
    try:
        return ask()
    except ServiceError as error:
        if never_sent(error):
            raise
        seconds = time.monotonic() - begun
        left = f"an attachment of volume {volume_id}, if Cinder has created it"
        try:
            volume, found = shown(volume_id), tuple(holders(volume_id))
        except CallerError:
            raise error from error.__cause__
        except ImagevolError:
            with naming(left):
                raise error from error.__cause__
        lost = lost_attachment(volume, found, asked_at=asked_at, seconds=seconds)
        if lost is not None:
            return lost.id
        if volume.status == "reserved":
            with naming(left):
                raise
        raise


def settled(volume_id: str, *, get: Callable[[str], Volume], seconds: float) -> Volume | None:
    """Give a volume that will be deleted, once Cinder is done with what it does to it.

    Args:
        volume_id: of the volume.
        get: gives a volume.
        seconds: how long to wait at most.

    Returns:
        The volume; None if Cinder does not show it now, as when it accepts no token. Cinder can delete it all the same,
        and refuses that if the volume is in use.

    Raises:
        ResourceNotFound: there is no such volume.
        DeadlineExceeded: Cinder is not done.
    """
    try:
        return wait_until(
            lambda: get(volume_id),
            lambda volume: volume.status not in _PASSING,
            what=f"volume {volume_id} is still being made or let go",
            seconds=seconds,
        )
    except (ResourceNotFound, DeadlineExceeded):
        raise
    except ImagevolError as error:
        _LOG.debug("Volume %s: deleting it without a look at it: %s", volume_id, error)
        return None


@contextmanager
def unless_deleted(volume_id: str, *, find: Callable[[Sequence[str]], Iterable[Volume]]) -> Iterator[None]:
    """Pass over a refusal to delete a volume that is being deleted, as after a first request without an answer.

    Args:
        volume_id: of the volume, which existed a moment ago.
        find: gives those of some volumes that exist.

    Raises:
        InUse: it is not being deleted.
    """
    try:
        yield
    except ResourceNotFound:  # by another program, or by the first request
        return
    except InUse:
        if any(volume.status != "deleting" for volume in find([volume_id])):
            raise


def unset_metadata(client: cinderclient.v3.client.Client, volume_id: str, keys: Sequence[str]) -> None:
    """Take keys away from the metadata of a volume; those that are not there are no error.

    cinderclient names the metadata by an etag, which fits no more when a first request was done and is sent again.

    Args:
        client: of Cinder.
        volume_id: of the volume.
        keys: which keys.
    """

    def there() -> list[str]:
        with said_as_ours(f"volume {volume_id}", ("volume", volume_id)):
            return [key for key in keys if key in client.volumes.get(volume_id).metadata]

    def ask(unwanted: list[str]) -> bool:
        with said_as_ours(f"volume {volume_id}", ("volume", volume_id)):
            client.volumes.delete_metadata(volume_id, unwanted)
        return True

    if unwanted := there():
        looked_up(lambda: ask(unwanted), done=lambda: not there() or None)
