"""What a driver with `ImageCloneMixin` must do about templates, a sentence each ([template])."""
# ruff: noqa: D102, S101

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from cinder import exception, objects

from imagevol_adapters.driver.facts import image_facts
from imagevol_adapters.driver.templates import Templates
from imagevol_adapters.ports import Locks
from imagevol_adapters.testing.conformance.driver.backend import DATA, FELL_THROUGH, Backend, Content, WithDriver
from imagevol_adapters.testing.conformance.driver.clones import ERRORS, at, failing_clones
from imagevol_adapters.testing.conformance.driver.offline import INTERNAL, USER
from imagevol_adapters.testing.conformance.fixtures import NOBODY, write
from imagevol_core import (
    GIB,
    TEMPLATE_KEY,
    DeadlineExceeded,
    Digest,
    ImagevolError,
    LockLost,
    ServiceUnreachable,
    TemplateMetadata,
)

__all__ = ["OTHER", "TemplatesConformance", "templates", "the_template"]

OTHER = DATA[::-1]


@attrs.frozen
class _Locks:
    """A lock service that fails: when a lock is asked for, looked at, or given back, the outer one or one inside."""

    error: ImagevolError
    when: str
    lease_seconds: float = 0
    taken: list[str] = attrs.Factory(list)

    @contextmanager
    def held(self, name: str, *, wait_seconds: float) -> Iterator[_Lock]:  # noqa: ARG002 - the port's
        if self.when == "asked":
            raise self.error
        self.taken.append(name)
        try:
            yield _Lock(name, self.error if self.when == "held" else None)
        finally:
            self.taken.remove(name)
        if self.when == ("given back inside" if self.taken else "given back"):
            raise self.error


@attrs.frozen
class _Lock:
    """A lock that may have been lost."""

    name: str
    error: ImagevolError | None

    def ensure_held(self) -> None:
        if self.error:
            raise self.error


class TemplatesConformance(WithDriver):
    """A driver, and the templates of its backend."""

    def test_the_first_volume_makes_a_template_and_is_its_clone(self, templating: Backend) -> None:
        image = templating.images.add(DATA)
        volume = templating.made(image, size_gib=2)
        template = the_template(templating, image)
        assert (template.status, template.size, template.project_id) == ("available", 1, INTERNAL)
        assert template.admin_metadata["readonly"] == "True"
        assert templating.content(template) == Content.of(DATA)
        assert templating.content(volume) == Content.of(DATA, size_gib=2)

    def test_metadata_that_the_driver_writes_on_a_template_stays_there(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create_volume = templating.driver.create_volume

        def creating(volume: Any) -> dict[str, Any]:
            update = create_volume(volume) or {}
            metadata = {**volume.metadata, **update.get("metadata", {}), "lun": "7"}
            return {**update, "metadata": metadata, "admin_metadata": {"format": "raw"}}

        monkeypatch.setattr(templating.driver, "create_volume", creating)
        image = templating.images.add(DATA)
        for _ in range(2):
            templating.made(image)
            assert the_template(templating, image).metadata["lun"] == "7"
            assert the_template(templating, image).admin_metadata["format"] == "raw"
        assert templating.images.downloads == [image["id"]]

    def test_a_template_of_which_there_may_be_no_more_clones_is_replaced_and_its_clones_stay(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = templating.images.add(DATA)
        volume = templating.made(image)
        old = the_template(templating, image)
        failing_clones(templating, monkeypatch, exception.SnapshotLimitReached(set_limit=1), of=old)
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert the_template(templating, image).id != old.id
        assert templating.content(volume) == Content.of(DATA)

    def test_if_the_storage_allows_no_clone_the_template_is_made_once_and_the_volume_copied(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = templating.images.add(DATA)
        failing_clones(templating, monkeypatch, exception.SnapshotLimitReached(set_limit=0))
        assert templating.clone_image(templating.cinder.volume(), image) == FELL_THROUGH
        assert templating.images.downloads == [image["id"]]

    def test_a_template_is_as_large_as_the_image_needs_and_no_larger(self, templating: Backend) -> None:
        image = templating.images.add(DATA, virtual_size=GIB + 1)
        templating.falls_through(templating.cinder.volume(size_gib=1), image)
        templating.made(image, size_gib=3)
        assert the_template(templating, image).size == 2

    def test_the_next_volumes_are_clones_and_nothing_is_downloaded_for_them(self, templating: Backend) -> None:
        image = templating.images.add(DATA)
        templating.made(image)
        template = the_template(templating, image)
        volumes = [templating.made(image, size_gib=size_gib) for size_gib in (1, 2)]
        assert [templating.content(volume) for volume in volumes] == [
            Content.of(DATA, size_gib=size_gib) for size_gib in (1, 2)
        ]
        assert the_template(templating, image).id == template.id
        assert templating.images.downloads == [image["id"]]

    def test_a_template_does_not_change_with_its_clones(self, templating: Backend) -> None:
        image = templating.images.add(DATA)
        volume = templating.made(image)
        with templating.driver.imagevol_open_volume(templating.cinder.admin, volume, writable=True) as device:
            write(device, 0, b"x" * 4096)
            device.flush()
        assert templating.content(the_template(templating, image)) == Content.of(DATA)
        assert templating.content(templating.made(image)) == Content.of(DATA)

    def test_a_template_of_an_image_that_changed_is_replaced_and_its_clones_stay(self, templating: Backend) -> None:
        image = templating.images.add(DATA)
        volume = templating.made(image)
        old = the_template(templating, image)
        changed = {**templating.images.add(OTHER), "id": image["id"]}
        templating.images.data[image["id"]] = OTHER
        assert templating.content(templating.made(changed)) == Content.of(OTHER)
        assert the_template(templating, image).id != old.id
        assert templating.content(volume) == Content.of(DATA)

    def test_an_image_without_a_multihash_is_the_same_as_long_as_its_date_is(self, templating: Backend) -> None:
        then, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
        image = templating.images.add(DATA, os_hash_algo=None, os_hash_value=None, updated_at=then)
        templating.made(image)
        templating.made(image)
        assert len(templating.images.downloads) == 1
        templating.made({**image, "updated_at": now})
        assert len(templating.images.downloads) == 2
        assert the_template(templating, image)

    def test_the_least_recently_used_template_makes_room_and_its_clones_stay(self, templating: Backend) -> None:
        templating.cinder.set("image_template_max_count", 2)
        images = [templating.images.add(data) for data in (DATA, OTHER, DATA[1:])]
        volumes = [templating.made(images[0]), templating.made(images[1]), templating.made(images[0])]
        volumes.append(templating.made(images[2]))
        kept = {volume.metadata[TEMPLATE_KEY] for volume in templates(templating)}
        assert kept == {images[0]["id"], images[2]["id"]}
        assert templating.content(volumes[1]) == Content.of(OTHER)

    @pytest.mark.parametrize("same", [True, False], ids=["of the image", "of another"])
    def test_a_template_that_a_dead_process_left_is_deleted(self, templating: Backend, same: bool) -> None:
        image, other = templating.images.add(DATA), templating.images.add(OTHER)
        of = image_facts(image if same else other, None)
        left = Templates(templating.cinder.volume()).create(of, 1)
        left.update(templating.driver.create_volume(left) or {})
        left.save()
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert [template.metadata[TEMPLATE_KEY] for template in templates(templating)] == [image["id"]]
        assert the_template(templating, image).id != left.id

    @pytest.mark.parametrize("status", ["available", "creating"])
    def test_a_volume_that_only_its_metadata_calls_a_template_is_neither_used_nor_removed(
        self, templating: Backend, status: str
    ) -> None:
        """Cinder copies a user's metadata when it clones a volume, and after a migration nothing shows the clone."""
        image, other = templating.images.add(DATA), templating.images.add(OTHER)
        digest = Digest(image["os_hash_algo"], image["os_hash_value"])
        forged = TemplateMetadata(image_id=image["id"], digest=digest, image_updated_at=image["updated_at"]).to_volume()
        planted = templating.cinder.volume(project_id=INTERNAL, metadata=forged, admin_metadata={"readonly": "True"})
        templating.put(planted, OTHER)
        planted.update({"status": status})
        planted.save()
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.content(templating.made(other)) == Content.of(OTHER)
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.images.downloads == [image["id"], other["id"]]
        assert templating.cinder.again(planted).status == status

    def test_a_template_that_was_encrypted_is_replaced(self, templating: Backend) -> None:
        """Here it stays beside the new one, because there is no key manager that deletes its key."""
        image = templating.images.add(DATA)
        templating.made(image)
        encrypted = the_template(templating, image)
        encrypted.update({"encryption_key_id": NOBODY})
        encrypted.save()
        for _ in range(2):
            assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.images.downloads == [image["id"]] * 2
        assert Templates(templating.cinder.volume()).of(image["id"])[0].id != encrypted.id

    def test_a_template_whose_record_cannot_be_completed_leaves_nothing(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(objects.Volume, "save", raising(exception.ServiceUnavailable()))
        image, volume = templating.images.add(DATA), templating.cinder.volume()
        assert templating.clone_image(volume, image) == FELL_THROUGH
        monkeypatch.undo()
        assert templating.cinder.volumes().keys() == {volume.id}

    def test_a_template_that_another_process_is_making_stays(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image, other = templating.images.add(DATA), templating.images.add(OTHER)
        open_volume, meanwhile = templating.driver.imagevol_open_volume, list[Any]()

        def opening(context: Any, volume: Any, *, writable: bool) -> Any:
            if not meanwhile:
                meanwhile.append(None)
                meanwhile[0] = templating.made(other)
            return open_volume(context, volume, writable=writable)

        monkeypatch.setattr(templating.driver, "imagevol_open_volume", opening)
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.content(meanwhile[0]) == Content.of(OTHER)
        assert {template.metadata[TEMPLATE_KEY] for template in templates(templating)} == {image["id"], other["id"]}

    @pytest.mark.parametrize(
        "served",
        [
            DATA[:-1],
            DATA + b"x",
            DATA[:-1] + bytes([DATA[-1] ^ 1]),
            b"",
            OSError("the connection broke"),
            exception.ImageNotFound(image_id=NOBODY),
            RuntimeError("a defect of the client"),
        ],
        ids=["short", "long", "a flipped bit", "empty", "OSError", "ImageNotFound", "RuntimeError"],
    )
    def test_data_that_is_not_the_image_becomes_no_template(
        self, templating: Backend, served: bytes | Exception
    ) -> None:
        image = templating.images.add(DATA)
        templating.images.data[image["id"]] = served
        templating.falls_through(templating.cinder.volume(), image)

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("method", ["create_volume", "imagevol_open_volume"])
    def test_if_the_storage_fails_no_template_is_left(self, templating: Backend, method: str, error: Exception) -> None:
        image = templating.images.add(DATA)
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(templating.driver, method, raising(error))
            assert templating.clone_image(templating.cinder.volume(), image) == (None, False)
        assert templates(templating) == []

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_if_the_clone_of_a_template_fails_nothing_is_left_of_it(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        image = templating.images.add(DATA)
        templating.made(image)
        template = the_template(templating, image)
        assert failing_clones(templating, monkeypatch, error) == []
        templating.falls_through(templating.cinder.volume(), image)
        assert templating.content(template) == Content.of(DATA)

    @pytest.mark.parametrize(
        "locks",
        [
            _Locks(DeadlineExceeded("another request has it", seconds=1), "asked"),
            _Locks(ServiceUnreachable("no answer"), "asked"),
            _Locks(LockLost("a lock"), "held"),
            _Locks(LockLost("a lock"), "given back inside"),
        ],
        ids=["held", "no answer", "lost", "lost before it was needed no more"],
    )
    def test_without_its_lock_no_template_is_made(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch, locks: _Locks
    ) -> None:
        use_locks(monkeypatch, templating, locks)
        templating.falls_through(templating.cinder.volume(), templating.images.add(DATA))

    @pytest.mark.parametrize("error", [LockLost("a lock"), ServiceUnreachable("no answer")], ids=["lost", "no answer"])
    def test_a_lock_that_was_lost_after_the_template_was_ready_takes_no_volume_away(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch, error: ImagevolError
    ) -> None:
        use_locks(monkeypatch, templating, _Locks(error, "given back"))
        assert templating.content(templating.made(templating.images.add(DATA))) == Content.of(DATA)

    @pytest.mark.parametrize(
        "wishes",
        [
            {"owner": "another-project"},
            {"disk_format": "qcow2", "virtual_size": None},
            {"status": "deactivated"},
        ],
        ids=str,
    )
    def test_an_image_that_a_rule_forbids_gets_no_template(self, templating: Backend, wishes: dict[str, Any]) -> None:
        templating.falls_through(templating.cinder.volume(), templating.images.add(DATA, **wishes))
        assert templating.images.downloads == []

    @pytest.mark.parametrize("virtual_size", [None, 0])
    def test_a_raw_image_that_was_registered_by_its_location_gets_a_template(
        self, templating: Backend, virtual_size: int | None
    ) -> None:
        image = templating.images.add(DATA, virtual_size=virtual_size)
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert the_template(templating, image).size == 1

    def test_a_public_image_has_one_template_for_all_projects(self, templating: Backend) -> None:
        image = templating.images.add(DATA, owner="another-project", visibility="public")
        for project_id in ("one-project", "two-project"):
            assert templating.content(templating.made(image, project_id=project_id)) == Content.of(DATA)
        assert templating.images.downloads == [image["id"]]

    def test_a_template_of_another_project_serves_a_requester_to_whom_glance_gives_the_data(
        self, templating: Backend
    ) -> None:
        image = templating.images.add(DATA, visibility="shared")
        templating.images.readers[image["id"]] = frozenset({"a-member"})
        for project_id in ("a-member", USER, "a-member"):
            assert templating.content(templating.made(image, project_id=project_id)) == Content.of(DATA)
        assert templating.images.downloads == [image["id"]]
        templating.falls_through(templating.cinder.volume(project_id="a-stranger"), image)
        templating.cinder.set("image_template_shared", False)
        templating.falls_through(templating.cinder.volume(project_id="a-member"), image)

    def test_a_volume_of_a_third_project_gets_no_template_by_what_the_requester_can_read(
        self, templating: Backend
    ) -> None:
        image = templating.images.add(DATA, visibility="shared")
        templating.images.readers[image["id"]] = frozenset({"a-member"})
        volume = templating.cinder.volume(project_id="a-stranger")
        context = templating.cinder.requester("a-member")
        assert templating.driver.clone_image(context, volume, None, image, templating.images) == FELL_THROUGH

    def test_an_encrypted_volume_is_no_clone_of_a_template(self, templating: Backend) -> None:
        image = templating.images.add(DATA)
        templating.made(image)
        volume = templating.cinder.volume(encryption_key_id=NOBODY)
        assert templating.clone_image(volume, image) == (None, False)

    def test_without_an_internal_tenant_there_are_no_templates(self, templating: Backend) -> None:
        templating.cinder.set("cinder_internal_tenant_project_id", None, section=None)
        templating.falls_through(templating.cinder.volume(), templating.images.add(DATA))

    def test_an_image_volume_is_cloned_rather_than_a_template(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        templating.allow_clones()
        image = templating.images.add(DATA)
        source = templating.image_volume(image)
        templating.made(image, at(source))
        assert templates(templating) == []
        failing_clones(templating, monkeypatch, ERRORS[0], of=source)
        assert templating.content(templating.made(image, at(source))) == Content.of(DATA)
        assert the_template(templating, image)

    @pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
    def test_an_image_in_another_format_becomes_a_template_too(self, templating: Backend, tmp_path: Path) -> None:
        raw, qcow2 = tmp_path / "raw", tmp_path / "qcow2"
        disk = DATA + bytes(-len(DATA) % 512)
        raw.write_bytes(disk)
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2)]
        subprocess.run(command, check=True)  # noqa: S603
        image = templating.images.add(qcow2.read_bytes(), disk_format="qcow2", virtual_size=len(disk))
        templating.cinder.set("image_conversion_disable", True, section=None)
        templating.falls_through(templating.cinder.volume(size_gib=2), image)
        templating.cinder.set("image_conversion_disable", False, section=None)
        volume = templating.made(image, size_gib=2)
        assert templating.content(volume, len(disk)) == Content.of(disk, size_gib=2)
        unhashed = {"os_hash_algo": None, "os_hash_value": None, "size": qcow2.stat().st_size + 1}
        short = templating.images.add(qcow2.read_bytes(), disk_format="qcow2", virtual_size=len(disk), **unhashed)
        templating.falls_through(templating.cinder.volume(), short)


def templates(backend: Backend) -> list[Any]:
    """Give the templates that there are."""
    return [volume for volume in backend.cinder.volumes().values() if TEMPLATE_KEY in volume.metadata]


def the_template(backend: Backend, image: dict[str, Any]) -> Any:
    """Give the one template that there is of an image."""
    (template,) = [volume for volume in templates(backend) if volume.metadata[TEMPLATE_KEY] == image["id"]]
    return template


def use_locks(monkeypatch: pytest.MonkeyPatch, backend: Backend, locks: Locks) -> None:
    """Give the driver other locks than the operator's."""
    services = attrs.evolve(backend.driver.imagevol_services(), locks=locks)
    monkeypatch.setattr(backend.driver, "imagevol_services", lambda: services)


def raising(error: Exception) -> Callable[..., AbstractContextManager[Any]]:
    """Give a method that raises."""

    def method(*_: Any, **__: Any) -> Any:
        raise error

    return method
