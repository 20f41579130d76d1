"""What the workers do: each job is a procedure, on ports whose calls may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from imagevol_adapters.gathering.store_copies import StoreCopyGathering
from imagevol_adapters.processes import origin
from imagevol_adapters.relocating import Journal, Migration, State, plan_images
from imagevol_adapters.store_copies import CopyEntry, CopyJournal, StoreCopies, chosen_images, plan_copies
from imagevol_adapters.store_copies.reading import VolumeReader
from imagevol_adapters.tending import Warmer
from imagevol_adapters.testing.fault_language import Faults
from imagevol_adapters.transfers import (
    FileFacts,
    PutJournal,
    Registering,
    StoreSettings,
    delete_remains,
    open_image_volume,
    put_file,
    register_clone,
    register_image,
    store_image,
)
from imagevol_core import (
    CinderLocation,
    Image,
    ImageLocation,
    ImagevolError,
    TemplateSettings,
    UploadSettings,
    Volume,
    WarmPool,
    WarmWish,
    parse_location,
)
from imagevol_core.store_copies import VerifyWish
from tests.adapters.repairing_cloud import CATALOGUE, CLOUD, STORES, TENANT
from tests.faults.language.cloud import STAYS, Cloud, data_of

_PIECE = 1 << 16
_ENDED = (State.DONE, State.UNDONE, State.GONE)
SETTINGS = StoreSettings(blake3=False)
TEMPLATES = TemplateSettings(enabled=True, internal_tenant=True, trusted_projects=frozenset({TENANT}))

Job = Callable[[Faults], Any]


def pieces(faults: Faults, data: bytes) -> Iterator[bytes]:
    """Data in pieces; before each of them the worker may be killed."""
    for start in range(0, len(data), _PIECE):
        yield faults.call("source.next", partial(data.__getitem__, slice(start, start + _PIECE)), ())


def put(cloud: Cloud, number: int) -> Job:
    """`imagevol put --register`, of a known or an unknown length."""
    data, name = data_of(number, 90_000), f"put-{next(cloud.numbers)}"
    cloud.expected[name] = data

    def job(faults: Faults) -> Any:
        ports = cloud.watched(faults)
        register_image(
            pieces(faults, data),
            name=name,
            size_bytes=len(data) if number % 2 else None,
            images=ports.images,
            volumes=ports.volumes,
            attacher=ports.attacher,
            store="fast",
            volume_type="ssd",
            settings=SETTINGS,
        )
        return name

    return job


def put_with_journal(cloud: Cloud, number: int) -> Job:
    """`imagevol put --register --journal`, or its continuation after it was stopped."""
    path = journal(cloud, "put", resumed=bool(number % 2))
    file = path.with_suffix(".raw")
    if path not in cloud.journals:
        file.write_bytes(data_of(number, 90_000))
        cloud.expected[path.name] = file.read_bytes()

    def job(faults: Faults) -> Any:
        ports = cloud.watched(faults)
        if path in cloud.journals:
            opened = PutJournal.open(path, cloud=CLOUD)
        else:
            with file.open("rb") as read:
                facts = FileFacts.of(read)
            opened = PutJournal.create(path, cloud=CLOUD, file=facts, wishes={}, algorithms=SETTINGS.algorithms)
        cloud.journals[path] = "put"
        with opened as kept:
            put_file(
                file,
                journal=kept,
                wishes={},
                disk_format="raw",
                image_id="unused",
                image_owner=None,
                volumes=ports.volumes,
                attacher=ports.attacher,
                tell=lambda _: None,
                registering=Registering(images=ports.images, name=path.name, store="fast"),
                volume_type="ssd",
                settings=SETTINGS,
                step_bytes=_PIECE // 2,
            )
        del cloud.journals[path]
        return path.name

    return job


def add(cloud: Cloud, number: int) -> Job:
    """An upload that glance-api hands to the store."""
    data, name = data_of(number, 70_000), f"add-{next(cloud.numbers)}"
    cloud.expected[name] = data
    image = cloud.glance.create(name=name, disk_format="raw")

    def job(faults: Faults) -> Any:
        ports = cloud.watched(faults)
        cloud.change(image, status="saving")
        try:
            stored = store_image(
                pieces(faults, data),
                image_id=image.id,
                image_owner=image.owner,
                size_bytes=len(data),
                volumes=ports.volumes,
                attacher=ports.attacher,
                volume_type="ssd",
                settings=SETTINGS,
                made_by=origin("add", image.id),
            )
        except ImagevolError:
            cloud.change(image, status="queued")
            raise
        url = str(CinderLocation(store="fast", volume_id=stored.volume.id))
        location = ImageLocation(url, {"store": "fast"})
        cloud.change(image, status="active", size_bytes=len(data), digest=stored.record.digest, locations=(location,))
        return name

    return job


def clone(cloud: Cloud, number: int) -> Job:
    """A volume that becomes an image by a clone; at the second number, a retry of the call for the same image."""
    volume_id = sorted(cloud.users)[number % len(cloud.users)]
    queued = [each for each in cloud.images.images.values() if each.status == "queued" and _is_clone(each.name)]
    if queued and number % 2 and queued[0].id not in cloud.at_work:
        image = queued[0]
        volume_id = cloud.clones[image.id]
    else:
        name = f"clone-{next(cloud.numbers)}"
        image = cloud.glance.create(name=name, disk_format="raw")
        cloud.clones[image.id] = volume_id
    cloud.expected[str(image.name)] = cloud.users[volume_id]
    cloud.at_work.add(image.id)

    def job(faults: Faults) -> Any:
        ports = cloud.watched(faults)
        try:
            register_clone(
                volume_id,
                image_id=image.id,
                images=ports.images,
                volumes=ports.volumes,
                attacher=ports.attacher,
                settings=UploadSettings(use_cinder_backend=True),
            )
        finally:
            cloud.at_work.discard(image.id)
        return image.name

    return job


def _is_clone(name: str | None) -> bool:
    return str(name).startswith("clone-")


def get(cloud: Cloud, number: int) -> Job:
    """`imagevol get`: what it gives must be the image."""
    active = sorted((str(each.name), each) for each in cloud.images.images.values() if _in_volume(each))
    _, image = active[number % len(active)] if active else ("", None)

    def job(faults: Faults) -> Any:
        if image is None:
            return
        ports = cloud.watched(faults)
        volume_id = parse_location(image.locations[0].url).volume_id
        with open_image_volume(volume_id, volumes=ports.volumes, attacher=ports.attacher, image=image) as content:
            given = b"".join(content.parts)
        assert given == cloud.expected[str(image.name)], "what was given is not the image"

    return job


def _stays(image: Image) -> bool:
    """One image stays where it is: without any, an audit cannot tell that the volumes are those of this Glance."""
    return image.name == STAYS


def _in_volume(image: Image) -> bool:
    in_volume = any(each.url.startswith("cinder://") for each in image.locations)
    return image.status == "active" and in_volume and not _is_clone(image.name)  # which is read in seconds


def rm(cloud: Cloud, number: int) -> Job:
    """A user deletes an image."""
    active = [each for each in cloud.images.images.values() if each.status == "active" and not _stays(each)]
    there = sorted((str(each.name), each.id) for each in active)
    name, image_id = there[number % len(there)] if there else ("", None)
    cloud.removed.add(name)

    def job(faults: Faults) -> Any:
        if image_id is not None:
            cloud.watched(faults).images.delete(image_id)

    return job


def clean(cloud: Cloud, _number: int) -> Job:
    """What a store does when it starts."""

    def job(faults: Faults) -> Any:
        ports = cloud.watched(faults)
        delete_remains(volumes=ports.volumes, attacher=ports.attacher)

    return job


def repair(cloud: Cloud, number: int) -> Job:
    """`imagevol audit --repair`, of what is sure, or its continuation."""
    path = journal(cloud, "repair", resumed=bool(number % 2))

    def job(faults: Faults) -> Any:
        repairer = cloud.repairer(faults)
        if path in cloud.journals:
            repairer.resume(path)
        else:
            findings = repairer.audit()
            cloud.journals[path] = "repair"
            with repairer.journal(path, findings) as kept:
                list(repairer.repairs(kept).apply())
        del cloud.journals[path]

    return job


def locations(cloud: Cloud, number: int) -> Job:
    """A store is renamed, and `imagevol locations apply` carries it out, or goes on where it was killed."""
    path = journal(cloud, "locations", resumed=bool(number % 2))
    undone = number == 3 and path in cloud.journals
    if path not in cloud.journals:
        for image in [each for each in cloud.images.images.values() if _in_volume(each)][:2]:
            url = f"cinder://old/{parse_location(image.locations[0].url).volume_id}"
            cloud.change(image, locations=(ImageLocation(url, {"store": "old"}), *image.locations[1:]))

    def job(faults: Faults) -> Any:
        ports = cloud.watched(faults)
        if path in cloud.journals:
            opened = Journal.open(path, cloud=CLOUD)
        else:
            planned = plan_images(
                ports.images.listed(),
                catalogue=CATALOGUE,
                volume_types=ports.volumes.types_of,
                renames={"old": "fast"},
            )
            changes = [each.changes for each in planned if each.possible]
            opened = Journal.create(path, cloud=CLOUD, catalogue=CATALOGUE, renames={"old": "fast"}, changes=changes)
        cloud.journals[path] = "locations"
        with opened as kept:
            migration = Migration(
                journal=kept, images=ports.images, volumes=ports.volumes, catalogue=CATALOGUE, settle_seconds=0
            )
            outcomes = list(migration.undo() if undone else migration.apply())
        if all(each.state in _ENDED for each in outcomes):
            del cloud.journals[path]
        return outcomes

    return job


def cp(cloud: Cloud, number: int) -> Job:
    """`imagevol cp` to the other store, or its resumption."""
    path = journal(cloud, "cp", resumed=bool(number % 2))
    undone = number == 3 and path in cloud.journals

    def job(faults: Faults) -> Any:
        ports = cloud.watched(faults)
        gathering = StoreCopyGathering(images=ports.images, volumes=ports.volumes, catalogue=CATALOGUE)
        if path in cloud.journals:
            opened = CopyJournal.open(path, cloud=CLOUD)
        else:
            wishes: dict[str, Any] = {"to_store": "fast2", "from_store": "fast", "move": number < 2}
            chosen = [*chosen_images(ports.images, [], from_store="fast")]
            chosen = [each for each in chosen if _in_volume(each.image) and not _stays(each.image)]
            plans = plan_copies(iter(chosen[:2]), gathering=gathering, wish=VerifyWish.AUTO, **wishes)
            entries = [
                CopyEntry.of(plan, stores=placed.stores, wish=VerifyWish.AUTO)
                for placed, plan in plans
                if plan.possible and plan.steps
            ]
            opened = CopyJournal.create(path, cloud=CLOUD, entries=entries)
        cloud.journals[path] = "cp"
        with opened as kept:
            copies = StoreCopies(
                journal=kept,
                images=ports.images,
                volumes=ports.volumes,
                gathering=gathering,
                read=VolumeReader(volumes=ports.volumes, attacher=lambda: ports.attacher),
                settle_seconds=0,
                retry_seconds=0,
            )
            outcomes = list(copies.undo() if undone else copies.apply())
        if all(each.state in _ENDED for each in outcomes):
            del cloud.journals[path]
        return outcomes

    return job


def journal(cloud: Cloud, what: str, *, resumed: bool) -> Path:
    """The journal of a command that did not end, if one is asked for and no worker has it; otherwise a new one."""
    left = [path for path, of in cloud.journals.items() if of == what and resumed and path.exists()]
    return left[0] if left else cloud.directory / f"{what}-{next(cloud.numbers)}.journal"


def warm(cloud: Cloud, number: int) -> Job:
    """`imagevol templates warm`."""
    active = sorted((str(each.name), each) for each in cloud.images.images.values() if _in_volume(each))
    _, image = active[number % len(active)] if active else ("", None)

    def job(faults: Faults) -> Any:
        if image is None:
            return
        ports = cloud.watched(faults)
        warmer = Warmer(volumes=ports.volumes, images=ports.images, internal_tenant=TENANT, wait_seconds=0)
        target = Volume(id="-", size_gib=1, project_id=STORES, volume_type="ssd", encrypted=False)
        pool = WarmPool(name=cloud.volumes.host, template_settings=TEMPLATES)
        planned = warmer.planned([WarmWish(image=image, target=target, pools=(pool,))])
        warmer.checked(list(warmer.warmed(planned, jobs=2)))

    return job


JOBS: Mapping[str, Callable[[Cloud, int], Job]] = {
    "put": put,
    "put --journal": put_with_journal,
    "add": add,
    "clone": clone,
    "get": get,
    "rm": rm,
    "clean": clean,
    "repair": repair,
    "locations": locations,
    "cp": cp,
    "warm": warm,
}
"""Each job of a worker; the order of their names is what a seed draws from."""

NAMES: Mapping[str, str] = {
    "add": "an upload through the store",
    "clean": "what a store does when it starts",
    "clone": "`register_clone`",
    "cp": "`cp`, its `--resume` and `--undo`",
    "get": "`get`",
    "locations": "`locations apply`, its `--resume` and `undo`",
    "put": "`put --register`",
    "put --journal": "`put --register --journal` and its `--resume`",
    "repair": "`audit --repair` and `--resume-repair`",
    "rm": "the deletion of an image",
    "warm": "`templates warm`",
}
"""What they are called on the page."""
