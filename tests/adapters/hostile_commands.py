"""Command lines that a careless or hostile hand types: each command by its own parser, each option and argument odd."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import attrs
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token

from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_core import AttachmentFacts, PlacedType, Store, StoreCatalogue, Volume
from tests.adapters.test_locations_command import GLANCE_API_CONF
from tests.adapters.test_relocating import cloud
from tests.adapters.test_stores_commands import Types
from tests.adapters.test_templates_commands import INTERNAL, Templating
from tests.core.hostile import ID, OTHER_ID, TEXTS

SINGLE_STORE = "[glance_store]\nstores = cinder\ndefault_store = cinder\ncinder_volume_type = ssd\n"
# In an argument of a process no NUL can be, but Python's callers can have one.
WORDS = tuple(text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for text in TEXTS)
METADATA: tuple[Mapping[str, str], ...] = (
    {"image_id": ID, "image_size": "5"},
    {"image_id": ID, "image_size": str(2**64 - 1)},
    {"image_id": ID, "image_size": "9" * 4000},
    {"image_id": ID, "image_size": "-1"},
    {"image_id": ID, "image_size": "1e400"},
    {"image_id": "..", "image_size": "5"},
    {"image_id": "\x1b[2J", "image_owner": "a\nb", "image_size": "0"},
    {"image_id": ID, "os_hash_algo": "md5", "os_hash_value": "zz"},
    {"image_id": ID, "os_hash_algo": "sha512"},
    {"image_id": ID, "image_size": "5", "os_hash_algo": "nosuch", "os_hash_value": "ab" * 64},
    {},
)


@attrs.frozen
class Place:
    """A directory with files that are fine, and others that are not; all that is typed is read and written there."""

    directory: Path
    files: Mapping[str, tuple[str, ...]]

    @classmethod
    def made(cls, directory: Path) -> Place:
        """Fill an empty directory."""
        fine = {"disk.raw": b"\x01" * 70_000, "empty": b"", "glance.conf": GLANCE_API_CONF.encode()}
        fine |= {"single.conf": SINGLE_STORE.encode(), "sums": b"ab" * 32 + b"  disk.raw\n", "junk": bytes(range(256))}
        fine |= {
            "deep": b"[" * 100_000,
            "nul.conf": b"[a]\n\0 = \0\n",
            "loop.conf": b"[DEFAULT]\nenabled_backends = $a\n",
        }
        fine |= {"self.conf": b"[DEFAULT]\nenabled_backends = $enabled_backends\n"}
        fine |= {"named.conf": b"[DEFAULT]\nenabled_backends = enabled_backends:cinder\n[enabled_backends]\nweight=1\n"}
        fine |= {"latin.conf": b"[DEFAULT]\nx = \xff\n", "head": json.dumps({"journal": 1, "id": 7}).encode() + b"\n"}
        for name, content in fine.items():
            (directory / name).write_bytes(content)
        with (directory / "endless").open("wb") as file:
            file.truncate(1 << 40)  # of zeros, on no disk
        os.mkfifo(directory / "fifo")
        (directory / "closed").mkdir(0o500)
        (directory / "loop").symlink_to("loop")
        odd: tuple[str, ...] = (
            "fifo",
            "closed",
            "loop",
            "none/file",
            ".",
            "/dev/zero",
            "/dev/full",
            "/dev/null",
            "/proc/version",
        )
        odd += ("/proc/self/mem", "/proc/self/environ", "junk", "deep", "empty", "a\0b", "\x1b[2J", "n" * 300, "-", "")
        return cls(
            directory,
            {
                "file": ("disk.raw", "disk.raw", "disk.raw", "new", *odd, "glance.conf", "single.conf"),
                "config_file": (
                    "glance.conf",
                    "single.conf",
                    *(name for name in fine if name.endswith(".conf")),
                    *odd,
                    "endless",
                ),
                "config_dir": (".", "closed", *odd),
                "html": ("page.html", "page.html", "new.html", *odd),
                "metrics": ("imagevol.prom", "imagevol.prom", *odd),
                "journal": ("journal", "another", "head", *odd, "endless"),
                "checksum_file": ("sums", *odd, "endless"),
            },
        )


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What a parser takes, without what prints help and ends."""
    ending = ("help", "version")
    return [action for action in parser._actions if action.dest not in ending and action.help != argparse.SUPPRESS]


def typed(parser: argparse.ArgumentParser, place: Place, random: Random, ids: Sequence[str]) -> list[str]:
    """Type a command line that the parser may or may not take."""
    words: list[str] = []
    for action in actions(parser):
        if action.option_strings and not action.required and random.random() > 0.12:
            continue
        if action.option_strings:
            words.append(random.choice(action.option_strings))
        count = {0: 0, "*": random.choice((0, 1, 2)), "+": random.choice((1, 2)), "?": 1}.get(action.nargs, 1)
        words += [_word(action, place, random, ids) for _ in range(count)]
    return words


def _word(action: argparse.Action, place: Place, random: Random, ids: Sequence[str]) -> str:
    if random.random() < 0.1:
        return random.choice(WORDS)
    if action.choices and random.random() < 0.9:
        return str(random.choice(list(action.choices)))
    if action.dest in place.files:
        return random.choice(place.files[action.dest])
    if action.type in (int, float) and random.random() < 0.6:
        return random.choice(("1", "5", "1000"))
    if action.type in (int, float) or (action.type and "count" in getattr(action.type, "__name__", "")):
        return random.choice(("0", "1", "5", "-1", "1e400", "nan", "0.0000001", str(2**64), "9" * 5000))
    if action.dest in ("name", "new_store", "property", "rename", "give_up"):
        return random.choice(("cinder=fast", "a=b", "=", "fast=hdd", "x==y", *WORDS))
    return random.choice((*ids, *ids, "fast", "ssd", "p", INTERNAL, "node@fast#one", *WORDS))


@attrs.define(kw_only=True)
class Volumes(MemoryVolumes):
    """What a command asks Cinder for, and where it finds Cinder: nowhere."""

    attach_attempts: int = 1
    retries: ClassVar[int] = 0
    session: ClassVar[Session] = Session(auth=Token("http://127.0.0.1:1", "a-token"))
    region_name: ClassVar[str | None] = None
    interface: ClassVar[str] = "public"
    endpoint_override: ClassVar[str | None] = None

    def default_volume_type(self) -> str:
        return "fast"

    def pools(self) -> tuple[Pool, ...]:
        return (Pool(name="node@fast#one", protocols=("memory",)),)

    def is_encrypted(self, volume_type: str) -> bool:
        return self.volume_types[self.volume_type(volume_type).name]  # type: ignore[union-attr]

    def placed_types(self) -> tuple[PlacedType, ...]:
        return tuple(PlacedType(name=name) for name in self.volume_types)


@attrs.frozen
class Whole:
    """All that the Cinder in memory has, in place of `WholeCinder`."""

    volumes: Volumes
    sees_all: ClassVar[bool] = True

    def all_volumes(self) -> Iterator[Volume]:
        return iter([*self.volumes.volumes.values()])

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        return self.volumes.find(volume_ids)

    def recording(self, image_id: str) -> tuple[Volume, ...]:
        return tuple(each for each in self.all_volumes() if each.metadata.get("image_id") == image_id)

    def all_attachments(self) -> Iterator[AttachmentFacts]:
        return iter(())

    def attachment_now(self, attachment_id: str) -> None:
        """Nothing is attached."""


class Images(MemoryImages):
    """What any command asks Glance for."""

    interface: ClassVar[str] = "public"
    endpoint_override: ClassVar[str | None] = None

    def catalogue(self) -> StoreCatalogue:
        return StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="fast"),), default="fast")


def services(group: str, random: Random) -> tuple[dict[str, Any], list[str]]:
    """Services in memory with odd volumes and images, by the attribute of the application; and the ids in them.

    Args:
        group: the first word of the command.
        random: chooses.
    """
    if group == "stores":
        return {"volumes": Types()}, [ID]
    if group == "locations":
        history = cloud()
        return {"volumes": history, "images": history}, list(history.images)
    kind: type[MemoryVolumes] = Templating if group == "templates" else Volumes
    volumes = kind(project_id="p", host="node@fast#one", volume_types={"fast": False, "ssd": False, "memory": False})
    images = Images(volumes=volumes, project_id="p", stores=("fast",))
    made = images.create(name="disk", disk_format="raw")
    images.upload(made.id, [b"data"], size_bytes=4)
    ids = [made.id, images.create(name="disk", disk_format=random.choice(("raw", "qcow2", "iso"))).id]
    for metadata in METADATA:
        volume = MemoryVolumes.wait(volumes, MemoryVolumes.create(volumes, size_gib=1, name="disk").id)
        volumes.volumes[volume.id] = replace(volume, metadata=metadata)
        ids.append(volume.id)
    given = {
        "volumes": volumes,
        "images": images,
        "attacher": MemoryAttacher(volumes=volumes),
        "project_id": "p",
        "has_project": lambda *_: None,  # a Keystone that does not tell
    }
    return given, [*ids, ID, OTHER_ID]
