"""Contents for pages of a report: a large cloud, one with hostile names, and findings; and what is in a page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from random import Random
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from imagevol_adapters.reporting import Answer, Contents, ShownImage, ShownPlace, ShownPool, ShownStore
from imagevol_core import GIB

SCRIPT = "<script>document.title = 'run'; window.planted = true</script>"
IMG = '"><img src=x onerror="window.planted = true">'
COMMENT = "--><!--<script>"
PLACES = (
    ShownPlace(host="node1@fast#pool", volume_type="fast"),
    ShownPlace(host="node1@slow#pool", volume_type="slow"),
    ShownPlace(host="node2@ceph#volumes", volume_type="ceph"),
)
_SYSTEMS = ("debian-12-genericcloud-amd64", "ubuntu-24.04-server", "rocky-9-base", "windows-2022", "cirros")


def uuid(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


def image(number: int, random: Random, *, name: str | None = None) -> ShownImage:
    """An image in one of three stores; each store's volumes are in one of the places."""
    size_bytes, kind = random.randrange(20 << 20, 40 * GIB), number % 4
    image_id, volume_id = uuid(random), uuid(random)
    cloned = Answer(
        way="clone-image-volume", reason=f"from {volume_id}", saved_bytes=size_bytes, saved_seconds=size_bytes / 200e6
    )
    copied = Answer(
        way="copy",
        reason=f"volume-same-backend: volume {volume_id} is not in the pool of the new volume",
        against=(
            ("volume-same-backend", f"volume {volume_id} is not in the pool of the new volume"),
            ("volume-owner", "the volume is in another project"),
            ("volume-fits", f"the volume has {size_bytes + 4096} bytes and the image {size_bytes}"),
        ),
        copied_bytes=size_bytes,
    )
    made = Answer(
        way="create-template",
        reason="has-cinder-location: no location of the image is in Cinder",
        against=(("has-cinder-location", "no location of the image is in Cinder"),),
        copied_bytes=size_bytes,
    )
    in_volume = kind < 3
    return ShownImage(
        id=image_id,
        name=name or f"{random.choice(_SYSTEMS)}-{2020 + number % 7}{number % 12 + 1:02}{number % 28 + 1:02}",
        status="active",
        visibility="public" if number % 3 else "private",
        disk_format="raw" if in_volume else "qcow2",
        size_bytes=size_bytes,
        stores=(("fast", "slow", "ceph", "files")[kind],),
        volume_ids=(volume_id,) if in_volume else (),
        answers=tuple((cloned if place == kind else copied) if in_volume else made for place in range(3)),
    )


def images(count: int, names: Sequence[str] = ()) -> list[ShownImage]:
    """Images in the order of the page: by name."""
    random = Random(16)
    made = [image(number, random, name=names[number] if number < len(names) else None) for number in range(count)]
    return sorted(made, key=lambda each: (each.name or "", each.id))


def finding(number: int, *, sure: bool = True, repair: bool = True, text: str = "") -> dict[str, Any]:
    """In the JSON form of an audit."""
    subject = {"kind": "volume", "id": str(UUID(int=number + 7))}
    step = {"action": "delete-volume", "subject": subject, "arguments": {}}
    return {
        "id": f"{number:012x}",
        "rule": "volume-without-image" if number % 2 else "attachment-alive",
        "certainty": "sure" if sure else "likely",
        "subjects": [subject],
        "since": f"2026-0{number % 9 + 1}-01T12:00:00+00:00" if number % 3 else None,
        "reclaimable_bytes": number * GIB,
        "text": text or f"no image of the {number} that were listed names the volume",
        "repair": [step] if repair else [],
    }


def contents(
    count: int = 60, *, names: Sequence[str] = (), findings: int | Sequence[Any] | None = 7, **given: Any
) -> Contents:
    """A page of a cloud that has so many images."""
    return Contents(
        **{
            "title": "Images and volumes of example",
            "made_at": datetime(2026, 11, 28, 6, 30, tzinfo=UTC),
            "command": "imagevol report --html report.html --rates rates.json",
            "version": "0.1.0",
            "places": PLACES,
            "images": images(count, names),
            "stores": (
                ShownStore(name="fast", kind="cinder", volume_type="fast", default=True, readonly=False),
                ShownStore(name="slow", kind="cinder", volume_type="slow", readonly=False),
                ShownStore(name="ceph", kind="cinder", volume_type="ceph", readonly=False),
                ShownStore(name="files", kind="file", readonly=False),
            ),
            "pools": tuple(
                ShownPool(
                    name=place.host, backend_name=place.volume_type, protocols=("iSCSI",), clone_across_pools=False
                )
                for place in PLACES
            ),
            "findings": [finding(each, sure=each % 3 != 0, repair=each != 4) for each in range(findings)]
            if isinstance(findings, int)
            else findings,
            "audit_options": ("--trusted-project", "7c9e6679"),
            "reclaimable_bytes": 3 * GIB,
            "notes": (),
            **given,
        }
    )


class Page(HTMLParser):
    """What a browser would make of a page: its elements, the text of scripts and styles, and its policy."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self._open = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        {"script": self.scripts, "style": self.styles}.get(self._open, self.texts).append(data)

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])

    @property
    def policy(self) -> str:
        (found,) = (
            attributes["content"] or ""
            for tag, attributes in self.elements
            if attributes.get("http-equiv") == "Content-Security-Policy"
        )
        return found

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def unpacked(data: Any) -> list[dict[str, Any]]:
    """Read the data of a page as its script does."""
    columns, texts = data["images"], data["texts"]
    ids, own = columns["id"].split("\n"), columns["own"].split("\n")
    found = []
    name = ""
    for at, (told, size) in enumerate(zip(columns["name"].split("\n"), columns["size"], strict=False)):
        name = name[: int(told[0], 36)] + told[1:]
        known = [_uuid(ids[at]), str(size), *map(_uuid, own[at].split())]
        answers = [data["answers"][number] for number in data["patterns"][columns["pattern"][at]][4:]]
        found.append(
            {
                "id": known[0],
                "name": name,
                "size": size,
                "ways": [texts[way] for way, *_ in answers],
                "reasons": [_told(texts[reason], known) for _, reason, *_ in answers],
                "against": [[(texts[rule], _told(texts[text], known)) for rule, text in each[2:]] for each in answers],
            }
        )
    return found


def _uuid(packed: str) -> str:
    if packed.startswith("="):
        return unquote(packed[1:])
    return str(UUID(bytes=base64.urlsafe_b64decode(f"{packed}==")))


def _told(text: str, known: Sequence[str]) -> str:
    return re.sub("[\ue000-\ue0ff]", lambda match: known[ord(match[0]) - 0xE000], text)


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
