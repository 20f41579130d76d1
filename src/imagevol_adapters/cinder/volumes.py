"""Cinder, through python-cinderclient over a keystoneauth1 session.

A session carries its own credentials and TLS settings; two stores with different ones have two `CinderVolumes`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
import tenacity
from cinderclient.v3.client import Client
from keystoneauth1.session import Session

from imagevol_adapters.attaching_records import AttachingRecords
from imagevol_adapters.cinder.attachments import holders_of, is_on_host, reservations_of
from imagevol_adapters.cinder.client import CONFLICTS, connect, newest_message, said_as_ours, volume_facts
from imagevol_adapters.cinder.lost_answers import created_once, reserved_once, settled, unless_deleted, unset_metadata
from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cinder.volume_pages import is_volume_id, listed_volumes, shown_volumes
from imagevol_adapters.cinder.volume_types import (
    default_type,
    known_pools,
    listed_types,
    placed_types,
    shown_type,
    type_is_encrypted,
)
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.keystone import KEYSTONE
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.repeating import looked_up, repeating
from imagevol_adapters.translation import translated
from imagevol_adapters.waiting import wait_until
from imagevol_core import (
    AccessDenied,
    AttachmentFacts,
    InUse,
    NoAnswer,
    NotFound,
    PlacedType,
    RequestRefused,
    ResourceNotFound,
    ServiceError,
    Volume,
    VolumeAnswer,
    VolumeBusy,
    VolumeFailed,
    VolumeType,
    decide_attach_retry,
    patience_seconds,
)

__all__ = ["CinderVolumes"]

_LOG = logging.getLogger(__name__)
# Short, so that a volume is not free for long before the next one takes it; random, so that not all ask at once.
_PAUSES = tenacity.wait_exponential(multiplier=0.25, max=1.5) + tenacity.wait_random(0, 0.5)

_NOT_ADMIN = "Cinder {}, because these credentials are not an administrator's: use credentials with the admin role"


@attrs.define(kw_only=True)
class CinderVolumes:
    """The volumes that one set of credentials may use: a `VolumeService`.

    Args:
        session: who asks.
        region_name: which region's Cinder.
        interface: which of its endpoints.
        endpoint_override: where it is, whatever the service catalogue says.
        wait_seconds: how long a volume may take from one state to the next; glance_store's default.
        delete_seconds: how long a deletion is waited for, where that is not the same; Cinder goes on alone.
        retries: how often a request that failed is sent again at most; a few times when None.
        attach_attempts: how patiently an attachment is asked for while another has the volume: for as long as
            glance_store does with that many attempts (1: not at all, 5: 24 s), and more often in that time.
        records: keep which process of this host makes an attachment, while Cinder does not show it.
    """

    session: Session
    region_name: str | None = None
    interface: str = "public"
    endpoint_override: str | None = None
    wait_seconds: float = 300
    delete_seconds: float | None = None
    retries: int | None = None
    attach_attempts: int = 1
    records: AttachingRecords = attrs.field(factory=AttachingRecords)
    _client: Client | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Let what fails be sent again, where that is safe."""
        self.session = repeating(self.session, retries=self.retries)

    @property
    def project_id(self) -> str | None:
        """The project of the credentials; None where they do not say."""
        with translated(KEYSTONE, doing="Keystone"):
            return self.session.get_project_id()

    def create(
        self,
        *,
        size_gib: int,
        name: str,
        volume_type: str | None = None,
        image_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Volume:
        """Ask for a volume, empty or made from an image."""
        wishes: dict[str, Any] = {"metadata": dict(metadata or {}), "volume_type": volume_type}

        def ask() -> Volume:
            with said_as_ours(f"creating volume {name}"):
                return volume_facts(self._cinder().volumes.create(size_gib, name=name, imageRef=image_id, **wishes))

        return created_once(ask, self.named, name=name, **wishes)

    def clone(
        self, volume_id: str, *, name: str, metadata: Mapping[str, str], volume_type: str | None = None
    ) -> Volume:
        """Ask for a clone of a volume, of its size, and of its type if no other is named."""
        wishes: dict[str, Any] = {"name": name, "metadata": dict(metadata), "volume_type": volume_type}

        def ask() -> Volume:
            with said_as_ours(f"cloning volume {volume_id}", ("volume", volume_id), table=CONFLICTS):
                return volume_facts(self._cinder().volumes.create(None, source_volid=volume_id, **wishes))

        return created_once(ask, self.named, **wishes)

    def get(self, volume_id: str) -> Volume:
        """Give what is known of one volume."""
        with said_as_ours(f"volume {volume_id}", ("volume", volume_id)):
            return volume_facts(self._cinder().volumes.get(volume_id))

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist, in the order asked."""
        wanted = list(volume_ids)
        found = dict(self._shown(wanted))
        return tuple(found[volume_id] for volume_id in wanted if volume_id in found)

    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        """Give the volumes of a project, in pages, as an administrator.

        Args:
            project_id: whose.
            metadata: what they must have among theirs.

        Raises:
            AccessDenied: to the credentials Cinder shows only their own project.
        """
        filters = {"all_tenants": 1, "project_id": project_id}
        try:
            with said_as_ours(f"the volumes of project {project_id}"):
                found = listed_volumes(self._cinder(), filters | ({"metadata": dict(metadata)} if metadata else {}))
                for shown in found:
                    if "os-vol-host-attr:host" not in shown.to_dict():
                        raise AccessDenied(_NOT_ADMIN.format("does not show where volumes are"))
                    yield volume_facts(shown)
        except RequestRefused as error:  # of what is asked here, Cinder refuses only what is for administrators
            raise AccessDenied(_NOT_ADMIN.format(f"does not list the volumes of project {project_id}")) from error

    def types_of(self, volume_ids: Sequence[str]) -> Mapping[str, VolumeAnswer]:
        """Say of which type each volume is: what `plan_migration` asks, a page of volumes at a time.

        Args:
            volume_ids: what the locations name; also what cannot be the id of a volume.

        Returns:
            An answer for each.  `NotFound` where Cinder shows these credentials no such volume, and `NoAnswer` where it
            cannot be asked.

        Raises:
            AccessDenied: the credentials are not accepted.
        """
        try:
            shown = {volume_id: volume.volume_type for volume_id, volume in self._shown(volume_ids)}
        except ServiceError as error:
            return dict.fromkeys(volume_ids, NoAnswer(str(error)))
        return {volume_id: shown.get(volume_id, NotFound()) for volume_id in volume_ids}

    def named(self, name: str) -> tuple[Volume, ...]:
        """Give the volumes of this project that have this name."""
        with said_as_ours(f"volumes named {name}"):
            return tuple(map(volume_facts, self._cinder().volumes.list(search_opts={"name": name})))

    def with_metadata(self, metadata: Mapping[str, str]) -> tuple[Volume, ...]:
        """Give the volumes of this project that have all of this among their metadata."""
        wanted = dict(metadata)
        with said_as_ours("the volumes of the project"):
            shown = map(volume_facts, listed_volumes(self._cinder(), {"metadata": wanted}))
            # An operator may have taken the filter away.
            return tuple(volume for volume in shown if wanted.items() <= volume.metadata.items())

    def base_image_id(self, volume_id: str) -> str | None:
        """Give the image that the volume, or what it is a clone of, was made from."""
        with said_as_ours(f"volume {volume_id}", ("volume", volume_id)):
            shown = self._cinder().volumes.get(volume_id).to_dict()
            image_id: str | None = shown.get("volume_image_metadata", {}).get("image_id")
            return image_id

    def wait(self, volume_id: str) -> Volume:
        """Return when the volume is available."""

        def available(volume: Volume) -> bool:
            self._refuse_error(volume, wanted="available")
            return volume.status == "available"

        return wait_until(
            lambda: self.get(volume_id),
            available,
            what=f"volume {volume_id} is not available",
            seconds=self.wait_seconds,
        )

    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        """Make an available volume larger, and return when it is."""

        def ask() -> bool:
            with said_as_ours(f"extending volume {volume_id}", ("volume", volume_id), table=CONFLICTS):
                self._cinder().volumes.extend(volume_id, size_gib)
            return True

        def begun() -> bool | None:
            volume = self.get(volume_id)
            return volume.status == "extending" or volume.size_gib >= size_gib or None

        looked_up(ask, done=begun)
        grown = self.wait(volume_id)
        if grown.size_gib < size_gib:  # Cinder's scheduler puts it back as it was where the backend has no room
            reason = newest_message(self._cinder(), volume_id)
            raise VolumeFailed(volume_id, status=str(grown.status), wanted=f"extended to {size_gib} GiB", reason=reason)
        return grown

    def set_readonly(self, volume_id: str, *, readonly: bool) -> None:
        """Mark the volume so that no attachment may write to it, or take the mark away."""
        with said_as_ours(f"volume {volume_id}", ("volume", volume_id)):
            self._cinder().volumes.update_readonly_flag(volume_id, readonly)

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        """Write these keys; others stay."""
        with said_as_ours(f"volume {volume_id}", ("volume", volume_id)):
            self._cinder().volumes.set_metadata(volume_id, dict(metadata))

    def unset_metadata(self, volume_id: str, keys: Sequence[str]) -> None:
        """Take these keys away; those that are not there are no error."""
        unset_metadata(self._cinder(), volume_id, keys)

    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        """Delete the volume, once Cinder is done with what it does to it, and return when it is gone."""
        volume = settled(volume_id, get=self.get, seconds=self.wait_seconds)
        if volume is None or volume.status != "deleting":  # as when Glance deletes it with its image
            with (
                unless_deleted(volume_id, find=self.find),
                said_as_ours(f"deleting volume {volume_id}", ("volume", volume_id), table=CONFLICTS),
            ):
                self._cinder().volumes.delete(volume_id)
        self.records.forget(None, volume_id)
        if not wait:
            return

        def gone(volumes: tuple[Volume, ...]) -> bool:
            for volume in volumes:
                self._refuse_error(volume, wanted="deleted")
                if volume.status == "available":  # a backend that cannot let it go puts it back
                    raise InUse(f"volume {volume_id} cannot be deleted: its backend says that others depend on it")
            return not volumes

        wait_until(
            lambda: self.find([volume_id]),
            gone,
            what=f"volume {volume_id} is not gone",
            seconds=self.wait_seconds if self.delete_seconds is None else self.delete_seconds,
        )

    def attach(
        self,
        volume_id: str,
        *,
        connector: Mapping[str, Any],
        mode: AccessMode,
        when_busy: Callable[[], bool] | None = None,
    ) -> Attachment:
        """Reserve the volume for a host and give what it connects by.

        In two steps, so that the attachment is known, and taken back, when the backend refuses the host.
        """
        reserved = self._reserved(volume_id, connector, mode, when_busy)
        with undone_on_failure(f"attachment {reserved.id} of volume {volume_id}", lambda: self.detach(reserved)):
            with said_as_ours(f"exporting volume {volume_id} to this host", ("volume", volume_id)):
                connection = dict(self._cinder().attachments.update(reserved.id, dict(connector)).connection_info)
            if mode is AccessMode.WRITE and connection.get("access_mode") == "ro":  # Cinder tells, and lets it pass
                raise InUse(f"volume {volume_id} is read-only: `openstack volume set --read-write` takes the mark away")
            return attrs.evolve(reserved, connection=connection)

    def attachment(self, attachment_id: str) -> Attachment:
        """Give what is known of an attachment by now, which may be more than was when it was made."""
        with said_as_ours(f"attachment {attachment_id}", ("attachment", attachment_id)):
            shown = self._cinder().attachments.show(attachment_id)
            return Attachment(id=attachment_id, volume_id=shown.volume_id, connection=dict(shown.connection_info))

    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        """Reserve the volume without a host: until that is detached, no program can attach or delete it.

        Raises:
            VolumeBusy: it is attached, or Cinder is changing it.
            InUse: it is in a state that does not pass, as `error`.
        """

        def ask() -> str:
            with said_as_ours(f"attaching volume {volume_id}", ("volume", volume_id), table=CONFLICTS):
                return str(self._cinder().attachments.create(volume_id, None, mode=mode.value)["id"])

        try:
            attachment_id = reserved_once(ask, volume_id, shown=self.get, holders=self.holders)
        except InUse as refusal:
            volume = self.get(volume_id)
            if not decide_attach_retry(volume).again:
                raise
            raise VolumeBusy(volume_id, status=volume.status) from refusal.__cause__
        return Attachment(id=attachment_id, volume_id=volume_id, connection={})

    def reservations(self, volume_id: str) -> tuple[Attachment, ...]:
        """Give the attachments of the volume that reserve it without a host."""
        return reservations_of(self._cinder(), volume_id)

    def holders(self, volume_id: str) -> tuple[AttachmentFacts, ...]:
        """Give what is known of each attachment of the volume; where it is, Cinder tells with the volume only."""
        return holders_of(self._cinder(), volume_id, records=self.records)

    def complete(self, attachment: Attachment) -> None:
        """Make the volume `in-use`; from then on Cinder shows which process has it."""
        with said_as_ours(f"attachment {attachment.id}", ("attachment", attachment.id)):
            self._cinder().attachments.complete(attachment.id)
        self.records.forget(attachment.id, attachment.volume_id)

    def shares_host(self, attachment: Attachment, *, host: str) -> bool:
        """Tell whether the volume has another attachment to that host."""
        return is_on_host(self._cinder(), attachment, host=host)

    def detach(self, attachment: Attachment) -> None:
        """Withdraw the permission. If it is gone already, that is no error."""
        what = f"detaching volume {attachment.volume_id}"
        with suppress(ResourceNotFound), said_as_ours(what, ("attachment", attachment.id)):
            self._cinder().attachments.delete(attachment.id)
        self.records.forget(attachment.id, attachment.volume_id)

    def volume_types(self) -> tuple[str, ...]:
        """Give the names of all volume types that these credentials see, for an administrator the private ones too."""
        return tuple(each.name for each in listed_types(self._cinder()))

    def volume_type(self, name: str) -> VolumeType | None:
        """Give a volume type; None for who is no administrator, to whom Cinder shows some of its extra specs only."""
        return shown_type(self._cinder(), name)

    def default_volume_type(self) -> str | None:
        """Give the name of the type of volumes that name none, which may differ between projects."""
        return default_type(self._cinder())

    def placed_types(self) -> tuple[PlacedType, ...]:
        """Give all volume types with what they say of where their volumes are, to an administrator."""
        return placed_types(self._cinder())

    def is_encrypted(self, volume_type: str) -> bool:
        """Tell whether the volumes of a type are encrypted, as an administrator.

        Raises:
            AccessDenied: Cinder does not tell these credentials.
        """
        return type_is_encrypted(self._cinder(), volume_type)

    def pools(self) -> tuple[Pool, ...]:
        """Give the pools that Cinder's scheduler knows, as an administrator.

        Raises:
            AccessDenied: Cinder does not tell these credentials.
        """
        return known_pools(self._cinder())

    def _reserved(
        self, volume_id: str, connector: Mapping[str, Any], mode: AccessMode, when_busy: Callable[[], bool] | None
    ) -> Attachment:
        """Reserve the volume for a process that is noted, and wait for it while another has it."""
        started, seconds = time.monotonic(), patience_seconds(self.attach_attempts)

        def noted() -> Attachment:
            with self.records.reserving(volume_id, connector):
                reserved = self.reserve(volume_id, mode=mode)
                self.records.write(reserved.id, connector)
                return reserved

        def reserve() -> Attachment:
            try:
                return noted()
            except VolumeBusy:
                if when_busy is None or not when_busy():
                    raise
            return noted()

        def told(state: tenacity.RetryCallState) -> None:
            if state.attempt_number == 1:
                _LOG.warning("Volume %s is in use: waiting up to %.0f s to attach it", volume_id, seconds)

        patient = tenacity.Retrying(
            stop=tenacity.stop_after_delay(seconds),
            wait=_PAUSES,
            retry=tenacity.retry_if_exception_type(VolumeBusy),
            before_sleep=told,
            reraise=True,
        )
        try:
            return patient(reserve)
        except VolumeBusy as busy:
            waited = time.monotonic() - started
            raise VolumeBusy(volume_id, status=busy.status, waited_seconds=waited) from busy.__cause__

    def _shown(self, volume_ids: Iterable[str]) -> Iterator[tuple[str, Volume]]:
        """Those of the volumes that Cinder shows, by what they were asked by: a page at a time, but for odd ids."""
        asked = dict.fromkeys(volume_ids)
        paged = [volume_id for volume_id in asked if is_volume_id(volume_id)] if len(asked) > 1 else []
        if paged:
            with said_as_ours(f"{len(paged)} volumes"):
                for volume in shown_volumes(self._cinder(), paged):
                    yield volume.id, volume_facts(volume)
        for volume_id in asked.keys() - {*paged, ""}:
            # Of an odd text Cinder may say that it is a bad request; of an id that it does not exist, and no less.
            with suppress(ResourceNotFound, *(() if is_volume_id(volume_id) else (RequestRefused,))):
                yield volume_id, self.get(volume_id)

    def _cinder(self) -> Client:
        """The client, made when it is first needed."""
        if self._client is None:
            self._client = connect(
                self.session,
                interface=self.interface,
                region_name=self.region_name,
                endpoint_override=self.endpoint_override,
            )
        return self._client

    def _refuse_error(self, volume: Volume, *, wanted: str) -> None:
        """Raise when the volume is in one of Cinder's error states, with the newest thing that Cinder says of it."""
        if not str(volume.status).startswith("error"):
            return
        reason = newest_message(self._cinder(), volume.id)
        raise VolumeFailed(volume.id, status=str(volume.status), wanted=wanted, reason=reason)
