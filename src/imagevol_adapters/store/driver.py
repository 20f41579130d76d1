"""What glance_store calls."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, BinaryIO, Protocol
from weakref import WeakValueDictionary

import attrs
import os_brick
from glance_store import capabilities, exceptions
from glance_store import driver as glance_driver
from glance_store import location as glance_location
from glance_store._drivers.cinder.store import Store as CinderStore
from oslo_config import cfg

from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.closing import Closeable, closed_on_failure
from imagevol_adapters.configuration.metrics_option import METRICS_FILE
from imagevol_adapters.configuration.stall_option import STALL_OPTION
from imagevol_adapters.engine import PART_BYTES, Limits
from imagevol_adapters.engine.sources import CallersOwn
from imagevol_adapters.forking import begun_anew_when_forked
from imagevol_adapters.freed_memory import keep_freed_memory
from imagevol_adapters.gathering import with_default_type
from imagevol_adapters.processes import origin
from imagevol_adapters.store import sessions
from imagevol_adapters.store.attaching import StoreAttacher, attacher
from imagevol_adapters.store.counting import counted, counted_content
from imagevol_adapters.store.errors import translated
from imagevol_adapters.store.locations import StoreLocation, StorePrefix
from imagevol_adapters.store.remains import Remains
from imagevol_adapters.store.starting import faults_at_start
from imagevol_adapters.transfers import SharedAttachments, StoreSettings, open_image_volume, store_image
from imagevol_adapters.transfers.attaching import delete_or_leave_to_cinder, delete_volume
from imagevol_adapters.transfers.reclaiming import Reclaimed, reclaim
from imagevol_core import (
    GIB,
    CinderLocation,
    CustodyDecision,
    ImagevolError,
    ImageVolumeMetadata,
    InvalidMetadata,
    ResourceNotFound,
    StoreCatalogue,
    Volume,
    decide_adding,
    decide_deletion,
    decide_reading,
    is_associated,
    is_store_name,
)
from imagevol_core import (
    Store as StoreFacts,
)

__all__ = ["Store"]

LOG = logging.getLogger(__name__)

_GLANCE_ERRORS = (exceptions.BackendException, exceptions.GlanceStoreException)
_Content = Generator[Any, None, None]


class Verifier(Protocol):
    """What checks an image's signature."""

    def update(self, data: memoryview) -> None:
        """Take the next piece."""


@attrs.frozen
class Cloud:
    """Cinder and this host, for one request.

    Attributes:
        volumes: Cinder, as the store's credentials or the requester's see it.
        attacher: this host.
        project_id: the project of those credentials.
    """

    volumes: CinderVolumes
    attacher: StoreAttacher
    project_id: str | None


class Store(glance_driver.Store):
    """A store of Glance that keeps images in volumes.

    Glance makes it, from the section of `glance-api.conf` that has the store's name.
    """

    _CAPABILITIES = (
        capabilities.BitMasks.READ_RANDOM | capabilities.BitMasks.WRITE_ACCESS | capabilities.BitMasks.DRIVER_REUSABLE
    )
    # Those of glance_store's own driver are the very same objects, so that both drivers can be in one Glance.
    OPTIONS = [*CinderStore.OPTIONS, METRICS_FILE, STALL_OPTION]  # noqa: RUF012 - as glance_store has it
    EXAMPLE_URL = "cinder://<store>/<volume-id>"

    def __init__(self, conf: cfg.ConfigOpts, backend: str | None = None) -> None:
        """Take the store's options; nothing is asked yet."""
        super().__init__(conf, backend)
        self._url_prefix = StorePrefix(backend) if backend else "cinder://"
        self.store_conf = (
            glance_driver.BackendGroupConfiguration(self.OPTIONS, backend, conf=conf) if backend else conf.glance_store
        )
        os_brick.setup(cfg.CONF)
        keep_freed_memory()
        self._disabled = ""  # why nothing is added and deleted, where that is so
        self._shared = SharedAttachments()
        self._remains = Remains()
        begun_anew_when_forked(self._begin)

    def _begin(self) -> None:
        """Have no connection to Cinder yet."""
        self._service: Cloud | None = None
        self._requesters: WeakValueDictionary[tuple[str, str, str | None], Cloud] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get_schemes(self) -> tuple[str, ...]:
        """Give the scheme of the locations, and the driver's name, by which Glance looks for its stores."""
        return ("cinder", "imagevol")

    def get_store_location_class(self) -> type[StoreLocation]:
        """Give what reads a location."""
        return StoreLocation

    def configure_add(self) -> None:
        """Stop adding and deleting if the volume type does not exist; reading goes on ([multi]).

        What else is wrong is logged.  If Cinder does not answer, nothing is known to be wrong with the type.

        Raises:
            exceptions.BadStoreConfiguration: no location can name this store; who calls this disables it.
        """
        name = self.backend_group or "glance_store"
        if not is_store_name(name):
            self._disabled = (
                f"{name!r} cannot be part of a location: give the store, in enabled_backends and above its section, a "
                "name of 1 to 64 letters, digits, '_', '.' and '-' that does not begin with os_glance_"
            )
            raise exceptions.BadStoreConfiguration(store_name=name, reason=self._disabled)
        own = self._own_cinder if sessions.has_service_user(self.store_conf) else None
        if faults := faults_at_start(self.conf, self._facts, multi=self.backend_group is not None, cinder=own):
            self.unset_capabilities(capabilities.BitMasks.WRITE_ACCESS)
            self._disabled = "; ".join(map(str, faults))
            LOG.error(
                "Store %s: adding and deleting images is disabled until Glance is restarted: %s", name, self._disabled
            )
            return
        if self._service is not None:  # Keystone has let the store in
            self._remains.look(self._service)

    def _own_cinder(self) -> CinderVolumes:
        return self._cloud(None).volumes

    @property
    def _limits(self) -> Limits:
        return Limits(stall_seconds=self.store_conf.image_clone_stall_seconds)

    @property
    def _facts(self) -> StoreFacts:
        return StoreFacts(
            name=self.backend_group or "glance_store", kind="imagevol", volume_type=self.store_conf.cinder_volume_type
        )

    @glance_driver.back_compat_add
    @capabilities.check
    def add(
        self,
        image_id: str,
        image_file: BinaryIO,
        image_size: int,
        hashing_algo: str,
        context: sessions.RequestContext | None = None,
        verifier: Verifier | None = None,
    ) -> tuple[str, int, str, str, dict[str, str]]:
        """Store an image in a new volume ([store]).

        Args:
            image_id: the image.
            image_file: its data, which is read to its end; closed, if it can be closed.
            image_size: how many bytes there are; 0 if that is not known.
            hashing_algo: of the multihash.
            context: whose image it is.
            verifier: shown the data.

        Returns:
            The location, how many bytes there were, their md5 and multihash, and the location's metadata.

        Raises:
            exceptions.StorageFull: backend or quota have no room.
            exceptions.Invalid: the data is shorter or longer than was said.
            exceptions.BackendException: it failed otherwise; in each case the volume is gone, or named.
        """
        with (
            closed_on_failure(image_file),
            translated(),
            counted(self.store_conf, self.backend_group, "write") as transfer,
        ):
            if context is None:
                raise _misconfigured("an image is stored for a requester, and this request has no context")
            cloud, own = self._cloud(context), sessions.has_service_user(self.store_conf)
            if own:  # in a user's project the metadata of volumes are the user's word
                self._remains.look(cloud)
            stored = store_image(
                # No more at once: Glance and its web server copy each piece several times.
                _source(iter(lambda: image_file.read(PART_BYTES) or b"", b""), image_file),
                image_id=image_id,
                image_owner=context.project_id,
                size_bytes=image_size or None,
                volumes=cloud.volumes,
                attacher=cloud.attacher,
                volume_type=self.store_conf.cinder_volume_type,
                # In a user's project nothing that is recorded would be believed.
                settings=StoreSettings(hash_algorithm=hashing_algo, blake3=None if own else False),
                observe=verifier.update if verifier else None,
                limits=self._limits,
                made_by=origin("add", image_id, tell_host=own),
            )
            volume_id, group = stored.volume.id, self.backend_group
            with undone_on_failure(f"volume {volume_id}", lambda: delete_volume(cloud.volumes, volume_id)):
                where = CinderLocation(store=group, volume_id=volume_id)
            transfer.size_bytes, transfer.whole = stored.report.size_bytes, True
        digests = stored.report.digests
        return (
            str(where),
            stored.report.size_bytes,
            digests["md5"].value,
            digests[hashing_algo].value,
            {"store": group} if group else {},
        )

    @capabilities.check
    def get(
        self,
        location: glance_location.Location,
        offset: int = 0,
        chunk_size: int | None = None,
        context: sessions.RequestContext | None = None,
    ) -> tuple[Iterator[bytes], int]:
        """Give the image's data, or a part of them ([store]).

        The multihash is not checked here: who downloads an image checks it, and a part of one has none.

        Args:
            location: of the image.
            offset: from which byte on.
            chunk_size: how many bytes; to the image's end when None.
            context: who asks.

        Returns:
            The data, an iteration that may be closed before its end; and how many bytes they are.

        Raises:
            exceptions.NotFound: there is no such volume, or it is a user's.
            exceptions.BackendException: it cannot be read.  Where that shows in the middle, the iteration raises it.
        """
        with translated():
            read = self._content(location.store_location.volume_id, offset, chunk_size, self._cloud(context))
            content = counted_content(read, self.store_conf, self.backend_group)
        return content, next(content)

    def get_size(self, location: glance_location.Location, context: sessions.RequestContext | None = None) -> int:
        """Tell how many bytes the image has; 0 where its volume says what makes no sense.

        Glance asks when a location is added to an image, and the context says who adds it.

        Raises:
            exceptions.NotFound: there is no such volume, or it is not the requester's.
            exceptions.BackendException: Cinder does not say.
        """
        volume_id = location.store_location.volume_id
        with translated():
            cloud = self._cloud(context)
            volume = cloud.volumes.get(volume_id)
            requester, is_admin = sessions.requester_of(context)
            decision = decide_adding(volume, project_id=cloud.project_id, requester=requester, is_admin=is_admin)
            self._permit(decision, volume_id)
        try:
            recorded = ImageVolumeMetadata.from_volume(volume.metadata).size_bytes
        except InvalidMetadata as error:
            LOG.warning("Image volume %s: %s", volume_id, error)
            return 0
        return volume.size_gib * GIB if recorded is None else recorded

    def delete(self, location: glance_location.Location, context: sessions.RequestContext | None = None) -> None:
        """Delete the image's volume ([store]).

        The capability is not checked by glance_store, whose error makes Glance forget a volume that stays.

        Raises:
            exceptions.NotFound: there is no such volume.
            exceptions.InUseByStore: it is being read, or has clones or snapshots, or the store is disabled.
            exceptions.StoreDeleteNotSupported: it is a user's, or held; Glance forgets the location only.
            exceptions.BackendException: it cannot be deleted.
        """
        volume_id = location.store_location.volume_id
        if not self.is_capable(capabilities.BitMasks.WRITE_ACCESS):
            name = self.backend_group or "glance_store"
            raise exceptions.InUseByStore(
                f"Volume {volume_id} stays: deleting images of store {name} is disabled until Glance is restarted: "
                f"{self._disabled}"
            )
        with translated():
            cloud = self._cloud(context)
            decision = decide_deletion(cloud.volumes.get(volume_id), project_id=cloud.project_id)
            if not decision.allowed:
                raise exceptions.StoreDeleteNotSupported(
                    f"Volume {volume_id} is not deleted: {'; '.join(decision.reasons)}"
                )
            delete_or_leave_to_cinder(cloud.volumes, volume_id, free=partial(_free, cloud))

    def is_image_associated_with_store(self, context: sessions.RequestContext | None, volume_id: str) -> bool:
        """Tell whether the volume is of this store's type, by which Glance finds the store of an old location."""
        facts = self._facts
        try:
            volumes = self._cloud(context).volumes
            found = volumes.find([volume_id])  # Glance gives whatever a location ends with, which need not be an id
            alone = with_default_type(StoreCatalogue(stores=(facts,)), volumes.default_volume_type)
        except (ImagevolError, exceptions.BadStoreConfiguration) as error:
            LOG.warning("Whether image volume %s belongs to store %s is not known: %s", volume_id, facts.name, error)
            return False
        if not found:
            LOG.warning(
                "Image volume %s is not found by store %s: if it is in a user's project, transfer it to the project of "
                "the store's user",
                volume_id,
                facts.name,
            )
            return False
        volume_type, default = found[0].volume_type, alone.default_volume_type
        return is_associated(facts, volume_type=volume_type, default_volume_type=default)

    def _cloud(self, context: sessions.RequestContext | None) -> Cloud:
        """Give Cinder as the store's own credentials see it, or, where it has none, the requester's.

        Requests at the same time with the same token are given the same, so that they share what they read.

        Raises:
            exceptions.BadStoreConfiguration: it has none, and there is no requester.
            ImagevolError: Keystone does not let it in.
        """
        if sessions.has_service_user(self.store_conf):
            with self._lock:
                if self._service is None:
                    volumes = sessions.service_volumes(self.store_conf)
                    self._service = Cloud(volumes, attacher(self.store_conf, volumes), volumes.project_id)
                return self._service
        if context is None or context.service_catalog is None:
            raise _misconfigured("it has no credentials of its own, and the request has no service catalogue")
        requester = (context.user_id, context.project_id, context.auth_token)
        with self._lock:
            cloud = self._requesters.get(requester)
            if cloud is None:
                volumes = sessions.requesters_volumes(self.store_conf, context)
                cloud = Cloud(volumes, attacher(self.store_conf, volumes), context.project_id)
                self._requesters[requester] = cloud
            return cloud

    def _content(self, volume_id: str, offset: int, length: int | None, cloud: Cloud) -> _Content:
        """Give how many bytes there are, and then the bytes.

        One part is held back, so that the volume is let go before its last byte is given: who has all of an image may
        delete it at once.
        """
        whole = False

        def permit(volume: Volume) -> None:
            self._permit(decide_reading(volume, project_id=cloud.project_id), volume_id)

        try:
            with (
                translated(),
                open_image_volume(
                    volume_id,
                    volumes=cloud.volumes,
                    attacher=cloud.attacher,
                    offset=offset,
                    length=length,
                    verify=False,
                    permit=permit,
                    limits=self._limits,
                    attach=self._shared.attached,
                ) as content,
            ):
                held = next(content.parts, b"")
                yield content.size_bytes
                for part in content.parts:
                    yield held
                    held = part
                whole = True
        except _GLANCE_ERRORS as error:
            if not whole:
                raise
            LOG.error("Image volume %s was read to its end, and could not be let go: %s", volume_id, error)
        if held:
            yield held

    def _permit(self, decision: CustodyDecision, volume_id: str) -> None:
        """Treat a user's volume as one that is not there: a location must not tell what there is."""
        if not decision.allowed:
            LOG.warning("Image volume %s is not given out: %s", volume_id, "; ".join(decision.reasons))
            raise ResourceNotFound("volume", volume_id)


def _free(cloud: Cloud, volume_id: str) -> Reclaimed:
    """Take back what dead processes have left attached; what has the rest is for the log, not for Glance's users."""
    reclaimed = reclaim(volume_id, volumes=cloud.volumes, attacher=cloud.attacher)
    for holder in reclaimed.holders:
        LOG.warning("Image volume %s cannot be deleted: %s", volume_id, holder)
    return attrs.evolve(reclaimed, holders=())


def _source(data: Iterator[bytes], image_file: BinaryIO) -> Closeable[bytes]:
    """Give what Glance gives; of a request of uWSGI only its own thread may read, and uWSGI has a deadline for it."""
    kind: type[Closeable[bytes]] = CallersOwn if "uwsgi" in sys.modules else Closeable
    return kind(data, image_file)


def _misconfigured(reason: str) -> exceptions.BadStoreConfiguration:
    return exceptions.BadStoreConfiguration(store_name="cinder", reason=reason)
