"""What tests need of templates on a cloud: which there are, images that only a template can serve, and slow clones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pymysql

from imagevol_core import GIB, TEMPLATE_KEY, ResourceNotFound
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import CLONE_SECONDS
from tests.cloud.users import DATA, PATIENCE_SECONDS, User


def templates(cloud: Cloud, image_id: str | None = None) -> list[Any]:
    """Cinder's volumes that say that they are templates, of one image or all, as an administrator sees them."""
    with ExitStack() as nothing:
        shown = User(cloud, "admin", nothing).cinder.volumes.list(search_opts={"all_tenants": 1})
    found = [volume for volume in shown if volume.metadata.get(TEMPLATE_KEY)]
    return [volume for volume in found if image_id in (None, volume.metadata[TEMPLATE_KEY])]


def template(cloud: Cloud, image_id: str) -> Any:
    """The only template of an image, once others are deleted."""
    for _ in ticks(PATIENCE_SECONDS):
        found = templates(cloud, image_id)
        if all(volume.status not in ("deleting", "error") for volume in found):
            break
    (only,) = found
    return only


def nothing_but(cloud: Cloud, image_id: str, ids: set[str]) -> bool:
    """Whether the templates of an image are these, once others are deleted."""
    return any({volume.id for volume in templates(cloud, image_id)} == ids for _ in ticks(PATIENCE_SECONDS))


def remove_templates(cloud: Cloud) -> None:
    with ExitStack() as nothing:
        real = User(cloud, "admin", nothing).real
        for volume in templates(cloud):
            with suppress(ResourceNotFound):  # Cinder deletes in the background what made room
                real.volumes.delete(volume.id)


def in_local(user: User, data: bytes = DATA, *, disk_format: str = "raw") -> str:
    """An image that no image volume holds, so that nothing but a template can be cloned."""
    return user.image(data, store="local", disk_format=disk_format)


def image_file(cloud: Cloud, image_id: str) -> Path:
    return cloud.directory / "glance/images" / image_id


def left(cloud: Cloud, gone: str) -> set[str]:
    """The templates when one is gone, which Cinder deletes in the background."""
    for _ in ticks(PATIENCE_SECONDS):
        found = {volume.id for volume in templates(cloud)}
        if gone not in found:
            break
    return found


@contextmanager
def slow_clones(cloud: Cloud, backend: str, *, seconds: float) -> Iterator[None]:
    """Let each clone on a backend take so long, or until the end of the context."""
    file = cloud.directory / "volumes" / backend / CLONE_SECONDS
    file.write_text(str(seconds))
    try:
        yield
    finally:
        file.unlink()


def until_said(user: User, volume: Any, text: str) -> None:
    """Return when the driver has logged this of a volume."""
    assert any(text in user.said(volume) for _ in ticks(PATIENCE_SECONDS))


def qcow2(directory: Path, *, size_gib: int = 0, data: bytes = DATA) -> bytes:
    raw, converted = directory / "raw", directory / "qcow2"
    raw.write_bytes(data)
    with raw.open("r+b") as file:
        file.truncate(size_gib * GIB or -(-len(data) // 512) * 512)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(converted)], check=True)
    return converted.read_bytes()


def forget_hash(cloud: Cloud, image_id: str) -> None:
    """Make of an image one that Glance took in before it had multihashes."""
    socket = str(cloud.directory / "tmp/mariadb.sock")
    glance = pymysql.connect(unix_socket=socket, user="root", database="glance", autocommit=True)
    with glance, glance.cursor() as cursor:
        cursor.execute("UPDATE images SET os_hash_algo = NULL, os_hash_value = NULL WHERE id = %s", (image_id,))


def updated_at(user: User, image_id: str) -> datetime:
    found = user.real.images.get(image_id).updated_at
    assert found
    return found


def touch(user: User, image_id: str) -> None:
    """Update an image, so that it shows: Glance counts seconds."""
    before = updated_at(user, image_id)
    for number, _ in enumerate(ticks(PATIENCE_SECONDS, interval=0.3)):
        user.glance.images.update(image_id, name=f"number {number}")
        if updated_at(user, image_id) != before:
            return


@contextmanager
def held_back(cloud: Cloud, image_id: str) -> Iterator[None]:
    """Whoever downloads the image waits for its data."""
    file = image_file(cloud, image_id)
    file.unlink()
    os.mkfifo(file)
    try:
        yield
    finally:
        os.close(os.open(file, os.O_RDWR | os.O_NONBLOCK))  # Glance, if it still waits, comes to the end
        file.unlink()
        file.write_bytes(DATA)


@contextmanager
def the_beginning(cloud: Cloud, image_id: str) -> Iterator[None]:
    """Let whoever downloads an image that is held back have its beginning."""
    for _ in ticks(PATIENCE_SECONDS):
        with suppress(OSError):  # nobody reads yet
            writer = os.open(image_file(cloud, image_id), os.O_WRONLY | os.O_NONBLOCK)
            break
    try:
        os.write(writer, DATA[:100])
        yield
    finally:
        os.close(writer)


@contextmanager
def being_made(user: User, image_id: str) -> Iterator[str]:
    """The template of an image that is held back, while the first volume of the image creates it; then it is made."""
    file = image_file(user.cloud, image_id)
    with held_back(user.cloud, image_id):
        first = user.asked(image_id)
        writer = next(each for _ in ticks(PATIENCE_SECONDS) if (each := _opened(file)) is not None)
        with os.fdopen(writer, "wb") as pipe:
            yield template(user.cloud, image_id).id
            os.set_blocking(writer, True)
            pipe.write(DATA)
        user.settled(first)


def _opened(fifo: Path) -> int | None:
    with suppress(OSError):  # nobody reads yet
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    return None
