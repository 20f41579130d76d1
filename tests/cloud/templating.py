"""What tests need of templates on a cloud: which there are, images that only a template can serve, and slow clones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from imagevol_core import TEMPLATE_KEY, ResourceNotFound
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
