"""Drivers under the conformance suite; `driver_suite_worker.py` runs these, and pytest alone does not find them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cinder import context as cinder_context
from cinder import exception
from cinder.volume import rpcapi

from imagevol_adapters.driver import OPTIONS, ImageCloneMixin, by_template
from imagevol_adapters.driver.facts import volume_facts
from imagevol_adapters.driver.templates import Templates
from imagevol_adapters.testing.conformance.driver import ImageCloneConformance
from imagevol_adapters.testing.conformance.driver.backend import DATA, FELL_THROUGH, Backend, Content
from imagevol_adapters.testing.conformance.driver.offline import INTERNAL
from imagevol_adapters.testing.conformance.fixtures import NOBODY, read
from imagevol_core import TEMPLATE_KEY, AttachFailed, DeviceStalled, Digest, TemplateMetadata, is_template
from tests.upstream import sparse_file_driver as drivers
from tests.upstream.cloning_manager import Manager, migrated_record

NO_PROCESS = "imagevol host=- boot=3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11 ns=4.5 pid=7 start=123"  # of another boot


def migrate(backend: Backend, volume: Any) -> Any:
    """Migrate a volume as Cinder does where no driver helps: by a copy into a new volume, whose record it swaps."""
    new = migrated_record(backend.cinder.admin, volume)
    with backend.driver.imagevol_open_volume(backend.cinder.admin, volume, writable=False) as old:
        backend.put(new, read(old, 0, len(DATA)))
    new.update({"status": "available"})
    new.save()
    volume, new = backend.cinder.again(volume), backend.cinder.again(new)
    volume.update({"_name_id": new.id})
    source = volume.finish_volume_migration(new)
    volume.update({"status": "available", "migration_status": "success"})
    volume.save()
    backend.driver.delete_volume(source)
    source.destroy()
    return backend.cinder.again(volume)


class OnSparseFiles(ImageCloneConformance):
    @pytest.fixture
    def backend_options(self, tmp_path: Path) -> dict[str, object]:
        return {"sparsefile_directory": tmp_path}

    @pytest.fixture
    def stored(self, tmp_path: Path) -> Callable[[], Collection[str]]:
        return lambda: [file.name for file in tmp_path.iterdir()]


class TestTemplatingFileDriver(OnSparseFiles):
    driver_class = drivers.TemplatingFileDriver

    @pytest.mark.parametrize(
        "after", [(Templates, "touch"), (rpcapi.VolumeAPI, "delete_volume")], ids=["touch", "delete"]
    )
    def test_a_volume_that_is_made_stays_whatever_fails_then(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch, after: tuple[Any, str]
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise exception.ServiceUnavailable

        image = templating.images.add(DATA)
        templating.made(image)
        monkeypatch.setattr(*after, fail)
        assert templating.content(templating.made(image)) == Content.of(DATA)
        changed = {**templating.images.add(DATA[1:]), "id": image["id"]}
        templating.images.data[image["id"]] = DATA[1:]
        assert templating.content(templating.made(changed), len(DATA) - 1) == Content.of(DATA[1:])

    @pytest.mark.parametrize("migrated", [False, True])
    def test_what_cinder_clones_of_a_users_volume_is_no_template(self, templating: Backend, migrated: bool) -> None:
        image = templating.images.add(DATA)
        digest = Digest(image["os_hash_algo"], image["os_hash_value"])
        forged = TemplateMetadata(image_id=image["id"], digest=digest, image_updated_at=image["updated_at"]).to_volume()
        users = templating.cinder.volume(metadata={**forged, "readonly": "True"})
        templating.put(users, DATA[::-1])
        internal = cinder_context.get_internal_tenant_context()
        planted = Manager(templating.driver)._clone_image_volume(internal, users, {"id": NOBODY})
        assert (planted.project_id, planted.metadata[TEMPLATE_KEY]) == (INTERNAL, image["id"])
        if migrated:
            planted = migrate(templating, planted)
            assert planted.source_volid is None
        assert not is_template(volume_facts(templating.cinder.again(planted)))
        for _ in range(2):
            assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.cinder.again(planted).status == "available"

    def test_a_template_proves_itself_after_a_migration_and_its_clone_in_the_internal_tenant_does_not(
        self, templating: Backend
    ) -> None:
        image = templating.images.add(DATA)
        templating.made(image)
        (template,) = Templates(templating.cinder.volume()).of(image["id"])
        migrated = migrate(templating, template)
        assert is_template(volume_facts(migrated))
        internal = cinder_context.get_internal_tenant_context()
        clone = Manager(templating.driver)._clone_image_volume(internal, migrated, {"id": NOBODY})
        clone = migrate(templating, templating.cinder.again(clone))
        assert clone.metadata[TEMPLATE_KEY] == image["id"]
        assert not is_template(volume_facts(clone))
        assert [each.id for each in Templates(templating.cinder.volume()).of(image["id"])] == [template.id]
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.images.downloads == [image["id"]]

    @pytest.mark.parametrize("told", ["by the device", "by the error"])
    def test_a_template_whose_device_hangs_stays_until_its_process_has_ended(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch, told: str
    ) -> None:
        opening = templating.driver.imagevol_open_volume

        @contextmanager
        def hanging(context: Any, volume: Any, *, writable: bool) -> Iterator[Any]:
            with opening(context, volume, writable=writable) as device:
                if told == "by the device":
                    yield device
                    device.leave_open()
                    raise AttachFailed("its device hangs")
                raise DeviceStalled(device.what, doing="writing", seconds=300)

        image, other = templating.images.add(DATA), templating.images.add(DATA[1:])
        with monkeypatch.context() as patched:
            patched.setattr(templating.driver, "imagevol_open_volume", hanging)
            assert templating.clone_image(templating.cinder.volume(), image) == FELL_THROUGH
        (template,) = Templates(templating.cinder.volume()).of(image["id"])
        downloads = list(templating.images.downloads)
        assert templating.clone_image(templating.cinder.volume(), image) == FELL_THROUGH
        assert templating.content(templating.made(other), len(DATA) - 1) == Content.of(DATA[1:])
        assert templating.cinder.again(template).status == "creating"
        assert templating.images.downloads == [*downloads, other["id"]]
        by_template._kept.pop().close()
        assert templating.clone_image(templating.cinder.volume(), image) == FELL_THROUGH
        ended = {**templating.cinder.again(template).metadata, "imagevol_process": NO_PROCESS}
        template.metadata = ended
        template.save()
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert template.id not in [each.id for each in Templates(templating.cinder.volume()).of(image["id"])]

    def test_a_clone_of_a_test_has_the_update_of_the_driver_in_its_record(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloning = backend.driver.create_cloned_volume

        def create_cloned_volume(volume: Any, source: Any) -> dict[str, str]:
            cloning(volume, source)
            return {"provider_location": "lun 7"}

        monkeypatch.setattr(backend.driver, "create_cloned_volume", create_cloned_volume)
        clone = backend.cloned(backend.image_volume(backend.images.add(DATA)), size_gib=2)
        assert backend.cinder.again(clone).provider_location == "lun 7"
        assert backend.content(clone) == Content.of(DATA, size_gib=2)

    def test_the_options_of_the_driver_are_published_too(self) -> None:
        class Own(drivers.SparseFileDriver):
            get_driver_options = drivers.OptionsOfItsOwn.get_driver_options

        class Cloning(ImageCloneMixin, Own):
            pass

        assert Cloning.get_driver_options() == [*drivers.OPTIONS, *OPTIONS]
        assert ImageCloneMixin.get_driver_options() == list(OPTIONS)


class TestUsedStorage(OnSparseFiles):
    driver_class = drivers.UsedStorage


class TestDeviceOfItsOwn(OnSparseFiles):
    driver_class = drivers.DeviceOfItsOwn


class TestBehindTheBase(OnSparseFiles):
    driver_class = drivers.BehindTheBase


class TestOptionsOfItsOwn(OnSparseFiles):
    driver_class = drivers.OptionsOfItsOwn


class TestRaising(OnSparseFiles):
    driver_class = drivers.Raising


class TestOldStyle(OnSparseFiles):
    driver_class = drivers.OldStyle


class TestNeverExtends(OnSparseFiles):
    driver_class = drivers.NeverExtends


class TestSharedStorage(OnSparseFiles):
    driver_class = drivers.SharedStorage


class TestKeepsHalfClones(OnSparseFiles):
    driver_class = drivers.KeepsHalfClones


class TestLosesWrites(OnSparseFiles):
    driver_class = drivers.LosesWrites
