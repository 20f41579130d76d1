"""The procedures that are tried: the commands, and what must hold after each."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from imagevol_adapters.transfers.attaching import delete_volume
from imagevol_core import ImagevolError, ImageVolumeMetadata
from tests.cloud.templating import remove_templates, templates
from tests.faults.proxy.forking import Ran
from tests.faults.proxy.passing import Proxies
from tests.faults.proxy.site import DATA, Site
from tests.faults.proxy.within import deleted, downloaded, uploaded, volume_created

__all__ = ["PROCEDURES", "Made", "Procedure", "gone"]

Made = dict[str, str]


def _nothing(_site: Site) -> Made:
    return {}


def _right(_site: Site, _made: Made, _ran: Ran) -> bool:
    return True


def _leave(_site: Site, _made: Made, _ran: Ran) -> None:
    return


@attrs.frozen(kw_only=True)
class Procedure:
    """A command, and what is around it.

    Attributes:
        arguments: of the command, given the site and what was prepared.
        asks: asks a service that has our code in it, in place of a command; the faults are in what the service asks.
        prepare: makes what the command works on; it is there again at the next try, so it must be cheap.
        is_right: whether a command that succeeded has done what it says.
        tidy: takes away what a command that succeeded has made.
        statuses: what a command that succeeded ends with.
        same_answer: whether the answer is the same each time.
        resumes: the options with which a command that failed goes on, where it leaves something for that.
        format: the options for an answer that a program reads.
        slow: whether it takes so long that less is tried, without `--all`.
    """

    arguments: Callable[[Site, Made], Sequence[object]] = lambda site, made: ()
    asks: Callable[[Site, Made], Ran] | None = None
    prepare: Callable[[Site], Made] = _nothing
    is_right: Callable[[Site, Made, Ran], bool] = _right
    tidy: Callable[[Site, Made, Ran], None] = _leave
    statuses: tuple[int, ...] = (0,)
    same_answer: bool = False
    resumes: tuple[str, ...] = ()
    format: tuple[str, ...] = ("-f", "json")
    slow: bool = False

    def between(self, site: Site) -> Proxies:
        """The proxies that bring about its faults."""
        return site.proxies if self.asks is None else site.within


def _answer(ran: Ran) -> Any:
    return json.loads(ran.out)


def _stored(site: Site, _made: Made, ran: Ran) -> bool:
    volume = site.volumes.get(_answer(ran)["volume_id"])
    return volume.status == "available" and volume.metadata["image_size"] == str(len(DATA))


def _delete_volume(site: Site, _made: Made, ran: Ran) -> None:
    delete_volume(site.volumes, _answer(ran)["volume_id"])


def _registered(site: Site, made: Made, ran: Ran) -> bool:
    image = site.images.get(_answer(ran)["image_id"])
    whole = b"".join(site.images.read(image.id)) == DATA and _stored(site, made, ran)
    return whole and image.status == "active" and "imagevol_procedure" not in image.properties


def _delete_image(site: Site, _made: Made, ran: Ran) -> None:
    site.images.delete(_answer(ran)["image_id"])


def _volume(site: Site) -> Made:
    return {"volume": site.volume_of(_kept_image(site))}


def _kept_image(site: Site, store: str = "fast") -> str:
    """An image that all procedures share that change nothing of it."""
    if store not in site.kept:
        site.kept[store] = site.image(store, name=f"kept in {store}")
    return site.kept[store]


def _image(site: Site) -> Made:
    return {"image": _kept_image(site)}


def _file_image(site: Site) -> Made:
    return {"image": _kept_image(site, "local")}


def _got(site: Site, _made: Made, _ran: Ran) -> bool:
    return (site.temporary / "got").read_bytes() == DATA


def _forget_got(site: Site, _made: Made, _ran: Ran) -> None:
    (site.temporary / "got").unlink(missing_ok=True)


def _own_volume(site: Site) -> Made:
    record = ImageVolumeMetadata(image_id=str(uuid.uuid4()), size_bytes=5).to_volume()
    volume = site.volumes.create(size_gib=1, name="to be removed", volume_type="fast", metadata=record)
    return {"own volume": site.volumes.wait(volume.id).id}


def _own_image(site: Site) -> Made:
    return {"own image": site.image("local", DATA[:70000])}


def _copied(site: Site, made: Made, _ran: Ran) -> bool:
    image = made["own image"]
    stores = set(site.images.stores_of(image))
    return stores == {"local", "slow"} and b"".join(site.images.read(image)) == DATA[:70000]


def _wrong_location(site: Site) -> Made:
    image = site.image("fast", DATA[:70000])
    volume = site.volume_of(image)
    url = f"cinder://slow/{volume}"
    site.sql("glance", "UPDATE image_locations SET value = %s WHERE image_id = %s", (url, image))
    return {"own image": image, "url": f"cinder://fast/{volume}"}


def _relocated(site: Site, made: Made, _ran: Ran) -> bool:
    (image,) = site.images.listed([made["own image"]])
    return [location.url for location in image.locations] == [made["url"]]


def _warmed(site: Site, made: Made, ran: Ran) -> bool:
    return [row["outcome"] for row in _answer(ran)] == ["made"]


def _no_templates(site: Site, _made: Made, _ran: Ran) -> None:
    remove_templates(site.cloud)


def _template(site: Site) -> Made:
    image = site.image("local", DATA[:70000])
    volume_created(site, {"own image": image})
    (template,) = templates(site.cloud, image)
    for volume in site.cinder_of_service.volumes.list():
        if volume.id != template.id and volume.metadata == {}:
            delete_volume(site.volumes, volume.id)
    return {"own image": image, "template": template.id}


def _pruned(site: Site, made: Made, ran: Ran) -> bool:
    outcomes = [(row["volume_id"], row["outcome"]) for row in _answer(ran)]
    return outcomes == [(made["template"], "deleted")]


def _queued(site: Site) -> Made:
    return {"own image": site.images.create(name="to be uploaded", disk_format="raw").id}


def _uploaded(site: Site, made: Made, _ran: Ran) -> bool:
    image = site.images.get(made["own image"])
    return image.status == "active" and b"".join(site.images.read(image.id)) == DATA


def _downloaded(_site: Site, _made: Made, ran: Ran) -> bool:
    return ran.out == hashlib.sha256(DATA).hexdigest()


def _stored_image(site: Site) -> Made:
    return {"own image": site.image("fast", DATA[:70000])}


def _image_gone(site: Site, made: Made, _ran: Ran) -> bool:
    return made["own image"] not in {each["id"] for each in site.glance.images.list()}


def _large_image(site: Site) -> Made:
    return {"own image": site.image("local")}


def _volume_whole(site: Site, _made: Made, ran: Ran) -> bool:
    with (site.cloud.directory / "volumes/fast" / f"volume-{_answer(ran)['volume_id']}").open("rb") as file:
        held = file.read(len(DATA))
    return held == DATA and all(each.status != "creating" for each in templates(site.cloud))


def _delete_volume_and_templates(site: Site, made: Made, ran: Ran) -> None:
    _delete_volume(site, made, ran)
    remove_templates(site.cloud)


def _writable(site: Site) -> Made:
    image = site.image("fast", DATA[:70000])
    volume = site.volume_of(image)
    site.volumes.set_readonly(volume, readonly=False)
    return {"own image": image, "volume": volume}


def _read_only(site: Site, made: Made, _ran: Ran) -> bool:
    return site.volumes.get(made["volume"]).readonly is True


def _glance(site: Site) -> tuple[object, ...]:
    return ("--config-file", site.glance_conf)


def _audit(site: Site, *more: object) -> Sequence[object]:
    trusted = ("--trusted-project", site.cloud.project_ids["service"], "--only-glance")
    return ("audit", *_glance(site), *trusted, *more)


def _journal(site: Site) -> tuple[object, ...]:
    return ("--journal", site.directory / "journal")


PROCEDURES: Mapping[str, Procedure] = {
    "put": Procedure(
        arguments=lambda site, made: ("put", site.disk, "--volume-type", "fast"),
        is_right=_stored,
        tidy=_delete_volume,
    ),
    "put --register": Procedure(
        arguments=lambda site, made: (
            *("put", site.disk, "--volume-type", "fast", "--register", "registered", "--store", "fast"),
        ),
        is_right=_registered,
        tidy=_delete_image,
    ),
    "put --journal": Procedure(
        arguments=lambda site, made: (
            *("put", site.disk, "--volume-type", "fast", "--register", "registered", "--store", "fast"),
            *_journal(site),
        ),
        is_right=_registered,
        tidy=_delete_image,
        resumes=("--resume",),
    ),
    "get": Procedure(
        arguments=lambda site, made: ("get", made["volume"], site.temporary / "got"),
        prepare=_volume,
        is_right=_got,
        tidy=_forget_got,
        format=(),
    ),
    "get IMAGE": Procedure(
        arguments=lambda site, made: ("get", made["image"], site.temporary / "got"),
        prepare=_image,
        is_right=_got,
        tidy=_forget_got,
        format=(),
    ),
    "get --through-glance": Procedure(
        arguments=lambda site, made: ("get", made["image"], site.temporary / "got", "--through-glance"),
        prepare=_file_image,
        is_right=_got,
        tidy=_forget_got,
        format=(),
    ),
    "get --resume": Procedure(
        arguments=lambda site, made: ("get", made["image"], site.temporary / "got", "--through-glance", "--resume"),
        prepare=_file_image,
        is_right=_got,
        tidy=_forget_got,
        format=(),
        resumes=("--resume",),
    ),
    "rm": Procedure(
        arguments=lambda site, made: ("rm", made["own volume"]),
        prepare=_own_volume,
        format=(),
        is_right=lambda site, made, ran: not site.volumes.find([made["own volume"]]),
    ),
    "cp": Procedure(
        arguments=lambda site, made: ("cp", made["own image"], "--to-store", "slow", "--yes"),
        prepare=_own_image,
        is_right=_copied,
    ),
    "locations apply": Procedure(
        arguments=lambda site, made: ("locations", "apply", *_glance(site), *_journal(site), "--yes"),
        prepare=_wrong_location,
        is_right=_relocated,
        resumes=("--resume",),
    ),
    "templates warm": Procedure(
        arguments=lambda site, made: (
            *("templates", "warm", made["image"], "--volume-type", "fast", "--yes"),
            *("--config-file", site.cinder_conf),
        ),
        prepare=_file_image,
        is_right=_warmed,
        tidy=_no_templates,
        statuses=(0, 3),
    ),
    "templates prune": Procedure(
        arguments=lambda site, made: (
            *("templates", "prune", "--all", "--idle-minutes", 0, "--yes", "--config-file", site.cinder_conf),
        ),
        prepare=_template,
        is_right=_pruned,
        statuses=(0, 3),
        slow=True,
    ),
    "audit": Procedure(arguments=lambda site, made: _audit(site), prepare=_image, same_answer=True),
    "audit --deep": Procedure(arguments=lambda site, made: _audit(site, "--deep"), prepare=_image, same_answer=True),
    "audit --repair": Procedure(
        arguments=lambda site, made: _audit(
            site, "--repair", "--yes", "--repair-journal", site.directory / "repair-journal"
        ),
        prepare=_writable,
        is_right=_read_only,
        statuses=(0, 3),
    ),
    "stores check": Procedure(arguments=lambda site, made: ("stores", "check", *_glance(site)), same_answer=True),
    "explain": Procedure(
        arguments=lambda site, made: (
            *("explain", made["image"], "--host", site.cloud.backend_hosts["fast"], "--size", 1),
            *("--trusted-project", site.cloud.project_ids["service"], "--allowed-direct-url-scheme", "cinder"),
            *("--templates", "--internal-tenant", site.cloud.project_ids["service"]),
        ),
        prepare=_image,
        same_answer=True,
    ),
    "validate": Procedure(
        arguments=lambda site, made: ("validate", "fast", "--no-suites", "--clones", 1, "--seconds", 90),
        statuses=(0, 3),
        slow=True,
    ),
    "doctor": Procedure(arguments=lambda site, made: ("doctor", *_glance(site)), statuses=(0, 3)),
    "glance-api: an upload": Procedure(asks=uploaded, prepare=_queued, is_right=_uploaded),
    "glance-api: a download": Procedure(asks=downloaded, prepare=_image, is_right=_downloaded),
    "glance-api: a deletion": Procedure(asks=deleted, prepare=_stored_image, is_right=_image_gone),
    "cinder-volume: a template": Procedure(
        asks=volume_created, prepare=_large_image, is_right=_volume_whole, tidy=_delete_volume_and_templates
    ),
}
"""The procedures, by the command, or by the service and what it is asked for."""


def gone(site: Site, made: Made) -> None:
    """Take away what was prepared for one try."""
    for kind, delete in (
        ("own image", site.images.delete),
        ("own volume", lambda name: delete_volume(site.volumes, name)),
    ):
        if kind in made:
            try:
                delete(made[kind])
            except ImagevolError:
                continue
