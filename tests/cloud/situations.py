"""Situations in which Cinder creates a volume from an image: what there is before, and which way that is."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
from cinderclient.client import Client as CinderClient
from cinderclient.exceptions import BadRequest, NotFound

from tests.cloud.ports import sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import BACKENDS, REGION, Sections
from tests.cloud.templating import being_made, forget_hash, in_local, qcow2, templates, touch
from tests.cloud.users import PATIENCE_SECONDS, User, delete, image_volume

CACHE_HAS_IT = {"what Cinder's image cache has": "it has the image"}
CACHE_LACKS_IT = {"what Cinder's image cache has": "it does not have it"}
GLANCE_GIVES_IT = {"whether Glance gives the requester the image's data": "it does"}
GLANCE_HIDES_IT = {"whether Glance gives the requester the image's data": "it does not even show the image"}
MISLABELLED = {"whether the image's data is in the format that the image declares": "it is not"}


@dataclass(frozen=True, kw_only=True)
class World:
    """A cloud of the fixtures, and what is laid over Cinder's configuration."""

    fixture: str
    policy: str
    sections: Sections = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What a user asks Cinder for."""

    image_id: str
    volume_type: str = "fast"
    size_gib: int = 1
    user: str = "demo"


Users = Callable[[str], User]
Prepared = AbstractContextManager[Request]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What there is before a volume is asked for, and what then happens."""

    name: str
    world: str
    prepared: Callable[[Users], Request | Prepared]
    way: str
    #: What no API tells, and is so here: the fact of the answer, and its value.
    knowing: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def request(self, users: Users) -> Iterator[Request]:
        """What is asked for; the context lasts until Cinder has begun."""
        made = self.prepared(users)
        with nullcontext(made) if isinstance(made, Request) else made as request:
            yield request


WORLDS = {
    "mixin with templates": World(fixture="template_cloud", policy="strict"),
    "mixin with Cinder's cache": World(
        fixture="template_cloud",
        policy="strict",
        sections={name: {"image_template_enabled": "false", "image_volume_cache_enabled": "true"} for name in BACKENDS},
    ),
    "Cinder with clones and cache": World(
        fixture="cloud", policy="upstream", sections={"slow": {"image_volume_cache_max_count": "1"}}
    ),
    "Cinder with a small cache": World(
        fixture="cloud",
        policy="upstream",
        sections={"fast": {"image_volume_cache_max_size_gb": "1"}, "slow": {"image_volume_cache_enabled": "false"}},
    ),
    "Cinder as it is installed": World(
        fixture="cloud",
        policy="upstream",
        sections={
            "DEFAULT": {"allowed_direct_url_schemes": None, "image_conversion_disable": "true"},
            **{name: {"image_volume_cache_enabled": None} for name in BACKENDS},
        },
    ),
}


# What there is.


def _in_store(users: Users) -> Request:
    return Request(users("demo").image())


def _on_other_backend(users: Users) -> Request:
    return Request(users("demo").image(), "slow")


def _elsewhere(users: Users) -> Request:
    return Request(in_local(users("demo")))


def _again(first: Callable[[Users], Request]) -> Callable[[Users], Request]:
    """The same a second time."""

    def prepared(users: Users) -> Request:
        request = first(users)
        users("demo").volume(request.image_id, request.volume_type, size_gib=request.size_gib)
        return request

    return prepared


def _converted(size_gib: int, *, volume_gib: int, volume_type: str = "fast") -> Callable[[Users], Request]:
    """An image that is not raw, and of this size as a disk."""

    def prepared(users: Users) -> Request:
        with tempfile.TemporaryDirectory() as directory:
            data = qcow2(Path(directory), size_gib=size_gib)
        return Request(in_local(users("demo"), data, disk_format="qcow2"), volume_type, volume_gib)

    return prepared


def _stale(users: Users) -> Request:
    """An image without a digest that has changed since the first volume."""
    image_id = in_local(users("demo"))
    forget_hash(users("demo").cloud, image_id)
    users("demo").volume(image_id)
    touch(users("demo"), image_id)
    return Request(image_id)


@contextmanager
def _being_made(users: Users) -> Iterator[Request]:
    image_id = in_local(users("demo"))
    with being_made(users("demo"), image_id):
        yield Request(image_id)


def _one_too_many(count: int) -> Callable[[Users], Request]:
    """More images than the backend `slow` may keep."""

    def prepared(users: Users) -> Request:
        images = [in_local(users("demo"), random.Random(seed).randbytes(1 << 20)) for seed in range(count + 1)]
        for image_id in images[:-1]:
            users("demo").volume(image_id, "slow")
        return Request(images[-1], "slow")

    return prepared


def _shared(users: Users) -> Request:
    """An image with a template that is shared with the project that asks."""
    image_id = in_local(users("demo"))
    users("demo").volume(image_id)
    users("demo").glance.image_members.create(image_id, users("demo").cloud.project_ids["other"])
    return Request(image_id, user="other")


def _hidden(users: Users) -> Request:
    """An image that is shared with projects, of which the one that asks is none."""
    return Request(in_local(users("demo")), user="other")


def _mislabelled(users: Users) -> Request:
    """An image that is called raw and is not."""
    with tempfile.TemporaryDirectory() as directory:
        data = qcow2(Path(directory))
    return Request(in_local(users("demo"), data))


def _of_snapshot(users: Users) -> Request:
    """The image that Nova makes of a server whose disk is a volume."""
    demo = users("demo")
    volume = demo.volume(in_local(demo))
    snapshot = demo.cinder.volume_snapshots.create(volume.id)
    for _ in ticks(PATIENCE_SECONDS):
        if demo.cinder.volume_snapshots.get(snapshot.id).status == "available":
            break
    demo.undo.callback(_forget_snapshot, demo, snapshot.id)
    image_id = demo.image(b"")
    mapping = [{"source_type": "snapshot", "boot_index": 0, "snapshot_id": snapshot.id}]
    demo.glance.images.update(image_id, block_device_mapping=json.dumps(mapping))
    return Request(image_id)


def _forget_snapshot(user: User, snapshot_id: str) -> None:
    """Before its volume, which it keeps from being deleted."""
    user.cinder.volume_snapshots.delete(snapshot_id)
    for _ in ticks(PATIENCE_SECONDS):
        try:
            user.cinder.volume_snapshots.get(snapshot_id)
        except NotFound:
            return


def _encrypted(first: Callable[[Users], Request]) -> Callable[[Users], Request]:
    """The same into a volume type that is encrypted, on the same backend."""

    def prepared(users: Users) -> Request:
        request, demo = first(users), users("demo")
        admin = CinderClient("3.60", session=sign_in(demo.cloud, "admin"), region_name=REGION)
        locked = admin.volume_types.create(f"locked-{request.image_id}")
        demo.undo.callback(admin.volume_types.delete, locked)
        locked.set_keys({"volume_backend_name": request.volume_type})
        luks = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}
        admin.volume_encryption_types.create(locked, luks)
        return Request(request.image_id, locked.name, request.size_gib)

    return prepared


def _inactive(users: Users) -> Request:
    image_id = in_local(users("demo"))
    users("service").glance.images.deactivate(image_id)
    return Request(image_id)


def _too_small(users: Users) -> Request:
    image_id = in_local(users("demo"))
    users("demo").glance.images.update(image_id, min_disk=2)
    return Request(image_id)


def _situations() -> Iterator[Situation]:
    def rows(world: str, *of_world: tuple[Any, ...]) -> Iterator[Situation]:
        for name, prepared, way, *knowing in of_world:
            yield Situation(name=name, world=world, prepared=prepared, way=way, knowing=knowing[0] if knowing else {})

    refused = (
        ("image deactivated", _inactive, "refused"),
        ("min_disk larger than the volume", _too_small, "refused"),
        ("disk larger than the volume", _converted(2, volume_gib=1), "refused"),
    )
    yield from rows(
        "mixin with templates",
        ("first volume of an image", _elsewhere, "create-template"),
        ("second volume of an image", _again(_elsewhere), "clone-template"),
        ("image in the store of the backend", _in_store, "clone-image-volume"),
        ("image in the store of another backend", _on_other_backend, "create-template"),
        ("second volume on another backend", _again(_on_other_backend), "clone-template"),
        ("image in qcow2", _converted(2, volume_gib=3), "create-template"),
        ("template stale", _stale, "create-template"),
        ("template being made", _being_made, "await-template"),
        ("one template too many", _one_too_many(2), "create-template"),
        ("image larger than all templates may be", _converted(5, volume_gib=5, volume_type="slow"), "copy"),
        ("image shared with the project", _shared, "clone-template", GLANCE_GIVES_IT),
        ("image not shared with the project", _hidden, "refused", GLANCE_HIDES_IT),
        ("image called raw that is qcow2", _mislabelled, "fails", MISLABELLED),
        ("image of a snapshot", _of_snapshot, "from-snapshot"),
        ("image in the store, encrypted type", _encrypted(_in_store), "copy"),
        ("image with a template, encrypted type", _encrypted(_again(_elsewhere)), "copy"),
        *refused,
    )
    yield from rows(
        "mixin with Cinder's cache",
        ("first volume of an image", _elsewhere, "create-cached", CACHE_LACKS_IT),
        ("second volume of an image", _again(_elsewhere), "clone-cached", CACHE_HAS_IT),
        ("image in the store of the backend", _in_store, "clone-image-volume"),
    )
    yield from rows(
        "Cinder with clones and cache",
        ("image in the store of the backend", _in_store, "clone-image-volume"),
        ("image in the store of another backend", _on_other_backend, "create-cached", CACHE_LACKS_IT),
        ("first volume of an image", _elsewhere, "create-cached", CACHE_LACKS_IT),
        ("second volume of an image", _again(_elsewhere), "clone-cached", CACHE_HAS_IT),
        ("image in qcow2", _converted(2, volume_gib=3), "create-cached", CACHE_LACKS_IT),
        ("cached volume stale", _stale, "create-cached", CACHE_LACKS_IT),
        ("one cached volume too many", _one_too_many(1), "create-cached", CACHE_LACKS_IT),
        ("image in the store, encrypted type", _encrypted(_in_store), "copy"),
        ("cached image, encrypted type", _encrypted(_again(_elsewhere)), "copy"),
        ("image of a snapshot", _of_snapshot, "from-snapshot"),
        ("image not shared with the project", _hidden, "refused", GLANCE_HIDES_IT),
        ("image called raw that is qcow2", _mislabelled, "fails", MISLABELLED),
        *refused,
    )
    yield from rows(
        "Cinder with a small cache",
        ("image larger than the cache may be", _converted(2, volume_gib=2), "copy", CACHE_LACKS_IT),
        ("first volume, no cache", _on_other_backend, "copy"),
    )
    yield from rows(
        "Cinder as it is installed",
        ("image in the store of the backend", _in_store, "copy"),
        ("first volume of an image", _elsewhere, "copy"),
        ("image in qcow2, which is not converted", _converted(2, volume_gib=3), "fails"),
    )


SITUATIONS = tuple(_situations())


# What happened.


@dataclass(frozen=True)
class Before:
    """What could be cloned when a volume was asked for, by its id."""

    stored: frozenset[str]
    templates: Mapping[str, str]
    cached: frozenset[str]

    @classmethod
    def of(cls, cloud: Cloud, user: User, image_id: str) -> Before:
        """Look at an image."""
        locations = user.real.images.get(image_id).locations
        return cls(
            stored=frozenset([image_volume(user, image_id)] if locations and "cinder:" in locations[0].url else []),
            templates={volume.id: volume.status for volume in templates(cloud, image_id)},
            cached=cached(cloud, image_id),
        )


def cached(cloud: Cloud, image_id: str | None = None) -> frozenset[str]:
    """The volumes of an image, or of all, in Cinder's image cache, as its database has them."""
    socket = str(cloud.directory / "tmp/mariadb.sock")
    cinder = pymysql.connect(unix_socket=socket, user="root", database="cinder", autocommit=True)
    with cinder, cinder.cursor() as cursor:
        cursor.execute("SELECT volume_id, image_id FROM image_volume_cache_entries")
        return frozenset(volume_id for volume_id, of in cursor.fetchall() if image_id in (None, of))


def forget_cached(user: User) -> None:
    """Delete what is in Cinder's image cache."""
    for volume_id in cached(user.cloud):
        delete(user.real, volume_id)


def asked(user: User, request: Request) -> Any:
    """The volume that Cinder has taken the request for; None if it is refused."""
    try:
        return user.asked(request.image_id, request.volume_type, size_gib=request.size_gib)
    except (BadRequest, NotFound):
        return None


def happened(user: User, request: Request, volume: Any, before: Before) -> str:
    """By which way a volume came to be, from the log of the driver and Cinder's records."""
    if volume is None:
        return "refused"
    if volume.status != "available":
        return "fails"
    source = _source(user.cloud, volume.id)
    if source is None:
        return "create-cached" if cached(user.cloud, request.image_id) - before.cached else "copy"
    kind, _, source_id = source.partition("-")
    if kind == "snapshot":
        return "from-snapshot"
    if source_id in before.stored:
        return "clone-image-volume"
    if source_id in before.cached:
        return "clone-cached"
    return {"available": "clone-template", "creating": "await-template"}.get(
        before.templates.get(source_id, ""), "create-template"
    )


def _source(cloud: Cloud, volume_id: str) -> str | None:
    """The name of what the driver cloned last into a volume, such as `volume-7ad3`; None if it cloned nothing."""
    logs = (cloud.directory / "log").glob("cinder*.log")
    lines = (line for log in logs for line in log.read_text(errors="replace").splitlines())
    clones = [line for line in lines if "reflink clone " in line and line.endswith(f"/volume-{volume_id}")]
    return clones[-1].rpartition("reflink clone ")[2].partition(" -> ")[0].rpartition("/")[2] if clones else None


def driver_plan(answer: Mapping[str, Any]) -> str:
    """What `imagevol explain` says that the driver tries, in the words of the driver's log."""
    steps = [(way["way"], step) for way in answer["plan"] if way["by"] == "driver" for step in way["steps"]]
    steps.sort(key=lambda each: int(each[1]["order"]))
    return ", ".join(f"{way} {step['source'] or ''}".rstrip() for way, step in steps)


def said(answer: Mapping[str, Any], knowing: Mapping[str, str]) -> str:
    """What `imagevol explain` says of a request: the first way, or what becomes of it; with what is known beside."""
    outcome: str = answer["outcome"]
    refused = answer["refused"]
    for fact, value in knowing.items():
        (values,) = (each["values"] for each in answer["unknown"] if each["fact"] == fact)
        (found,) = (each for each in values if each["value"] == value)
        outcome, refused = (found["ways"] or ["refused"])[0], found["refused"]
    return "fails" if outcome == "refused" and not refused.startswith("Cinder refuses the request") else outcome
