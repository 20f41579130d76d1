"""Glance, through python-glanceclient over a keystoneauth1 session."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs
from glanceclient import exc as glance_errors
from glanceclient.v2.client import Client
from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1.session import Session

import imagevol_core  # of stores and uploads where they are asked for: a command that only reads asks for neither
from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.closing import closing
from imagevol_adapters.engine import verified
from imagevol_adapters.glance.asking import ERRORS, MISSING
from imagevol_adapters.glance.asking import asked as _translated
from imagevol_adapters.glance.facts import asked_of_glance, catalogue_facts, image_facts
from imagevol_adapters.glance.reading import Answer, read_ranges
from imagevol_adapters.glance.registering import TASK, taken_location
from imagevol_adapters.glance.sending import Reader
from imagevol_adapters.ids import can_be_id
from imagevol_adapters.keystone import KEYSTONE, service_name, timed_out
from imagevol_adapters.repeating import looked_up, repeating
from imagevol_adapters.translation import Table, translated
from imagevol_adapters.waiting import wait_until
from imagevol_core import (
    STALL_SECONDS,
    AccessDenied,
    Digest,
    Image,
    ImageLocation,
    ImagevolError,
    RequestRefused,
    ResourceNotFound,
    ServiceError,
    ServiceFailed,
    ServiceStalled,
)

__all__ = ["GlanceImages"]

_PASSING = frozenset({"saving", "importing"})
# glanceclient checks what it is given by Glance's schema before it asks.
_UNCHECKED: Table = ((TypeError, RequestRefused, ""), *ERRORS)
_IN_A_BODY: Table = ((OSError, ServiceFailed, ""), *ERRORS)  # requests' own, when the connection was there already

# An old Glance has no such call, and any Glance has those to whom it does not tell.
_NO_ANSWER_TO_LOCATIONS = (
    glance_errors.Forbidden,
    glance_errors.NotFound,
    glance_errors.HTTPMethodNotAllowed,
    glance_errors.HTTPNotImplemented,
)
_NO_STORE = "imagevol:none"  # a colon ends the name of a store in enabled_backends
_IMAGES_A_PAGE = 1000  # what Glance gives at most, unless api_limit_max says otherwise
_NO_LOCATIONS = (
    "Glance lists no locations: set show_multiple_locations = true in the glance-api.conf of an endpoint that only "
    "operators reach, and name it with --os-interface or image_endpoint_override in clouds.yaml"
)


@attrs.define(kw_only=True)
class GlanceImages:
    """The images that one set of credentials may use: an `ImageService`.

    Args:
        session: who asks.
        region_name: which region's Glance.
        interface: which of its endpoints.
        endpoint_override: where it is, whatever the service catalogue says.
        wait_seconds: how long Glance may take to take a location.
        stall_seconds: how long Glance may neither take nor give a byte of an image's data.
        prefer_store: from which store Glance reads an image's data, if the image is there; Glance's choice when None.
    """

    session: Session
    region_name: str | None = None
    interface: str = "public"
    endpoint_override: str | None = None
    wait_seconds: float = 300
    stall_seconds: float = STALL_SECONDS
    prefer_store: str | None = None
    _client: Client | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Let what fails be sent again, where that is safe."""
        self.session = repeating(self.session)

    @property
    def sees_all(self) -> bool:
        """Whether Glance shows these credentials the images of all projects, as it does to an administrator."""
        ask = getattr(self.session.auth, "get_access", None)  # which a fixed token and endpoint do not have
        with translated(KEYSTONE, doing="Keystone"):
            return ask is not None and "admin" in ask(self.session).role_names

    def get(self, image_id: str) -> Image:
        """Give what is known of one image, with its locations where these credentials may see them."""
        with _translated(f"image {image_id}", image_id):
            shown = self._glance().images.get(image_id)
            return image_facts(shown, self._locations(shown))

    def find(self, name_or_id: str) -> Image:
        """Give the image of that id, or the only one of that name."""
        try:
            return self.get(name_or_id)
        except ResourceNotFound:
            with _translated(f"images named {name_or_id}"):
                named = [
                    each["id"]
                    for hidden in ("false", "true")  # Glance lists either kind, and never both
                    for each in self._glance().images.list(filters={"name": name_or_id, "os_hidden": hidden})
                ]
        if not named:
            raise ResourceNotFound("image", name_or_id)
        if len(named) > 1:
            raise RequestRefused(f"{len(named)} images are named {name_or_id}: give the id of one")
        return self.get(named[0])

    def listed(
        self,
        image_ids: Sequence[str] | None = None,
        *,
        locations_needed: bool = True,
        changed_since: datetime | None = None,
    ) -> Iterator[Image]:
        """Give images with their locations as they are saved, in pages.

        A list is the only way to see them so: where anything else looks at an image, Glance migrates its locations.

        Args:
            image_ids: of which images; every image that these credentials see when None.
            locations_needed: whether images whose locations Glance does not show are of no use.
            changed_since: those that were created or changed since then, by Glance's clock; all when None.

        Raises:
            AccessDenied: Glance shows no locations, and they are needed.
        """
        ids = None if image_ids is None else [image_id for image_id in image_ids if can_be_id(image_id)]
        if ids == []:
            return
        wanted = {} if ids is None else {"id": f"in:{','.join(ids)}"}
        if changed_since is not None:
            wanted["updated_at"] = f"gte:{changed_since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        for hidden in ("false", "true"):
            filters = {"visibility": "all", "member_status": "all", "os_hidden": hidden, **wanted}
            with _translated("the list of images"):
                for shown in self._glance().images.list(filters=filters, page_size=_IMAGES_A_PAGE, sort="id:asc"):
                    if locations_needed and "locations" not in shown:
                        raise AccessDenied(_NO_LOCATIONS)
                    yield image_facts(shown, self._locations(shown))

    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Have the locations of an image changed, and the data of those that are removed deleted.

        Args:
            image_id: whose locations.
            operations: of a JSON patch, as `{"op": "remove", "path": "/locations/0"}`.
        """
        with _translated(f"locations of image {image_id}", image_id):
            self._glance().http_client.patch(
                f"/v2/images/{image_id}",
                headers={"Content-Type": "application/openstack-images-v2.1-json-patch"},
                data=json.dumps(list(operations)),
            )

    def service_id(self) -> str:
        """Name this Glance, as `service_name` does."""
        name = service_name(
            self.session,
            "image",
            interface=self.interface,
            region_name=self.region_name,
            endpoint_override=self.endpoint_override,
        )
        return name or "no Glance"

    def create(
        self,
        *,
        name: str,
        disk_format: str,
        owner: str | None = None,
        visibility: str | None = None,
        attributes: ImageAttributes | None = None,
    ) -> Image:
        """Create the record of an image that has no data yet."""
        wishes = {"owner": owner, "visibility": visibility, **asked_of_glance(attributes or ImageAttributes())}
        # Chosen here, so that the image is found if the answer is lost.
        image_id = str(uuid.uuid4())

        def ask() -> Image:
            with _translated(f"creating image {name}", table=_UNCHECKED):
                shown = self._glance().images.create(
                    id=image_id,
                    name=name,
                    disk_format=disk_format,
                    **{key: value for key, value in wishes.items() if value is not None},
                )
                return image_facts(shown, ())

        return looked_up(ask, done=partial(self.get, image_id), what=f"image {image_id}, if Glance has created it")

    def with_properties(self, properties: Mapping[str, str], *, status: str) -> tuple[Image, ...]:
        """Give the images in this status that have all of these properties, without their locations."""
        wanted, found = dict(properties).items(), list[Image]()
        for hidden in ("false", "true"):
            filters = {"visibility": "all", "member_status": "all", "os_hidden": hidden, "status": status, **properties}
            with _translated("the list of images"):
                listed = self._glance().images.list(filters=filters, page_size=_IMAGES_A_PAGE)
                found += [image_facts(shown, ()) for shown in listed]
        return tuple(image for image in found if image.status == status and wanted <= image.properties.items())

    def unset_properties(self, image_id: str, names: Iterable[str]) -> Image:
        """Delete these properties, and give the image as it is then."""
        unwanted = list(names)

        def ask() -> Image:
            with _translated(f"deleting properties of image {image_id}", image_id):
                shown = self._glance().images.update(image_id, remove_props=unwanted)
                return image_facts(shown, self._locations(shown))

        def done() -> Image | None:
            image = self.get(image_id)
            return None if image.properties.keys() & set(unwanted) else image

        return looked_up(ask, done=done)

    def protect(self, image_id: str, *, protected: bool) -> None:
        """Set or clear the protection against deletion."""

        def is_protected() -> bool | None:
            with _translated(f"image {image_id}", image_id):
                return True if self._glance().images.get(image_id)["protected"] == protected else None

        def ask() -> bool:
            with _translated(f"protecting image {image_id}", image_id):
                self._glance().images.update(image_id, protected=protected)
            return True

        looked_up(ask, done=is_protected)

    def catalogue(self) -> imagevol_core.StoreCatalogue:
        """Give the stores, as Glance tells administrators; a single-store Glance tells nothing of its one."""
        try:
            with _translated("the details of its stores"):
                return catalogue_facts(self._glance().images.get_stores_info_detail()["stores"])
        except RequestRefused as error:
            if isinstance(error.__cause__, MISSING):
                return imagevol_core.StoreCatalogue(stores=(), multi=False)
            raise

    def store_names(self) -> tuple[str, ...]:
        """Give the names of the stores, which every user may see; none of a Glance with one store."""
        try:
            with _translated("its stores"):
                return tuple(store["id"] for store in self._glance().images.get_stores_info()["stores"])
        except RequestRefused as error:
            if isinstance(error.__cause__, MISSING):
                return ()
            raise

    def stores_of(self, image_id: str) -> tuple[str, ...]:
        """Give the names of the stores that an image is in, which Glance shows to all who see the image."""
        with _translated(f"image {image_id}", image_id):
            told: str = self._glance().images.get(image_id).get("stores") or ""
            return tuple(filter(None, told.split(",")))

    def wait(self, image_id: str) -> Image:
        """Return when Glance is not, or no longer, taking data or a location for the image."""
        return wait_until(
            lambda: self.get(image_id),
            lambda image: image.status == "active" or not (image.status in _PASSING or TASK in image.properties),
            what=f"Glance is still at work on image {image_id}",
            seconds=self.wait_seconds,
        )

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        """Register where the data of a queued image are; return when Glance has taken it.

        By the Location API, which takes it in the background, and where that is missing or does not trust these
        credentials, by the older way that `show_multiple_locations` opens.  The new API refuses everything but a
        digest beside the URL and finds the store by itself.
        """
        validation = {"os_hash_algo": digest.algorithm, "os_hash_value": digest.value} if digest else {}
        images = self._glance().images

        def ask() -> bool:
            with _translated(f"registering a location of image {image_id}", image_id):
                try:
                    images.add_image_location(image_id, url, validation)
                except (glance_errors.HTTPNotImplemented, glance_errors.Forbidden):
                    images.add_location(image_id, url, {"store": store} if store else {}, validation)
            return True

        def begun() -> bool | None:
            image = self.get(image_id)
            return True if image.status == "active" or TASK in image.properties else None

        looked_up(ask, done=begun)
        return taken_location(image_id, self.get, with_digest=digest is not None, seconds=self.wait_seconds)

    def upload(
        self,
        image_id: str,
        data: Iterable[bytes],
        *,
        size_bytes: int | None,
        store: str | None = None,
        base_image_id: str | None = None,
    ) -> Image:
        """Send an image's data, which are closed at the end; return when the image is active."""
        reader = Reader(data)
        headers = imagevol_core.upload_headers(store=store, base_image_id=base_image_id, size_bytes=size_bytes)
        try:
            with closing(data), _translated(f"uploading image {image_id}", image_id):
                # glanceclient's own method has no argument for the base image, and headers of its client stick.
                self._glance().http_client.put(
                    f"/v2/images/{image_id}/file",
                    headers={"Content-Type": "application/octet-stream", **headers},
                    data=reader,
                    # Of a send and of the answer: Glance may take its time once it has all.
                    timeout=(self.stall_seconds, self.session.timeout),
                )
        except ServiceError as error:
            if reader.error is None and reader.ended and (image := self._uploaded(image_id, reader.given_bytes)):
                return image
            if reader.error is None and not reader.ended and timed_out(error):
                raise ServiceStalled(f"Glance, uploading image {image_id}", seconds=self.stall_seconds) from error
            if reader.error is None:
                raise
            raise reader.error from None  # the connection broke because the data did
        return self.get(image_id)

    def _uploaded(self, image_id: str, size_bytes: int) -> Image | None:
        """Give the image if Glance has all of its data, though it did not say so."""
        with suppress(ImagevolError):
            image = self.wait(image_id)
            if image.status == "active" and image.size_bytes == size_bytes:
                return image
        return None

    def read(self, image_id: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give an image's data, whole or a part; a whole is checked against the multihash, if Glance has one."""
        image = self.get(image_id)
        if image.size_bytes is None:
            raise RequestRefused(f"image {image_id} is '{image.status}' and has no data")
        available = max(0, image.size_bytes - offset)
        wanted = available if length is None else min(length, available)
        if not wanted:
            return iter(())
        data = self.unverified(image, offset=offset, length=wanted)
        return verified(data, image.digest, f"image {image_id}") if wanted == image.size_bytes else data

    def unverified(self, image: Image, *, offset: int, length: int) -> Iterator[bytes]:
        """Give a part of an image's data, or all of it, for a reader that verifies it."""
        end = offset + length
        ask = partial(self._answered, image.id)
        return read_ranges(
            ask,
            what=f"image {image.id}",
            offset=offset,
            end=end,
            size_bytes=image.size_bytes or 0,
            patience_seconds=self.stall_seconds,
        )

    def preferring(self, store: str) -> GlanceImages:
        """Give the images, read from this store if they are there; `takes_preference` tells whether Glance can."""
        return attrs.evolve(self, prefer_store=store)

    def takes_preference(self, image_id: str) -> bool:
        """Tell whether Glance reads from a preferred store, as it can since release 33.

        An older one ignores the preference, and no version of its API says so.  So Glance is asked for one byte from a
        store that it cannot have, which a newer one refuses.

        Raises:
            AccessDenied: its policy does not let these credentials choose a store, or read the image.
        """
        try:
            with self.preferring(_NO_STORE)._answered(image_id, {"Range": "bytes=0-0"}):
                return False
        except RequestRefused as error:
            if isinstance(error.__cause__, keystone_errors.BadRequest):
                return True
            raise

    def deactivate(self, image_id: str) -> None:
        """Let no user read the data of an active image; one that is deactivated already is no error."""
        with _translated(f"deactivating image {image_id}", image_id):
            self._glance().images.deactivate(image_id)

    def delete(self, image_id: str) -> None:
        """Delete the image, and with it the data in its stores."""
        with _translated(f"deleting image {image_id}", image_id):
            self._glance().images.delete(image_id)

    def client(self) -> Client:
        """Give the client of Glance that these credentials ask by."""
        return self._glance()

    def _glance(self) -> Client:
        if self._client is None:
            self._client = Client(
                session=self.session,
                interface=self.interface,
                region_name=self.region_name,
                endpoint_override=self.endpoint_override,
            )
        return self._client

    def _locations(self, shown: Mapping[str, Any]) -> tuple[ImageLocation, ...]:
        """As the image shows them, or as the Location API does, or the one that is its direct URL."""
        locations = shown.get("locations")
        if locations is None:
            try:
                locations = self._glance().images.get_image_locations(shown["id"])
            except _NO_ANSWER_TO_LOCATIONS:
                direct = shown.get("direct_url")
                locations = [{"url": direct, "metadata": {}}] if direct else []
        return tuple(ImageLocation(location["url"], location["metadata"]) for location in locations)

    @contextmanager
    def _answered(self, image_id: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """Ask for the bytes of an image."""
        endpoint = {"service_type": "image", "interface": self.interface, "region_name": self.region_name}
        with (
            _translated(f"reading image {image_id}", image_id, table=_IN_A_BODY),
            # Not through glanceclient, which percent-encodes the = of a Range header, so that Glance refuses it.
            self.session.get(
                f"/v2/images/{image_id}/file",
                endpoint_filter=endpoint,
                endpoint_override=self.endpoint_override,
                headers=dict(headers),
                stream=True,
                timeout=self.stall_seconds,
                params=None if self.prefer_store is None else {"prefer": self.prefer_store},
            ) as answer,
        ):
            yield answer
